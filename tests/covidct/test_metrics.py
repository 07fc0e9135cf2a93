"""Metrics against closed forms, scikit-learn and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from covidct import metrics
from tests.covidct.scores import sample


def test_values_equal_scikit_learn_with_ties() -> None:
    label, score, group = sample()
    found = metrics.evaluate(label, score, group, threshold=0.4, replicates=0)
    called = score >= 0.4
    assert found.auc == pytest.approx(roc_auc_score(label, score))
    assert found.precision == pytest.approx(precision_score(label, called))
    assert found.recall == pytest.approx(recall_score(label, called))
    assert found.specificity == pytest.approx(recall_score(label, called, pos_label=0))
    assert found.f1 == pytest.approx(f1_score(label, called))
    assert found.f1_noncovid == pytest.approx(f1_score(label, called, pos_label=0))
    assert found["accuracy"] == pytest.approx((label == called).mean())


def test_a_score_at_the_threshold_is_covid() -> None:
    assert metrics.evaluate([1, 0], [0.5, 0.49]).accuracy == 1


def test_bootstrap_equals_a_slow_loop() -> None:
    """The vectorised resampling of patients gives the metrics of really repeated rows."""
    label, score, group = sample(60)
    unique, index = np.unique(group, return_inverse=True)
    fast = metrics.bootstrap(label, score, index, len(unique), 0.5, 5, seed=7)
    rng = np.random.default_rng(7)
    for number, drawn in enumerate(rng.integers(0, len(unique), (5, len(unique)))):
        rows = np.concatenate([np.flatnonzero(index == one) for one in drawn])
        assert fast["auc"][number] == pytest.approx(roc_auc_score(label[rows], score[rows]))
        assert fast["f1"][number] == pytest.approx(f1_score(label[rows], score[rows] >= 0.5))


def test_blocks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    label, score, group = sample(60)
    whole = metrics.evaluate(label, score, group, replicates=50).intervals
    monkeypatch.setattr(metrics, "BLOCK", 200)
    assert metrics.evaluate(label, score, group, replicates=50).intervals == whole


def test_patients_widen_the_interval() -> None:
    """Three equal images of each patient carry no more than one: the clustered interval is wider by about √3."""
    label, score, _ = sample(150)
    thrice = [np.repeat(values, 3) for values in (label, score, np.arange(150))]
    images = metrics.evaluate(thrice[0], thrice[1]).intervals["auc"]
    patients = metrics.evaluate(*thrice).intervals["auc"]
    assert (patients[1] - patients[0]) / (images[1] - images[0]) == pytest.approx(math.sqrt(3), rel=0.15)


def test_the_level_is_that_of_the_interval() -> None:
    """Half of the resamples lie in a 50 % interval, which is inside the 95 % one."""
    label, score, group = sample()
    half = metrics.evaluate(label, score, group, replicates=400, level=0.5)
    drawn = metrics.bootstrap(label, score, *metrics.grouped(group, len(label)), 0.5, 400, seed=0)["auc"]
    low, high = half.intervals["auc"]
    assert half.level == 0.5 and np.mean((drawn >= low) & (drawn <= high)) == pytest.approx(0.5, abs=0.01)
    wide = metrics.evaluate(label, score, group, replicates=400).intervals["auc"]
    assert wide[0] < low < high < wide[1]


def test_undefined_is_said() -> None:
    found = metrics.evaluate([1, 1], [0.1, 0.2])
    assert math.isnan(found.auc)
    assert "AUC undefined: all 2 labels are COVID" in found.notes
    assert any(note.startswith("precision undefined") for note in found.notes)
    assert found.to_json()["auc"] is None
    assert "AUC undefined" in str(found)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 1], [0.5], "expected one for each of 2 labels, got 1"),
        ([0, 2], [0.5, 0.5], r"expected 1 \(COVID\) or 0 \(NonCOVID\), got 2"),
        ([0, 1], [0.5, float("nan")], "finite numbers"),
        ([], [], "at least one image"),
        (["a", "b"], [0, 1], "expected numbers"),
    ],
)
def test_bad_input_is_named(labels: list[object], scores: list[float], words: str) -> None:
    with pytest.raises(metrics.MetricError, match=words):
        metrics.evaluate(labels, scores)


def test_calibration() -> None:
    """Perfectly calibrated bins have error 0; always saying 1 on half COVID has 0.5."""
    assert metrics.calibration([0, 0, 0, 1], [0.25] * 4)["ece"] == pytest.approx(0)
    assert metrics.calibration([0, 1], [1.0, 1.0])["ece"] == pytest.approx(0.5)
    assert metrics.calibration([0, 1], [1.0, 1.0])["brier"] == pytest.approx(0.5)
    with pytest.raises(metrics.MetricError, match=r"probabilities in 0\.\.1"):
        metrics.calibration([0, 1], [2.0, 0.0])
