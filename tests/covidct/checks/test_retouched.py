"""Tissue painted over in one of two copies; letters and arrows are not that."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from covidct.checks import retouched
from covidct.duplicates import find

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def painted(image: np.ndarray) -> np.ndarray:
    copy = image.copy()
    cv2.circle(copy, (60, 95), 14, 130, -1)
    return cv2.GaussianBlur(copy, (0, 0), 0.6)


def test_a_disc_painted_over_lung_is_found_whichever_copy_is_larger(draw) -> None:
    image = draw(3)
    for one, two in ((image, painted(image)), (painted(image), image)):
        large = cv2.resize(one, (320, 320), interpolation=cv2.INTER_CUBIC)
        found = retouched.compare(large, two, (200 / 320, 0, 0, 0, 200 / 320, 0))
        assert found is not None and found.number == 1 and 0.008 < found.share < 0.04


def test_marks_brightness_and_jpeg_are_no_retouching(draw) -> None:
    image = draw(4)
    marked = image.copy()
    cv2.arrowedLine(marked, (20, 180), (70, 120), 255, 4)
    cv2.putText(marked, "B", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    brighter = np.clip(0.8 * image.astype(float) + 25, 0, 255).astype(np.uint8)
    for copy in (marked, jpeg, brighter):
        assert retouched.compare(image, copy, IDENTITY) is None


def test_the_finding_names_both_copies(folder_of, draw) -> None:
    image = draw(5)
    images = [image, painted(image), draw(6)]
    folder = folder_of([{}, {}, {}], images)
    pairs = find(images)
    assert [(p.i, p.j) for p in pairs] == [(0, 1)]
    (finding,) = retouched.check(folder, pairs)
    assert finding.kind == "retouched" and finding.items == ("0.png", "1.png")


def test_much_stated_repair_is_sent_to_a_person(folder_of) -> None:
    (finding,) = retouched.check(folder_of([{"inpainted": 0.03}, {"inpainted": 0.001}]), [])
    assert finding.items == ("0.png",)


@pytest.mark.parametrize("matrix", [(0.0,) * 6, (1e-9, 0, 0, 0, 1e-9, 0)])
def test_a_collapsed_transform_says_nothing(draw, matrix: tuple[float, ...]) -> None:
    assert retouched.compare(draw(1), draw(1), matrix) is None
