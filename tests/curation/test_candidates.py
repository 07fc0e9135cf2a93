"""Candidates: what is proposed for a figure, in which order it is shown and why, and what bad input becomes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from curation import candidates, personal
from curation.candidates import Options, propose, rank
from curation.raster import grey
from curation.records import PanelProposal, PixelBox, Suggestion
from harvest.records import Figure, write_jsonl
from harvest.sample.distractors import draw_distractor
from harvest.sample.phantom import draw_patient
from harvest.sample.picture import draw_figure

OPTIONS = Options(check_personal=False)
COVID = "Figure 1. CT of a patient with confirmed COVID-19. (A) Axial slice of patient 1. (B) Axial slice of patient 2."


def figure(**fields: object) -> Figure:
    known: dict[str, object] = {
        "figure_id": "2020.02.01.1-p3-7",
        "source": "medrxiv",
        "document_id": "2020.02.01.1",
        "file": "images/a.png",
        "pixels": "native",
        "width": 9,
        "height": 9,
        "caption": COVID,
    }
    return Figure.model_validate({**known, **fields})


def picture(panels: int = 1) -> np.ndarray:
    shows = [(draw_patient(3, f"c{n}", "covid"), 0.45 + 0.02 * n) for n in range(panels)]
    return draw_figure(5, "c", shows).pixels


def test_every_panel_has_its_box_letter_score_label_and_patient() -> None:
    image = picture(2)
    candidate, mask, best = propose(figure(), image, OPTIONS)
    assert candidate is not None and best == pytest.approx(candidate.modality, abs=1e-4) and best >= 0.5
    assert mask.shape == image.shape[:2] and (candidate.mask == "") == (not mask.any())
    assert [(p.letter, p.suggestion.label, p.suggestion.patients) for p in candidate.panels] == [
        ("A", "COVID", ("patient 1",)),
        ("B", "COVID", ("patient 2",)),
    ]
    assert {p.view for p in candidate.panels} == {"lung window"}
    assert "2 of 2 panels look like chest CT: 2 in lung window" in candidate.priority_reason
    height, width = image.shape[:2]
    for panel in candidate.panels:
        x0, y0, x1, y1 = panel.box
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert not mask[~covered(candidate.panels, mask.shape)].any()


def covered(panels: tuple[PanelProposal, ...], shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    for panel in panels:
        x0, y0, x1, y1 = panel.box
        inside[y0:y1, x0:x1] = True
    return inside


def test_a_chart_is_no_candidate_and_leaves_no_mask() -> None:
    candidate, mask, best = propose(figure(), draw_distractor("bar", np.random.default_rng(0)), OPTIONS)
    assert candidate is None and not mask.any() and best < 0.5


def test_a_large_mark_over_the_lung_is_not_painted_over() -> None:
    image = grey(picture()).copy()
    high, wide = image.shape
    for share in (0.4, 0.55, 0.7):
        at = (int(wide * 0.12), int(high * share))
        cv2.putText(image, "COPYRIGHT", at, cv2.FONT_HERSHEY_SIMPLEX, wide / 220, 255, 2, cv2.LINE_AA)
    candidate, _, _ = propose(figure(), image, Options(min_score=0.0, check_personal=False))
    assert candidate is not None and candidate.panels[0].inpaint in ("crop", "drop")
    assert candidate.panels[0].masked_lung_fraction > OPTIONS.repair_limit


def panel(label: str, modality: float) -> PanelProposal:
    said = Suggestion.model_validate({"label": label})
    return PanelProposal(box=PixelBox(0, 0, 9, 9), suggestion=said, modality=modality)


def test_most_useful_first_and_the_card_says_why() -> None:
    whole = Suggestion(label="COVID")
    covid, why = rank([panel("COVID", 0.9)], whole, 0.9, "none")
    unclear, _ = rank([panel("unclear", 0.9)], whole, 0.9, "none")
    other, _ = rank([panel("NonCOVID", 0.9)], whole, 0.9, "none")
    doubtful, _ = rank([panel("COVID", 0.55)], whole, 0.55, "none")
    several, _ = rank([panel("COVID", 0.9)] * 4, whole, 0.9, "none")
    assert several > covid > unclear > other and covid > doubtful
    assert "0.90" in why and "COVID" in why and "1 of 1 panels" in why
    risky, why = rank([panel("COVID", 0.9)], whole, 0.9, "found")
    assert risky > covid and "personal data" in why
    assert "could not be checked" in rank([panel("COVID", 0.9)], whole, 0.9, "not checked")[1]


def test_personal_data_is_marked_for_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (4, 6, 60, 20)
    monkeypatch.setattr(personal, "find", lambda _: [personal.Finding(box, "date of birth", "DOB: 12.03.1958")])
    candidate, mask, _ = propose(figure(), picture(), Options())
    assert candidate is not None and candidate.personal_data == "found"
    assert "DOB: 12.03.1958" not in candidate.model_dump_json()
    assert mask[6:20, 4:60].all() and candidate.mask


def test_an_absent_tesseract_is_said_on_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "available", lambda: False)
    candidate, _, _ = propose(figure(), picture(), Options())
    assert candidate is not None and candidate.personal_data == "not checked"


def test_all_failed_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "figures.jsonl", [figure(file="images/gone.png")])
    arguments = ["--figures", str(tmp_path), "--out", str(tmp_path / "out"), "--no-check-personal", "--jobs", "1"]
    result = CliRunner().invoke(candidates.app, arguments)
    assert result.exit_code == 1 and (tmp_path / "out" / "failed.jsonl").read_text()


def test_a_figure_met_twice_is_taken_once(tmp_path: Path) -> None:
    chart = figure(file="images/a.png")
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), draw_distractor("bar", np.random.default_rng(0)))
    write_jsonl(tmp_path / "figures.jsonl", [chart, chart])
    counts = candidates.run([tmp_path], tmp_path / "out", OPTIONS, 1)
    assert counts == (0, 1, 1) and "met before" in (tmp_path / "out" / "failed.jsonl").read_text()
