"""The image record: one row of the dataset, what its columns mean, and the one reader and writer of the table."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

COVID = 1
LABEL_NAMES = {0: "NonCOVID", 1: "COVID"}
SPLITS = ("train", "val", "test")

COLUMNS: dict[str, str] = {
    "image_id": "identifier, unique; file name without its ending (2020 convention <id>-p<page>-<xref>[%<n>])",
    "file": "picture, relative to the folder of the table",
    "label": "1 = COVID (the positive class everywhere), 0 = NonCOVID",
    "label_name": "COVID or NonCOVID",
    "patient_id": "who is shown, scoped by source; images of one value never cross splits",
    "patient_basis": "how patient_id is known: stated, case, curator, caption, figure, document, metadata",
    "source": "medrxiv, biorxiv, pmc, medpix, published-covid ...",
    "document_id": "preprint id, PMC id or MedPix case",
    "doi": "DOI of the document, empty if none",
    "version": "preprint version, empty if none",
    "page": "page of the PDF, from 1",
    "xref": "PyMuPDF xref of the raster",
    "panel": "number of the panel inside the figure, from 0; empty for a single picture",
    "box": "panel box in pixels of the figure, 'x0 y0 x1 y1'; empty: the whole figure",
    "width": "pixels",
    "height": "pixels",
    "caption": "caption (and the panel's own sub-caption)",
    "evidence": "sentence that supports the label",
    "age": "as stated",
    "sex": "F, M or empty",
    "severity": "as stated",
    "document_type": "preprint, article, case, book",
    "reviewed": "true if a person decided the label",
    "reviewers": "who, separated by ';'",
    "inpainted_fraction": "share of pixels that were repaired",
    "licence": "code of the document's licence, empty if not stated",
    "sha256": "of the file",
    "duplicate_group": "same picture -> same value; empty if alone",
    "split": "train, val, test or empty before splitting",
}
STRINGS = [
    c
    for c in COLUMNS
    if c not in {"label", "page", "xref", "panel", "version", "width", "height", "reviewed", "inpainted_fraction"}
]
INTEGERS = ["page", "xref", "panel", "version"]
LABELS = "0 (NonCOVID) or 1 (COVID)"
MOST = 2**53
"""above, a number read as a float is not the one that was written"""


class TableError(ValueError):
    """The table of images is not what it must be: names file, line, column, expected and got."""


def read_records(path: Path | str) -> pd.DataFrame:
    """Read and validate the table; empty text cells are ``""``, missing numbers ``<NA>`` (``Int64``).

    Raises TableError (no table, missing column, unknown label or split, repeated or empty image_id, a number that is
    none, not whole, not finite or out of range).
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: expected the table of images, got no file; run the stage that writes it")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeError) as error:
        raise TableError(
            f"{path}: expected a comma-separated table in UTF-8 with a header, got {error}; restore the file"
        ) from error
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise TableError(f"{path}: expected columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    for column in INTEGERS:
        frame[column] = _whole(frame, column, 0, path).astype("Int64")
    _refuse(frame, ~_number(frame, "label", path).isin(list(LABEL_NAMES)), "label", LABELS, path)
    for column, least in (("label", 0), ("width", 1), ("height", 1)):
        values = _whole(frame, column, least, path)
        _refuse(frame, values.isna(), column, "a whole number", path)
        frame[column] = values.astype("int64")
    share = _number(frame, "inpainted_fraction", path).fillna(0.0).astype(float)
    _refuse(frame, ~share.between(0, 1), "inpainted_fraction", "a share from 0 to 1", path)
    frame["inpainted_fraction"] = share
    _refuse(frame, ~frame["reviewed"].str.lower().isin(["true", "false"]), "reviewed", "true or false", path)
    frame["reviewed"] = frame["reviewed"].str.lower() == "true"
    check_records(frame, str(path))
    return frame


def check_records(frame: pd.DataFrame, where: str = "records") -> None:
    """Raise TableError unless labels are in {0, 1}, splits known and image ids unique and not empty."""
    _refuse(frame, ~frame["label"].isin(list(LABEL_NAMES)), "label", LABELS, where)
    if "split" in frame:
        _refuse(frame, ~frame["split"].isin([*SPLITS, ""]), "split", "train, val, test or empty", where)
    names = frame["image_id"]
    _refuse(frame, names.isna() | (names.astype(str).str.strip() == ""), "image_id", "a name", where)
    _refuse(frame, names.duplicated(), "image_id", "a value used once", where)


def write_records(path: Path | str, frame: pd.DataFrame) -> None:
    """Write the table, columns in order, rows by image_id, all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_records(frame, str(path))
    frame = frame.reindex(columns=list(COLUMNS)).sort_values("image_id", kind="stable")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            frame.to_csv(out, index=False, lineterminator="\n")
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _number(frame: pd.DataFrame, column: str, where: Path | str) -> pd.Series:
    values = pd.to_numeric(frame[column].replace("", None), errors="coerce")
    _refuse(frame, values.isna() & (frame[column] != ""), column, "a number or nothing", where)
    _refuse(frame, values.isin([float("inf"), float("-inf")]), column, "a finite number", where)
    return values


def _whole(frame: pd.DataFrame, column: str, least: int, where: Path | str) -> pd.Series:
    """Numbers of a column, none cut: 3.5 pages, -4 pixels and what int64 cannot hold are refused; empty is NaN."""
    values = _number(frame, column, where)
    real = pd.to_numeric(values, errors="coerce").astype(float)
    fits = real.isna() | ((real % 1 == 0) & (real >= least) & (real < MOST))
    _refuse(frame, ~fits, column, f"a whole number from {least}", where)
    return values


def _refuse(frame: pd.DataFrame, bad: pd.Series, column: str, expected: str, where: Path | str) -> None:
    if bad.any():
        first = int(bad.to_numpy().argmax())
        raise TableError(
            f"{where}: line {first + 2}, column {column}: expected {expected}, got {str(frame[column].iloc[first])!r}"
            f" ({int(bad.sum())} such rows)"
        )
