"""Two random views of each picture for contrastive learning (section IV.E.2), whole batches of uint8 tensors at once.

Random resized crop of 0.2–1 in area, horizontal flip, colour jitter 0.4/0.4/0.4/0.1, grey, Gaussian blur; what the
paper leaves open is MoCo v2's: jitter with probability 0.8, grey 0.2, blur 0.5 with sigma 0.1–2. Every picture has its
own draws, except the order of the four jitters, which is drawn per batch. One-channel batches skip saturation, hue and
grey, which leave a grey picture as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

GREY = (0.299, 0.587, 0.114)
"""ITU-R 601 luma, as PIL and torchvision"""
TRIES = 10
BLUR_SIZE = 224
"""picture size (pixels) at which MoCo v2 states its sigmas"""


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
            raise ValueError(f"views: expected size ≥ 8 and 0 < scale ≤ 1, got size {self.size} and scale {self.scale}")
        if not all(0 <= p <= 1 for p in (self.flip, self.jitter_p, self.grey, self.blur)):
            raise ValueError(f"views: expected probabilities in 0…1, got {self}")


def two_views(
    images: Tensor,
    recipe: ViewRecipe,
    generator: torch.Generator,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
) -> tuple[Tensor, Tensor]:
    """Query and key views (N×C×size×size float32, normalised) of uint8 images N×C×H×W.

    C of the views is ``len(mean)``: a grey picture is repeated to three channels for a three-channel network.
    ``generator`` lives on the images' device; the same state gives the same views.
    """
    first, second = (normalise(view(images, recipe, generator), mean, std) for _ in range(2))
    return first, second


def view(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """One random view, N×C×size×size float32 in 0…1, of uint8 images N×C×H×W with C 1 or 3."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"views: expected uint8 N×C×H×W with 1 or 3 channels, got {images.dtype} {tuple(images.shape)}"
        )
    out = crop(images, recipe, generator)
    out = jitter(out, recipe, generator)
    if out.shape[1] == 3:
        flag = _rand(out, generator) < recipe.grey
        out = torch.where(flag.view(-1, 1, 1, 1), grey(out).expand_as(out), out)
    return blur(out, recipe, generator)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x − mean) / std per channel; one channel is repeated to ``len(mean)``; three become grey for one."""
    if images.shape[1] == 3 and len(mean) == 1:
        images = grey(images)
    centre, spread = (torch.tensor(v, dtype=images.dtype, device=images.device).view(1, -1, 1, 1) for v in (mean, std))
    return (images - centre) / spread


def boxes(count: int, height: int, width: int, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """N×4 crop boxes (x0, y0, w, h in pixels): the first of ten draws that fits, as torchvision's RandomResizedCrop."""
    device = generator.device
    draws = torch.rand(4, count, TRIES, generator=generator, device=device)
    area = height * width * (recipe.scale[0] + draws[0] * (recipe.scale[1] - recipe.scale[0]))
    low, high = math.log(recipe.ratio[0]), math.log(recipe.ratio[1])
    aspect = torch.exp(low + draws[1] * (high - low))
    w, h = torch.sqrt(area * aspect).round(), torch.sqrt(area / aspect).round()
    fits = (w >= 1) & (h >= 1) & (w <= width) & (h <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    w, h, u, v = (t.gather(1, first).squeeze(1) for t in (w, h, draws[2], draws[3]))
    # None of ten fits (a very long picture): the largest central box within the allowed ratios.
    whole = ~fits.any(dim=1)
    across = min(width, round(height * recipe.ratio[1]))
    down = min(height, round(width / recipe.ratio[0]))
    w, h = torch.where(whole, float(across), w), torch.where(whole, float(down), h)
    u, v = torch.where(whole, 0.5, u), torch.where(whole, 0.5, v)
    left = torch.minimum((u * (width - w + 1)).floor(), width - w)  # rounding may give u·(…) = … itself
    top = torch.minimum((v * (height - h + 1)).floor(), height - h)
    return torch.stack([left, top, w, h], dim=1)


def crop(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """Random resized crop and horizontal flip in one bilinear resampling; float32 in 0…1."""
    count, _, height, width = images.shape
    x0, y0, w, h = boxes(count, height, width, recipe, generator).unbind(1)
    sign = torch.where(_rand(images, generator) < recipe.flip, -1.0, 1.0)
    zero = torch.zeros_like(w)
    theta = torch.stack(  # output coordinates in −1…1 → input coordinates in −1…1
        [
            torch.stack([sign * w / width, zero, (2 * x0 + w) / width - 1], dim=1),
            torch.stack([zero, h / height, (2 * y0 + h) / height - 1], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [count, 1, recipe.size, recipe.size], align_corners=False)
    out = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.div_(255)


def jitter(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue in random order, each picture with its own factors or none at all."""
    applied = _rand(images, generator) < recipe.jitter_p
    factors = []
    for strength in recipe.jitter:
        factor = 1 + (2 * _rand(images, generator) - 1) * strength
        factors.append(torch.where(applied, factor, 1.0).view(-1, 1, 1, 1))
    for step in torch.randperm(4, generator=generator, device=generator.device).tolist():
        factor = factors[step]
        if step == 0:
            images = (images * factor).clamp_(0, 1)
        elif step == 1:
            images = torch.lerp(grey(images).mean(dim=(1, 2, 3), keepdim=True), images, factor).clamp_(0, 1)
        elif images.shape[1] == 3 and step == 2:
            images = torch.lerp(grey(images).expand_as(images), images, factor).clamp_(0, 1)
        elif images.shape[1] == 3:
            images = _hue(images, (factor - 1).flatten())
    return images


def grey(images: Tensor) -> Tensor:
    """N×1×H×W luma of N×3×H×W; one channel as it is."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def blur(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """Gaussian blur of a random share of the batch, each picture with its own sigma; edges are reflected."""
    chosen = _rand(images, generator) < recipe.blur
    unit = recipe.size / BLUR_SIZE
    sigma = unit * (recipe.sigma[0] + _rand(images, generator) * (recipe.sigma[1] - recipe.sigma[0]))
    index = chosen.nonzero().squeeze(1)
    if not len(index):
        return images
    picked, spread = images[index], sigma[index].clamp(min=1e-3)
    count, channels, height, width = picked.shape
    radius = min(max(1, math.ceil(3 * unit * recipe.sigma[1])), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.exp(-0.5 * (offsets / spread[:, None]) ** 2)
    taps = (taps / taps.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # NC×taps
    flat = F.pad(picked.reshape(1, count * channels, height, width), [radius] * 4, mode="reflect")
    flat = F.conv2d(flat, taps[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, taps[:, None, :, None], groups=count * channels)
    return images.index_copy(0, index, flat.view(count, channels, height, width))


def collapse_grey(images: Tensor) -> Tensor:
    """N×3×H×W uint8 whose three channels are equal everywhere → N×1×H×W: a third of the memory and the work."""
    if images.shape[1] == 3 and bool((images[:, :1] == images).all()):
        return images[:, :1].contiguous()
    return images


def _rand(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(images), generator=generator, device=images.device)


def _hue(images: Tensor, shifts: Tensor) -> Tensor:
    from models.vision import torchvision

    adjust_hue = torchvision.transforms.functional.adjust_hue
    out = images.clone()
    for index in shifts.nonzero().flatten().tolist():
        out[index] = adjust_hue(images[index], float(shifts[index]))
    return out
