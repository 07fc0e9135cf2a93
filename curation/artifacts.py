"""Letters, arrows, circles, coloured marks, scale bars and burned-in text -> mask; mask -> repaired pixels.

A small network (`curation.strokes`), learned from marks drawn on clean slices, says how sure it is of every pixel; sure
pixels and all that hangs together with them are the mask, and so is colour in an otherwise grey picture. `repair`
changes pixels inside the mask only.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from curation import strokes
from curation.raster import ImageError, check, chroma, grey, squeeze

Treatment = Literal["none", "repair", "crop", "drop"]
VERSION = "artifacts-3"
SURE, LIKELY = 0.99, 0.15
"""chance from which a pixel starts a mark, and from which it belongs to one that has started (chosen on drawings over
subjects of the training)"""
WORK = 768
"""pixels of the longer side at which marks are looked for"""
SPECK = 6
"""pixels: smaller finds are noise"""
COLOUR = 30
"""chroma above which a pixel of an otherwise grey picture is a mark (audit of the 2020 release: recall 0.88)"""
RADIUS = 3
"""pixels: neighbourhood that inpainting reads"""


def find(image: np.ndarray) -> np.ndarray:
    """Bool mask H x W of burned-in marks; all False for a clean picture."""
    luma, colour = grey(image), chroma(image)
    mask = np.zeros(luma.shape, bool)
    if min(luma.shape) < 16:
        return mask
    small, factor = squeeze(image, WORK)
    chance = strokes.chances(np.ascontiguousarray(small))
    if factor < 1:
        chance = cv2.resize(chance, (luma.shape[1], luma.shape[0]), interpolation=cv2.INTER_LINEAR)
    mask |= _started(chance > LIKELY, chance > SURE, SPECK)
    if float(np.median(colour)) < 10:
        coloured = colour > COLOUR
        mask |= _started(coloured, coloured, 8)
    return mask


def _started(mask: np.ndarray, sure: np.ndarray, least: int) -> np.ndarray:
    """Connected parts of ``mask`` with at least ``least`` pixels, one of them ``sure``."""
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    begun = np.zeros(len(keep), bool)
    begun[np.unique(labels[sure])] = True
    begun[0] = False
    return (keep & begun)[labels]


def repair(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with masked pixels inpainted from their surroundings; every other pixel is bit-identical.

    ``mask`` is H x W bool. Raises ImageError if sizes differ. A mask that covers everything leaves nothing to read
    from,
    and the picture comes back unchanged.
    """
    image, mask = check(image), np.asarray(mask)
    if mask.shape != image.shape[:2]:
        raise ImageError(f"mask: expected {image.shape[:2]}, the picture's size, got {mask.shape}")
    mask = mask.astype(bool)
    if not mask.any() or mask.all():
        return image.copy()
    filled = cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)
    result = image.copy()
    result[mask] = filled[mask]
    return result


def lung(image: np.ndarray) -> np.ndarray:
    """Bool mask H x W of what looks like lung: dark, enclosed by brighter tissue, not touching the frame."""
    luma = cv2.medianBlur(grey(image), 5) if min(image.shape[:2]) > 8 else grey(image)
    level, _ = cv2.threshold(luma, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark = (luma < level).astype(np.uint8)
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
    height, width = luma.shape
    x, y, w, h = (stats[:, i] for i in range(4))
    enclosed = (x > 0) & (y > 0) & (x + w < width) & (y + h < height) & (stats[:, 4] > 0.01 * luma.size)
    enclosed[0] = False
    inside = enclosed[labels].astype(np.uint8)
    size = max(3, (min(luma.shape) // 20) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(inside, cv2.MORPH_CLOSE, kernel).astype(bool)


def treat(
    image: np.ndarray, mask: np.ndarray, repair_limit: float, drop_limit: float
) -> tuple[Treatment, float, tuple[int, int, int, int]]:
    """``(what to propose, masked share of lung, box to keep)`` for a panel and its marks.

    Lung is never invented beyond ``repair_limit`` (share of lung pixels): the 2020 release shows what comes of it.
    Beyond
    it the side that holds the marks is cropped off, if no more than ``drop_limit`` of the lung goes with it, else the
    proposal is to drop the panel.
    """
    height, width = mask.shape
    whole = (0, 0, width, height)
    if not mask.any():
        return "none", 0.0, whole
    tissue = lung(image)
    area = int(tissue.sum())
    if not area:
        return "repair", 0.0, whole
    share = float((mask & tissue).sum() / area)
    if share <= repair_limit:
        return "repair", share, whole
    inside = mask & tissue
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    choices = [
        (0, int(rows[-1]) + 1, width, height),
        (0, 0, width, int(rows[0])),
        (int(columns[-1]) + 1, 0, width, height),
        (0, 0, int(columns[0]), height),
    ]
    lost = [1 - tissue[b[1] : b[3], b[0] : b[2]].sum() / area for b in choices]
    best = int(np.argmin(lost))
    return ("crop", share, choices[best]) if lost[best] <= drop_limit else ("drop", share, whole)
