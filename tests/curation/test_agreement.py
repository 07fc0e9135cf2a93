"""Agreement: known values of kappa, matched boxes, what goes to adjudication."""

from __future__ import annotations

import numpy as np
import pytest

from curation.agreement import (
    agree,
    cohen_kappa,
    differences,
    disagreements,
    fleiss_kappa,
    interval,
    kappa,
    mask_iou,
    match_panels,
    ratings,
    summary,
)
from curation.masks import encode_mask
from curation.records import Label, PanelReview, PixelBox, Review


def review(
    who: str, *panels: tuple[tuple[int, int, int, int], Label, str], candidate: str = "c", **changes: object
) -> Review:
    made = tuple(PanelReview(box=PixelBox(*box), label=label, patient=patient) for box, label, patient in panels)
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


def test_cohens_kappa_of_the_common_worked_example() -> None:
    # 50 proposals judged by two readers: 20 both yes, 15 both no, 5 and 10 otherwise; kappa 0.4
    table = np.array([[20, 5], [10, 15]])
    assert cohen_kappa(table) == pytest.approx(0.4)
    votes = [{"a": i, "b": j} for (i, j), n in np.ndenumerate(table) for _ in range(n)]
    assert kappa(votes, 2) == pytest.approx(0.4)
    low, high = interval([[vote] for vote in votes], 2)
    assert low < 0.4 < high
    assert np.isnan(cohen_kappa(np.array([[9, 0], [0, 0]])))
    with pytest.raises(ValueError, match="both have answered"):
        cohen_kappa(np.zeros((2, 2)))


def test_panels_of_one_figure_are_drawn_together_so_they_make_the_interval_no_narrower() -> None:
    rng = np.random.default_rng(3)
    votes = []
    for _ in range(30):
        a = int(rng.random() < 0.5)
        votes.append({"a": a, "b": a if rng.random() < 0.8 else 1 - a})
    one = interval([[vote] for vote in votes], 2)
    four = interval([[vote] * 4 for vote in votes], 2)
    assert one == pytest.approx(four)


def test_boxes_are_matched_over_all_pairs_not_greedily() -> None:
    left = review("a", ((0, 0, 10, 10), "COVID", ""), ((0, 5, 10, 15), "unclear", "")).panels
    right = review("b", ((0, 3, 10, 13), "unclear", ""), ((0, -3 + 3, 10, 9), "COVID", "")).panels
    assert {(p.label, q.label) for p, q, _ in match_panels(left, right)} == {("COVID", "COVID"), ("unclear", "unclear")}
    # The first of a overlaps the first of b most (9/11), which would leave the second ones without a partner
    left = review("a", ((3, 0, 13, 9), "COVID", ""), ((6, 0, 16, 9), "unclear", "")).panels
    right = review("b", ((4, 0, 14, 9), "unclear", ""), ((0, 0, 10, 9), "COVID", "")).panels
    found = match_panels(left, right)
    assert {(p.label, q.label) for p, q, _ in found} == {("COVID", "COVID"), ("unclear", "unclear")}
    assert sorted(share for _, _, share in found) == pytest.approx([7 / 13, 8 / 12])


def test_patient_keys_agree_by_grouping_not_by_name() -> None:
    one = review("a", ((0, 0, 10, 10), "COVID", "P1"), ((20, 0, 30, 10), "COVID", "P1"))
    two = review("b", ((0, 0, 10, 10), "COVID", "x"), ((20, 0, 30, 10), "COVID", "x"))
    three = review("b", ((0, 0, 10, 10), "COVID", "x"), ((20, 0, 30, 10), "COVID", "y"))
    assert agree(one, two) and not agree(one, three)
    assert differences(one, three) == ["which panels show the same patient (a / b)"]


def test_answers_of_three_people_are_put_together_by_place() -> None:
    far = (50, 50, 90, 90)
    reviews = [
        review("a", ((0, 0, 10, 10), "COVID", "x")),
        review("b", ((0, 0, 10, 9), "COVID", "x"), (far, "unclear", "x")),
        review("c", ((1, 0, 10, 10), "NonCOVID", "y"), (far, "unclear", "z")),
    ]
    found = ratings(reviews)
    assert found["chest CT"] == [[{"a": 1, "b": 1, "c": 1}]]
    assert found["label"] == [[{"a": 0, "b": 0, "c": 1}, {"b": 2, "c": 2}]]
    assert found["same patient"] == [[{"b": 1, "c": 0}]]
    assert "Fleiss' kappa" in summary(reviews)


def test_what_differs_is_said_in_words_and_masks_do_not_count() -> None:
    box = (0, 0, 10, 10)
    one = review("a", (box, "COVID", ""), mask="20x20: 0+5")
    assert differences(one, review("b", (box, "COVID", ""))) == []
    assert differences(one, review("b")) == ["chest CT: yes / no (a / b)"]
    assert "label of the box at 0, 0: COVID / unclear" in differences(one, review("b", (box, "unclear", "")))[0]
    assert (
        "1 / 2 boxes, 1 of them alike"
        in differences(one, review("b", (box, "COVID", ""), ((11, 0, 20, 10), "COVID", "")))[0]
    )


def test_overlap_of_masks() -> None:
    half, whole = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    half[:2] = True
    one, two = review("a", mask=encode_mask(half)), review("b", mask=encode_mask(whole))
    assert mask_iou(one, two) == 0.5 and mask_iou(one, review("b")) == 0.0
    assert mask_iou(review("a"), review("b")) is None


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
    told = summary(reviews)
    assert "candidates: 3 reviewed, 0 by one person only, 0 adjudicated" in told and "Cohen's kappa" in told
    assert "no item with two reviews" in summary([review("a")]) and "1 by one person only" in summary([review("a")])
    assert summary([]).endswith("to adjudicate: 0")


def test_one_candidate_has_no_interval_and_draws_keep_the_estimator() -> None:
    single = [review("a", ((0, 0, 9, 9), "COVID", "")), review("b")]
    assert "chest CT: Cohen's kappa 0.00 (one candidate: no interval)" in summary(single)
    groups = [[{"a": 0, "b": 0}], [{"a": 1, "c": 0}], [{"b": 1, "c": 1}], [{"a": 0, "c": 1}]]
    rng, expected = np.random.default_rng(0), []
    for _ in range(1000):
        counts = [np.bincount(list(groups[i][0].values()), minlength=2) for i in rng.integers(0, 4, 4)]
        expected.append(fleiss_kappa(np.array(counts)))
    finite = [value for value in expected if np.isfinite(value)]
    assert interval(groups, 2) == pytest.approx(tuple(np.quantile(finite, [0.025, 0.975])))
