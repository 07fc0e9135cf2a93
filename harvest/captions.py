"""Captions: found by the grammar of their labels and by how they stand on the page, read to their end, and no further.

Reads a `Document` (pages of lines with roles). Gives `Caption`s of figures and tables: label, number, text, the lines
they take on one or more pages. Guarantees: pure; a caption's lines are disjoint from another's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harvest.extent import above, beside, downward, list_of_captions, listed, over_page, second_column
from harvest.forms import CLEAR, read_label
from harvest.labels import ENDED, TABLES, Label, joined_text
from harvest.layout import Line, Page, union, x_overlap, y_overlap
from harvest.prose import FURNITURE, Document
from harvest.records import Box

LEADERS = re.compile(r"(?:\.\s?){5,}\s*\d*\s*$|(?:…\s?){2,}\d*\s*$")
RUNNING = re.compile(
    r"^(?:and|or|in|of|to|is|are|was|were|has|have|had|with|for|from|on|at|by|as|the|that|this|we|it|can|could|may|also|"
    r"do|does|did|which|where|when|then|but|below|above|panels?|legend|left|right|top|bottom|[a-z]{3,}s|[a-z]{3,}ed)\b"
)


@dataclass(frozen=True)
class Caption:
    """A caption with its place; ``spans`` lists (page, line index) of all its lines in reading order."""

    label: Label
    page: int
    box: Box
    """of its lines on ``page``"""
    text: str
    spans: tuple[tuple[int, int], ...]
    score: float
    style: tuple[str, int]

    @property
    def is_table(self) -> bool:
        return self.label.kind in TABLES


def find_captions(document: Document) -> list[Caption]:
    """The captions of figures and tables, in reading order; one per label and page."""
    candidates = [
        caption
        for page in document.pages
        for index, line in enumerate(page.lines)
        if document.roles[page.number - 1][index] != FURNITURE and (caption := candidate(document, page, index, line))
    ]
    chosen = consistent(candidates)
    starts = {caption.spans[0] for caption in chosen}
    heading = list_of_captions(document)
    return without_shared([grown(document, caption, starts, heading) for caption in chosen])


def candidate(document: Document, page: Page, index: int, line: Line) -> Caption | None:
    """The line as the start of a caption with a score, or None where it only mentions a figure.

    A form that running text has as well (``figure 1.``, ``Figure 3, …``) is a caption only beside a picture.
    """
    reading = read_label(line.text) if line.upright else None
    if reading is None or LEADERS.search(line.text):
        return None
    label = reading.label
    rest = line.text[label.end :]
    before = above(document, page, line)
    set_off = line.lead_bold or line.lead != line.font
    score = 2.0 if set_off else 1.0 if line.lead != document.body[0] else 0.0
    clear = bool(label.mark) and set(label.mark) <= CLEAR
    if reading.rare or (label.mark and not clear):
        alone = stands_alone(document, page, line, before, rest)
        if reading.rare and not alone:
            return None
        score += 1.5 if alone else -3
    elif clear:
        score += 1.5 if not rest or not rest[0].islower() else 0.5
    elif rest[:1] in set(",;)]}"):
        score -= 3
    elif not rest:
        score += 1
    elif rest[0].isupper() or rest[0] in "(":
        score += 0.5 if rest[0].isupper() else 0
    elif RUNNING.match(rest):
        score -= 2.5
    if line.size < document.body[1] / 2 - 0.4:
        score += 1
    if before is None:
        score += 1.5
    elif before.style != line.style and before.style != document.body:
        score += 0.5
    elif before.style == line.style and not ENDED.search(before.text) and len(before.text) > 20:
        score -= 4 if before.bold == line.lead_bold else 0
    if score < 1.5:
        return None
    return Caption(label, page.number, line.box, rest, ((page.number, index),), score, line.style)


def stands_alone(document: Document, page: Page, line: Line, before: Line | None, rest: str) -> bool:
    """Whether a line that starts like a caption, or like a sentence about a figure, can only be a caption.

    A picture is right above, below or beside it, no running text goes on above it, and what follows starts anew.
    """
    if RUNNING.match(rest) or not rest[:1].isupper():
        return False
    if before is not None and not ENDED.search(before.text) and len(before.text) > 20:
        return False
    return beside_picture(document, page, line)


def beside_picture(document: Document, page: Page, line: Line) -> bool:
    """Whether a picture or drawing of this page alone stands within a few lines of the line, with no text between."""
    for index, graphic in enumerate(page.graphics):
        box, own = graphic.box, line.box
        wide, high = box.x1 - box.x0, box.y1 - box.y0
        plain = graphic.rule or (page.number, index) in document.repeated or (graphic.frame and graphic.image < 0)
        if plain or wide < 40 or wide * high < 2500 or (high < 40 and graphic.image < 0):
            continue
        level = y_overlap(own, box) > 0
        if level and 0 <= -x_overlap(own, box) < 40:
            return True
        gap = -y_overlap(own, box)
        if level or x_overlap(own, box) <= 0 or gap > 6 * line.height:
            continue
        top, bottom = (box.y1, own.y0) if box.y1 <= own.y1 else (own.y1, box.y0)
        between = [
            other
            for other in page.lines
            if other.upright
            and x_overlap(other.box, own) > 0
            and top - 2 < (other.box.y0 + other.box.y1) / 2 < bottom + 2
        ]
        if not any(other is not line and len(other.text) > 20 for other in between):
            return True
    return False


def label_lines(document: Document, captions: Sequence[Caption]) -> list[tuple[Label, int]]:
    """Lines that start like the caption of a figure that no caption was found for: (label, page), one per number.

    Nothing is made of them; they are told, so that a caption in a form not known here is not lost unseen.
    """
    known = {caption.label.key for caption in captions} | {caption.label.whole for caption in captions}
    spans = {span for caption in captions for span in caption.spans}
    found: dict[tuple[str, str], tuple[Label, int]] = {}
    for page in document.pages:
        for index, line in enumerate(page.lines):
            role = document.roles[page.number - 1][index]
            if role == FURNITURE or (page.number, index) in spans or not line.upright or LEADERS.search(line.text):
                continue
            reading = read_label(line.text)
            if reading is None or reading.label.kind in TABLES or {reading.label.key, reading.label.whole} & known:
                continue
            rest = line.text[reading.label.end :]
            before = above(document, page, line)
            if not RUNNING.match(rest) and rest[:1].isupper() and (before is None or ENDED.search(before.text)):
                found.setdefault(reading.label.key, (reading.label, page.number))
    return list(found.values())


def consistent(candidates: Sequence[Caption]) -> list[Caption]:
    """Without what only looks like a caption: a document writes its captions in one manner, once per number.

    The manner (label's form, mark, size of type) is voted by the candidates, one vote per number; where a number has
    several candidates on one page, or one elsewhere that departs from the manner, the better one stays.
    """

    def manner(caption: Caption) -> tuple[str, str, int]:
        word = re.sub(r"[^A-Za-z.]", "", caption.label.text.split()[0])
        return word, caption.label.mark[:1], caption.style[1]

    votes: Counter[tuple[str, str, int]] = Counter()
    for kind in {caption.label.kind for caption in candidates}:
        seen = {(manner(caption), caption.label.key) for caption in candidates if caption.label.kind == kind}
        votes.update(form for form, _ in seen)
    best: dict[tuple[str, str, int], Caption] = {}
    rank = {id(caption): caption.score + min(3.0, 0.75 * (votes[manner(caption)] - 1)) for caption in candidates}
    for caption in candidates:
        place = (*caption.label.key, caption.page)
        if place not in best or rank[id(caption)] > rank[id(best[place])]:
            best[place] = caption
    top: dict[tuple[str, str], float] = {}
    for caption in best.values():
        top[caption.label.key] = max(top.get(caption.label.key, 0.0), rank[id(caption)])
    return [
        caption
        for caption in best.values()
        if caption.label.continued or rank[id(caption)] >= top[caption.label.key] - 2 or is_bare(caption)
    ]


def is_bare(caption: Caption) -> bool:
    """A label that stands alone, as beside the picture in manuscripts whose captions come in a list."""
    return not caption.text and caption.score >= 2.5


def grown(
    document: Document, caption: Caption, starts: set[tuple[int, int]], heading: tuple[int, float] | None = None
) -> Caption:
    """The caption with all its lines: down its column, then beside it, then on the next column or page.

    ``heading``: where the manuscript's list of captions begins, whose captions may have several paragraphs.
    """
    page = document.pages[caption.page - 1]
    first = page.lines[caption.spans[0][1]]
    taken = [caption.spans[0][1]]
    taken += beside(document, page, taken, starts)
    taken += downward(document, page, taken, starts)
    style = Counter({page.lines[i].style: 0 for i in taken})
    for index in taken:
        style[page.lines[index].style] += len(page.lines[index].text)
    main = style.most_common(1)[0][0]
    if main != document.body:
        second = second_column(document, page, taken, main, starts)
        if second:
            taken += second
            taken += downward(document, page, second, starts)
    if heading is not None and heading < (page.number, first.box.y0) and not caption.is_table:
        taken += listed(document, page, taken, starts)
    over = over_page(document, page, taken, starts)
    lines = [page.lines[index] for index in taken]
    texts = [first.text[caption.label.end :], *(line.text for line in lines[1:])]
    texts += [document.pages[page.number].lines[index].text for index in over]
    return replace(
        caption,
        box=union(line.box for line in lines),
        text=joined_text(texts),
        spans=tuple((page.number, index) for index in taken) + tuple((page.number + 1, index) for index in over),
        style=main,
    )


def without_shared(captions: Sequence[Caption]) -> list[Caption]:
    """No line in two captions: the later start keeps it."""
    owner: dict[tuple[int, int], int] = {}
    for number, caption in enumerate(captions):
        owner.setdefault(caption.spans[0], number)
    result = []
    for number, caption in enumerate(captions):
        spans = tuple(span for span in caption.spans if owner.setdefault(span, number) == number)
        result.append(replace(caption, spans=spans))
    return result
