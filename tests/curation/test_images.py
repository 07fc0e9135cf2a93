"""Candidates and images, end to end on drawn figures: what is made, held, failed, and that every pixel can be
explained.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from covidct.pictures import is_uniform, to_grey
from covidct.records import read_records
from curation import candidates, images
from curation.records import Candidate, Label, Outcome, PanelReview, PixelBox, Review
from curation.tasks import encode_mask
from harvest.records import Figure, read_jsonl, write_jsonl
from harvest.sample.distractors import draw_distractor
from harvest.sample.phantom import draw_patient
from harvest.sample.picture import draw_figure, stored

COVID = "Figure 1. Axial chest CT of a patient with confirmed COVID-19."
CONTROL = "Figure 1. Axial chest CT image of a healthy control."


def figure(folder: Path, name: str, caption: str, panels: int = 1, **more: object) -> Figure:
    kind = "covid" if caption == COVID else "normal"
    shows = [(draw_patient(3, name, kind), 0.45 + 0.02 * n) for n in range(panels)]
    picture = draw_figure(5, name, shows)
    content, ending = stored(picture)
    file = f"images/{name}.{ending}"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    height, width = picture.pixels.shape[:2]
    values = {
        "figure_id": name,
        "source": "medrxiv",
        "document_id": name.split("-p")[0],
        "pixels": "native",
        "file": file,
        "width": width,
        "height": height,
        "caption": caption,
        "page": 3,
        "xrefs": (7,),
    }
    return Figure.model_validate({**values, **more})


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    chart = draw_distractor("bar", np.random.default_rng(0))
    found = [
        figure(folder, "2020.02.01.1-p3-7", COVID),
        figure(folder, "2020.02.01.1-p4-9", COVID, 2),
        figure(folder, "2020.02.02.2-p3-7", CONTROL, 4),
        figure(folder, "2020.02.03.3-p3-7", "Figure 1. Chest CT on day 5."),
        figure(folder, "gone-p1-1", COVID, file="images/gone.png"),
        figure(folder, "out-p1-1", COVID, file="../figures.jsonl"),
        figure(folder, "../escape", COVID, file="images/2020.02.03.3-p3-7.png"),
        figure(folder, "zero-p1-1", COVID, file="images/zero.png"),
        figure(folder, "chart-p1-1", COVID, file="images/chart.png"),
    ]
    (folder / "images" / "zero.png").write_bytes(b"")
    cv2.imwrite(str(folder / "images" / "chart.png"), chart)
    write_jsonl(folder / "figures.jsonl", found)
    return folder


@pytest.fixture(scope="module")
def proposed(harvest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage") / "candidates"
    call(candidates.app, "--figures", harvest, "--out", out, "--no-check_personal", "--jobs", 1)
    return out


def call(app: typer.Typer, *args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def lines(path: Path) -> dict[str, str]:
    return {row["item"]: row["reason"] for row in map(json.loads, path.read_text().splitlines())}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make(proposed: Path, out: Path, reviews: Path | None = None, policy: str = "accept", code: int = 0) -> Path:
    folder = reviews or out.parent / "no-reviews"
    call(
        images.app,
        "--candidates",
        proposed,
        "--out",
        out,
        "--reviews",
        folder,
        "--unreviewed",
        policy,
        "--jobs",
        1,
        code=code,
    )
    return out


def test_every_figure_is_a_candidate_rejected_or_failed(proposed: Path) -> None:
    ids = [c.candidate_id for c in read_jsonl(proposed / "candidates.jsonl", Candidate)]
    assert sorted(ids) == ["2020.02.01.1-p3-7", "2020.02.01.1-p4-9", "2020.02.02.2-p3-7", "2020.02.03.3-p3-7"]
    assert list(lines(proposed / "rejected.jsonl")) == ["chart-p1-1"]
    failed = lines(proposed / "failed.jsonl")
    assert set(failed) == {"gone-p1-1", "out-p1-1", "../escape", "zero-p1-1"}
    assert "empty" in failed["zero-p1-1"] and "leaves it" in failed["out-p1-1"] and "figure_id" in failed["../escape"]


def test_candidates_come_best_first_with_a_reason(proposed: Path) -> None:
    found = list(read_jsonl(proposed / "candidates.jsonl", Candidate))
    assert [c.priority for c in found] == sorted((c.priority for c in found), reverse=True)
    assert found[0].suggestion.label == "COVID" and "COVID" in found[0].priority_reason
    assert all(c.personal_data == "not checked" for c in found)
    assert {c.candidate_id: len(c.panels) for c in found}["2020.02.02.2-p3-7"] == 4


def test_same_input_gives_the_same_bytes(harvest: Path, proposed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    call(candidates.app, "--figures", harvest, "--out", again, "--no-check-personal", "--jobs", 2)
    assert tree(again) == tree(proposed)
    assert tree(make(proposed, tmp_path / "a")) == tree(make(again, tmp_path / "b"))


def test_accepted_proposals_become_uniform_images_marked_unreviewed(proposed: Path, tmp_path: Path) -> None:
    out = make(proposed, tmp_path / "images")
    table = read_records(out / "records.csv").set_index("image_id")
    held = lines(out / "held.jsonl")
    assert "2020.02.03.3-p3-7" in held and "unclear" in held["2020.02.03.3-p3-7"]
    assert not table["reviewed"].any() and set(table["label_name"]) <= {"COVID", "NonCOVID"}
    names = set(table.index) | set(held)
    assert {"2020.02.01.1-p3-7", "2020.02.01.1-p4-9%0", "2020.02.01.1-p4-9%1", "2020.02.02.2-p3-7%3"} <= names
    two_figures = table[table["document_id"] == "2020.02.01.1"]
    assert set(two_figures["patient_basis"]) <= {"document"} and two_figures["patient_id"].nunique() <= 1
    for name, row in table.iterrows():
        assert is_uniform(out / row["file"])
        made = np.asarray(Image.open(out / row["file"]))
        assert made.shape == (row["height"], row["width"])
        source = to_grey(Image.open(proposed / "images" / f"{str(name).split('%')[0]}.png"))
        x0, y0, x1, y1 = map(int, row["box"].split())
        mask_file = out / "masks" / f"{name}.png"
        mask = np.asarray(Image.open(mask_file)) > 0 if mask_file.exists() else np.zeros(made.shape, bool)
        assert np.array_equal(made[~mask], source[y0:y1, x0:x1][~mask])
        assert row["inpainted_fraction"] == pytest.approx(mask.mean(), abs=1e-6)


def test_hold_makes_nothing_and_says_so(proposed: Path, tmp_path: Path) -> None:
    out = make(proposed, tmp_path / "images", policy="hold")
    assert len(read_records(out / "records.csv")) == 0
    assert set(lines(out / "held.jsonl").values()) == {"not reviewed"}


def review(name: str, who: str, panels: list[tuple[tuple[int, int, int, int], Label, str]], **more: object) -> Review:
    found = tuple(PanelReview(box=PixelBox(*b), label=label, patient=p) for b, label, p in panels)
    values = {
        "candidate_id": name,
        "reviewer": who,
        "reviewed_at": "2020-05-01T10:00:00Z",
        "chest_ct": True,
        "panels": found,
    }
    return Review.model_validate({**values, **more})


def test_reviews_go_before_proposals_and_adjudication_before_reviews(proposed: Path, tmp_path: Path) -> None:
    first, second, third = "2020.02.01.1-p3-7", "2020.02.01.1-p4-9", "2020.02.02.2-p3-7"
    box, other = (4, 4, 120, 110), (130, 4, 230, 110)
    mask = np.zeros(to_grey(Image.open(proposed / "images" / f"{first}.png")).shape, bool)
    mask[20:24, 30:40] = True
    folder = tmp_path / "reviews"
    write_jsonl(
        folder / "one.jsonl",
        [
            review(first, "anna", [(box, "NonCOVID", "p1")], mask=encode_mask(mask)),
            review(second, "anna", [(box, "COVID", ""), (other, "COVID", "")]),
            review(second, "ben", [(box, "NonCOVID", ""), (other, "COVID", "")]),
            review(third, "anna", [(box, "COVID", "")]),
            review(third, "ben", [(box, "NonCOVID", "")]),
            review(third, "eva", [(box, "NonCOVID", "a"), (other, "unclear", "b")], adjudicated=True),
            review("nobody-p1-1", "anna", []),
        ],
    )
    out = make(proposed, tmp_path / "images", folder, "hold")
    table = read_records(out / "records.csv").set_index("image_id")
    held, failed = lines(out / "held.jsonl"), lines(out / "failed.jsonl")
    assert set(table.index) == {first, f"{third}%0"}
    assert table.loc[first, "label_name"] == "NonCOVID" and table.loc[first, "box"] == "4 4 120 110"
    assert table.loc[first, "patient_basis"] == "curator" and table.loc[first, "reviewed"]
    assert table.loc[first, "inpainted_fraction"] == pytest.approx(40 / (116 * 106), abs=1e-6)
    assert "disagree" in held[second] and "cannot be told" in held[f"{third}%1"]
    assert "no such candidate" in failed["nobody-p1-1"]
    outcomes = {
        o.candidate_id: (o.state, o.reviewers, o.images, o.held) for o in read_jsonl(out / "decisions.jsonl", Outcome)
    }
    assert outcomes[first] == ("single", ("anna",), 1, 0) and outcomes[second] == ("disagreed", ("anna", "ben"), 0, 1)
    assert outcomes[third] == ("adjudicated", ("anna", "ben", "eva"), 1, 1)
    assert outcomes["2020.02.03.3-p3-7"] == ("unreviewed", (), 0, 1)


@pytest.mark.parametrize("painted", [False, True])
def test_a_review_says_which_pixels_are_repaired(proposed: Path, tmp_path: Path, painted: bool) -> None:
    """A proposed mask that a curator erased repairs nothing; a painted one goes in its place, and only there."""
    folder, name = tmp_path / "candidates", "2020.02.01.1-p3-7"
    shutil.copytree(proposed, folder)
    rows = {c.candidate_id: c for c in read_jsonl(folder / "candidates.jsonl", Candidate)}
    source = to_grey(Image.open(folder / "images" / f"{name}.png"))
    wrong, right = np.zeros(source.shape, np.uint8), np.zeros(source.shape, bool)
    wrong[60:80, 60:90], right[30:40, 50:70] = 255, True
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(wrong).save(folder / "masks" / "wrong.png")
    write_jsonl(folder / "candidates.jsonl", [rows[name].model_copy(update={"mask": "masks/wrong.png"})])
    height, width = source.shape
    asked = review(name, "anna", [((0, 0, width, height), "COVID", "")], mask=encode_mask(right & painted))
    write_jsonl(tmp_path / "reviews" / "a.jsonl", [asked])
    out = make(folder, tmp_path / "images", tmp_path / "reviews", "hold")
    made = np.asarray(Image.open(out / "images" / f"{name}.png"))
    assert np.array_equal(made != source, right & painted & (made != source))
    assert (made != source).any() == painted
    (row,) = read_records(out / "records.csv").to_dict("records")
    assert row["inpainted_fraction"] == pytest.approx((right & painted).mean(), abs=1e-6)
    assert (out / "masks" / f"{name}.png").exists() == painted


def test_a_chest_ct_without_a_box_waits_for_one(proposed: Path, tmp_path: Path) -> None:
    name = "2020.02.01.1-p3-7"
    write_jsonl(tmp_path / "r" / "a.jsonl", [review(name, "anna", [])])
    out = make(proposed, tmp_path / "images", tmp_path / "r", "hold")
    assert "draw the boxes" in lines(out / "held.jsonl")[name]


def test_a_review_with_a_box_outside_fails_alone(proposed: Path, tmp_path: Path) -> None:
    name = "2020.02.01.1-p3-7"
    write_jsonl(
        tmp_path / "r" / "a.jsonl",
        [review(name, "anna", [((0, 0, 90, 90), "COVID", ""), ((9, 9, 9000, 90), "COVID", "")])],
    )
    out = make(proposed, tmp_path / "images", tmp_path / "r", "hold")
    assert list(read_records(out / "records.csv")["image_id"]) == [f"{name}%0"]
    assert "expected inside" in lines(out / "failed.jsonl")[f"{name}%1"]


def test_two_boxes_over_one_panel_are_held(proposed: Path, tmp_path: Path) -> None:
    name = "2020.02.02.2-p3-7"
    found = {c.candidate_id: c for c in read_jsonl(proposed / "candidates.jsonl", Candidate)}[name]
    one, other = found.panels[0].box, found.panels[1].box
    (tmp_path / "reviews").mkdir()
    near = (one.x0 + 3, one.y0 + 2, one.x1, one.y1)
    asked = review(name, "a@b.org", [(one, "COVID", ""), (near, "NonCOVID", ""), (other, "NonCOVID", "")])
    write_jsonl(tmp_path / "reviews" / "p.jsonl", [asked])
    out = make(proposed, tmp_path / "images", tmp_path / "reviews", "hold")
    assert [row.box for row in read_records(out / "records.csv").itertuples()] == [" ".join(map(str, other))]
    reasons = [why for item, why in lines(out / "held.jsonl").items() if item.startswith(name)]
    assert len(reasons) == 2 and all("another box over the same panel" in why for why in reasons)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_missing_or_damaged_mask_fails_alone(proposed: Path, tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "candidates"
    shutil.copytree(proposed, folder)
    rows = list(read_jsonl(folder / "candidates.jsonl", Candidate))
    name = "2020.02.01.1-p3-7"
    row = next(c for c in rows if c.candidate_id == name).model_copy(update={"mask": "masks/odd.png"})
    write_jsonl(folder / "candidates.jsonl", [row, *(c for c in rows if c.candidate_id != name)])
    if content is not None:
        (folder / "masks").mkdir(exist_ok=True)
        (folder / "masks" / "odd.png").write_bytes(content)
    out = make(folder, tmp_path / "images")
    assert "masks/odd.png: expected the mask of the proposals" in lines(out / "failed.jsonl")[name]
    assert len(list((out / "images").iterdir())) > 2


def test_missing_input_is_one_clear_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, tmp_path / "images", code=1)
    assert "candidates.jsonl" in caplog.text
    call(images.app, "--candidates", tmp_path, "--out", tmp_path / "o", "--unreviewed", "maybe", code=2)
    call(candidates.app, "--figures", tmp_path, "--out", tmp_path / "o", code=1)


def test_the_stage_fails_when_everything_failed(
    harvest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [f for f in read_jsonl(harvest / "figures.jsonl", Figure) if f.figure_id in {"gone-p1-1", "zero-p1-1"}]
    write_jsonl(tmp_path / "figures.jsonl", bad)
    call(candidates.app, "--figures", tmp_path, "--out", tmp_path / "o", "--jobs", 1, code=1)
    assert "all 2 figures failed" in caplog.text and (tmp_path / "o" / "failed.jsonl").is_file()
    write_jsonl(tmp_path / "empty" / "figures.jsonl", [])
    call(candidates.app, "--figures", tmp_path / "empty", "--out", tmp_path / "o", "--jobs", 1)
