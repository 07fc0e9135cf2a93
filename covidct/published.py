"""Stage `published`: the 2020 COVID-CT release, as it lies on disk, becomes records.

Reads: a folder that holds ``CT_COVID/`` and ``CT_NonCOVID/`` (pictures), ``{train,val,test}CT_{COVID,NonCOVID}.txt``
(its own split) and ``COVID-CT-MetaInfo.xlsx|csv``, ``NonCOVID-CT-MetaInfo.csv`` (patients, captions).
Writes: ``images/*.png`` (8-bit grey, no metadata), ``records.csv`` (covidct.records), ``failed.jsonl``.
Guarantees: one record or one failure row per picture; label 1 = COVID; patients as the tables say, never from a name;
format read from the bytes; every row or line that joins nothing is reported; the same input gives the same bytes.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from covidct import joins, pictures
from covidct.commands import new_app
from covidct.files import clear_outputs, sha256_bytes, write_bytes, write_lines
from covidct.records import COLUMNS, LABEL_NAMES, SPLITS, TableError, write_records

log = logging.getLogger(__name__)

SOURCE = "published"
NAME = re.compile(r"^(?P<document>.+?)-p(?P<page>\d{1,4})-(?P<xref>\d{1,7})(?:.*?[%_-](?P<panel>\d{1,3}))?$")
PREPRINT = re.compile(r"^(?:\d{4}\.\d{2}\.\d{2}\.)?\d{6,8}$")
DOI = re.compile(r"^10\.\d{4,9}/\S+$")
PATIENT = ("patient id", "patient_id", "patient")
FILE = ("file name", "image name", "filename", "file")


class ReleaseError(ValueError):
    """The folder is not the 2020 release, or nothing in it can be used: what, expected, got, next step."""


@dataclass
class Side:
    """One class of the release: its pictures, its rows by file and its split by file."""

    label_name: str
    files: dict[str, Path]
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def fail(self, item: str, reason: str) -> None:
        self.failures.append({"item": item, "reason": reason})


def read_side(root: Path, label_name: str) -> Side:
    """Pictures, metadata and split lists of one class, joined. Raises ReleaseError or JoinError."""
    folder = _one(root, f"CT_{label_name}", folder=True)
    files = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() in joins.ENDINGS
    }
    if not files:
        raise ReleaseError(f"{folder}: expected pictures, got none; unpack the release's CT_{label_name} here")
    side = Side(label_name, files)
    names = joins.Names(files)
    _join_split(root, side, names)
    _join_metadata(root, side, names)
    return side


def _join_split(root: Path, side: Side, names: joins.Names) -> None:
    for split in SPLITS:
        path = _one(root, f"{split}CT_{side.label_name}.txt")
        for line in joins.read_list(path):
            name, reason = names.find(line)
            if not name:
                side.fail(f"{path.name}: {line}", f"listed in {split}: {reason}")
            elif side.split.setdefault(name, split) != split:
                side.fail(f"{path.name}: {line}", f"listed in {split} and in {side.split[name]}; kept out of both")
                side.split[name] = ""
    for name in side.files:
        if name not in side.split:
            side.fail(name, "in no split list; kept without a split")


def _join_metadata(root: Path, side: Side, names: joins.Names) -> None:
    stem = "COVID-CT-MetaInfo" if side.label_name == "COVID" else "NonCOVID-CT-MetaInfo"
    found = [path for ending in (".xlsx", ".csv") for path in _find(root, stem + ending)[:1]]
    if not found:
        raise ReleaseError(f"{root}: expected {stem}.csv or .xlsx (patients of {side.label_name}), got neither")
    tables = {}
    problems = []
    for path in found:
        try:
            tables[path] = joins.read_table(path)
        except joins.JoinError as error:
            problems.append(str(error))
    if not tables:
        raise ReleaseError("; ".join(problems))
    for problem in problems:  # one of two tables is enough, but not silently
        side.fail(found[0].name, problem)
    for path, table in tables.items():
        _join_table(path, table, side, names)
    for name in side.files:
        if name not in side.rows:
            side.fail(name, f"no row in {stem}: patient unknown, grouped by document")


def _join_table(path: Path, table: list[dict[str, str]], side: Side, names: joins.Names) -> None:
    """Take each row's cells for its file; a second table only fills what the first left blank, and must agree."""
    file_column = joins.column(table, FILE, path)
    patient_column = joins.column(table, PATIENT, path)
    first = not side.rows
    seen: set[str] = set()
    for row in table:
        where = f"{path.name}: row {row['']}"
        if not row[file_column]:
            if any(cell for key, cell in row.items() if key):
                text = " ".join(cell for key, cell in row.items() if key and cell)
                side.fail(where, f"stray row: no file name, only {text[:80]!r}")
            continue
        name, reason = names.find(row[file_column])
        if not name:
            side.fail(f"{where}: {row[file_column]}", reason)
            continue
        if name in seen:
            side.fail(f"{where}: {row[file_column]}", f"second row for {name}; the first is used")
            continue
        seen.add(name)
        row = {**row, "patient": row[patient_column]}
        if first or name not in side.rows:
            side.rows[name] = row
        elif side.rows[name]["patient"] != row["patient"]:
            side.fail(
                f"{where}: {name}",
                f"patient {row['patient']!r} here, {side.rows[name]['patient']!r} in the first table, which is used",
            )
        else:
            side.rows[name] = row | {key: cell for key, cell in side.rows[name].items() if cell}


def records_of(side: Side, ids: dict[tuple[str, str], str], out: Path) -> list[dict[str, object]]:
    """Re-encode each picture into ``out/images`` and give its record; a picture that cannot be read is a failure."""
    with ThreadPoolExecutor() as pool:  # decoding and encoding release the interpreter's lock
        done = list(pool.map(lambda name: _encode(side.files[name], out, ids[side.label_name, name]), side.files))
    records = []
    for name, result in zip(side.files, done, strict=True):
        if isinstance(result, str):
            side.fail(name, result)
        else:
            records.append(_record(side, name, ids[side.label_name, name], *result))
    return records


def _encode(path: Path, out: Path, image_id: str) -> tuple[tuple[int, int], str] | str:
    """Write the picture in the one encoding; its shape (H, W) and SHA-256, or why it cannot be read."""
    try:
        image = pictures.open_picture(path)
        grey = pictures.to_grey(image)
    except pictures.PictureError as error:
        return str(error)
    if image.format == "JPEG" and path.suffix.lower() == ".png":
        log.info("%s: named .png, the bytes are JPEG", path.name)
    content = pictures.encode(grey)
    write_bytes(out / "images" / f"{image_id}.png", content)
    return (grey.shape[0], grey.shape[1]), sha256_bytes(content)


def _record(side: Side, name: str, image_id: str, shape: tuple[int, int], sha256: str) -> dict[str, object]:
    label = {text: number for number, text in LABEL_NAMES.items()}[side.label_name]
    return {
        **dict.fromkeys(COLUMNS, ""),
        **facts(side, name),
        "image_id": image_id,
        "file": f"images/{image_id}.png",
        "label": label,
        "label_name": side.label_name,
        "split": side.split.get(name, ""),
        "width": shape[1],
        "height": shape[0],
        "reviewed": True,
        "reviewers": "2020 release",
        "inpainted_fraction": 0.0,
        "sha256": sha256,
    }


def facts(side: Side, name: str) -> dict[str, object]:
    """What table and naming convention say about one picture; the patient comes from the table only."""
    row = side.rows.get(name, {})
    bare = joins.stem(name)
    parts = NAME.match(bare)
    document = (parts["document"] if parts else bare.split("%")[0]) if side.label_name == "COVID" else ""
    stated = row.get("patient", "")
    if side.label_name == "COVID":
        source, kind = f"{SOURCE}-covid", _document_type(document, row.get("doi", ""))
        if not parts:  # `PIIS0140673620301549_0%1`: the journal's own numbering follows the underscore
            document = re.sub(r"_\d+$", "", document)
    elif stated.lower().startswith("medpix"):
        source, kind, document = f"{SOURCE}-medpix", "case", stated
    else:
        source, kind, document = f"{SOURCE}-pmc", "article", stated or bare.split("%")[0]
    doi = re.sub(r"\s+", "", row.get("doi", "")).removeprefix("https://doi.org/")
    if doi and not DOI.match(doi):
        side.fail(name, f"DOI {row['doi']!r}: expected 10.…/…; left empty")
        doi = ""
    sex = row.get("gender", "").strip().upper()[:1]
    caption = row.get("captions", "")
    caption = re.sub(r"^\[\s*['\"](.*)['\"]\s*\]$", r"\1", caption).strip()
    return {
        "patient_id": f"{source}:{stated}" if stated else f"{source}:document {document}",
        "patient_basis": "metadata" if stated else "document",
        "source": source,
        "document_id": f"{source}:{document}",
        "document_type": kind,
        "doi": doi,
        "page": parts["page"] if parts else "",
        "xref": parts["xref"] if parts else "",
        "panel": (parts["panel"] or "") if parts else "",
        "caption": caption,
        "age": row.get("age", ""),
        "sex": sex if sex in ("F", "M") else "",
        "severity": row.get("severity", ""),
    }


def _document_type(document: str, doi: str) -> str:
    if PREPRINT.match(document) or doi.startswith("10.1101/"):
        return "preprint"
    return "book" if doi.startswith("10.1093/med/") else "article"


def image_ids(sides: list[Side]) -> tuple[dict[tuple[str, str], str], list[dict[str, str]]]:
    """Image id of each picture: its name without the ending; where two would be one (also on a disk that ignores
    case), all of them carry class and ending. Returns the ids and a row for each such clash."""
    owners: dict[str, list[tuple[str, str]]] = {}
    for side in sides:
        for name in side.files:
            owners.setdefault(joins.stem(name).casefold(), []).append((side.label_name, name))
    ids, notes = {}, []
    for same in owners.values():
        if len(same) == 1:
            ids[same[0]] = joins.stem(same[0][1])
            continue
        for number, (label_name, name) in enumerate(same):
            ids[label_name, name] = f"{joins.stem(name)}~{label_name}{Path(name).suffix.lower().replace('.', '-')}"
            if any(ids[label_name, name].casefold() == ids[other].casefold() for other in same[:number]):
                ids[label_name, name] += f"-{number}"
            notes.append(
                {"item": name, "reason": f"name clashes with another picture's; kept as {ids[label_name, name]}"}
            )
    return ids, notes


def convert(root: Path, out: Path) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """The release under ``root`` as records; pictures go to ``out/images``. Raises ReleaseError, JoinError."""
    if not root.is_dir():
        raise ReleaseError(f"{root}: expected the folder of the 2020 release, got none; give --root DIR")
    sides = [read_side(root, name) for name in ("COVID", "NonCOVID")]
    ids, failures = image_ids(sides)
    records: list[dict[str, object]] = []
    for side in sides:
        records += records_of(side, ids, out)
        failures += side.failures
    if not records:
        write_lines(out / "failed.jsonl", failures)
        count = sum(len(side.files) for side in sides)
        raise ReleaseError(f"{root}: none of the {count} pictures could be read; see {out / 'failed.jsonl'}")
    return pd.DataFrame(records, columns=list(COLUMNS)), failures


def _find(root: Path, name: str, folder: bool = False) -> list[Path]:
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.name.casefold() == name.casefold()
        and (path.is_dir() if folder else path.is_file())
        and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)
    ]


def _one(root: Path, name: str, folder: bool = False) -> Path:
    found = _find(root, name, folder)
    if len(found) != 1:
        got = ", ".join(str(path.relative_to(root)) for path in found) or "none"
        raise ReleaseError(
            f"{root}: expected one {'folder' if folder else 'file'} {name}, got {got}; "
            "give --root the folder of the 2020 release with CT_COVID, CT_NonCOVID, the split lists and MetaInfo tables"
        )
    return found[0]


app = new_app()


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="folder for records.csv, images/ and failed.jsonl")],
    root: Annotated[str, typer.Option(help="folder of the 2020 release")] = "",
    enabled: Annotated[bool, typer.Option(help="off: write an empty table")] = True,
) -> None:
    """The 2020 COVID-CT release -> records and uniformly encoded pictures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    clear_outputs(out)
    try:
        if enabled:
            records, failures = convert(Path(root or "."), out)
        else:
            log.info("published: not enabled in params.yaml, writing an empty table")
            records, failures = pd.DataFrame(columns=list(COLUMNS)), []
    except (ReleaseError, joins.JoinError, TableError, OSError) as error:
        log.error("published: %s", error)
        raise typer.Exit(1) from error
    write_lines(out / "failed.jsonl", failures)
    write_records(out / "records.csv", records)
    patients = records.groupby("label_name")["patient_id"].nunique().to_dict()
    log.info("published: %d images, patients %s, %d rows in failed.jsonl", len(records), patients, len(failures))


if __name__ == "__main__":
    app()
