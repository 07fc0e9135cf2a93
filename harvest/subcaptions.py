"""A compound figure's caption split into what it says of each panel: "(A) … (B) …", "a, … b, …", "left: … right: …".

Pure. Letters and Roman numbers are given in capitals, sides and rows as ``left``, ``upper right``, ``first row``.
Guarantees: letters come in order from the first; a caption without such marks gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

LETTER = r"[A-Za-z](?:\d|')?"
ASIDE = (
    r"(?:[,;:]?\s+(?:(?:left|right|upper|lower|top|bottom|middle)(?:\s+(?:panel|row|column))?"
    r"|(?:[a-z]+\s+)?(?:arrow(?:[ -]?head)?s?|asterisks?|stars?|circles?|box(?:es)?)))?"
)
"""what else stands in a mark's bracket: "(A, left)", "(B, arrows)" """
BRACKETED = re.compile(
    rf"[(\[]\s*(?:panels?\s+)?(?P<letters>{LETTER}"
    r"(?:(?:\s*[)\]]\s*(?:[-–—&/]|and|to)?\s*[(\[]\s*|\s*(?:[-–—,;&/]|and|to)\s*(?:and\s+)?)"
    rf"{LETTER}(?![A-Za-z]))*){ASIDE}\s*[)\]]"
    r"(?:\s*[:.,–-](?=\s))?"
)
FIRST = re.compile(rf"[(\[]\s*(?:panels?\s+)?(?P<letters>{LETTER})\s*[)\]](?:\s*[:.,–-](?=\s))?")
PANEL = re.compile(
    r"(?:^|(?<=[.;:,]\s)|(?<=\band\s))(?:the\s+)?(?:panels?|images?|parts?|subfigures?)\s+"
    r"(?P<letters>[A-Za-z](?:(?:\s?[-–,&/]\s?|\s+(?:and|to)\s+)[A-Za-z](?![A-Za-z]))*)"
    r"(?:\s*[):.,]|\s+(?:shows?|is|are|depicts?|represents?|demonstrates?|presents?)\b)\s*",
    re.I,
)
MARKED = re.compile(
    r"(?:^|(?<=[.;:,]\s)|(?<=\band\s))(?P<letters>[A-Za-z](?:(?:\s?[-–,&/]\s?|\s+and\s+)[A-Za-z](?![A-Za-z]))*)"
    r"(?:\)|[.:]|,(?!\s+[B-Zb-z]\s))\s+(?=\S)"
)
BARE = re.compile(
    r"(?:^|(?<=[.;:,]\s)|(?<=[a-z\])]\s))(?P<letters>[a-z]|[A-Z])\s+(?=[A-Z0-9(]|[a-z]{3,})"
    r"|(?:^|(?<=[.;:]\s))(?P<several>[a-z](?:\s?[-–,]\s?[a-z](?![A-Za-z]))+|[A-Z](?:\s?[-–,]\s?[A-Z](?![A-Za-z]))+)\s+(?=[A-Z0-9(])"
)
ROMAN = re.compile(r"\((?P<letters>i{1,3}|iv|vi{0,3}|ix|x|I{1,3}|IV|VI{0,3}|IX|X)\)(?:\s*[:.,](?=\s))?")
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
ROWS = re.compile(
    r"(?:^|(?<=[.;:,(]\s)|(?<=[(])|(?<=\band\s))(?:the\s+)?(?P<letters>(?:first|second|third|fourth|fifth|sixth)\s+"
    r"(?:row|column|panel|image))(?:\s*[:)]|\s*,|\s+(?:shows?|is|depicts?)\b)\s*",
    re.I,
)
SIDES = re.compile(
    r"(?:^|(?<=[.;:,(]\s)|(?<=[(])|(?<=\band\s))(?:the\s+)?(?P<letters>(?:(?:upper|lower|top|bottom|middle|cent(?:er|re)|far)[\s-]+)?"
    r"(?:left|right|middle|cent(?:er|re)|upper|lower|top|bottom)(?:[\s-]+(?:row|panel|column|image|side|hand))*)"
    r"(?:\s*[:)]|\s*,|\s+(?:shows?|is|depicts?)\b)\s*",
    re.I,
)
FOLLOWED = re.compile(r"\s*,\s*(?!(?:of|in|from|with|without|at|on|after|before|and|respectively|\w+ing)\b)")
"""a comma and more behind the last mark: as it stands in "images (A), axial view (B), coronal view" """
LINKED = (
    r"\s*(?:[,;./]|(?:and|or|vs|versus|compared\s+(?:with|to)|as\s+well\s+as)\b)[\s,;.]*"
    r"(?:(?:and|or|as\s+well\s+as|versus)\b\s*)?"
)
BETWEEN = re.compile(rf"{LINKED}(?P<words>.*?)[\s(\[]*", re.S)
ITEM = re.compile(r"[A-Za-z]")
RANGE = re.compile(r"([A-Za-z])\d?'?-([A-Za-z])\d?'?", re.I)
MOST = 200
"""marks that are looked at in one caption"""

LONGEST = 1000
"""characters of a phrase that a mark closes"""


@dataclass(frozen=True)
class Mark:
    start: int
    end: int
    """behind the mark and the punctuation that belongs to it"""
    names: tuple[str, ...]
    shut: int
    """behind the mark itself"""
    capital: bool = True


def split_caption(text: str) -> dict[str, str]:
    """Text of each panel by its letter, Roman number, side or row; empty where the caption names no panels."""
    for pattern in (BRACKETED, PANEL, MARKED, BARE):
        marks = in_order(found(pattern, text, letters), skips=pattern is BRACKETED)
        if sum(len(mark.names) for mark in marks) >= 2 or (pattern is BRACKETED and marks and marks[0].names == ("A",)):
            return texts(text, marks)
    roman = found(ROMAN, text, lambda numeral: (numeral.upper(),))
    kept = [mark for i, mark in enumerate(roman) if mark.names not in [other.names for other in roman[:i]]]
    if len(kept) >= 2 and tuple(mark.names[0] for mark in kept) == NUMERALS[: len(kept)]:
        return texts(text, kept)
    for pattern, name in ((SIDES, side), (ROWS, str.lower)):
        marks = [replace(mark, names=(name(mark.names[0]),)) for mark in found(pattern, text, lambda words: (words,))]
        unique = {mark.names[0] for mark in marks}
        if len(unique) >= 2 and len(unique) == len(marks):
            return texts(text, marks)
    return {}


def found(pattern: re.Pattern[str], text: str, names: Callable[[str], tuple[str, ...]]) -> list[Mark]:
    """The pattern's marks in a text, with what they name."""
    marks = []
    for match in pattern.finditer(text):
        if pattern is BRACKETED and not rising(match["letters"]):
            match = FIRST.match(text, match.start()) or match
        group = "several" if match.groupdict().get("several") else "letters"
        bracket = re.compile(r"[^)\]]{0,20}[)\]]").match(text, match.end(group), match.end())
        shut = bracket.end() if bracket else match.end()
        marks.append(Mark(match.start(), match.end(), names(match[group]), shut, match[group][0].isupper()))
    return marks[:MOST]


def rising(joined: str) -> bool:
    """Whether letters in brackets of their own count up in one case: "(A) (B)" belong together, "(C) (a)" do not."""
    parts = [part[0] for part in re.split(r"[)\]][^(\[]*[(\[]\s*", joined) if part]
    return all(a < b and a.isupper() == b.isupper() for a, b in pairwise(parts))


def letters(text: str) -> tuple[str, ...]:
    """``a-c`` → A, B, C; ``A and C`` → A, C; ``A)-(C`` → A, B, C."""
    plain = re.sub(r"\s*(?:[-–—]|\bto\b)\s*", "-", re.sub(r"[()\[\]]", " ", text))
    result: list[str] = []
    for part in re.split(r"[,;&/\s]+", re.sub(r"\band\b", " ", plain)):
        span = RANGE.fullmatch(part)
        if span and ord(span[1].upper()) < ord(span[2].upper()):
            result += [chr(code) for code in range(ord(span[1].upper()), ord(span[2].upper()) + 1)]
        else:
            result += [item.upper() for item in ITEM.findall(part)[: 2 if span else 1]]
    return tuple(result)


def side(text: str) -> str:
    words = [
        w for w in re.split(r"[\s-]+", text.lower()) if w not in {"row", "panel", "column", "image", "side", "hand"}
    ]
    return " ".join("centre" if word == "center" else word for word in words)


def in_order(marks: list[Mark], *, skips: bool = False) -> list[Mark]:
    """The marks that count up from A: the chain that names most letters, by most marks, passing over the fewest.

    So "(A–C) … (A) … (B) … (C) …" is told by its single marks, and a letter named again further on is passed over.
    ``skips``: one letter may be missing between two marks. "(A, C) … (B, D)" is taken as it stands.
    """
    every = [name for mark in marks for name in mark.names]
    crossed = any(ord(b) - ord(a) > 1 for mark in marks for a, b in pairwise(mark.names))
    if crossed and sorted(every) == [chr(65 + n) for n in range(len(every))]:
        return [mark for mark in marks if mark.names]
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * len(marks)
    following = [-1] * len(marks)
    for i in reversed(range(len(marks))):
        if not marks[i].names:
            continue
        best[i] = (len(marks[i].names), 1, 0)
        passed = 0
        last = ord(max(marks[i].names))
        for j in range(i + 1, len(marks)):
            step = ord(marks[j].names[0]) - last if marks[j].names else 0
            if step == 1 or (step == 2 and skips and marks[i].capital == marks[j].capital):
                chain = (best[j][0] + len(marks[i].names), best[j][1] + 1, best[j][2] - passed)
                if chain > best[i]:
                    best[i], following[i] = chain, j
            passed += step > 0
    starts = [i for i, mark in enumerate(marks) if mark.names and mark.names[0] == "A"]
    at = max(starts, key=lambda i: best[i], default=-1)
    kept = []
    while at >= 0:
        kept.append(marks[at])
        at = following[at]
    return kept


def texts(text: str, marks: list[Mark]) -> dict[str, str]:
    """What each mark covers: what follows it, or what goes before it where marks close their phrase."""
    result: dict[str, str] = {}
    for mark, part in zip(marks, pieces(text, marks, closing(text, marks)), strict=True):
        for name in mark.names:
            result.setdefault(name, part)
    return {name: part for name, part in result.items() if part}


def closing(text: str, marks: list[Mark]) -> int:
    """How many marks, from the first, stand behind their texts: "a lung (A), a heart (B) of one patient".

    Words precede the first, and each next one closes a phrase that a comma or "and" sets off from the mark before it.
    """
    before = text[: marks[0].start].rstrip(" ([")
    if not before or before[-1] in ".;:":
        return 0
    gaps = [text[mark.shut : after.start] for mark, after in pairwise(marks)]
    count = 1
    for gap in gaps:
        match = BETWEEN.fullmatch(gap) if len(gap) <= LONGEST else None
        if not match or not match["words"] or re.search(r"(?:[.,;:]|\band)$", match["words"]):
            break
        count += 1
    if count == 1:
        return int(len(marks) == 1 and not text[marks[0].end :].strip(" .;,"))
    if count == len(marks) and not any("and" in gap.split() for gap in gaps) and FOLLOWED.match(text, marks[-1].shut):
        return 0
    return count


def pieces(text: str, marks: list[Mark], closed: int) -> list[str]:
    """The text of each mark; the first ``closed`` of them stand behind theirs, others without one share the next's."""
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    parts: list[str] = []
    previous = 0
    for number, (mark, end) in enumerate(zip(marks, ends, strict=True)):
        part = text[mark.end : end]
        if number < closed:
            part = re.sub(rf"^{LINKED}", "", text[previous : mark.start]) if number else text[: mark.start]
        previous = mark.shut
        parts.append(re.sub(r"^(?:\s|[,;.:–-]|and\b)+|(?:\s|[,;(\[]|\band)+$", "", part))
    for number in reversed(range(closed, len(parts) - 1)):
        parts[number] = parts[number] or parts[number + 1]
    return parts
