"""Captions: labels in all their forms, running text that only looks like one, and where a caption ends."""

from __future__ import annotations

import pytest

from harvest.captions import Caption
from harvest.labels import joined_lines, parse_label
from tests.harvest.drawn import Draft, prose


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("Figure 1. Chest CT of a patient", "figure", "1"),
        ("Fig. 2 Axial CT", "figure", "2"),
        ("FIGURE 3 | Axial CT", "figure", "3"),
        ("Fig 4: Axial CT", "figure", "4"),
        ("Figure-5: Axial CT", "figure", "5"),
        ("Fig.6 Axial CT", "figure", "6"),
        ("Figure 2.10: Axial CT", "figure", "2.10"),
        ("Figure S1. Axial CT", "figure", "S1"),
        ("Supplementary Figure 2. Axial CT", "figure", "S2"),
        ("Suppl. Fig. 3 Axial CT", "figure", "S3"),
        ("Supplemental Fig S4. Axial CT", "figure", "S4"),
        ("Extended Data Fig. 5 | Axial CT", "figure", "ED5"),
        ("Figure IV. Axial CT", "figure", "IV"),
        ("Scheme 1. Synthesis", "scheme", "1"),
        ("Table 2. Patients", "table", "2"),
        ("(Figure 7) Axial CT", "figure", "7"),
        ("Supplementary information, Fig. S8 Axial CT", "figure", "S8"),
        ("Additional file 1: Figure S9. Axial CT", "figure", "S9"),
        ("Figure 1A. Axial CT", "figure", "1A"),
        ("Fig.1A-D Axial CT", "figure", "1"),
        ("Figure 2a, b Axial CT", "figure", "2"),
    ],
)
def test_a_label_is_read_in_every_form(text: str, kind: str, number: str) -> None:
    label = parse_label(text)
    assert label is not None
    assert label.key == (kind, number)


@pytest.mark.parametrize(
    "text",
    [
        "figure 1 shows",
        "Figures 1 and 2 show",
        "The patients",
        "Figure",
        "Figured 1",
        "Configure 2",
        "Fig tree 3",
        "Tablet 2",
        "Figure it out",
        "",
        "Figure of 12 patients",
    ],
)
def test_no_label_where_there_is_none(text: str) -> None:
    assert parse_label(text) is None


def only(captions: tuple[Caption, ...], number: str) -> Caption:
    (caption,) = [caption for caption in captions if caption.label.number == number]
    return caption


def test_a_caption_ends_where_the_body_goes_on() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(80))
    draft.y += 10
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text(
        "Chest CT of a patient with pneumonia. Ground-glass opacities in both lungs (arrows) and a small "
        "consolidation in the left lower lobe, which was gone after ten days.",
        size=9,
        lead="Figure 1.",
    )
    draft.y += 14
    draft.text(prose(80, 7))
    caption = only(draft.analysis().captions, "1")
    assert caption.text.startswith("Chest CT of a patient") and caption.text.endswith("gone after ten days.")
    assert caption.label.text == "Figure 1" and caption.page == 1


def test_a_caption_set_like_the_body_ends_at_a_new_paragraph() -> None:
    draft = Draft()
    draft.page()
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text(
        "Chest CT of a patient with pneumonia and of another who had none at all in those days of the year.",
        lead="Figure 1.",
    )
    draft.y += 12
    draft.text(prose(90))
    assert only(draft.analysis().captions, "1").text.endswith("days of the year.")


def test_sentences_that_name_a_figure_are_no_captions() -> None:
    draft = Draft()
    draft.page()
    draft.text("Figure 1 shows the patients who were followed until discharge. " + prose(60))
    draft.y += 12
    draft.text("Figure 2 and the table of the appendix tell more about them. " + prose(60))
    draft.y += 12
    draft.text(prose(13) + " as can be seen in")
    draft.text("Figure 3. The two observers agreed on nearly all of them. " + prose(40))
    assert draft.analysis().captions == ()


def test_a_mention_at_a_lines_start_does_not_displace_the_caption() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(13) + " as can be seen in")
    draft.text("Figure 1. The two observers agreed on nearly all of them. " + prose(40))
    draft.y += 10
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text("Chest CT of a patient.", size=9, lead="Figure 1.")
    assert only(draft.analysis().captions, "1").text == "Chest CT of a patient."


def test_a_list_of_figures_is_no_list_of_captions() -> None:
    draft = Draft()
    draft.page()
    draft.text("List of figures", size=16)
    for number in range(1, 6):
        draft.text(f"Figure {number}. Chest CT of a patient . . . . . . . . . . . . . . . . . . {number + 3}")
    assert draft.analysis().captions == ()


def test_words_divided_at_a_lines_end_are_put_together_and_compounds_are_not() -> None:
    text, starts = joined_lines(["bilateral pneu-", "monia with ground-", "Glass, SARS-CoV-", "2 and 3–", "4 days"])
    assert text == "bilateral pneumonia with ground-Glass, SARS-CoV-2 and 3–4 days"
    assert [text[start:][:3] for start in starts] == ["bil", "mon", "Gla", "2 a", "4 d"]


def test_a_caption_in_two_columns_is_read_down_the_first_then_the_second() -> None:
    draft = Draft()
    draft.page()
    draft.image((72, draft.y, 540, draft.y + 200))
    draft.y += 8
    top = draft.y
    draft.text(
        "Chest CT of four patients. (A) Ground-glass opacities in the right upper lobe of the first patient. "
        "(B) Consolidation in the left lower lobe of the second",
        72,
        298,
        size=8,
        lead="Figure 1.",
    )
    draft.y = top
    draft.text(
        "patient on day five. (C) The third patient, without any finding at all. (D) The fourth patient, "
        "who had been given the all clear.",
        314,
        540,
        size=8,
    )
    draft.y += 30
    draft.text(prose(120))
    caption = only(draft.analysis().captions, "1")
    assert "of the second patient on day five." in caption.text
    assert caption.text.endswith("given the all clear.")


def test_captions_of_neighbouring_columns_stay_apart() -> None:
    draft = Draft()
    draft.page()
    draft.image((72, 72, 298, 220), seed=1)
    draft.image((314, 72, 540, 220), seed=2)
    for number, x in ((1, 72), (2, 314)):
        draft.y = 226
        draft.text(
            f"Chest CT of patient {number}, who was followed until discharge and then came back twice.",
            x,
            x + 226,
            size=9,
            lead=f"Figure {number}.",
        )
    captions = draft.analysis().captions
    for number in (1, 2):
        assert only(captions, str(number)).text.startswith(f"Chest CT of patient {number}, who")
        assert only(captions, str(number)).text.endswith("came back twice.")


def test_a_caption_without_a_full_stop_after_its_label() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(60))
    draft.y += 12
    draft.image((150, draft.y, 450, draft.y + 120))
    draft.y += 4
    draft.text("Chest CT of a patient with pneumonia", size=9, lead="Fig. 1")
    draft.y += 14
    draft.text(prose(60))
    assert only(draft.analysis().captions, "1").text == "Chest CT of a patient with pneumonia"


def test_captions_of_tables_are_known_as_such() -> None:
    draft = Draft()
    draft.page()
    draft.text("Patients of the study.", size=9, lead="Table 1.")
    draft.text("Age  44  51  63", size=9)
    (caption,) = draft.analysis().captions
    assert caption.is_table


def test_no_line_belongs_to_two_captions() -> None:
    draft = Draft()
    draft.page()
    draft.image((72, 72, 298, 220), seed=1)
    draft.y = 230
    for number in (1, 2, 3):
        draft.text(f"Chest CT of patient {number}, who was followed until discharge.", size=9, lead=f"Figure {number}.")
    spans = [span for caption in draft.analysis().captions for span in caption.spans]
    assert len(spans) == len(set(spans))
    assert len(draft.analysis().captions) == 3


def test_a_caption_goes_on_over_the_pages_end() -> None:
    draft = Draft()
    draft.page()
    draft.image((72, 72, 540, 690))
    draft.y = 694
    draft.text(
        "Chest CT of patients with pneumonia, (A) on the first day and (B) on the fifth, with opacities in the "
        "left lower lobe that had been gone when he",
        size=9,
        lead="Figure 1.",
    )
    draft.page()
    draft.text("came back, and (C) a month after that.", size=9)
    draft.y += 20
    draft.text(prose(200))
    caption = only(draft.analysis().captions, "1")
    assert "when he came back, and (C) a month after that." in caption.text
    assert caption.text.endswith("a month after that.")
    assert {page for page, _ in caption.spans} == {1, 2} and caption.page == 1


def test_a_listed_caption_has_all_its_paragraphs_and_stops_at_the_next() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(200))
    draft.page()
    draft.text("Figure legends", size=11)
    for number in (1, 2):
        draft.y += 8
        draft.text(f"Figure {number}. Chest CT of patient {number}.")
        draft.text(f"Images {number} show ground-glass opacities in both lungs, and later on a consolidation in one.")
        draft.text("A, first day. B, fifth day.")
    draft.y += 12
    draft.text("References")
    draft.text("1. Li and others. A title of a paper on chest CT in pneumonia. A journal 2020.")
    captions = draft.analysis().captions
    for number in (1, 2):
        text = only(captions, str(number)).text
        assert text.startswith(f"Chest CT of patient {number}. Images {number} show")
        assert text.endswith("A, first day. B, fifth day.")


def test_without_a_list_the_paragraph_after_a_caption_is_not_its_own() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(120))
    draft.y += 6
    draft.text("Figure 1. Chest CT of a patient.")
    draft.text("Images show ground-glass opacities in both lungs, and later on a consolidation in one. " + prose(50))
    assert only(draft.analysis().captions, "1").text == "Chest CT of a patient."


RARE = [
    ("eFigure 1. Chest CT of a man.", "E1"),
    ("S1 Fig. Chest CT of a man.", "S1"),
    ("figure 1. Chest CT of a man.", "1"),
    ("Figure No. 1: Chest CT of a man.", "1"),
    ("Figure (2). Chest CT of a man.", "2"),
    ("(Figure 1) Chest CT of a man.", "1"),
    ("[Fig. 2] Chest CT of a man.", "2"),
    ("Figure 3) Chest CT of a man.", "3"),
    ("Figure 3, Chest CT of a man.", "3"),
    ("Figure 4; Chest CT of a man.", "4"),
    ("Figures 1 and 2. Chest CT of a man.", "1,2"),
    ("Image 1. Chest CT of a man.", "1"),
    ("Appendix Figure 1. Chest CT of a man.", "A1"),
    ("Figure 1 - figure supplement 2. Chest CT of a man.", "1-S2"),
]


@pytest.mark.parametrize(("text", "number"), RARE)
def test_a_rarer_form_beside_a_picture_is_a_caption(text: str, number: str) -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(90))
    draft.y += 10
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text(text, size=9)
    draft.y += 14
    draft.text(prose(90, 7))
    (match,) = draft.analysis().matches
    assert (match.caption.label.number, match.caption.text) == (number, "Chest CT of a man.")


@pytest.mark.parametrize("gap", [0, 14])
@pytest.mark.parametrize(
    "text",
    [
        "Figure 3, which the patients of the second group had, tells more of them. ",
        "Figure 3, Chest CT of the patients and of others, was read by two observers. ",
        "figure 1. The patients were followed until discharge. ",
        "Image 1. The patients were followed until discharge. ",
        "Figures 1 and 2. The patients were followed until discharge. ",
    ],
)
def test_a_sentence_away_from_pictures_stays_a_sentence(text: str, gap: int) -> None:
    draft = Draft()
    draft.page()
    draft.image((150, draft.y, 450, draft.y + 150))
    draft.y += 6
    draft.text("Chest CT of a man.", size=9, lead="Figure 9.")
    draft.y += 14
    draft.text(prose(60))
    draft.y += gap
    draft.text(text + prose(60))
    assert [caption.label.number for caption in draft.analysis().captions] == ["9"]


def test_running_text_between_picture_and_sentence_or_above_it_keeps_it_a_sentence() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(13)[:-1] + " as the reader of this paper can see in the")
    draft.text("Figure 3, Chest CT of the patients was read by two observers. " + prose(20))
    draft.image((150, draft.y, 450, draft.y + 150))
    assert draft.analysis().captions == ()
