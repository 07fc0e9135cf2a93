"""Panels: boxes of drawn figures are found, single pictures stay whole, order is reading order."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from curation.panels import find_panels, reading_order, sentences
from curation.raster import ImageError, read
from harvest.sample.distractors import draw_distractor
from harvest.sample.phantom import draw_patient
from harvest.sample.picture import draw_figure

Box = tuple[int, int, int, int]


def iou(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, wide) * max(0, high)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def tile(number: int, size: tuple[int, int] = (220, 160)) -> np.ndarray:
    patient = draw_patient(2, f"t{number}", ["covid", "normal", "lobar", "emphysema"][number % 4])
    grey = draw_figure(9, f"t{number}", [(patient, 0.5)]).pixels
    return cv2.resize(grey if grey.ndim == 2 else grey[..., 0], size, interpolation=cv2.INTER_AREA)


def figure(count: int, columns: int, gutter: int, page: int) -> tuple[np.ndarray, list[Box]]:
    wide, high = 220, 160
    rows = -(-count // columns)
    canvas = np.full((rows * high + (rows - 1) * gutter, columns * wide + (columns - 1) * gutter), page, np.uint8)
    boxes = []
    for n in range(count):
        y, x = (n // columns) * (high + gutter), (n % columns) * (wide + gutter)
        canvas[y : y + high, x : x + wide] = tile(n)
        cv2.putText(canvas, chr(65 + n), (x + 6, y + 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2, cv2.LINE_AA)
        boxes.append((x, y, x + wide, y + high))
    return canvas, boxes


@pytest.mark.parametrize("page", [255, 0])
@pytest.mark.parametrize(
    ("count", "columns", "gutter"), [(2, 2, 2), (3, 3, 8), (4, 2, 20), (6, 3, 4), (7, 3, 6), (12, 4, 10)]
)
def test_panels_between_gutters(count: int, columns: int, gutter: int, page: int) -> None:
    image, truth = figure(count, columns, gutter, page)
    found = find_panels(image)
    assert len(found) == len(truth)
    assert all(iou(f, t) >= 0.75 for f, t in zip(found, truth, strict=True))


def test_most_touching_panels_are_found_without_a_gutter() -> None:
    hits = total = 0
    for count, columns in ((2, 2), (4, 2), (6, 3), (9, 3)):
        image, truth = figure(count, columns, 0, 0)
        found = find_panels(image)
        hits += sum(max(iou(f, t) for f in found) >= 0.75 for t in truth)
        total += max(len(truth), len(found))
    assert hits / total >= 0.6


def test_a_letter_above_each_panel_is_no_panel() -> None:
    inner, truth = figure(4, 2, 12, 255)
    canvas = np.full((inner.shape[0] + 70, inner.shape[1] + 20, 3), 255, np.uint8)
    canvas[30 : 30 + 160, 10 : 10 + inner.shape[1]] = inner[:160, :, None]
    canvas[70 + 160 : 70 + 320, 10 : 10 + inner.shape[1]] = inner[172:, :, None]
    for x, y, text in ((12, 24, "A"), (244, 24, "B"), (12, 222, "C"), (244, 222, "D")):
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2, cv2.LINE_AA)
    found = find_panels(canvas)
    assert len(found) == 4
    assert iou(found[0], (10, 30, 230, 190)) >= 0.75 and iou(found[3], (242, 230, 462, 390)) >= 0.75
    assert truth


@pytest.mark.parametrize("size", [11, 13, 15])
@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("count", [3, 4])
def test_lines_of_a_caption_belong_to_no_panel(size: int, above: bool, count: int) -> None:
    inner, truth = figure(count, count if count == 3 else 2, 12, 255)
    bright = inner > 140  # tissue as white as the page: nothing but its own ink ends such a panel
    inner[bright] = 255
    lines = [
        "Axial CT images (lung window) of a patient with fever",
        "on day 1, 5 and 9: opacities in both lower lobes.",
    ]
    page = Image.new("L", (inner.shape[1] + 20, inner.shape[0] + 2 * (size + 8) + 20), 255)
    top = 2 * (size + 8) + 10 if above else 8
    page.paste(Image.fromarray(inner), (10, top))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for number, line in enumerate(lines):
        place = number * (size + 6) + (2 if above else top + inner.shape[0] + 6)
        pen.text((6, place), line, fill=0, font=font)
    image = np.asarray(page)
    found = find_panels(image)
    expected = find_panels(np.where(sentences(255 - image > 23), 255, image).astype(np.uint8))
    assert len(found) == len(truth) and found == expected
    text = (0, top) if above else (top + inner.shape[0], image.shape[0])
    assert all(box[1] >= text[1] if above else box[3] <= text[0] + 3 for box in found)


def test_labels_along_an_axis_are_no_sentence() -> None:
    chart = draw_distractor("bar", np.random.default_rng(3))
    luma = chart if chart.ndim == 2 else chart.mean(2).astype(np.uint8)
    assert sentences(255 - luma.astype(int) > 23).sum() < 0.2 * (luma < 200).sum()


def slice_in_air(size: tuple[int, int], body: tuple[float, float, float], noise: int, seed: int) -> np.ndarray:
    """A chest of ellipses over a table; ``body`` is (y of its middle, half height, half width) in shares of the size.

    The air in the round field of view has grey values of up to ``noise``; outside, and without noise, all is 0.
    """
    wide, high = size
    down, across = np.mgrid[0 : 1 : high * 1j, 0 : 1 : wide * 1j]
    rng = np.random.default_rng(seed)
    field = (down - 0.5) ** 2 + (across - 0.5) ** 2 < 0.25
    picture = np.where(field, rng.integers(0, noise + 1, (high, wide)), 0)
    middle, half_high, half_wide = body
    chest = ((down - middle) / half_high) ** 2 + ((across - 0.5) / half_wide) ** 2 < 1
    picture[chest] = 170 + rng.integers(-15, 16, int(chest.sum()))
    for x in (0.5 - 0.45 * half_wide, 0.5 + 0.45 * half_wide):
        lung = ((down - middle) / (0.7 * half_high)) ** 2 + ((across - x) / (0.35 * half_wide)) ** 2 < 1
        picture[lung] = 45 + rng.integers(-20, 21, int(lung.sum()))
    table = field & (abs(down - middle - half_high - 0.06) < 0.008) & (abs(across - 0.5) < 0.3)
    picture[table] = 220
    return picture.astype(np.uint8)


BODIES = [(0.55, 0.30, 0.44), (0.62, 0.24, 0.36), (0.50, 0.38, 0.46), (0.58, 0.28, 0.40), (0.45, 0.34, 0.38)]


def ragged(noise: int) -> tuple[np.ndarray, list[Box]]:
    """Three slices above two larger ones on a black page, 12 pixels apart: no grid, no straight side."""
    canvas, boxes = np.zeros((200 + 12 + 260, 664), np.uint8), []
    rows = [[(n * 228, 0, 208, 200) for n in range(3)], [(n * 338, 212, 326, 260) for n in range(2)]]
    for n, (x, y, wide, high) in enumerate(box for row in rows for box in row):
        canvas[y : y + high, x : x + wide] = slice_in_air((wide, high), BODIES[n], noise, n)
        boxes.append((x, y, x + wide, y + high))
    return canvas, boxes


@pytest.mark.parametrize("quality", [None, 95, 80])
def test_noise_of_air_shows_where_black_slices_end_on_a_black_page(quality: int | None) -> None:
    image, truth = ragged(9)
    if quality is not None:
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE))
    found = find_panels(image)
    assert len(found) == len(truth)
    assert all(iou(f, t) >= 0.9 for f, t in zip(found, truth, strict=True))


@pytest.mark.parametrize("noise", [0, 9])
def test_a_single_slice_in_black_air_stays_whole(noise: int) -> None:
    for seed, body in enumerate(BODIES):
        assert find_panels(slice_in_air((300, 260), body, noise, seed)) == [(0, 0, 300, 260)]


def test_panels_of_a_row_end_together_however_low_a_body_lies() -> None:
    bodies = [(0.5, 0.42, 0.46), (0.72, 0.20, 0.40), (0.5, 0.40, 0.44)]
    image = np.zeros((200, 3 * 220 + 2 * 10), np.uint8)
    for n, body in enumerate(bodies):
        image[:, n * 230 : n * 230 + 220] = slice_in_air((220, 200), body, 0, n)
    found = find_panels(image)
    assert len(found) == 3
    assert all(iou(f, (n * 230, 0, n * 230 + 220, 200)) >= 0.85 for n, f in enumerate(found))


def test_a_last_row_that_ends_early_is_cut_where_the_row_above_is() -> None:
    image, truth = np.zeros((2 * 180 + 8, 3 * 200 + 2 * 8), np.uint8), []
    for n in range(5):
        x, y = n % 3 * 208, n // 3 * 188
        image[y : y + 180, x : x + 200] = tile(n, (200, 180)) if n < 3 else slice_in_air((200, 180), BODIES[n], 0, n)
        truth.append((x, y, x + 200, y + 180))
    found = find_panels(image)
    assert len(found) == 5
    assert all(iou(f, t) >= 0.75 for f, t in zip(found, truth, strict=True))


def test_light_gutters_show_the_page_though_black_air_has_more_empty_lines() -> None:
    image, truth = np.full((4 * 180 + 3 * 20, 220), 255, np.uint8), []
    for n in range(4):
        image[n * 200 : n * 200 + 180] = slice_in_air((220, 180), BODIES[n], 0, n)
        truth.append((0, n * 200, 220, n * 200 + 180))
    found = find_panels(image)
    assert len(found) == 4
    assert all(iou(f, t) >= 0.9 for f, t in zip(found, truth, strict=True))


def test_a_letter_on_a_plate_in_black_air_is_no_panel() -> None:
    image, truth = ragged(9)
    for (x, y, _, _), letter in zip(truth, "ABCDE", strict=True):
        image[y + 2 : y + 38, x + 2 : x + 34] = 255
        cv2.putText(image, letter, (x + 6, y + 32), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2, cv2.LINE_AA)
    found = find_panels(image)
    assert len(found) == len(truth)
    assert all(iou(f, t) >= 0.75 for f, t in zip(found, truth, strict=True))


def test_a_narrow_panel_in_a_column_of_a_dark_page_is_not_widened_to_the_widest() -> None:
    image = np.zeros((420, 400), np.uint8)
    image[:205, :400] = cv2.resize(tile(0), (400, 205))
    image[215:, :200] = slice_in_air((200, 205), (0.5, 0.45, 0.48), 9, 1)
    found = find_panels(image)
    assert len(found) == 2
    assert iou(found[1], (0, 215, 200, 420)) >= 0.85


def test_single_pictures_stay_whole() -> None:
    for number in range(8):
        image = tile(number, (420, 310))
        assert find_panels(image) == [(0, 0, 420, 310)]


def test_a_chart_is_one_panel() -> None:
    for number in range(4):
        image = draw_distractor(["bar", "curve", "scatter", "flow"][number], np.random.default_rng(number))
        assert len(find_panels(image)) == 1


def test_tiny_flat_and_long_pictures_do_not_break() -> None:
    for shape in ((1, 1), (3, 900), (900, 3), (40, 40), (300, 300)):
        for value in (0, 128, 255):
            found = find_panels(np.full(shape, value, np.uint8))
            assert found == [(0, 0, shape[1], shape[0])]
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert all(0 <= x0 < x1 <= 400 and 0 <= y0 < y1 <= 300 for x0, y0, x1, y1 in find_panels(noise))


@pytest.mark.parametrize("image", [np.zeros((9, 9), float), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9), np.uint8)])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected"):
        find_panels(image)


def test_reading_order_goes_by_rows_even_if_tops_differ_a_little() -> None:
    boxes = [(200, 8, 300, 100), (0, 0, 100, 100), (0, 120, 100, 200), (200, 110, 300, 200)]
    assert reading_order(boxes) == [boxes[1], boxes[0], boxes[2], boxes[3]]


@pytest.mark.real
def test_real_compound_figures(real_data: Path) -> None:
    hits = found_all = truth_all = 0
    for item in json.loads((real_data / "panels" / "panels.json").read_text()):
        found = find_panels(read(real_data / "panels" / item["image"]))
        truth = [tuple(b) for b in item["panels"]]
        hits += sum(max(iou(f, t) for f in found) >= 0.75 for t in truth)
        found_all += len(found)
        truth_all += len(truth)
    assert 2 * hits / (found_all + truth_all) >= 0.85
