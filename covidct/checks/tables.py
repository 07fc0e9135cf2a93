"""Tables and split lists beside pictures, whatever they are called, joined to the files; what joins nothing is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covidct import joins
from covidct.checks.model import Finding, Folder
from covidct.checks.words import class_of, known, split_in, split_of
from covidct.records import TableError, read_records

ENDINGS = (".csv", ".tsv", ".tab", ".xlsx")
FIELDS: dict[str, tuple[str, ...]] = {
    "file": (
        *("file", "file name", "image file", "image", "image name", "image id", "path", "file path", "image path"),
        *("image file path", "image file name", "img", "img name", "img path", "picture", "slice", "png", "name"),
    ),
    "label": (
        *("label", "labels", "class", "label name", "class name", "class label", "category", "diagnosis", "target"),
        *("covid", "covid 19", "is covid", "finding"),
    ),
    "patient": (
        *("patient id", "patient", "patient no", "patient number", "patient name", "pid", "subject", "subject id"),
        *("person", "person id", "participant", "participant id", "case", "case id"),
    ),
    "split": ("split", "set", "fold", "subset", "partition", "data split", "phase"),
    "document": ("document id", "document", "paper", "article", "study"),
    "source": ("source", "origin", "dataset"),
    "caption": ("caption", "captions", "description"),
    "evidence": ("evidence",),
    "age": ("age",),
    "sex": ("sex", "gender"),
    "doi": ("doi",),
    "licence": ("licence", "license"),
    "date": ("date", "published"),
    "document_type": ("document type", "type"),
    "basis": ("patient basis",),
    "severity": ("severity",),
    "other_diseases": ("other diseases",),
}
"""spellings of a column, in order of preference; case, blanks, dashes and underscores do not matter"""
TOLD = ("label", "patient", "split")
"""fields that decide findings: two values for one picture are an error"""
WORDS = ("caption", "evidence", "other_diseases")
"""fields in which "none" is a text like any other"""


def read_tables(root: Path, files: list[Path], folder: Folder, ours: bool) -> dict[Path, dict[str, str]]:
    """Row of each picture from every table that has a column of file names; of two values the first stands.

    A table that cannot be read or joined, and rows that contradict each other, are findings.
    """
    tables = [root / "records.csv"] if ours else [p for p in sorted(root.rglob("*")) if p.suffix.lower() in ENDINGS]
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
        except (joins.JoinError, OSError) as error:
            folder.add(mismatch("warning", [], str(error), "mend or remove the table"))
            continue
        columns = _columns(content[0])
        if "file" not in columns:
            folder.add(_unjoined(table, columns, content[0]))
            continue
        unknown, twice = [], []
        unlike: dict[str, dict[str, list[str]]] = {}
        seen: set[Path] = set()
        for line in content:
            stated = line[columns["file"]]
            key, _ = full.find(stated)
            path = (
                by_name.get(key) or single.get(short.find(Path(stated.replace("\\", "/")).name)[0]) if stated else None
            )
            if path is None:
                unknown.append(stated or f"row {line['']} of {table.name}")
            elif path in seen and ours:
                twice.append(stated)
            else:
                seen.add(path)
                have = rows.setdefault(path, {})
                for field, value in _values(line, columns, split_in(table.stem)).items():
                    if not have.get(field):
                        have[field] = value
                    elif value and _sense(field, value) != _sense(field, have[field]):
                        unlike.setdefault(field, {}).setdefault(stated, [have[field]]).append(value)
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
        folder.add(*(_unlike(table, field, values) for field, values in unlike.items()))
    return rows


def _columns(line: Mapping[str, str]) -> dict[str, str]:
    """Field -> header of the table, whatever its spelling (``PatientID``, ``image_path``)."""
    have: dict[str, str] = {}
    for header in line:
        have.setdefault(re.sub(r"[\W_]+", "", header), header)
    found = {}
    for field, spellings in FIELDS.items():
        for spelling in spellings:
            if (bare := spelling.replace(" ", "")) in have:
                found[field] = have[bare]
                break
    return found


def _values(line: Mapping[str, str], columns: Mapping[str, str], split: str) -> dict[str, str]:
    """What one row says; split: of the whole table (``train.csv``), used where no column says it."""
    row = {
        field: line[header] if field in WORDS else known(line[header])
        for field, header in columns.items()
        if field != "file"
    }
    row |= {key: line[key] for key in ("page", "xref", "inpainted_fraction") if key in line}
    return row if row.get("split") or not split else row | {"split": split}


def _sense(field: str, value: str) -> object:
    """What a value means, so that ``1`` and ``COVID`` do not contradict each other."""
    if field == "label":
        label = class_of(value)
        return value.casefold() if label is None else label
    return (split_of(value) if field == "split" else "") or value.casefold()


def _unjoined(table: Path, columns: Mapping[str, str], line: Mapping[str, str]) -> Finding:
    told = [columns[field] for field in TOLD if field in columns]
    return mismatch(
        "warning" if told else "note",
        [],
        f"{table.name} was joined to no picture: no column of file names among {', '.join(k for k in line if k)[:200]}",
        f"call the column of file names 'file'{'; its ' + ', '.join(told) + ' were not used' if told else ''}",
        {"table": table.name, "columns": [key for key in line if key]},
    )


def _unlike(table: Path, field: str, values: Mapping[str, list[str]]) -> Finding:
    name, said = next(iter(values.items()))
    return mismatch(
        "error" if field in TOLD else "warning",
        list(values),
        f"{table.name} gives {len(values)} pictures a second {field.replace('_', ' ')}, e.g. {name}: "
        f"{' and '.join(repr(text[:60]) for text in dict.fromkeys(said))}",
        "keep one row for each picture; the audit used the first",
        {"field": field, "values": {key: list(dict.fromkeys(texts)) for key, texts in values.items()}},
    )


def read_lists(root: Path, files: list[Path], folder: Folder) -> dict[Path, str]:
    """Split of each picture from lists like ``train.txt`` or ``testCT_COVID.txt``."""
    names, single = joins.Names(dict.fromkeys(p.name for p in files)), {path.name: path for path in files}
    splits: dict[Path, str] = {}
    for text in sorted(root.rglob("*.txt")):
        begin = re.sub("(ct|_).*", "", text.stem, flags=re.I) or text.stem
        match = re.match(r"(training|train|validation|valid|val|testing|test|dev)(?![a-z])", begin, re.I)
        split = split_of(match[1]) if match else split_in(text.stem)
        if not split:
            continue
        lines = joins.read_list(text)
        if not match and not any(names.find(Path(line).name)[0] for line in lines):
            continue  # a text that has the word in its name
        unknown, both = [], []
        for line in lines:
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
