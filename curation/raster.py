"""What every proposer does to a picture first: check it, take its grey and its chroma, find its background.

Pictures are numpy uint8, H x W or H x W x 3 (RGB); a fourth channel or another type is refused, not guessed at.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from covidct.pictures import open_picture, to_grey

MIN_SIDE = 8
"""pixels; smaller pictures hold nothing to judge"""


class ImageError(ValueError):
    """The picture is not what the doors take: says expected and got."""


def check(image: np.ndarray) -> np.ndarray:
    """The picture itself, if it is uint8 H x W or H x W x 3 with both sides >= 1; else ImageError."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise ImageError(f"image: expected uint8 grey values 0..255, got {image.dtype}; scale it first")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ImageError(f"image: expected H x W or H x W x 3 (RGB) with pixels in it, got shape {image.shape}")
    return image


def grey(image: np.ndarray) -> np.ndarray:
    """H x W uint8 luma (BT.601, as PIL's mode L)."""
    image = check(image)
    return image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def chroma(image: np.ndarray) -> np.ndarray:
    """H x W uint8: largest minus smallest channel; 0 for grey pictures."""
    image = check(image)
    if image.ndim == 2:
        return np.zeros(image.shape, np.uint8)
    return image.max(axis=2) - image.min(axis=2)


def read(path: Path | str) -> np.ndarray:
    """Decode a file to H x W (grey) or H x W x 3 (if any pixel has colour); PictureError if it is not a picture."""
    picture = open_picture(path)
    luma = to_grey(picture)
    if picture.mode in ("L", "LA", "1", "F") or picture.mode.startswith("I"):
        return luma
    if picture.mode in ("RGBA", "PA", "LA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        page = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(page, rgba)
    colour = np.array(picture.convert("RGB"), dtype=np.uint8)
    if colour.shape[:2] != luma.shape or not chroma(colour).any():
        return luma
    return colour


def squeeze(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The picture with its longer side at most ``longest`` pixels, and the factor by which it shrank (<= 1)."""
    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    if factor == 1.0:
        return image, 1.0
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def png(pixels: np.ndarray) -> bytes:
    """PNG bytes without metadata: bool H x W as 1 bit, uint8 as grey or RGB; same pixels, same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
