"""Letters, arrows, circles, coloured marks, scale bars and burned-in text -> mask; mask -> repaired pixels.

A small network (`curation.strokes`), learned from marks drawn on clean slices, says how sure it is of every pixel, at
several sizes and mirrored; sure pixels and all that hangs together with them are the mask, and so is colour in an
otherwise grey picture. `repair` changes pixels inside the mask only.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from curation import strokes
from curation.raster import ImageError, check, grey, squeeze

Treatment = Literal["none", "repair", "crop", "drop"]
VERSION = "artifacts-5"
SURE, LIKELY = 0.8, 0.1
"""chance from which a pixel starts a mark, and from which it belongs to one that has started (chosen on drawings over
subjects of the training)"""
WORK = 768
"""pixels of the longer side at which marks are looked for"""
SMALL = 460
"""pixels of the longer side: a smaller picture is looked at enlarged only"""
VIEWS = (512, 768)
"""pixels of the longer side at which pictures are looked at; larger than SMALL: beside their own size"""
LEAST, MOST = 0.65, 2.0
"""by how much a picture is made smaller or larger for that"""
CLOSER = 1.2
"""by how much more a small picture is enlarged for its second view"""
SPECK = 6
"""pixels: smaller finds are noise"""
COLOUR = 30
"""chroma above which a pixel of an otherwise grey picture is a mark (audit of the 2020 release: recall 0.88)"""
LIT = 40
"""mean of the channels from which a pixel tells the tint of the picture"""
RADIUS = 3
"""pixels: neighbourhood that inpainting reads"""


def find(image: np.ndarray) -> np.ndarray:
    """Bool mask H x W of burned-in marks; all False for a clean picture."""
    luma, colour = grey(image), coloured(image)
    mask = np.zeros(luma.shape, bool)
    if min(luma.shape) < 16:
        return mask
    chance = chances(image)
    mask |= _started(chance > LIKELY, chance > SURE, SPECK)
    if float(np.median(colour)) < 10:
        strong = colour > COLOUR
        mask |= _started(strong, strong, 8)
    return mask


def coloured(image: np.ndarray) -> np.ndarray:
    """Float32 H x W: chroma, 0..255, beyond the tint that the whole picture has.

    Paper and screens tint scans in proportion to brightness; their white bones are no coloured marks.
    """
    if image.ndim == 2:
        return np.zeros(image.shape, np.float32)
    pixels = image.astype(np.float32)
    level = pixels.mean(axis=2, keepdims=True)
    lit = level[..., 0] > LIT
    tint = np.median(pixels[lit] / level[lit], axis=0) if lit.mean() > 0.05 else np.ones(3, np.float32)
    return np.asarray(np.ptp(pixels - level * tint, axis=2), dtype=np.float32)


def glance(image: np.ndarray) -> np.ndarray:
    """As `chances`, of a single view: quicker and crisper, with more false finds."""
    small, _ = squeeze(image, WORK)
    return _fitted(_chances(small, _factors(max(small.shape[:2]))[0]), image.shape)


def chances(image: np.ndarray) -> np.ndarray:
    """Float32 H x W: how sure the network is, 0..1, that a mark covers the pixel; the mean over several views.

    A rib may look like a letter at one size, hardly at every size and both ways round; a thin letter in a small picture
    shows when enlarged.
    """
    small, _ = squeeze(image, WORK)
    factors = _factors(max(small.shape[:2]))
    total = _chances(small, factors[0])
    total += _chances(np.ascontiguousarray(small[:, ::-1]), factors[0])[:, ::-1]
    for factor in factors[1:]:
        total += _chances(small, factor)
    return _fitted(total / (1 + len(factors)), image.shape)


def enlargement(long: int) -> float:
    """By how much a picture is enlarged whose longer side of ``long`` pixels is below SMALL."""
    return min(VIEWS[0] / long, MOST)


def _factors(long: int) -> list[float]:
    """By how much a picture of that longer side is resized to be looked at, the main view first."""
    if long < SMALL:
        return [enlargement(long), enlargement(long) * CLOSER]
    others = (side / long for side in VIEWS)
    return [1.0, *(factor for factor in others if LEAST <= factor <= MOST and abs(factor - 1) > 0.1)]


def looked_at(image: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture resized by ``factor`` and, at that size, `strokes.alike` (of the picture before it was enlarged)."""
    if factor == 1:
        return image, strokes.alike(image)
    if factor < 1:
        view = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
        return view, strokes.alike(view)
    view = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
    even = cv2.resize(strokes.alike(image), (view.shape[1], view.shape[0]), interpolation=cv2.INTER_NEAREST)
    return view, np.asarray(even)


def _chances(image: np.ndarray, factor: float) -> np.ndarray:
    """Float32 at the picture's size: the network's chances of the picture as seen at ``factor`` times its size."""
    view, flat = looked_at(np.ascontiguousarray(image), factor)
    return _fitted(strokes.chances(view, flat=flat), image.shape)


def _fitted(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The plane at the size of ``shape``."""
    rule = cv2.INTER_AREA if plane.shape[0] > shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=rule))


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
