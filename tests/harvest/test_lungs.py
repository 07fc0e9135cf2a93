"""Windowing, and how much of a slice is lung."""

from __future__ import annotations

import numpy as np
import pytest

from harvest.lungs import lung_fraction, lung_fraction_of_grey, window


def body(lungs: float = 1.0, gas: float = -850.0, size: int = 128) -> np.ndarray:
    """A round body in air with two round lungs (HU); ``lungs`` scales their radius, 0 for none."""
    y, x = np.mgrid[:size, :size] - size / 2
    image = np.full((size, size), -1000.0)
    image[(x / 55) ** 2 + (y / 45) ** 2 < 1] = 40.0
    for side in (-24, 24):
        if lungs:
            image[((x - side) / (17 * lungs)) ** 2 + (y / (28 * lungs)) ** 2 < 1] = gas
    return image


def test_the_window_is_closed_form():
    hu = np.array([-4000.0, -3024, -2048, -1024, -600, 149, 150, 3000])
    air = round((-1024 + 1350) / 1500 * 255)  # outside the scanner's field of view counts as air
    assert window(hu, -600, 1500).tolist() == [air, air, air, air, 128, 255, 255, 255]
    assert window(np.array([-850.0, -349.0]), -600, 500).tolist() == [0, 255]
    assert window(hu, 40, 400).dtype == np.uint8
    assert window(np.array([-161.0, -160, 40, 240, 241]), 40, 400).tolist() == [0, 0, 128, 255, 255]


def test_lungs_are_measured():
    image = body()
    area = float((image == -850).mean())
    assert area > 0.15 and lung_fraction(image) == pytest.approx(area, rel=0.02)
    assert lung_fraction(body(0.5)) == pytest.approx(float((body(0.5) == -850).mean()), rel=0.05)


@pytest.mark.parametrize(
    "image",
    [body(0), body(0.5, gas=-1000.0), np.full((64, 64), -1000.0), np.full((64, 64), 40.0)],
    ids=["a body without", "bowel gas", "air", "tissue to the edges"],
)
def test_no_lung_is_none(image):
    assert lung_fraction(image) < 0.002


def test_lungs_of_emphysema_are_lungs_although_nearly_air():
    assert lung_fraction(body(1.0, gas=-985.0)) > 0.1


def test_streaks_through_the_chest_wall_do_not_let_the_lung_out():
    image = body()
    image[63:65, :] = np.where(image[63:65, :] == 40.0, -500.0, image[63:65, :])
    assert lung_fraction(image) == pytest.approx(lung_fraction(body()), rel=0.1)


def test_a_windowed_slice_gives_nearly_the_same():
    assert lung_fraction_of_grey(window(body(), -600, 1500), -600, 1500) == pytest.approx(
        lung_fraction(body()), rel=0.02
    )
