"""Patients named in a text: "patient 3", "cases 02, 07 and 13", "a 63-year-old woman" -> one spelling of each.

A number goes before an age, and "case 3" and "patient 3" are spelled alike, because within one paper they are one
person more
often than two, and taking two people for one costs less than the reverse.
"""

from __future__ import annotations

import re

from curation.terms import AGED, AGED_LATE, NUMBERED, ORDINAL, ORDINALS


def patients_in(text: str) -> tuple[str, ...]:
    """Names in order of appearance, each once: ``patient 3``, else ``63-year-old woman``; () if none is named."""
    numbered: list[str] = []
    for match in NUMBERED.finditer(text):
        numbered += [f"patient {n}" for n in _numbers(match["list"])]
    for match in ORDINAL.finditer(text):
        numbered.append(f"patient {ORDINALS[match[1].lower()]}")
    if numbered:
        return tuple(dict.fromkeys(numbered))
    aged: list[tuple[int, str]] = []
    for pattern in (AGED, AGED_LATE):
        for match in pattern.finditer(text):
            age = int(match["age"])
            if age <= 110:
                aged.append((match.start(), f"{age}-year-old {_sex(match['sex'])}"))
    return tuple(dict.fromkeys(name for _, name in sorted(aged)))


def aliases(text: str) -> dict[str, str]:
    """``{"45-year-old man": "patient 3"}`` where a text introduces a numbered patient by age ("Patient 3, a
    45-year-old").
    """
    found: dict[str, str] = {}
    for match in NUMBERED.finditer(text):
        numbers = _numbers(match["list"])
        tail = text[match.end() : match.end() + 60]
        aged = AGED.search(tail) or AGED_LATE.search(tail)
        if len(numbers) == 1 and aged and not re.search(r"[.;]\s", tail[: aged.start()]):
            found[f"{int(aged['age'])}-year-old {_sex(aged['sex'])}"] = f"patient {numbers[0]}"
    return found


def person_in(text: str) -> tuple[str, str]:
    """``(age, sex)`` of the only person a text describes, sex as F or M; empty where there are none or several."""
    found = {(m["age"], _sex(m["sex"])) for pattern in (AGED, AGED_LATE) for m in pattern.finditer(text)}
    if len(found) != 1:
        return "", ""
    age, sex = found.pop()
    return age, {"woman": "F", "man": "M"}.get(sex, "")


def _numbers(listed: str) -> list[str]:
    listed = re.sub(r"(?i)(?:patient|case)s?", "", listed)
    out: list[str] = []
    for part in re.split(r"\s*(?:,|\band\b|&)\s*", listed):
        ends = [e.strip() for e in re.split(r"\s*(?:-|–|\bto\b)\s*", part) if e.strip()]
        if len(ends) == 2 and all(e.isdigit() for e in ends) and 0 < int(ends[1]) - int(ends[0]) <= 40:
            out += [str(n) for n in range(int(ends[0]), int(ends[1]) + 1)]
        else:
            out += [e.lstrip("0") or "0" for e in (e.lower() for e in ends)]
    return out


def _sex(word: str) -> str:
    word = word.lower()
    if word.startswith(("wom", "fem", "girl", "lad")):
        return "woman"
    if word.startswith(("man", "men", "mal", "boy", "gent")):
        return "man"
    return "patient"
