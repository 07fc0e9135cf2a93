"""Contrastive views: where crops lie, what each step does to pixels, shares of the batch, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.views import ViewRecipe, blur, boxes, collapse_grey, crop, jitter, normalise, two_views, view

OFF = {"flip": 0.0, "jitter_p": 0.0, "grey": 0.0, "blur": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count=4, channels=3, height=40, width=40, seed=0) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator(seed))


def test_boxes_lie_inside_and_have_the_stated_area_and_ratio():
    found = boxes(4000, 256, 200, ViewRecipe(), generator())
    x0, y0, w, h = found.unbind(1)
    assert bool((x0 >= 0).all() and (y0 >= 0).all() and (x0 + w <= 200).all() and (y0 + h <= 256).all())
    share = w * h / (256 * 200)
    assert 0.19 < float(share.min()) < 0.25 and float(share.max()) > 0.9
    assert float((w / h).min()) > 0.74 and float((w / h).max()) < 1.35
    assert len(torch.unique(found, dim=0)) > 3500  # each picture its own box


def test_a_picture_that_fits_no_box_gets_the_central_one():
    x0, _, w, h = boxes(8, 10, 400, ViewRecipe(scale=(0.9, 1.0)), generator()).unbind(1)
    assert bool((h == 10).all() and (w == 13).all() and (x0 > 150).all() and (x0 < 240).all())


def test_whole_crop_is_the_picture_and_flip_mirrors_it():
    images = noise(height=32, width=32)
    recipe = ViewRecipe(size=32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    torch.testing.assert_close(crop(images, recipe, generator()), images.float() / 255, atol=1e-5, rtol=0)
    mirrored = crop(images, ViewRecipe(size=32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0), generator())
    torch.testing.assert_close(mirrored, images.flip(3).float() / 255, atol=1e-5, rtol=0)


def test_crop_resamples_its_box_as_interpolate_does():
    images = noise(count=3, channels=1, height=64, width=48)
    recipe = ViewRecipe(size=24, flip=0.0)
    state = generator(5)
    found = boxes(3, 64, 48, recipe, generator(5)).long()
    out = crop(images, recipe, state)
    for image, (x, y, w, h), got in zip(images, found.tolist(), out, strict=True):
        expected = torch.nn.functional.interpolate(
            image[None, :, y : y + h, x : x + w].float() / 255, (24, 24), mode="bilinear", align_corners=False
        )[0]
        inner = (slice(None), slice(2, -2), slice(2, -2))  # at the rim the crop sees the pixels beyond its box
        torch.testing.assert_close(got[inner], expected[inner], atol=2e-5, rtol=0)


def test_jitter_of_a_grey_picture_is_brightness_and_contrast():
    images = noise(count=64, channels=1).float() / 255 * 0.2 + 0.4  # nothing reaches 0 or 1
    out = jitter(images, ViewRecipe(jitter_p=1.0), generator())
    before, after = images.flatten(1), out.flatten(1)
    slope = after.std(dim=1) / before.std(dim=1)
    assert float(slope.min()) > 0.6 * 0.6 - 1e-3 and float(slope.max()) < 1.4 * 1.4 + 1e-3
    assert float(slope.std()) > 0.1
    corr = [np.corrcoef(b, a)[0, 1] for b, a in zip(before.numpy(), after.numpy(), strict=True)]
    assert min(corr) > 0.9999  # a straight line, whatever the factors


def test_jitter_probability():
    images = noise(count=400, channels=1).float() / 255
    out = jitter(images, ViewRecipe(), generator())
    untouched = float((out == images).flatten(1).all(dim=1).float().mean())
    assert 0.13 < untouched < 0.27


def test_colour_jitter_moves_hue_only_of_colour():
    pytest.importorskip("models.vision")
    red = torch.zeros(6, 3, 8, 8)
    red[:, 0] = 0.8
    out = jitter(red, ViewRecipe(jitter=(0.0, 0.0, 0.0, 0.1), jitter_p=1.0), generator())
    assert float((out[:, 1:].amax(dim=(1, 2, 3))).max()) > 0.05
    same = torch.full((6, 3, 8, 8), 0.5)
    torch.testing.assert_close(jitter(same, ViewRecipe(jitter=(0, 0, 0.4, 0.1), jitter_p=1.0), generator()), same)


def test_grey_equals_the_luma():
    recipe = ViewRecipe(size=40, scale=(1.0, 1.0), ratio=(1.0, 1.0), **(OFF | {"grey": 1.0}))
    images = noise()
    out = view(images, recipe, generator())
    luma = (images.float() / 255 * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    for channel in range(3):
        torch.testing.assert_close(out[:, channel], luma, atol=1e-5, rtol=0)


def test_blur_is_scipys_gaussian_and_keeps_the_mean():
    from scipy.ndimage import gaussian_filter

    images = noise(count=3, channels=1, height=64, width=64).float() / 255
    recipe = ViewRecipe(size=224, blur=1.0, sigma=(1.5, 1.5))
    out = blur(images, recipe, generator())
    for before, after in zip(images[:, 0], out[:, 0], strict=True):
        expected = gaussian_filter(before.numpy(), 1.5, mode="mirror", truncate=5 / 1.5)
        np.testing.assert_allclose(after.numpy(), expected, atol=1e-4)


def test_blur_takes_its_share_and_leaves_the_rest_bit_equal():
    images = noise(count=300, channels=1, height=16, width=16).float() / 255
    out = blur(images, ViewRecipe(size=224, sigma=(1.0, 2.0)), generator())
    untouched = float((out == images).flatten(1).all(dim=1).float().mean())
    assert 0.4 < untouched < 0.6


@pytest.mark.parametrize("channels", [1, 3])
def test_views_differ_repeat_and_are_normalised(channels):
    images = noise(count=3, channels=channels)
    recipe = ViewRecipe(size=32, jitter=(0.4, 0.4, 0.4, 0.0), blur=0.9)
    first, second = two_views(images, recipe, generator(7))
    again, _ = two_views(images, recipe, generator(7))
    assert first.shape == (3, 3, 32, 32) and first.dtype == torch.float32
    assert torch.equal(first, again) and not torch.equal(first, second)
    grey_view, _ = two_views(images, recipe, generator(7), mean=[0.5], std=[0.25])
    assert grey_view.shape == (3, 1, 32, 32)
    assert float(grey_view.min()) >= -2.001 and float(grey_view.max()) <= 2.001


def test_normalise():
    out = normalise(torch.ones(1, 1, 2, 2), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert out[0, :, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_collapse_grey():
    same = noise(channels=1).repeat(1, 3, 1, 1)
    assert collapse_grey(same).shape == (4, 1, 40, 40)
    same[2, 1, 3, 3] ^= 1
    assert collapse_grey(same).shape == (4, 3, 40, 40)


def test_views_refuse():
    with pytest.raises(ValueError, match="uint8"):
        view(torch.zeros(1, 3, 8, 8), ViewRecipe(), generator())
    with pytest.raises(ValueError, match="scale"):
        ViewRecipe(scale=(0.0, 1.0))
    with pytest.raises(ValueError, match="probabilities"):
        ViewRecipe(flip=1.5)
