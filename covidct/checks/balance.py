"""Are the splits alike? Type of document and source by split: a type train has never seen makes test another task."""

from __future__ import annotations

from collections import Counter

from covidct.checks.model import Finding, Folder

ABSENT = 0.2
"""share of a split that may come from a type or source train lacks"""
SHIFT = 0.35
"""largest difference between train's share of a type or source and another split's"""
LEAST = 10
"""images of one class that a split needs before its shares mean anything"""
CLASSES = {1: "COVID", 0: "NonCOVID"}


def check(folder: Folder) -> list[Finding]:
    """Findings about how sources and document types are spread over the splits, class by class."""
    found: list[Finding] = []
    table: dict[str, dict[str, dict[str, int]]] = {}
    for attribute, word in (("document_type", "documents of type"), ("source", "source")):
        for label, name in CLASSES.items():
            counts = _counts(folder, attribute, label)
            if counts:
                table[f"{attribute} {name}"] = {split: dict(sorted(c.items())) for split, c in counts.items()}
            found += _compare(folder, counts, attribute, word, label)
    folder.metrics["spread"] = table
    return found + _classes(folder)


def _counts(folder: Folder, attribute: str, label: int) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for item in folder.items:
        value = getattr(item, attribute)
        if item.label == label and item.split and value:
            counts.setdefault(item.split, Counter())[value] += 1
    return counts


def _compare(folder: Folder, counts: dict[str, Counter[str]], attribute: str, word: str, label: int) -> list[Finding]:
    found: list[Finding] = []
    base = counts.get("train", Counter())
    if sum(base.values()) < LEAST:
        return found
    for split, have in counts.items():
        total = sum(have.values())
        if split == "train" or total < LEAST:
            continue
        values = [value for value in have if value not in base]
        absent = sum(have[value] for value in values)
        shift = max(abs(have[v] / total - base[v] / sum(base.values())) for v in {*have, *base})
        if absent / total <= ABSENT and shift <= SHIFT:
            continue
        if absent / total > ABSENT:
            members = _members(folder, attribute, values, label, split)
            told = f"{absent} of {total} {CLASSES[label]} images in {split} ({absent / total:.0%}) are from {word} "
            told += f"{', '.join(sorted(values))}, which train lacks"
        else:
            far = max({*have, *base}, key=lambda v: (abs(have[v] / total - base[v] / sum(base.values())), v))
            members = _members(folder, attribute, [far], label, split)
            told = f"{word} {far}: {have[far] / total:.0%} of {CLASSES[label]} in {split}, "
            told += f"{base[far] / sum(base.values()):.0%} in train"
        found.append(
            Finding(
                "split-imbalance",
                "warning",
                members,
                told,
                "stratify the split by source and document type; read results on this split per type",
                {"attribute": attribute, "split": split, "train": dict(base), "counts": dict(have)},
            )
        )
    return found


def _members(folder: Folder, attribute: str, values: list[str], label: int, split: str) -> tuple[str, ...]:
    return tuple(
        i.name for i in folder.items if i.label == label and i.split == split and getattr(i, attribute) in values
    )


def _classes(folder: Folder) -> list[Finding]:
    """Splits without one of the classes, and images in no split where others are in one."""
    found = []
    labels = {item.label for item in folder.items} - {None}
    for split in folder.splits(range(len(folder.items))):
        have = {item.label for item in folder.items if item.split == split}
        for label in sorted(labels - have, key=str):
            if label is not None and len(labels) > 1:
                found.append(
                    Finding(
                        "split-imbalance",
                        "error",
                        (),
                        f"{split} has no {CLASSES[label]} image",
                        "split again: every split needs both classes",
                        {"split": split},
                    )
                )
    loose = [item.name for item in folder.items if not item.split]
    if loose and len(loose) < len(folder.items):
        found.append(
            Finding(
                "split-imbalance",
                "note",
                tuple(loose),
                f"{len(loose)} images are in no split",
                "held out on purpose, or forgotten: say which",
            )
        )
    return found
