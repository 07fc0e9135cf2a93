"""Lay out a drawn preprint as a PDF: columns, page headers, floats, captions, tables; and tell where everything went.

PDFs are byte-identical for identical input: fixed metadata, no file id, base fonts only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pymupdf

WIDTH, HEIGHT = 612.0, 792.0
REFERS = re.compile(r"\b(?:Figures?|Figs?\.|FIGURE)\s+(S?\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Look:
    """How one document is set."""

    columns: int
    font: str
    size: float
    label: str
    """how captions begin: ``Figure {}.``, ``Fig. {}:``, ``FIGURE {} |``"""
    at_end: bool
    """figures on pages of their own after a list of legends, as manuscripts have it"""
    above: bool
    lines: bool
    """line numbers in the margin"""
    header: str
    logo: bytes


@dataclass(frozen=True)
class Raster:
    """A picture to place: encoded bytes, its place in the figure as shares (x0, y0, x1, y1), a letter over it."""

    data: bytes
    place: tuple[float, float, float, float]
    letter: str = ""


@dataclass
class Float:
    """A figure or table in the flow; ``rasters`` empty and ``bars`` given: a vector chart."""

    number: str
    caption: str
    aspect: float
    """height divided by width"""
    rasters: list[Raster] = field(default_factory=list)
    bars: list[float] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    wide: float = 1.0
    """share of the text width it takes"""
    page: int = 0
    caption_page: int = 0
    box: tuple[float, float, float, float] = (0, 0, 0, 0)
    xrefs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mention:
    number: str
    page: int
    sentence: str


@lru_cache(maxsize=65536)
def _measure(word: str, font: str, size: float) -> float:
    return float(pymupdf.get_text_length(word, fontname=font, fontsize=size))


def wrap(text: str, width: float, font: str, size: float) -> list[str]:
    """Lines of at most ``width`` points."""
    lines, line, used = [], "", 0.0
    gap = _measure(" ", font, size)
    for word in text.split():
        long = _measure(word, font, size)
        if line and used + gap + long > width:
            lines.append(line)
            line, used = word, long
        else:
            line, used = (f"{line} {word}", used + gap + long) if line else (word, long)
    return [*lines, line] if line else lines


class Setter:
    """Sets text and floats into pages; make one per document, call the add methods in order, then `finish`."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.doc = pymupdf.open()
        self.margin = 66.0 if look.lines else 54.0
        self.gap = 18.0
        self.column_width = (WIDTH - 2 * self.margin - self.gap * (look.columns - 1)) / look.columns
        self.mentions: list[Mention] = []
        self.floats: list[Float] = []
        self._waiting: list[Float] = []
        self._marks: list[tuple[str, float, float, str, float]] = []
        self._new_page()

    @property
    def step(self) -> float:
        return self.look.size * (1.65 if self.look.lines else 1.28)

    def _new_page(self) -> None:
        self._flush()
        self.page = self.doc.new_page(width=WIDTH, height=HEIGHT)
        self.column, self.top = 0, 58.0
        small = wrap(self.look.header, WIDTH - 100, "helv", 6.5)
        for n, line in enumerate(small):
            self._put(line, 50, 20 + 8 * n, "helv", 6.5)
        self._put(str(len(self.doc)), WIDTH / 2, HEIGHT - 26, self.look.font, 8)
        if len(self.doc) == 1:
            self.page.insert_image(pymupdf.Rect(WIDTH - 116, 44, WIDTH - 48, 62), stream=self.look.logo)
            self.top = 78.0
        self.y = self.top

    def _flush(self) -> None:
        if not self._marks:
            return
        shape = self.page.new_shape()
        for text, x, y, font, size in self._marks:
            shape.insert_text((x, y), text, fontname=font, fontsize=size)
        shape.commit()
        self._marks = []

    def _put(self, text: str, x: float, y: float, font: str, size: float) -> None:
        self._marks.append((text, x, y, font, size))

    def _left(self) -> float:
        return self.margin + self.column * (self.column_width + self.gap)

    def _next_column(self) -> None:
        if self.column + 1 < self.look.columns:
            self.column += 1
            self.y = self.top
        else:
            self._new_page()
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            self.place(item)

    def _room(self, need: float) -> None:
        if self.y + need > HEIGHT - 48:
            self._next_column()

    def heading(self, text: str, size: float = 0.0, whole: bool = False) -> None:
        """A heading; ``whole``: across all columns (the title)."""
        bold = {"tiro": "tibo", "helv": "hebo"}[self.look.font]
        size = size or self.look.size + 2
        width = WIDTH - 2 * self.margin if whole else self.column_width
        lines = wrap(text, width, bold, size)
        self._room(len(lines) * size * 1.25 + 14)
        self.y += 6
        for line in lines:
            self.y += size * 1.25
            self._put(line, self.margin if whole else self._left(), self.y, bold, size)
        self.y += 4
        if whole:
            self.top = self.y

    def text(self, words: str, whole: bool = False, size: float = 0.0) -> None:
        """A paragraph; the sentences that refer to figures are remembered with the page they begin on."""
        size = size or self.look.size
        width = WIDTH - 2 * self.margin if whole else self.column_width
        places: list[tuple[int, int]] = []
        done = 0
        for line in wrap(words, width, self.look.font, size):
            self._room(self.step)
            self.y += self.step
            places.append((done, len(self.doc)))
            done += len(line) + 1
            self._put(line, self.margin if whole else self._left(), self.y, self.look.font, size)
            if self.look.lines and self.column == 0:
                number = round((self.y - 40) / self.step)
                self._put(str(number), 36, self.y, "helv", 6)
        self.y += self.step * 0.5
        if whole:
            self.top = self.y
        start = 0
        for sentence in re.split(r"(?<=[.!?)])\s+(?=[A-Z])", words):
            at = words.index(sentence, start)
            start = at + len(sentence)
            for found in REFERS.finditer(sentence):
                where = at + found.start()
                page = [p for begin, p in places if begin <= where][-1]
                self.mentions.append(Mention(found.group(1), page, sentence))

    def place(self, item: Float) -> None:
        """Set a float here, or at the top of the next column if it does not fit."""
        wide = self.column_width * item.wide
        high = min(wide * item.aspect, HEIGHT * 0.6)
        caption = [] if self.look.at_end and not item.rows else self._caption(item, self.column_width)
        need = high + len(caption) * 10.5 + 24
        if self.y + need > HEIGHT - 48 and self.y > self.top + 1:
            self._waiting.append(item)
            return
        left = self._left() + (self.column_width - high / item.aspect) / 2
        self.y += 8
        if (self.look.above or item.rows) and caption:
            self._set_caption(item, caption)
            self.y += 6
        self._draw(item, pymupdf.Rect(left, self.y, left + high / item.aspect, self.y + high))
        self.y += high
        if caption and not (self.look.above or item.rows):
            self.y += 4
            self._set_caption(item, caption)
        self.y += 10

    def _caption(self, item: Float, width: float) -> list[str]:
        word = f"Table {item.number}." if item.rows else self.look.label.format(item.number)
        return wrap(f"{word} {item.caption}", width, self.look.font, 8.5)

    def _set_caption(self, item: Float, lines: list[str]) -> None:
        item.caption_page = len(self.doc)
        for line in lines:
            self.y += 10.5
            self._put(line, self._left(), self.y, self.look.font, 8.5)

    def _draw(self, item: Float, rect: pymupdf.Rect) -> None:
        item.page = len(self.doc)
        item.box = (round(rect.x0, 2), round(rect.y0, 2), round(rect.x1, 2), round(rect.y1, 2))
        self.floats.append(item)
        if item.rows:
            self._table(item, rect)
        elif item.bars:
            self._bars(item, rect)
        xrefs = []
        for raster in item.rasters:
            x0, y0, x1, y1 = raster.place
            spot = pymupdf.Rect(
                rect.x0 + x0 * rect.width,
                rect.y0 + y0 * rect.height,
                rect.x0 + x1 * rect.width,
                rect.y0 + y1 * rect.height,
            )
            xrefs.append(self.page.insert_image(spot, stream=raster.data, keep_proportion=False))
            if raster.letter:
                self.page.insert_text((spot.x0 + 2, spot.y0 - 2), raster.letter, fontname="hebo", fontsize=8)
        item.xrefs = tuple(xrefs)

    def _table(self, item: Float, rect: pymupdf.Rect) -> None:
        step = rect.height / len(item.rows)
        shape = self.page.new_shape()
        for n in (0, 1, len(item.rows)):
            shape.draw_line((rect.x0, rect.y0 + n * step), (rect.x1, rect.y0 + n * step))
        shape.finish(width=0.7)
        shape.commit()
        for r, row in enumerate(item.rows):
            for c, cell in enumerate(row):
                self._put(
                    cell, rect.x0 + 2 + c * rect.width / len(row), rect.y0 + (r + 0.72) * step, self.look.font, 7.5
                )

    def _bars(self, item: Float, rect: pymupdf.Rect) -> None:
        shape = self.page.new_shape()
        base = rect.y1 - 16
        shape.draw_line((rect.x0 + 20, rect.y0), (rect.x0 + 20, base))
        shape.draw_line((rect.x0 + 20, base), (rect.x1, base))
        shape.finish(width=0.8)
        step = (rect.width - 30) / len(item.bars)
        for n, value in enumerate(item.bars):
            x = rect.x0 + 26 + n * step
            shape.draw_rect(pymupdf.Rect(x, base - value * (rect.height - 26), x + step * 0.65, base))
        shape.finish(width=0.4, fill=(0.35, 0.5, 0.7))
        shape.commit()
        for n in range(len(item.bars)):
            self._put(str(n + 1), rect.x0 + 28 + n * step, rect.y1 - 5, "helv", 6)

    def list_then_floats(self, items: list[Float]) -> None:
        """The manuscript's way: a list of legends, then each figure on a page of its own under its bare label."""
        self._new_page()
        self.heading("Figure legends")
        for item in items:
            lines = self._caption(item, self.column_width)
            self._room(len(lines) * 10.5 + 8)
            self._set_caption(item, lines)
            self.y += 8
        for item in items:
            self._new_page()
            wide = (WIDTH - 2 * self.margin) * item.wide
            high = min(wide * item.aspect, HEIGHT * 0.72)
            self._put(self.look.label.format(item.number).rstrip(".:| "), self.margin, self.y + 10, self.look.font, 10)
            left = (WIDTH - high / item.aspect) / 2
            self._draw(item, pymupdf.Rect(left, self.y + 22, left + high / item.aspect, self.y + 22 + high))

    def finish(self, title: str, writer: str) -> bytes:
        """The PDF's bytes."""
        while self._waiting:
            self._next_column()
        self._flush()
        self.doc.set_metadata(
            {
                "title": title,
                "author": writer,
                "creator": "drawn",
                "producer": "PyMuPDF",
                "creationDate": "D:20200101000000Z",
                "modDate": "D:20200101000000Z",
            }
        )
        data = self.doc.tobytes(garbage=0, deflate=True, no_new_id=True)
        self.doc.close()
        return bytes(data)


def vector_bars(rng: np.random.Generator) -> list[float]:
    """Heights of a vector chart's bars, 0 to 1."""
    return [round(float(v), 3) for v in rng.uniform(0.1, 0.95, int(rng.integers(6, 14)))]
