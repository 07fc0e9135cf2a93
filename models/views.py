"""Two random views of each picture for contrastive learning (section IV.E.2), whole batches of uint8 tensors at once.

Random resized crop of 0.2–1 in area, horizontal flip, colour jitter 0.4/0.4/0.4/0.1, grey, Gaussian blur; what the
paper leaves open is MoCo v2's: jitter with probability 0.8, grey 0.2, blur 0.5 with sigma 0.1–2. One-channel pictures
skip saturation, hue and grey, which leave a grey picture as it is.

As in fine-tuning, randomness is a table of uniform numbers with one row per image of the set: what happens to image i
in epoch e depends on (seed, e, i) alone, not on its batch, the device, the number of processes or a resumed run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models import transforms
from models.transforms import TRIES, Normalise, TransformError
from models.vision import torchvision

GREY = (0.299, 0.587, 0.114)
"""ITU-R 601 luma, as PIL and torchvision"""
BLUR_SIZE = 224
"""picture size (pixels) at which MoCo v2 states its sigmas"""
COLUMNS = 4 * TRIES + 13
"""uniform numbers per view: crop tries; flip, jitter yes/no, four factors, four order keys, grey, blur, sigma"""


@dataclass(frozen=True)
class ViewRecipe:
    """Parameters of the contrastive views; the defaults are the paper's, completed from MoCo v2."""

    size: int = 224
    """height and width of a view, pixels"""
    scale: tuple[float, float] = (0.2, 1.0)
    """area of the crop, as a share of the picture"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """brightness, contrast, saturation, hue"""
    jitter_p: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    """pixels at 224×224; scaled with ``size``"""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1 or self.size < 8:
            raise TransformError(f"views: expected size ≥ 8 and 0 < scale ≤ 1, got {self.size} and {self.scale}")
        if not all(0 <= p <= 1 for p in (self.flip, self.jitter_p, self.grey, self.blur, *self.jitter[:3])):
            raise TransformError(f"views: expected probabilities and jitter in 0…1, got {self}")
        if not 0 <= self.jitter[3] <= 0.5 or not 0 < self.sigma[0] <= self.sigma[1]:
            raise TransformError(f"views: expected hue in 0…0.5 and rising sigmas > 0, got {self}")


def random_numbers(count: int, seed: int, epoch: int) -> Tensor:
    """float32 count×2×COLUMNS, uniform in 0…1, for both views; row i does not depend on ``count``."""
    table = np.random.default_rng([seed, epoch, 2]).random((count, 2, COLUMNS), dtype=np.float32)
    return torch.from_numpy(table)


def two_views(
    images: Tensor, aspect: Tensor, numbers: Tensor, recipe: ViewRecipe, normalise: Normalise
) -> tuple[Tensor, Tensor]:
    """Query and key views, N×C×size×size float32, of uint8 pictures N×(1 or 3)×H×W.

    ``aspect`` N: width / height before the picture was squeezed; ``numbers`` N×2×COLUMNS, uniform in 0…1.
    """
    query, key = (view(images, aspect, numbers[:, which], recipe) for which in range(2))
    if len(normalise.mean) == 1:
        query, key = luma(query), luma(key)
    return normalise(query), normalise(key)


def view(images: Tensor, aspect: Tensor, numbers: Tensor, recipe: ViewRecipe) -> Tensor:
    """One random view, N×C×size×size float32 in 0…1 with the channels of ``images``; ``numbers`` N×COLUMNS."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise TransformError(f"views: expected uint8 N×(1 or 3)×H×W, got {images.dtype} {tuple(images.shape)}")
    if numbers.shape != (len(images), COLUMNS):
        raise TransformError(f"views: expected {COLUMNS} numbers per picture, got {tuple(numbers.shape)}")
    tries, rest = numbers[:, : 4 * TRIES].reshape(-1, TRIES, 4), numbers[:, 4 * TRIES :]
    boxes = transforms.crop_boxes(aspect, tries, recipe.scale, recipe.ratio)
    out = transforms.resample(images.float() / 255, boxes, rest[:, 0] < recipe.flip, recipe.size)
    out = jitter(out, rest[:, 1:10], recipe)
    if out.shape[1] == 3:
        out = torch.where((rest[:, 10] < recipe.grey).view(-1, 1, 1, 1), luma(out).expand_as(out), out)
    return blur(out, rest[:, 11:13], recipe)


def jitter(images: Tensor, numbers: Tensor, recipe: ViewRecipe) -> Tensor:
    """Brightness, contrast, saturation, hue in an order, with factors, or not at all, as each picture's numbers say."""
    applied = (numbers[:, :1] < recipe.jitter_p).to(numbers.dtype)
    shifts = (2 * numbers[:, 1:5] - 1) * numbers.new_tensor(recipe.jitter) * applied  # N×4, 0 changes nothing
    keys = numbers[:, 5:9]
    if images.shape[1] == 1:
        contrast_first = (keys[:, 1] >= keys[:, 0]).to(numbers.dtype)  # 0: contrast comes first
        return transforms.jitter(images, 1 + shifts[:, 0], 1 + shifts[:, 1], contrast_first)
    images = images.clone()
    for place in keys.argsort(dim=1).T:  # which of the four comes first, second, …
        for kind, change in enumerate((_brighten, _contrast, _saturate, _hue)):
            index = ((place == kind) & (applied[:, 0] > 0)).nonzero().squeeze(1)
            if len(index):
                images[index] = change(images[index], shifts[index, kind].view(-1, 1, 1, 1)).clamp(0, 1)
    return images


def luma(images: Tensor) -> Tensor:
    """N×1×H×W grey of N×3×H×W; one channel as it is."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def blur(images: Tensor, numbers: Tensor, recipe: ViewRecipe) -> Tensor:
    """Gaussian blur where ``numbers[:, 0]`` < the share, sigma from ``numbers[:, 1]``; edges are reflected."""
    index = (numbers[:, 0] < recipe.blur).nonzero().squeeze(1)
    if not len(index):
        return images
    unit = recipe.size / BLUR_SIZE
    sigma = unit * (recipe.sigma[0] + numbers[index, 1:] * (recipe.sigma[1] - recipe.sigma[0]))
    picked = images[index]
    count, channels, height, width = picked.shape
    radius = min(max(1, math.ceil(3 * unit * recipe.sigma[1])), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)) ** 2)
    taps = (taps / taps.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # NC×taps
    flat = F.pad(picked.reshape(1, count * channels, height, width), [radius] * 4, mode="reflect")
    flat = F.conv2d(flat, taps[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, taps[:, None, :, None], groups=count * channels)
    return images.index_copy(0, index, flat.view(count, channels, height, width))


def _brighten(images: Tensor, shift: Tensor) -> Tensor:
    return images * (1 + shift)


def _contrast(images: Tensor, shift: Tensor) -> Tensor:
    return torch.lerp(luma(images).mean(dim=(1, 2, 3), keepdim=True), images, 1 + shift)


def _saturate(images: Tensor, shift: Tensor) -> Tensor:
    return torch.lerp(luma(images).expand_as(images), images, 1 + shift)


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    turn = torchvision.transforms.functional.adjust_hue
    return torch.stack([turn(image, float(value)) for image, value in zip(images, shift, strict=True)])
