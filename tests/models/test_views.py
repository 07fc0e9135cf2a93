"""Contrastive views: where crops lie, what each step does to pixels, shares of the batch, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise, TransformError
from models.views import ViewRecipe, blur, jitter, luma, random_numbers, two_views, view
from models.vision import torchvision

OFF = {"flip": 0.0, "jitter_p": 0.0, "grey": 0.0, "blur": 0.0}
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
IMAGENET = Normalise(IMAGENET_MEAN, IMAGENET_STD)


def noise(count=4, channels=3, height=40, width=40, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def draws(count, columns=53, seed=0) -> torch.Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def look(images, recipe, seed=0) -> torch.Tensor:
    return view(images, torch.ones(len(images)), draws(len(images), seed=seed), recipe)


def test_whole_crop_is_the_picture_and_flip_mirrors_it():
    images = noise(height=32, width=32)
    plain = look(images, ViewRecipe(size=32, **WHOLE, **OFF))
    torch.testing.assert_close(plain, images.float() / 255, atol=1e-5, rtol=0)
    mirrored = look(images, ViewRecipe(size=32, **WHOLE, **(OFF | {"flip": 1.0})))
    torch.testing.assert_close(mirrored, images.flip(3).float() / 255, atol=1e-5, rtol=0)


def test_crops_cover_a_fifth_to_all_of_the_area():
    """On a picture whose grey is its column, the range of a view tells the width of its crop; likewise the rows."""
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256).expand(600, 1, 256, 256)
    recipe = ViewRecipe(size=64, **OFF)
    wide, tall = look(ramp, recipe), look(ramp.transpose(2, 3), recipe)
    width = (wide[:, 0, 0, -1] - wide[:, 0, 0, 0]).abs() * 255 / 256 * 64 / 63
    height = (tall[:, 0, -1, 0] - tall[:, 0, 0, 0]).abs() * 255 / 256 * 64 / 63
    area, ratio = width * height, width / height
    assert 0.18 < float(area.min()) < 0.25 and float(area.max()) > 0.9
    assert float(area.mean()) == pytest.approx(0.58, abs=0.04)  # uniform in 0.2…1, less what does not fit
    assert float(ratio.min()) > 0.7 and float(ratio.max()) < 1.4 and float(ratio.std()) > 0.1
    assert len(torch.unique(wide[:, 0, 0, 0])) > 500  # each picture its own box


def test_grey_jitter_is_brightness_and_contrast():
    images = noise(count=64, channels=1).float() / 255 * 0.2 + 0.4  # nothing reaches 0 or 1
    out = jitter(images, draws(64, 9), ViewRecipe(jitter_p=1.0))
    before, after = images.flatten(1), out.flatten(1)
    slope = after.std(dim=1) / before.std(dim=1)
    assert float(slope.min()) > 0.6 * 0.6 - 1e-3 and float(slope.max()) < 1.4 * 1.4 + 1e-3
    assert float(slope.std()) > 0.1
    corr = [np.corrcoef(b, a)[0, 1] for b, a in zip(before.numpy(), after.numpy(), strict=True)]
    assert min(corr) > 0.9999  # a straight line, whatever the factors


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_equals_torchvisions_steps_in_the_drawn_order(channels):
    images, numbers = noise(count=12, channels=channels).float() / 255, draws(12, 9, seed=3)
    recipe = ViewRecipe()
    out = jitter(images, numbers, recipe)
    functional = torchvision.transforms.functional
    steps = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    touched = 0
    for image, row, got in zip(images, numbers, out, strict=True):
        expected = image
        if row[0] < recipe.jitter_p:
            touched += 1
            for kind in row[5:9].argsort().tolist():
                shift = float((2 * row[1 + kind] - 1) * recipe.jitter[kind])
                if kind < 2 or (kind == 2 and channels == 3):
                    expected = steps[kind](expected, 1 + shift)
                elif kind == 3 and channels == 3:
                    expected = functional.adjust_hue(expected, shift)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert 6 < touched < 12


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_probability(channels):
    images = noise(count=300, channels=channels, height=8, width=8).float() / 255
    out = jitter(images, draws(300, 9), ViewRecipe())
    untouched = float((out - images).abs().flatten(1).amax(dim=1).lt(1e-6).float().mean())
    assert 0.13 < untouched < 0.27


def test_grey_pictures_stay_grey_whatever_the_channels():
    """Three equal channels and one channel go through the same steps: saturation, hue and grey change nothing."""
    one = noise(count=8, channels=1)
    out = look(one.expand(-1, 3, -1, -1).contiguous(), ViewRecipe(size=32))
    torch.testing.assert_close(out, look(one, ViewRecipe(size=32)).expand(-1, 3, -1, -1), atol=2e-4, rtol=0)


def test_grey_takes_its_share():
    out = look(noise(count=300), ViewRecipe(size=16, **(OFF | {"grey": 0.2})))
    share = float((out[:, :1] - out).abs().amax(dim=(1, 2, 3)).lt(1e-6).float().mean())
    assert 0.13 < share < 0.27
    white = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert float(luma(white)) == pytest.approx(0.299)


def test_blur_is_scipys_gaussian():
    from scipy.ndimage import gaussian_filter

    images = noise(count=3, channels=1, height=64, width=64).float() / 255
    out = blur(images, draws(3, 2), ViewRecipe(size=224, blur=1.0, sigma=(1.5, 1.5)))
    for before, after in zip(images[:, 0], out[:, 0], strict=True):
        expected = gaussian_filter(before.numpy(), 1.5, mode="mirror", truncate=5 / 1.5)
        np.testing.assert_allclose(after.numpy(), expected, atol=1e-4)


def test_blur_takes_its_share_and_leaves_the_rest_bit_equal():
    images = noise(count=300, channels=1, height=16, width=16).float() / 255
    out = blur(images, draws(300, 2), ViewRecipe(size=224, sigma=(1.0, 2.0)))
    untouched = float((out == images).flatten(1).all(dim=1).float().mean())
    assert 0.4 < untouched < 0.6


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_depends_on_the_image_and_epoch_not_on_its_batch(channels):
    images, aspect = noise(count=7, channels=channels), torch.linspace(0.5, 2, 7)
    numbers = random_numbers(7, seed=5, epoch=3)
    query, key = two_views(images, aspect, numbers, ViewRecipe(size=32), IMAGENET)
    assert query.shape == key.shape == (7, 3, 32, 32) and not torch.equal(query, key)
    index = torch.tensor([6, 2])
    part, _ = two_views(images[index], aspect[index], numbers[index], ViewRecipe(size=32), IMAGENET)
    torch.testing.assert_close(part, query[index], atol=1e-5, rtol=0)
    assert torch.equal(random_numbers(9, 5, 3)[:7], numbers)
    assert not torch.equal(random_numbers(7, 5, 4), numbers) and not torch.equal(random_numbers(7, 6, 3), numbers)


def test_normalisation_to_one_channel():
    out, _ = two_views(noise(), torch.ones(4), random_numbers(4, 0, 0), ViewRecipe(size=32), Normalise((0.5,), (0.25,)))
    assert out.shape == (4, 1, 32, 32)
    assert float(out.min()) >= -2.001 and float(out.max()) <= 2.001


BAD: list[dict] = [
    {"scale": (0.0, 1.0)},
    {"scale": (0.5, 0.2)},
    {"flip": 1.5},
    {"size": 4},
    {"jitter": (2, 0, 0, 0)},
    {"jitter": (0, 0, 0, 0.7)},
    {"sigma": (2.0, 1.0)},
    {"sigma": (0.0, 1.0)},
]


@pytest.mark.parametrize("options", BAD)
def test_recipe_refuses(options):
    with pytest.raises(TransformError, match="expected"):
        ViewRecipe(**options)


def test_views_refuse():
    with pytest.raises(TransformError, match="uint8"):
        view(torch.zeros(1, 3, 8, 8), torch.ones(1), draws(1), ViewRecipe())
    with pytest.raises(TransformError, match="numbers per picture"):
        view(noise(), torch.ones(4), draws(4, 10), ViewRecipe())
