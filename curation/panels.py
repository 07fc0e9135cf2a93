"""Compound figure -> panel boxes: recursive cuts along gutters and along straight edges.

A region is cut where a line across all of it is empty (the page's colour) and a neighbour's side runs straight along
the gap, or where no gap is left but a straight edge crosses the region. Weak lines count only where they repeat at
equal distances, as panels do. Letters that stand free are taken off first, because a letter in a gutter would close it.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from curation import modality
from curation.extents import settle
from curation.layout import LEVELS, SIDE, Region, cuts, even, gaps, parted
from curation.raster import grey, squeeze

VERSION = "panels-5"
Box = tuple[int, int, int, int]
WORK = 1800
"""pixels of the longer side at which layouts are found; gutters of two pixels must survive"""
DEPTH = 6
DARK, LIGHT = 64, 192
"""grey below which a page is dark, and from which it is light"""
FEW = 0.15
"""share of empty lines up to which light ones inside a figure can be a panel's own border on a dark page"""
EVEN = 12
"""grey levels between nearly all pixels of an empty line"""
AIR = 0.005
"""share of the picture that is noise of air if slices on a dark page have any"""
SCRAP = 0.1
"""share of the panels' median area under which something on a dark page is none"""
SENTENCE, WORDS, SOLID = 15, 1.2, 0.65
"""letters of a line of text, the widest gap between them in heights of a letter, and how full a word's box can be"""
SCAN = 0.35
"""share of ink from which a figure is more than line art, whose text is part of it"""
SURE = 0.8
"""strength of a line that needs no second opinion"""


def find_panels(image: np.ndarray) -> list[Box]:
    """Panel boxes ``(x0, y0, x1, y1)`` in pixels, ends exclusive, in reading order; one box for a single picture."""
    luma = grey(image)
    height, width = luma.shape
    small, factor = squeeze(luma, WORK)
    if min(small.shape) < 2 * SIDE and max(small.shape) < 4 * SIDE:
        return [(0, 0, width, height)]
    boxes = [_scaled(box, factor, width, height) for box in layout(small)]
    return reading_order(boxes) if len(boxes) > 1 else [(0, 0, width, height)]


def _scaled(box: Box, factor: float, width: int, height: int) -> Box:
    x0, y0, x1, y1 = (round(v / factor) for v in box)
    return max(0, x0), max(0, y0), min(width, x1), min(height, y1)


def reading_order(boxes: list[Box]) -> list[Box]:
    """Rows from the top, in a row from the left; boxes share a row if they overlap by half the lower one's height."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: (b[1], b[0])):
        for row in rows:
            top, bottom = min(b[1] for b in row), max(b[3] for b in row)
            overlap = min(box[3], bottom) - max(box[1], top)
            if overlap > 0.5 * min(box[3] - box[1], bottom - top):
                row.append(box)
                break
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row)]


def page_grey(luma: np.ndarray) -> int:
    """Grey of the page: what most empty lines across the whole picture have; else of the border's lighter half.

    Light lines between darker ones count alone unless they are few: air makes dark lines too, slices seldom white ones.
    """
    found: list[float] = []
    light: list[float] = []
    for lines in (luma, luma.T):
        spread = np.percentile(lines, 99.8, axis=1) - np.percentile(lines, 0.2, axis=1)
        levels = np.where(spread < EVEN, np.median(lines, axis=1), -1.0)
        found += [float(v) for v in levels[levels >= 0]]
        inside = np.flatnonzero(levels < LIGHT)
        if inside.size:
            between = levels[inside[0] : inside[-1]]
            light += [float(v) for v in between[between >= LIGHT]]
    found = light if len(light) > FEW * len(found) else found
    if found:
        values, counts = np.unique((np.array(found) // 8).astype(int), return_counts=True)
        low = int(values[counts.argmax()]) * 8
        return low + int(np.bincount(np.array(found).astype(int), minlength=low + 8)[low : low + 8].argmax())
    border = np.concatenate([luma[0], luma[-1], luma[:, 0], luma[:, -1]])
    return 255 if np.median(border) > 128 else 0


def layout(luma: np.ndarray) -> list[Box]:
    """Panel boxes of a grey picture at work size."""
    page = page_grey(luma)
    tone = np.abs(luma.astype(np.int16) - page).astype(np.uint8)
    ink = tone > LEVELS[-1]
    if page >= DARK:
        text = sentences(ink)
        tone[text] = 0
        ink &= ~text
    kept = without_letters(ink)
    letters = ink & ~kept
    airy = False
    if page < DARK:
        letters = (
            cv2.dilate(letters.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        ) & ~kept  # and their blurred rims
        near = cv2.dilate(ink.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0  # as far as compression's rings reach
        airy = bool(((tone > LEVELS[0]) & ~near).mean() > AIR)
    tone[letters] = 0
    region = Region(luma, tone, kept, ink, page < DARK, airy, (0, 0, luma.shape[1], luma.shape[0]))
    leaves: list[Region] = []
    _divide(region, leaves, 0)
    boxes = settle([leaf for leaf in leaves if not leaf.empty()])
    return _without_scraps(boxes) if page < DARK else boxes


def _without_scraps(boxes: list[Box]) -> list[Box]:
    """Boxes without those far smaller than the others: a letter on a plate or a table, cut off in a slice's black."""
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    least = SCRAP * float(np.median(areas)) if areas else 0.0
    return [box for box, area in zip(boxes, areas, strict=True) if area >= least]


def without_letters(ink: np.ndarray) -> np.ndarray:
    """Ink without components of the size of letters that nothing else touches."""
    labels, stats, limit = _components(ink)
    small = (stats[:, cv2.CC_STAT_HEIGHT] <= limit) & (stats[:, cv2.CC_STAT_WIDTH] <= limit * 2)
    small[0] = False
    kept = ink & ~small[labels]
    return kept if kept.sum() > 0.3 * ink.sum() else ink


def _components(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Components of the ink (H x W; 0: none), OpenCV's figures of each, and how high a letter can be."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    return labels, stats, max(14, min(ink.shape) // 16)


def sentences(ink: np.ndarray) -> np.ndarray:
    """Bool H x W: lines of text above and below scans, which belong to no panel; a chart's words stay.

    A line is a chain of at least SENTENCE letters less than WORDS of their height apart, and all that lies in it. In
    small print letters run together: what is as low as a letter and not solid counts by its width.
    """
    labels, stats, limit = _components(ink)
    x, y, wide, high, area = stats.T
    low = (high <= 1.5 * limit) & (wide <= 16 * limit) & ((wide <= 2 * limit) | (area < SOLID * wide * high))
    low[0] = False
    tall = low & (high > 3)
    if not tall.any():
        return np.zeros(ink.shape, bool)
    letter = float(np.median(high[tall]))
    reach = max(2, round(WORDS * letter / 2))
    chained = cv2.dilate(low[labels].astype(np.uint8), np.ones((1, 2 * reach + 1), np.uint8))
    _, lines, boxes, _ = cv2.connectedComponentsWithStats(chained, connectivity=4)
    where = tall[labels]
    pairs = np.unique(np.stack([lines[where], labels[where]]), axis=1)
    letters = np.bincount(pairs[0], np.maximum(1, wide[pairs[1]] / letter))
    text = np.zeros(len(stats), bool)
    for line in np.flatnonzero(letters >= SENTENCE):
        left, top, width, height, _ = boxes[line]
        inside = (x >= left) & (x + wide <= left + width)
        text |= inside & (y >= top - letter / 2) & (y + high <= top + height + letter / 2)
    text[0] = False
    found = text[labels]
    other = ink & ~found
    rows = np.flatnonzero(other.any(axis=1))
    if not rows.size or other[rows[0] : rows[-1] + 1].mean() < SCAN:
        return np.zeros(ink.shape, bool)
    found[rows[0] : rows[-1] + 1] = False
    return found


def _divide(region: Region, out: list[Region], depth: int) -> None:
    core = region.trimmed()
    if min(core.width, core.height) < SIDE:
        return
    if depth < DEPTH:
        options = [(axis, *cuts(core, axis)) for axis in (0, 1)]
        axis, parts, strength = max(options, key=lambda o: (o[2], o[0]))
        if len(parts) > 1 and (strength >= SURE or not _one_slice(core, axis, parts)):
            start = core.box[1 - axis] - region.box[1 - axis]
            ends = [0, *(start + b for _, b in parts[:-1]), region.height if axis == 0 else region.width]
            for a, b in itertools.pairwise(ends):
                _divide(region.part(axis, a, b), out, depth + 1)
            return
    slices = _slices(core, 0) if region.dark else None
    out += slices if slices and len(slices) > 1 else [region]


def _one_slice(core: Region, axis: int, parts: list[tuple[int, int]]) -> bool:
    """True if the region looks like one chest CT and none of its parts does: a doubtful cut is not made then."""
    whole = modality.score(core.luma)
    if whole < 0.5:
        return False
    return all(modality.score(core.part(axis, a, b).luma) < min(whole, 0.5) for a, b in parts)


def _slices(region: Region, depth: int) -> list[Region] | None:
    """Parts that each look like one chest CT, if empty lines alone divide the region into nothing else; or None.

    On a dark page bodies lie in black air and no side runs straight: then only what the parts show can speak for a cut.
    """
    if min(region.width, region.height) < SIDE:
        return None
    if modality.score(region.luma) >= 0.5:
        return [region]
    if depth == 2:
        return None
    for axis in (0, 1):
        length = region.height if axis == 0 else region.width
        lines = gaps(region, axis)
        for chosen in (even(lines, length), lines):
            parts = parted(chosen, length, SIDE)
            found = [_slices(region.part(axis, a, b), depth + 1) for a, b in parts] if len(parts) > 1 else []
            if found and all(found):
                return [leaf for leaves in found for leaf in leaves or ()]
    return None
