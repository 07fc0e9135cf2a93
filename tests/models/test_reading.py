"""What is read from a classifier's card: refused where it does not say enough, or says another task."""

from __future__ import annotations

import pytest

from models import reading


@pytest.mark.parametrize("threshold", [2, -0.1, "high", True, float("nan")])
def test_a_threshold_that_is_none_is_named(threshold: object) -> None:
    with pytest.raises(reading.EvaluateError, match=r"metrics\.threshold: expected a probability"):
        reading.chosen_threshold({"metrics": {"threshold": threshold}})


def test_other_classes_and_encoders_are_refused() -> None:
    with pytest.raises(reading.EvaluateError, match="got classifier with classes benign, malignant"):
        reading.covid_index({"kind": "classifier", "class_names": ["benign", "malignant"]})
    with pytest.raises(reading.EvaluateError, match="got encoder with no classes"):
        reading.covid_index({"kind": "encoder", "class_names": []})
    assert reading.covid_index({"kind": "classifier", "class_names": ["COVID", "NonCOVID"]}) == 0


def test_transductive_use_is_found_along_the_whole_way() -> None:
    plain = {"dataset": {"version": "x"}, "start": None}
    assert not reading.transductive(plain)
    assert reading.transductive({"dataset": {}, "start": {"dataset": {"transductive": True}}})
    assert reading.transductive({"dataset": {}, "start": {"dataset": {}, "start": {"dataset": {"transductive": True}}}})


@pytest.mark.parametrize(
    "preprocessing",
    [
        {},
        {"size": 64, "mean": [0.5]},
        {"size": 64, "mean": [0.5], "std": [0]},
        {"size": "x", "mean": [0.5], "std": [1]},
    ],
)
def test_a_card_without_preprocessing_is_named(preprocessing: dict[str, object]) -> None:
    with pytest.raises(reading.EvaluateError, match="expected size, mean and std"):
        reading.evaluation({"preprocessing": preprocessing})
