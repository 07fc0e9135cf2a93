"""Regions of a page that look like figures: pictures, drawings and the short texts among them, grouped.

Reads a page with the roles of its lines and its captions. Gives `Region`s: exact boxes with the graphics and lines in
them. Guarantees: pure; no region covers running text or a caption; tables' rules and cells are not figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from harvest.captions import Caption
from harvest.layout import Page, area, overlap, union, x_overlap, y_overlap
from harvest.prose import FURNITURE, OTHER, PROSE, Document
from harvest.records import Box

CELL = 2.0
"""width of a cell of the grid that things are grouped on, in points (more on pages over 3000 points)"""
REACH = 6.0
"""how far a picture or drawing reaches out to its neighbours, in points"""
TEXT_REACH = 3.0
"""how far a short text does"""


@dataclass(frozen=True)
class Region:
    """One connected group. ``weight``: area of its graphics in square points; ``images``: indices of placed images."""

    page: int
    box: Box
    graphics: tuple[int, ...]
    lines: tuple[int, ...]
    weight: float
    images: tuple[int, ...]

    @property
    def is_figure_sized(self) -> bool:
        """Large enough to be a figure on its own, and not a bar or a rule."""
        width, height = self.box.x1 - self.box.x0, self.box.y1 - self.box.y0
        return min(width, height) >= 24 and width * height >= 1500 and self.weight >= 400


@dataclass(frozen=True)
class Plan:
    """A page made ready for matching: its regions, and the boxes that no figure may cover."""

    page: Page
    regions: tuple[Region, ...]
    walls: tuple[Box, ...]
    loose: tuple[int, ...]
    """lines that are neither running text nor caption nor furniture, so may be part of a figure"""
    kept: tuple[int, ...] = ()
    """graphics that may be part of a figure"""
    typeset: frozenset[tuple[int, int]] = frozenset()
    """first lines of the captions of tables that are set as text, so need no region"""


def plan_page(document: Document, page: Page, captions: Sequence[Caption]) -> Plan:
    """Regions and walls of one page; ``captions`` are those that have lines on it."""
    roles = list(document.roles[page.number - 1])
    captioned = {index for caption in captions for number, index in caption.spans if number == page.number}
    tables: list[Box] = []
    typeset: set[tuple[int, int]] = set()
    for caption in captions:
        if caption.is_table and caption.page == page.number:
            cells = table_lines(page, roles, captioned, caption, document.body)
            for index in cells:
                roles[index] = PROSE
            if len(cells) >= 4:
                tables.append(union(page.lines[index].box for index in cells))
                typeset.add(caption.spans[0])
    walls = [line.box for i, line in enumerate(page.lines) if i in captioned or roles[i] == PROSE]
    bars = [line.box for i, line in enumerate(page.lines) if roles[i] == FURNITURE and line.upright]
    loose = tuple(i for i in range(len(page.lines)) if roles[i] == OTHER and i not in captioned)
    unframed = without_frames(page, range(len(page.graphics)), walls)
    # a drawing that holds a line of text is its frame or ground; a picture may have a few lines on it
    held = walls_in([graphic.box for graphic in page.graphics], walls)
    kept = [
        index
        for index in unframed
        if (graphic := page.graphics[index])
        and (page.number, index) not in document.repeated
        and held[index] < (4 if graphic.image >= 0 else 1)
        and not (graphic.image < 0 and any(within(graphic.box, table) for table in tables))
    ]
    regions = group(page, kept, loose, [*walls, *bars])
    return Plan(page, regions, tuple(walls), loose, tuple(kept), frozenset(typeset))


def within(box: Box, table: Box) -> bool:
    """Whether a drawing lies in a table (its rules may reach a little out of the text)."""
    middle_x, middle_y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    inside = table.x0 - 6 < middle_x < table.x1 + 6 and table.y0 - 6 < middle_y < table.y1 + 6
    return inside and area(box) <= 1.2 * area(table) + 200


def without_frames(page: Page, kept: Sequence[int], walls: Sequence[Box]) -> list[int]:
    """Without the rules and corners that together frame a figure with its caption, or a box of text."""
    thin = [
        index
        for index in kept
        if page.graphics[index].rule
        or max(
            page.graphics[index].box.x1 - page.graphics[index].box.x0,
            page.graphics[index].box.y1 - page.graphics[index].box.y0,
        )
        < 8
    ]
    if not any(page.graphics[index].rule for index in thin):
        return list(kept)
    grid, cell = empty_grid(page)
    for index in thin:
        paint(grid, cell, page.graphics[index].box, 0.5, 1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(grid, connectivity=8)
    frames = set()
    for label in range(1, len(stats)):
        x, y, width, height, _ = (float(value) * cell for value in stats[label])
        if min(width, height) > 30 and walls_in([Box(x, y, x + width, y + height)], walls)[0]:
            frames.add(label)
    if not frames:
        return list(kept)
    dropped = {index for index in thin if label_at(labels, cell, page.graphics[index].box) in frames}
    return [index for index in kept if index not in dropped]


def walls_in(boxes: Sequence[Box], walls: Sequence[Box]) -> np.ndarray:
    """How many of the walls lie in each box, for the most part."""
    count = np.zeros(len(boxes), int)
    if not len(walls) or not len(boxes):
        return count
    one, two = np.asarray(boxes, np.float32), np.asarray(walls, np.float32)
    size = (two[:, 2] - two[:, 0]) * (two[:, 3] - two[:, 1])
    for start in range(0, len(one), 4096):
        part = one[start : start + 4096, None, :]
        width = np.minimum(part[..., 2], two[:, 2]) - np.maximum(part[..., 0], two[:, 0])
        height = np.minimum(part[..., 3], two[:, 3]) - np.maximum(part[..., 1], two[:, 1])
        count[start : start + 4096] = (width.clip(0) * height.clip(0) > 0.6 * size).sum(axis=1)
    return count


def table_lines(
    page: Page, roles: Sequence[str], captioned: set[int], caption: Caption, body: tuple[str, int]
) -> list[int]:
    """The cells under a table's caption: rows of short text, down to running text, a picture or a wide gap."""
    rows = sorted(
        (i for i, line in enumerate(page.lines) if i not in captioned and roles[i] != FURNITURE and line.upright),
        key=lambda i: page.lines[i].box.y0,
    )
    pictures = [graphic.box for graphic in page.graphics if graphic.image >= 0 and area(graphic.box) > 2000]
    rules = [g.box for g in page.graphics if g.rule and g.box.y1 - g.box.y0 < 3]
    found: list[int] = []
    bottom, prose = caption.box.y1, 0
    x0, x1 = caption.box.x0 - 5, caption.box.x1 + 5
    for rule in rules:
        if -4 < rule.y0 - caption.box.y1 < 20 and x_overlap(rule, caption.box) > 0:
            x0, x1 = min(x0, rule.x0), max(x1, rule.x1)
    for index in rows:
        line = page.lines[index]
        if line.box.y0 < caption.box.y1 - 3 or line.box.x1 < x0 or line.box.x0 > x1:
            continue
        gap = line.box.y0 - bottom
        ruled = any(bottom - 2 <= rule.y0 <= line.box.y0 + 2 and rule.x1 > x0 and rule.x0 < x1 for rule in rules)
        limit = 4.0 * line.height if ruled else 2.2 * line.height
        blocked = any(x_overlap(p, line.box) > 0 and p.y0 < line.box.y1 and p.y1 > bottom for p in pictures)
        if gap > limit or blocked:
            break
        prose += roles[index] == PROSE and line.style == body and len(line.text) > 40
        if prose > (0 if len(found) > 3 else 2):
            break
        found.append(index)
        bottom = max(bottom, line.box.y1)
        x0, x1 = min(x0, line.box.x0), max(x1, line.box.x1)
    return found


def group(page: Page, kept: Sequence[int], loose: Sequence[int], walls: Sequence[Box]) -> tuple[Region, ...]:
    """Graphics and short texts that touch once each reaches out a little, as regions; running text keeps them apart."""
    solid = [index for index in kept if not page.graphics[index].rule]
    if not solid:
        return ()
    grid, cell = empty_grid(page)
    for index in solid:
        paint(grid, cell, page.graphics[index].box, REACH, 1)
    for index in loose:
        paint(grid, cell, page.lines[index].box, TEXT_REACH, 1)
    for wall in walls:
        paint(grid, cell, wall, -0.5, 0)
    _, labels = cv2.connectedComponents(grid, connectivity=4)
    members: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for index in solid:
        members[label_at(labels, cell, page.graphics[index].box)][0].append(index)
    for index in loose:
        members[label_at(labels, cell, page.lines[index].box)][1].append(index)
    regions = []
    for label, (graphics, lines) in members.items():
        if label == 0 or not graphics:
            continue
        boxes = [page.graphics[index].box for index in graphics]
        box = union([*boxes, *(page.lines[index].box for index in lines)])
        weight = min(area(box), sum(max(area(b), 8.0) for b in boxes))
        images = tuple(page.graphics[index].image for index in graphics if page.graphics[index].image >= 0)
        regions.append(Region(page.number, box, tuple(graphics), tuple(lines), weight, images))
    return tuple(sorted(regions, key=lambda region: (region.box.y0, region.box.x0)))


def empty_grid(page: Page) -> tuple[np.ndarray, float]:
    """A grid over the page, and the width of its cells: bounded however large the page says it is."""
    cell = max(CELL, page.width / 1500, page.height / 1500)
    return np.zeros((int(page.height / cell) + 2, int(page.width / cell) + 2), np.uint8), cell


def paint(grid: np.ndarray, cell: float, box: Box, reach: float, value: int) -> None:
    """Set the cells of a box grown by ``reach`` points."""
    y0, y1 = max(0, int((box.y0 - reach) / cell)), max(0, int((box.y1 + reach) / cell) + 1)
    x0, x1 = max(0, int((box.x0 - reach) / cell)), max(0, int((box.x1 + reach) / cell) + 1)
    grid[y0:y1, x0:x1] = value


def label_at(labels: np.ndarray, cell: float, box: Box) -> int:
    """The component a box lies in: that of its middle, else the first it touches."""
    y, x = int((box.y0 + box.y1) / 2 / cell), int((box.x0 + box.x1) / 2 / cell)
    y, x = max(0, min(y, labels.shape[0] - 1)), max(0, min(x, labels.shape[1] - 1))
    if labels[y, x]:
        return int(labels[y, x])
    top, left = max(0, int(box.y0 / cell)), max(0, int(box.x0 / cell))
    window = labels[top : int(box.y1 / cell) + 1, left : int(box.x1 / cell) + 1]
    touched = window[window > 0]
    return int(touched[0]) if touched.size else 0


def completed(plan: Plan, regions: Sequence[Region]) -> Box:
    """The box of a figure: its regions and the loose texts and rules that belong to them (letters, titles, keys)."""
    box = union(region.box for region in regions)
    lines = [plan.page.lines[index] for index in plan.loose]
    styles = {line.style for line in lines if overlap(line.box, box) > 0.5 * area(line.box)}
    rules = [plan.page.graphics[index].box for index in plan.kept if plan.page.graphics[index].rule]
    for _ in range(3):
        grown = box
        for line in lines:
            reach = 24 if line.style in styles else 8
            near = x_overlap(line.box, box) > -8 and y_overlap(line.box, box) > -reach
            if near and area(line.box) < 0.5 * area(box):
                grown = allowed(grown, line.box, plan.walls)
        for rule in rules:
            if x_overlap(rule, box) > -2 and y_overlap(rule, box) > -2 and contained(rule, box, 12):
                grown = allowed(grown, rule, plan.walls)
        if grown == box:
            break
        box = grown
    return Box(max(0.0, box.x0), max(0.0, box.y0), min(plan.page.width, box.x1), min(plan.page.height, box.y1))


def contained(inner: Box, outer: Box, slack: float) -> bool:
    return (
        inner.x0 >= outer.x0 - slack
        and inner.y0 >= outer.y0 - slack
        and inner.x1 <= outer.x1 + slack
        and inner.y1 <= outer.y1 + slack
    )


def allowed(box: Box, more: Box, walls: Sequence[Box]) -> Box:
    """The box grown by ``more``, or as it was where that would cover running text or a caption."""
    grown = union((box, more))
    for wall in walls:
        covered = overlap(wall, grown)
        if covered > 0 and covered > 0.2 * area(wall) and overlap(wall, box) <= 0.2 * area(wall):
            return box
    return grown
