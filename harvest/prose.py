"""Which lines of a document are running text and which are furniture (headers, footers, page and line numbers).

Reads the pages of a document (`harvest.layout`). Gives `Document`: the pages, the style of the body, a role for every
line. Guarantees: roles come from repetition, position and style alone; no journal's name or layout is known here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harvest.layout import Line, Page, area, line_numbers, overlap, union, x_overlap, y_overlap

FURNITURE, PROSE, OTHER = "furniture", "prose", "other"
DIGITS = re.compile(r"\d+")
PAGE_NUMBER = re.compile(r"^(?:page\s*)?\d{1,5}(?:\s*(?:of|/)\s*\d{1,5})?$", re.I)
CAPTIONED = re.compile(r"^(?:supplement\w*\.?\s+|extended data\s+)?(?:fig|table|scheme)", re.I)


@dataclass(frozen=True)
class Document:
    """The pages with what only the whole document tells: styles of running text, usual line gap, role of every line."""

    pages: tuple[Page, ...]
    body: tuple[str, int]
    """style of most running text"""
    prose_styles: frozenset[tuple[str, int]]
    gap: float
    """usual distance between two lines of running text, in line heights (0.2 = 20 % of the height)"""
    roles: tuple[tuple[str, ...], ...]
    repeated: frozenset[tuple[int, int]] = frozenset()
    """(page, graphic) of logos, rules and banners"""

    def text_lines(self, page: Page) -> list[Line]:
        """The page's lines without furniture."""
        roles = self.roles[page.number - 1]
        return [line for line, role in zip(page.lines, roles, strict=True) if role != FURNITURE]


def read_document(pages: Sequence[Page]) -> Document:
    """Roles and styles for the pages of one document."""
    repeated = repeated_graphics(pages)
    furniture = find_furniture(pages, repeated)
    styles: Counter[tuple[str, int]] = Counter()
    for page in pages:
        for index, line in enumerate(page.lines):
            if (page.number, index) not in furniture and line.upright and len(line.text) >= 30:
                styles[line.style] += len(line.text)
    total = styles.total()
    body = styles.most_common(1)[0][0] if styles else ("", 0)
    prose_styles = frozenset(style for style, count in styles.items() if count >= 0.08 * total)
    grouped = [paragraphs(page, furniture) for page in pages]
    gaps = sorted(
        (page.lines[b].box.y0 - page.lines[a].box.y1) / max(1.0, page.lines[a].height)
        for page, groups in zip(pages, grouped, strict=True)
        for group in groups
        for a, b in pairwise(group)
        if page.lines[a].style == body
    )
    gap = gaps[len(gaps) // 2] if gaps else 0.15
    roles = tuple(
        roles_of(page, groups, furniture, prose_styles, body) for page, groups in zip(pages, grouped, strict=True)
    )
    return Document(tuple(pages), body, prose_styles, max(0.0, gap), roles, frozenset(repeated))


def find_furniture(pages: Sequence[Page], repeated: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """(page, line) of headers, footers, page numbers and margin line numbers."""
    seen: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    found: set[tuple[int, int]] = set()
    for page in pages:
        for index, line in enumerate(page.lines):
            in_margin = line.box.y1 < 0.12 * page.height or line.box.y0 > 0.88 * page.height
            at_side = line.box.x1 < 0.12 * page.width or line.box.x0 > 0.88 * page.width
            if PAGE_NUMBER.match(line.text) and (line.box.y1 < 0.09 * page.height or line.box.y0 > 0.91 * page.height):
                found.add((page.number, index))
            elif (in_margin or slanted(line) or (at_side and not line.upright)) and not CAPTIONED.match(line.text):
                key = DIGITS.sub("#", line.text.lower())
                seen[key, round(line.box.y0 / 4)].append((page.number, index))
        found |= {(page.number, index) for index in line_numbers(page.lines, page.width)}
    for (key, row), places in seen.items():
        near = places + seen.get((key, row + 1), [])
        if len({page for page, _ in near}) >= 2 and (
            sum(map(str.isalpha, key)) >= 3 or not pages[places[0][0] - 1].lines[places[0][1]].upright
        ):
            found.update(near)
    for page in pages:
        found -= behind_other_text(page, found)
        found -= titles_of_figures(page, found, repeated)
    while inner := {place for place in found if runs_on(pages[place[0] - 1], place[1], found)}:
        found -= inner
    return found


def slanted(line: Line) -> bool:
    """Whether a line runs across the page as watermarks do: its box is far wider and far higher than its letters."""
    return not line.upright and min(line.box.x1 - line.box.x0, line.box.y1 - line.box.y0) > 2.5 * line.size


def behind_other_text(page: Page, furniture: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Lines taken for headers or footers though other text stands between them and the page's edge."""
    kept = [line.box for i, line in enumerate(page.lines) if (page.number, i) not in furniture and line.upright]
    top = min((box.y0 for box in kept), default=page.height)
    bottom = max((box.y1 for box in kept), default=0.0)
    return {
        (page.number, i)
        for i, line in enumerate(page.lines)
        if (page.number, i) in furniture
        and line.upright
        and len(line.text) > 4
        and top + 2 < line.box.y0
        and line.box.y1 < bottom - 2
    }


def titles_of_figures(
    page: Page, furniture: set[tuple[int, int]], repeated: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Lines taken for headers or footers that stand right on a picture or drawing of this page alone."""
    graphics = [g.box for i, g in enumerate(page.graphics) if (page.number, i) not in repeated]
    found = set()
    for number, index in furniture:
        if number == page.number and page.lines[index].upright and not PAGE_NUMBER.match(page.lines[index].text):
            box = page.lines[index].box
            if any(x_overlap(box, other) > 0 and y_overlap(box, other) > -10 for other in graphics):
                found.add((number, index))
    return found


def runs_on(page: Page, index: int, furniture: set[tuple[int, int]]) -> bool:
    """Whether the line carries on a text that reaches into the margin: a line of its style stands right beside it."""
    line = page.lines[index]
    if len(line.text) < 25:
        return False
    for other_index, other in enumerate(page.lines):
        if other.style != line.style or (page.number, other_index) in furniture:
            continue
        gap = line.box.y0 - other.box.y1 if line.box.y0 > page.height / 2 else other.box.y0 - line.box.y1
        if -0.4 * line.height < gap < 0.6 * line.height and x_overlap(line.box, other.box) > 0:
            return True
    return False


def repeated_graphics(pages: Sequence[Page]) -> set[tuple[int, int]]:
    """(page, graphic) of what stands at one place on many pages: logos, rules, banners."""
    places: dict[tuple[int, int, int, int], list[tuple[int, int]]] = defaultdict(list)
    for page in pages:
        for index, graphic in enumerate(page.graphics):
            edge = graphic.box.y1 < 0.15 * page.height or graphic.box.y0 > 0.85 * page.height
            if (edge or graphic.rule) and area(graphic.box) < 0.15 * page.width * page.height:
                x0, y0, x1, y1 = graphic.box
                places[round(x0 / 3), round(y0 / 3), round(x1 / 3), round(y1 / 3)].append((page.number, index))
    return {place for found in places.values() if len({page for page, _ in found}) >= 2 for place in found}


def paragraphs(page: Page, furniture: set[tuple[int, int]]) -> list[list[int]]:
    """Line indices grouped where one line follows the other in the same column, style size and spacing."""
    groups: list[list[int]] = []
    recent: list[int] = []
    for index, line in enumerate(page.lines):
        if (page.number, index) in furniture or not line.upright:
            continue
        home = None
        for group in reversed(recent):
            last = page.lines[groups[group][-1]]
            height = last.height
            if not -0.4 * height < line.box.y0 - last.box.y1 < 0.9 * height:
                continue
            narrow = min(line.box.x1 - line.box.x0, last.box.x1 - last.box.x0)
            if (
                abs(line.size - last.size) < 0.1 * last.size
                and x_overlap(line.box, last.box) > 0.5 * narrow
                and line.box.y0 > last.box.y0 + 0.3 * height
            ):
                home = group
                break
        if home is None:
            groups.append([index])
            recent = [*recent[-5:], len(groups) - 1]
        else:
            groups[home].append(index)
    return groups


def roles_of(
    page: Page,
    groups: Sequence[Sequence[int]],
    furniture: set[tuple[int, int]],
    prose_styles: frozenset[tuple[str, int]],
    body: tuple[str, int],
) -> tuple[str, ...]:
    """A role for every line; running text is what stands in paragraphs of long lines, outside boxes and pictures."""
    roles = [FURNITURE if (page.number, index) in furniture else OTHER for index in range(len(page.lines))]
    limits = 2000, 0.5 * page.width * page.height
    holders = [g.box for g in page.graphics if (g.frame or g.image >= 0) and limits[0] < area(g.box) < limits[1]]
    holders = sorted(holders, key=area, reverse=True)[:500]
    for group in groups:
        lines = [page.lines[index] for index in group]
        letters = sum(sum(map(str.isalpha, line.text)) for line in lines)
        characters = sum(len(line.text) for line in lines)
        spaces = sum(line.text.count(" ") for line in lines)
        known = any(line.style in prose_styles for line in lines)
        mean = characters / len(lines)
        wordy = letters > 0.6 * characters and spaces > 0.07 * characters
        long_known = known and (characters >= 40 or (len(group) >= 2 and mean >= 25))
        if not wordy or not (long_known or (len(group) >= 4 and mean >= 35)):
            continue
        box = union(line.box for line in lines)
        inside = any(overlap(box, holder) > 0.95 * area(box) for holder in holders)
        if inside and not all(line.style == body for line in lines):
            continue
        for index in group:
            roles[index] = PROSE
    return tuple(roles)
