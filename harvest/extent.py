"""How far a caption goes: beside its label, down its column, into a second column, over to the next page.

Pure. Functions take and give indices of a page's lines; ``starts`` are the (page, line) that other captions begin at.
"""

from __future__ import annotations

from collections.abc import Sequence

from harvest.labels import ENDED, LEGENDS, parse_label
from harvest.layout import Line, Page, area, union, x_overlap, y_overlap
from harvest.prose import FURNITURE, Document
from harvest.records import Box


def above(document: Document, page: Page, line: Line) -> Line | None:
    """The line of text right above in the same column, at most one line's height away."""
    best = None
    for other in page.lines:
        gap = line.box.y0 - other.box.y1
        near = -0.4 * line.height < gap < 0.75 * line.height + 1.2 * document.gap * line.height
        over = near and other.box.y0 < line.box.y0 - 0.4 * line.height and x_overlap(line.box, other.box) > 0
        if over and (best is None or other.box.y1 > best.box.y1):
            best = other
    return best


def beside(document: Document, page: Page, taken: Sequence[int], starts: set[tuple[int, int]]) -> list[int]:
    """Pieces of the caption's first line further right: after a label set off by a wide space."""
    line = page.lines[taken[0]]
    found = []
    right = line.box.x1
    row = sorted(
        (index for index, other in enumerate(page.lines) if other.upright and other.box.x0 > line.box.x1 - 1),
        key=lambda index: page.lines[index].box.x0,
    )
    for index in row:
        other = page.lines[index]
        level = y_overlap(line.box, other.box) > 0.6 * min(line.height, other.height)
        near = level and other.box.x0 - right < 3.5 * line.size and (page.number, index) not in starts
        if near and (other.style == line.style or len(line.text) < 25):
            found.append(index)
            right = other.box.x1
    return found


def downward(document: Document, page: Page, taken: Sequence[int], starts: set[tuple[int, int]]) -> list[int]:
    """The lines that follow below, to the caption's end: a wider gap, another style, a new caption, a new paragraph."""
    roles = document.roles[page.number - 1]
    found: list[int] = []
    lines = [page.lines[index] for index in taken]
    box = union(line.box for line in lines)
    last = max(lines, key=lambda line: line.box.y1)
    pitch: float | None = None
    styles = {line.style for line in lines}
    pool = sorted(
        (i for i, line in enumerate(page.lines) if line.upright and roles[i] != FURNITURE and line.box.y0 > box.y0),
        key=lambda i: (page.lines[i].box.y0, page.lines[i].box.x0),
    )
    for index in pool:
        line = page.lines[index]
        if index in taken or index in found or x_overlap(line.box, box) <= 0:
            continue
        level = y_overlap(line.box, last.box) > 0.6 * min(line.height, last.height)
        if level:
            if (
                line.style == last.style
                and line.box.x0 - last.box.x1 < 4 * line.size
                and (page.number, index) not in starts
            ):
                found.append(index)
                lines.append(line)
                box = union((box, line.box))
                last = line
            continue
        gap = line.box.y0 - last.box.y1
        if gap < -0.5 * line.height:
            continue
        limit = (
            max(0.55, 1.6 * document.gap + 0.15) * max(line.height, last.height)
            if pitch is None
            else pitch + 0.35 * line.height
        )
        if gap > limit or (page.number, index) in starts:
            break
        if abs(line.size - last.size) > 0.12 * last.size and line.style not in styles:
            break
        if line.style == document.body and document.body not in styles and len(line.text) > 3:
            break
        if not aligned(line, lines, box):
            break
        if ends_paragraph(lines, box, line) and line.style == document.body:
            break
        if pitch is None or gap > pitch:
            pitch = max(gap, 0.0)
        found.append(index)
        lines.append(line)
        styles.add(line.style)
        box = union((box, line.box))
        last = line
    return found


def aligned(line: Line, lines: Sequence[Line], box: Box) -> bool:
    """Whether a line starts, or is centred, where the caption's lines do."""
    size = line.size
    left = min(abs(line.box.x0 - other.box.x0) for other in lines)
    middle = abs((line.box.x0 + line.box.x1) - (box.x0 + box.x1)) / 2
    wide = len(lines) >= 3 and line.box.x1 > box.x1 + 3 * size
    return not wide and (left < 2.5 * size or middle < size or (len(lines) == 1 and line.box.x0 < box.x0 + 8 * size))


def ends_paragraph(lines: Sequence[Line], box: Box, following: Line) -> bool:
    """Whether the last line is short and ends a sentence, and what follows starts anew."""
    last = lines[-1]
    right = max(box.x1, following.box.x1)
    short = last.box.x1 < right - 0.15 * (right - box.x0)
    indented = following.box.x0 > box.x0 + 0.8 * following.size
    return bool(ENDED.search(last.text)) and (short or indented) and following.text[:1].isupper()


def second_column(
    document: Document, page: Page, taken: Sequence[int], main: tuple[str, int], starts: set[tuple[int, int]]
) -> list[int]:
    """First line of the caption's second column: level with its top, in its style, with nothing of its kind above."""
    first = page.lines[taken[0]]
    box = union(page.lines[index].box for index in taken)
    if len(taken) < 2:
        return []
    for index, line in enumerate(page.lines):
        level = abs(line.box.y1 - first.box.y1) < 0.35 * first.height
        if not level or line.box.x0 < box.x1 + 3 or line.box.x0 > box.x1 + 60 or index in taken:
            continue
        if line.style == main and (page.number, index) not in starts and parse_label(line.text) is None:
            before = above(document, page, line)
            if before is None or before.style != line.style:
                return [index]
    return []


def over_page(document: Document, page: Page, taken: Sequence[int], starts: set[tuple[int, int]]) -> list[int]:
    """The next page's lines that carry on a caption which the page's end cuts off in the middle of a sentence."""
    last = max((page.lines[index] for index in taken), key=lambda line: line.box.y1)
    if page.number >= len(document.pages) or ENDED.search(last.text) or last.box.y1 < 0.6 * page.height:
        return []
    roles = document.roles[page.number - 1]
    below = any(
        role != FURNITURE and line.upright and line.box.y0 > last.box.y0 + 1 and x_overlap(line.box, last.box) > 0
        for line, role in zip(page.lines, roles, strict=True)
    )
    if below:
        return []
    following = document.pages[page.number]
    roles = document.roles[page.number]
    pool = [i for i, line in enumerate(following.lines) if line.upright and roles[i] != FURNITURE]
    if not pool:
        return []
    top = min(pool, key=lambda i: (following.lines[i].box.y0, following.lines[i].box.x0))
    line = following.lines[top]
    goes_on = line.text[:1].islower() or (last.style != document.body and not line.text[:1].isupper())
    if line.style != last.style or not goes_on or (following.number, top) in starts or parse_label(line.text):
        return []
    return [top, *downward(document, following, [top], starts)]


def list_of_captions(document: Document) -> tuple[int, float] | None:
    """(page, top) of the heading of a manuscript's list of captions."""
    for page in document.pages:
        for line in page.lines:
            if len(line.text) < 50 and line.upright and LEGENDS.match(line.text):
                return page.number, line.box.y0
    return None


def listed(document: Document, page: Page, taken: Sequence[int], starts: set[tuple[int, int]]) -> list[int]:
    """In a list of captions: the further paragraphs, up to the next caption, a heading, a picture or a wide gap."""
    if any(
        graphic.image >= 0 and area(graphic.box) > 2000 and (page.number, index) not in document.repeated
        for index, graphic in enumerate(page.graphics)
    ):
        return []
    roles = document.roles[page.number - 1]
    last = max((page.lines[index] for index in taken), key=lambda line: line.box.y1)
    pool = sorted(
        (
            i
            for i, line in enumerate(page.lines)
            if line.upright and roles[i] != FURNITURE and i not in taken and line.box.y0 > last.box.y0 + 1
        ),
        key=lambda i: (page.lines[i].box.y0, page.lines[i].box.x0),
    )
    found: list[int] = []
    for index in pool:
        line = page.lines[index]
        lone = ENDED.search(last.text) and not ENDED.search(line.text) and len(line.text.split()) <= 3
        heading = lone or (line.bold and not last.bold and len(line.text) < 60)
        other = abs(line.size - last.size) > 0.12 * last.size or line.font != last.font
        if (page.number, index) in starts or line.box.y0 - last.box.y1 > 3 * line.height or heading or other:
            break
        found.append(index)
        last = line
    return found
