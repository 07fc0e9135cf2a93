"""Compound figure -> panel boxes: recursive cuts along gutters, whatever their colour.

A figure is cut where a line across the whole region is empty (white, black or the colour of the figure's own margin).
Letters and words that stand free in the margin are taken off first, because a letter in a gutter would close it. On
black
pages the gutter and the air around a body look alike, so cuts there must leave parts of comparable size.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from curation.raster import grey, squeeze

VERSION = "panels-1"
Box = tuple[int, int, int, int]
WORK = 1000
"""pixels of the longer side at which layouts are found"""
SMALLEST = 28
"""pixels (at work size): no panel is thinner"""


def find_panels(image: np.ndarray) -> list[Box]:
    """Panel boxes ``(x0, y0, x1, y1)`` in pixels, ends exclusive, in reading order; one box for a single picture."""
    luma = grey(image)
    height, width = luma.shape
    small, factor = squeeze(luma, WORK)
    boxes = cut(small)
    boxes = [_scaled(box, factor, width, height) for box in boxes] or [(0, 0, width, height)]
    return reading_order(boxes)


def _scaled(box: Box, factor: float, width: int, height: int) -> Box:
    x0, y0, x1, y1 = (round(v / factor) for v in box)
    return max(0, x0), max(0, y0), min(width, x1), min(height, y1)


def reading_order(boxes: list[Box]) -> list[Box]:
    """Rows from the top, inside a row from the left; boxes share a row if they overlap by half the lower one's
    height.
    """
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


def background(luma: np.ndarray) -> int:
    """Grey of the page: of the lines that run empty across the picture, else of its border."""
    border = np.concatenate([luma[0], luma[-1], luma[:, 0], luma[:, -1]])
    flat = [luma[r] for r in range(luma.shape[0])] + [luma[:, c] for c in range(luma.shape[1])]
    means = np.array([line.mean() for line in flat if line.std() < 6])
    if means.size:
        light, dark = (means > 235).sum(), (means < 20).sum()
        if light or dark:
            return 255 if light >= dark else 0
    return 255 if np.median(border) > 128 else 0


def cut(luma: np.ndarray) -> list[Box]:
    """Panel boxes of a grey picture at work size."""
    page = background(luma)
    ink = (luma < 238) if page else (luma > 22)
    ink = without_letters(ink)
    boxes: list[Box] = []
    _divide(ink, (0, 0, luma.shape[1], luma.shape[0]), page, boxes, 0)
    return boxes


def without_letters(ink: np.ndarray) -> np.ndarray:
    """Ink without components of the size of letters that nothing else touches."""
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    high, wide = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH]
    limit = max(12, min(ink.shape) // 12)
    small = (high <= limit) & (wide <= limit * 2)
    small[0] = False
    kept = ink.copy()
    kept[small[labels]] = False
    return kept if kept.sum() > 0.3 * ink.sum() else ink


def _divide(ink: np.ndarray, box: Box, page: int, out: list[Box], depth: int) -> None:
    box = _trim(ink, box) if page else box
    x0, y0, x1, y1 = box
    if x1 - x0 < SMALLEST or y1 - y0 < SMALLEST:
        return
    if depth < 8:
        for axis in (0, 1) if (y1 - y0) >= (x1 - x0) else (1, 0):
            parts = _parts(ink[y0:y1, x0:x1], axis, page)
            if len(parts) > 1:
                for a, b in parts:
                    part = (x0, y0 + a, x1, y0 + b) if axis == 0 else (x0 + a, y0, x0 + b, y1)
                    _divide(ink, part, page, out, depth + 1)
                return
    out.append(box)


def _trim(ink: np.ndarray, box: Box) -> Box:
    x0, y0, x1, y1 = box
    region = ink[y0:y1, x0:x1]
    rows, columns = np.flatnonzero(region.mean(1) > 0.004), np.flatnonzero(region.mean(0) > 0.004)
    if not rows.size or not columns.size:
        return (x0, y0, x0, y0)
    return x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1


def _parts(ink: np.ndarray, axis: int, page: int) -> list[tuple[int, int]]:
    """Runs of lines with ink along ``axis`` (0: cuts between rows), thin ones joined to the nearer neighbour."""
    filled = ink.mean(axis=1 - axis) > 0.004
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.astype(np.int8), [0]])))
    runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    length = filled.size
    least = max(SMALLEST, 0.12 * length if page else 0.2 * length)
    merged: list[list[int]] = [list(run) for run in runs]
    while len(merged) > 1:
        thin = min(range(len(merged)), key=lambda i: merged[i][1] - merged[i][0])
        if merged[thin][1] - merged[thin][0] >= least:
            break
        before = merged[thin][0] - merged[thin - 1][1] if thin else length
        after = merged[thin + 1][0] - merged[thin][1] if thin + 1 < len(merged) else length
        other = thin - 1 if before <= after else thin + 1
        low, high = sorted((thin, other))
        merged[low] = [merged[low][0], merged[high][1]]
        del merged[high]
    if page or len(merged) < 2:
        return [(a, b) for a, b in merged]
    middles = [0, *((merged[i][1] + merged[i + 1][0]) // 2 for i in range(len(merged) - 1)), length]
    return list(itertools.pairwise(middles))
