"""Captions cut into panels, and mentions into what they say of one panel."""

from __future__ import annotations

import pytest

from curation.captions_text import clean, letters_of, panel_texts, said_of, sentences


def test_letters_before_their_texts() -> None:
    head, texts = panel_texts("Figure 2. Chest CT. (A) day 1. (B) day 5.")
    assert head == "Chest CT." and texts == {"A": "day 1.", "B": "day 5."}
    assert panel_texts("Chest CT.(A)Patient1.(B)Patient2.")[1] == {"A": "Patient1.", "B": "Patient2."}
    assert set(panel_texts("Panel A shows fibrosis and panel B shows a mass.")[1]) == {"A", "B"}


@pytest.mark.parametrize(
    ("caption", "texts"),
    [
        ("CT of fibrosis (A) and oedema (B).", {"A": "CT of fibrosis", "B": "oedema"}),
        ("CT of fibrosis (A) and oedema (B)", {"A": "CT of fibrosis", "B": "oedema"}),
        ("A mass (a), fibrosis (b), and oedema (c).", {"A": "A mass", "B": "fibrosis", "C": "oedema"}),
        (
            "A mass (A, B) versus oedema (C-D).",
            {"A": "A mass", "B": "A mass", "C": "oedema", "D": "oedema"},
        ),
    ],
)
def test_letters_behind_their_texts_the_last_too(caption: str, texts: dict[str, str]) -> None:
    assert panel_texts(caption) == ("", texts)


def test_what_follows_the_last_letter_is_said_of_all() -> None:
    head, texts = panel_texts("Axial (A) and coronal (B) CT of a patient with fibrosis.")
    assert "patient with fibrosis" in head and texts == {"A": "Axial", "B": "coronal"}


def test_one_subject_named_once_is_said_of_all_but_not_of_somebody_else() -> None:
    assert panel_texts("A man with a mass on day 1 (A) and on day 5 (B).")[0] == "A man with a mass on day 1"
    assert panel_texts("A man with a mass (A) and another patient on day 5 (B).")[0] == ""


def test_running_text_has_no_panels() -> None:
    assert panel_texts("Patients lacked vitamin D. (B) is not shown; see (C).")[1] == {}
    assert letters_of("A-C") == ["A", "B", "C"] and letters_of("a, c and e") == ["A", "C", "E"]


@pytest.mark.parametrize(
    ("mention", "letter", "said"),
    [
        ("Figure 2B shows a mass.", "B", (True, "Figure 2B shows a mass.")),
        ("Figure 2B shows a mass.", "A", (False, "")),
        ("Figure 2 shows a mass.", "A", (False, "Figure 2 shows a mass.")),
        ("Figure 2A-C shows a mass.", "B", (True, "Figure 2A-C shows a mass.")),
        ("Figures 2A and 2B show a mass. Fig. 2c shows oedema.", "C", (True, "Fig. 2c shows oedema.")),
        ("A mass (Fig. 2a) and oedema (Fig. 2b) were seen.", "B", (True, "and oedema")),
        ("Figure 2A shows a mass and Figure 2B oedema.", "A", (True, "Figure 2A shows a mass and")),
        ("Figure 2 A patient is shown.", "A", (False, "Figure 2 A patient is shown.")),
    ],
)
def test_what_a_mention_says_of_one_panel(mention: str, letter: str, said: tuple[bool, str]) -> None:
    assert said_of(mention, letter) == said


def test_sentences_and_cleaning() -> None:
    assert sentences("See Fig. 2. It was 3.5 cm.") == ["See Fig. 2.", "It was 3.5 cm."]
    assert clean("['CT  of\nlungs']") == "CT of lungs" and clean("SARS‐CoV‑2") == "SARS-CoV-2"
