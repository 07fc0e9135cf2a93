"""How every model of this dataset is scored: one function, the positive class named, intervals over patients.

COVID = 1 is positive; precision, recall and F1 are for COVID (``f1_noncovid`` is the other class, which the scripts of
2020 called F1). Images of one patient are not independent: intervals come from resampling patients, which on the 2020
test set widens them by a factor of about 1.5 (variance 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES = ("auc", "accuracy", "precision", "recall", "f1", "specificity", "f1_noncovid")
TAILS = (0.025, 0.975)
"""of a 95 % interval"""
BLOCK = 8_000_000
"""numbers held at once while resampling: 64 MB"""


class MetricError(ValueError):
    """Labels or scores that cannot be evaluated: what, expected, got."""


class Metrics(dict[str, Any]):
    """Values by name, also as attributes: ``m.auc``, ``m["auc"]``; ``m.intervals["auc"]`` is the 95 % interval.

    A metric that is undefined here is NaN and ``m.notes`` says why.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"metric {name!r}: expected one of {', '.join(self)}") from error

    def __str__(self) -> str:
        unit = "patients" if self["clustered"] else "images"
        lines = [
            f"{self['images']} images, {self['groups']} {unit}, positive class COVID, threshold {self['threshold']:g}"
        ]
        for name in NAMES:
            low, high = self["intervals"][name]
            lines.append(f"{name:12} {self[name]:.3f}  95 % {low:.3f} to {high:.3f}")
        return "\n".join([*lines, *self["notes"]])

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        found: dict[str, Any] = plain(self)
        return found


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: Sequence[Any] | npt.ArrayLike | None = None,
    threshold: float = 0.5,
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Metrics:
    """AUC, accuracy, precision, recall, F1 for COVID with percentile bootstrap intervals.

    labels: 0/1, N. scores: P(COVID) or any rising score, N; at or above ``threshold`` counts as COVID. groups: patient
    of each image; patients, not images, are resampled (None: every image on its own). Raises MetricError.
    """
    truth, score = checked(labels, scores)
    if not 0 < level < 1:
        raise MetricError(f"level: expected a share between 0 and 1, got {level}")
    group, count = grouped(groups, len(truth))
    notes = []
    if truth.min() == truth.max():
        notes.append(f"AUC undefined: all {len(truth)} labels are {'COVID' if truth[0] else 'NonCOVID'}")
    values = {
        name: float(value[0]) for name, value in weighted(truth, score, np.ones((1, len(truth))), threshold).items()
    }
    for name in ("precision", "recall", "f1"):
        if math.isnan(values[name]):
            notes.append(f"{name} undefined: no image {'is predicted' if name == 'precision' else 'is labelled'} COVID")
    intervals, dropped = dict.fromkeys(NAMES, (math.nan, math.nan)), 0
    if replicates > 0 and count > 1:
        samples = bootstrap(truth, score, group, count, threshold, replicates, seed)
        tail = (1 - level) / 2
        for name in NAMES:
            intervals[name] = interval(values[name], samples[name], (tail, 1 - tail))
        dropped = int((~np.isfinite(samples["auc"])).sum()) if not notes else 0
        if dropped:
            notes.append(f"{dropped} of {replicates} resamples held one class only and do not count for the AUC")
    elif count == 1:
        notes.append("no intervals: a single patient cannot be resampled")
    return Metrics(
        **values,
        intervals=intervals,
        images=len(truth),
        covid=int(truth.sum()),
        groups=count,
        clustered=groups is not None,
        threshold=float(threshold),
        level=level,
        positive="COVID",
        replicates=replicates,
        seed=seed,
        notes=notes,
    )


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve, ties counted half; NaN where one class is absent."""
    truth, score = checked(labels, scores)
    return float(weighted(truth, score, np.ones((1, len(truth))), 0.5)["auc"][0])


def calibration(labels: npt.ArrayLike, scores: npt.ArrayLike, bins: int = 10) -> dict[str, Any]:
    """Expected calibration error over equal-width bins of P(COVID), Brier score, and the reliability table.

    Raises MetricError where scores are not probabilities.
    """
    truth, score = checked(labels, scores)
    if score.min() < 0 or score.max() > 1:
        raise MetricError(f"scores: expected probabilities in 0..1, got {score.min():g} to {score.max():g}")
    index = np.minimum((score * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    held = np.maximum(count, 1)
    mean = np.bincount(index, score, minlength=bins) / held
    share = np.bincount(index, truth, minlength=bins) / held
    table = [
        {
            "from": i / bins,
            "to": (i + 1) / bins,
            "images": int(count[i]),
            "score": float(mean[i]),
            "covid": float(share[i]),
        }
        for i in range(bins)
        if count[i]
    ]
    ece = float((count * np.abs(mean - share)).sum() / len(truth))
    return {"ece": ece, "brier": float(np.mean((score - truth) ** 2)), "bins": table}


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels (0/1) and finite scores as two float vectors of one length, or MetricError."""
    try:
        truth, score = np.asarray(labels, dtype=float).ravel(), np.asarray(scores, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise MetricError(f"labels and scores: expected numbers, got {error}") from error
    if len(truth) != len(score):
        raise MetricError(f"scores: expected one for each of {len(truth)} labels, got {len(score)}")
    if not len(truth):
        raise MetricError("labels: expected at least one image, got none")
    if not np.isin(truth, (0, 1)).all():
        raise MetricError(f"labels: expected 1 (COVID) or 0 (NonCOVID), got {truth[~np.isin(truth, (0, 1))][0]:g}")
    if not np.isfinite(score).all():
        raise MetricError(f"scores: expected finite numbers, got {int((~np.isfinite(score)).sum())} that are not")
    return truth, score


def grouped(groups: Sequence[Any] | npt.ArrayLike | None, count: int) -> tuple[np.ndarray, int]:
    """Number of each image's patient (N, from 0) and how many patients there are; None: an image is a patient."""
    if groups is None:
        return np.arange(count), count
    values = np.asarray([str(value) for value in np.asarray(groups, dtype=object).ravel()])
    if len(values) != count:
        raise MetricError(f"groups: expected a patient for each of {count} images, got {len(values)}")
    unique, index = np.unique(values, return_inverse=True)
    return index, len(unique)


def weighted(truth: np.ndarray, score: np.ndarray, weight: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """Every metric for each row of image weights (B×N); undefined is NaN."""
    order = np.argsort(score, kind="stable")
    return _sorted_weighted(truth[order], score[order], weight[:, order], threshold)


def _sorted_weighted(
    truth: np.ndarray, score: np.ndarray, weight: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    """``weighted`` for images in rising order of score."""
    covid = truth == 1
    called = score >= threshold
    cells = np.stack([covid & called, ~covid & called, covid & ~called, ~covid & ~called], axis=1).astype(float)
    tp, fp, fn, tn = (weight @ cells).T
    negative = weight * ~covid
    starts = np.flatnonzero(np.r_[True, np.diff(score) > 0])
    if len(starts) < len(score):  # ties: one step of the curve for each distinct score
        positive = np.add.reduceat(weight * covid, starts, axis=1)
        negative = np.add.reduceat(negative, starts, axis=1)
    else:
        positive = weight - negative
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "auc": np.einsum("bn,bn->b", positive, below) / ((tp + fn) * (fp + tn)),
            "accuracy": (tp + tn) / (tp + fp + fn + tn),
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "specificity": tn / (tn + fp),
            "f1_noncovid": 2 * tn / (2 * tn + fp + fn),
        }


def interval(value: float, drawn: np.ndarray, tails: tuple[float, float] = TAILS) -> tuple[float, float]:
    """Percentile interval of ``value`` from its resamples; NaN where it, or every one of them, is undefined."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or math.isnan(value):
        return math.nan, math.nan
    low, high = np.quantile(finite, tails)
    return float(low), float(high)


def bootstrap(
    truth: np.ndarray, score: np.ndarray, group: np.ndarray, count: int, threshold: float, replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Every metric of ``replicates`` resamples of patients; the same seed draws the same patients for other scores."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // max(len(truth), count))
    found: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    order = np.argsort(score, kind="stable")
    truth, score, group = truth[order], score[order], group[order]
    for begin in range(0, replicates, block):
        size = min(block, replicates - begin)
        drawn = rng.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(float)
        for name, values in _sorted_weighted(truth, score, times[:, group], threshold).items():
            found[name].append(values)
    return {name: np.concatenate(values) if values else np.zeros(0) for name, values in found.items()}
