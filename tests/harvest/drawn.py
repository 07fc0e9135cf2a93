"""Small PDFs drawn for the tests of the `figures` stage: each layout that real papers have, with known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymupdf

from harvest.document import Analysis, analyse, read_pages

WORDS = [
    "The",
    "patients",
    "were",
    "followed",
    "until",
    "discharge",
    "and",
    "the",
    "findings",
    "were",
    "read",
    "by",
    "two",
    "observers",
    "who",
    "did",
    "not",
    "know",
    "the",
    "result",
    "of",
    "the",
    "test",
    "and",
    "agreed",
    "on",
    "nearly",
    "all",
    "of",
    "them",
    "in",
    "the",
    "end",
    "as",
    "the",
    "table",
    "of",
    "the",
    "appendix",
    "tells",
    "in",
    "more",
    "detail",
]


def prose(words: int, start: int = 0) -> str:
    """Running text that names no figure."""
    text = " ".join(WORDS[(start + i) % len(WORDS)] for i in range(words))
    return text[0].upper() + text[1:] + "."


def picture(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """A smooth grey picture with bright and dark parts, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (6, 8))
    y, x = np.linspace(0, 4.99, height), np.linspace(0, 6.99, width)
    yi, xi = y.astype(int), x.astype(int)
    fy, fx = (y - yi)[:, None], (x - xi)[None, :]
    upper = coarse[np.ix_(yi, xi)] * (1 - fx) + coarse[np.ix_(yi, xi + 1)] * fx
    lower = coarse[np.ix_(yi + 1, xi)] * (1 - fx) + coarse[np.ix_(yi + 1, xi + 1)] * fx
    return (upper * (1 - fy) + lower * fy).astype(np.uint8)


def pixmap(array: np.ndarray) -> pymupdf.Pixmap:
    height, width = array.shape[:2]
    space = pymupdf.csGRAY if array.ndim == 2 else pymupdf.csRGB
    return pymupdf.Pixmap(space, width, height, array.tobytes(), False)


class Draft:
    """A PDF in the making; ``y`` runs down the current page."""

    def __init__(self, width: float = 612, height: float = 792, font: str = "tiro", bold: str = "tibo") -> None:
        self.pdf = pymupdf.open()
        self.width, self.height, self.font, self.bold = width, height, font, bold

    def page(self) -> pymupdf.Page:
        self.current = self.pdf.new_page(width=self.width, height=self.height)
        self.y = 72.0
        return self.current

    def text(
        self,
        text: str,
        x0: float = 72,
        x1: float = 540,
        size: float = 11,
        pitch: float = 1.25,
        lead: str = "",
        font: str = "",
    ) -> tuple[float, float]:
        """Set text in lines from ``self.y`` down; ``lead`` goes before it in bold. Top and bottom of what was set."""
        plain, bold = pymupdf.Font(font or self.font), pymupdf.Font(self.bold)
        lines: list[list[tuple[str, bool]]] = [[]]
        room = x1 - x0
        for word, heavy in [*((w, True) for w in lead.split()), *((w, False) for w in text.split())]:
            width = (bold if heavy else plain).text_length(word + " ", size)
            if room < width and lines[-1]:
                lines.append([])
                room = x1 - x0
            lines[-1].append((word, heavy))
            room -= width
        top = self.y
        for line in lines:
            x = x0
            self.y += size * pitch
            for heavy in (True, False):
                part = " ".join(word for word, is_heavy in line if is_heavy is heavy)
                if part:
                    name = self.bold if heavy else (font or self.font)
                    self.current.insert_text((x, self.y), part, fontsize=size, fontname=name)
                    x += (bold if heavy else plain).text_length(part + " ", size)
        return top, self.y

    def put(self, x: float, y: float, text: str, size: float = 11, font: str = "") -> None:
        """One line of text with its baseline at (x, y)."""
        self.current.insert_text((x, y), text, fontsize=size, fontname=font or self.font)

    def image(self, box: tuple[float, float, float, float], array: np.ndarray | None = None, seed: int = 0) -> int:
        """Place a picture; its xref."""
        self.y = max(self.y, box[3])
        return int(
            self.current.insert_image(
                pymupdf.Rect(box), pixmap=pixmap(picture(seed) if array is None else array), keep_proportion=False
            )
        )

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.pdf.save(path, deflate=True, no_new_id=True)
        return path

    def analysis(self) -> Analysis:
        """What the extractor makes of it."""
        with pymupdf.open(stream=self.pdf.tobytes(no_new_id=True), filetype="pdf") as pdf:
            pages, failures = read_pages(pdf)
            assert not failures
            return analyse(pages)


def paper(figures: int = 1, tag: str = "") -> Draft:
    """A page with a figure of two panels, its caption and a sentence about it, so many times."""
    draft = Draft()
    for number in range(1, figures + 1):
        draft.page()
        draft.text(prose(60, number) + f" The man had ground-glass opacities (Figure {number}).")
        draft.y += 12
        draft.image((150, draft.y, 450, draft.y + 150), seed=number)
        draft.y += 6
        draft.text(f"Chest CT{tag}. (A) Day 1. (B) Day 5.", size=9, lead=f"Figure {number}.")
    return draft
