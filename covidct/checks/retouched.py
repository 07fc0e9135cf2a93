"""Pixels painted over: where two copies of one picture differ although both show tissue, one of them was retouched.

A letter, arrow or frame that only one copy has is no retouching: there one copy is nearly black or white and sharp.
What is left are patches of tissue that one copy has and the other has not: a clone stamp, an inpainted mark. Which of
the two was painted a person must say: painting may smooth (inpainting) or sharpen (cloned discs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from covidct.checks.model import Finding, Folder
from covidct.duplicates import Pair
from covidct.matching.features import Array

DIFFERENT = 30.0
"""grey levels, after the brightness of the two copies is made equal"""
PATCH = 0.0004
"""least share of the overlap that one patch covers"""
TOTAL = 0.0015
"""least share of the overlap that all patches cover"""
MOST = 0.06
"""beyond this share the copies differ all over (another window, another contrast): nothing can be said"""
MANY = 10
"""more patches than this are two slices, not a retouched one"""
PAINTED = 0.005
"""share of repaired pixels stated in the table from which a person must look (section III.A: marks are removed)"""
SURE = 0.93
"""least agreement of fine detail (covidct.matching.detail): below, they may be two slices, which differ everywhere"""


class Patches(NamedTuple):
    """Where two copies differ in tissue: share of the overlap, number of patches."""

    share: float
    number: int


def check(folder: Folder, pairs: Sequence[Pair]) -> list[Finding]:
    """Findings for copies that differ in tissue, and for pictures whose table states much repair."""
    found = []
    for pair in pairs:
        if not pair.evidence.same or pair.evidence.exact or pair.evidence.detail < SURE:
            continue
        patches = compare(folder.grey(pair.i), folder.grey(pair.j), pair.evidence.transform)
        if patches is None:
            continue
        both = folder.names((pair.i, pair.j))
        found.append(
            Finding(
                "retouched",
                "warning",
                both,
                f"two copies of one picture differ in {patches.number} patches of tissue "
                f"({patches.share:.1%} of what both show): pixels of one of them were painted over",
                "keep the untouched copy; if there is none, keep the original and store a mask, never paint over lung",
                {
                    "share": round(patches.share, 5),
                    "patches": patches.number,
                    "transform": list(pair.evidence.transform),
                },
            )
        )
    painted = [i for i, item in enumerate(folder.items) if item.inpainted > PAINTED]
    if painted:
        most = max(folder.items[i].inpainted for i in painted)
        found.append(
            Finding(
                "retouched",
                "warning",
                folder.names(painted),
                f"{len(painted)} images have more than {PAINTED:.1%} of their pixels repaired (at most {most:.1%})",
                "look at each beside its original; prefer an unannotated copy, a crop, or leave it out",
            )
        )
    return found


def compare(left: Array, right: Array, transform: Sequence[float]) -> Patches | None:
    """Patches in which two copies (uint8 H x W) show different tissue; ``transform`` (2 x 3) takes left to right. None:
    none.
    """
    matrix = np.array(transform, np.float64).reshape(2, 3)
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if not 0.05 < factor < 20:
        return None
    if factor < 1:  # compare on the grid of the coarser copy
        return compare(right, left, cv2.invertAffineTransform(matrix).ravel().tolist())
    height, width = left.shape
    fine = right if factor < 1.2 else cv2.GaussianBlur(right, (0, 0), 0.45 * factor)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(fine, matrix, (width, height), flags=flags)
    inside = cv2.warpAffine(np.ones(right.shape, np.uint8), matrix, (width, height), flags=flags)
    margin = max(3, min(height, width) // 40)
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    within = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    area = int(within.sum())
    if area < 2000:
        return None
    a, b = (cv2.GaussianBlur(x, (0, 0), 1.5).astype(np.float32) for x in (left, moved))
    slope, offset = np.polyfit(b[within], a[within], 1)
    difference = np.abs(a - (slope * b + offset))
    level = max(DIFFERENT, 8 * float(np.median(difference[within])))
    mask = (difference > level) & within
    patches, count = _tissue(mask, difference, left, moved, PATCH * area)
    share = float(patches.sum() / area)
    if not TOTAL <= share <= MOST or count > MANY:
        return None
    return Patches(share, count)


def _tissue(
    mask: NDArray[np.bool_], difference: Array, left: Array, right: Array, least: float
) -> tuple[NDArray[np.bool_], int]:
    """Patches of the mask that are large enough and are no mark (letter, arrow, frame), and their number."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep, kept = np.zeros(mask.shape, bool), 0
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < least:
            continue
        patch = labels == number
        core = patch & (difference >= np.median(difference[patch]))  # the rim of a mark is blurred
        if not (_mark(left[core]) or _mark(right[core])):
            keep |= patch
            kept += 1
    return keep, kept


def _mark(values: Array) -> bool:
    """True if most of a patch is the flat black or white of a drawn mark, or of the ground under one."""
    return max(float((values > 235).mean()), float((values < 16).mean())) > 0.5
