"""What lies where on a page: lines of text, pictures and drawings, in the frame in which the page is read.

Reads an open PDF page (PyMuPDF). Gives a `Page`: lines put together from the fragments MuPDF reports, each with its
place in the page's text; pictures and drawings as boxes. Guarantees: all boxes lie in the page, in points with the
origin at the top left of the page *as read* (a page whose text runs sideways is turned upright; `Page.shown` leads back
to the page as displayed).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pymupdf

from harvest.graphics import Graphic, drawings, placed_images
from harvest.records import Box

LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "ft", 0xFB06: "st"}
CLEAN: dict[int, str | None] = {
    **LIGATURES,
    **dict.fromkeys([*range(9), *range(11, 32), 0x7F, 0x00AD, 0x200B, 0xFEFF]),
    **dict.fromkeys([0x00A0, *range(0x2000, 0x200B)], " "),
    # Half characters, which a damaged font gives letter by letter, can neither be written nor encoded.
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
SUBSET = re.compile(r"^[A-Z]{6}\+")
WEIGHT = re.compile(
    r"(?:[-,. ]+(?:semi|demi|extra|ultra|bold|black|heavy|medi|medium|bd|blk|italic|ital|oblique|obl|it|roman|regular|"
    r"light|book)+\b.*|(?:semibold|bold|italic|oblique)+)$",
    re.I,
)
MAKER = re.compile(r"(?:PS|PSMT|MT)$")
"""what Monotype's fonts add behind the weight: ``TimesNewRomanPS-BoldMT``, ``ArialMT``"""
BOLD = re.compile(r"bold|black|heavy|semibold|demi|medi\b|[-.](b|bd)$|\.B$", re.I)


MAX_SIDE = 1e6
"""largest side of a page in points (350 m; PDF itself stops at 14,400 times a unit of the file's choice)"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text. ``offset`` counts characters into the page's text; ``lead`` is the font of its first word."""

    text: str
    box: Box
    size: float
    font: str
    lead: str
    lead_bold: bool
    bold: bool
    offset: int
    order: int
    upright: bool = True
    style: tuple[str, int] = field(init=False)
    """font and size in half points: what tells captions, body and headings apart"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "style", (self.font, round(self.size * 2)))

    @property
    def height(self) -> float:
        return self.box.y1 - self.box.y0


@dataclass(frozen=True)
class Page:
    """A page as read: size, text, lines in MuPDF's order, graphics, and the placed images' descriptions."""

    number: int
    width: float
    height: float
    text: str
    lines: tuple[Line, ...]
    graphics: tuple[Graphic, ...]
    images: tuple[dict[str, Any], ...] = ()
    shown: pymupdf.Matrix = field(default_factory=lambda: pymupdf.Matrix(1, 1))
    """from the frame in which the page is read to the page as displayed"""

    def displayed(self, box: Box) -> Box:
        """A box of this layout in points of the page as displayed."""
        return Box(*(pymupdf.Rect(box) * self.shown).normalize())


def clean(text: str) -> str:
    """Text as a reader would type it: ligatures opened, soft hyphens and control characters dropped, plain spaces.

    Half characters (lone surrogates) become U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(CLEAN)


@lru_cache(maxsize=4096)
def family(font: str) -> tuple[str, bool]:
    """Font name without subset tag, weight and slant, and whether it is bold."""
    name = SUBSET.sub("", font)
    stem = MAKER.sub("", WEIGHT.sub("", MAKER.sub("", name)))
    return stem or name, bool(BOLD.search(name))


def union(boxes: Iterable[Box]) -> Box:
    """Smallest box around all; ValueError on none."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return Box(min(x0), min(y0), max(x1), max(y1))


def area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0) if x1 > x0 and y1 > y0 else 0.0


def overlap(a: Box, b: Box) -> float:
    """Area that two boxes share, in square points."""
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    if ax1 <= bx0 or bx1 <= ax0 or ay1 <= by0 or by1 <= ay0:
        return 0.0
    return (min(ax1, bx1) - max(ax0, bx0)) * (min(ay1, by1) - max(ay0, by0))


def x_overlap(a: Box, b: Box) -> float:
    x0, _, x1, _ = a
    from_, _, to, _ = b
    return (x1 if x1 < to else to) - (x0 if x0 > from_ else from_)


def y_overlap(a: Box, b: Box) -> float:
    _, y0, _, y1 = a
    _, from_, _, to = b
    return (y1 if y1 < to else to) - (y0 if y0 > from_ else from_)


def read_page(page: pymupdf.Page, number: int) -> Page:
    """Text, pictures and drawings of one page (pages count from 1)."""
    textpage = page.get_textpage(flags=pymupdf.TEXTFLAGS_TEXT)
    raw = [line for block in textpage.extractDICT()["blocks"] for line in block["lines"]]
    turn = reading_turn(raw, page)
    rect = pymupdf.Rect(0, 0, page.cropbox.width, page.cropbox.height) * turn
    if not (0 < rect.width < MAX_SIDE and 0 < rect.height < MAX_SIDE):
        raise ValueError(f"a page of {rect.width:g} x {rect.height:g} points, expected sides up to {MAX_SIDE:g}")
    fragments, text = fragments_of(raw, turn, rect)
    if any(unspaced(fragment.text) for fragment in fragments):
        fragments = respaced(fragments, textpage)
    images = tuple(page.get_image_info()) if page.get_images() or b" ID" in page.read_contents() else ()
    graphics = (*placed_images(images, turn, rect), *drawings(page, turn, rect))
    return Page(
        number,
        rect.width,
        rect.height,
        text,
        tuple(joined(fragments, rect.width)),
        graphics,
        images,
        ~turn * page.rotation_matrix,
    )


def reading_turn(raw: Sequence[dict[str, Any]], page: pymupdf.Page) -> pymupdf.Matrix:
    """The quarter turn that sets most of the page's characters upright (the page's own where it has no text)."""
    if raw and all(line["dir"] == (1.0, 0.0) for line in raw):
        return pymupdf.Matrix(1, 1)
    width, height = page.cropbox.width, page.cropbox.height
    turns = {
        (1, 0): pymupdf.Matrix(1, 1),
        (0, -1): pymupdf.Matrix(0, 1, -1, 0, height, 0),
        (0, 1): pymupdf.Matrix(0, -1, 1, 0, 0, width),
        (-1, 0): pymupdf.Matrix(-1, 0, 0, -1, width, height),
    }
    votes: Counter[tuple[int, int]] = Counter()
    for line in raw:
        votes[round(line["dir"][0]), round(line["dir"][1])] += sum(len(span["text"]) for span in line["spans"])
    if not votes:
        return page.rotation_matrix
    way, count = votes.most_common(1)[0]
    return turns[way] if way in turns and count > 0.6 * votes.total() else turns[1, 0]


def fragments_of(raw: Sequence[dict[str, Any]], turn: pymupdf.Matrix, rect: pymupdf.Rect) -> tuple[list[Line], str]:
    """MuPDF's lines on the page as `Line`, and the text that their offsets count in, as ``page.get_text()`` has it."""
    fragments: list[Line] = []
    parts: list[str] = []
    offset = 0
    level = turn.b == 0 and turn.a == 1
    for order, line in enumerate(raw):
        spans = line["spans"]
        text = spans[0]["text"] if len(spans) == 1 else "".join([span["text"] for span in spans])
        if text and not text.endswith("\n"):
            text += "\n"
        start, offset = offset, offset + len(text)
        parts.append(text)
        visible = [span for span in spans if span["text"].strip()]
        if not visible:
            continue
        box = Box(*line["bbox"]) if level else Box(*(pymupdf.Rect(line["bbox"]) * turn))
        # written so that a damaged file's NaN counts as unseen, too
        if not (box.x1 > 0 and box.y1 > 0 and box.x0 < rect.width and box.y0 < rect.height):
            continue
        dx, dy = line["dir"]
        across = dx * turn.a + dy * turn.c
        main = visible[0] if len(visible) == 1 else max(visible, key=lambda span: len(span["text"]))
        font, bold = family(main["font"])
        lead = visible[0]
        lead_font, lead_bold = family(lead["font"])
        fragments.append(
            Line(
                clean(text.strip()).strip(),
                box,
                main["size"],
                font,
                lead_font,
                lead_bold or bool(lead["flags"] & 16),
                bold or bool(main["flags"] & 16),
                start + len(text) - len(text.lstrip()),
                order,
                across > 0.98,
            )
        )
    return fragments, "".join(parts)


def unspaced(text: str) -> bool:
    """True for a line whose words run together because the file sets its spaces by moving, too narrowly for MuPDF."""
    if len(text) <= 40 or text.count(" ") * 22 >= len(text):
        return False
    return "/" not in text and sum(map(str.isalpha, text)) > 0.88 * len(text)


def respaced(fragments: Sequence[Line], textpage: pymupdf.TextPage) -> list[Line]:
    """The lines with spaces put where the gap between two characters is wide for a gap within a word."""
    raw = [line for block in textpage.extractRAWDICT()["blocks"] for line in block["lines"]]
    result = []
    for fragment in fragments:
        if not fragment.upright or not unspaced(fragment.text):
            result.append(fragment)
            continue
        out: list[str] = []
        right: float | None = None
        for char in (char for span in raw[fragment.order]["spans"] for char in span["chars"]):
            x0, _, x1, _ = char["bbox"]
            if right is not None and x0 - right > 0.1 * fragment.size and out[-1] != " ":
                out.append(" ")
            out.append(char["c"])
            right = x1
        result.append(replace(fragment, text=clean("".join(out)).strip()))
    return result


def line_numbers(lines: Sequence[Line], width: float) -> set[int]:
    """Indices of the line numbers that manuscripts carry in the margin: whole numbers that count up down the page."""
    columns: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    for index, line in enumerate(lines):
        outside = line.box.x1 < 0.16 * width or line.box.x0 > 0.88 * width
        if outside and line.upright and line.text.isdecimal() and len(line.text) <= 4:
            columns[round(line.box.x1 / 6)].append((line.box.y0, int(line.text), index))
    found: set[int] = set()
    for rows in columns.values():
        rows.sort()
        steps = [b[1] - a[1] for a, b in pairwise(rows)]
        if len(rows) >= 5 and min(steps) > 0 and sum(step in (1, 5) for step in steps) >= 0.6 * len(steps):
            found.update(index for _, _, index in rows)
    return found


def joined(fragments: Sequence[Line], width: float) -> list[Line]:
    """Lines put together from fragments that stand on one baseline with no more than a wide space between them.

    A fragment that starts where the page's text columns start is a line of its own, however near its neighbour.
    """
    starts = Counter(round(fragment.box.x0) for fragment in fragments if len(fragment.text) >= 25)
    edges = {x for x, count in starts.items() if count + starts[x - 1] + starts[x + 1] >= 4}
    alone = line_numbers(fragments, width)
    rows: list[Line] = []
    recent: list[int] = []
    for number, fragment in enumerate(fragments):
        home = None
        if number in alone:
            rows.append(fragment)
            continue
        if fragment.upright:
            for index in reversed(recent):
                if continues(rows[index], fragment, edges):
                    home = index
                    break
        if home is None:
            rows.append(fragment)
            recent = [*recent[-5:], len(rows) - 1]
        else:
            rows[home] = together(rows[home], fragment)
    return rows


def continues(line: Line, fragment: Line, edges: set[int]) -> bool:
    """Whether a fragment carries a line on to the right."""
    if not line.upright:
        return False
    size = max(line.size, fragment.size)
    gap = fragment.box.x0 - line.box.x1
    if not -0.6 * size < gap < 2.2 * size:
        return False
    if y_overlap(line.box, fragment.box) < 0.5 * min(line.height, fragment.height):
        return False
    if gap > 0.7 * size and not edges.isdisjoint(range(round(fragment.box.x0) - 1, round(fragment.box.x0) + 2)):
        return abs(line.box.x0 - fragment.box.x0) < 1
    return gap < 1.2 * size or (line.style == fragment.style and abs(line.box.y1 - fragment.box.y1) < 0.2 * size)


def together(line: Line, fragment: Line) -> Line:
    """Two pieces of one line as one; the longer one's style stands for both."""
    gap = fragment.box.x0 - line.box.x1
    space = " " if gap > 0.12 * line.size and not line.text.endswith(" ") else ""
    text = f"{line.text}{space}{fragment.text}"
    box = union((line.box, fragment.box))
    if len(fragment.text) > len(line.text):
        return replace(line, text=text, box=box, size=fragment.size, font=fragment.font, bold=fragment.bold)
    return replace(line, text=text, box=box)
