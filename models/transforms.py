"""From stored uint8 pictures to network input, whole batches at once: evaluation, and the augmentation of fine-tuning.

Fine-tuning (section IV.B and the scripts of 2020): random resized crop to 224 with 0.5–1 of the area and aspect ratio
3/4–4/3, horizontal flip, brightness and contrast changed by up to 0.2 in random order. Evaluation squeezes the picture
to 224×224. All arithmetic is vectorised over the batch and runs where the batch is (on the GPU when there is one).

Randomness is a table of uniform numbers per epoch, one row per image of the split: what happens to image i in epoch e
depends on (seed, e, i) alone, not on the batch it is in, the device, the number of processes or a resumed run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TRIES = 10
"""draws of a crop before the largest one that fits is taken, as torchvision's RandomResizedCrop"""
COLUMNS = 4 * TRIES + 4
"""uniform numbers per image and epoch: area, ratio, top, left of each try; flip, brightness, contrast, their order"""


class TransformError(ValueError):
    """Pictures or settings that cannot be transformed: says what, expected and got."""


@dataclass(frozen=True)
class Normalise:
    """Scale 0…1 grey to zero mean and unit deviation, and repeat it to as many channels as ``mean`` has.

    One channel for CRNet, three for the networks of torchvision: ImageNet's statistics for ImageNet weights, otherwise
    the training split's own three times.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3) or not all(value > 0 for value in self.std):
            raise TransformError(
                f"normalisation: expected 1 or 3 means and deviations > 0, got {self.mean}, {self.std}"
            )

    def __call__(self, grey: Tensor) -> Tensor:
        """N×1×H×W in 0…1 → N×C×H×W."""
        mean = grey.new_tensor(self.mean).view(1, -1, 1, 1)
        std = grey.new_tensor(self.std).view(1, -1, 1, 1)
        return (grey - mean) / std


@dataclass(frozen=True)
class Evaluation:
    """uint8 N×1×H×W → float32 N×C×size×size; nothing random."""

    size: int
    normalise: Normalise

    def __call__(self, images: Tensor) -> Tensor:
        grey = _unit(images)
        if grey.shape[-2:] != (self.size, self.size):
            grey = F.interpolate(grey, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return self.normalise(grey)

    def to_card(self) -> dict[str, Any]:
        """What a card says of it, as ``models.reading.evaluation`` reads it."""
        return {
            "size": self.size,
            "channels": len(self.normalise.mean),
            "mean": list(self.normalise.mean),
            "std": list(self.normalise.std),
        }


@dataclass(frozen=True)
class FineTuning:
    """Augmentation of fine-tuning: uint8 N×1×S×S with aspect ratios and random numbers → float32 N×C×size×size."""

    size: int
    normalise: Normalise
    scale: tuple[float, float] = (0.5, 1.0)
    """area of the crop, as a share of the picture (the paper's 'random cropping with a scale of 0.5')"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise TransformError(f"crop: expected 0 < scale ≤ 1 and rising ratios, got {self.scale}, {self.ratio}")
        if not (0 <= self.flip <= 1 and 0 <= self.brightness <= 1 and 0 <= self.contrast <= 1):
            raise TransformError(
                f"augmentation: expected flip, brightness and contrast in 0…1, got {self.flip}, {self.brightness}, "
                f"{self.contrast}"
            )

    def __call__(self, images: Tensor, aspect: Tensor, numbers: Tensor) -> Tensor:
        """``aspect`` N: width / height before the picture was squeezed; ``numbers`` N×COLUMNS, uniform in 0…1."""
        tries, rest = numbers[:, : 4 * TRIES].view(-1, TRIES, 4), numbers[:, 4 * TRIES :]
        boxes = crop_boxes(aspect, tries, self.scale, self.ratio)
        grey = resample(_unit(images), boxes, rest[:, 0] < self.flip, self.size)
        grey = jitter(
            grey, 1 + self.brightness * _signed(rest[:, 1]), 1 + self.contrast * _signed(rest[:, 2]), rest[:, 3]
        )
        return self.normalise(grey)


def random_numbers(count: int, seed: int, epoch: int) -> Tensor:
    """float32 count×COLUMNS, uniform in 0…1; row i does not depend on ``count``."""
    table = np.random.default_rng([seed, epoch, 1]).random((count, COLUMNS), dtype=np.float32)
    return torch.from_numpy(table)


def crop_boxes(aspect: Tensor, tries: Tensor, scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Random crops in the true geometry of each picture: N×4 (left, top, width, height) as shares of width and height.

    As torchvision's RandomResizedCrop: area uniform in ``scale``, log of the aspect ratio uniform in ``ratio``; the
    first of the tries that fits is taken, else the largest central crop of an allowed ratio. ``tries`` is N×T×4.
    """
    area = scale[0] + (scale[1] - scale[0]) * tries[..., 0]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * tries[..., 1]) / aspect[:, None]  # in units of the squeezed picture
    width, height = torch.sqrt(area * shape), torch.sqrt(area / shape)
    fits = (width <= 1) & (height <= 1)
    first = fits.float().argmax(dim=1, keepdim=True)  # the first True; 0 where none is
    width, height = width.gather(1, first)[:, 0], height.gather(1, first)[:, 0]
    left = (1 - width) * tries[..., 3].gather(1, first)[:, 0]
    top = (1 - height) * tries[..., 2].gather(1, first)[:, 0]
    limited = aspect.clamp(ratio[0], ratio[1]) / aspect  # the whole picture, narrowed or lowered to an allowed ratio
    whole_width, whole_height = limited.clamp(max=1), (1 / limited).clamp(max=1)
    none = ~fits.any(dim=1)
    return torch.stack(
        [
            torch.where(none, (1 - whole_width) / 2, left),
            torch.where(none, (1 - whole_height) / 2, top),
            torch.where(none, whole_width, width),
            torch.where(none, whole_height, height),
        ],
        dim=1,
    )


def resample(grey: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    """Cut each box out of its picture, mirror where ``flip``, and resize: N×1×S×S → N×1×size×size, bilinear."""
    left, top, width, height = boxes.to(grey.dtype).unbind(dim=1)
    sign = torch.where(flip, -1.0, 1.0).to(grey.dtype)
    zero = torch.zeros_like(left)
    # affine_grid works in -1…1; the centre of the box is 2·(left + width/2) - 1
    rows = torch.stack(
        [
            torch.stack([width * sign, zero, 2 * left + width - 1], dim=1),
            torch.stack([zero, height, 2 * top + height - 1], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(rows, [len(grey), 1, size, size], align_corners=False)
    return F.grid_sample(grey, grid, mode="bilinear", padding_mode="border", align_corners=False)


def jitter(grey: Tensor, brightness: Tensor, contrast: Tensor, order: Tensor) -> Tensor:
    """Brightness (× factor) and contrast (around the mean), clipped to 0…1; contrast comes first where order < 0.5."""
    contrast_first = (order < 0.5).view(-1, 1, 1, 1)
    brightness, contrast = brightness.view(-1, 1, 1, 1).to(grey), contrast.view(-1, 1, 1, 1).to(grey)

    def scaled(images: Tensor, factor: Tensor) -> Tensor:
        return (images * factor).clamp(0, 1)

    def stretched(images: Tensor, factor: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return (mean + (images - mean) * factor).clamp(0, 1)

    one = torch.ones_like(brightness)
    out = stretched(grey, torch.where(contrast_first, contrast, one))
    out = scaled(out, brightness)
    return stretched(out, torch.where(contrast_first, one, contrast))


def _signed(numbers: Tensor) -> Tensor:
    return 2 * numbers - 1


def _unit(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 1:
        raise TransformError(f"pictures: expected uint8 N×1×H×W, got {images.dtype} {tuple(images.shape)}")
    return images.float() / 255
