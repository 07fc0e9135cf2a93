"""Burned-in text: persons, labels, cases; absent readers are 'not checked'; findings spread nothing."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from covidct.checks import personal

curation = pytest.importorskip("curation.personal")


def look(*texts: str, marks: tuple = ()):
    lines = tuple(tuple((word, (5, 5, 20, 12)) for word in text.split()) for text in texts)
    return curation.Look(lines, marks)


def test_persons_labels_and_cases_come_from_one_reading(folder_of) -> None:
    folder = folder_of([{}, {}, {}])
    texts = [("DOB: 03/11/1952", "IM 12"), ("COVID-2019 No. 3",), ("Pt 1", "R")]
    readings = [personal.read(np.zeros((90, 60), np.uint8), lambda _, t=t: look(*t), curation.personal) for t in texts]
    found = personal.check(folder, readings)
    assert [(f.details["kind"], f.items, f.severity) for f in found] == [
        ("date of birth", ("0.png",), "error"),
        ("label", ("1.png",), "error"),
    ]
    assert personal.burned(readings) == {2: ["1"]}
    assert "1952" not in str(found) and personal.covered(found) == {"0.png": [(0, 5, 20, 12)] * 2}


def test_marks_where_a_sibling_shows_a_date_of_birth_are_suspected(folder_of) -> None:
    folder = folder_of([{"document": name} for name in "ddde"], [np.zeros((100, 120), np.uint8)] * 4)
    there, elsewhere = ((5, 5, 20, 12),), ((110, 90, 119, 99),)
    seen = [look("DOB: 1952-11-03"), look(marks=there), look(marks=elsewhere), look(marks=there)]
    readings = [personal.read(np.zeros((100, 120), np.uint8), lambda _, s=s: s, curation.personal) for s in seen]
    found = personal.check(folder, readings)
    assert [(f.details["kind"], f.items, f.severity) for f in found] == [
        ("date of birth", ("0.png",), "error"),
        ("date of birth, unread", ("1.png",), "error"),
        ("date of birth, same document", ("2.png",), "warning"),
    ]
    assert found[1].details["boxes"] == {"1.png": [(0, 5, 20, 12)]}
    assert personal.covered(found) == {"0.png": [(0, 5, 20, 12)] * 2, "1.png": [(0, 5, 20, 12)]}


def test_without_tesseract_nothing_is_said_to_be_clean(folder_of, draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation, "available", lambda: False)
    folder = folder_of([{}], [draw(1)])
    readings = personal.read_all(folder)
    assert "tesseract" in folder.not_checked["personal-data"] and personal.check(folder, readings) == []
    assert folder.metrics["burned_in"] == {"read": 0, "unread": 1, "personal": 0, "label": 0}


def test_a_picture_that_cannot_be_read_is_counted_and_named(folder_of, draw, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: np.ndarray) -> list:
        raise curation.NotChecked("gave up")

    monkeypatch.setattr(curation, "available", lambda: True)
    monkeypatch.setattr(curation, "look", fail)
    folder = folder_of([{}, {}], [draw(1), draw(2)])
    personal.read_all(folder, 1)
    assert folder.not_checked["personal-data"].startswith("2 of 2 pictures could not be read, e.g. 0.png: gave up")


@pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="needs the program tesseract (apt-get install tesseract-ocr)"
)
def test_a_date_of_birth_drawn_into_a_picture_is_read(folder_of, draw) -> None:
    image = draw(1, 400)
    cv2.putText(image, "DOB: 03/11/1952", (8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 230, 1, cv2.LINE_AA)
    folder = folder_of([{}, {}], [image, draw(2, 400)])
    found = personal.check(folder, personal.read_all(folder, 1))
    assert found and found[0].details["kind"] == "date of birth" and found[0].items == ("0.png",)


def test_a_text_near_the_border_is_taken_to_reach_it() -> None:
    assert personal.to_border((286, 2, 354, 13), (261, 392)) == (286, 2, 392, 13)
    assert personal.to_border((10, 2, 60, 13), (261, 392, 3)) == (0, 2, 60, 13)
    assert personal.to_border((150, 2, 200, 13), (261, 392)) == (150, 2, 200, 13)


def test_masking_keeps_the_form_only() -> None:
    assert personal.masked("DOB: 03/11/1952 Müller") == "AAA: 00/00/0000 AAAAAA"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("COVID-2019 No. 38", True),
        ("VID-2U", True),
        ("IVID-2013", True),
        ("C0V1D-19", True),
        ("2019-nCoV", True),
        ("David 19", False),
        ("VIDEO 2", False),
        ("IM 19", False),
    ],
)
def test_a_disease_is_known_as_tesseract_sees_it(text: str, named: bool) -> None:
    assert bool(personal.LABEL.search(text)) is named
