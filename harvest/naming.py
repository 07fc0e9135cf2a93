"""How running text names figures: "Figs 1-3", "Figure 2 and 3 show", "eFigure 1", "S1 and S2 Figs", and its sentences.

Pure: text in, positions and numbers out. Guarantees: each figure that a range covers is named; the numbers are those
that `harvest.forms` gives to captions (``S1``, ``ED2``, ``E3`` for eFigure 3, ``A1`` for Appendix Figure 1, ``IV``,
``1-S2`` for the second supplement of figure 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

REFERENCE = re.compile(
    r"(?<![A-Za-z])(?:(?P<supp>supplement(?:ary|al)?|suppl?\.?|supporting|additional|online)\s+|(?P<appendix>appendix)\s+"
    r"|(?P<extended>extended\s+data\s+)|(?P<e>e[-–]?)(?=fig))?"
    r"(?P<word>fig(?:ure)?(?P<plural>s)?|scheme(?:s)?|chart|plate|(?-i:Image|Picture))\s*[.\-:]?\s*"
    r"(?=[(]?(?:(?:S|ED?|[A-D])?[-–. ]?\d|(?-i:[IVX]{1,5})(?![A-Za-z])))"
    r"|(?<![A-Za-z])(?=(?-i:S)\d{1,3}\b(?:\s*(?:,|;|&|and|to|[-–])\s*(?:and\s+)?(?-i:S)?\d{1,3}\b){0,9}\s+(?P<behind>figs?\b))",
    re.I,
)
ITEM = re.compile(
    r"\(?(?:(?P<series>SI?|ED?|[A-D])?[-–. ]?(?P<digits>\d{1,3}(?:\.\d{1,3})*)(?![\d%])|"
    r"(?P<roman>[IVX]{1,5})(?![A-Za-z]))"
    r"(?P<panels>\s?\(?[A-Za-z](?![A-Za-z])(?:\s?[-–,]\s?[A-Za-z](?![A-Za-z]))*\)?)?"
)
LINK = re.compile(r"\s*(?P<link>,\s*and|,|;|and|&|\+|or|/|to|through|[-–—])\s*(?:fig(?:ure)?s?\.?\s*)?", re.I)
ALONE = re.compile(r"[\s)\].,;:]*(?:$|[)\].,;])")
"""behind a number that nothing is counted with"""
VERB = re.compile(
    r"\s+(?:(?:both|also|further|clearly|respectively)\s+)?(?:shows?|are|is|were|was|illustrates?|depicts?|demonstrates?|"
    r"presents?|displays?|summari[sz]es?|represents?|reports?|provides?|gives?|indicates?|reveals?|compares?|describes?|"
    r"suggests?|contains?|plots?|respectively|below|above)\b",
    re.I,
)
SUPPLEMENT = re.compile(r"\s*[-–—]?\s*figure\s+supplements?\s+(?P<digits>\d{1,2})\b", re.I)
SPLIT = re.compile(
    r"(?<=[.!?])[\"”’)\]]*(?:\d{1,3}(?:[,–-]\d{1,3})*|\[\d{1,3}(?:\s?[,;–-]\s?\d{1,3})*\])?\s+(?=[\"“‘(\[]?[A-Z0-9])"
)
SHORT = re.compile(
    r"(?:\b(?:figs?|figures?|tabs?|eqs?|refs?|nos?|vol|pp?|al|vs|ca|cf|approx|resp|etc|e\.g|i\.e|viz|dr|prof|mr|mrs|ms|st|"
    r"suppl?|sec|ch|var|ssp|spp|subsp|inc|ltd|co|max|min|avg)|(?<![A-Za-z0-9])[A-Za-z])\.$",
    re.I,
)
PANEL_ENDS = re.compile(
    r"(?:\bfig(?:ure)?s?\.?\s?(?:S?\d+\s?\(?[A-Za-z]\)?(?:(?:\s?[-–,&]\s?|,?\s+and\s+)S?\d{0,3}[A-Za-z])*|(?-i:[IVX]))"
    r"|\b(?-i:S)\d{1,3}\s+figs?)\.$",
    re.I,
)
"""a panel's letter, a Roman number or "S1 Fig." at the end: "in Figure 1A–C." ends a sentence, an initial does not"""
WORD_KINDS = {"fig": "figure", "sch": "scheme", "cha": "chart", "pla": "plate", "ima": "image", "pic": "image"}
TIGHT = frozenset({"-", "–", "—"})
RANGES = frozenset({"-", "–", "—", "to", "through"})


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences with where they begin; abbreviations ("Fig.", "et al.", initials) do not end one."""
    start = 0
    for match in SPLIT.finditer(text):
        head = text[max(start, match.start() - 120) : match.start()]
        if SHORT.search(head) and not PANEL_ENDS.search(head):
            continue
        yield start, text[start : match.end()].strip()
        start = match.end()
    if text[start:].strip():
        yield start, text[start:].strip()


def references(text: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Where a text names a figure, and which: (position, (kind, number))."""
    for match in REFERENCE.finditer(text):
        kind = WORD_KINDS[(match["word"] or match["behind"])[:3].lower()]
        prefix = {"supp": "S", "appendix": "A", "extended": "ED", "e": "E", "behind": "S"}
        series = next((sign for group, sign in prefix.items() if match[group]), "")
        plural = bool(match["plural"] or match["behind"])
        for number in listed(text, match.end(), series, plural):
            yield match.start(), (kind, number)


def listed(text: str, at: int, prefix: str = "", plural: bool = False) -> Iterator[str]:
    """The numbers of a list that begins at ``at``: "1", "1-3", "S1 and S2", "2a, b and 4C"."""
    item = ITEM.match(text, at)
    last = link = ""
    while item:
        series = (item["series"] or prefix).upper()
        digits = item["digits"] or item["roman"]
        supplement = SUPPLEMENT.match(text, item.end())
        number = series + digits if item["digits"] else digits
        if link in RANGES:
            yield from (series + str(n) for n in between(last, digits))
        last = digits
        end = supplement.end() if supplement else item.end()
        step = LINK.match(text, end)
        following = ITEM.match(text, step.end()) if step else None
        if supplement:
            yield f"{number}-S{supplement['digits']}"
        elif step and step.group() in TIGHT and following and not following["series"] and chapter(digits, following):
            yield f"{number}-{following['digits']}"
            return
        else:
            yield number
        if step and following and not plural and not goes_on(text, step, following, last):
            following = None
        link = step["link"].lower() if step else ""
        item = following


def goes_on(text: str, step: re.Match[str], following: re.Match[str], last: str) -> bool:
    """Whether behind "Figure 2" (in the singular) a number belongs to the list, and does not count something else.

    "Figure 2 and 3 show" and "Figure 2-4" do, "Figure 1 and 20 patients" and "In Figure 1, 2 of 3 patients" do not.
    """
    if following["panels"] or "fig" in step.group().lower() or ALONE.match(text, following.end()):
        return True
    if step["link"] == "," or following["roman"]:
        return bool(following["roman"])
    if step.group() in TIGHT:
        return counts_up(last, following["digits"])
    return bool(VERB.match(text, following.end()))


def chapter(first: str, following: re.Match[str]) -> bool:
    """Whether a number behind a hyphen ends no range: ``Figure 2-1`` is the first figure of chapter 2."""
    second = following["digits"] or ""
    return first.isdecimal() and second.isdecimal() and int(second) <= int(first)


def counts_up(first: str, last: str) -> bool:
    """Whether two numbers can be the ends of a range."""
    return first.isdecimal() and last.isdecimal() and 0 < int(last) - int(first) <= 30


def between(first: str, last: str) -> list[int]:
    """Whole numbers strictly between two, at most 30 of them."""
    return list(range(int(first) + 1, int(last))) if counts_up(first, last) else []
