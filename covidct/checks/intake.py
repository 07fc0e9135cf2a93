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
from covidct.records import TableError, read_records

MAX_FILES = 200_000
POSITIVE = re.compile(r"^(ct[ _-]?)?(covid([ _-]?19)?|sars[ _-]?cov[ _-]?2|positive|pos|1(\.0)?|true|yes)$", re.I)
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
FIELDS: dict[str, tuple[str, ...]] = {
    "file": (
        "file",
        "file name",
        "filename",
        "file_name",
        "image",
        "image name",
        "image_name",
        "image_id",
        "path",
        "name",
    ),
    "label": ("label", "class", "label_name", "category", "diagnosis", "target", "covid"),
    "patient": ("patient_id", "patient id", "patient", "subject", "subject_id", "case"),
    "split": ("split", "set", "fold", "subset", "partition"),
    "document": ("document_id", "document", "paper", "article", "study"),
    "source": ("source", "origin", "dataset"),
    "caption": ("caption", "captions", "description"),
    "evidence": ("evidence",),
    "age": ("age",),
    "sex": ("sex", "gender"),
    "doi": ("doi",),
    "licence": ("licence", "license"),
    "date": ("date", "published"),
    "document_type": ("document_type", "type"),
    "basis": ("patient_basis",),
    "severity": ("severity",),
    "other_diseases": ("other diseases", "other_diseases"),
}


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
    rows = _tables(root, files, folder, ours)
    lists = {} if ours else _lists(root, files, folder)
    if ours:  # what lies beside the table but not in it is no part of the dataset
        stray = [path for path in files if path not in rows]
        if stray and rows:
            folder.add(
                _mismatch(
                    "warning",
                    [names[p] for p in stray],
                    "pictures on disk that the table does not list",
                    "list or remove them",
                )
            )
            files = [path for path in files if path in rows]
    labels = _Labels()
    for path in files:
        row = rows.get(path, {})
        parts = list(path.relative_to(root).parts[:-1])
        split = SPLIT_NAMES.get(row.get("split", "").casefold(), row.get("split", "")) or lists.get(path, "")
        split = split or next((SPLIT_NAMES[p.casefold()] for p in parts if p.casefold() in SPLIT_NAMES), "")
        folders = [p for p in parts if p.casefold() not in SPLIT_NAMES and p.casefold() not in ("images", "data")]
        label = labels.read(row.get("label", "") or (folders[-1] if folders else ""), names[path])
        known: dict[str, Any] = {k: row.get(k, "") for k in FIELDS if k not in ("file", "label", "patient", "split")}
        known["date"] = known["date"] or date_of(known["document"] or known["doi"])
        figure = " ".join(row.get(key, "") for key in ("document", "page", "xref")) if row.get("xref") else ""
        folder.items.append(
            Item(
                names[path],
                path,
                label,
                row.get("patient", ""),
                split=split,
                figure=figure,
                patient_raw=row.get("patient", ""),
                inpainted=_share(row.get("inpainted_fraction", "")),
                **known,
            )
        )
    folder.add(*labels.findings())
    return folder


def _share(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


class _Labels:
    """Class names as they come; 1 is COVID, 0 everything else; what is neither, or only one class, is a finding."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.odd: list[str] = []

    def read(self, value: str, name: str) -> int | None:
        if not value:
            return None
        if re.fullmatch(r"-?\d+(\.\d+)?", value) and float(value) not in (0.0, 1.0):
            self.odd.append(name)
            return None
        label = int(bool(POSITIVE.match(value)))
        self.seen[value] = label
        return label

    def findings(self) -> list[Finding]:
        found = []
        if self.odd:
            found.append(
                _mismatch("error", self.odd, "labels outside {0, 1}", "1 is COVID, 0 is NonCOVID; mend the table")
            )
        if self.seen and len(set(self.seen.values())) == 1:
            only = ", ".join(sorted(self.seen))
            found.append(
                _mismatch(
                    "warning",
                    [],
                    f"only one class is present ({only})",
                    "add the other class, or ignore what compares classes",
                )
            )
        return found


def _tables(root: Path, files: list[Path], folder: Folder, ours: bool) -> dict[Path, dict[str, str]]:
    """Row of each picture from every table that has a column of file names."""
    tables = (
        [root / "records.csv"]
        if ours
        else [p for p in sorted(root.rglob("*")) if p.suffix.lower() in (".csv", ".xlsx")]
    )
    by_name = {path.relative_to(root).as_posix(): path for path in files}
    full, short = joins.Names(by_name), joins.Names(dict.fromkeys(p.name for p in files))
    single = {path.name: path for path in files}
    rows: dict[Path, dict[str, str]] = {}
    if ours:
        try:
            read_records(root / "records.csv")
        except TableError as error:
            folder.add(_mismatch("error", [], str(error), "mend the table; the audit goes on with what can be read"))
    for table in tables:
        try:
            content = joins.read_table(table)
            columns = {
                key: joins.column(content, spellings, table, required=False) for key, spellings in FIELDS.items()
            }
        except (joins.JoinError, OSError) as error:
            folder.add(_mismatch("warning", [], str(error), "mend or remove the table"))
            continue
        if not columns["file"]:
            continue
        unknown, twice = [], []
        for line in content:
            stated = line[columns["file"]]
            key, _ = full.find(stated)
            path = by_name.get(key) or single.get(short.find(Path(stated).name)[0]) if stated else None
            if path is None:
                unknown.append(stated or f"row {line['']} of {table.name}")
            elif path in rows and table.name == "records.csv":
                twice.append(stated)
            else:
                rows[path] = (
                    rows.get(path, {})
                    | {key: line[name] for key, name in columns.items() if name}
                    | {k: line[k] for k in ("page", "xref", "inpainted_fraction") if k in line}
                )
        if unknown:
            folder.add(
                _mismatch(
                    "error" if ours else "warning",
                    unknown,
                    f"{table.name} names {len(unknown)} pictures that are not there",
                    "restore the files or remove the rows",
                )
            )
        if twice:
            folder.add(
                _mismatch(
                    "error", twice, f"{table.name} has several rows for one picture", "keep one row for each picture"
                )
            )
    return rows


def _lists(root: Path, files: list[Path], folder: Folder) -> dict[Path, str]:
    """Split of each picture from lists like ``train.txt`` or ``testCT_COVID.txt``."""
    names, single = joins.Names(dict.fromkeys(p.name for p in files)), {path.name: path for path in files}
    splits: dict[Path, str] = {}
    for text in sorted(root.rglob("*.txt")):
        match = re.match(
            r"(train|val|valid|test)(?![a-z])", re.sub("(ct|_).*", "", text.stem, flags=re.I) or text.stem, re.I
        )
        if not match:
            continue
        split = SPLIT_NAMES[match[1].casefold()]
        unknown, both = [], []
        for line in joins.read_list(text):
            name, _ = names.find(Path(line).name)
            if not name:
                unknown.append(line)
            elif splits.setdefault(single[name], split) != split:
                both.append(name)
        if unknown:
            folder.add(
                _mismatch(
                    "error", unknown, f"{text.name} lists {len(unknown)} pictures that are not there", "mend the list"
                )
            )
        if both:
            folder.add(
                _mismatch(
                    "error",
                    both,
                    f"{text.name} lists pictures that another split lists too",
                    "one split for each picture",
                )
            )
    return splits


def _twice(folder: Folder, files: list[Path], names: dict[Path, str]) -> None:
    same: dict[str, list[str]] = {}
    for path in files:
        same.setdefault(path.name.casefold(), []).append(names[path])
    for group in same.values():
        if len(group) > 1:
            folder.add(
                _mismatch(
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
            _mismatch("error", list(bad), "; ".join(list(bad.values())[:5]), "restore the files", {"reasons": bad})
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


def _mismatch(
    severity: str, items: list[str], evidence: str, remedy: str, details: dict[str, Any] | None = None
) -> Finding:
    return Finding("mismatch", severity, tuple(items), evidence, remedy, details or {})
