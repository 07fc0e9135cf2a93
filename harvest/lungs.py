"""Windowing of Hounsfield units, and how much lung a slice shows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Lung parenchyma lies around −850 HU; what is below −400 HU inside the body is lung, airway or bowel gas.
AIR_BELOW = -400.0
# Parenchyma holds vessels and septa, so its median lies well above that of free air; bowel gas is free air. The lungs
# of severe emphysema are nearly that too, but far larger than any gas in the bowel.
_ABOVE_FREE_AIR = 30.0
_LARGE = 0.06
_SMALLEST = 0.0015
"""share of the slice: smaller regions are airways"""


def window(hu: np.ndarray, level: float, width: float) -> np.ndarray:
    """Hounsfield units → 8-bit grey through a window (level and width in HU).

    Values outside the scanner's field of view (−2048, −3024) count as air.
    """
    low = level - width / 2
    scaled = (np.maximum(hu.astype(np.float32), -1024.0) - low) / width
    return np.round(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)


def lung_fraction(hu: np.ndarray) -> float:
    """Share of an axial slice (H×W, HU, at least −1024) that is lung: gas inside the body that is not free air."""
    air = hu < AIR_BELOW
    # Streaks of a low-dose scan break through the chest wall; closing by two pixels mends it.
    tissue = ndimage.binary_closing(np.pad(~air, 3), iterations=2)[3:-3, 3:-3]
    bodies, count = ndimage.label(tissue)
    if not count:
        return 0.0
    body = ndimage.binary_fill_holes(bodies == 1 + int(np.argmax(np.bincount(bodies.ravel())[1:])))
    outside = hu[~body & air]
    free_air = float(np.median(outside)) if outside.size > 0.01 * hu.size else -1000.0
    regions, count = ndimage.label(body & air)
    if not count:
        return 0.0
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    kept = sizes >= _SMALLEST * hu.size
    if kept.any():
        medians = ndimage.median(hu, regions, numbers[kept])
        kept[kept] = (np.asarray(medians) > free_air + _ABOVE_FREE_AIR) | (sizes[kept] >= _LARGE * hu.size)
    return float(sizes[kept].sum() / hu.size)


def lung_fraction_of_grey(grey: np.ndarray, level: float, width: float) -> float:
    """The same for a slice that was windowed before; exact only as far as the window reaches below −400 HU."""
    return lung_fraction(grey.astype(np.float32) / 255 * width + level - width / 2)
