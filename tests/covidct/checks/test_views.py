"""Window, orientation and panels of a slice."""

from __future__ import annotations

import numpy as np
import pytest

from covidct.checks import views


@pytest.mark.parametrize("side", [90, 200, 700])
def test_the_window_is_told_by_the_lungs(draw, side: int) -> None:
    assert views.look(draw(1, side)).window == "lung"
    assert views.look(draw(1, side, air=0)).window != "lung"


def test_lungs_cut_by_the_edge_are_still_lungs(draw) -> None:
    assert views.look(np.ascontiguousarray(draw(2)[40:150, 30:170])).window == "lung"


def test_a_slice_turned_over_stands_out_from_its_folder(folder_of, draw) -> None:
    images = [draw(seed) for seed in range(24)]
    images[5] = np.ascontiguousarray(images[5][::-1])
    folder = folder_of([{"label": n % 2} for n in range(24)], images)
    found = [f for f in views.check(folder) if "turned over" in f.evidence]
    assert [f.items for f in found] == [("5.png",)]


def test_few_pictures_have_no_average_to_be_compared_with(draw) -> None:
    assert views.turned([views.look(draw(1)).stamp]).tolist() == [0.0]


@pytest.mark.parametrize(
    "image", [np.zeros((1, 1), np.uint8), np.full((30, 500), 255, np.uint8), np.zeros((9, 9), np.uint8)]
)
def test_flat_and_tiny_pictures_are_no_lung_view(image: np.ndarray) -> None:
    assert views.look(image).window == "none"
