"""Patients named in a text: "patient 3", "cases 02, 07 and 13", "a 63-year-old woman" -> one spelling of each.

A number goes before an age, and "case 3" and "patient 3" are spelled alike, because within one paper they are one
person more often than two, and taking two people for one costs less than the reverse. Groups ("patients 65 years and
older") and durations ("hypertension for 20 years") are nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FLAGS = re.IGNORECASE
KIND = r"\b(?:patients?|cases?|pts?|subjects?|participants?|individuals?|volunteers?)"
MARK = r"(?:no\.?|number|nr\.?|id|ids|#|nos\.?)?"
UNIT = r"(?![\s-]*(?:years?|yrs?|days?|months?|weeks?|hours?|hrs?|minutes?|min\b|y/?o|h\b|%|times\b|mg|ml))"
NUMBERED = re.compile(
    rf"{KIND}\.?[\s-]*{MARK}[\s#:.-]*"
    rf"(?P<list>[a-z]{{0,2}}\d{{1,3}}\b(?:(?:\s*(?:,|and|&|to|-|–)\s*)+(?:(?:patient|case|pt)s?\.?\s*)?(?:{MARK}[\s#.]*)"
    rf"[a-z]?\d{{1,3}}\b{UNIT})*){UNIT}",
    FLAGS,
)
LETTER = r"(?:[IVX]{2,4}|[A-HIV])(?![\w'’])"
LETTERED = re.compile(
    r"(?<!\ba )(?<!\beach )(?<!\bsame )(?<!\bevery )(?<!\bthis )(?<!\bin )\b(?:[Pp]atients?|[Cc]ases?|[Ss]ubjects?)\s+"
    rf"(?:[Nn]o\.?\s*)?(?P<list>{LETTER}(?:(?:\s*(?:,|and|&)\s*)+(?:(?:[Pp]atient|[Cc]ase)\s+)?{LETTER})*)"
    r"(?! (?:am|was|have|had|saw)\b)"
)
"""capitals only: "Case II", "patients A and B"; not "in case I", "each patient A shows" """

TYPED = re.compile(r"patient ([a-h]|[ivx]{1,4})", FLAGS)
ORDINAL = re.compile(r"\b(?:the )?(first|second|third|fourth|fifth|sixth) (?:\w+ ){0,2}(patient|case)\b", FLAGS)
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
ROMAN = {
    "I": 1,
    "II": 2,
    "III": 3,
    "IV": 4,
    "V": 5,
    "VI": 6,
    "VII": 7,
    "VIII": 8,
    "IX": 9,
    "X": 10,
    "XI": 11,
    "XII": 12,
}

YEARS = r"(?:(?P<months>months?|mo\b)|years?|yrs?|y(?=\b|o\b|/))"
OLD = r"(?:[\s-]*(?P<old>old\b|of age\b|/?\s?o\b\.?|\.\s?o\b\.?))?"
SEX = (
    r"(?P<sex>wom[ae]n|females?|m[ae]n|males?|girls?|boys?|lady|ladies|gentlem[ae]n|[MF](?![\w'’])|"
    r"(?:patient|child|infant|case|subject|person|individual|volunteer|adult|toddler)s?)\b"
)
ADJECTIVES = (
    r"(?:(?:aged?|chinese|asymptomatic|severe(?:ly)?|critical\w*|healthy|previously|white|black|asian|african|hispanic|"
    r"italian|korean|japanese|iranian|pregnant|mild\w*|caucasian|hiv\S*|ill|old|obese|immuno\w+|non-?smok\w+|smok\w+)"
    r"[\s,-]+){0,3}"
)
AGED = re.compile(
    rf"\b(?P<age>\d{{1,3}})[\s-]*{YEARS}{OLD}[\s,/-]*{ADJECTIVES}"
    rf"(?:(?<![a-z])(?:(?P<adj>male|female)\s+)?{SEX}|(?=\W|$))",
    FLAGS,
)
AGED_LATE = re.compile(
    rf"(?:(?P<adj>\bmale|\bfemale)\s+)?(?<!\w){SEX}[\s,(:/]+(?:(?:who|and) (?:is|was) )?(?P<aged>aged |age |of )?"
    rf"(?P<age>\d{{1,3}})[\s-]*{YEARS}{OLD}",
    FLAGS,
)
STATED = re.compile(
    rf"(?:\b(?P<first>(?:wom|m)an|(?:fe)?male|girl|boy)[\s,(]+)?\bage[d:]?\s*(?P<age>\d{{1,3}})(?!\d|\s*(?:-|to|and|±)\s*\d)(?:[\s-]*{YEARS}{OLD})?[\s,;/]*(?:sex:?\s*)?"
    rf"(?:(?P<adj>male|female)\s+)?(?:{SEX})?",
    FLAGS,
)
GROUP_BEFORE = re.compile(
    r"(?:\b(?:mean|median|average|range\w*|over|under|above|below|than|least|most|between|all|every|these|from)|[<>≥≤±]|"
    r"\d\s*(?:-|to|and|±))[\s,:(]*(?:(?:of|is|was) )?(?:age[ds]?[\s:,]*)?(?:of )?$",
    FLAGS,
)
GROUP_AFTER = re.compile(r"^[\s,-]*(?:\w+ ){0,2}?(?:(?:and|or) (?:older|above|over|more|younger|under|less)|\+)", FLAGS)
DURATION_AFTER = re.compile(
    r"^\s*(?:ago|later|after|before|earlier|of (?!age)|follow|previous|prior|history|post)", FLAGS
)
PLURAL = re.compile(r"(?:m|wom|gentlem)en|.*s|ladies", FLAGS)


@dataclass(frozen=True)
class Aged:
    """One person stated by age: where, how old, and ``woman``, ``man`` or ``patient``."""

    start: int
    age: int
    months: bool
    sex: str

    @property
    def name(self) -> str:
        if not self.months:
            return f"{self.age}-year-old {self.sex}"
        return f"{self.age}-month-old {({'woman': 'girl', 'man': 'boy'}).get(self.sex, 'infant')}"


def patients_in(text: str) -> tuple[str, ...]:
    """Names in order of appearance, each once: ``patient 3``, else ``63-year-old woman``; () if none is named."""
    numbered = [(start, f"patient {n}") for start, _, names in _listed(text) for n in names]
    for match in ORDINAL.finditer(text):
        numbered.append((match.start(), f"patient {ORDINALS[match[1].lower()]}"))
    typed = TYPED.fullmatch(text.strip())
    if typed and not numbered:  # as a curator types it, who need not hold the shift key
        key = typed[1].upper()
        numbered.append((0, f"patient {ROMAN.get(key, key)}"))
    if numbered:
        return tuple(dict.fromkeys(name for _, name in sorted(numbered, key=lambda found: found[0])))
    return tuple(dict.fromkeys(person.name for person in aged_in(text)))


def aged_in(text: str) -> list[Aged]:
    """People stated by age, in order. One age read twice is one person, and so is an age once with a sex, once
    without.
    """
    found: dict[int, Aged] = {}
    for pattern in (AGED, AGED_LATE, STATED):
        for match in pattern.finditer(text):
            made = _person(match, text, stated=pattern is STATED)
            if made and (made.start not in found or found[made.start].sex == "patient"):
                found[made.start] = made
    people = [found[start] for start in sorted(found)]
    sexed = {(p.age, p.months) for p in people if p.sex != "patient"}
    return [p for p in people if p.sex != "patient" or (p.age, p.months) not in sexed]


def _person(match: re.Match[str], text: str, stated: bool) -> Aged | None:
    """The person of one match; None for groups, durations and impossible ages."""
    age, start = int(match["age"]), match.start("age")
    sex = match["sex"] or (stated and match["first"]) or ""
    before, after = text[max(0, start - 30) : start], text[match.end() : match.end() + 30]
    article = re.search(r"\ban?\s+(?:[\w-]+\s+){0,2}$", text[max(0, match.start() - 30) : match.start()], FLAGS)
    if age > 110 or GROUP_BEFORE.search(before) or GROUP_AFTER.match(after) or (PLURAL.fullmatch(sex) and not article):
        return None
    if not sex and re.search(r"\b(?:were|are)\s*$", before, FLAGS):
        return None
    late = match.re is AGED_LATE
    if not sex and not stated and not match["old"]:  # "for 20 years," is no age
        return None
    if late and not match["old"] and (DURATION_AFTER.match(after) or (match["months"] and not match["aged"])):
        return None
    return Aged(start, age, bool(match["months"]), _sex(match["adj"] or sex))


def aliases(text: str) -> dict[str, str]:
    """``{"45-year-old man": "patient 3"}`` where a text introduces a numbered patient by age ("Patient 3, a
    45-year-old").
    """
    found: dict[str, str] = {}
    for _, end, names in _listed(text):
        tail = text[end : end + 60]
        people = aged_in(tail)
        if len(names) == 1 and people and not re.search(r"[.;]\s", tail[: people[0].start]):
            found[people[0].name] = f"patient {names[0]}"
    return found


def person_in(text: str) -> tuple[str, str]:
    """``(age in years, sex)`` of the only person a text describes, sex as F or M; empty for none or several."""
    found = {(str(p.age // 12 if p.months else p.age), p.sex) for p in aged_in(text)}
    if len(found) != 1:
        return "", ""
    age, sex = found.pop()
    return age, {"woman": "F", "man": "M"}.get(sex, "")


def _listed(text: str) -> list[tuple[int, int, list[str]]]:
    """``(start, end, numbers or letters)`` of each list of patients: "cases 02, 07", "Case II", "patients A and B"."""
    found = [(m.start(), m.end(), _numbers(m["list"])) for m in NUMBERED.finditer(text)]
    for match in LETTERED.finditer(text):
        listed = re.findall(LETTER, match["list"])
        roman = any(len(x) > 1 for x in listed) or listed in (["I"], ["V"])
        found.append((match.start(), match.end(), [str(ROMAN.get(x, x)) if roman else x for x in listed]))
    return found


def _numbers(listed: str) -> list[str]:
    listed = re.sub(r"(?i)(?:patient|case|pt)s?\.?|\bnos?\b\.?|\bnumber\b|#", "", listed)
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
    if word.startswith(("wom", "fem", "girl", "lad")) or word == "f":
        return "woman"
    if word.startswith(("man", "men", "mal", "boy", "gent")) or word == "m":
        return "man"
    return "patient"
