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


@given(st.text(alphabet="ABCDabc().,;:–- left right upper 12", max_size=200))
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
