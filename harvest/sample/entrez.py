"""Search terms as Entrez reads them, in small: phrases, field tags, AND/OR/NOT from left to right, date ranges."""

from __future__ import annotations

import re
from collections.abc import Callable

from harvest.sample.store import Row

TOKEN = re.compile(r'\(|\)|"[^"]*"(?:\[[^\]]*\])?|[^\s()"\[\]:]+(?:\[[^\]]*\])?|\[[^\]]*\]|:')
Test = Callable[[Row], bool]


def search(term: str, rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows that match, newest id first, and the phrases that no row has."""
    missing: list[str] = []
    test, _ = _expression(TOKEN.findall(term), 0, rows, missing)
    return sorted((r for r in rows if test(r)), key=lambda r: -int(r["pmcid"][3:])), missing


def _expression(tokens: list[str], at: int, rows: list[Row], missing: list[str]) -> tuple[Test, int]:
    test, at = _operand(tokens, at, rows, missing)
    while at < len(tokens) and tokens[at] != ")":
        word = tokens[at].upper()
        step = at + 1 if word in ("AND", "OR", "NOT") else at
        other, at = _operand(tokens, step, rows, missing)
        test = _join(test, other, word)
    return test, at


def _join(left: Test, right: Test, word: str) -> Test:
    if word == "OR":
        return lambda row: left(row) or right(row)
    if word == "NOT":
        return lambda row: left(row) and not right(row)
    return lambda row: left(row) and right(row)


def _operand(tokens: list[str], at: int, rows: list[Row], missing: list[str]) -> tuple[Test, int]:
    if at >= len(tokens):
        return (lambda _row: True), at
    if tokens[at] == "(":
        test, at = _expression(tokens, at + 1, rows, missing)
        return test, at + 1
    phrase, field = _split(tokens[at])
    if at + 2 < len(tokens) and tokens[at + 1] == ":":
        last, field = _split(tokens[at + 2])
        first = _day(phrase, "0")
        until = _day(last, "9")
        return (lambda row: first <= row["date"] <= until), at + 3
    # Entrez reads neighbouring words without quotes as one run; a tag ends it
    while (
        not field
        and not tokens[at].startswith('"')
        and at + 1 < len(tokens)
        and tokens[at + 1] not in "()"
        and tokens[at + 1].upper() not in ("AND", "OR", "NOT")
    ):
        more, field = _split(tokens[at + 1])
        phrase = f"{phrase} {more}".strip()
        at += 1
    return _word_test(phrase.lower(), field.lower(), rows, missing), at + 1


def _word_test(phrase: str, field: str, rows: list[Row], missing: list[str]) -> Test:
    if field in ("filter", "sb") or phrase in ("open access", "free full text"):
        return lambda row: bool(row["open_access"]) if "open" in phrase else True
    if field in ("pdat", "dp", "pubdate", "publication date", "date - publication"):
        return lambda row: row["date"].startswith(phrase.replace("-", "/"))
    if field in ("lang", "la", "language"):
        return lambda _row: True
    wanted = phrase.rstrip("*")
    whole = field == "title" or field == "ti"

    def test(row: Row) -> bool:
        text = row["title"].lower() if whole else row["text"]
        return wanted in text or all(word in text for word in wanted.split())

    if not any(test(row) for row in rows):
        missing.append(phrase)
    return test


def _split(token: str) -> tuple[str, str]:
    found = re.fullmatch(r'"?([^"\[]*)"?(?:\[([^\]]*)\])?', token)
    return (found.group(1), found.group(2) or "") if found else (token, "")


def _day(text: str, fill: str) -> str:
    """``2000`` or ``2019/10/31`` as a comparable date."""
    return (
        (text.strip('"').replace("-", "/") + "/" + "/".join([fill * 2] * 2))
        if len(text) == 4
        else text.replace("-", "/")
    )
