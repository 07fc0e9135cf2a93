"""Which pieces of a line of text identify a person: dates, ages with a sex, labelled names and ids, scanners' names.

Letters and digits are taken as Tesseract confuses them (O and 0, B and 8, a label's end cut off).
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["name", "date of birth", "date", "id", "age"]

MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
MONTH_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
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
        rf"(?:\d{{1,2}}|{YEAR})\s?{MONTH_NAME}\s?\d{{1,2}}",  # cut off by the border: "2011 May 0"
        r"(?P<y>19[3-9]\d|20[0-4]\d)[/\-](?P<m>0[1-9]|1[0-2])[/\-]?",
    )
)
BIRTH = re.compile(
    r"\bD\.?\s?[O0]\.?\s?B\b|\bD[O0Q][B8EPRS]\s?:|(?-i:\b[BD][O0Q][B8P]\b)|"  # DOB, also as Tesseract sees it
    r"\bbirth|\bborn\b|\bgeb(?:oren|\.)|\bn[ée]e?\s+le\b|\bnac(?:ido|\.)",
    re.I,
)
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
