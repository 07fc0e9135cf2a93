"""How ill: a grade from what a document says in its own words, so that figures per severity have groups to stand on.

The column `severity` of the 2020 release holds a word for some, a description of the picture for most, nothing for the
rest; only words about the illness as a whole give a grade.
"""

from __future__ import annotations

import re

UNSTATED, OTHER = "not stated", "described otherwise"
GRADES = ("critical", "severe", "moderate", "mild", "asymptomatic")
"""from worst to best; the first that a text speaks of is taken"""
_SYMPTOM = r"(?!\s+(?:cough|pain|headache|fever|fatigue|dyspn))"  # a severe cough is no severe illness
_WORDS = {
    "critical": r"critical(?:ly)?\b|mortality group|\bdied\b|\bfatal\b",
    "severe": rf"severe(?:ly)?\b{_SYMPTOM}|serious(?:ly)?\b",
    "moderate": r"moderate(?:ly)?\b|(?:common|ordinary) (?:type|case)",
    "mild": rf"mild(?:ly)?\b{_SYMPTOM}|^light$",
    "asymptomatic": r"asymptomatic\b|without (?:any )?symptoms",
}
_DENIED = r"(?:\bnon-?\s?|\bnot\s+|\bno\s+|\bneither\s+|\bwithout\s+)"


def grade(text: str) -> str:
    """One of GRADES, OTHER for words that give none, UNSTATED for no words."""
    plain = " ".join(text.lower().split())
    if not plain:
        return UNSTATED
    for name in GRADES:
        for found in re.finditer(rf"(?<![a-z])(?:{_WORDS[name]})", plain):
            if not re.search(rf"{_DENIED}$", plain[: found.start()]):
                return name
    return OTHER
