"""Pictures that a release describes but may not hand on: which they are, and filling them in from one's own copy.

``recipe.csv`` names each such picture with its source (DOI, version, page, xref, panel, box) and the SHA-256 of its
*pixels*, so that any encoding of the same picture fits.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from covidct import pictures
from covidct.files import inside, write_bytes, write_text

log = logging.getLogger(__name__)

FILE = "recipe.csv"
COLUMNS = (
    "image_id",
    "file",
    "pixels",
    "source",
    "document_id",
    "doi",
    "version",
    "page",
    "xref",
    "panel",
    "box",
    "licence",
)


def pixel_hash(grey: np.ndarray) -> str:
    """SHA-256 of height, width and pixels (uint8 H×W)."""
    height, width = grey.shape
    return hashlib.sha256(
        f"{height}x{width}:".encode() + np.ascontiguousarray(grey, dtype=np.uint8).tobytes()
    ).hexdigest()


def write(folder: Path, records: pd.DataFrame, dataset: Path) -> None:
    """``recipe.csv`` of the given records, pixels hashed from the dataset's files."""
    rows = records.reindex(columns=list(COLUMNS)).assign(
        pixels=[pixel_hash(pictures.to_grey(pictures.open_picture(inside(dataset, file)))) for file in records["file"]]
    )
    write_text(folder / FILE, rows.sort_values("image_id").to_csv(index=False, lineterminator="\n"))


def rows(folder: Path) -> list[dict[str, str]]:
    """Rows of a release's recipe; none where every picture is handed on."""
    path = folder / FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def missing(folder: Path) -> list[str]:
    """Files of the recipe that are not there yet."""
    return [row["file"] for row in rows(folder) if not inside(folder, row["file"]).is_file()]


def fill(folder: Path, source: Path) -> list[str]:
    """Look through all pictures under ``source`` for those the recipe describes and write them; returns what lacks."""
    wanted: dict[str, list[str]] = {}
    for row in rows(folder):
        if not inside(folder, row["file"]).is_file():
            wanted.setdefault(row["pixels"], []).append(row["file"])
    for path in sorted(source.rglob("*")):
        if not wanted:
            break
        if not path.is_file() or path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff"):
            continue
        try:
            grey = pictures.to_grey(pictures.open_picture(path))
        except pictures.PictureError as error:
            log.info("%s", error)
            continue
        for file in wanted.pop(pixel_hash(grey), []):
            write_bytes(inside(folder, file), pictures.encode(grey))
    return [file for files in wanted.values() for file in files]
