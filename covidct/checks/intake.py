"""Any folder of pictures, with or without a table and split lists, becomes a ``Folder`` to audit.

Three layouts: ours (``records.csv``), the 2020 release (``CT_COVID`` and ``CT_NonCOVID``), and anything else, where
class, split and patient come from tables, lists and folder names as far as they go. What does not fit is a finding, not
a stop.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from covidct import joins, pictures
from covidct.checks.model import AuditError, Finding, Folder, Item, date_of
from covidct.checks.tables import FIELDS, mismatch, read_lists, read_tables
from covidct.checks.words import NUMBER, class_in, class_of, known, patient_in, split_of

MAX_FILES = 200_000
NEUTRAL = ("images", "image", "data", "png", "slices")
"""folders that say nothing"""


def read_folder(root: Path) -> Folder:
    """Everything known about the pictures under ``root``. Raises AuditError where there is nothing to audit."""
    if not root.is_dir():
        raise AuditError(
            f"{root}: expected a folder of pictures or a version, got {'a file' if root.exists() else 'nothing'}"
        )
    files = _pictures(root)
    if not files:
        raise AuditError(
            f"{root}: expected pictures ({', '.join(joins.ENDINGS)}), got none; give the folder that holds them"
        )
    if _is_release(files):
        from covidct.checks.release2020 import read_release

        folder = read_release(root)
        if folder is not None:
            return _without_unreadable(folder)
    return _without_unreadable(_generic(root, files))


def _pictures(root: Path) -> list[Path]:
    found = []
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).parts
        if (
            path.suffix.lower() in joins.ENDINGS
            and not any(p.startswith((".", "__MACOSX")) for p in inner)
            and path.is_file()
        ):
            found.append(path)
            if len(found) > MAX_FILES:
                raise AuditError(f"{root}: expected at most {MAX_FILES} pictures, got more; audit it in parts")
    return found


def _is_release(files: list[Path]) -> bool:
    return {"ct_covid", "ct_noncovid"} <= {path.parent.name.casefold() for path in files}


def names_of(root: Path, files: list[Path]) -> dict[Path, str]:
    """The name findings use: the file name where it is unique in the folder, else the path from the root."""
    count: dict[str, int] = {}
    for path in files:
        count[path.name.casefold()] = count.get(path.name.casefold(), 0) + 1
    return {p: p.name if count[p.name.casefold()] == 1 else p.relative_to(root).as_posix() for p in files}


def _generic(root: Path, files: list[Path]) -> Folder:
    ours = (root / "records.csv").is_file()
    folder = Folder(root, [], "records" if ours else "folder")
    names = names_of(root, files)
    _twice(folder, files, names)
    rows = read_tables(root, files, folder, ours)
    lists = {} if ours else read_lists(root, files, folder)
    if ours:  # what lies beside the table but not in it is no part of the dataset
        stray = [path for path in files if path not in rows]
        if stray and rows:
            folder.add(
                mismatch(
                    "warning",
                    [names[p] for p in stray],
                    "pictures on disk that the table does not list",
                    "list or remove them",
                )
            )
            files = [path for path in files if path in rows]
    labels = _Labels()
    inner = {path: path.relative_to(root).parts[:-1] for path in files}
    numbers = {part for parts in inner.values() for part in parts if NUMBER.fullmatch(part)} <= {"0", "1"}
    for path in files:
        row = rows.get(path, {})
        split = split_of(row.get("split", "")) or row.get("split", "") or lists.get(path, "")
        split = split or next(filter(None, map(split_of, inner[path])), "")
        folders = [p for p in inner[path] if not split_of(p) and p.casefold() not in NEUTRAL]
        label, below = class_in(folders, numbers)
        patient = known(row.get("patient", ""))
        if ours or row.get("label"):
            label = labels.read(row.get("label", ""), names[path])
        else:
            labels.folder(folders, below, label, names[path])
        if not ours:
            patient = patient or patient_in(folders, below)
        facts: dict[str, Any] = {k: row.get(k, "") for k in FIELDS if k not in ("file", "label", "patient", "split")}
        facts["date"] = facts["date"] or date_of(facts["document"] or facts["doi"])
        figure = " ".join(row.get(key, "") for key in ("document", "page", "xref")) if row.get("xref") else ""
        folder.items.append(
            Item(
                names[path],
                path,
                label,
                patient,
                split=split,
                figure=figure,
                patient_raw=row.get("patient", ""),
                inpainted=_share(row.get("inpainted_fraction", "")),
                **facts,
            )
        )
    folder.add(*labels.findings())
    if not ours:
        _gaps(folder)
    return folder


def _gaps(folder: Folder) -> None:
    """What cannot be checked because nothing says it: never the same as passed."""
    count = len(folder.items)
    for check, attribute, asked in (
        ("patient-across-splits", "patient", "no patient: no column (patient_id) and no folder (patient 12) names one"),
        ("opposite-label", "label", "no class: no column (label) and no folder (COVID, NonCOVID) names one"),
    ):
        without = sum(getattr(item, attribute) in ("", None) for item in folder.items)
        if without:
            folder.not_checked[check] = f"{without} of {count} images have {asked} for them"


def _share(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


class _Labels:
    """Class names as they come; 1 is COVID, 0 the other class; what is neither, or only one class, is a finding."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.odd: list[str] = []
        self.unclear: dict[str, list[str]] = {}

    def read(self, value: str, name: str) -> int | None:
        """Class that a table states."""
        if not known(value):
            return None
        if re.fullmatch(r"-?\d+(\.\d+)?", value) and float(value) not in (0.0, 1.0):
            self.odd.append(name)
            return None
        return self._kept(value, class_of(value), name)

    def folder(self, folders: list[str], position: int, label: int | None, name: str) -> None:
        """Note the class that a path states in ``folders[position]``, or that it states none."""
        strange = [part for part in folders if not patient_in([part], -1)]  # a patient's folder need name no class
        if label is not None:
            self._kept(folders[position], label, name)
        elif strange:
            self._kept("/".join(strange), None, name)

    def _kept(self, value: str, label: int | None, name: str) -> int | None:
        if label is None:
            self.unclear.setdefault(value, []).append(name)
        else:
            self.seen[value] = label
        return label

    def findings(self) -> list[Finding]:
        found = []
        if self.odd:
            found.append(
                mismatch("error", self.odd, "labels outside {0, 1}", "1 is COVID, 0 is NonCOVID; mend the table")
            )
        if self.unclear:
            found.append(
                mismatch(
                    "warning",
                    [name for names in self.unclear.values() for name in names],
                    f"no class can be told from {', '.join(map(repr, list(self.unclear)[:5]))}: these images have none",
                    "call the classes COVID and NonCOVID, in a column 'label' or as folders",
                    {text: len(names) for text, names in self.unclear.items()},
                )
            )
        if self.seen and len(set(self.seen.values())) == 1:
            only = ", ".join(sorted(self.seen))
            found.append(
                mismatch(
                    "warning",
                    [],
                    f"only one class is present ({only})",
                    "add the other class, or ignore what compares classes",
                )
            )
        return found


def _twice(folder: Folder, files: list[Path], names: dict[Path, str]) -> None:
    same: dict[str, list[str]] = {}
    for path in files:
        same.setdefault(path.name.casefold(), []).append(names[path])
    for group in same.values():
        if len(group) > 1:
            folder.add(
                mismatch(
                    "warning", group, "several pictures of one name: a table cannot tell them apart", "rename them"
                )
            )


def _without_unreadable(folder: Folder) -> Folder:
    """Drop what cannot be decoded, with a finding: every later check works on pixels."""
    bad: dict[str, str] = {}
    for index, item in enumerate(folder.items):
        try:
            folder.grey(index)
        except pictures.PictureError as error:
            bad[item.name] = str(error)
    if bad:
        folder.add(
            mismatch("error", list(bad), "; ".join(list(bad.values())[:5]), "restore the files", {"reasons": bad})
        )
        kept = [item for item in folder.items if item.name not in bad]
        if not kept:
            raise AuditError(
                f"{folder.root}: none of {len(folder.items)} pictures can be read: {next(iter(bad.values()))}"
            )
        folder = Folder(
            folder.root, kept, folder.layout, folder.findings, folder.metrics, folder.not_checked, folder.window
        )
    return folder
