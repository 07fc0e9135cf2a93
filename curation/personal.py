"""Burned-in names, dates of birth and ids, read by Tesseract: found, none, or not checked where Tesseract is absent.

Scanner text is small and lies on anything, light or dark. So each picture is enlarged and read twice: as it is, and
only the lines that hold marks (`curation.strokes`), in dark on white, each in two sizes and three ways. What counts as
personal is a date; an age with a sex; a labelled name or id; a name written the scanner's way (``WANG^LI``,
``DOE, JANE``). Letters of panels, ``R``/``L``, series, slice and window numbers are not.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import shutil
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pytesseract

from curation import artifacts
from curation.personal_text import Kind, personal
from curation.raster import grey

Answer = Literal["none", "found", "not checked"]
Box = tuple[int, int, int, int]
SECONDS = 30
SIDE = 1800
"""pixels: pictures are enlarged up to three times but not beyond this side"""
PAD = 20
"""pixels around what is read: Tesseract misses letters at the very edge"""
SEEN = 0.5
"""chance from which a pixel belongs to a mark that is read"""
HEIGHTS = (56, 90)
"""pixels: to which a line of marks is enlarged; Tesseract reads poor letters at one size and not at another"""
MOST = 24
"""lines of marks that are read, at most"""


class NotChecked(RuntimeError):  # noqa: N818 - a state, not a fault
    """The picture could not be read for personal data: says why. Never to be taken for "nothing found"."""


@dataclass(frozen=True)
class Finding:
    """One piece of burned-in text that identifies a person; ``box`` in pixels, ends exclusive."""

    box: Box
    kind: Kind
    text: str


@functools.cache
def available() -> bool:
    """True if the tesseract program is on the path."""
    return shutil.which("tesseract") is not None


def find(image: np.ndarray) -> list[Finding]:
    """Personal data burned into a picture (uint8, H x W or H x W x 3), top first; empty: read, and nothing found.

    Raises NotChecked where Tesseract is absent or gives up, ImageError for what is no picture.
    """
    grey(image)
    if not available():
        raise NotChecked("personal data: expected the program tesseract on the path, got none; install tesseract-ocr")
    found: list[Finding] = []
    for words in look(image).lines:
        text = " ".join(word for word, _ in words)
        for start, stop, kind in personal(text):
            at, boxes = 0, []
            for word, box in words:
                if at < stop and start < at + len(word):
                    boxes.append(box)
                at += len(word) + 1
            corners = np.array(boxes)
            low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
            box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
            if not any(_overlap(box, other.box) for other in found if other.kind == kind):
                found.append(Finding(box, kind, text[start:stop]))
    births = [f.box for f in found if f.kind == "date of birth"]
    found = [f for f in found if f.kind != "date" or not any(_overlap(f.box, box) for box in births)]
    return sorted(found, key=lambda f: (f.box[1], f.box[0], f.kind))


def check(image: np.ndarray) -> tuple[Answer, tuple[str, ...]]:
    """``(answer, what was read)``; ``not checked`` where Tesseract is absent or gives up."""
    try:
        found = find(image)
    except NotChecked:
        return "not checked", ()
    return ("found" if found else "none"), tuple(dict.fromkeys(f.text for f in found))


@dataclass(frozen=True)
class Look:
    """What two readings of a picture gave."""

    lines: tuple[tuple[tuple[str, Box], ...], ...]
    """lines of words, each word with its box; what both readings gave counts once"""
    marks: tuple[Box, ...]
    """lines of marks, whether or not Tesseract could read them"""


def look(image: np.ndarray) -> Look:
    """Read a picture (uint8, H x W or H x W x 3) twice. Raises NotChecked where Tesseract gives up."""
    places, chance = _places(image)
    found: list[list[tuple[str, Box]]] = []
    for page in (_whole(image), _marks(grey(image), places, chance)):
        for words in _read(page) if page else []:
            text = [word for word, _ in words]
            if not any(_overlap(words[0][1], o[0][1]) and text == [word for word, _ in o] for o in found):
                found.append(words)
    return Look(tuple(tuple(words) for words in found), tuple(places))


def _places(image: np.ndarray) -> tuple[list[Box], np.ndarray]:
    """Lines of marks, and how sure the network is of every pixel (float32 H x W)."""
    chance = artifacts.glance(image)
    return _rows_of_marks(chance > SEEN), chance


def _overlap(a: Box, b: Box) -> bool:
    """True if two boxes share pixels: both readings found the same text."""
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@dataclass(frozen=True)
class Part:
    """A piece of a page for Tesseract: its upper edge there, its place in the picture and its enlargement."""

    top: int
    place: Box
    factor: float

    def box(self, x: int, y: int, width: int, height: int) -> Box:
        """Pixels of the picture for pixels of the page, ends exclusive, inside the piece."""
        x0, y0, x1, y1 = self.place
        found = [round(v / self.factor) for v in (x - PAD, y - self.top, x + width - PAD, y + height - self.top)]
        left, upper = min(max(found[0] + x0, x0), x1 - 1), min(max(found[1] + y0, y0), y1 - 1)
        return left, upper, min(max(found[2] + x0, left + 1), x1), min(max(found[3] + y0, upper + 1), y1)


@dataclass(frozen=True)
class Page:
    """What Tesseract reads at once: grey pixels, and the pieces of the picture in it from top to bottom."""

    pixels: np.ndarray
    parts: tuple[Part, ...]


def _whole(image: np.ndarray) -> Page | None:
    """The picture as it is, enlarged."""
    luma = grey(image)
    high, wide = luma.shape
    if min(luma.shape) < 24:
        return None
    factor = min(3.0, max(1.0, SIDE / max(luma.shape)))
    large = cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    edge = int(np.median(np.concatenate([large[0], large[-1], large[:, 0], large[:, -1]])))
    framed = cv2.copyMakeBorder(large, PAD, PAD, PAD, PAD, cv2.BORDER_CONSTANT, value=edge)
    return Page(framed, (Part(PAD, (0, 0, wide, high), factor),))


def _marks(luma: np.ndarray, places: list[Box], chance: np.ndarray) -> Page | None:
    """The lines that marks stand in, enlarged, one below the other in dark on white: two sizes and three ways of each.

    Text is white on white in places and only its shadow shows, or it is cut by the border: so each line is given as
    the network sees it, as what is darker than its surroundings and as what is lighter.
    """
    pieces: list[np.ndarray] = []
    parts: list[Part] = []
    top = PAD
    for place, height in itertools.product(places, HEIGHTS):
        x0, y0, x1, y1 = place
        times = min(6.0, max(1.0, height / (y1 - y0)), SIDE / (x1 - x0))
        dark, light = _relief(luma, place, times)
        ink = cv2.resize(255 - np.round(chance[y0:y1, x0:x1] * 255), dark.shape[::-1], interpolation=cv2.INTER_CUBIC)
        for piece in (np.clip(ink, 0, 255).astype(np.uint8), dark, light):
            pieces.append(piece)
            parts.append(Part(top, place, times))
            top += piece.shape[0] + 2 * PAD
    if not pieces:
        return None
    page = np.full((top, max(p.shape[1] for p in pieces) + 2 * PAD), 255, np.uint8)
    for piece, part in zip(pieces, parts, strict=True):
        page[part.top : part.top + piece.shape[0], PAD : PAD + piece.shape[1]] = piece
    return Page(page, tuple(parts))


def _rows_of_marks(mask: np.ndarray) -> list[Box]:
    """Boxes of marks that stand side by side (bool H x W), top first; the largest MOST of them."""
    high, wide = mask.shape
    reach = max(5, max(high, wide) // 30)
    joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 2 * reach + 1), np.uint8))
    _count, _labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found: list[Box] = []
    for x, y, w, h, _area in sorted(stats[1:].tolist(), key=lambda s: -s[4])[:MOST]:
        if h < 4 or w < h or h > high // 6:  # specks; arrows, rulers and rings: no lines of text
            continue
        margin = max(2, h // 4)
        found.append((max(0, x - margin), max(0, y - margin), min(wide, x + w + margin), min(high, y + h + margin)))
    return sorted(found, key=lambda b: (b[1], b[0]))


def _relief(luma: np.ndarray, place: Box, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """What is darker and what is lighter than its surroundings in a box, enlarged, both dark on white."""
    x0, y0, x1, y1 = place
    around = 8
    framed = cv2.copyMakeBorder(luma, around, around, around, around, cv2.BORDER_REPLICATE)
    part = framed[y0 : y1 + 2 * around, x0 : x1 + 2 * around]
    width = 2 * ((y1 - y0) // 4) + 3
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    seen = []
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        inner = cv2.morphologyEx(part, operation, kernel)[around:-around, around:-around].astype(np.float32)
        strong = max(24.0, float(np.percentile(inner, 98)))
        shown = 255 - np.minimum(inner / strong, 1) * 255
        size = (max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor)))
        seen.append(np.clip(cv2.resize(shown, size, interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8))
    return seen[0], seen[1]


def _read(page: Page) -> list[list[tuple[str, Box]]]:
    """Lines of words that Tesseract reads in a page, each word with its box in the picture. Raises NotChecked."""
    try:
        read = pytesseract.image_to_data(
            page.pixels, config="--psm 11", timeout=SECONDS, output_type=pytesseract.Output.DICT
        )
    except (pytesseract.TesseractError, RuntimeError, OSError) as error:
        raise NotChecked(f"personal data: Tesseract failed ({str(error)[:200]}); not checked") from error
    tops = [part.top - PAD for part in page.parts]
    grouped: dict[tuple[int, int, int, int], list[tuple[str, Box]]] = {}
    for n, word in enumerate(read["text"]):
        if not word.strip() or float(read["conf"][n]) < 20:
            continue
        x, y, w, h = (int(read[side][n]) for side in ("left", "top", "width", "height"))
        number = max(0, bisect.bisect_right(tops, y + h // 2) - 1)
        key = (number, read["block_num"][n], read["par_num"][n], read["line_num"][n])
        grouped.setdefault(key, []).append((word.strip(), page.parts[number].box(x, y, w, h)))
    found: list[list[tuple[str, Box]]] = []
    for number in range(len(page.parts)):
        found += rows([words for key, words in grouped.items() if key[0] == number])
    return found


def rows(pieces: list[list[tuple[str, Box]]]) -> list[list[tuple[str, Box]]]:
    """Pieces that stand side by side joined to one line: sparse reading parts "DOB:" from its date."""
    joined: list[list[tuple[str, Box]]] = []
    for piece in sorted(pieces, key=lambda p: (p[0][1][0], p[0][1][1])):
        x0, y0, _, y1 = piece[0][1]
        for line in joined:
            _, top, end, bottom = line[-1][1]
            tall = min(y1 - y0, bottom - top)
            if min(y1, bottom) - max(y0, top) > 0.6 * tall and -tall < x0 - end < 2.5 * max(y1 - y0, bottom - top):
                line.extend(piece)
                break
        else:
            joined.append(list(piece))
    return sorted(joined, key=lambda line: (line[0][1][1], line[0][1][0]))
