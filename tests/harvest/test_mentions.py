"""Sentences about figures: what they name, where they stand, what is not body."""

from __future__ import annotations

import pytest

from harvest.naming import references, sentences
from tests.harvest.drawn import Draft, prose


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("as Figure 1 shows", ["1"]),
        ("(Fig. 2a, b)", ["2"]),
        ("(Fig. 2A–C and 4C)", ["2", "4"]),
        ("see Figs. 1-3", ["1", "2", "3"]),
        ("in Figures 1, 3 and 5", ["1", "3", "5"]),
        ("Figures S1 and S2", ["S1", "S2"]),
        ("Supplementary Figure 4", ["S4"]),
        ("Extended Data Fig. 2", ["ED2"]),
        ("Fig 7", ["7"]),
        ("(Figure-5)", ["5"]),
        ("[Figure 6]", ["6"]),
        ("Figs 1 to 3", ["1", "2", "3"]),
        ("Figure 2.1", ["2.1"]),
        ("Fig. 1 and Fig. 2", ["1", "2"]),
        ("Figure 1 and 20 patients", ["1"]),
        ("Figure 3, 40% of the patients", ["3"]),
        ("Figure 2-4 show", ["2", "3", "4"]),
        ("Figure 2-1 shows", ["2-1"]),
        ("e-Figure 2 shows", ["E2"]),
        ("Figure 2 and 3 show", ["2", "3"]),
        ("In Figure 1, 2 of 3 patients", ["1"]),
        ("in Fig. 3, 5 patients had", ["3"]),
        ("Figure II", ["II"]),
        ("see Figures I and II", ["I", "II"]),
        ("eFigure 1 in the Supplement", ["E1"]),
        ("eFigures 1 and 2", ["E1", "E2"]),
        ("See S1 Fig for more", ["S1"]),
        ("S1 and S2 Figs", ["S1", "S2"]),
        ("S1–S3 Figs", ["S1", "S2", "S3"]),
        ("Figures S1-S3", ["S1", "S2", "S3"]),
        ("Appendix Figure 2", ["A2"]),
        ("Figure 1—figure supplement 2", ["1-S2"]),
        ("configure 3 machines", []),
        ("figures of 3 patients", []),
        ("a figurative 2", []),
        ("Table 2", []),
    ],
)
def test_what_a_text_names(text: str, numbers: list[str]) -> None:
    assert {number for _, (kind, number) in references(text) if kind == "figure"} == set(numbers)


def test_abbreviations_do_not_end_a_sentence() -> None:
    text = "Smith et al. saw this (Fig. 2). It was gone by day 5, cf. Ref. 7. Dr. Li, M. D. agreed.12 Then it ended."
    assert [sentence for _, sentence in sentences(text)] == [
        "Smith et al. saw this (Fig. 2).",
        "It was gone by day 5, cf. Ref. 7.",
        "Dr. Li, M. D. agreed.12",
        "Then it ended.",
    ]


def test_a_panels_letter_and_a_number_in_brackets_end_a_sentence() -> None:
    text = (
        "It is seen in Figure 1A. The lesions grew (Fig. 2A–C). In Figures 1B and 2C. They went.[12] "
        "Figure 1 shows E. coli. It is in Figure I. See S2 Fig. The rest is gone."
    )
    assert [sentence for _, sentence in sentences(text)] == [
        "It is seen in Figure 1A.",
        "The lesions grew (Fig. 2A–C).",
        "In Figures 1B and 2C.",
        "They went.[12]",
        "Figure 1 shows E. coli.",
        "It is in Figure I.",
        "See S2 Fig.",
        "The rest is gone.",
    ]


def paper() -> Draft:
    draft = Draft()
    draft.page()
    draft.text(
        prose(30) + " A 52-year-old man had fever for five days and ground-glass opacities on chest CT "
        "(Figure 1). " + prose(30, 5)
    )
    draft.y += 10
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text("Chest CT of the man of Figure 1 and Figure 2 on day five.", size=9, lead="Figure 1.")
    return draft


def test_mentions_come_from_the_body_not_from_captions() -> None:
    analysis = paper().analysis()
    (mention,) = analysis.mentions["figure", "1"]
    assert mention.text == (
        "A 52-year-old man had fever for five days and ground-glass opacities on chest CT (Figure 1)."
    )
    assert mention.paragraph.startswith(prose(30)[:40]) and mention.text in mention.paragraph
    assert ("figure", "2") not in analysis.mentions


def test_the_offset_leads_to_the_sentence_in_the_pages_text() -> None:
    analysis = paper().analysis()
    (mention,) = analysis.mentions["figure", "1"]
    text = analysis.document.pages[mention.page - 1].text
    assert text[mention.offset :].startswith("A 52-year-old")


def test_a_sentence_that_runs_on_over_a_page_is_one_sentence() -> None:
    draft = Draft()
    draft.page()
    draft.y = 640
    draft.text(prose(40) + " The second patient was a woman of 61 years who came with cough and")
    draft.page()
    draft.text("had a consolidation of the left lower lobe, as Figure 1 shows. " + prose(60))
    draft.y += 10
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text("Chest CT of the woman.", size=9, lead="Figure 1.")
    (mention,) = draft.analysis().mentions["figure", "1"]
    assert mention.text.startswith("The second patient was a woman") and mention.text.endswith("as Figure 1 shows.")
    assert mention.page == 2


def test_headers_and_texts_inside_figures_are_no_mentions() -> None:
    draft = Draft()
    for number in (1, 2, 3):
        draft.page()
        draft.put(72, 30, "Chest CT in pneumonia, see Figure 1", 8)
        draft.text(prose(150, number))
    draft.y += 12
    top = draft.y
    draft.current.draw_rect((150, top, 450, top + 150), fill=(0.9, 0.9, 0.9))
    draft.put(170, top + 40, "as in Figure 1", 9)
    draft.y = top + 156
    draft.text("Chest CT.", size=9, lead="Figure 1.")
    analysis = draft.analysis()
    assert [match.caption.label.number for match in analysis.matches] == ["1"]
    assert analysis.mentions.get(("figure", "1"), []) == []
