"""A small convolutional network that says of every pixel whether a mark covers it; its numbers are committed.

It sees luma, two colour differences and how flat the picture is: a pen has one tone, and tissue has noise. An
hourglass of five scales (full, 1/2 … 1/16 of the picture) with two 3 x 3 convolutions at each on the way down and one
on the way up; batch normalisation is folded into the weights. The numbers are in ``artifacts.npz`` (relearn them with
``python -m curation.artifacts_fit``); they hold no pixels.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

# oneDNN keeps the code it made for every size it met, 1024 of them: hundreds of megabytes over many pictures. Read once
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
import torch
from torch.nn import functional

PARAMETERS = "artifacts.npz"
WIDTHS = (16, 32, 48, 64, 96)
"""channels at each scale of the committed network"""
PLANES = 4
"""of a picture that the network sees: luma, red, blue, flatness"""
DOWN = 2 ** (len(WIDTHS) - 1)
"""sides of the network's input are multiples of it"""


@functools.cache
def parameters() -> dict[str, torch.Tensor]:
    """The committed weights (out x in x 3 x 3, or out x in for the last) and biases (out), float32."""
    with np.load(Path(__file__).with_name(PARAMETERS), allow_pickle=False) as found:
        return tensors(found)


def tensors(learned: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Numbers of a fit as `chances` takes them."""
    return {name: torch.from_numpy(learned[name].astype(np.float32)) for name in learned}


def alike(image: np.ndarray) -> np.ndarray:
    """uint8 H x W, 0..8: how many of the eight neighbours have exactly the pixel's value; the edge repeats itself."""
    high, wide = image.shape[:2]
    padded = np.pad(image, ((1, 1), (1, 1)) + ((0, 0),) * (image.ndim - 2), mode="edge")
    count = np.zeros((high, wide), np.uint8)
    for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        same = padded[dy : dy + high, dx : dx + wide] == image
        count += same if image.ndim == 2 else same.all(axis=2)
    return count


def planes(image: np.ndarray, flat: np.ndarray | None = None) -> np.ndarray:
    """4 x H x W float32, about -1..1: luma, red less luma, blue less luma, flatness of a picture.

    ``image`` is uint8, H x W or H x W x 3. ``flat`` is `alike` of the picture before it was resized (uint8 H x W, by
    default of this one): interpolation leaves no two neighbours equal.
    """
    even = (alike(image) if flat is None else flat).astype(np.float32) / 4 - 1
    if image.ndim == 2:
        luma = image.astype(np.float32) / 127.5 - 1
        return np.stack([luma, np.zeros_like(luma), np.zeros_like(luma), even])
    colour = image.astype(np.float32) / 127.5 - 1
    luma = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, colour[..., 0] - luma, colour[..., 2] - luma, even])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of processes: the same picture gives the same mask to the last pixel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
@torch.inference_mode()
def chances(
    image: np.ndarray, learned: Mapping[str, torch.Tensor] | None = None, flat: np.ndarray | None = None
) -> np.ndarray:
    """H x W float32: how sure the network is, 0..1, that a mark covers the pixel; ``flat`` as for `planes`."""
    learned = learned or parameters()
    high, wide = image.shape[:2]
    pad = ((0, 0), (0, -high % DOWN), (0, -wide % DOWN))
    x = torch.from_numpy(np.pad(planes(image, flat), pad, mode="edge"))[None].contiguous(
        memory_format=torch.channels_last
    )

    def convolved(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.relu_(functional.conv2d(x, learned[f"{name}.weight"], learned[f"{name}.bias"], padding=1))

    kept: list[torch.Tensor] = []
    for scale in range(len(WIDTHS)):
        if scale:
            x = functional.max_pool2d(x, 2)
        x = convolved(convolved(x, f"down{scale}a"), f"down{scale}b")
        kept.append(x)
    for scale in range(len(WIDTHS) - 2, -1, -1):
        x = convolved(torch.cat([functional.interpolate(x, scale_factor=2), kept[scale]], 1), f"up{scale}")
    logits = functional.conv2d(x, learned["out.weight"][:, :, None, None], learned["out.bias"])
    return np.ascontiguousarray(torch.sigmoid(logits)[0, 0, :high, :wide].numpy())
