"""What `curation.artifacts_fit` learns from: crops of slices that marks were drawn on, and their truth.

Slices as they are, enlarged, or as papers print them; then as `curation.artifacts` looks at pictures of their size.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from curation.artifacts import SMALL, VIEWS, enlargement, looked_at
from curation.artifacts_drawn import SEEN, Rng, mark
from curation.artifacts_printed import jpeg, printed

CROP = 160
"""pixels of the square pieces that are learned from"""
CROPS = 3
"""cut from each picture that is drawn"""


def pieces(slices: list[np.ndarray], rng: Rng) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Endless crops, uint8: picture CROP x CROP x 4 (red, green, blue, `curation.strokes.alike`), covered, change.

    ``covered``: 1 where marks cover the picture; ``change``: by how many grey levels they change it; CROP x CROP each.
    """
    while True:
        clean, raw = _ground(slices[int(rng.integers(len(slices)))], rng)
        if rng.random() < 0.2:
            image, change, covered = clean, np.zeros(clean.shape[:2], np.uint8), np.zeros(clean.shape[:2], bool)
        else:
            drawn = mark(clean, rng)
            image, change, covered = drawn.image, drawn.change, drawn.covered
        if rng.random() < (0.1 if raw else 0.4):
            image, change, covered = rescaled(image, change, covered, rng)
        if rng.random() < (0.05 if raw else 0.3):
            image = jpeg(image[..., ::-1] if image.ndim == 3 else image, rng)
            image = image[..., ::-1] if image.ndim == 3 else image
        image = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
        long = max(image.shape[:2])
        small = long < SMALL
        if small or (long < 1.25 * VIEWS[0] and rng.random() < 0.25):
            shown, flat = looked_at(image, enlargement(long) if small else VIEWS[-1] / long)
            size = (shown.shape[1], shown.shape[0])
            covered, change = (
                np.asarray(cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))
                for part in (covered, change)
            )
        else:
            shown, flat = looked_at(image, 1)
        seen = np.concatenate([shown, flat[..., None]], 2)
        for _ in range(CROPS):
            y, x = _corner(covered, rng)
            cut = (slice(y, y + CROP), slice(x, x + CROP))
            yield np.ascontiguousarray(seen[cut]), covered[cut].astype(np.uint8), change[cut].copy()


def _ground(clean: np.ndarray, rng: Rng) -> tuple[np.ndarray, bool]:
    """What marks are drawn on, no side below CROP, and whether it is the slice itself, not as papers print it."""
    kind = rng.random()
    if 0.25 <= kind < 0.45:
        rule = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        clean = cv2.resize(clean, None, fx=2, fy=2, interpolation=rule)
    elif kind >= 0.45:
        clean = printed(clean, rng)
    if min(clean.shape[:2]) < CROP:
        factor = CROP / min(clean.shape[:2]) + 0.01
        clean = cv2.resize(clean, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    clean = clean[:, ::-1] if rng.random() < 0.5 else clean
    clean = clean[::-1] if rng.random() < 0.1 else clean
    return np.ascontiguousarray(clean), kind < 0.45


def rescaled(
    image: np.ndarray, change: np.ndarray, covered: np.ndarray, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, change and cover of `curation.artifacts_drawn.Marked` as a paper prints them at another size.

    Without it the network takes sharpness for what makes a mark, and misses those of enlarged figures.
    """
    factor = max(float(rng.uniform(0.5, 1.9)), CROP / min(image.shape[:2]) + 0.01)
    rule = cv2.INTER_AREA if factor < 1 else int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    changed = np.asarray(cv2.resize(change, size, interpolation=smooth))
    under = cv2.resize(covered.astype(np.float32), size, interpolation=smooth) > 0.2
    return np.asarray(cv2.resize(image, size, interpolation=rule)), changed, under | (changed > SEEN)


def _corner(mask: np.ndarray, rng: Rng) -> tuple[int, int]:
    """Upper left corner of a crop that mostly holds a mark."""
    high, wide = mask.shape
    if mask.any() and rng.random() < 0.75:
        ys, xs = np.nonzero(mask)
        n = int(rng.integers(len(ys)))
        y, x = int(ys[n]) - int(rng.integers(8, CROP - 8)), int(xs[n]) - int(rng.integers(8, CROP - 8))
    else:
        y, x = int(rng.integers(0, high - CROP + 1)), int(rng.integers(0, wide - CROP + 1))
    return int(np.clip(y, 0, high - CROP)), int(np.clip(x, 0, wide - CROP))


class Pieces(torch.utils.data.IterableDataset[tuple[np.ndarray, np.ndarray, np.ndarray]]):
    """`pieces` for a data loader: every worker has a stream of its own."""

    def __init__(self, slices: list[np.ndarray], seed: int) -> None:
        self.slices, self.seed = slices, seed

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        worker = torch.utils.data.get_worker_info()
        cv2.setNumThreads(1)
        return pieces(self.slices, np.random.default_rng([self.seed, 1, worker.id if worker else 0]))
