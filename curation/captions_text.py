"""Pure text work under the evidence: clean a caption, split it into sentences and panel texts, read its dates."""

from __future__ import annotations

import re
import unicodedata

from curation.terms import DATE

DASHES = dict.fromkeys(map(ord, "‐‑‒–—−"), "-")
ABBREVIATIONS = re.compile(
    r"\b(?:fig|figs|no|nos|vs|al|e\.g|i\.e|approx|dr|st|pt|pts|ca|resp|suppl|ref|neg|pos|jan|feb|mar|apr|jun|jul|aug|"
    r"sep|sept|oct|nov|dec)\.$",
    re.I,
)
LETTERS = r"[A-Za-z](?:\s*(?:-|,|and|&|to)\s*[A-Za-z])*"
PANEL = re.compile(
    rf"(?:(?<=^)|(?<=[\s.;:,]))(?:\((?P<paren>{LETTERS})\)(?:\s*[.:,](?=\s|$))?|"
    r"(?:(?P<bare>[A-H](?:\s*(?:-|,|and|&)\s*[A-H])*)[.:,)]|(?P<lower>[a-h](?:\s*(?:-|,|and|&)\s*[a-h])*)[.:)]|"
    r"(?:[Pp]anels?|[Ll]eft|[Rr]ight)\s+(?P<named>[A-H](?:\s*(?:-|,|and|&)\s*[A-H])*)\b[.:,]?)(?=\s))"
)
"""letters in brackets may stand before or behind their text, so nothing need follow them"""

POINTER = re.compile(
    r"(?:\b[Ff]ig(?:ure)?s?\.?\s*[sS]?\d+(?:(?:\s+(?=[A-Za-z]\b\s*(?:[,.;:)&-]|$|(?:and|to|is|shows?|depicts?|"
    r"illustrates?|presents?|demonstrates?)\b)))?(?P<joined>[A-Za-z](?:\s*(?:-|,|and|&|to)\s*[A-Za-z](?![\w]))*)(?!\w)|"
    rf"\s*\(\s*(?P<paren>{LETTERS})\s*\))|\b[Pp]anels?\s+\(?(?P<named>[A-Z](?:\s*(?:-|,|and|&|to)\s*[A-Z])*)\b\)?|"
    r"(?<=and\s)\(?\d+(?P<next>[A-Za-z])\b)"
)
"""a sentence points at panels: "Figure 2B", "Fig. 3 (a, b)", "Figures 2A and 2B", "panel C" """

VIEW = re.compile(
    r"\b(?:days?|weeks?|months?|hours?|later|after|before|admission|follow\w*|discharge\w*|baseline|axial|coronal|"
    r"sagittal|transverse|windows?|level|views?|lobes?|reconstruct\w+)\b",
    re.I,
)
SOMEBODY = re.compile(
    r"\b(?:patients?|cases?|m[ae]n|wom[ae]n|controls?|subjects?|volunteers?|another|person|individual|pneumonia|disease)\b",
    re.I,
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
    """Sentences in order; full stops of abbreviations, initials and decimals do not end one, line breaks do."""
    out: list[str] = []
    start = 0
    for match in re.finditer(r"[.;!?](?=\s|$)|[.](?=[A-Z][a-z])|\n", text):
        tail = text[max(start, match.end() - 12) : match.end()]  # a window, so that time is linear
        if ABBREVIATIONS.search(tail) or re.search(r"(?:^|\s)[A-Z]\.$", tail):
            continue
        out.append(text[start : match.end()].strip())
        start = match.end()
    out.append(text[start:].strip())
    return [s for s in out if len(s) > 1]


def early(text: str) -> bool:
    """True if the text gives dates and all lie before December 2019, when nobody had the disease yet."""
    dates = []
    for match in DATE.finditer(text):
        year = int(match["y1"] or match["y2"] or match["y3"])
        december = (match["m1"] or "").lower().startswith("dec") or (match["m2"] or "") == "12"
        if 1950 <= year <= 2100:
            dates.append(year > 2019 or (year == 2019 and (december or bool(match["y3"]))))
    return bool(dates) and not any(dates)


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
    if _trailing(body, marks):
        return _behind(body, marks)
    texts: dict[str, str] = {}
    head = body[: marks[0][0]].strip()
    for number, (_, end, found) in enumerate(marks):
        stop = marks[number + 1][0] if number + 1 < len(marks) else len(body)
        piece = body[end:stop].strip()
        for letter in found:
            texts[letter] = f"{texts.get(letter, '')} {piece}".strip()
    return head, texts


def _behind(body: str, marks: list[tuple[int, int, list[str]]]) -> tuple[str, dict[str, str]]:
    """Letters stand behind their texts: "ground glass (A), consolidation (B)." What follows the last is said of all."""
    texts: dict[str, str] = {}
    pieces: list[str] = []
    head = ""
    start = 0
    for begin, end, found in marks:
        piece = body[start:begin].strip(" ,;.")
        if not pieces and ":" in piece:
            head, piece = piece.split(":", 1)
        if pieces:
            piece = re.sub(r"^(?:(?:and|or|vs\.?|versus|while|compared (?:with|to))\s+)+", "", piece, flags=re.I)
        pieces.append(piece)
        for letter in found:
            texts[letter] = f"{texts.get(letter, '')} {piece}".strip()
        start = end
    rest = body[start:].strip(" ,;.")
    if not head and all(VIEW.search(p) and not SOMEBODY.search(p) for p in pieces[1:]):
        head = pieces[0]  # "a man with fever on day 1 (A) and day 5 (B)": one subject, named once
    return "\n".join(part for part in (head.strip(), rest) if part), texts


def _trailing(body: str, marks: list[tuple[int, int, list[str]]]) -> bool:
    """True if the first letter closes a phrase, and most are followed by punctuation or a joining word."""
    before = body[: marks[0][0]].rstrip()
    if not before or before[-1] in ".;:" or "(" not in body:
        return False
    joins = re.compile(r"\s*(?:[,.;)]|(?:and|or|vs|versus|compared|with|of|in|from|to|while)\b|$)")
    behind = sum(1 for _, end, _ in marks if joins.match(body, end - 1 if body[end - 1] in ".,;" else end))
    return behind * 2 >= len(marks) and bool(joins.match(body, marks[0][1] - (body[marks[0][1] - 1] in ".,;")))


def said_of(text: str, letter: str) -> tuple[bool, str]:
    """``(named, what is said)`` of one panel in a cleaned mention; named: its letter is pointed at.

    Sentences that point at other letters only are left out; one that points at several is cut at the pointers: what
    goes before a pointer in brackets is its own, what follows any other pointer.
    """
    own: list[str] = []
    open_: list[str] = []
    for sentence in sentences(text):
        marks = [(m.start(), m.end(), letters_of(next(g for g in m.groups() if g))) for m in POINTER.finditer(sentence)]
        if not marks:
            open_.append(sentence)
        elif all(letter in found for _, _, found in marks):
            own.append(sentence)
        elif any(letter in found for _, _, found in marks):
            own += _cut(sentence, marks, letter)
    return bool(own), " ".join(own or open_)


def _cut(sentence: str, marks: list[tuple[int, int, list[str]]], letter: str) -> list[str]:
    parts: list[str] = []
    for number, (begin, end, found) in enumerate(marks):
        if letter not in found:
            continue
        if sentence.rfind("(", 0, end) > sentence.rfind(")", 0, begin):  # "a control (Figure 2B)"
            parts.append(sentence[marks[number - 1][1] if number else 0 : begin])
            continue
        stop = next((b for b, _, others in marks[number + 1 :] if letter not in others), len(sentence))
        parts.append(sentence[begin:stop])
    return [p.strip(" ,;()") for p in parts]
