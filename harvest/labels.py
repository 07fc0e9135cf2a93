"""The grammar of captions' labels: ``Figure 1.``, ``Supplementary Fig. S2 |``, ``Extended Data Fig. 3``, ``FIGURE IV``.

Pure. Gives `Label`s from lines of text, and lines of text joined as a reader would.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX = (
    r"(?:(?P<supp>(?:online\s+)?(?:data\s+)?supplement(?:ary|al)?(?:\s+(?:information|materials?|data|file)\s*\d*)?|suppl?\.?"
    r"|supporting(?:\s+information)?|additional(?:\s+file\s*\d*)?|appendix|online)"
    r"|(?P<extended>extended\s+data))"
)
NUMBER = (
    r"(?:(?P<series>SI?|ED?|[A-D])[-–. ]?)?(?P<digits>\d{1,3}(?:[.\-–]\d{1,3}){0,2})|(?P<roman>[IVX]{1,5})(?![A-Za-z])"
)
LABEL = re.compile(
    rf"^\W{{0,2}}(?:{PREFIX}[\s,:-]+)?(?P<word>fig(?:ure)?s?|scheme|chart|plate|table|tab|box|algorithm|appendix)"
    rf"(?:\s*[.\-–:]\s*|\s+|(?=\d))(?:{NUMBER})"
    r"(?:(?P<panels>[A-Za-z](?:\s?[-–,&]\s?[A-Za-z](?![A-Za-z]))+)|(?P<panel>[A-Za-z](?![A-Za-z])))?",
    re.I,
)
SEPARATOR = re.compile(r"\s*(?P<mark>[.:|–—―-]+|\)\s*[.:]?)?\s*")
CONTINUED = re.compile(r"^\W*(?:cont(?:inued|inuation|\.|'d|’d)|cont)\b\W*", re.I)
ENDED = re.compile(r"[.!?:;][\"'”’)\]]?\d{0,3}$|\)$")
LEGENDS = re.compile(
    r"^(?:list of )?(?:supplement\w* )?(?:fig(?:ure)?s?\W*)?(?:legends?|captions?)"
    r"(?: (?:of|to|for) (?:the )?fig\w*)?\W*$",
    re.I,
)
"""the heading of a list of captions"""
DIVIDED = re.compile(r"[a-z]{2}-$")
KINDS = {
    "fig": "figure",
    "tab": "table",
    "alg": "algorithm",
    "app": "appendix",
    "box": "box",
    "sch": "scheme",
    "cha": "chart",
    "pla": "plate",
}
TABLES = frozenset({"table", "box", "algorithm", "appendix"})


@dataclass(frozen=True)
class Label:
    """What a caption starts with: ``Supplementary Fig. 3`` is kind ``figure``, number ``S3``."""

    text: str
    kind: str
    number: str
    mark: str
    """what stands between the label and the text"""
    end: int
    """where the caption's own words begin in the line"""
    continued: bool = False
    panel: str = ""
    """the letter at the number's end where parts of a figure are labelled apart: ``Figure 2B``"""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.number

    @property
    def whole(self) -> tuple[str, str]:
        """The key of the figure that this is a part of (its own where it is none)."""
        return self.kind, self.number.removesuffix(self.panel)


def parse_label(text: str) -> Label | None:
    """The label a line starts with, or None."""
    match = LABEL.match(text)
    if not match or not text[match.start("word")].isupper() or match["word"].lower().endswith("s"):
        return None
    number = (match["digits"] or match["roman"]).replace("–", "-")
    if match["roman"] and not match["roman"].isupper():
        return None
    if match["series"]:
        number = match["series"].upper() + number
    elif match["extended"] or match["supp"]:
        number = ("ED" if match["extended"] else "S") + number
    gap = SEPARATOR.match(text, match.end())
    end = gap.end() if gap else match.end()
    mark = (gap["mark"] or "").strip() if gap else ""
    first = min(match.start(group) for group in ("supp", "extended", "word") if match[group])
    continued = CONTINUED.match(text[end:].lstrip("( "))
    kind = KINDS[match["word"][:3].lower()]
    panel = match["panel"] or ""
    return Label(text[first : match.end()].strip(), kind, number + panel, mark, end, bool(continued), panel)


def joined_text(texts: Sequence[str]) -> str:
    """Lines as one text; a word divided at a line's end is put together again."""
    return joined_lines(texts)[0]


def joined_lines(texts: Sequence[str]) -> tuple[str, list[int]]:
    """Lines as one text, and where in it each line begins."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for raw in texts:
        text = " ".join(raw.split())
        if text and parts:
            last = parts[-1]
            if DIVIDED.search(last) and text[:2].isalpha() and text[:2].islower():
                parts[-1] = last[:-1]
                length -= 1
            elif not last.endswith(("-", "–", "/")):
                parts.append(" ")
                length += 1
        starts.append(length)
        if text:
            parts.append(text)
            length += len(text)
    return "".join(parts), starts
