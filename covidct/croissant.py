"""Croissant metadata of a release, made and validated by the mlcroissant library (extra `release`)."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from covidct.files import sha256_file, write_text
from covidct.records import COLUMNS

INTEGER = {"label", "page", "xref", "panel", "version", "width", "height"}
CITATION = (
    "He et al., Sample-Efficient Deep Learning for COVID-19 Diagnosis Based on CT Scans, medRxiv 2020.04.13.20063941"
)


class CroissantError(RuntimeError):
    """The metadata do not pass mlcroissant's own validation."""


def write(folder: Path, name: str, version: str, description: str, licences: list[str], date: str) -> Path:
    """``croissant.json`` for the release in ``folder``; every column of records.csv and every picture described.

    Raises CroissantError with mlcroissant's messages.
    """
    import mlcroissant as mlc

    def field(column: str) -> Any:
        kind = mlc.DataType.INTEGER if column in INTEGER else mlc.DataType.TEXT
        return mlc.Field(
            id=f"records/{column}",
            name=column,
            description=COLUMNS[column],
            data_types=[kind],
            source=mlc.Source(file_object="records.csv", extract=mlc.Extract(column=column)),
        )

    metadata = mlc.Metadata(
        name=name,
        description=description,
        url="https://github.com/UCSD-AI4H/COVID-CT",
        license=licences or ["not stated"],
        version=version,
        cite_as=CITATION,
        date_published=datetime.fromisoformat(date),
        distribution=[
            mlc.FileObject(
                id="records.csv",
                name="records.csv",
                content_url="records.csv",
                encoding_formats=["text/csv"],
                sha256=sha256_file(folder / "records.csv"),
            ),
            mlc.FileSet(id="images", name="images", includes=["images/*.png"], encoding_formats=["image/png"]),
        ],
        record_sets=[
            mlc.RecordSet(
                id="records",
                name="records",
                key="records/image_id",
                description="one row per image; label 1 = COVID",
                fields=[field(column) for column in COLUMNS],
            )
        ],
    )
    if metadata.issues.errors:
        raise CroissantError(f"{folder}: {metadata.issues.report()}")
    path = folder / "croissant.json"
    write_text(path, json.dumps(metadata.to_json(), indent=2, ensure_ascii=False, default=str, sort_keys=True) + "\n")
    validate(path)
    return path


def validate(path: Path) -> None:
    """Read the file back as a user would. Raises CroissantError."""
    import mlcroissant as mlc

    try:
        found = mlc.Dataset(jsonld=str(path))
    except mlc.ValidationError as error:
        raise CroissantError(f"{path}: {error}") from error
    if found.metadata.issues.errors:
        raise CroissantError(f"{path}: {found.metadata.issues.report()}")
