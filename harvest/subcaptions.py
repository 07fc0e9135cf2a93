"""A compound figure's caption split into what it says of each panel: "(A) … (B) …", "a, … b, …", "left: … right: …".

Pure. Letters are given in capitals, sides as ``left``, ``upper right`` and so on. Guarantees: letters come in order
from the first; a caption without such marks gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BRACKETED = re.compile(
    r"\(\s*(?P<letters>[A-Za-z](?:\d|')?(?:\s*(?:[-–—,;&/]|and|to)\s*(?:and\s+)?[A-Za-z](?:\d|')?)*)\s*\)(?:\s*[:.,–-](?=\s))?"
)
MARKED = re.compile(
    r"(?:^|(?<=[.;:,]\s)|(?<=\band\s))(?P<letters>[A-Za-z](?:\s?[-–,&]\s?[A-Za-z])*)(?:\)|[,.:])\s+(?=\S)"
)
BARE = re.compile(r"(?:^|(?<=[.;:,]\s)|(?<=[a-z\])]\s))(?P<letters>[a-z]|[A-Z])\s+(?=[A-Z0-9(]|[a-z]{3,})")
SIDES = re.compile(
    r"(?:^|(?<=[.;:,(]\s)|(?<=[(])|(?<=\band\s))(?:the\s+)?(?P<letters>(?:(?:upper|lower|top|bottom|middle|cent(?:er|re)|far)[\s-]+)?"
    r"(?:left|right|middle|cent(?:er|re)|upper|lower|top|bottom)(?:[\s-]+(?:row|panel|column|image|side|hand))*)"
    r"(?:\s*[:)]|\s*,|\s+(?:shows?|is|depicts?)\b)\s*",
    re.I,
)
CLOSED = re.compile(
    r"\s*(?:[.;)]|$|(?:of|in|from|with|without|at|on|after|before|obtained|acquired|taken|showing|demonstrating|"
    r"images?|scans?|slices?|views?|windows?)\b)"
)
"""what follows the last of marks that stand behind their texts: "a lung (A), a heart (B) of one patient" """
ITEM = re.compile(r"[A-Za-z]")
RANGE = re.compile(r"([A-Za-z])\d?'?\s*(?:[-–—]|to)\s*([A-Za-z])", re.I)


@dataclass(frozen=True)
class Mark:
    start: int
    end: int
    """behind the mark and the punctuation that belongs to it"""
    names: tuple[str, ...]
    shut: int
    """behind the mark itself"""


def split_caption(text: str) -> dict[str, str]:
    """Text of each panel by its letter (or side); empty where the caption names no panels."""
    for pattern in (BRACKETED, MARKED, BARE):
        marks = in_order([_mark(m, letters(m["letters"])) for m in pattern.finditer(text)])
        if sum(len(mark.names) for mark in marks) >= 2 or (pattern is BRACKETED and marks and marks[0].names == ("A",)):
            return texts(text, marks)
    sides = [_mark(m, (side(m["letters"]),)) for m in SIDES.finditer(text)]
    unique = {mark.names[0] for mark in sides}
    return texts(text, sides) if len(unique) >= 2 and len(unique) == len(sides) else {}


def _mark(found: re.Match[str], names: tuple[str, ...]) -> Mark:
    bracket = re.compile(r"\s*\)").match(found.string, found.end("letters"))
    return Mark(found.start(), found.end(), names, bracket.end() if bracket else found.end())


def letters(text: str) -> tuple[str, ...]:
    """``a-c`` → A, B, C; ``A and C`` → A, C."""
    match = RANGE.fullmatch(text.strip())
    if match and ord(match[1].upper()) < ord(match[2].upper()):
        return tuple(chr(code) for code in range(ord(match[1].upper()), ord(match[2].upper()) + 1))
    words = re.sub(r"\b(?:and|to)\b", " ", text)
    found: list[str] = []
    for part in re.split(r"[,;&/\s]+", words):
        span = RANGE.fullmatch(part)
        found += letters(part) if span else [item.upper() for item in ITEM.findall(part)[:1]]
    return tuple(found)


def side(text: str) -> str:
    words = [
        w for w in re.split(r"[\s-]+", text.lower()) if w not in {"row", "panel", "column", "image", "side", "hand"}
    ]
    return " ".join("centre" if word == "center" else word for word in words)


def in_order(marks: list[Mark]) -> list[Mark]:
    """The marks that count up from A: each first letter is the one expected, or a repeat further on is passed over."""
    kept: list[Mark] = []
    expected = "A"
    for mark in marks:
        if mark.names and mark.names[0] == expected:
            kept.append(mark)
            expected = chr(ord(max(mark.names)) + 1)
    return kept


def texts(text: str, marks: list[Mark]) -> dict[str, str]:
    """What each mark covers: what follows it, or what goes before it where marks close their phrase."""
    before = text[: marks[0].start].rstrip()
    closing = bool(before) and before[-1] not in ".;:" and not text[marks[0].end :].lstrip()[:1].isupper()
    closing = closing and bool(re.match(r"\s*(?:[,;.]|and\b|$)", text[marks[0].shut :]))
    closing = closing and bool(CLOSED.match(text, marks[-1].shut))
    result: dict[str, str] = {}
    for mark, part in zip(marks, pieces(text, marks, closing), strict=True):
        for name in mark.names:
            result.setdefault(name, part)
    return {name: part for name, part in result.items() if part}


def pieces(text: str, marks: list[Mark], closing: bool) -> Iterator[str]:
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    previous = 0
    for mark, end in zip(marks, ends, strict=True):
        part = text[previous : mark.start] if closing else text[mark.end : end]
        previous = mark.end
        yield re.sub(r"^(?:\s|[,;.:–-]|and\b)+|(?:\s|[,;(]|\band)+$", "", part)
