"""Burned-in names, dates of birth and ids, read by Tesseract: found, none, or not checked where Tesseract is absent.

Scanner text is small and lies on anything, light or dark. So each picture is enlarged and read twice: as it is, and
with only its marks left (`curation.strokes`), dark on white. What counts as personal is a date; an age with a sex; a
labelled name or id; a name written the scanner's way (``WANG^LI``, ``DOE, JANE``). Letters of panels, ``R``/``L``,
series, slice and window numbers are not.
"""

from __future__ import annotations

import functools
import re
import shutil
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pytesseract

from curation import strokes
from curation.artifacts import SURE, WORK
from curation.raster import grey, squeeze

Answer = Literal["none", "found", "not checked"]
Kind = Literal["name", "date of birth", "date", "id", "age"]
Box = tuple[int, int, int, int]
SECONDS = 30
SIDE = 1800
"""pixels: pictures are enlarged up to three times but not beyond this side"""
PAD = 20
"""pixels around the enlarged page: Tesseract misses letters at the very edge"""

MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
YEAR = r"(?:19[0-9]\d|20[0-4]\d)"
GAP = r"\s?[./\-, ]\s?"
DATES = tuple(
    re.compile(rf"(?<![\d.]){pattern}(?![\d])", re.I)
    for pattern in (
        rf"(?P<d>\d{{1,2}}){GAP}(?P<m>\d{{1,2}}){GAP}(?P<y>{YEAR})",
        rf"(?P<y>{YEAR})\s?[./\-年]\s?(?P<m>\d{{1,2}})\s?[./\-月]\s?(?P<d>\d{{1,2}})",
        r"(?P<y>19[0-9]\d|20[0-4]\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])",
        rf"(?P<d>\d{{1,2}})(?:{GAP})?{MONTH}\.?(?:{GAP})?(?P<y>{YEAR})",
        rf"{MONTH}\.?\s?(?P<d>\d{{1,2}})(?:{GAP})(?P<y>{YEAR})",
        r"(?P<d>\d{1,2})(?P<s>[./\-])(?P<m>\d{1,2})(?P=s)(?P<y>\d{2})",
    )
)
BIRTH = re.compile(r"\bD\.?\s?[O0]\.?\s?B\b|\bbirth|\bborn\b|\bgeb(?:oren|\.)|\bn[ée]e?\s+le\b|\bnac(?:ido|\.)", re.I)
OTHERS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("name", re.compile(r"\b(?:patient|pat|pt)?\.?\s*name\s*[:;=.]?\s+[A-Z][A-Za-z'\-]+(?:[ ,^]+[A-Z][A-Za-z'\-]*)*")),
    ("name", re.compile(r"\b(?:patient'?s?\s+)?name\s*[:;=]\s*[A-Z][A-Za-z'\-]+(?:[ ,^]+[A-Z][A-Za-z'\-]*)*", re.I)),
    ("name", re.compile(r"\b[A-Z][A-Za-z'\-]{1,}\s?[\^¢§]{1,2}\s?[A-Z][A-Za-z'\-]*")),
    ("name", re.compile(r"\b[A-Z][A-Z'\-]{2,}\s?,\s?[A-Z][A-Z'\-]{2,}(?:\s[A-Z])?\b")),
    ("name", re.compile(r"\b(?:Mr|Mrs|Ms|Miss)\.?\s+[A-Z][a-z]{2,}\b")),
    (
        "id",
        re.compile(
            r"\b(?:(?:patient|pat|pt)'?s?\.?\s*(?:id|no|nr)|id|m\.?r\.?n|acc(?:ession)?|hosp\w*\s*(?:no|id)?|case\s*id|"
            r"study\s*id|nhs)\.?\s*(?:no|nr|number)?\.?\s*[:;.#=]\s*[A-Z]{0,4}[\-]?\d{3,}[\dA-Z\-]*",
            re.I,
        ),
    ),
    ("id", re.compile(r"\b(?:mrn|patient id|acc(?:ession)? (?:no|number))\s+[A-Z]{0,4}\d{4,}", re.I)),
    (
        "age",
        re.compile(r"\b0?\d{1,3}\s?Y(?:RS?|EARS?)?\s?[,/ ]\s?(?:[MF]|FEMALE|MALE)\b|\b[MF]\s?[/, ]\s?0?\d{2}\s?Y\b"),
    ),
    ("age", re.compile(r"\b(?:[MF]|FEMALE|MALE)\s?[/,]\s?0?\d{2,3}Y?\b|\b0\d{2}Y\b")),
)
SCANNER = re.compile(
    r"\b(?:chest|lung|thorax|abdomen|axial|coronal|sagittal|helical|spiral|contrast|head|feet|first|supine|prone|series|"
    r"image|bone|soft|tissue|recon|standard|window|siemens|philips|toshiba|hitachi|canon|medical|systems|hospital|"
    r"routine|left|right|body|high|resolution)\b",
    re.I,
)
"""words beside a comma that make it no name"""


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
    for words in lines(image):
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
    return sorted(found, key=lambda f: (f.box[1], f.box[0], f.kind))


def check(image: np.ndarray) -> tuple[Answer, tuple[str, ...]]:
    """``(answer, what was read)``; ``not checked`` where Tesseract is absent or gives up."""
    try:
        found = find(image)
    except NotChecked:
        return "not checked", ()
    return ("found" if found else "none"), tuple(dict.fromkeys(f.text for f in found))


def lines(image: np.ndarray) -> list[list[tuple[str, Box]]]:
    """Lines of words that Tesseract reads in a picture, each word with its box; what both readings give counts once.

    Raises NotChecked where Tesseract gives up.
    """
    found: list[list[tuple[str, Box]]] = []
    for page in pages(image):
        for words in _read(page):
            text = [word for word, _ in words]
            if not any(_overlap(words[0][1], o[0][1]) and text == [word for word, _ in o] for o in found):
                found.append(words)
    return found


def _overlap(a: Box, b: Box) -> bool:
    """True if two boxes share pixels: both readings found the same text."""
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def pages(image: np.ndarray) -> list[np.ndarray]:
    """What is read, grey, same size: the picture itself, and its marks in black on white if there are any."""
    luma = grey(image)
    small, factor = squeeze(image, WORK)
    marks = strokes.chances(np.ascontiguousarray(small))
    if not (marks > SURE).any():
        return [luma]
    if factor < 1:
        marks = cv2.resize(marks, (luma.shape[1], luma.shape[0]), interpolation=cv2.INTER_LINEAR)
    return [luma, np.asarray(255 - np.round(marks * 255)).astype(np.uint8)]


def _read(page: np.ndarray) -> list[list[tuple[str, Box]]]:
    """Lines of words that Tesseract reads in a grey page, each word with its box. Raises NotChecked."""
    if min(page.shape) < 24:
        return []
    factor = min(3.0, max(1.0, SIDE / max(page.shape)))
    large = cv2.resize(page, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    edge = int(np.median(np.concatenate([large[0], large[-1], large[:, 0], large[:, -1]])))
    large = cv2.copyMakeBorder(large, PAD, PAD, PAD, PAD, cv2.BORDER_CONSTANT, value=edge)
    try:
        read = pytesseract.image_to_data(large, config="--psm 11", timeout=SECONDS, output_type=pytesseract.Output.DICT)
    except (pytesseract.TesseractError, RuntimeError, OSError) as error:
        raise NotChecked(f"personal data: Tesseract failed ({str(error)[:200]}); not checked") from error
    grouped: dict[tuple[int, int, int], list[tuple[str, Box]]] = {}
    for n, word in enumerate(read["text"]):
        if not word.strip() or float(read["conf"][n]) < 20:
            continue
        x, y, w, h = (int(read[side][n]) for side in ("left", "top", "width", "height"))
        box = [round((v - PAD) / factor) for v in (x, y, x + w, y + h)]
        limits = (page.shape[1], page.shape[0]) * 2
        x0, y0, x1, y1 = (min(max(v, 0), limit) for v, limit in zip(box, limits, strict=True))
        key = (read["block_num"][n], read["par_num"][n], read["line_num"][n])
        grouped.setdefault(key, []).append((word.strip(), (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))))
    return rows(list(grouped.values()))


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


def personal(text: str) -> list[tuple[int, int, Kind]]:
    """``(start, stop, kind)`` of the pieces of one line that identify a person, in order, none inside another."""
    plain = re.sub(r"\bO(?=\d)", "0", text)
    plain = re.sub(r"(?<=\d)[OQo](?=[\d./\-])|(?<=[./\-])[OQo](?=\d)", "0", plain)
    plain = re.sub(r"(?<=\d)[Il|](?=[\d./\-])|(?<=[./\-])[Il|](?=\d)", "1", plain)
    found: list[tuple[int, int, Kind]] = []
    labelled = BIRTH.search(plain)
    for pattern in DATES:
        for match in pattern.finditer(plain):
            if not _valid(match.groupdict()):
                continue
            birth = labelled is not None and labelled.start() < match.start()
            start = labelled.start() if labelled is not None and birth else match.start()
            found.append((start, match.end(), "date of birth" if birth else "date"))
    if labelled is not None and not found and not re.fullmatch(r"(?i)born", labelled.group(0)):
        found.append((labelled.start(), labelled.end(), "date of birth"))
    for kind, pattern in OTHERS:
        for match in pattern.finditer(plain):
            if kind != "name" or not SCANNER.search(match.group(0)):
                found.append((match.start(), match.end(), kind))
    kept: list[tuple[int, int, Kind]] = []
    for item in sorted(found, key=lambda f: (f[0] - f[1], f[0])):
        if all(item[1] <= other[0] or other[1] <= item[0] for other in kept):
            kept.append(item)
    return sorted(kept)


def _valid(parts: dict[str, str]) -> bool:
    """True if day and month (either order) can be a date's."""
    day, month = int(parts.get("d") or 1), int(parts.get("m") or 1)
    return (1 <= day <= 31 and 1 <= month <= 12) or (1 <= day <= 12 and 1 <= month <= 31)
