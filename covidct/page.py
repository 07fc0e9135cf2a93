"""The dataset page: one static HTML file to look through every picture, filter, and follow it to its source.

Reads: a dataset folder or version; where given, the audit's JSON, `figures.jsonl`, reviews; `cleaning.csv` beside it.
Writes: one HTML file, no network, no server. Thumbnails of up to EMBED pictures are inside it; beyond that, and for the
large view, the page loads `images/…` beside it, and only what is on the screen.
Guarantees: same inputs, same bytes; text of captions and files is shown as text, never as markup; only http(s) links.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import logging
import os
import re
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from PIL import Image

from covidct import pictures
from covidct.commands import new_app
from covidct.files import PathError, inside, parse_json, read_json, write_text
from covidct.reader import Dataset, DatasetError, load
from covidct.records import TableError

log = logging.getLogger(__name__)

EMBED = 2000
"""pictures up to which thumbnails are put into the file itself"""
SIDE = 112
"""pixels: longer side of a thumbnail"""
TEXT = (
    "caption",
    "evidence",
    "patient_id",
    "patient_basis",
    "source",
    "document_id",
    "doi",
    "document_type",
    "licence",
)
PLAIN = ("image_id", "split", "age", "sex", "severity", "box", "reviewers", "duplicate_group", "sha256")
NUMBERS = ("label", "page", "xref", "panel", "version", "width", "height")
DOI = re.compile(r"^10\.\d{4,9}/[^\s<>\"']+$")
PREPRINT = re.compile(r"(?:^|:)(\d{4}\.\d{2}\.\d{2}\.\d{6,8})$")
PMC = re.compile(r"(?:^|:)(PMC\d{3,9})$")


class PageError(ValueError):
    """An input of the page that cannot be used: what, expected, got, next step."""


def address(doi: str, document: str) -> str:
    """Public address of the document of a picture, https only; empty if none is known."""
    if not doi and (found := PREPRINT.search(document)):
        doi = f"10.1101/{found[1]}"  # medRxiv and bioRxiv make the DOI from the identifier
    if DOI.match(doi):
        return "https://doi.org/" + urllib.parse.quote(doi, safe="/.()-_;:")
    if found := PMC.search(document):
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{found[1]}/"
    return ""


def flags(audit: Path | None, image_ids: set[str]) -> dict[str, list[list[str]]]:
    """image_id -> [kind, severity, evidence, remedy] of every finding of the audit that names it. Raises PageError."""
    if audit is None:
        return {}
    try:
        findings = read_json(audit)["findings"]
        found: dict[str, list[list[str]]] = {}
        for row in findings:
            severity = "suppressed" if row.get("suppressed") else row["severity"]
            flag = [str(row["kind"]), str(severity), str(row.get("evidence", "")), str(row.get("remedy", ""))]
            for name in row["items"]:
                image_id = name if name in image_ids else Path(str(name)).name.rsplit(".", 1)[0]
                found.setdefault(image_id, []).append(flag)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PageError(
            f"{audit}: expected the JSON of `covidct audit`, got {type(error).__name__}: {error}"
        ) from error
    return found


def changes(folder: Path) -> dict[str, list[list[str]]]:
    """image_id -> [action, before, after, reason] of ``cleaning.csv`` and ``changes.csv``, where they are."""
    found: dict[str, list[list[str]]] = {}
    for name, column in (("cleaning.csv", "action"), ("changes.csv", "change")):
        path = folder / name
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row.get(column) not in (None, "kept"):
                    found.setdefault(str(row["image_id"]), []).append(
                        [row[column], row["before"] or "", row["after"] or "", row["reason"] or ""]
                    )
    return found


def _lines(folders: list[Path], pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Rows of every JSON Lines file; a damaged line is an error that names it."""
    for folder in folders:
        files = sorted(folder.glob(pattern)) if folder.is_dir() else [folder]
        for path in files:
            try:
                for line in path.read_text(encoding="utf-8").splitlines():
                    if line.strip():
                        yield path, parse_json(line)
            except (OSError, ValueError) as error:
                raise PageError(f"{path}: expected JSON Lines, got {error}") from error


def figures(folders: list[Path], out: Path) -> dict[str, list[Any]]:
    """figure_id -> [picture relative to the page, width, height, label, mentions] of ``figures.jsonl`` files."""
    found: dict[str, list[Any]] = {}
    for path, row in _lines(folders, "figures.jsonl"):
        try:
            file = inside(path.parent, str(row["file"]))
        except (KeyError, PathError) as error:
            raise PageError(f"{path}: expected a figure with its file, got {error}") from error
        relative = Path(os.path.relpath(file.resolve(), out.parent.resolve())).as_posix()
        mentions = [str(mention.get("text", "")) for mention in row.get("mentions", [])][:10]
        found[str(row.get("figure_id"))] = [
            urllib.parse.quote(relative), row.get("width"), row.get("height"), str(row.get("label", "")), mentions,
        ]  # fmt: skip
    return found


def reviews(folders: list[Path]) -> dict[str, list[list[str]]]:
    """candidate_id -> [reviewer, day, labels, comment] of reviews."""
    found: dict[str, list[list[str]]] = {}
    for _, row in _lines(folders, "*.jsonl"):
        labels = ", ".join(str(panel.get("label")) for panel in row.get("panels", [])) or "not a chest CT"
        said = [str(row.get("reviewer", "")), str(row.get("reviewed_at", ""))[:10], labels, str(row.get("comment", ""))]
        found.setdefault(str(row.get("candidate_id")), []).append(said)
    return found


def figure_of(image_id: str) -> str:
    """Figure of a panel by the naming convention ``<figure>%<n>``."""
    return image_id.rsplit("%", 1)[0]


def table(records: pd.DataFrame) -> dict[str, Any]:
    """The records by column; columns of long or repeated text as a list of values and an index for each row."""
    columns: dict[str, Any] = {}
    for name in TEXT:
        codes, values = pd.factorize(records[name].astype(str), sort=False)
        columns[name] = {"values": [str(value) for value in values], "codes": codes.tolist()}
    for name in PLAIN:
        columns[name] = records[name].astype(str).tolist()
    for name in NUMBERS:
        columns[name] = [None if pd.isna(value) else int(value) for value in records[name]]
    columns["reviewed"] = [int(value) for value in records["reviewed"]]
    columns["inpainted_fraction"] = [round(float(value), 4) for value in records["inpainted_fraction"]]
    pairs = zip(records["doi"].astype(str), records["document_id"].astype(str), strict=True)
    codes, values = pd.factorize(pd.Series([address(doi, document) for doi, document in pairs], dtype=object))
    columns["address"] = {"values": [str(value) for value in values], "codes": codes.tolist()}
    return columns


def thumbnail(path: Path) -> str:
    """Small JPEG of a picture as base64 text; empty where the picture is not here (a recipe) or cannot be read."""
    try:
        image = Image.fromarray(pictures.to_grey(pictures.open_picture(path)))
    except pictures.PictureError as error:
        log.info("page: no thumbnail: %s", error)
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return base64.b64encode(buffer.getvalue()).decode()


def build(
    dataset: Dataset,
    out: Path,
    audit: Path | None = None,
    figure_folders: list[Path] | None = None,
    review_folders: list[Path] | None = None,
    embed: bool | None = None,
) -> str:
    """HTML of the page that will lie at ``out``. embed: thumbnails inside the file (default: up to EMBED pictures).

    Raises PageError, PathError.
    """
    records = dataset.records
    ids = set(records["image_id"])
    all_figures, all_reviews = figures(figure_folders or [], out), reviews(review_folders or [])
    wanted = {figure_of(name) for name in ids}
    embed = len(records) <= EMBED if embed is None else embed
    base = Path(os.path.relpath(dataset.root.resolve(), out.parent.resolve())).as_posix()
    files = [inside(dataset.root, file) for file in records["file"]]
    thumbs: list[str] = []
    if embed:
        with ThreadPoolExecutor() as pool:
            thumbs = list(pool.map(thumbnail, files))
    data = {
        "title": f"COVID-CT dataset {dataset.version}",
        "scheme": str(dataset.info.get("scheme", "")),
        "base": "" if base == "." else urllib.parse.quote(base) + "/",
        "files": [urllib.parse.quote(file) for file in records["file"]],
        "here": [int(path.is_file()) for path in files],
        "columns": table(records),
        "flags": {name: rows for name, rows in flags(audit, ids).items() if name in ids},
        "audited": audit is not None,
        "changes": {name: rows for name, rows in changes(dataset.root).items() if name in ids},
        "figures": {name: row for name, row in all_figures.items() if name in wanted},
        "reviews": {name: row for name, row in all_reviews.items() if name in wanted},
        "thumbs": thumbs,
    }
    # no "<" survives inside the script element, so no text of a caption can end it
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return template.replace("__DATA__", text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


app = new_app()


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="a dataset folder, release folder or version")],
    out: Annotated[Path | None, typer.Option(help="the HTML file; default index.html in the folder")] = None,
    audit: Annotated[Path | None, typer.Option(help="JSON of `covidct audit`: flags to filter by")] = None,
    figures: Annotated[list[Path] | None, typer.Option(help="folder with figures.jsonl; repeat for more")] = None,
    reviews: Annotated[list[Path] | None, typer.Option(help="folder with reviews (*.jsonl)")] = None,
    embed: Annotated[
        bool | None, typer.Option("--embed/--no-embed", help=f"thumbnails inside the file (default: up to {EMBED})")
    ] = None,
) -> None:
    """One static HTML page: every picture with filters, leading to figure, caption, evidence and review."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        found = load(dataset)
        target = out or found.root / "index.html"
        write_text(target, build(found, target, audit, figures, reviews, embed))
    except (DatasetError, TableError, PageError, PathError, OSError) as error:
        log.error("page: %s", error)
        raise typer.Exit(1) from error
    log.info("page: %d images, %.1f MB: %s", len(found.records), target.stat().st_size / 1e6, target)


if __name__ == "__main__":
    app()
