"""Crops that a fit learns from: the same from the same seed, mostly marked, true to what was drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation import artifacts, strokes
from curation.artifacts_drawn import SEEN
from curation.artifacts_fit import phantoms
from curation.artifacts_pieces import CROP, CROPS, pieces, rescaled


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    return phantoms(2, 5)


def test_crops_show_what_was_drawn_and_some_show_nothing(slices: list[np.ndarray]) -> None:
    stream = pieces(slices, np.random.default_rng(2))
    found = [next(stream) for _ in range(60)]
    again = pieces(slices, np.random.default_rng(2))
    for image, covered, change in found:
        assert image.shape == (CROP, CROP, 4) and covered.shape == change.shape == (CROP, CROP)
        assert image.dtype == covered.dtype == change.dtype == np.uint8 and set(np.unique(covered)) <= {0, 1}
        assert all((a == b).all() for a, b in zip(next(again), (image, covered, change), strict=True))
    marked = [covered.any() for _, covered, _ in found]
    assert 0.3 < np.mean(marked) < 0.95
    assert all((change[covered == 0] <= SEEN).all() for _, covered, change in found)  # what is changed is covered


def test_small_slices_are_learned_from_as_they_are_looked_at(slices: list[np.ndarray]) -> None:
    noise = np.random.default_rng(1).integers(-20, 21, (256, 256))
    small = np.clip(cv2.resize(slices[0], (256, 256)) + noise, 0, 255).astype(np.uint8)
    enlarged = 0
    for seed in range(12):
        stream = pieces([small], np.random.default_rng(seed))
        for image, _, _ in (next(stream) for _ in range(CROPS)):
            even = image[..., 3]  # enlarged twice by nearest neighbour: rows come in pairs
            pairs = max((even[0::2] == even[1::2]).mean(), (even[1:-1:2] == even[2::2]).mean())
            enlarged += bool(pairs > 0.99 and even.min() < 8)
    assert enlarged >= 9


def test_flatness_is_that_of_the_picture_before_it_was_enlarged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    image[5:12, 6:14] = 255
    even = strokes.alike(image)
    assert even[8, 9] == 8 and even[5, 6] >= 3 and even.dtype == np.uint8 and even.max() == 8
    view, flat = artifacts.looked_at(image, 2.0)
    assert view.shape == flat.shape == (40, 48) and (flat[::2, ::2] == even).all()
    smaller, flat = artifacts.looked_at(image, 0.5)
    assert smaller.shape == flat.shape == (10, 12) and (flat == strokes.alike(smaller)).all()
    colour = np.dstack([image, image, 255 - image])
    assert (strokes.alike(colour) == even).all()
    colour[8, 9, 2] = 1  # one channel is enough to be another tone
    assert strokes.alike(colour)[8, 10] == 7


def test_what_is_resized_stays_true() -> None:
    rng = np.random.default_rng(4)
    image = np.zeros((200, 200), np.uint8)
    image[50:70, 60:100] = 255
    for _ in range(10):
        shown, change, covered = rescaled(image, image.copy(), image > 0, rng)
        assert shown.shape == change.shape == covered.shape and min(shown.shape) >= CROP
        assert covered[(change > SEEN)].all() and (shown[~covered] < 60).all()
