"""The 2020 release as it lies on disk, before anything is re-encoded: items to audit, and how its tables and lists
join.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from covidct import joins, published
from covidct.checks.model import Finding, Folder, Item, date_of

WINDOW = ("2020-01-19", "2020-03-25")
"""section III.A: preprints posted between these days"""
NUMBERED = re.compile(r"(\d+)$")
PAPER_COVID_PATIENTS = 216


def read_release(root: Path) -> Folder | None:
    """The release as a Folder, or None where its lists or tables are too broken for it (then the folder is read
    plainly).
    """
    try:
        sides = [published.read_side(root, name) for name in ("COVID", "NonCOVID")]
    except (published.ReleaseError, joins.JoinError):
        return None
    folder = Folder(root, [], "release", window=WINDOW)
    clash = {n.casefold() for n in sides[0].files} & {n.casefold() for n in sides[1].files}
    joined: dict[str, Any] = {}
    for side in sides:
        label = int(side.label_name == "COVID")
        for name, path in side.files.items():
            shown = name if name.casefold() not in clash else path.relative_to(root).as_posix()
            folder.items.append(_item(side, name, path, label, shown))
        joined[side.label_name] = {"files": len(side.files), "rows": len(side.rows), "listed": len(side.split)}
        _joins(folder, root, side)
        _counts(folder, side)
    folder.metrics["joined"] = joined
    return folder


def _item(side: published.Side, name: str, path: Path, label: int, shown: str) -> Item:
    known = {key: str(value) for key, value in published.facts(side, name).items()}
    row = side.rows.get(name, {})
    figure = f"{known['document_id']} p{known['page']} x{known['xref']}" if known["xref"] else ""
    return Item(
        name=shown,
        path=path,
        label=label,
        patient=known["patient_id"],
        basis=known["patient_basis"],
        document=known["document_id"],
        figure=figure,
        source=known["source"],
        split=side.split.get(name, ""),
        caption=known["caption"],
        age=known["age"],
        sex=known["sex"],
        doi=known["doi"],
        date=date_of(known["document_id"]),
        document_type=known["document_type"],
        other_diseases=row.get("other diseases", ""),
        severity=known["severity"],
        patient_raw=row.get("patient", ""),
    )


def _joins(folder: Folder, root: Path, side: published.Side) -> None:
    for failure in side.failures:
        name = failure["item"].rsplit(": ", 1)[-1]
        items = (name,) if name in side.files else (failure["item"],)
        folder.add(
            Finding("mismatch", "note", items, f"{failure['item']}: {failure['reason']}", "reported, nothing guessed")
        )
    stem = "COVID-CT-MetaInfo" if side.label_name == "COVID" else "NonCOVID-CT-MetaInfo"
    for path in sorted(root.rglob(f"{stem}.*")):
        mended = _mended(path, side)
        if mended:
            folder.add(
                Finding(
                    "mismatch",
                    "note",
                    tuple(mended),
                    f"{path.name}: {len(mended)} names or ids joined only after mending "
                    "(missing ending, blanks at an end)",
                    "joined to the file of that name; write the names in full",
                    {"table": path.name},
                )
            )


def _mended(path: Path, side: published.Side) -> list[str]:
    try:
        table = joins.read_table(path)
        column = joins.column(table, published.FILE, path, required=False)
    except joins.JoinError:
        return []
    names = joins.Names(side.files)
    return sorted(
        {names.find(row[column])[0] for row in table if column and row[column] and row[column] not in side.files} - {""}
    )


def _counts(folder: Folder, side: published.Side) -> None:
    """Patients by id; a count that is really the largest id is said to be one."""
    ids = {row["patient"] for row in side.rows.values() if row.get("patient")}
    folder.metrics.setdefault("patients_by_id", {})[side.label_name] = {
        "all": len(ids),
        **{
            s: len({side.rows[n]["patient"] for n, v in side.split.items() if v == s and n in side.rows})
            for s in published.SPLITS
        },
    }
    numbers = sorted(
        {int(m[1]) for i in ids if not i.lower().startswith(("crawled", "medpix")) and (m := NUMBERED.search(i))}
    )
    missing = sorted(set(range(1, numbers[-1] + 1)) - set(numbers)) if numbers else []
    if missing:
        folder.metrics["patient_ids"] = {"largest": numbers[-1], "count": len(numbers), "missing": missing}
        folder.add(
            Finding(
                "mismatch",
                "warning",
                (),
                f"{side.label_name}: patient numbers run to {numbers[-1]}, but {len(numbers)} patients exist "
                f"({', '.join(map(str, missing))} are missing): the largest id is not a count",
                f"state {len(numbers)} patients",
                {"largest": numbers[-1], "count": len(numbers), "missing": missing},
            )
        )
