"""Tables and split lists beside pictures, whatever they are called, joined to the files; what joins nothing is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from covidct import joins
from covidct.checks.model import Finding, Folder
from covidct.records import TableError, read_records

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


def read_tables(root: Path, files: list[Path], folder: Folder, ours: bool) -> dict[Path, dict[str, str]]:
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
            folder.add(mismatch("error", [], str(error), "mend the table; the audit goes on with what can be read"))
    for table in tables:
        try:
            content = joins.read_table(table)
            columns = {
                key: joins.column(content, spellings, table, required=False) for key, spellings in FIELDS.items()
            }
        except (joins.JoinError, OSError) as error:
            folder.add(mismatch("warning", [], str(error), "mend or remove the table"))
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
                mismatch(
                    "error" if ours else "warning",
                    unknown,
                    f"{table.name} names {len(unknown)} pictures that are not there",
                    "restore the files or remove the rows",
                )
            )
        if twice:
            folder.add(
                mismatch(
                    "error", twice, f"{table.name} has several rows for one picture", "keep one row for each picture"
                )
            )
    return rows


def read_lists(root: Path, files: list[Path], folder: Folder) -> dict[Path, str]:
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
                mismatch(
                    "error", unknown, f"{text.name} lists {len(unknown)} pictures that are not there", "mend the list"
                )
            )
        if both:
            folder.add(
                mismatch(
                    "error",
                    both,
                    f"{text.name} lists pictures that another split lists too",
                    "one split for each picture",
                )
            )
    return splits


def mismatch(
    severity: str, items: list[str], evidence: str, remedy: str, details: dict[str, Any] | None = None
) -> Finding:
    """A finding about files, tables and lists that disagree."""
    return Finding("mismatch", severity, tuple(items), evidence, remedy, details or {})
