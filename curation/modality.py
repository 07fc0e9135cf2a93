"""Is this picture a chest CT? A score in 0..1 and its reason, from shape and tone; no network, no download.

A picture becomes 64 x 64 gradients (HOG), a 16 x 16 thumbnail, its histogram and 25 numbers on lungs, border and
straight edges; these are projected on principal components and judged by a support vector machine with a Gaussian
kernel, so what resembles nothing learned is refused. The learned numbers are in ``modality.npz`` (relearn them with
``python -m curation.modality_fit``); they hold no pixels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from curation.raster import chroma, grey, squeeze

VERSION = "modality-2"
PARAMETERS = "modality.npz"
WORK = 256
"""pixels of the longer side at which shapes are measured"""
COLOUR_LIMIT, COLOUR_SLOPE = 0.09, 80.0
"""share of pixels in foreign colour at which a picture counts as an overlay (99 % of the 2020 release: below 0.02)"""
HOG = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)


@dataclass(frozen=True)
class Parameters:
    """Learned numbers: standardisation (D), axes (D x K), support vectors (S x K), weights (S), kernel, slope."""

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    bias: float
    gamma: float
    slope: float
    shift: float


@functools.cache
def parameters() -> Parameters:
    """The committed parameters."""
    with np.load(Path(__file__).with_name(PARAMETERS), allow_pickle=False) as found:
        arrays = {k: found[k].astype(np.float32) for k in ("mean", "scale", "axes", "vectors", "weights")}
        bias, gamma, slope, shift = (float(found[k]) for k in ("bias", "gamma", "slope", "shift"))
    return Parameters(**arrays, bias=bias, gamma=gamma, slope=slope, shift=shift)


def score(image: np.ndarray) -> float:
    """Calibrated score in 0..1 that this is a picture of one chest CT slice of one patient."""
    if min(grey(image).shape) < 24:
        return 0.0
    return float(judge(features(image)[None], parameters())[0]) * plain(image)


def plain(image: np.ndarray) -> float:
    """Factor in 0..1: near 1 for grey, tinted or sparsely marked pictures, near 0 under heat maps or overlays."""
    colour, _ = squeeze(chroma(image), WORK)
    middle = float(np.median(colour))
    excess = float((colour > max(25.0, middle + 20)).mean()) + max(0.0, (middle - 20) / 60)
    return float(1 / (1 + np.exp(np.clip(COLOUR_SLOPE * (excess - COLOUR_LIMIT), -60, 60))))


def judge(rows: np.ndarray, learned: Parameters) -> np.ndarray:
    """Scores (N) of feature rows (N x D)."""
    points = project(rows, learned)
    square = (points**2).sum(1)[:, None] + (learned.vectors**2).sum(1)[None] - 2 * points @ learned.vectors.T
    margin = np.exp(-learned.gamma * np.maximum(square, 0)) @ learned.weights + learned.bias
    return np.asarray(1 / (1 + np.exp(-np.clip(learned.slope * margin + learned.shift, -60, 60))))


def project(rows: np.ndarray, learned: Parameters) -> np.ndarray:
    """Feature rows on the principal components, N x K."""
    return np.clip((rows - learned.mean) / learned.scale, -6, 6) @ learned.axes


def features(image: np.ndarray) -> np.ndarray:
    """D float32 numbers of a picture (uint8, H x W or H x W x 3)."""
    luma, _ = squeeze(grey(image), WORK)
    low, high = np.percentile(luma, [1, 99])
    flat = np.clip((luma.astype(np.float32) - low) / max(float(high - low), 8.0), 0, 1)
    square = cv2.resize(flat, (64, 64), interpolation=cv2.INTER_AREA)
    hog = np.asarray(HOG.compute((square * 255).astype(np.uint8))).ravel()
    small = cv2.resize(flat, (16, 16), interpolation=cv2.INTER_AREA)
    levels = np.sqrt(np.bincount(luma.ravel() >> 4, minlength=16) / luma.size)
    mirrored = small[:, ::-1]
    shape = [*_lungs(luma, flat), *_edges(luma)]
    shape += [
        float(np.log(grey(image).shape[1] / grey(image).shape[0])),
        float(np.corrcoef(small.ravel(), mirrored.ravel())[0, 1]) if small.std() > 0.01 else 0.0,
        *(float(v.mean()) for v in (flat[:4], flat[-4:], flat[:, :4], flat[:, -4:])),
        float((luma > 250).mean()),
        float((luma < 5).mean()),
    ]
    return np.concatenate([hog, small.ravel(), levels, np.array(shape)]).astype(np.float32)


def _dark_areas(luma: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Areas darker than Otsu's level: which are enclosed and over the share ``least``; labels, stats, centres; level.

    Labels, stats and centres as OpenCV gives them for connected components.
    """
    level, _ = cv2.threshold(cv2.medianBlur(luma, 5), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _count, labels, stats, centres = cv2.connectedComponentsWithStats((luma < level).astype(np.uint8), connectivity=4)
    high, wide = luma.shape
    x, y, w, h, area = (stats[:, i] for i in range(5))
    keep = (x > 0) & (y > 0) & (x + w < wide) & (y + h < high) & (area > least * luma.size)
    keep[0] = False
    return keep, labels, stats, centres, level


def _lungs(luma: np.ndarray, flat: np.ndarray) -> list[float]:
    """Dark areas inside brighter tissue: how many, how large, where, how round, how textured."""
    keep, labels, stats, centres, level = _dark_areas(luma, 0.008)
    high, wide = luma.shape
    w, h, area = (stats[:, i] for i in range(2, 5))
    inside = [i for i in np.argsort(-area) if keep[i]][:2]
    shares = [float(area[i]) / luma.size for i in inside] + [0.0] * (2 - len(inside))
    places = [v for i in inside for v in (float(centres[i][0] / wide), float(centres[i][1] / high))] + [0.5] * (
        4 - 2 * len(inside)
    )
    chosen = np.isin(labels, inside) if inside else np.zeros(luma.shape, bool)
    texture = float(flat[chosen].std()) if chosen.any() else 0.0
    fill = [float(area[i] / max(1, w[i] * h[i])) for i in inside] + [0.0] * (2 - len(inside))
    return [float(keep.sum()), *shares, *places, texture, *fill, level / 255]


def _edges(luma: np.ndarray) -> list[float]:
    """Straight edges across the picture (gutters, axes), fine detail, and how much is perfectly flat."""
    jumps = [np.abs(np.diff(luma.astype(np.int16), axis=axis)) for axis in (0, 1)]
    lines = [(j > 14).mean(axis=1 - axis) for axis, j in enumerate(jumps)]
    excess = [float(np.sort(v - np.median(v))[-2:].mean()) if v.size > 2 else 0.0 for v in lines]
    spread = [float(np.mean(np.ptp(v, axis=1) < 10)) for v in (luma, luma.T)]
    flat = float(np.mean((jumps[0][:, :-1] == 0) & (jumps[1][:-1] == 0))) if min(luma.shape) > 2 else 1.0
    fine = float(np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean() / 40)
    return [*excess, *spread, flat, fine]


def reason(value: float) -> str:
    """The score in words, for the card."""
    word = "looks like" if value >= 0.5 else "does not look like"
    return f"{word} one chest CT slice ({value:.2f})"


View = Literal["lung window", "soft-tissue window", "unsure"]


def view(image: np.ndarray) -> View:
    """Which window a chest CT is shown in: can vessels be told from the air around them? Planes are not told."""
    luma, _ = squeeze(grey(image), WORK)
    keep, labels, *_ = _dark_areas(luma, 0.01)
    if not keep.any():
        return "unsure"
    inside = luma[keep[labels]]
    return "soft-tissue window" if np.mean(inside < 12) > 0.8 else "lung window"
