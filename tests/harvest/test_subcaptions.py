"""What a compound figure's caption says of each of its panels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvest.subcaptions import letters, split_caption


@pytest.mark.parametrize(
    ("caption", "panels"),
    [
        (
            "Chest CT of two patients. (A) Ground-glass opacities. (B) Consolidation.",
            {"A": "Ground-glass opacities.", "B": "Consolidation."},
        ),
        (
            "Chest CT. A, ground-glass opacities; B, consolidation; C, normal lung.",
            {"A": "ground-glass opacities", "B": "consolidation", "C": "normal lung."},
        ),
        ("a Chest CT on day 1. b Chest CT on day 5.", {"A": "Chest CT on day 1.", "B": "Chest CT on day 5."}),
        (
            "Chest CT. (a–c) First patient. (d) Second patient.",
            dict.fromkeys("ABC", "First patient.") | {"D": "Second patient."},
        ),
        ("Chest CT on day 1 (A) and day 5 (B).", {"A": "Chest CT on day 1", "B": "day 5"}),
        (
            "Chest CT. (A and B) Before treatment. (C, D) After it.",
            dict.fromkeys("AB", "Before treatment.") | dict.fromkeys("CD", "After it."),
        ),
        ("Chest CT of a patient. Left: day 1. Right: day 5.", {"left": "day 1.", "right": "day 5."}),
        (
            "Upper left, axial; upper right, coronal; lower row, follow-up.",
            {"upper left": "axial", "upper right": "coronal", "lower": "follow-up."},
        ),
        ("Chest CT of a patient with pneumonia (arrow).", {}),
        ("Scores of groups (n) and (m) on day 5.", {}),
        ("A 44-year-old man with fever. CT shows nothing.", {}),
        ("", {}),
    ],
)
def test_split(caption: str, panels: dict[str, str]) -> None:
    assert split_caption(caption) == panels


def test_a_letter_named_again_later_keeps_its_first_text() -> None:
    caption = "(A) Day 1. (B) Day 5, opacities larger than in (A). (C) Day 9."
    assert split_caption(caption) == {"A": "Day 1.", "B": "Day 5, opacities larger than in (A).", "C": "Day 9."}


def test_letters_of_a_mark() -> None:
    assert letters("a-c") == ("A", "B", "C")
    assert letters("A, B and D") == ("A", "B", "D")
    assert letters("A1") == ("A",)


@given(st.text(alphabet="ABCDabci()[].,;:/–- left right upper and panel 12", max_size=200))
def test_any_text_splits_without_error_into_parts_of_itself(text: str) -> None:
    for name, part in split_caption(text).items():
        assert name and part and part in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "CT of COVID-19 (a), influenza (b), and a control (c).",
            {"A": "CT of COVID-19", "B": "influenza", "C": "a control"},
        ),
        ("Axial CT (A), coronal CT (B) of a patient", {"A": "Axial CT", "B": "coronal CT"}),
        (
            "On admission (A), on day 5 (B), at discharge (C). Arrows: lesions.",
            {"A": "On admission", "B": "on day 5", "C": "at discharge"},
        ),
        ("Chest CT images (A), axial view; (B), coronal view.", {"A": "axial view", "B": "coronal view."}),
        ("(A), day 1, (B), day 5.", {"A": "day 1", "B": "day 5."}),
    ],
)  # fmt: skip
def test_a_comma_behind_the_letter_does_not_shift_the_texts(text: str, expected: dict[str, str]) -> None:
    assert split_caption(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Axial (A) and coronal (B) chest CT images of a man.", {"A": "Axial", "B": "coronal"}),
        ("Axial (left) and coronal (right) CT images show opacities.", {"left": "Axial", "right": "coronal"}),
        (
            "CT scan in patient with COVID-19 (A) and non-COVID-19 (B) pneumonia.",
            {"A": "CT scan in patient with COVID-19", "B": "non-COVID-19"},
        ),
        ("Chest CT shows (A) an opacity and (B) a consolidation.", {"A": "an opacity", "B": "a consolidation."}),
        (
            "Lung window (A) and mediastinal window (B). (C) Follow-up.",
            {"A": "Lung window", "B": "mediastinal window", "C": "Follow-up."},
        ),
        ("COVID-19 (A) versus influenza (B) pneumonia.", {"A": "COVID-19", "B": "influenza"}),
        ("COVID-19 (A) or influenza (B).", {"A": "COVID-19", "B": "influenza"}),
        ("COVID-19 (A), as well as influenza (B) pneumonia.", {"A": "COVID-19", "B": "influenza"}),
        ("On admission (A, arrow) and later (B, arrows) of a man.", {"A": "On admission", "B": "later"}),
        ("Axial (A, C) and coronal (B, D) CT.", dict.fromkeys("AC", "Axial") | dict.fromkeys("BD", "coronal")),
        (
            "X-ray (A), CT (B and C), tissue (D) of a man. (A) No nodule; (B) nodules; (C) more; (D) cells.",
            {"A": "No nodule", "B": "nodules", "C": "more", "D": "cells."},
        ),
        ("COVID-19 (A), influenza (B), (C) normal", {"A": "COVID-19", "B": "influenza", "C": "normal"}),
    ],
)
def test_marks_behind_their_texts_whatever_follows_the_last(text: str, expected: dict[str, str]) -> None:
    assert split_caption(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(A)-(C): COVID-19; (D)-(F): normal", dict.fromkeys("ABC", "COVID-19") | dict.fromkeys("DEF", "normal")),
        ("(A) to (C) COVID-19; (D) normal", dict.fromkeys("ABC", "COVID-19") | {"D": "normal"}),
        (
            "Chest CT (A–C) of a man. (A) Day 1. (B) Day 3. (C) Day 5.",
            {"A": "Day 1.", "B": "Day 3.", "C": "Day 5."},
        ),
        ("(A) (B) Day 1. (C) (D) Day 7.", dict.fromkeys("AB", "Day 1.") | dict.fromkeys("CD", "Day 7.")),
        ("(A), (B) Day 1. (C) Day 7.", dict.fromkeys("AB", "Day 1.") | {"C": "Day 7."}),
        ("A and B, axial. C, coronal.", dict.fromkeys("AB", "axial.") | {"C": "coronal."}),
        ("A/B: day 1; C/D: day 7.", dict.fromkeys("AB", "day 1") | dict.fromkeys("CD", "day 7.")),
        ("a, b Axial CT. c, d Coronal CT.", dict.fromkeys("AB", "Axial CT.") | dict.fromkeys("CD", "Coronal CT.")),
        ("a, b, c Axial CT. d Coronal CT.", dict.fromkeys("ABC", "Axial CT.") | {"D": "Coronal CT."}),
        (
            "Panel A: axial. Panel B: coronal. Panels C and D: later.",
            {"A": "axial.", "B": "coronal."} | dict.fromkeys("CD", "later."),
        ),
        ("Panel A shows axial CT. Panel B shows coronal CT.", {"A": "axial CT.", "B": "coronal CT."}),
        ("[A] Axial. [B] Coronal.", {"A": "Axial.", "B": "Coronal."}),
        ("(i) axial; (ii) coronal; (iii) sagittal.", {"I": "axial", "II": "coronal", "III": "sagittal."}),
        ("The first row shows COVID-19; the second row shows CAP.", {"first row": "COVID-19", "second row": "CAP."}),
        (
            "(A) UV, (B) FTIR, (C) (a) NMR and (b) structure, (D) mass spectra.",
            {"A": "UV", "B": "FTIR", "C": "(a) NMR and (b) structure", "D": "mass spectra."},
        ),
        ("(A, left) x-ray; (A, right) CT; (B) MRI.", {"A": "x-ray; (A, right) CT", "B": "MRI."}),
        ("(A) Day 1. (C) Day 5. (D) Day 7.", {"A": "Day 1.", "C": "Day 5.", "D": "Day 7."}),
    ],
)
def test_marks_in_all_their_forms(text: str, expected: dict[str, str]) -> None:
    assert split_caption(text) == expected


def test_letters_of_words_are_no_panels() -> None:
    assert split_caption("CT of patient A. Vitamin B and C were given.") == {}
