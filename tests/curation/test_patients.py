"""Patients and ages as authors write them: one person is one name, a group is nobody."""

from __future__ import annotations

import pytest

from curation.patients import aliases, patients_in, person_in


@pytest.mark.parametrize(
    ("text", "name", "person"),
    [
        ("a man aged 45 years", "45-year-old man", ("45", "M")),
        ("45 y/o man", "45-year-old man", ("45", "M")),
        ("62 yo F with fever", "62-year-old woman", ("62", "F")),
        ("Axial CT (65 y.o. male)", "65-year-old man", ("65", "M")),
        ("aged 45, male", "45-year-old man", ("45", "M")),
        ("female aged 28", "28-year-old woman", ("28", "F")),
        ("age: 61, sex: F", "61-year-old woman", ("61", "F")),
        ("A male patient, 45 years old", "45-year-old man", ("45", "M")),
        ("male, 45 y", "45-year-old man", ("45", "M")),
        ("A patient 73 years old, female.", "73-year-old woman", ("73", "F")),
        ("40 year-old female patient", "40-year-old woman", ("40", "F")),
        ("A 45-year-old, previously healthy man", "45-year-old man", ("45", "M")),
        ("a 45-year-old women", "45-year-old woman", ("45", "F")),
        ("6-month-old girl", "6-month-old girl", ("0", "F")),
        ("a 6-month follow-up of a 50-year-old man", "50-year-old man", ("50", "M")),
        ("A 45-year-old patient. The 45-year-old man", "45-year-old man", ("45", "M")),
        ("the 45-year-old, with fever", "45-year-old patient", ("45", "")),
    ],
)
def test_one_person_by_age(text: str, name: str, person: tuple[str, str]) -> None:
    assert patients_in(text) == (name,) and person_in(text) == person


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Case II", ("patient 2",)),
        ("Case A", ("patient A",)),
        ("Patients A and B", ("patient A", "patient B")),
        ("patients No. 3 and No. 5", ("patient 3", "patient 5")),
        ("patient no. 2, 7 and 9 days after onset", ("patient 2", "patient 7")),
        ("Case 4 before case 2", ("patient 4", "patient 2")),
        ("patient a", ("patient A",)),
        ("patient ii", ("patient 2",)),
    ],
)
def test_numbers_roman_and_letters(text: str, names: tuple[str, ...]) -> None:
    assert patients_in(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "patients 48 hours after",
        "in patients 65 years and older",
        "patients aged 40-65 years",
        "Patients were 45 years old",
        "mean age 45 years",
        "65-year-olds",
        "hypertension for 20 years, with",
        "3 years later, male",
        "man 3 months after",
        "each patient A shows",
        "in case I was wrong",
        "patient 120 years old",
    ],
)
def test_groups_durations_and_running_text_are_nobody(text: str) -> None:
    assert patients_in(text) == () and person_in(text) == ("", "")


def test_two_people_stay_two() -> None:
    assert patients_in("a 45-year-old man and a 60-year-old woman") == ("45-year-old man", "60-year-old woman")
    assert person_in("a 45-year-old man and a 60-year-old woman") == ("", "")


def test_ages_are_tied_to_numbers() -> None:
    assert aliases("Patient 3, a 45-year-old man") == {"45-year-old man": "patient 3"}
    assert aliases("Case II (female, 30 y) with fever") == {"30-year-old woman": "patient 2"}
    assert aliases("Patient 3. A 45-year-old man") == {} and aliases("Patients 3 and 4, 45-year-old man") == {}


def test_long_texts_end_soon() -> None:
    for text in ("patient " * 2500, "45 years " * 2500, "male, " * 3000, "1, " * 6000, "a 45-" * 4000):
        assert isinstance(patients_in(text), tuple)
