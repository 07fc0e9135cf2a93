"""Decisions: which review counts, and what without a review is never taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.decisions import decide, read_reviews, settle
from curation.records import Label, PanelReview, PixelBox, Review
from harvest.records import write_jsonl
from tests.curation.test_tasks import candidate


def review(label: Label, day: int, who: str = "anna", **changes: object) -> Review:
    values = {
        "candidate_id": candidate().candidate_id,
        "reviewer": who,
        "reviewed_at": f"2020-05-{day:02}T10:00:00Z",
        "chest_ct": True,
        "panels": (PanelReview(box=PixelBox(0, 0, 90, 90), label=label),),
    }
    return Review.model_validate({**values, **changes})


def test_proposals_without_a_reason_against_them_are_taken() -> None:
    found = decide(candidate(), [], "accept", 0.5)
    assert [panel.number for panel in found.panels] == [0, 1] and not found.held and found.state == "unreviewed"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"modality": 0.49}, "not a chest CT by its score (0.49 < 0.50)"),
        ({"inpaint": "drop", "masked_lung_fraction": 0.071}, "marks cover 7.1% of the lung"),
        ({"suggestion": {"label": "unclear"}}, "label unclear"),
    ],
)
def test_a_panel_that_needs_a_person_is_held_and_the_other_taken(change: dict, word: str) -> None:
    first, second = (panel.model_dump() for panel in candidate().panels)
    found = decide(candidate(panels=({**first, **change}, second)), [], "accept", 0.5)
    assert [panel.number for panel in found.panels] == [1]
    ((item, reason),) = found.held
    assert item == f"{candidate().candidate_id}%0" and word in reason


def test_personal_data_holds_the_whole_candidate_until_it_is_reviewed() -> None:
    shown = candidate(personal_data="found")
    found = decide(shown, [], "accept", 0.5)
    assert not found.panels and "personal data" in found.held[0][1]
    assert len(decide(shown, [review("COVID", 1)], "accept", 0.5).panels) == 1


@pytest.mark.parametrize("files", [("a.jsonl", "b.jsonl"), ("b.jsonl", "a.jsonl")])
def test_the_latest_review_of_a_person_counts_whatever_its_file(tmp_path: Path, files: tuple[str, str]) -> None:
    early, late = review("COVID", 1), review("NonCOVID", 2)
    for file, said in zip(files, (early, late), strict=True):
        write_jsonl(tmp_path / file, [said])
    assert read_reviews(tmp_path) == {early.candidate_id: [late]}


def test_a_judgement_does_not_replace_what_the_same_person_said_as_a_reader(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [review("NonCOVID", 2, adjudicated=True), review("COVID", 1)])
    assert [r.adjudicated for r in read_reviews(tmp_path)[candidate().candidate_id]] == [False, True]


def test_the_last_adjudication_counts() -> None:
    early = review("COVID", 1, "eva", adjudicated=True)
    late = review("NonCOVID", 2, "max", adjudicated=True)
    assert settle([early, late, review("unclear", 3)]) == (late, "adjudicated")
    found = decide(candidate(), [early, late], "hold", 0.5)
    assert found.panels[0].label == "NonCOVID" and found.reviewers == ("eva", "max")


def test_the_latest_of_agreeing_reviews_counts() -> None:
    first, second = review("COVID", 1), review("COVID", 2, "ben", comment="sure")
    assert settle([first, second]) == (second, "agreed")
    assert settle([first, review("NonCOVID", 2, "ben")]) == (None, "disagreed")
