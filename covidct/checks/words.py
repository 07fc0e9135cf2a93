"""Words of foreign tables and folders, read as class, split, patient or nothing: what is not clear stays unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from covidct.checks.captions import COVID, DISEASE

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}
BESIDE_SPLIT = {"set", "sub", "data", "dataset", "split", "subset", "images", "list", "files", "ids", "labels", "table"}
NOTHING = {"", "-", "--", "?", ".", "na", "nan", "<na>", "n/a", "#n/a", "n.a.", "nil", "none", "null", "unknown"}
NOTHING |= {"not available", "not stated", "not known", "unk", "missing", "undefined", "tbd"}
DENIED = re.compile(
    r"non ?(?:covid|sars|n?cov|ncp)|\b(?:no|not|without|negative for)\b[^\d]{0,12}(?:covid|sars|n?cov\b|ncp)"
    r"|(?:covid|sars cov|n?cov|ncp|pcr)(?: ?19| ?2)?(?:\W{0,3}test)?"
    r"(?:\W{0,3}(?:neg(?:ative)?|free|excluded)\b| ?[:=] ?(?:no|false|0)\b)",
    re.I,
)
DOUBTED = re.compile(r"\b(?:suspect\w*|possibl\w*|probabl\w*|presum\w*|uncertain|unclear|vs|versus|or|and)\b", re.I)
YES = re.compile(r"(?:ct |pcr )?(?:positives?|pos|true|yes|y|1(?:\.0+)?)", re.I)
NO = re.compile(
    r"(?:no|n|false|0(?:\.0+)?)|.*\b(?:neg|negatives?|normals?\d*|healthy|controls?|others?|no findings?|cap"
    r"|pneumonias?|pneumonitis|viral|virus|nodules?|copd|sars|mers|h1n1)\b.*",
    re.I,
)
PATIENT = re.compile(
    r"(?:.*[^a-z])?(?:patients?|subjects?|cases?|persons?|people|pat|pt|sub|participants?|p|s)[ _#(.-]*\d{1,8}\)?", re.I
)
NUMBER = re.compile(r"\d{1,8}")


def known(text: str) -> str:
    """The text, or ``""`` where it only says that nothing is known (``nan``, ``N/A``, ``unknown`` ...)."""
    return "" if text.strip().casefold() in NOTHING else text.strip()


def plain(text: str) -> str:
    """Small letters; blanks, underscores and dashes are one blank."""
    return re.sub(r"[\s_\-]+", " ", text).strip().casefold()


def class_of(text: str) -> int | None:
    """1 = COVID, 0 = the other class, None: the text does not say, or says both."""
    said = plain(known(text))
    if not said:
        return None
    if DENIED.search(said):
        return 0
    if COVID.search(said):
        return None if DOUBTED.search(said) else 1
    if YES.fullmatch(said):
        return 1
    return 0 if NO.fullmatch(said) or DISEASE.search(said) else None


def split_of(text: str) -> str:
    """train, val or test where the text is a spelling of it (``Train set``, ``testing-data``), else ``""``."""
    words = [w for w in re.split(r"[^a-z]+", text.casefold().replace("set", " set ")) if w and w not in BESIDE_SPLIT]
    found = {SPLIT_NAMES[w] for w in words if w in SPLIT_NAMES}
    return found.pop() if len(found) == 1 and all(w in SPLIT_NAMES for w in words) else ""


def split_in(stem: str) -> str:
    """train, val or test where exactly one of them is a word of a file's name (``covid_train_v2``), else ``""``."""
    words = re.split(r"[^a-z]+", stem.casefold())
    found = {SPLIT_NAMES[w] for w in words if w in SPLIT_NAMES} | ({split_of(stem)} - {""})
    return found.pop() if len(found) == 1 else ""


def class_in(parts: Sequence[str], numbers: bool = False) -> tuple[int | None, int]:
    """Class of the innermost folder that names one, and its position; ``(None, -1)`` where none does.

    numbers: folders ``0`` and ``1`` are classes, too, and not patients.
    """
    for position in range(len(parts) - 1, -1, -1):
        label = class_of(parts[position]) if numbers or not NUMBER.fullmatch(parts[position]) else None
        if label is not None:
            return label, position
    return None, -1


def patient_in(parts: Sequence[str], below: int) -> str:
    """The patient a path names: a folder like ``patient 12`` or ``p12``, or one that is a number below the class's.

    Numbers mostly start anew in each class, so the class's folder is part of the id. parts: folders without those of
    splits; below: position of the class's folder, -1 if none.
    """
    for position, part in enumerate(parts):
        if PATIENT.fullmatch(part) or (-1 < below < position and NUMBER.fullmatch(part)):
            return "/".join(dict.fromkeys([parts[below], part] if below >= 0 else [part]))
    return ""
