"""Agreement: known values of kappa, matched boxes, what goes to adjudication."""

from __future__ import annotations

import numpy as np
import pytest

from curation.agreement import agree, disagreements, fleiss_kappa, kappa_interval, match_panels, summary
from curation.records import PanelReview, PixelBox, Review


def review(
    who: str, *panels: tuple[tuple[int, int, int, int], str, str], candidate: str = "c", **changes: object
) -> Review:
    made = tuple(PanelReview(box=PixelBox(*box), label=label, patient=patient) for box, label, patient in panels)  # type: ignore[arg-type]
    values = {"candidate_id": candidate, "reviewer": who, "reviewed_at": "t", "chest_ct": bool(panels), "panels": made}
    return Review.model_validate({**values, **changes})


def test_fleiss_kappa_of_the_published_worked_example() -> None:
    # Fleiss 1971 in the form of the common textbook table: 10 items, 14 raters, 5 categories, kappa 0.210
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(np.array(table)) == pytest.approx(0.210, abs=5e-4)


def test_kappa_at_its_ends() -> None:
    assert fleiss_kappa(np.array([[2, 0], [0, 2], [2, 0]])) == pytest.approx(1.0)
    assert fleiss_kappa(np.array([[1, 1], [1, 1]])) == pytest.approx(-1.0)
    assert np.isnan(fleiss_kappa(np.array([[2, 0], [2, 0]])))
    with pytest.raises(ValueError, match="at least two votes"):
        fleiss_kappa(np.array([[1, 0]]))
    kappa, low, high = kappa_interval(np.array([[2, 0]] * 20 + [[0, 2]] * 20 + [[1, 1]] * 4))
    assert low < kappa < high <= 1


def test_boxes_are_matched_over_all_pairs_not_greedily() -> None:
    left = review("a", ((0, 0, 10, 10), "COVID", ""), ((0, 5, 10, 15), "unclear", "")).panels
    right = review("b", ((0, 3, 10, 13), "unclear", ""), ((0, -3 + 3, 10, 9), "COVID", "")).panels
    assert {(p.label, q.label) for p, q, _ in match_panels(left, right)} == {("COVID", "COVID"), ("unclear", "unclear")}


def test_patient_keys_agree_by_grouping_not_by_name() -> None:
    one = review("a", ((0, 0, 10, 10), "COVID", "P1"), ((20, 0, 30, 10), "COVID", "P1"))
    two = review("b", ((0, 0, 10, 10), "COVID", "x"), ((20, 0, 30, 10), "COVID", "x"))
    three = review("b", ((0, 0, 10, 10), "COVID", "x"), ((20, 0, 30, 10), "COVID", "y"))
    assert agree(one, two) and not agree(one, three)


def test_disagreements_are_listed_until_adjudicated() -> None:
    box = (0, 0, 10, 10)
    reviews = [
        review("a", (box, "COVID", "")),
        review("b", (box, "NonCOVID", "")),
        review("a", candidate="d"),
        review("b", candidate="d"),
        review("a", (box, "COVID", ""), candidate="e"),
        review("b", candidate="e"),
    ]
    assert disagreements(reviews) == ["c", "e"]
    assert disagreements([*reviews, review("z", (box, "COVID", ""), adjudicated=True)]) == ["e"]
    assert "to adjudicate: 2" in summary(reviews)
    assert "no item with two reviews" in summary([review("a")])
