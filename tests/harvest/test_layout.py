"""Lines, pictures and drawings of a page, in the frame in which it is read."""

from __future__ import annotations

import pymupdf
import pytest

from harvest.layout import Page, clean, family, read_page
from harvest.records import Box
from tests.harvest.drawn import Draft, picture, pixmap, prose


def page_of(draft: Draft, number: int = 1) -> Page:
    with pymupdf.open(stream=draft.pdf.tobytes(), filetype="pdf") as pdf:
        return read_page(pdf[number - 1], number)


def test_text_is_as_a_reader_would_type_it() -> None:
    assert clean("ﬁnd\u00adings\u00a0of\u2009ﬂow\x07\u200b") == "findings of flow"


@pytest.mark.parametrize(
    ("font", "name", "bold"),
    [
        ("ABCDEF+TimesNewRomanPS-BoldMT", "TimesNewRoman", True),
        ("TimesNewRomanPSMT", "TimesNewRoman", False),
        ("TimesNewRoman,BoldItalic", "TimesNewRoman", True),
        ("Arial-BoldItalicMT", "Arial", True),
        ("ArialMT", "Arial", False),
        ("MyriadPro-SemiboldIt", "MyriadPro", True),
        ("Summit", "Summit", False),
        ("Helvetica-Oblique", "Helvetica", False),
        ("AdvOT46dcae81.B", "AdvOT46dcae81.B", True),
        ("Times-Roman", "Times", False),
        ("Bold", "Bold", True),
    ],
)
def test_fonts_without_their_weight(font: str, name: str, bold: bool) -> None:
    assert family(font) == (name, bold)


def test_pieces_of_one_line_are_joined_and_columns_are_not() -> None:
    draft = Draft()
    draft.page()
    for row in range(6):
        y = 100 + 14 * row
        draft.put(72, y, "The patients were followed until their", 10)
        draft.put(310, y, "discharge, and then they went home again", 10)
    draft.put(72, 300, "Figure 1.", 10, font="tibo")
    draft.put(120, 300, "Chest CT of a patient", 10)
    lines = [line.text for line in page_of(draft).lines]
    assert lines.count("The patients were followed until their") == 6
    assert "Figure 1. Chest CT of a patient" in lines


def test_each_lines_offset_leads_into_the_pages_text() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(120))
    page = page_of(draft)
    assert len(page.lines) > 5
    for line in page.lines:
        assert page.text[line.offset :].startswith(line.text[:10])


def test_line_numbers_of_a_manuscript_are_lines_of_their_own() -> None:
    draft = Draft()
    draft.page()
    for row in range(20):
        draft.put(60, 100 + 20 * row, str(row + 1), 9)
        draft.put(80, 100 + 20 * row, "The patients were followed until discharge from the ward", 11)
    texts = [line.text for line in page_of(draft).lines]
    assert texts.count("The patients were followed until discharge from the ward") == 20
    assert {str(row + 1) for row in range(20)} <= set(texts)


@pytest.mark.parametrize("turn", [90, 270])
def test_a_page_printed_sideways_is_read_upright_and_leads_back(turn: int) -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=612, height=792)
    box = pymupdf.Rect(100, 100, 300, 500)
    page.insert_image(box, pixmap=pixmap(picture(1)), keep_proportion=False)
    for row in range(8):
        x = 320 + 14 * row if turn == 90 else 320 + 14 * (7 - row)
        page.insert_text((x, 600 if turn == 90 else 150), "The patients were followed until discharge", rotate=turn)
    with pymupdf.open(stream=pdf.tobytes(), filetype="pdf") as read:
        layout = read_page(read[0], 1)
    assert (layout.width, layout.height) == (792, 612)
    assert all(line.upright for line in layout.lines)
    tops = [line.box.y0 for line in layout.lines]
    assert tops == sorted(tops)
    (graphic,) = layout.graphics
    assert layout.displayed(graphic.box) == pytest.approx(tuple(box), abs=0.01)


def test_a_rotated_page_leads_back_to_what_is_displayed() -> None:
    draft = Draft()
    page = draft.page()
    draft.text(prose(60))
    draft.image((100, 300, 300, 400))
    page.set_rotation(90)
    layout = page_of(draft)
    (graphic,) = layout.graphics
    assert layout.displayed(graphic.box) == pytest.approx((792 - 400, 100, 792 - 300, 300), abs=0.01)


def test_what_cannot_be_seen_is_not_there() -> None:
    draft = Draft()
    page = draft.page()
    page.draw_rect((0, 0, 612, 792), fill=(0.9, 0.9, 1))
    page.draw_rect((100, 100, 300, 200), color=None, fill=(1, 1, 1))
    draft.put(-500, 100, "text far off the page on the left", 10)
    draft.put(100, 900, "text below the page", 10)
    draft.image((700, 100, 900, 300))
    draft.image((100, 300, 100.4, 300.4))
    draft.put(72, 72, "text on the page", 10)
    layout = page_of(draft)
    assert [line.text for line in layout.lines] == ["text on the page"]
    assert layout.graphics == ()


def test_boxes_lie_in_the_page() -> None:
    draft = Draft()
    page = draft.page()
    draft.image((-50, -50, 200, 200))
    page.draw_rect((500, 700, 800, 900), fill=(1, 0, 0))
    for graphic in page_of(draft).graphics:
        x0, y0, x1, y1 = graphic.box
        assert 0 <= x0 < x1 <= 612 and 0 <= y0 < y1 <= 792


def test_a_crop_box_moves_the_origin() -> None:
    draft = Draft()
    page = draft.page()
    draft.image((200, 200, 400, 350))
    draft.put(200, 380, "text", 10)
    page.set_cropbox(pymupdf.Rect(100, 150, 500, 600))
    layout = page_of(draft)
    assert (layout.width, layout.height) == (400, 450)
    assert layout.graphics[0].box == pytest.approx(Box(100, 50, 300, 200), abs=0.01)


def test_spaces_set_by_moving_are_put_back() -> None:
    draft = Draft()
    draft.page()
    x, font = 72.0, pymupdf.Font("tiro")
    for word in ["the", "patients", "were", "followed", "until", "discharge", "and", "came", "back", "again"]:
        draft.put(x, 100, word, 10)
        x += font.text_length(word, 10) + 1.4
    (line,) = page_of(draft).lines
    assert line.text == "the patients were followed until discharge and came back again"


def test_half_characters_of_a_damaged_font_become_a_replacement() -> None:
    """A map to Unicode gives a lone surrogate, in a line whose words run together: there each letter is read alone."""
    pdf = pymupdf.open()
    page = pdf.new_page()
    page.insert_text((72, 100), "thepatientswerefolloweduntildischargeandcQmebackagain", fontname="helv", fontsize=10)
    cmap = pdf.get_new_xref()
    pdf.update_object(cmap, "<<>>")
    pdf.update_stream(
        cmap,
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def 1 begincodespacerange <00> <FF> "
        b"endcodespacerange 1 beginbfrange <61> <7A> <0061> endbfrange 1 beginbfchar <51> <D835> endbfchar endcmap end "
        b"end",
    )
    pdf.xref_set_key(page.get_fonts()[0][0], "ToUnicode", f"{cmap} 0 R")
    with pymupdf.open(stream=pdf.tobytes(), filetype="pdf") as read:
        layout = read_page(read[0], 1)
    assert [line.text for line in layout.lines] == ["thepatientswerefolloweduntildischargeandc\ufffdmebackagain"]
    layout.text.encode()
    assert clean("a\udc00b\ud835") == "a\ufffdb\ufffd" and clean("\U0001d434") == "\U0001d434"
