"""Sentences of the body that refer to a figure, with the paragraph they stand in.

Reads a `Document` and its captions. Gives, for each figure's number, the sentences that mention it with page and offset
into the page's text (as ``page.get_text()`` of PyMuPDF gives it). Guarantees: pure; captions, headers, footers and the
texts inside figures are not body; "Figs 1-3", "Fig. 2a, b and 4C", "Figures S1 and S2" name each figure they cover.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harvest.captions import Caption
from harvest.labels import ENDED, joined_lines
from harvest.layout import Line, Page, area, clean, overlap, x_overlap
from harvest.naming import REFERENCE, references, sentences
from harvest.prose import FURNITURE, PROSE, Document
from harvest.records import Box, Mention

NAMED = re.compile(r"fig|scheme|chart|plate|image|picture", re.I)


@dataclass(frozen=True)
class Paragraph:
    """Lines of the body that belong together, with where each begins in the joined text."""

    text: str
    starts: tuple[tuple[int, Page, Line], ...]


def find_mentions(
    document: Document, captions: Sequence[Caption], figures: Mapping[int, Sequence[Box]]
) -> dict[tuple[str, str], list[Mention]]:
    """Mentions by (kind, number); ``figures`` holds the boxes of the figures on each page (their text is not body)."""
    captioned = {span for caption in captions for span in caption.spans}
    found: dict[tuple[str, str], list[Mention]] = {}
    for paragraph in paragraphs(document, captioned, figures):
        if not REFERENCE.search(paragraph.text):
            continue
        for start, sentence in sentences(paragraph.text):
            seen: set[tuple[str, str]] = set()
            for at, key in references(sentence):
                if key not in seen:
                    seen.add(key)
                    page, offset = place(paragraph, start, start + at)
                    mention = Mention(page=page, offset=offset, text=sentence, paragraph=paragraph.text)
                    found.setdefault(key, []).append(mention)
    return {key: sorted(mentions, key=lambda m: (m.page, m.offset)) for key, mentions in found.items()}


def paragraphs(
    document: Document, captioned: Collection[tuple[int, int]], figures: Mapping[int, Sequence[Box]]
) -> list[Paragraph]:
    """The body's paragraphs that may name a figure, run on over columns and pages where a sentence does."""
    body: list[tuple[Page, Line]] = []
    rest: list[tuple[Page, Line]] = []
    for page in document.pages:
        roles = document.roles[page.number - 1]
        boxes = figures.get(page.number, ())
        for index, line in enumerate(page.lines):
            if roles[index] == FURNITURE or (page.number, index) in captioned or not line.upright:
                continue
            if any(overlap(line.box, box) > 0.6 * area(line.box) for box in boxes):
                continue
            # tables and figures stand in the middle of sentences: what is not set like running text goes apart
            running = roles[index] == PROSE or line.style == document.body
            (body if running else rest).append((page, line))
    found: list[Paragraph | None] = []
    for stream in (body, rest):
        lines: list[tuple[Page, Line]] = []
        for item in stream:
            if lines and breaks(document, lines[-1], item):
                found.append(paragraph_of(lines))
                lines = []
            lines.append(item)
        found.append(paragraph_of(lines))
    return [paragraph for paragraph in found if paragraph]


def breaks(document: Document, before: tuple[Page, Line], after: tuple[Page, Line]) -> bool:
    """Whether a new paragraph starts between two lines that follow one another."""
    (page, last), (following_page, line) = before, after
    if abs(last.size - line.size) > 0.12 * last.size:
        return True
    ended = bool(ENDED.search(last.text))
    gap = line.box.y0 - last.box.y1
    same_column = page is following_page and x_overlap(last.box, line.box) > 0 and gap > -0.5 * last.height
    if not same_column:
        return ended or last.style != line.style
    if gap > (1.8 * document.gap + 0.4) * last.height:
        return ended or line.text[:1].isupper() or last.style != line.style
    indented = line.box.x0 > last.box.x0 + 0.8 * line.size and line.text[:1].isupper()
    return (ended and indented) or (
        last.style != line.style and last.bold != line.bold and len(last.text) < 60 and not ended
    )


def paragraph_of(lines: Sequence[tuple[Page, Line]]) -> Paragraph | None:
    """The lines as a paragraph; None where none of them can name a figure."""
    if not any(NAMED.search(line.text) for _, line in lines):
        return None
    text, starts = joined_lines([line.text for _, line in lines])
    return Paragraph(text, tuple((start, *line) for start, line in zip(starts, lines, strict=True)))


def place(paragraph: Paragraph, begin: int, reference: int) -> tuple[int, int]:
    """Page that a reference is printed on, and offset into that page's text of where its sentence begins there."""
    before = [item for item in paragraph.starts if item[0] <= reference] or [paragraph.starts[0]]
    page = before[-1][1]
    here = [item for item in paragraph.starts if item[1] is page]
    position = max(begin, here[0][0])
    start, page, line = [item for item in here if item[0] <= position][-1]
    wanted = sum(not char.isspace() for char in paragraph.text[start:position])
    offset = line.offset
    while wanted > 0 and offset < len(page.text):
        wanted -= sum(not char.isspace() for char in clean(page.text[offset]))
        offset += 1
    while offset < len(page.text) and not clean(page.text[offset]).strip():
        offset += 1
    return page.number, offset
