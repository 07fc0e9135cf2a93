"""Captions: found by the grammar of their labels and by how they stand on the page, read to their end, and no further.

Reads a `Document` (pages of lines with roles). Gives `Caption`s of figures and tables: label, number, text, the lines
they take on one or more pages. Guarantees: pure; a caption's lines are disjoint from another's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harvest.layout import Line, Page, union, x_overlap, y_overlap
from harvest.prose import FURNITURE, Document
from harvest.records import Box

PREFIX = (
    r"(?:(?P<supp>(?:online\s+)?(?:data\s+)?supplement(?:ary|al)?|suppl?\.?|supporting(?:\s+information)?|additional|appendix|online)"
    r"|(?P<extended>extended\s+data))"
)
NUMBER = (
    r"(?:(?P<series>SI?|ED?|[A-D])[-–. ]?)?(?P<digits>\d{1,3}(?:[.\-–]\d{1,3}){0,2})|(?P<roman>[IVX]{1,5})(?![A-Za-z])"
)
LABEL = re.compile(
    rf"^\W{{0,2}}(?:{PREFIX}[\s-]+)?(?P<word>fig(?:ure)?s?|scheme|chart|plate|table|tab|box|algorithm|appendix)"
    rf"(?:\s*[.\-–:]\s*|\s+|(?=\d))(?:{NUMBER})(?P<panel>[A-Za-z](?![A-Za-z]))?",
    re.I,
)
SEPARATOR = re.compile(r"\s*(?P<mark>[.:|–—―-]+|\)\s*[.:]?)?\s*")
CONTINUED = re.compile(r"^\W*(?:cont(?:inued|inuation|\.|'d|’d)|cont)\b\W*", re.I)
LEADERS = re.compile(r"(?:\.\s?){5,}\s*\d*\s*$|(?:…\s?){2,}\d*\s*$")
RUNNING = re.compile(
    r"^(?:and|or|in|of|to|is|are|was|were|has|have|had|with|for|from|on|at|by|as|the|that|this|we|it|can|could|may|also|"
    r"do|does|did|which|where|when|then|but|below|above|panels?|legend|left|right|top|bottom|[a-z]{3,}s|[a-z]{3,}ed)\b"
)
ENDED = re.compile(r"[.!?:;][\"'”’)\]]?\d{0,3}$|\)$")
DIVIDED = re.compile(r"[a-z]{2}-$")
KINDS = {
    "fig": "figure",
    "tab": "table",
    "alg": "algorithm",
    "app": "appendix",
    "box": "box",
    "sch": "scheme",
    "cha": "chart",
    "pla": "plate",
}
TABLES = frozenset({"table", "box", "algorithm", "appendix"})


@dataclass(frozen=True)
class Label:
    """What a caption starts with: ``Supplementary Fig. 3`` is kind ``figure``, number ``S3``."""

    text: str
    kind: str
    number: str
    mark: str
    """what stands between the label and the text"""
    end: int
    """where the caption's own words begin in the line"""
    continued: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.number


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


def parse_label(text: str) -> Label | None:
    """The label a line starts with, or None."""
    match = LABEL.match(text)
    if not match or not text[match.start("word")].isupper() or match["word"].lower().endswith("s"):
        return None
    number = (match["digits"] or match["roman"]).replace("–", "-")
    if match["roman"] and not match["roman"].isupper():
        return None
    if match["series"]:
        number = match["series"].upper() + number
    elif match["extended"] or match["supp"]:
        number = ("ED" if match["extended"] else "S") + number
    gap = SEPARATOR.match(text, match.end())
    end = gap.end() if gap else match.end()
    mark = (gap["mark"] or "").strip() if gap else ""
    first = min(match.start(group) for group in ("supp", "extended", "word") if match[group])
    continued = CONTINUED.match(text[end:].lstrip("( "))
    kind = KINDS[match["word"][:3].lower()]
    return Label(text[first : match.end()].strip(), kind, number + (match["panel"] or ""), mark, end, bool(continued))


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
    return without_shared([grown(document, caption, starts) for caption in chosen])


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


def grown(document: Document, caption: Caption, starts: set[tuple[int, int]]) -> Caption:
    """The caption with all its lines: down its column, then beside it, then on the next column or page."""
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
    lines = [page.lines[index] for index in taken]
    texts = [first.text[caption.label.end :], *(line.text for line in lines[1:])]
    return replace(
        caption,
        box=union(line.box for line in lines),
        text=joined_text(texts),
        spans=tuple((page.number, index) for index in taken),
        style=main,
    )


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


def joined_text(texts: Sequence[str]) -> str:
    """Lines as one text; a word divided at a line's end is put together again."""
    return joined_lines(texts)[0]


def joined_lines(texts: Sequence[str]) -> tuple[str, list[int]]:
    """Lines as one text, and where in it each line begins."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for raw in texts:
        text = " ".join(raw.split())
        if text and parts:
            last = parts[-1]
            if DIVIDED.search(last) and text[:2].isalpha() and text[:2].islower():
                parts[-1] = last[:-1]
                length -= 1
            elif not last.endswith(("-", "–", "/")):
                parts.append(" ")
                length += 1
        starts.append(length)
        if text:
            parts.append(text)
            length += len(text)
    return "".join(parts), starts


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
