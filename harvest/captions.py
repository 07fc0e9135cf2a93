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
from harvest.labels import ENDED, TABLES, Label, joined_text, parse_label
from harvest.layout import Line, Page, union
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
    """The line as the start of a caption with a score, or None where it only mentions a figure."""
    label = parse_label(line.text) if line.upright else None
    if label is None or LEADERS.search(line.text):
        return None
    rest = line.text[label.end :]
    set_off = line.lead_bold or line.lead != line.font
    score = 2.0 if set_off else 1.0 if line.lead != document.body[0] else 0.0
    if label.mark in {".", ":", "|", "–", "—", "-", ".—", ".–"}:
        score += 1.5 if not rest or not rest[0].islower() else 0.5
    elif label.mark or rest[:1] in set(",;)]}"):
        score -= 3
    elif not rest:
        score += 1
    elif rest[0].isupper() or rest[0] in "(":
        score += 0.5 if rest[0].isupper() else 0
    elif RUNNING.match(rest):
        score -= 2.5
    if line.size < document.body[1] / 2 - 0.4:
        score += 1
    before = above(document, page, line)
    if before is None:
        score += 1.5
    elif before.style != line.style and before.style != document.body:
        score += 0.5
    elif before.style == line.style and not ENDED.search(before.text) and len(before.text) > 20:
        score -= 4 if before.bold == line.lead_bold else 0
    if score < 1.5:
        return None
    return Caption(label, page.number, line.box, rest, ((page.number, index),), score, line.style)


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
