"""CSV tables: our rows as text, and the tables of stage `luna`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """CSV of rows with the same keys; ``columns``: theirs, needed only where there may be no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns or (list(rows[0]) if rows else []), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def history_text(history: Sequence[Mapping[str, Any]]) -> str:
    """history.csv of a training: its rows, epochs counted from 1."""
    return csv_text([{**row, "epoch": int(row["epoch"]) + 1} for row in history])


def read_luna_table(path: Path, columns: Sequence[str], error: type[ValueError]) -> list[dict[str, str]]:
    """Rows of slices.csv or nodules.csv, by their first column.

    Raises ``error`` where the file or one of ``columns`` is not there.
    """
    if not path.is_file():
        raise error(f"{path}: expected the {path.stem} of stage luna, got no file; run `dvc repro luna`")
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise error(f"{path}: expected the columns {', '.join(columns)}; missing {missing[0]}")
        return sorted(reader, key=lambda row: row[columns[0]])
