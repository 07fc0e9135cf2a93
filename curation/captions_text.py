"""Pure text work under the evidence: clean a caption, split it into sentences and into the texts of its panels."""

from __future__ import annotations

import re
import unicodedata

DASHES = dict.fromkeys(map(ord, "‐‑‒–—−"), "-")
ABBREVIATIONS = re.compile(
    r"\b(?:fig|figs|no|nos|vs|al|e\.g|i\.e|approx|dr|st|pt|pts|ca|resp|suppl|ref|jan|feb|mar|apr|jun|jul|aug|"
    r"sep|sept|oct|nov|dec)\.$",
    re.I,
)
PANEL = re.compile(
    r"(?:(?<=^)|(?<=[\s.;:,]))"
    r"(?:\((?P<paren>[A-Za-z](?:\s*(?:-|,|and|&|to)\s*[A-Za-z])*)\)\s*[.:,]?|(?P<bare>[A-H](?:\s*(?:-|,|and|"
    r"&)\s*[A-H])*)[.:,)]|"
    r"(?P<lower>[a-h](?:\s*(?:-|,|and|&)\s*[a-h])*)[.:)]|(?:panel|left|right)\s+(?P<named>[A-H])\b[.:,]?)"
    r"(?=\s)",
)
HEADING = re.compile(r"^\W*(?:supplement\w*\s+)?(?:fig(?:ure)?s?|figure)\.?\s*[sS]?\d*[A-Za-z]?\b\s*[.:|,]?\s*", re.I)


def clean(text: str) -> str:
    """One line, one space between words, NFKC, plain hyphens; a Python list printed into a cell is unpacked."""
    text = unicodedata.normalize("NFKC", str(text or "")).translate(DASHES)
    text = re.sub(r"<[^<>]{1,80}>", " ", text)
    text = re.sub(r"(\w)-\s*\n\s*([a-z])", r"\1\2", text)
    text = re.sub(r"\s+", " ", text).strip()
    if text.startswith(("['", '["')) and text.endswith(("']", '"]')):
        text = text[2:-2]
    return text.strip()


def sentences(text: str) -> list[str]:
    """Sentences in order; full stops of abbreviations, initials and decimals do not end one."""
    out: list[str] = []
    start = 0
    for match in re.finditer(r"[.;!?](?=\s|$)|[.](?=[A-Z][a-z])", text):
        tail = text[max(start, match.end() - 12) : match.end()]  # a window, so that time is linear
        if ABBREVIATIONS.search(tail) or re.search(r"(?:^|\s)[A-Z]\.$", tail):
            continue
        out.append(text[start : match.end()].strip())
        start = match.end()
    out.append(text[start:].strip())
    return [s for s in out if len(s) > 1]


def letters_of(group: str) -> list[str]:
    """``A-C`` -> A B C; ``A, C and E`` -> A C E; always upper case."""
    group = group.upper().replace(" TO ", "-").replace("AND", ",").replace("&", ",")
    found: list[str] = []
    for part in re.split(r"\s*,\s*", group.replace(" ", "")):
        ends = [p for p in part.split("-") if p]
        if len(ends) == 2 and all(len(e) == 1 for e in ends) and ends[0] < ends[1]:
            found += [chr(c) for c in range(ord(ends[0]), ord(ends[1]) + 1)]
        else:
            found += [e for e in ends if len(e) == 1]
    return found


def panel_texts(caption: str) -> tuple[str, dict[str, str]]:
    """``(head, {letter: text})`` of a cleaned caption: what is said of all panels, and of each.

    A letter counts only as one of a row that begins at A (or as the single letter of a cut caption), so that "vitamin
    A." or "(B)" in running text starts nothing.
    """
    body = HEADING.sub("", caption)
    marks: list[tuple[int, int, list[str]]] = []
    for match in PANEL.finditer(body):
        group = next(g for g in match.groups() if g)
        found = letters_of(group)
        if found:
            marks.append((match.start(), match.end(), found))
    if not marks:
        return body, {}
    seen = {letter for _, _, found in marks for letter in found}
    if "A" not in seen and len(marks) > 1:
        return body, {}
    texts: dict[str, str] = {}
    if marks[0][0] > 0 and _trailing(body, marks):
        # letters stand behind their texts: "ground glass (A), consolidation (B)."
        start = 0
        for begin, end, found in marks:
            piece = body[start:begin].strip(" ,;.")
            if not texts and ":" in piece:
                piece = piece.split(":", 1)[1]
            for letter in found:
                texts[letter] = f"{texts.get(letter, '')} {piece}".strip()
            start = end
        return body[: marks[0][0]].split(":", 1)[0].strip() if ":" in body[: marks[0][0]] else "", texts
    head = body[: marks[0][0]].strip()
    for number, (_, end, found) in enumerate(marks):
        stop = marks[number + 1][0] if number + 1 < len(marks) else len(body)
        piece = body[end:stop].strip()
        for letter in found:
            texts[letter] = f"{texts.get(letter, '')} {piece}".strip()
    return head, texts


def _trailing(body: str, marks: list[tuple[int, int, list[str]]]) -> bool:
    """True if most letters are followed by punctuation or the end rather than by their text."""
    behind = sum(
        1
        for _, end, _ in marks
        if re.match(r"\s*(?:[,.;]|and\b|$)", body[end - 1 if body[end - 1] in ".,;" else end :])
    )
    return behind * 2 > len(marks) and bool(re.search(r"\(", body))
