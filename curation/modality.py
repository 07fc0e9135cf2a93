"""Is this picture a chest CT? A score in 0..1 and the reason in words."""

from __future__ import annotations

import cv2
import numpy as np

from curation.artifacts import lung
from curation.raster import chroma, grey, squeeze

VERSION = "modality-0"


def score(image: np.ndarray) -> float:
    """Probability-like score in 0..1 that this is a picture of one chest CT slice."""
    luma = grey(image)
    if min(luma.shape) < 16:
        return 0.0
    small, _ = squeeze(luma, 256)
    colour, _ = squeeze(chroma(image), 256)
    tissue = lung(small)
    share = float(tissue.mean())
    count, _, stats, _ = cv2.connectedComponentsWithStats(tissue.astype(np.uint8))
    big = int((stats[1:, 4] > 0.03 * small.size).sum()) if count > 1 else 0
    levels = np.bincount(small.ravel() >> 2, minlength=64) / small.size
    busy = float(-(levels[levels > 0] * np.log2(levels[levels > 0])).sum())
    logit = -3.5 + 9 * min(share, 0.35) + 1.2 * (1 <= big <= 3) + 0.7 * (busy - 3.5) - 8 * float((colour > 30).mean())
    logit -= 4 * float((small > 250).mean() > 0.6)
    return float(1 / (1 + np.exp(-logit)))


def reason(value: float) -> str:
    """The score in words, for the card."""
    word = "looks like" if value >= 0.5 else "does not look like"
    return f"{word} one chest CT slice ({value:.2f})"
