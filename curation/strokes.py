"""A small convolutional network that says of every pixel whether a mark covers it; numpy only, numbers committed.

An hourglass of five scales (full, 1/2 … 1/16 of the picture) with two 3 x 3 convolutions at each on the way down
and one on the way up; batch normalisation is folded into the weights. The numbers are in ``artifacts.npz`` (relearn
them with ``python -m curation.artifacts_fit``); they hold no pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

PARAMETERS = "artifacts.npz"
WIDTHS = (16, 32, 48, 64, 96)
"""channels at each scale of the committed network"""
DOWN = 2 ** (len(WIDTHS) - 1)
"""sides of the network's input are multiples of it"""


@functools.cache
def parameters() -> dict[str, np.ndarray]:
    """The committed weights (out x in x 3 x 3, or out x in for the last) and biases (out), float32."""
    with np.load(Path(__file__).with_name(PARAMETERS), allow_pickle=False) as found:
        return {name: found[name].astype(np.float32) for name in found.files}


def planes(image: np.ndarray) -> np.ndarray:
    """3 x H x W float32 of a picture (uint8, H x W or H x W x 3): luma, red less luma, blue less luma, about -1..1."""
    if image.ndim == 2:
        luma = image.astype(np.float32) / 127.5 - 1
        return np.stack([luma, np.zeros_like(luma), np.zeros_like(luma)])
    colour = image.astype(np.float32) / 127.5 - 1
    luma = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, colour[..., 0] - luma, colour[..., 2] - luma])


def chances(image: np.ndarray, learned: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """H x W float32: how sure the network is, 0..1, that a mark covers the pixel."""
    learned = learned or parameters()
    high, wide = image.shape[:2]
    pad = ((0, 0), (0, -high % DOWN), (0, -wide % DOWN))
    x = np.pad(planes(image), pad, mode="edge")
    kept: list[np.ndarray] = []
    for scale in range(len(WIDTHS)):
        if scale:
            x = _halved(x)
        x = _convolved(_convolved(x, learned, f"down{scale}a"), learned, f"down{scale}b")
        kept.append(x)
    for scale in range(len(WIDTHS) - 2, -1, -1):
        x = np.concatenate([x.repeat(2, axis=1).repeat(2, axis=2), kept[scale]])
        x = _convolved(x, learned, f"up{scale}")
    flat = learned["out.weight"] @ x.reshape(x.shape[0], -1) + learned["out.bias"][:, None]
    value = flat.reshape(x.shape[1:])[:high, :wide]
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -60, 60))), dtype=np.float32)


def _halved(x: np.ndarray) -> np.ndarray:
    """Largest of each 2 x 2, C x H x W."""
    pairs = np.maximum(x[:, ::2], x[:, 1::2])
    return np.maximum(pairs[:, :, ::2], pairs[:, :, 1::2])


def _convolved(x: np.ndarray, learned: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """3 x 3 convolution with zeros around, then ReLU; in x H x W -> out x H x W."""
    weight, bias = learned[f"{name}.weight"], learned[f"{name}.bias"]
    channels, high, wide = x.shape
    around = np.zeros((channels, high + 2, wide + 2), np.float32)
    around[:, 1:-1, 1:-1] = x
    rows = np.stack([around[:, :, dx : dx + wide] for dx in range(3)])  # 3 x in x (H + 2) x W
    total = np.repeat(bias[:, None], high * wide, axis=1)
    for dy in range(3):
        part = rows[:, :, dy : dy + high].reshape(3 * channels, -1)
        total += weight[:, :, dy].transpose(0, 2, 1).reshape(len(bias), -1) @ part
    return np.maximum(total, 0).reshape(len(bias), high, wide)
