"""The same picture twice: across labels, splits and patients; needless copies within one patient; retouched copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from covidct.checks.model import Finding, Folder
from covidct.duplicates import Pair, overlaps

REDUNDANT = 0.95
"""aligned correlation from which two slices of one patient add little"""


def search(folder: Folder, jobs: int = -1) -> list[Pair]:
    """All pairs of the folder's pictures with geometric evidence, sufficient or not."""
    pairs = overlaps(folder.greys(), jobs=jobs)
    same = [p for p in pairs if p.evidence.same]
    folder.metrics["same_picture"] = {
        "pictures": len(folder.items),
        "pairs_with_geometry": len(pairs),
        "same": len(same),
        "exact": sum(p.evidence.exact for p in same),
    }
    return pairs


def check(folder: Folder, pairs: Sequence[Pair]) -> list[Finding]:
    """Findings for same pictures and for near-copies within one patient."""
    found: list[Finding] = []
    redundant: dict[str, list[Pair]] = {}
    for pair in pairs:
        one, two = folder.items[pair.i], folder.items[pair.j]
        person = one.patient if one.patient and one.patient == two.patient else ""
        if pair.evidence.same:
            opposite = None not in (one.label, two.label) and one.label != two.label
            crosses = bool(one.split and two.split and one.split != two.split)
            if opposite:
                found.append(_opposite(folder, pair))
            if opposite or crosses or not person:
                found.append(_same(folder, pair, opposite, crosses))
            else:
                redundant.setdefault(person, []).append(pair)
        elif person and pair.evidence.correlation >= REDUNDANT:
            redundant.setdefault(person, []).append(pair)
    return found + _redundant(folder, redundant)


def _same(folder: Folder, pair: Pair, opposite: bool, crosses: bool) -> Finding:
    one, two = folder.items[pair.i], folder.items[pair.j]
    ids = (
        f"patients {one.patient} and {two.patient}"
        if one.patient != two.patient
        else (f"patient {one.patient}" if one.patient else "no patient stated")
    )
    where = f"in {one.split} and {two.split}" if crosses else (f"both in {one.split}" if one.split else "")
    return Finding(
        "same-picture",
        "error" if crosses or opposite else "warning",
        folder.names((pair.i, pair.j)),
        f"one picture, {_how(pair)}; {ids}; {where}".rstrip("; "),
        "keep one copy (the unannotated one), merge the patients" + (", put the group in one split" if crosses else ""),
        _details(folder, pair),
    )


def _opposite(folder: Folder, pair: Pair) -> Finding:
    one, two = folder.items[pair.i], folder.items[pair.j]
    return Finding(
        "opposite-label",
        "error",
        folder.names((pair.i, pair.j)),
        f"one picture, {_how(pair)}, is COVID as {(one if one.label else two).name} "
        f"and NonCOVID as {(two if one.label else one).name}",
        "stop the build; a person decides the label from the document, the other copy goes",
        _details(folder, pair),
    )


def _redundant(folder: Folder, by_patient: dict[str, list[Pair]]) -> list[Finding]:
    found = []
    for patient, pairs in by_patient.items():
        members = sorted({i for p in pairs for i in (p.i, p.j)})
        same = sum(p.evidence.same for p in pairs)
        found.append(
            Finding(
                "redundant",
                "note",
                folder.names(members),
                f"{patient}: {len(members)} images, {same} pairs of one picture, {len(pairs) - same} of nearly "
                f"the same slice (aligned correlation >= {REDUNDANT})",
                "keep one of each: copies count one patient several times",
                {
                    "pairs": [
                        {
                            "items": list(folder.names((p.i, p.j))),
                            "same": p.evidence.same,
                            "correlation": p.evidence.correlation,
                        }
                        for p in pairs
                    ]
                },
            )
        )
    return found


def _how(pair: Pair) -> str:
    e = pair.evidence
    if e.exact:
        return "pixel for pixel"
    return f"{e.inliers} verified features, aligned correlation {e.correlation:.3f}{', mirrored' if e.mirrored else ''}"


def _details(folder: Folder, pair: Pair) -> dict[str, Any]:
    one, two = folder.items[pair.i], folder.items[pair.j]
    return pair.evidence.as_dict() | {
        "transform": list(pair.evidence.transform),
        "patients": [one.patient, two.patient],
        "splits": [one.split, two.split],
        "labels": [one.label, two.label],
    }


def same_pairs(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Positions of the pairs that are one picture."""
    return [(p.i, p.j) for p in pairs if p.evidence.same]


def kept(folder: Folder, pairs: Sequence[Pair]) -> np.ndarray:
    """True for pictures that are not a later copy of another one."""
    keep = np.ones(len(folder.items), bool)
    for i, j in same_pairs(pairs):
        if keep[i]:
            keep[j] = False
    return keep
