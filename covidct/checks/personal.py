"""What is burned into the pictures: dates of birth, names and ids; the label itself; the case a paper numbers.

Reading is curation's (`curation.personal`, Tesseract). Where it or the program is absent every picture is *not
checked*, which is not the same as clean, and the release gate refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib

from covidct.checks.model import Finding, Folder
from covidct.checks.people import cases
from covidct.matching.features import Array

LABEL = re.compile(
    r"\b(?:n?c[o0]v[il1]d|sars[\s-]*c[o0]v|2019[\s-]*n?c[o0]v|ncp\b|pneumonia|\w{0,2}v[il1]d\s?-\s?(?:19|2\w))", re.I
)
"""a disease named in the picture, which a classifier can read; O and I as Tesseract sees them, its start cut off"""
SEVERE = ("date of birth", "name", "id")
BORDER = 0.15
"""share of the width within which a text is taken to reach the border"""
NEAR = 0.2
"""distance of centres, as a share of the picture's sides, at which two marks stand in the same place"""


@dataclass
class Reading:
    """What one picture says: pieces that identify a person by kind, disease names, numbered cases; or why unread."""

    pieces: list[tuple[str, str]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """of the words around every piece, pixels"""
    label_boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """of the words around every disease name"""
    marks: list[tuple[int, int, int, int]] = field(default_factory=list)
    """lines of marks, read or not, pixels"""
    unread: str = ""


def read_all(folder: Folder, jobs: int = -1) -> list[Reading]:
    """Read every picture, ``jobs`` at a time. Sets ``not_checked["personal-data"]`` where nothing or not all could be
    read.
    """
    try:
        from curation import personal
    except ImportError as error:
        folder.not_checked["personal-data"] = f"curation is not installed ({error.name}): no picture was read"
        return [Reading(unread="curation is not installed")] * len(folder.items)
    if not personal.available():
        folder.not_checked["personal-data"] = "tesseract is not installed (tesseract-ocr): no picture was read"
        return [Reading(unread="tesseract is not installed")] * len(folder.items)

    def one(index: int) -> Reading:
        try:
            return read(folder.grey(index), personal.look, personal.personal)
        except personal.NotChecked as error:
            return Reading(unread=str(error))

    # the work is done by the program tesseract, one process a picture: threads suffice, and its own would only wait
    os.environ.setdefault("OMP_THREAD_LIMIT", "1")
    readings = joblib.Parallel(n_jobs=jobs, prefer="threads")(joblib.delayed(one)(i) for i in range(len(folder.items)))
    unread = [i for i, reading in enumerate(readings) if reading.unread]
    if unread:
        folder.not_checked["personal-data"] = (
            f"{len(unread)} of {len(readings)} pictures could not be read, e.g. {folder.items[unread[0]].name}: "
            f"{readings[unread[0]].unread}"
        )
    return readings


def read(grey: Array, look: Callable[[Array], Any], personal: Callable[[str], Sequence[Any]]) -> Reading:
    """Reading of one picture: ``look`` gives its lines as words with boxes and its marks (`curation.personal.look`),
    ``personal`` the pieces of a text that matter.
    """
    seen = look(grey)
    reading = Reading(marks=list(seen.marks))
    for words in seen.lines:
        text = " ".join(word for word, _ in words)
        pieces = [(str(kind), text[start:stop]) for start, stop, kind in personal(text)]
        reading.pieces += pieces
        reading.boxes += [to_border(box, grey.shape) for _, box in words] if pieces else []
        if LABEL.search(text):
            reading.labels.append(text)
            reading.label_boxes += [to_border(box, grey.shape) for _, box in words]
        reading.cases += cases(text)
    return reading


def check(folder: Folder, readings: Sequence[Reading]) -> list[Finding]:
    """Findings about personal data and about labels burned in, worst first."""
    found = []
    for kind in dict.fromkeys(kind for reading in readings for kind, _ in reading.pieces):
        members = [i for i, reading in enumerate(readings) if any(k == kind for k, _ in reading.pieces)]
        # an audit must not spread what it warns of: letters and digits are left out of the finding
        texts = {folder.items[i].name: [masked(t) for k, t in readings[i].pieces if k == kind] for i in members}
        found.append(
            Finding(
                "personal-data",
                "error" if kind in SEVERE else "warning",
                folder.names(members),
                f"{len(members)} images show {_article(kind)}, e.g. {next(iter(texts.values()))[0]!r}",
                "crop it off or mask it before anything is handed on; look at the files themselves, not only here",
                {"kind": kind, "texts": texts, "boxes": {folder.items[i].name: readings[i].boxes for i in members}},
            )
        )
        found += _beside(folder, readings, kind, members)
    named = [i for i, reading in enumerate(readings) if reading.labels]
    if named:
        found.append(
            Finding(
                "personal-data",
                "error",
                folder.names(named),
                f"{len(named)} images have the label burned in, e.g. {readings[named[0]].labels[0]!r}",
                "crop it off or mask it: a classifier can read it",
                {
                    "kind": "label",
                    "texts": {folder.items[i].name: readings[i].labels for i in named},
                    "boxes": {folder.items[i].name: readings[i].label_boxes for i in named},
                },
            )
        )
    folder.metrics["burned_in"] = {
        "read": sum(not reading.unread for reading in readings),
        "unread": sum(bool(reading.unread) for reading in readings),
        "personal": sum(bool(reading.pieces) for reading in readings),
        "label": len(named),
    }
    return sorted(found, key=lambda f: (f.severity != "error", str(f.details["kind"])))


def _beside(folder: Folder, readings: Sequence[Reading], kind: str, members: Sequence[int]) -> list[Finding]:
    """Further pictures of a document one of which shows ``kind``: panels of a scan mostly carry the same text, cut off
    or faint in some. With marks in the same place: as bad as the one that can be read; others: to be looked at.
    """
    if kind not in SEVERE:
        return []
    shown: dict[str, list[tuple[float, float]]] = {}
    for i in (i for i in members if folder.items[i].document):
        places = [middle(box, folder.grey(i).shape) for box in readings[i].boxes]
        shown.setdefault(folder.items[i].document, []).extend(places)
    boxes: dict[str, list[tuple[int, int, int, int]]] = {}
    others = []
    for i, item in enumerate(folder.items):
        if i in members or item.document not in shown:
            continue
        marks = {box: middle(box, folder.grey(i).shape) for box in readings[i].marks}
        near = [
            b
            for b, p in marks.items()
            if any(max(abs(p[0] - q[0]), abs(p[1] - q[1])) < NEAR for q in shown[item.document])
        ]
        if near:
            boxes[item.name] = [to_border(box, folder.grey(i).shape) for box in near]
        else:
            others.append(item.name)
    found = []
    if boxes:
        found.append(
            Finding(
                "personal-data",
                "error",
                tuple(boxes),
                f"{len(boxes)} images have marks where another of the same document shows {_article(kind)}; they could "
                "not be read",
                "look at them; crop the marks off or mask them before anything is handed on",
                {"kind": f"{kind}, unread", "texts": {}, "boxes": boxes},
            )
        )
    if others:
        found.append(
            Finding(
                "personal-data",
                "warning",
                tuple(others),
                f"{len(others)} further images are of a document that shows {_article(kind)} in another; nothing was "
                "read in them",
                "look at them before they are handed on",
                {"kind": f"{kind}, same document", "texts": {}, "boxes": {}},
            )
        )
    return found


def to_border(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A box (pixels) widened to the left or right border where that is near: scanner text stands in line with it, and
    its end may have been cut off or not been read.
    """
    x0, y0, x1, y1 = box
    wide = shape[1]
    return 0 if x0 < BORDER * wide else x0, y0, wide if wide - x1 < BORDER * wide else x1, y1


def middle(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[float, float]:
    """Centre of a box as shares of height and width."""
    return (box[1] + box[3]) / 2 / shape[0], (box[0] + box[2]) / 2 / shape[1]


def masked(text: str) -> str:
    """The form of a text without its content: ``DOB: 03/11/1952`` -> ``AAA: 00/00/0000``."""
    return re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "0", text))


def covered(findings: Sequence[Finding]) -> dict[str, list[tuple[int, int, int, int]]]:
    """Boxes to black out by picture name, read or suspected, so that the page shows where personal data stands and not
    what it says.
    """
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for finding in findings:
        if finding.details["kind"] != "label":
            for name, boxes in finding.details["boxes"].items():
                found.setdefault(name, []).extend(boxes)
    return found


def _article(kind: str) -> str:
    return {"id": "an id", "age": "an age"}.get(kind, f"a {kind}")


def burned(readings: Sequence[Reading]) -> dict[int, Sequence[str]]:
    """Cases named in the pictures themselves, by position, where exactly one is named."""
    return {i: r.cases for i, r in enumerate(readings) if len(set(r.cases)) == 1}
