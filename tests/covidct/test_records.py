"""The table of images: numbers are never cut, and what is no table is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from covidct.records import COLUMNS, TableError, read_records


def write(path: Path, **cells: str) -> Path:
    row = dict.fromkeys(COLUMNS, "") | {
        "image_id": "a",
        "label": "1",
        "width": "40",
        "height": "30",
        "reviewed": "true",
    }
    pd.DataFrame([row | {"image_id": "b"}, row | cells]).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("column", ["label", "width", "height", "page", "xref", "panel", "version"])
@pytest.mark.parametrize("value", ["0.5", "1.9", "-0.5", "-3", "inf", "-inf", "1e400", "1e30", "nan", "x"])
def test_a_number_that_does_not_fit_is_refused_by_line_and_column(tmp_path: Path, column: str, value: str) -> None:
    with pytest.raises(TableError, match=rf"line 3, column {column}: expected .*got '{value}'"):
        read_records(write(tmp_path / "records.csv", **{column: value}))


@pytest.mark.parametrize(
    ("column", "value"),
    [("inpainted_fraction", "1.5"), ("inpainted_fraction", "-1"), ("inpainted_fraction", "inf"), ("width", "0"),
     ("width", ""), ("label", ""), ("label", "2"), ("image_id", ""), ("image_id", "  "), ("image_id", "b")],
)  # fmt: skip
def test_other_cells_that_do_not_fit(tmp_path: Path, column: str, value: str) -> None:
    with pytest.raises(TableError, match=f"line 3, column {column}: expected "):
        read_records(write(tmp_path / "records.csv", **{column: value}))


def test_whole_numbers_however_written_and_nothing(tmp_path: Path) -> None:
    row = read_records(write(tmp_path / "records.csv", label="0.0", page="3.0", xref="", inpainted_fraction="0.25"))
    last = row.iloc[1]
    assert (last["label"], last["page"], last["inpainted_fraction"]) == (0, 3, 0.25) and last["xref"] is pd.NA


@pytest.mark.parametrize(
    "content", [b"", "image_id\nä\n".encode("latin-1"), "a,b\n".encode("utf-16"), b"a\n1,2\n3,4,5\n"]
)
def test_a_damaged_table_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records.csv").write_bytes(content)
    with pytest.raises(TableError, match=r"records\.csv: expected"):
        read_records(tmp_path / "records.csv")
