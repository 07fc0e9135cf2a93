"""Slices of one scan under two patient ids: not one picture, but bodies that coincide as only one person's do.

Two slices of one examination share outline, ribs and large vessels, so some local features agree on one transform and
the aligned pictures correlate, although the fine detail differs. It is a suspicion, never proof: a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from covidct.checks.model import Finding, Folder, Item
from covidct.checks.people import AGE_GAP, stated_age
from covidct.duplicates import Pair

CORRELATION = 0.75
"""aligned correlation from which two pictures may show one body"""
TOO_MANY = 0.1
"""share of ids that may be linked across documents before the suspicion tells nothing (drawn bodies, one phantom)"""
OVERLAP = 0.85
"""share of the smaller picture that must lie inside the larger one: different bodies are aligned on a part"""


def alike(folder: Folder, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs under different patient ids of one source that look like slices of one scan."""
    found: list[Pair] = []
    linked: set[str] = set()
    for pair in pairs:
        one, two = folder.items[pair.i], folder.items[pair.j]
        evidence = pair.evidence
        if (
            one.patient
            and two.patient
            and one.patient != two.patient
            and one.source == two.source
            and not evidence.same
            and not evidence.mirrored
            and evidence.correlation >= CORRELATION
            and evidence.overlap >= OVERLAP
        ):
            found.append(pair)
            if one.document != two.document:
                linked |= {one.patient, two.patient}
    ids = len({item.patient for item in folder.items} - {""})
    if len(linked) > max(TOO_MANY * ids, 3):
        folder.not_checked["scans"] = (
            f"{len(linked)} of {ids} patient ids coincide with one of another document: "
            "bodies too alike here to tell slices of one scan under two ids"
        )
        return []
    return found


def check(folder: Folder, pairs: Sequence[Pair]) -> list[Finding]:
    """Findings for pairs of ids that seem to share a scan, one for each pair of ids."""
    by_ids: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        one, two = sorted((folder.items[pair.i].patient, folder.items[pair.j].patient))
        by_ids.setdefault((one, two), []).append(pair)
    found = []
    for (one, two), members in by_ids.items():
        best = max(members, key=lambda p: p.evidence.correlation)
        indices = sorted({i for p in members for i in (p.i, p.j)})
        conflict = differ(folder.items[best.i], folder.items[best.j])
        found.append(
            Finding(
                "patient-identity",
                "warning",
                folder.names(indices),
                f"{one} and {two} look like slices of one scan ({best.evidence.inliers} features on one "
                f"transform, aligned correlation {best.evidence.correlation:.2f})"
                + (f", yet {conflict}" if conflict else ""),
                "compare the documents: one person under two ids, or pictures under the wrong id"
                if conflict
                # the ages differ: merging the ids would be as wrong as leaving them
                else "a person decides; if it is one, give it one id",
                {"ids": [one, two], "pairs": [list(folder.names((p.i, p.j))) for p in members], "conflict": conflict},
                show=folder.names((best.i, best.j)),
            )
        )
    return found


def differ(one: Item, two: Item) -> str:
    """In words what the table states differently of the two, or empty."""
    ages = [stated_age(item.age) for item in (one, two)]
    if all(ages) and abs(int(ages[0]) - int(ages[1])) > AGE_GAP:
        return f"the table states {ages[0]} and {ages[1]} years"
    sexes = [item.sex[:1].upper() for item in (one, two)]
    return f"the table states {sexes[0]} and {sexes[1]}" if all(sexes) and sexes[0] != sexes[1] else ""
