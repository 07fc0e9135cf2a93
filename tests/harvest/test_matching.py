"""Which picture belongs to which caption, over the layouts that papers and manuscripts have."""

from __future__ import annotations

import pymupdf
import pytest

from harvest.document import Analysis
from harvest.layout import overlap
from harvest.matching import Match
from harvest.records import Box
from tests.harvest.drawn import Draft, prose


def found(analysis: Analysis) -> dict[str, Match]:
    result = {match.caption.label.number: match for match in analysis.matches}
    assert len(result) == len(analysis.matches), "one figure a number"
    return result


def iou(box: Box, truth: tuple[float, float, float, float]) -> float:
    both = overlap(box, Box(*truth))
    return both / ((box.x1 - box.x0) * (box.y1 - box.y0) + (truth[2] - truth[0]) * (truth[3] - truth[1]) - both)


def caption(draft: Draft, number: int, x0: float = 72, x1: float = 540) -> None:
    draft.text(f"Chest CT of patient {number}, followed until discharge.", x0, x1, size=9, lead=f"Figure {number}.")


@pytest.mark.parametrize("above", [True, False])
def test_one_side_for_all_figures_of_a_document(above: bool) -> None:
    """Captions midway between two pictures: the pages that leave no doubt say whether pictures stand above."""
    draft, boxes = Draft(), {}
    for number in (1, 2, 3):
        draft.page()
        draft.text(prose(40, number))
        draft.y += 12
        if not above:
            caption(draft, number)
            draft.y += 8
        boxes[number] = (150, draft.y, 450, draft.y + 150)
        draft.image(boxes[number], seed=number)
        draft.y += 8
        if above:
            caption(draft, number)
    draft.page()
    draft.y = 60
    for number in (4, 5, 6):
        if not above:
            caption(draft, number)
        draft.y += 8
        boxes[number] = (150, draft.y, 450, draft.y + 150)
        draft.image(boxes[number], seed=number)
        draft.y += 8
        if above:
            caption(draft, number)
    matches = found(draft.analysis())
    for number, box in boxes.items():
        assert iou(matches[str(number)].box, box) > 0.95, number


def test_captions_beside_their_pictures() -> None:
    draft, boxes = Draft(), {}
    draft.page()
    for number in (1, 2):
        top = 72 + 240 * (number - 1)
        boxes[number] = (240, top, 540, top + 200)
        draft.image(boxes[number], seed=number)
        draft.y = top
        draft.text(
            "Chest CT of a patient who was followed until discharge and then came back.",
            72,
            225,
            size=8,
            lead=f"Fig. {number}",
        )
    matches = found(draft.analysis())
    for number, box in boxes.items():
        assert iou(matches[str(number)].box, box) > 0.95, number


def test_two_columns_with_a_picture_each_and_one_over_both() -> None:
    draft = Draft()
    draft.page()
    boxes = {1: (72, 72, 540, 250), 2: (72, 330, 298, 480), 3: (314, 330, 540, 480)}
    for number, box in boxes.items():
        draft.image(box, seed=number)
        draft.y = box[3] + 6
        caption(draft, number, box[0], box[2])
    draft.y = 540
    draft.text(prose(60), 72, 298)
    draft.y = 540
    draft.text(prose(60, 9), 314, 540)
    matches = found(draft.analysis())
    for number, box in boxes.items():
        assert iou(matches[str(number)].box, box) > 0.95, number


def test_several_rasters_are_one_figure_when_one_caption_stands_under_them() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(60))
    top = draft.y + 20
    places = [(x, y, x + 140, y + 110) for y in (top, top + 130) for x in (90, 240, 390)]
    xrefs = [draft.image(place, seed=index) for index, place in enumerate(places)]
    draft.y = top + 250
    caption(draft, 1)
    match = found(draft.analysis())["1"]
    assert iou(match.box, (90, top, 530, top + 240)) > 0.95
    assert sum(len(region.images) for region in match.regions) == len(xrefs)


def test_captions_listed_at_the_end_of_a_manuscript_one_picture_a_page() -> None:
    """As medRxiv PDFs have it: text, then a list of captions, then bare pictures in order."""
    draft, boxes = Draft(), {}
    for part in range(2):
        draft.page()
        draft.text(prose(250, part))
    draft.page()
    draft.text("Figure legends", size=14)
    for number in (1, 2, 3):
        draft.y += 8
        draft.text(f"Chest CT of patient {number}. " + prose(20, number), lead=f"Figure {number}.")
    for number in (1, 2, 3):
        draft.page()
        boxes[number] = (100, 120, 500, 500)
        draft.image(boxes[number], seed=number)
    matches = found(draft.analysis())
    for number, box in boxes.items():
        match = matches[str(number)]
        assert (match.caption.page, match.page) == (3, 3 + number)
        assert match.caption.text.startswith(f"Chest CT of patient {number}.")
        assert iou(match.box, box) > 0.95


def test_a_bare_label_beside_the_picture_gets_the_listed_text_whatever_the_order() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(250))
    draft.page()
    draft.text("Figure legends", size=14)
    for number in (1, 2):
        draft.y += 8
        draft.text(f"Chest CT of patient {number}. " + prose(20, number), lead=f"Figure {number}.")
    for number in (2, 1):
        draft.page()
        draft.text(f"Figure {number}")
        draft.image((100, 120, 500, 500), seed=number)
    matches = found(draft.analysis())
    assert {number: match.page for number, match in matches.items()} == {"2": 3, "1": 4}
    assert all(match.caption.text.startswith(f"Chest CT of patient {number}.") for number, match in matches.items())


def test_a_caption_on_the_page_after_its_picture() -> None:
    draft = Draft()
    draft.page()
    draft.image((80, 80, 530, 700), seed=1)
    draft.page()
    caption(draft, 1)
    draft.y += 14
    draft.text(prose(150))
    match = found(draft.analysis())["1"]
    assert (match.page, match.caption.page) == (1, 2)


def test_a_caption_on_a_pictures_empty_margin_is_cut_off() -> None:
    draft = Draft()
    draft.page()
    draft.image((120, 80, 480, 420), seed=1)
    draft.y = 396
    draft.text("Chest CT of a patient.", 130, 470, size=9, lead="Figure 1.")
    analysis = draft.analysis()
    match = found(analysis)["1"]
    (line,) = [line for line in analysis.document.pages[0].lines if line.text.startswith("Figure 1")]
    assert overlap(match.box, line.box) == 0
    assert iou(match.box, (120, 80, 480, 396)) > 0.95


def test_a_figure_with_its_caption_in_its_corner_keeps_all_its_pictures() -> None:
    """An upper picture over the whole width, a lower one with the caption at its left: no cut may lose one of them."""
    draft = Draft()
    draft.page()
    draft.image((72, 72, 540, 250), seed=1)
    draft.image((320, 255, 540, 420), seed=2)
    draft.y = 290
    draft.text(
        "Chest CT of a patient who came twice, at first with fever and then without it.",
        72,
        300,
        size=9,
        lead="Figure 1.",
    )
    match = found(draft.analysis())["1"]
    assert iou(match.box, (72, 72, 540, 420)) > 0.95


def test_a_tables_rules_and_cells_go_to_no_figure() -> None:
    draft = Draft()
    page = draft.page()
    draft.image((150, 72, 450, 220), seed=1)
    draft.y = 226
    caption(draft, 1)
    draft.y += 20
    draft.text("Patients of the study.", size=9, lead="Table 1.")
    for row in range(8):
        draft.y += 2
        page.draw_line((72, draft.y), (540, draft.y), width=0.5)
        draft.put(74, draft.y + 12, f"Patient {row}", 9)
        draft.put(250, draft.y + 12, str(40 + row), 9)
        draft.put(400, draft.y + 12, "male", 9)
        draft.y += 14
    matches = found(draft.analysis())
    assert set(matches) == {"1"}
    assert iou(matches["1"].box, (150, 72, 450, 220)) > 0.95


def test_a_caption_without_a_picture_matches_nothing_and_a_logo_is_no_figure() -> None:
    draft = Draft()
    for part in range(3):
        draft.page()
        draft.image((72, 30, 130, 55), seed=99)
        draft.y = 90
        draft.text(prose(200, part))
    draft.y += 12
    caption(draft, 1)
    analysis = draft.analysis()
    assert [caption.label.number for caption in analysis.captions] == ["1"]
    assert analysis.matches == ()


def test_a_continued_figure_is_a_figure_of_its_own_page() -> None:
    draft = Draft()
    for page in (1, 2):
        draft.page()
        draft.image((100, 80, 500, 500), seed=page)
        draft.y += 8
        if page == 1:
            caption(draft, 1)
        else:
            draft.text("(continued)", size=9, lead="Figure 1.")
    matches = draft.analysis().matches
    assert [(match.page, match.caption.label.continued) for match in matches] == [(1, False), (2, True)]


def test_parts_labelled_apart_get_the_whole_figures_caption_and_keep_their_letter() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(150) + " The man had opacities (Figure 1).")
    draft.page()
    draft.text("Figure legends", size=14)
    draft.y += 8
    draft.text("Chest CT of a patient. (A) Day 1. (B) Day 5.", lead="Figure 1.")
    for letter in "AB":
        draft.page()
        draft.text(f"Figure 1{letter}")
        draft.image((100, 120, 500, 500), seed=ord(letter))
    matches = found(draft.analysis())
    assert {number: (match.page, match.caption.page) for number, match in matches.items()} == {
        "1A": (3, 2),
        "1B": (4, 2),
    }
    assert all(match.caption.text.startswith("Chest CT of a patient.") for match in matches.values())


def test_several_bare_pictures_a_page_with_a_listed_caption_each() -> None:
    draft, boxes = Draft(), {}
    draft.page()
    draft.text(prose(200))
    draft.page()
    draft.text("Figure captions", size=14)
    for number in (1, 2, 3, 4):
        draft.y += 6
        draft.text(f"Fig {number}. Chest CT of patient {number}. " + prose(12, number))
    for number in (1, 3):
        draft.page()
        for index, top in ((0, 80), (1, 420)):
            boxes[number + index] = (100, top, 500, top + 270)
            draft.image(boxes[number + index], seed=number + index)
    matches = found(draft.analysis())
    assert [matches[str(number)].page for number in boxes] == [3, 3, 4, 4]
    for number, box in boxes.items():
        assert iou(matches[str(number)].box, box) > 0.95, number


def test_a_watermark_across_the_pages_is_no_part_of_a_figure() -> None:
    draft = Draft()
    for number in (1, 2):
        page = draft.page()
        writer = pymupdf.TextWriter(page.rect)
        writer.append((100, 500), "PREPRINT NOT PEER REVIEWED", fontsize=40)
        writer.write_text(page, color=(0.9, 0.9, 0.9), morph=(pymupdf.Point(300, 400), pymupdf.Matrix(45)))
        draft.text(prose(60, number))
        draft.image((100, 250, 500, 450), seed=number)
        draft.y += 6
        caption(draft, number)
    matches = found(draft.analysis())
    for number in (1, 2):
        assert iou(matches[str(number)].box, (100, 250, 500, 450)) > 0.98
