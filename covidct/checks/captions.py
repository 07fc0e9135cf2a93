"""The label against what the words say, panel by panel: what a person must look at again, strongest reasons first.

The reading of a caption is curation's (`curation.evidence.suggest`, the same rules that propose labels); added here are
doubts that matter only once a label stands: a stated disease other than COVID-19 in the table, no lesion, a negative
test, mixed figures, a text that cannot be checked because there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from covidct.checks.model import Finding, Folder, Item

COVID = re.compile(
    r"covid|sars[\s-]*cov|2019[\s-]*n?cov|n[\s-]?cov\b|novel coronavirus|\bncp\b|coronavirus disease", re.I
)
NO_LESION = re.compile(
    r"\bno (?:obvious|evident|definite|significant|visible|apparent|clear)?\s*"
    r"(?:lesions?|abnormalit(?:y|ies)|abnormal findings?)\b"
    r"|\b(?:normal (?:chest )?(?:ct|lungs?|findings?|appearance)|without (?:any )?(?:lesions?|abnormalit(?:y|ies)))\b",
    re.I,
)
SUSPECTED = re.compile(r"\b(?:suspected|suspicious for|suspicion of|possible|presumed|probable)\b[^.]{0,40}", re.I)
NEGATIVE = re.compile(
    r"\b(?:nucleic acid|rt-?pcr|pcr|swab|test)s?\b[^.;]{0,60}?\b(?:was|were|is|are|being)?\s*(?:repeatedly )?negative\b"
    r"|\bnegative (?:for|rt-?pcr|pcr|nucleic|swab|test)",
    re.I,
)
ERRONEOUS = re.compile(
    r"\b(?:erroneous|misclassified|mispredicted|wrongly (?:classified|predicted)"
    r"|(?:examples?|cases?|images?) of false[ -](?:positive|negative)"
    r"|false[ -](?:positive|negative) (?:cases?|examples?|images?))",
    re.I,
)
DISEASE = re.compile(
    r"tubercul|tumou?r|cancer|carcinoma|malignan|metasta|bacterial|mycoplasma|fungal|aspergill|influenza"
    r"|heart failure|o?edema"
    r"|bronchiectas|embol|sarcoid|interstitial|asthma|copd|emphysem|lymphoma|pneumocystis|adenovirus|streptococc|pneumothorax|\bNTM\b",
    re.I,
)
DAY = re.compile(
    r"(?<![\d./-])(?:(?P<a>\d{1,2})(?P<gap>[./-])(?P<b>\d{1,2})(?P=gap)(?P<y1>(?:19|20)\d\d)"
    r"|(?P<y2>(?:19|20)\d\d)(?P<m2>0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?![\d-]|[./]\d)"
)
"""a day in digits whose year curation's reading does not see: 12/05/2017, 14.03.2018, 20180314"""
LATER = re.compile(
    r"(?<![\d.])(?:20[2-9]\d)(?!\d)|(?:dec\w*\.?,?\s+(?:\d{1,2}(?:st|nd|rd|th)?,?\s+)?2019)|2019-12", re.I
)
BIRTH = re.compile(r"\b(?:dob|birth|born)\b", re.I)
FINDING_ONLY = re.compile(r"\b(?:emphysema\w*|bronchiectas\w*|fibro\w*|nodul\w*|effusion)\b", re.I)


@dataclass(frozen=True)
class Doubt:
    """Why one picture's label must be looked at: ``sure`` if the words contradict it, else they only weaken it."""

    reason: str
    sentence: str
    sure: bool = False


def check(folder: Folder) -> list[Finding]:
    """Findings about labels and captions, one for each document and reason."""
    try:
        from curation.evidence import suggest
    except ImportError as error:
        folder.not_checked["label-in-doubt"] = f"curation is not installed ({error.name}): captions were not read"
        return []
    doubts: dict[tuple[str, str, bool], list[tuple[int, str]]] = {}
    for index, item in enumerate(folder.items):
        doubt = read(item, suggest)
        if doubt is not None:
            key = (item.document or item.name, doubt.reason, doubt.sure)
            doubts.setdefault(key, []).append((index, doubt.sentence))
    found = []
    for (document, reason, sure), members in sorted(doubts.items(), key=lambda d: not d[0][2]):
        sentences = list(dict.fromkeys(sentence for _, sentence in members))
        found.append(
            Finding(
                "label-in-doubt",
                "error" if sure else "warning",
                folder.names(i for i, _ in members),
                f'{document}: {reason}: "{sentences[0][:300]}"',
                "change the label or leave the picture out" if sure else "a person decides from the document",
                {"reason": reason, "sentences": sentences, "sure": sure},
            )
        )
    folder.metrics["labels_to_review"] = len({i for members in doubts.values() for i, _ in members})
    return found + _silent(folder) + _against_table(folder, suggest)


def _other_disease(item: Item) -> bool:
    return bool(DISEASE.search(item.other_diseases)) and not COVID.search(item.other_diseases)


def _against_table(folder: Folder, suggest: Callable[[str], object]) -> list[Finding]:
    """Rows whose caption says COVID-19 while a cell states another disease: cells that slipped to the wrong row."""
    members = [
        i
        for i, item in enumerate(folder.items)
        if item.label == 1 and _other_disease(item) and getattr(suggest(item.caption), "label", "") == "COVID"
    ]
    if not members:
        return []
    first = folder.items[members[0]]
    return [
        Finding(
            "mismatch",
            "warning",
            folder.names(members),
            f"the caption says COVID-19, the table's column of other diseases {first.other_diseases!r} "
            f"({len(members)} rows)",
            "compare with the rows beside them: the cell may belong to another row",
            {folder.items[i].name: folder.items[i].other_diseases for i in members},
        )
    ]


def read(item: Item, suggest: Callable[[str], object]) -> Doubt | None:
    """The strongest doubt about one picture's label, or None."""
    text = item.evidence or item.caption  # a caption may speak of other panels, too
    if item.label is None:
        return None
    said = suggest(text) if text else None
    label, sentence = getattr(said, "label", "unclear"), getattr(said, "sentence", "")
    if item.label == 0:
        if label == "COVID":
            return Doubt("labelled NonCOVID, but the text names COVID-19 of the person shown", sentence)
        return None
    if label == "NonCOVID":
        return Doubt(
            "labelled COVID, but the text says otherwise (control, another disease, or before December 2019)",
            sentence,
            True,
        )
    for reason, pattern in (
        ("the text only suspects COVID-19", SUSPECTED),
        ("no lesion is described", NO_LESION),
        ("the test is said to be negative", NEGATIVE),
        ("the figure shows errors of a classifier", ERRONEOUS),
    ):
        match = pattern.search(f"{text} {item.severity}" if pattern is NO_LESION else text)
        if match and not (pattern is SUSPECTED and not COVID.search(match.group(0))):
            return Doubt(reason, _sentence(text, match.group(0)))
    if label == "unclear" and sentence and not _only_a_finding(text):
        return Doubt("the figure shows COVID-19 and something else, and the panel's text does not say which", sentence)
    if early := _early_day(text):
        return Doubt("the text gives a day before December 2019", _sentence(text, early))
    if label != "COVID" and _other_disease(item):
        return Doubt("the table states another disease", item.other_diseases)
    return None


def _early_day(text: str) -> str:
    """The first day in digits, if all lie before December 2019 and nothing else names a later year; else empty.

    Day and month may stand in either order, so a 12 in 2019 counts as December.
    """
    days = list(DAY.finditer(text))
    if not days or LATER.search(text) or BIRTH.search(text):
        return ""
    for day in days:
        year = int(day["y1"] or day["y2"])
        if year > 2019 or (year == 2019 and "12" in (day["a"], day["b"], day["m2"])):
            return ""
    return days[0].group(0)


def _only_a_finding(text: str) -> bool:
    """True if what stands beside COVID-19 is a finding of the same lungs (emphysema, fibrosis), not another patient's
    disease.
    """
    rest = FINDING_ONLY.sub("", text)
    return bool(COVID.search(text)) and rest != text and not DISEASE.search(rest)


def _sentence(text: str, part: str) -> str:
    for sentence in re.split(r"(?<=[.;])\s+", text):
        if part.strip() and part.strip()[:30] in sentence:
            return sentence
    return text[:200] or part


def _silent(folder: Folder) -> list[Finding]:
    """Pictures without any text, where others of the same class have some: their label rests on nothing that can be
    read.
    """
    found = []
    for label, name in ((1, "COVID"), (0, "NonCOVID")):
        members = [i for i, item in enumerate(folder.items) if item.label == label]
        silent = [i for i in members if not (folder.items[i].caption or folder.items[i].evidence)]
        if silent and len(silent) < len(members):
            found.append(
                Finding(
                    "provenance",
                    "warning",
                    folder.names(silent),
                    f"{len(silent)} of {len(members)} {name} images have no caption: nothing supports their label",
                    "find the caption in the document and check the label",
                    {"class": name},
                )
            )
        elif silent:
            folder.metrics.setdefault("no_captions", []).append(name)
    return found
