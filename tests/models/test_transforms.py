"""The batched augmentation does what torchvision's per-image one does, and is a function of (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from models import transforms
from models.transforms import Evaluation, FineTuning, Normalise
from models.vision import torchvision

RAW = Normalise((0.0,), (1.0,))
RATIO = (3 / 4, 4 / 3)
functional = torchvision.transforms.functional


def pictures(count: int = 6, side: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_rows_of_random_numbers_do_not_depend_on_the_count() -> None:
    assert torch.equal(transforms.random_numbers(10, 3, 5)[:4], transforms.random_numbers(4, 3, 5))
    assert not torch.equal(transforms.random_numbers(4, 3, 5), transforms.random_numbers(4, 3, 6))
    assert not torch.equal(transforms.random_numbers(4, 3, 5), transforms.random_numbers(4, 4, 5))


def test_an_image_looks_the_same_in_any_batch() -> None:
    view = FineTuning(24, RAW)
    images, aspect, numbers = pictures(), torch.linspace(0.6, 2.0, 6), transforms.random_numbers(6, 0, 0)
    together = view(images, aspect, numbers)
    alone = torch.cat([view(images[i : i + 1], aspect[i : i + 1], numbers[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert together.shape == (6, 1, 24, 24)
    assert not torch.allclose(together, view(images, aspect, transforms.random_numbers(6, 0, 1)))


@pytest.mark.parametrize("aspect", [0.4, 0.75, 1.0, 1.42, 3.0])
def test_boxes_keep_to_the_scale_and_to_the_true_aspect_ratio(aspect: float) -> None:
    tries = torch.rand(4000, transforms.TRIES, 4, generator=torch.Generator().manual_seed(0))
    boxes = transforms.crop_boxes(torch.full((4000,), aspect), tries, (0.5, 1.0), RATIO)
    left, top, width, height = boxes.unbind(1)
    assert bool(((left >= 0) & (top >= 0) & (left + width <= 1 + 1e-6) & (top + height <= 1 + 1e-6)).all())
    shape = width * aspect / height
    assert float(shape.min()) >= RATIO[0] - 1e-4
    assert float(shape.max()) <= RATIO[1] + 1e-4
    area = width * height
    # torchvision, too, falls back to the largest central crop where 10 tries fail: its area may be below the scale
    if 0.75 <= aspect <= 1.5:
        assert float((area >= 0.5 - 1e-6).float().mean()) > 0.99
    if aspect == 3.0:
        assert torch.allclose(area, torch.tensor(RATIO[1] / 3), atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(100, 100), (142, 100), (100, 180), (300, 100)])
def test_boxes_are_distributed_as_torchvision_s(width: int, height: int) -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, height, width)
    crop = torchvision.transforms.RandomResizedCrop
    theirs = np.array([crop.get_params(image, (0.5, 1.0), RATIO) for _ in range(3000)], dtype=float)  # top left h w
    theirs /= [height, width, height, width]
    tries = torch.rand(3000, transforms.TRIES, 4, generator=torch.Generator().manual_seed(1))
    ours = transforms.crop_boxes(torch.full((3000,), width / height), tries, (0.5, 1.0), RATIO).numpy()[:, [1, 0, 3, 2]]
    assert np.allclose(theirs.mean(0), ours.mean(0), atol=0.015)
    assert np.allclose(theirs.std(0), ours.std(0), atol=0.015)


def test_resampling_is_crop_and_resize() -> None:
    ramp = torch.arange(64, dtype=torch.float32).repeat(64, 1)[None, None] / 63  # a ramp is resampled exactly
    box = torch.tensor([[0.25, 0.125, 0.5, 0.75]])
    got = transforms.resample(ramp, box, torch.tensor([False]), 32)[0, 0]
    expected = torch.nn.functional.interpolate(ramp[:, :, 8:56, 16:48], (32, 32), mode="bilinear", align_corners=False)
    assert torch.allclose(got, expected[0, 0], atol=1e-3)
    mirrored = transforms.resample(ramp, box, torch.tensor([True]), 32)[0, 0]
    assert torch.allclose(mirrored, got.flip(1), atol=1e-5)


@pytest.mark.parametrize("first", ["brightness", "contrast"])
def test_jitter_is_torchvision_s(first: str) -> None:
    grey = pictures(1).float() / 255
    order = torch.tensor([0.4 if first == "contrast" else 0.6])
    got = transforms.jitter(grey, torch.tensor([1.17]), torch.tensor([0.85]), order)
    steps = [lambda x: functional.adjust_brightness(x, 1.17), lambda x: functional.adjust_contrast(x, 0.85)]
    expected = grey
    for step in steps if first == "brightness" else steps[::-1]:
        expected = step(expected)
    assert torch.allclose(got, expected, atol=1e-5)


def test_flip_and_jitter_have_the_stated_strength() -> None:
    view = FineTuning(8, RAW, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    images = torch.full((2000, 1, 8, 8), 100, dtype=torch.uint8)
    images[:, :, :, :4] = 50
    out = view(images, torch.ones(2000), transforms.random_numbers(2000, 0, 0))
    left, right = out[:, 0, :, :3].mean(dim=(1, 2)), out[:, 0, :, 5:].mean(dim=(1, 2))
    assert 0.46 < float((left > right).float().mean()) < 0.54
    mean = out.mean(dim=(1, 2, 3)) / (75 / 255)
    assert 0.8 <= float(mean.min()) < 0.81
    assert 1.19 < float(mean.max()) <= 1.2001


def test_nothing_random_leaves_the_picture() -> None:
    view = FineTuning(40, RAW, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, brightness=0.0, contrast=0.0)
    images = pictures()
    out = view(images, torch.ones(6), transforms.random_numbers(6, 0, 0))
    assert torch.allclose(out, images.float() / 255, atol=1e-4)


def test_evaluation_resizes_like_pil_and_repeats_grey() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    image = np.asarray(Image.effect_noise((60, 60), 80).resize((80, 80), Image.Resampling.BICUBIC), dtype=np.uint8)
    out = Evaluation(32, Normalise(mean, std))(torch.from_numpy(image.copy())[None, None])
    assert out.shape == (1, 3, 32, 32)
    grey = out[0] * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    assert torch.allclose(grey[0], grey[2], atol=1e-6)
    reference = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR), dtype=float) / 255
    assert np.abs(grey[0].numpy() - reference).max() < 1.5 / 255


def test_mistakes_are_named() -> None:
    with pytest.raises(transforms.TransformError, match="1 or 3 means"):
        Normalise((0.5, 0.5), (0.1, 0.1))
    with pytest.raises(transforms.TransformError, match="1 or 3 means"):
        Normalise((0.5,), (0.0,))
    with pytest.raises(transforms.TransformError, match="0 < scale"):
        FineTuning(8, RAW, scale=(0.0, 1.0))
    with pytest.raises(transforms.TransformError, match="in 0…1"):
        FineTuning(8, RAW, brightness=-1)
    with pytest.raises(transforms.TransformError, match="uint8 N×1×H×W, got torch"):
        Evaluation(8, RAW)(torch.zeros(1, 1, 8, 8))
