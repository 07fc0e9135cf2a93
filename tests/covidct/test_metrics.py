"""Metrics against closed forms, scikit-learn and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from covidct import metrics


def sample(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, count // 3, count)
    label = (group % 2).astype(int)
    shift = rng.normal(0, 0.2, count // 3)
    score = np.clip(np.round(0.3 + 0.3 * label + shift[group] + rng.normal(0, 0.2, count), 2), 0, 1)
    return label, score, group


def test_values_equal_scikit_learn_with_ties() -> None:
    label, score, group = sample()
    found = metrics.evaluate(label, score, group, threshold=0.4, replicates=0)
    called = score >= 0.4
    assert found.auc == pytest.approx(roc_auc_score(label, score))
    assert found.precision == pytest.approx(precision_score(label, called))
    assert found.recall == pytest.approx(recall_score(label, called))
    assert found.f1 == pytest.approx(f1_score(label, called))
    assert found.f1_noncovid == pytest.approx(f1_score(label, called, pos_label=0))
    assert found["accuracy"] == pytest.approx((label == called).mean())


def test_a_score_at_the_threshold_is_covid() -> None:
    assert metrics.evaluate([1, 0], [0.5, 0.49]).accuracy == 1


def test_bootstrap_equals_a_slow_loop() -> None:
    """The vectorised resampling of patients gives the metrics of really repeated rows."""
    label, score, group = sample(60)
    unique, index = np.unique(group, return_inverse=True)
    fast = metrics._bootstrap(label, score, index, len(unique), 0.5, 5, seed=7)
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


def test_delong_equals_the_definition() -> None:
    """Unclustered: the variance of DeLong 1988 computed with double loops; clusters of one change nothing."""
    label, a, _ = sample(40)
    b = np.clip(a + np.random.default_rng(1).normal(0, 0.2, 40), 0, 1)

    def kernel(score: np.ndarray) -> np.ndarray:
        x, y = score[label == 1], score[label == 0]
        return (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])

    difference = kernel(a) - kernel(b)
    m, n = difference.shape
    variance = difference.mean(1).var(ddof=1) / m + difference.mean(0).var(ddof=1) / n
    found = metrics.compare(label, a, b)
    assert found["delong"]["difference"] == pytest.approx(roc_auc_score(label, a) - roc_auc_score(label, b))
    assert found["delong"]["standard_error"] == pytest.approx(math.sqrt(variance))
    assert found["bootstrap"]["auc"]["difference"] == pytest.approx(found["delong"]["difference"])
    same = metrics.compare(label, a, a)
    assert same["delong"]["p"] == 1
    assert same["bootstrap"]["auc"]["p"] == 1


def test_clustered_delong_sees_repeats() -> None:
    """Images repeated three times within a patient leave the clustered error as it was."""
    label, a, _ = sample(60)
    b = np.clip(a + np.random.default_rng(1).normal(0, 0.2, 60), 0, 1)
    once = metrics.compare(label, a, b, np.arange(60), replicates=10)["delong"]["standard_error"]
    thrice = [np.repeat(v, 3) for v in (label, a, b, np.arange(60))]
    assert metrics.compare(*thrice, replicates=10)["delong"]["standard_error"] == pytest.approx(once)
    assert metrics.compare(*thrice[:3], replicates=10)["delong"]["standard_error"] < 0.7 * once


def test_calibration() -> None:
    """Perfectly calibrated bins have error 0; always saying 1 on half COVID has 0.5."""
    assert metrics.calibration([0, 0, 0, 1], [0.25] * 4)["ece"] == pytest.approx(0)
    assert metrics.calibration([0, 1], [1.0, 1.0])["ece"] == pytest.approx(0.5)
    assert metrics.calibration([0, 1], [1.0, 1.0])["brier"] == pytest.approx(0.5)
    with pytest.raises(metrics.MetricError, match=r"probabilities in 0\.\.1"):
        metrics.calibration([0, 1], [2.0, 0.0])
