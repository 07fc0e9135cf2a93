"""Folders of drawn pictures for the tests of single checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from covidct.checks.model import Folder, Item


def chest(seed: int = 0, side: int = 200, air: int = 60) -> np.ndarray:
    """A drawn axial slice, uint8: body, two lungs of grey ``air`` with vessels, spine below the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    image = np.where((x / 0.44) ** 2 + (y / 0.36) ** 2 < 1, 170.0, 0.0)
    for sign in (-1, 1):
        # narrow in front, wide behind, as lungs are
        wide = 0.11 + 0.10 * (y + 0.25)
        lung = ((x - sign * 0.2) / wide) ** 2 + (y / 0.26) ** 2 < 1
        image[lung] = air
        for _ in range(40 if air > 20 else 0):
            cx, cy = sign * 0.2 + rng.uniform(-0.12, 0.12), rng.uniform(-0.22, 0.22)
            spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(0.004, 0.012) ** 2))
            image[lung] += (rng.uniform(40, 110) * spot)[lung]
    image[(x**2 + (y - 0.24) ** 2) < 0.004] = 240
    image += rng.normal(0, 2, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.8), 0, 255).astype(np.uint8)


FolderOf = Callable[..., Folder]


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """``draw(seed, side, air)``: a chest slice."""
    return chest


@pytest.fixture
def folder_of(tmp_path: Path) -> FolderOf:
    """``folder_of([{...fields of Item...}], pictures=[...])``: a Folder whose pictures are in memory."""

    def make(rows: Sequence[dict[str, Any]], pictures: Sequence[np.ndarray] | None = None) -> Folder:
        items = [Item(**{"name": f"{n}.png", "path": tmp_path / f"{n}.png", **row}) for n, row in enumerate(rows)]
        folder = Folder(tmp_path, items, "folder")
        if pictures is not None:
            folder._grey.update(enumerate(pictures))
        return folder

    return make
