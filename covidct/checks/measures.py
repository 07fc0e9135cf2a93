"""Numbers of a picture that see no lung, or hardly any: what a classifier could live on instead of the disease.

Each set is one question of the shortcut baselines (covidct.checks.shortcuts): how the file was written, which shape it
has, what its edge and frame show, what it looks like as a stamp, how it was processed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from covidct.matching.features import Array

SIDE = 224
"""pixels: the classifiers' input, on which quality is measured"""
TEXT = "text "
"""begins the name of a metadata block that is one text"""
STAMP = 32
RING = 4
"""pixels of the stamp that are frame: the outer 12.5 %"""
SETS = ("container", "size", "bytes", "border", "frame", "centre", "thumbnail-8", "thumbnail-16", "quality")
WORDS = {
    "container": "how the file was written (format, mode, density, metadata, software), no pixel",
    "size": "width, height, aspect",
    "bytes": "bytes and bytes per pixel",
    "border": "the outer 3 pixels",
    "frame": "the outer 12.5 % of the picture",
    "centre": "the inner half of the picture",
    "thumbnail-8": "the picture at 8 x 8 pixels",
    "thumbnail-16": "the picture at 16 x 16 pixels",
    "quality": "12 statistics of grey levels, sharpness and compression at 224 x 224",
}
"""what each set sees, for people"""


def vectors(grey: Array, facts: Mapping[str, Any]) -> dict[str, Array]:
    """Every set but `container` as a float32 vector: of the picture (uint8 H x W) and its container facts."""
    height, width = grey.shape
    stamp = cv2.resize(grey, (STAMP, STAMP), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ring = np.ones(stamp.shape, bool)
    ring[RING:-RING, RING:-RING] = False
    middle = slice(STAMP // 4, STAMP - STAMP // 4)
    pixels = max(1, width * height)
    return {
        "size": np.array([width, height, width / height, np.sqrt(pixels), min(width, height)], np.float32),
        "bytes": np.array([facts["bytes"], facts["bytes"] / pixels], np.float32),
        "border": border(grey),
        "frame": stamp[ring],
        "centre": stamp[middle, middle].ravel(),
        "thumbnail-8": cv2.resize(stamp, (8, 8), interpolation=cv2.INTER_AREA).ravel(),
        "thumbnail-16": cv2.resize(stamp, (16, 16), interpolation=cv2.INTER_AREA).ravel(),
        "quality": quality(grey),
    }


def container(facts: Mapping[str, Any]) -> dict[str, str | float]:
    """Facts about how the file was written, for one-hot coding; none of them depends on a pixel or on the size."""
    row: dict[str, str | float] = {
        "format": str(facts["format"]),
        "mode": str(facts["mode"]),
        "dpi": f"{facts['dpi']:g}",
        "software": str(facts["software"]),
        "tables": str(facts["tables"]),
        "blocks": str(sum(not name.startswith(TEXT) for name in facts["blocks"])),
    }
    for name in ("progressive", "interlace", "palette", "gamma"):
        row[name] = float(facts[name])
    row |= {f"says {key}": text for key, text in facts.get("texts", {}).items()}
    return row | {f"has {name}": 1.0 for name in facts["blocks"]}


def border(grey: Array) -> Array:
    """Mean, spread, share of black and of white of the outer 3 pixels of each side (16), and of all four (4)."""
    sides = [grey[:3], grey[-3:], grey[:, :3], grey[:, -3:]]
    values: list[float] = []
    for part in [*sides, np.concatenate([side.ravel() for side in sides])]:
        values += [part.mean() / 255, part.std() / 255, (part < 6).mean(), (part > 249).mean()]
    return np.array(values, np.float32)


def quality(grey: Array) -> Array:
    """Twelve global statistics at 224 x 224: sharpness, blocks, levels used, clipping, mean, spread, entropy."""
    image = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if min(grey.shape) > SIDE else cv2.INTER_LINEAR)
    plain = image.astype(np.float32)
    edges = cv2.Laplacian(plain, cv2.CV_32F)
    across, down = np.abs(np.diff(plain, axis=1)), np.abs(np.diff(plain, axis=0))
    share = np.bincount(image.ravel(), minlength=256) / image.size
    used = share[share > 0]
    noise = plain - cv2.medianBlur(image, 3).astype(np.float32)
    return np.array(
        [
            edges.std(),
            np.median(np.abs(edges)),
            across[:, 7::8].mean() / max(float(across.mean()), 1e-3),
            down[7::8].mean() / max(float(down.mean()), 1e-3),
            (share > 0).sum(),
            share[0],
            share[255],
            plain.mean(),
            plain.std(),
            -(used * np.log2(used)).sum(),
            noise.std(),
            (across == 0).mean(),
        ],
        np.float32,
    )
