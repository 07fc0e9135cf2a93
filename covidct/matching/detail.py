"""How well the fine detail of two aligned pictures agrees, window by window."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from covidct.matching.features import Array

MIN_OVERLAP = 0.2
"""least share of the smaller picture that lies inside the larger one"""
MIN_PIXELS = 1500
"""least overlap in pixels: below, agreement means nothing"""
WINDOW = 24
"""side of a window, pixels of the coarser normalised picture"""
MIN_WINDOWS = 12
MIN_STRENGTH = 1.5
"""grey levels of band-passed detail that a window must show in both pictures"""


class Agreement(NamedTuple):
    """Over the overlap of two aligned pictures; correlations are -1..1."""

    correlation: float
    detail: float
    steady: float
    overlap: float


def compare(left: Array, right: Array, matrix: Array) -> Agreement | None:
    """Agreement of two grey pictures (H x W) aligned by ``matrix`` (2 x 3, left to right), or None."""
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor <= 0:
        return None
    if factor < 1:  # detail can be compared only where both have it: bring the finer to the coarser
        return compare(right, left, cv2.invertAffineTransform(matrix))
    height, width = left.shape
    softened = right if factor < 1.2 else cv2.GaussianBlur(right, (0, 0), 0.45 * factor)
    moved = cv2.warpAffine(softened, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = cv2.warpAffine(
        np.ones(right.shape, np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    within = cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    smaller = min(left.size, right.size / factor**2)
    overlap = float(within.sum() / max(smaller, 1.0))
    if overlap < MIN_OVERLAP or within.sum() < MIN_PIXELS:
        return None
    a, b = left.astype(np.float32), moved.astype(np.float32)
    values = _windows(band(a), band(b), within)
    detail, steady = (float(np.quantile(values, q)) for q in (0.5, 0.3)) if len(values) >= MIN_WINDOWS else (0.0, 0.0)
    return Agreement(_correlation(a[within], b[within]), detail, steady, min(1.0, overlap))


def band(image: Array) -> Array:
    """A band of scales: JPEG and resampling change the finest pixels, brightness and window the coarse ones."""
    return cv2.GaussianBlur(image, (0, 0), 1.2) - cv2.GaussianBlur(image, (0, 0), 5.0)


def _windows(a: Array, b: Array, inside: Array) -> Array:
    """Correlation in each half-overlapping window where both pictures have detail.

    Flat background agrees with anything, and a saturated copy has lost what could disagree.
    """
    weight = inside.astype(np.float32)

    def mean(x: Array) -> Array:
        return cv2.boxFilter(x * weight, -1, (WINDOW, WINDOW), normalize=True, borderType=cv2.BORDER_CONSTANT)

    share = np.maximum(mean(np.ones_like(a)), 1e-6)
    ma, mb = mean(a) / share, mean(b) / share
    va = np.maximum(mean(a * a) / share - ma * ma, 0)
    vb = np.maximum(mean(b * b) / share - mb * mb, 0)
    cov = mean(a * b) / share - ma * mb
    use = np.zeros(a.shape, bool)
    use[WINDOW // 2 :: WINDOW // 2, WINDOW // 2 :: WINDOW // 2] = True
    use &= (share > 0.7) & (np.sqrt(np.minimum(va, vb)) > MIN_STRENGTH)
    return (cov[use] / np.sqrt(np.maximum(va * vb, 1e-3))[use]).astype(np.float32)


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 0 else 0.0
