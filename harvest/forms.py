"""Labels in their rarer forms: ``eFigure 1.``, ``S1 Fig.``, ``figure 1.``, ``Figure No. 2:``, ``[Fig. 3]``.

Pure. `read_label` gives what `harvest.labels.parse_label` gives for the usual forms, and these besides. Guarantees: two
series keep two numbers: ``S1`` (supplementary), ``E1`` (eFigure), ``A1`` (appendix), ``1-S1`` (supplement of figure 1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from harvest.labels import Label, parse_label
from harvest.naming import SUPPLEMENT, listed

HINT = re.compile(r"fig|image|picture|photo|scheme|chart|plate|tab|box|algo|append", re.I)
LOWER = re.compile(
    r"^\W{0,2}(?:(?:supplement(?:ary|al)?|suppl?\.?|extended\s+data|appendix)\s+)?(?P<word>fig(?:ure)?|scheme|chart|plate)\b",
    re.I,
)
BEHIND = re.compile(r"^[(\[<]?(?P<text>(?P<number>S\d{1,3})\s+(?P<word>Fig(?:ure)?)\b)\.?")
EXTRA = re.compile(
    r"^[(\[<]?(?:supplement(?:ary|al)?\s+)?(?P<text>e[-–]?(?P<word>fig(?:ure)?)\.?\s*(?P<number>\d{1,3})(?!\d)(?P<panel>[A-Z](?![A-Za-z]))?)",
    re.I,
)
SEVERAL = re.compile(
    r"^[(\[<]?(?P<text>(?P<word>Fig(?:ure)?s)\.?\s*(?P<number>S?\d{1,3}[A-Z]?(?:\s*(?:,|&|and|to|-|–|—)\s*(?:and\s+)?S?\d{1,3}[A-Z]?)+))(?![\dA-Za-z])",
    re.I,
)
NAMED = re.compile(
    r"^[(\[<]?(?P<text>(?P<word>fig(?:ure)?|Image|Picture|Photo(?:graph)?)\s*\.?\s*(?:No\b\.?|Nr\b\.?|number\b|#)?\s*"
    r"(?P<open>\()?(?P<number>S?\d{1,3})(?(open)\))(?P<panel>[A-Za-z](?![A-Za-z]))?)(?!\d)",
    re.I,
)
MARK = re.compile(r"\s*(?P<mark>[)\]>]\s*[.:,]?|[.:|–—―-]+|[,;])?\s*")
CLEAR = frozenset(".:|–—―-")
"""marks that set a label off from its caption beyond doubt"""


@dataclass(frozen=True)
class Reading:
    """A label and how sure its form is."""

    label: Label
    rare: bool
    """a form that running text uses as well: a caption only beside a picture"""


def read_label(text: str) -> Reading | None:
    """The label that a line starts with in any form, or None."""
    if not HINT.search(text, 0, 60):
        return None
    label = parse_label(text)
    if label is not None:
        return Reading(with_supplement(text, of_appendix(bracketed(text, label))), rare=False)
    lower = LOWER.match(text)
    if lower and text[lower.start("word")].islower():
        at = lower.start("word")
        label = parse_label(text[:at] + text[at].upper() + text[at + 1 :])
        if label is not None:
            begin = len(text[: lower.end()]) - len(text[: lower.end()].lstrip(" ([<\"'"))
            label = of_appendix(bracketed(text, replace(label, text=text[begin : begin + len(label.text)])))
            return Reading(label, rare=True) if label.mark else None
    for pattern in (BEHIND, EXTRA, SEVERAL, NAMED):
        match = pattern.match(text)
        if match is None:
            continue
        gap = MARK.match(text, match.end())
        mark = (gap["mark"] or "") if gap else ""
        if not mark and pattern is not BEHIND and text[match.end() :].strip():
            return None
        panel = match.groupdict().get("panel") or ""
        number = ("E" if pattern is EXTRA else "") + numbered(match["number"]) + panel
        kind = "figure" if match["word"][:3].lower() == "fig" else "image"
        end = gap.end() if gap else match.end()
        return Reading(Label(match["text"].strip(), kind, number, mark.strip(), end, False, panel), rare=True)
    return None


def numbers_of(label: Label) -> tuple[str, ...]:
    """The single numbers of a label that names several: ``Figs. 3-5`` → 3, 4, 5; else its own."""
    several = re.match(r"fig(?:ure)?s\b", label.text, re.I)
    return tuple(listed(label.number, 0, plural=True)) if several else (label.number,)


def numbered(text: str) -> str:
    """``1 and 2`` → ``1,2``; ``3–5`` → ``3-5``."""
    ranged = re.sub(r"\s*(?:[-–—]|\bto\b)\s*", "-", text)
    return re.sub(r"\s*(?:,|&|\band\b)\s*(?:and\s+)?", ",", ranged).upper()


def bracketed(text: str, label: Label) -> Label:
    """The label with the bracket or comma behind it as its mark: ``[Fig. 2] …``, ``Figure 3, …``."""
    if label.mark:
        return label
    gap = re.compile(r"\s*(?P<mark>[\]>]\s*[.:]?|[,;])\s*").match(text, label.end)
    return replace(label, mark=gap["mark"].strip(), end=gap.end()) if gap else label


def of_appendix(label: Label) -> Label:
    """``Appendix Figure 1`` is A1, apart from the supplement's S1."""
    if label.text.lower().startswith("appendix") and label.number.startswith("S") and not re.search(r"S\d", label.text):
        return replace(label, number="A" + label.number[1:])
    return label


def with_supplement(text: str, label: Label) -> Label:
    """``Figure 1—figure supplement 2`` is 1-S2, a figure of its own beside 1."""
    found = SUPPLEMENT.match(text, label.end)
    if not found:
        return label
    gap = MARK.match(text, found.end())
    mark, end = ((gap["mark"] or "").strip(), gap.end()) if gap else ("", found.end())
    begin = text.index(label.text)
    number = f"{label.number}-S{found['digits']}"
    return replace(label, text=text[begin : found.end()].strip(), number=number, mark=mark, end=end, panel="")
