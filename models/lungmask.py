"""Where the lungs are in a picture of a chest CT slice: a plain mask by threshold and shape, for pictures without HU.

Good enough to say how much of a heat map lies inside the lungs; it is no segmentation for measuring disease.
"""

from __future__ import annotations

import numpy as np

LEAST, MOST = 0.04, 0.8
"""share of the picture that both lungs together can take; outside it nothing was found"""
PART = 0.01
"""share of the picture that one region must have: smaller dark regions are airways, bowel gas or letters"""
SOLID = 0.4
"""share of its convex hull that a lung fills, consolidation and vessels taken off; ragged regions fill less"""


def lung_mask(grey: np.ndarray) -> np.ndarray | None:
    """Bool H×W of uint8 H×W, or None where no lungs are found (not an axial slice, or windowed beyond recognition).

    Dark regions (Otsu's threshold) that are not the air around the body, which lies in the picture's corners; each is
    filled to its convex hull, so that consolidation along the chest wall, as bright as tissue, counts as lung.
    """
    import cv2
    from scipy import ndimage

    if grey.ndim != 2 or grey.dtype != np.uint8 or min(grey.shape) < 16:
        raise ValueError(f"lung_mask: expected uint8 H×W of at least 16 pixels, got {grey.dtype} {grey.shape}")
    side = min(grey.shape)
    smooth = cv2.GaussianBlur(grey, (0, 0), max(side / 128, 0.8))
    threshold, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    radius = max(1, round(side / 100))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Opening cuts the thin bridges that streaks and skin folds make between the lungs and the air outside
    dark = cv2.morphologyEx((smooth <= threshold).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    regions, count = ndimage.label(dark)
    air = _outside(regions)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    inner = [number for number in range(1, count + 1) if number not in air and sizes[number] >= PART * grey.size]
    largest = max((sizes[number] for number in inner), default=0)
    at_rim = set(np.unique(_rim(regions)).tolist())
    mask = np.zeros(grey.shape, dtype=np.uint8)
    for number in inner:
        if number in at_rim and sizes[number] < largest / 4:
            continue  # air between the body and the table, or a dark margin
        contours, _ = cv2.findContours((regions == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.convexHull(np.concatenate(contours))
        if sizes[number] >= SOLID * cv2.contourArea(hull):
            cv2.fillConvexPoly(mask, hull, 1)
    found = mask.astype(bool)
    return found if LEAST <= found.mean() <= MOST else None


def _outside(regions: np.ndarray) -> set[int]:
    """Regions that reach a corner, or that lie along more than a third of the picture's rim."""
    height, width = regions.shape
    reach_y, reach_x = max(1, height // 20), max(1, width // 20)
    corners = [regions[rows, columns] for rows in (slice(0, reach_y), slice(-reach_y, None))
               for columns in (slice(0, reach_x), slice(-reach_x, None))]  # fmt: skip
    found = {int(value) for corner in corners for value in np.unique(corner)}
    rim = _rim(regions)
    found |= {int(value) for value in np.unique(rim) if value and (rim == value).mean() > 1 / 3}
    return found - {0}


def _rim(regions: np.ndarray) -> np.ndarray:
    return np.concatenate([regions[0], regions[-1], regions[1:-1, 0], regions[1:-1, -1]])


def share_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the heat (H×W, ≥ 0) that lies in the mask (bool H×W); NaN where there is no heat at all."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else float("nan")
