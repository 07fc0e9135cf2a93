"""Local features of a picture, made comparable across size, window and encoding.

Every picture is brought to one grey scale and one size before features are taken, so that a 100-pixel copy and its
1200-pixel original meet; a mirror image needs no second pass, because its descriptors are a permutation of the first's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 320
"""root of the area in pixels that every picture is brought to"""
MAX_SIDE = 1280
"""longest side after that, so that a bar of 10 x 4000 pixels stays small"""
FEATURES = 600
"""strongest features kept per picture"""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one picture, strongest first."""

    grey: Array
    """the picture after normalisation, H x W"""
    points: Array
    """N x 2, pixels of ``grey``"""
    raw: Array
    """N x 128 SIFT descriptors as OpenCV gives them"""
    scale: tuple[float, float]
    """pixels of ``grey`` per pixel of the picture, across and down"""

    @property
    def descriptors(self) -> Array:
        """N x 128 RootSIFT: unit vectors whose dot product is the likeness of two features."""
        return root(self.raw)


def root(raw: Array) -> Array:
    """RootSIFT (Arandjelovic & Zisserman, CVPR 2012) of SIFT descriptors N x 128."""
    values = raw.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1.0))


def to_grey(image: Array) -> Array:
    """H x W, H x W x 1, H x W x 3 (RGB) or H x W x 4 (RGBA) uint8 -> H x W uint8; ValueError for anything else."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(
            f"expected a non-empty uint8 picture HxW or HxWx3, got {image.dtype} {image.shape}; convert it first"
        )
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0])
    if image.shape[2] == 3:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    if image.shape[2] == 4:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGBA2GRAY)
    raise ValueError(f"expected 1, 3 or 4 channels, got shape {image.shape}; convert it first")


def describe(image: Array, features: int = FEATURES) -> Features:
    """RootSIFT features of a picture (uint8, H x W or H x W x 3) after normalising size and grey range."""
    grey = to_grey(image)
    height, width = grey.shape
    scale = min(SIDE / (height * width) ** 0.5, MAX_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    # Local equalisation first: a lung window, a gamma or a faded print of one slice then give the same gradients.
    even = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 4)).apply(grey)
    sift = cv2.SIFT.create(nfeatures=features, contrastThreshold=0.015, edgeThreshold=15)
    keys, raw = sift.detectAndCompute(even, np.ones_like(even))
    across, down = size[0] / width, size[1] / height
    if raw is None or not keys:
        return Features(grey, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), (across, down))
    order = np.argsort([-key.response for key in keys], kind="stable")[:features]
    points = np.array([keys[i].pt for i in order], np.float32)
    return Features(grey, points, np.clip(raw[order], 0, 255).astype(np.uint8), (across, down))


def _mirror_order() -> Array:
    # OpenCV lays a descriptor out as 4 rows x 4 columns x 8 directions in the frame of the feature's own orientation;
    # a mirror turns that frame over: rows swap across the orientation axis, directions change sign.
    cells = np.arange(128).reshape(4, 4, 8)
    return cells[::-1][:, :, (-np.arange(8)) % 8].reshape(-1)


MIRROR = _mirror_order()


def mirrored(descriptors: Array) -> Array:
    """Descriptors (N x 128) that the same features have in the mirror image of the picture."""
    return np.ascontiguousarray(descriptors[:, MIRROR])
