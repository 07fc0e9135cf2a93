"""Personal data: what identifies a person is found in text and in pictures; an absent Tesseract is never "none"."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from curation import personal
from curation.raster import ImageError
from harvest.sample.phantom import draw_patient
from harvest.sample.picture import draw_figure

needs_tesseract = pytest.mark.skipif(not personal.available(), reason="the program tesseract is not installed")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("DOB: 12.03.1958", "date of birth"),
        ("D.O.B 1958-03-12", "date of birth"),
        ("Birth date 12/03/1958", "date of birth"),
        ("geb. 12.03.58", "date of birth"),
        ("1958/03/21", "date"),
        ("19580321", "date"),
        ("21-MAR-1958", "date"),
        ("Mar 21, 1958", "date"),
        ("12.O3.1958", "date"),
        ("2011 May 0", "date"),
        ("DOP: Tey", "date of birth"),
        ("BOB TL", "date of birth"),
        ("WANG^LI", "name"),
        ("DOE, JANE", "name"),
        ("Name: Smith John", "name"),
        ("Patient name Li Wei", "name"),
        ("Mrs. Smith", "name"),
        ("Patient ID: 0048213", "id"),
        ("MRN: 884213", "id"),
        ("ID: A3388431", "id"),
        ("Accession No: 123456", "id"),
        ("063Y F", "age"),
        ("O63Y F", "age"),
        ("F/067Y", "age"),
        ("M 45 Y", "age"),
    ],
)
def test_what_identifies_a_person(text: str, kind: str) -> None:
    assert kind in {found for _, _, found in personal.personal(text)}


@pytest.mark.parametrize(
    "text",
    [
        "A", "R", "Se: 3 Im: 42", "W 1500 L -600", "512 x 512", "kV 120 mA 210", "10:42:17", "SP -312.4", "5.00mm",
        "DFOV 35.0cm", "AXIAL, LUNG", "CHEST, ROUTINE", "Fig. 2", "day 12", "Zoom 1.25", "HU -600 1500", "20.5 cm",
        "45.99.1958", "B70f", "2 marks 3", "bop", "DOT 3", "Image 12/345", "patient 3",
    ],
)  # fmt: skip
def test_what_identifies_nobody(text: str) -> None:
    assert personal.personal(text) == []


def slice_with(text: str, at: tuple[int, int]) -> np.ndarray:
    patient = draw_patient(5, "personal", "normal")
    pixels = draw_figure(5, "personal", [(patient, 0.5)]).pixels
    page = Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0]).resize((512, 400))
    ImageDraw.Draw(page).rectangle((at[0] - 4, at[1] - 4, at[0] + 210, at[1] + 24), fill=0)
    ImageDraw.Draw(page).text(at, text, fill=255, font=ImageFont.load_default(18))
    return np.asarray(page)


@needs_tesseract
def test_a_birthday_in_a_picture_is_found_where_it_is() -> None:
    found = personal.find(slice_with("DOB: 12.03.1958", (8, 8)))
    assert [f.kind for f in found] == ["date of birth"]
    x0, y0, x1, y1 = found[0].box
    assert 0 <= x0 <= 20 and 0 <= y0 <= 20 and 100 <= x1 <= 220 and 20 <= y1 <= 40
    assert personal.check(slice_with("DOB: 12.03.1958", (8, 8)))[0] == "found"


@needs_tesseract
def test_text_whose_shadow_alone_shows_is_read() -> None:
    """White on white with a dark shadow, at the upper border: what one paper of the 2020 release shows."""
    patient = draw_patient(5, "personal", "normal")
    pixels = draw_figure(5, "personal", [(patient, 0.5)]).pixels
    page = Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0]).resize((512, 400))
    draw = ImageDraw.Draw(page)
    draw.rectangle((300, 0, 511, 40), fill=250)
    for shift, tone in ((1, 90), (0, 255)):
        draw.text((320 + shift, 6 + shift), "DOB: 1958-03-12", fill=tone, font=ImageFont.load_default(18))
    assert "date of birth" in {f.kind for f in personal.find(np.asarray(page))}


@needs_tesseract
def test_a_panel_letter_and_window_values_are_nobody() -> None:
    assert personal.find(slice_with("W 1500 L -600", (8, 8))) == []
    assert personal.check(slice_with("A", (8, 8))) == ("none", ())


@needs_tesseract
def test_tiny_and_blank_pictures_hold_nobody() -> None:
    for shape in ((1, 1), (23, 400), (64, 64, 3)):
        assert personal.find(np.zeros(shape, np.uint8)) == []


def test_without_tesseract_nothing_is_called_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "available", lambda: False)
    with pytest.raises(personal.NotChecked, match="install tesseract-ocr"):
        personal.find(np.zeros((100, 100), np.uint8))
    assert personal.check(np.zeros((100, 100), np.uint8)) == ("not checked", ())


@needs_tesseract
def test_a_tesseract_that_fails_leaves_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Tesseract process timeout")

    monkeypatch.setattr(personal.pytesseract, "image_to_data", fail)
    with pytest.raises(personal.NotChecked, match="timeout"):
        personal.find(np.zeros((100, 100), np.uint8))
    assert personal.check(np.zeros((100, 100), np.uint8))[0] == "not checked"


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImageError, match="expected uint8"):
        personal.find(np.zeros((100, 100), float))
