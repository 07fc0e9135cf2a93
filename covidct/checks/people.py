"""Who is shown, and in which split: one patient under several ids, one id for several people, groups that cross splits.

Patient ids are wrong in both directions: one case of one paper may carry a dozen ids, and one id three people. So a
person is known by every name at once: the id, the case a caption names ("case 8", "Pt 1") within one document, and the
same picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from covidct.checks.model import Finding, Folder, Item

NUMBERED = re.compile(
    r"\b(?:patient|case|pt|subject)\b\.?\s*(?:id|no\.?|number|#)?\s*[:#]?\s*(\d{1,3}|(?-i:[A-Z]))(?![\w%])"
    r"(?!\s*(?:,|and\b|&|-|–|to\b)\s*\(?\d)",
    re.I,
)
PLURAL = re.compile(r"\b(?:patients|cases|subjects)\s+(?:id\s*)?\d", re.I)
AGE = re.compile(r"\b(\d{1,3})\s*[-–‐]?\s*(?:years?|yrs?|y)\b\s*[-–‐]?\s*(?:old)?", re.I)
SEX = re.compile(r"\b(female|woman|women|girl|lady|male|man|men|boy|gentleman)\b", re.I)
AGE_GAP = 1
"""years by which two statements about one person may differ: a birthday between two examinations"""


def cases(text: str) -> tuple[str, ...]:
    """Numbered patients that a caption names, each once: ``("8",)`` for "images of case 8"; () where it lists several
    at once.
    """
    if PLURAL.search(text):
        return ()
    return tuple(dict.fromkeys((m[1].lstrip("0") or "0").upper() for m in NUMBERED.finditer(text)))


def case_key(item: Item, burned: Sequence[str] = ()) -> str:
    """``document case N`` if exactly one case is named, in the picture itself or else in the caption; else empty."""
    if not item.document:
        return ""
    named = tuple(dict.fromkeys(burned)) or cases(item.caption)
    return f"{item.document} case {named[0]}" if len(named) == 1 else ""


def check(
    folder: Folder,
    same: Sequence[tuple[int, int]],
    burned: Mapping[int, Sequence[str]] | None = None,
    alike: Sequence[tuple[int, int]] = (),
) -> tuple[list[Finding], np.ndarray]:
    """Findings about identity and splits, and the person (int) each picture shows as far as that is sure.

    same: pairs of one picture; burned: cases read in the pictures themselves; alike: pairs that look like one scan.
    """
    keys = [case_key(item, (burned or {}).get(i, ())) for i, item in enumerate(folder.items)]
    found = [*_several_ids(folder, keys), *_several_people(folder), *_both_labels(folder)]
    ids = [item.patient for item in folder.items]
    people = components(len(folder.items), [ids, keys], same)
    paired = {i for pair in [*same, *alike] for i in pair}
    sure = _patients_across(folder, people, keys, paired)
    found += sure
    seen = {finding.items for finding in sure}
    likely = _patients_across(folder, components(len(folder.items), [ids, keys], [*same, *alike]), keys, paired, True)
    found += [finding for finding in likely if finding.items not in seen]
    found += _documents_across(folder)
    groups = components(len(folder.items), [ids, keys, [i.document for i in folder.items]], same)
    folder.metrics["people"] = {
        "ids": len(set(ids) - {""}),
        "people": int(people.max() + 1) if len(people) else 0,
        "groups_with_documents": int(groups.max() + 1) if len(groups) else 0,
    }
    return found, people


def components(count: int, keys: Sequence[Sequence[str]], pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Group number of each of ``count`` pictures that share a key of any kind (``""`` ties nothing) or are a pair."""
    node: dict[tuple[int, str], int] = {}
    rows, columns = [], []
    for kind, values in enumerate(keys):
        for index, value in enumerate(values):
            if value:
                rows.append(index)
                columns.append(node.setdefault((kind, value), count + len(node)))
    for i, j in pairs:
        rows.append(i)
        columns.append(j)
    size = count + len(node)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:count]
    _, first = np.unique(labels, return_inverse=True)
    return first


def _several_ids(folder: Folder, keys: list[str]) -> list[Finding]:
    """One case of one document under several patient ids."""
    found = []
    for key, members in _by(keys).items():
        ids = sorted({folder.items[i].patient for i in members} - {""})
        if len(ids) > 1:
            where = folder.splits(members)
            found.append(
                Finding(
                    "patient-identity",
                    "error" if len(where) > 1 else "warning",
                    folder.names(members),
                    f"{key}: one case, but {len(ids)} patient ids"
                    f"{' in ' + ' and '.join(where) if len(where) > 1 else ''}",
                    "give the case one patient id",
                    {"ids": ids, "splits": where},
                )
            )
    return found


def _several_people(folder: Folder) -> list[Finding]:
    """One id whose rows or captions state different ages or sexes."""
    found = []
    for patient, members in folder.group("patient").items():
        stated: dict[tuple[str, str], list[int]] = {}
        mixed = []
        for i in members:
            item = folder.items[i]
            person = (stated_age(item.age), item.sex[:1].upper())
            if any(person):
                stated.setdefault(person, []).append(i)
            told = _told(item.caption)
            if person[0] and told[0] and abs(int(person[0]) - int(told[0])) > AGE_GAP:
                mixed.append(i)
        ages = sorted({int(age) for age, _ in stated if age})
        sexes = sorted({sex for _, sex in stated if sex})
        if (ages and ages[-1] - ages[0] > AGE_GAP) or len(sexes) > 1:
            people = [f"{age or '?'} {sex or '?'}" for age, sex in stated]
            found.append(
                Finding(
                    "patient-identity",
                    "error",
                    folder.names(members),
                    f"{patient}: one id, but {len(stated)} people ({'; '.join(people)})",
                    "give each person an id; until then keep them in one split",
                    {"people": people},
                )
            )
        elif mixed:
            found.append(
                Finding(
                    "patient-identity",
                    "warning",
                    folder.names(mixed),
                    f"{patient}: the table says {folder.items[mixed[0]].age}, "
                    f"the caption {_told(folder.items[mixed[0]].caption)[0]} years",
                    "check who is shown",
                    {"table": folder.items[mixed[0]].age, "caption": _told(folder.items[mixed[0]].caption)[0]},
                )
            )
    return found


def _both_labels(folder: Folder) -> list[Finding]:
    found = []
    for patient, members in folder.group("patient").items():
        labels = {folder.items[i].label for i in members} - {None}
        if len(labels) > 1:
            found.append(
                Finding(
                    "patient-identity",
                    "warning",
                    folder.names(members),
                    f"{patient} has images of both labels",
                    "possible (before and after), but check the dates and the id",
                )
            )
    return found


def _patients_across(
    folder: Folder, people: np.ndarray, keys: list[str], paired: set[int], likely: bool = False
) -> list[Finding]:
    found = []
    for members in _groups(people):
        where = folder.splits(members)
        if len(where) < 2:
            continue
        ids = sorted({folder.items[i].patient for i in members} - {""})
        named = sorted({keys[i] for i in members} - {""})
        why = "one patient id" if len(ids) == 1 else "the same picture" if not named else f"one case ({named[0]})"
        why = "likely one person (slices of one scan)" if likely else why
        found.append(
            Finding(
                "patient-across-splits",
                "warning" if likely else "error",
                folder.names(members),
                f"{why} in {' and '.join(where)}: {len(members)} images, {len(ids)} patient ids",
                "split by this group, never by id alone",
                {
                    "ids": ids,
                    "cases": named,
                    "splits": {s: list(folder.names(i for i in members if folder.items[i].split == s)) for s in where},
                },
                show=folder.names([i for i in members if i in paired][:4]),
            )
        )
    return found


def _documents_across(folder: Folder) -> list[Finding]:
    found = []
    for document, members in folder.group("document").items():
        where = folder.splits(members)
        if len(where) < 2:
            continue
        figures: dict[str, list[int]] = {}
        for i in members:
            figures.setdefault(_figure(folder.items[i]), []).append(i)
        cut = [m for name, m in figures.items() if name and len(folder.splits(m)) > 1]
        found.append(
            Finding(
                "document-across-splits",
                "warning",
                folder.names(members),
                f"{document} in {' and '.join(where)}{': one figure is cut through' if cut else ''}",
                "keep a document in one split, or prove that its patients differ",
                {
                    "splits": {s: list(folder.names(i for i in members if folder.items[i].split == s)) for s in where},
                    "figures_cut": [list(folder.names(m)) for m in cut],
                },
            )
        )
    return found


def _figure(item: Item) -> str:
    """The figure by the caption's own number, else by its raster."""
    match = re.match(r"\W*(?:fig(?:ure)?\.?|scheme)\s*(s?\d+)", item.caption, re.I)
    return f"figure {match[1].upper()}" if match else item.figure


def stated_age(text: str) -> str:
    """Age in whole years if a cell states one (``"45"``, ``"45 years"``), else empty (``"40+"``, ``"Young Child"``)."""
    match = re.fullmatch(r"\s*(\d{1,3})(?:\.0+)?\s*(?:y|years?)?\s*", text or "", re.I)
    return match[1] if match else ""


def _told(caption: str) -> tuple[str, str]:
    """(age, sex) if the caption speaks of one person only."""
    ages = {m[1] for m in AGE.finditer(caption)}
    return (ages.pop(), "") if len(ages) == 1 else ("", "")


def _by(keys: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if key:
            found.setdefault(key, []).append(index)
    return found


def _groups(numbers: np.ndarray) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for index, number in enumerate(numbers.tolist()):
        found.setdefault(number, []).append(index)
    return [members for members in found.values() if len(members) > 1]
