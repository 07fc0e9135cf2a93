"""Comparisons against DeLong's definition, slow loops and what repeats must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from covidct import metrics, pairs
from tests.covidct.scores import sample


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
    found = pairs.compare(label, a, b)
    assert found["delong"]["difference"] == pytest.approx(roc_auc_score(label, a) - roc_auc_score(label, b))
    assert found["delong"]["standard_error"] == pytest.approx(math.sqrt(variance))
    assert found["bootstrap"]["auc"]["difference"] == pytest.approx(found["delong"]["difference"])
    same = pairs.compare(label, a, a)
    assert same["delong"]["p"] == 1
    assert same["bootstrap"]["auc"]["p"] == 1


def test_clustered_delong_sees_repeats() -> None:
    """Images repeated three times within a patient leave the clustered error as it was."""
    label, a, _ = sample(60)
    b = np.clip(a + np.random.default_rng(1).normal(0, 0.2, 60), 0, 1)
    once = pairs.compare(label, a, b, np.arange(60), replicates=10)["delong"]["standard_error"]
    thrice = [np.repeat(v, 3) for v in (label, a, b, np.arange(60))]
    assert pairs.compare(*thrice, replicates=10)["delong"]["standard_error"] == pytest.approx(once)
    assert pairs.compare(*thrice[:3], replicates=10)["delong"]["standard_error"] < 0.7 * once


def test_clustered_delong_of_patients_with_both_classes_is_a_jackknifes() -> None:
    """Shifting both images of a patient together cancels in the AUC; so the error is smaller than unclustered."""
    rng = np.random.default_rng(0)
    group, label = np.repeat(np.arange(60), 2), np.tile([0, 1], 60)
    a = 0.3 * label + rng.normal(0, 0.3, 120)
    b = a + np.repeat(rng.normal(0, 0.5, 60), 2)
    found = pairs.compare(label, a, b, group, replicates=10)["delong"]["standard_error"]
    left = [
        roc_auc_score(label[group != one], a[group != one]) - roc_auc_score(label[group != one], b[group != one])
        for one in range(60)
    ]
    assert found == pytest.approx(math.sqrt(59 * np.var(left)), rel=0.1)
    assert found < 0.8 * pairs.compare(label, a, b, replicates=10)["delong"]["standard_error"]


def test_p_is_two_sided() -> None:
    """One of 40 resamples on the other side of zero: 2.5 % on that side, 5 % on both."""
    drawn = np.array([-1.0] + [1.0] * 39)
    assert pairs._p(0.5, drawn) == pairs._p(-0.5, -drawn) == pytest.approx(0.05)
    assert pairs._p(0.5, np.ones(40)) == pytest.approx(2 / 41)  # no smaller than their number allows
    assert pairs._p(0.0, np.tile([-1.0, 1.0], 20)) == 1


def test_one_seed_gives_the_interval_of_evaluate() -> None:
    label, score, group = sample()
    found = pairs.over_seeds(label, score, group, replicates=200)
    expected = metrics.evaluate(label, score, group, replicates=200)
    for name in metrics.NAMES:
        assert found[name]["mean"] == pytest.approx(expected[name])
        assert found[name]["interval"] == pytest.approx(expected.intervals[name])
        assert math.isnan(found[name]["deviation"])


def test_equal_seeds_are_one_and_different_ones_widen() -> None:
    label, score, group = sample()
    one = pairs.over_seeds(label, score, group, replicates=400)["auc"]
    same = pairs.over_seeds(label, [score, score, score], group, replicates=400)["auc"]
    assert same["interval"] == pytest.approx(one["interval"])
    assert same["deviation"] == pytest.approx(0)
    worse = np.random.default_rng(5).random(len(label))
    mixed = pairs.over_seeds(label, [score, worse], group, replicates=400)["auc"]
    apart = roc_auc_score(label, score) - roc_auc_score(label, worse)
    assert mixed["deviation"] == pytest.approx(
        abs(apart) / math.sqrt(2)
    )  # of two trainings, of which they are a sample
    assert mixed["mean"] == pytest.approx((roc_auc_score(label, score) + roc_auc_score(label, worse)) / 2)
    assert mixed["interval"][1] - mixed["interval"][0] > 2 * (one["interval"][1] - one["interval"][0])


def test_the_mean_over_seeds_is_compared() -> None:
    label, a, group = sample()
    noise = np.random.default_rng(2).normal(0, 0.3, (2, len(label)))
    b = np.clip(a + noise, 0, 1)
    found = pairs.compare(label, a, b, group, replicates=300)
    expected = roc_auc_score(label, a) - np.mean([roc_auc_score(label, row) for row in b])
    assert found["bootstrap"]["auc"]["difference"] == pytest.approx(expected)
    assert found["delong"]["difference"] == pytest.approx(expected)
    assert found["seeds"] == (1, 2)
    low, high = found["bootstrap"]["auc"]["interval"]
    assert low < expected < high
    swapped = pairs.compare(label, b, a, group, replicates=300)["bootstrap"]["auc"]
    assert swapped["difference"] == pytest.approx(-expected)


def test_pairing_is_narrower_than_two_intervals() -> None:
    """Nearly the same scores on the same patients: the difference is known far better than either figure."""
    label, a, group = sample()
    b = np.clip(a + np.random.default_rng(3).normal(0, 0.01, len(a)), 0, 1)
    low, high = pairs.compare(label, a, b, group, replicates=300)["bootstrap"]["auc"]["interval"]
    own = metrics.evaluate(label, a, group, replicates=300).intervals["auc"]
    assert high - low < 0.3 * (own[1] - own[0])


def test_one_class_has_no_difference() -> None:
    found = pairs.compare([1, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], replicates=10)
    assert math.isnan(found["bootstrap"]["auc"]["difference"])
    assert math.isnan(found["delong"]["p"])


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([[0.1, 0.2], [0.3]], "expected numbers, N or S×N"),
        (np.zeros((1, 2, 2)), "got shape"),
        ([[0.1, 0.2, 0.3]], "expected one for each of 2 labels, got 3"),
    ],
)
def test_bad_scores_are_named(scores: object, words: str) -> None:
    with pytest.raises(metrics.MetricError, match=words):
        pairs.compare([0, 1], scores, [0.1, 0.2])
