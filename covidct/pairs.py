"""Two models on the same test images, and several seeds of one: differences and means with intervals over patients.

Seeds count: where several trainings of a recipe are given, the mean over them is what is compared, and both patients
and trainings are resampled. Two or three seeds tell little about the spread of trainings, so little is in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from covidct.metrics import NAMES, MetricError, bootstrap, checked, grouped, interval, weighted


def compare(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: Sequence[Any] | npt.ArrayLike | None = None,
    threshold: float = 0.5,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Is model a better than b on the same images? Differences a - b with paired, patient-clustered intervals.

    labels N; scores N, or S×N for S trainings of a model (their mean is compared). ``bootstrap[name]``: difference,
    95 % interval, two-sided p. ``delong``: AUC difference, standard error, z, p with the structural components (mean
    over the trainings at hand, which it takes as given) summed per patient (Obuchowski 1997; DeLong 1988 where every
    image is its own patient). Raises MetricError.
    """
    truth, a = _rows(labels, scores_a)
    b = _rows(labels, scores_b)[1]
    group, count = grouped(groups, len(truth))
    base_a, sample_a = _over(truth, a, group, count, threshold, replicates, seed, 1)
    base_b, sample_b = _over(truth, b, group, count, threshold, replicates, seed, 2)
    found = {}
    for name in NAMES:
        value = float(base_a[name].mean() - base_b[name].mean())
        difference = sample_a[name] - sample_b[name]
        found[name] = {"difference": value, "interval": interval(value, difference), "p": _p(value, difference)}
    return {
        "bootstrap": found,
        "delong": _delong(truth, a, b, group, count),
        "groups": count,
        "images": len(truth),
        "seeds": (len(a), len(b)),
        "clustered": groups is not None,
    }


def over_seeds(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: Sequence[Any] | npt.ArrayLike | None = None,
    threshold: float = 0.5,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Each metric over S trainings (scores S×N): ``mean``, ``deviation`` (NaN for one), 95 % ``interval`` of the mean.

    Patients and trainings are resampled; for one training this is metrics.evaluate's interval. Raises MetricError.
    """
    truth, rows = _rows(labels, scores)
    group, count = grouped(groups, len(truth))
    base, samples = _over(truth, rows, group, count, threshold, replicates, seed, 0)
    found = {}
    for name in NAMES:
        values, mean = base[name], float(base[name].mean())
        deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        limits = interval(mean, samples[name]) if count > 1 else (math.nan, math.nan)
        found[name] = {"mean": mean, "deviation": deviation, "interval": limits}
    return found


def _p(value: float, drawn: np.ndarray) -> float:
    """Two-sided p of a difference, from its resamples; no smaller than their number allows."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or math.isnan(value):
        return math.nan
    tails = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return min(1.0, 2 * max(float(tails), 1 / (len(drawn) + 1)))


def _rows(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels N and scores S×N."""
    try:
        table = np.atleast_2d(np.asarray(scores, dtype=float))
    except (TypeError, ValueError) as error:
        raise MetricError(f"scores: expected numbers, N or S×N, got {error}") from error
    if table.ndim != 2 or not len(table):
        raise MetricError(f"scores: expected N or S×N numbers, got shape {table.shape}")
    pairs = [checked(labels, row) for row in table]
    return pairs[0][0], np.stack([score for _, score in pairs])


def _over(
    truth: np.ndarray,
    rows: np.ndarray,
    group: np.ndarray,
    count: int,
    threshold: float,
    replicates: int,
    seed: int,
    stream: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every metric of each training (S), and of ``replicates`` resamples of patients and, if S > 1, of trainings.

    ``seed`` draws the patients, the same for both models of a pair; ``stream`` the trainings.
    """
    one = np.ones((1, len(truth)))
    values = [weighted(truth, row, one, threshold) for row in rows]
    base = {name: np.array([float(found[name][0]) for found in values]) for name in NAMES}
    drawn = [bootstrap(truth, row, group, count, threshold, replicates, seed) for row in rows]
    picks = np.random.default_rng([seed, stream]).integers(0, len(rows), (len(rows), replicates))
    samples = {}
    for name in NAMES:
        table = np.stack([found[name] for found in drawn])
        samples[name] = np.take_along_axis(table, picks, axis=0).mean(axis=0) if len(rows) > 1 else table[0]
    return base, samples


def _placement(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components: for each positive the share of negatives below it, and the reverse."""
    positive, negative = score[truth == 1], score[truth == 0]
    low, high = np.sort(negative), np.sort(positive)
    v10 = (np.searchsorted(low, positive, "left") + np.searchsorted(low, positive, "right")) / (2 * len(low))
    left, right = np.searchsorted(high, negative, "left"), np.searchsorted(high, negative, "right")
    return v10, 1 - (left + right) / (2 * len(high))


def _delong(truth: np.ndarray, a: np.ndarray, b: np.ndarray, group: np.ndarray, count: int) -> dict[str, float]:
    covid = truth == 1
    m, n = int(covid.sum()), int((~covid).sum())
    if not m or not n:
        return dict.fromkeys(("difference", "standard_error", "z", "p"), math.nan)
    (xa, ya), (xb, yb) = (
        [np.mean(part, axis=0) for part in zip(*(_placement(truth, row) for row in rows), strict=True)]
        for rows in (a, b)
    )
    x, y = xa - xb, ya - yb
    difference = float(x.mean())
    # per patient: deviations of its positives and negatives; a patient with both contributes their covariance too
    p = np.bincount(group[covid], x - difference, minlength=count)
    q = np.bincount(group[~covid], y - difference, minlength=count)
    with_p, with_q = len(np.unique(group[covid])), len(np.unique(group[~covid]))
    s10 = with_p / max(with_p - 1, 1) * (p @ p) / m**2
    s01 = with_q / max(with_q - 1, 1) * (q @ q) / n**2
    s11 = count / max(count - 1, 1) * (p @ q) / (m * n)
    error = math.sqrt(max(float(s10 + s01 + 2 * s11), 0.0))
    certain = 0.0 if difference == 0 else math.copysign(math.inf, difference)
    z = difference / error if error else certain
    return {"difference": difference, "standard_error": error, "z": z, "p": math.erfc(abs(z) / math.sqrt(2))}
