"""Geometric verification: do two pictures show the same pixels, after some crop, scale, window and mirror?

Two tests must agree. Matched local features must fit one similarity transform (RANSAC) closely, and after alignment the
fine detail of the pictures must correlate in most places. Together they keep neighbouring slices of one patient apart:
their outlines coincide, their vessels do not. The second test looks at many small windows and takes middle values, so
that letters, arrows or a retouched patch in one copy do not hide that the rest is the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from covidct.matching.detail import compare
from covidct.matching.features import Array, Features, mirrored

MIN_MATCHES = 8
"""fewer tentative matches are not worth a RANSAC"""
MIN_INLIERS = 10
"""fewer features on one transform happen by chance between any two chest CTs"""
RATIO = 0.85
"""Lowe's ratio of best to second-best distance"""
TOLERANCE = 4.0
"""RANSAC reprojection error, pixels of the normalised picture"""

# Logistic model of "same picture", fitted by `benchmarks/duplicates.py calibrate` on generated copies and neighbouring
# slices (LUNA and the training part of the 2020 release).
WEIGHTS = {"detail": 4.0, "steady": 4.0, "fraction": 7.0, "residual": -4.5}
BIAS = -5.1
SURE = 0.7
"""score from which it is one picture: between generated copies (lowest of 115: 0.79) and neighbouring slices of the
training part of the 2020 release (493 pairs, one above 0.6)"""


@dataclass(frozen=True)
class Evidence:
    """Why two pictures are held to be the same picture."""

    inliers: int
    """local features that fit one transform, counted once per spot"""
    fraction: float
    """inliers among the tentative matches, 0..1"""
    residual: float
    """median distance of an inlier from where the transform puts it, pixels of the coarser normalised picture"""
    correlation: float
    """of the aligned pictures over their overlap, -1..1"""
    detail: float
    """median correlation of fine detail over small windows of the overlap, -1..1"""
    steady: float
    """30 % quantile of the same: high when nearly everywhere agrees"""
    overlap: float
    """share of the smaller picture that lies inside the larger one"""
    mirrored: bool
    transform: tuple[float, float, float, float, float, float]
    """first two rows of the matrix that takes pixels of picture i to pixels of picture j (mirror included)"""
    exact: bool = False
    """the grey pixels are equal"""

    @property
    def score(self) -> float:
        """0..1: how surely this is one picture and not two neighbouring slices."""
        total = BIAS + sum(weight * float(getattr(self, name)) for name, weight in WEIGHTS.items())
        return float(1 / (1 + np.exp(-total)))

    @property
    def same(self) -> bool:
        """The decision."""
        return self.exact or (self.inliers >= MIN_INLIERS and self.detail >= 0.5 and self.score >= SURE)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {**asdict(self), "score": round(self.score, 4)}


def matches(left: Array, right: Array) -> Array:
    """Tentative matches (M x 2 indices) of RootSIFT descriptors: mutual best and clearly better than the second best"""
    if len(left) < 2 or len(right) < 2:
        return np.zeros((0, 2), np.intp)
    likeness = left @ right.T
    best = likeness.argmax(axis=1)
    rows = np.arange(len(left))
    top = likeness[rows, best]
    mutual = likeness.argmax(axis=0)[best] == rows
    likeness[rows, best] = -1.0
    second = likeness.max(axis=1)
    # Unit vectors: distance² = 2 - 2·likeness.
    clear = (1 - top) < RATIO**2 * (1 - second)
    keep = mutual & clear
    return np.stack([rows[keep], best[keep]], axis=1)


def verify(left: Features, right: Features, mirror: bool | None = None) -> Evidence | None:
    """Evidence that two pictures overlap geometrically, or None; ``Evidence.same`` says whether it suffices.

    ``mirror`` True/False tries one orientation only, None both.
    """
    found: Evidence | None = None
    for flip in (False, True) if mirror is None else (mirror,):
        evidence = _one_way(left, right, flip)
        if evidence is not None and (found is None or evidence.score > found.score):
            found = evidence
    return found


def _one_way(left: Features, right: Features, mirror: bool) -> Evidence | None:
    descriptors = mirrored(left.descriptors) if mirror else left.descriptors
    pairs = matches(descriptors, right.descriptors)
    if len(pairs) < MIN_MATCHES:
        return None
    source, target = left.points[pairs[:, 0]].copy(), right.points[pairs[:, 1]]
    if mirror:
        source[:, 0] = left.grey.shape[1] - 1 - source[:, 0]
    matrix, mask = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=1000, confidence=0.995
    )
    if matrix is None or mask is None:
        return None
    inside = mask.ravel().astype(bool)
    source, target = source[inside], target[inside]
    # Several features on one spot are one observation.
    inliers = len({(round(x / 3), round(y / 3)) for x, y in source})
    factor = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    if inliers < MIN_INLIERS or not 0.2 < factor < 5.0:
        return None
    matrix = _refine(source, target, matrix)
    miss = np.linalg.norm(source @ matrix[:, :2].T + matrix[:, 2] - target, axis=1) / max(1.0, factor)
    grey = left.grey[:, ::-1] if mirror else left.grey
    compared = compare(np.ascontiguousarray(grey), right.grey, matrix)
    if compared is None:
        return None
    return Evidence(
        inliers=inliers,
        fraction=round(float(inside.mean()), 4),
        residual=round(float(np.median(miss)), 4),
        correlation=round(compared.correlation, 4),
        detail=round(compared.detail, 4),
        steady=round(compared.steady, 4),
        overlap=round(compared.overlap, 4),
        mirrored=mirror,
        transform=_between_pictures(left, right, matrix, mirror),
    )


def _refine(source: Array, target: Array, matrix: Array) -> Array:
    # Copies made by page layout are often stretched a little in one direction: with enough points, fit the affine map.
    if len(source) < 20:
        return matrix
    affine, mask = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE / 2, maxIters=500
    )
    if affine is None or mask.sum() < 0.6 * len(source):
        return matrix
    stretch = np.linalg.svd(np.asarray(affine[:, :2], np.float64), compute_uv=False)
    return affine if stretch[0] < 1.3 * stretch[1] else matrix


def _between_pictures(
    left: Features, right: Features, matrix: Array, mirror: bool
) -> tuple[float, float, float, float, float, float]:
    shrink = np.diag([*left.scale, 1.0])
    flip = np.array([[-1.0, 0.0, left.grey.shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) if mirror else np.eye(3)
    grow = np.diag([1 / right.scale[0], 1 / right.scale[1], 1.0])
    full = grow @ np.vstack([matrix, [0.0, 0.0, 1.0]]) @ flip @ shrink
    a, b, c, d, e, f = (round(float(v), 5) for v in full[:2].ravel())
    return a, b, c, d, e, f
