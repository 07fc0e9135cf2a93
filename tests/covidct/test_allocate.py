"""Few groups: a part is left empty or without a class only where it must be, and then that is said."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from covidct import splits
from covidct.allocate import allocate


def table(labels: str, images: int = 1) -> pd.DataFrame:
    """One patient for each letter: c (COVID), n (NonCOVID), b (both)."""
    rows = []
    for person, letter in enumerate(labels):
        for number in range(max(images, 1 + (letter == "b"))):
            label = number % 2 if letter == "b" else int(letter == "c")
            rows.append((f"{person}-{number}", label, f"p{person}"))
    return pd.DataFrame(rows, columns=["image_id", "label", "patient_id"])


def missing(split: pd.DataFrame) -> set[tuple[str, int]]:
    have = set(zip(split["split"], split["label"], strict=True))
    return {(name, label) for name in splits.SPLITS for label in (0, 1)} - have


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("labels", ["cccnnn", "ccccnnnn", "cccccnnn", "cccnnnnnnnnn", "bbb", "cnbbb", "ccccccnnnnnnn"])
def test_three_patients_of_each_class_suffice_for_three_parts(labels: str, images: int, seed: int) -> None:
    result = splits.split(table(labels, images), seed=seed)
    assert not missing(result) and splits.check(result) == []


@pytest.mark.parametrize("labels", ["ccn", "ccc", "cccccccn"])
def test_what_cannot_be_met_is_said(labels: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = splits.split(table(labels))
    assert set(result["split"]) == set(splits.SPLITS)
    assert ("no image of one class: only 1 of" in caplog.text) == ("n" in labels)


def test_two_patients_leave_a_part_empty_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    splits.split(table("cn"))
    assert "split: val is empty: 2 groups" in caplog.text


def test_folds_of_few_patients_have_both_classes() -> None:
    result = splits.folds(table("c" * 5 + "n" * 5, 3), 5)
    assert all(set(rows["label"]) == {0, 1} for _, rows in result.groupby("fold"))


def test_a_rare_class_among_many_groups_reaches_every_part() -> None:
    """More groups than are searched one by one; those of the rare class are all in one part at first."""
    count = 5000
    rare = np.arange(count) >= count - 3
    features = np.column_stack([np.ones(count), rare, ~rare]).astype(int)
    shares, weights, must = np.array([0.6, 0.15, 0.25]), np.array([4.0, 0.0, 2.0]), np.array([False, True, True])
    part = allocate(features, shares, weights, must, np.full(count, -1), 0)
    assert sorted(part[rare]) == [0, 1, 2]


def test_what_earlier_versions_fixed_is_not_moved() -> None:
    records = table("cccnnn")
    earlier = records.assign(split="test")[["image_id", "split"]]
    assert set(splits.split(records, earlier=earlier)["split"]) == {"test"}
