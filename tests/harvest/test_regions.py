"""Regions of a page: what belongs to a figure and what only lies near it."""

from __future__ import annotations

import numpy as np
import pymupdf

from harvest.layout import overlap, union
from harvest.regions import Region, empty_grid
from tests.harvest.drawn import Draft, picture, prose


def regions(draft: Draft, page: int = 1) -> tuple[Region, ...]:
    return tuple(region for region in draft.analysis().plans[page - 1].regions if region.is_figure_sized)


def near(box: tuple[float, ...], truth: tuple[float, ...], slack: float = 3) -> bool:
    return max(abs(a - b) for a, b in zip(box, truth, strict=True)) <= slack


def test_a_raster_cut_in_stripes_is_one_region_of_exact_size() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(60))
    top, array = draft.y + 20, picture(3, 120, 160)
    for index in range(6):
        draft.image(
            (150, top + 25 * index, 450, top + 25 * (index + 1)), np.ascontiguousarray(array[20 * index :][:20])
        )
    (region,) = regions(draft)
    assert near(region.box, (150, top, 450, top + 150), 0.5)
    assert len(region.images) == 6


def test_two_figures_of_neighbouring_columns_are_two_regions() -> None:
    draft = Draft()
    draft.page()
    draft.image((72, 72, 296, 250), seed=1)
    draft.image((316, 72, 540, 250), seed=2)
    draft.y = 270
    draft.text(prose(60))
    assert len(regions(draft)) == 2


def test_a_drawn_chart_is_a_region_with_its_axis_labels() -> None:
    draft = Draft()
    page = draft.page()
    draft.text(prose(60))
    top = draft.y + 30
    page.draw_rect((160, top, 440, top + 150), width=0.8)
    for index in range(5):
        page.draw_rect((180 + 50 * index, top + 120 - 20 * index, 210 + 50 * index, top + 150), fill=(0.2, 0.4, 0.8))
        draft.put(188 + 50 * index, top + 162, f"G{index}", 8)
    draft.put(260, top + 174, "Group", 8)
    draft.y = top + 185
    draft.text("Mean age of five groups.", size=9, lead="Figure 1.")
    draft.y += 14
    draft.text(prose(60, 5))
    (match,) = draft.analysis().matches
    assert near(match.box, (160, top, 440, top + 176), 6)


def test_the_body_is_never_part_of_a_region() -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(100))
    draft.image((150, draft.y + 3, 450, draft.y + 150), seed=4)
    draft.y += 4
    draft.text(prose(100, 3))
    analysis = draft.analysis()
    body = [line.box for line in analysis.document.pages[0].lines if len(line.text) > 60]
    assert len(body) >= 10
    assert not any(overlap(region.box, box) > 1 for region in analysis.plans[0].regions for box in body)


def test_a_frame_round_a_paragraph_or_round_figure_and_caption_is_none() -> None:
    draft = Draft()
    page = draft.page()
    page.draw_rect((66, 80, 546, 200), width=1)
    draft.y = 84
    draft.text(prose(100))
    page.draw_rect((66, 300, 546, 540), width=1)
    draft.image((180, 310, 430, 480), seed=5)
    draft.y = 486
    draft.text("Chest CT of a patient. " + prose(20), size=8, lead="Figure 1.")
    analysis = draft.analysis()
    (match,) = analysis.matches
    assert near(match.box, (180, 310, 430, 480), 1)
    assert [region for region in analysis.plans[0].regions if region.is_figure_sized] == list(match.regions)


def test_white_and_clipped_away_drawings_are_not_seen() -> None:
    draft = Draft()
    page = draft.page()
    page.draw_rect((72, 72, 540, 400), color=None, fill=(1, 1, 1))
    shape = pymupdf.TOOLS._insert_contents
    shape(page, b"q 100 300 200 150 re W n 0.2 0.5 0.2 rg 0 0 612 792 re f Q", 1)
    draft.y = 500
    draft.text(prose(60))
    (region,) = regions(draft)
    assert near(region.box, (100, 342, 300, 492), 2)


def test_text_boxes_of_a_flow_chart_are_part_of_it() -> None:
    draft = Draft()
    page = draft.page()
    draft.text(prose(60))
    top, boxes = draft.y + 20, []
    for index in range(4):
        box = pymupdf.Rect(190, top + 60 * index, 420, top + 60 * index + 40)
        boxes.append(box)
        page.draw_rect(box, width=1)
        page.insert_textbox(
            pymupdf.Rect(box.x0 + 4, box.y0 + 4, box.x1 - 4, box.y1 - 4),
            "Patients assessed for eligibility and followed",
            fontsize=9,
        )
        if index:
            page.draw_line((305, box.y0 - 20), (305, box.y0), width=1)
    draft.y = top + 230
    draft.text("Flow of patients.", size=9, lead="Figure 1.")
    draft.y += 12
    draft.text(prose(60, 3))
    (match,) = draft.analysis().matches
    assert near(match.box, (190, top, 420, top + 220), 3)


def test_the_grid_of_a_huge_page_stays_small() -> None:
    draft = Draft(14_400, 14_400)
    draft.page()
    draft.image((1000, 1000, 9000, 9000), seed=1)
    draft.y = 9100
    draft.text(prose(60), 1000, 9000, size=200)
    analysis = draft.analysis()
    grid, _ = empty_grid(analysis.document.pages[0])
    assert grid.size < 2_500_000
    assert near(union(region.box for region in analysis.plans[0].regions), (1000, 1000, 9000, 9000), 20)
