"""Joining tables and lists to files whose names do not quite agree: missing endings, blanks, stray rows, case.

In the 2020 release 83 of 349 names in the spreadsheet lack ``.png``, one row has no name, one patient id ends in a
blank. Names are never URL-decoded: ``%10`` to ``%15`` in them are panel numbers, not escapes.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
SEPARATORS = (",", ";", "\t", "|")
MAX_TABLE_BYTES = 64 * 1024 * 1024
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
"""of a workbook: each of its cells takes about a hundred times the bytes of the shortest tag for one"""
MAX_ROWS = 200_000
MAX_COLUMNS = 1024
MAX_CELLS = 4_000_000


class JoinError(ValueError):
    """A table cannot be read or lacks a column: names file, column, expected, got and the next step."""


def clean(text: object) -> str:
    """Text of a cell: NFC, blanks at the ends gone, every run of blanks one blank; None is empty."""
    if text is None:
        return ""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", str(text))).strip()


def stem(name: str) -> str:
    """Name without a picture's ending (``a.b-p1-2%0`` stays whole)."""
    lower = name.lower()
    for ending in ENDINGS:
        if lower.endswith(ending):
            return name[: -len(ending)]
    return name


class Names:
    """The files there are, found by name: exact, then without the ending, then without case; never by guessing."""

    def __init__(self, names: Iterable[str]) -> None:
        self._levels: list[dict[str, list[str]]] = [{}, {}, {}]
        for name in names:
            for level, key in zip(self._levels, self._keys(name), strict=True):
                level.setdefault(key, []).append(name)

    @staticmethod
    def _keys(name: str) -> tuple[str, str, str]:
        tidy = clean(name)
        return tidy, stem(tidy).rstrip(), stem(tidy).rstrip().casefold()

    def find(self, name: str) -> tuple[str, str]:
        """``(file, "")`` or ``("", reason)``: no such file, or several that the name could mean."""
        for level, key in zip(self._levels, self._keys(name), strict=True):
            found = level.get(key, [])
            if len(found) == 1:
                return found[0], ""
            if found:
                return "", f"could mean {' or '.join(sorted(found))}; write the ending"
        return "", "no file of this name"


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a .csv, .tsv or .xlsx table as dicts of clean text; header cells are clean and lower-case.

    Text tables may be separated by comma, semicolon, tab or bar: the one that cuts the header most.
    Wholly blank rows are dropped. Each row carries its number under ``""``. Raises JoinError.
    """
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise JoinError(f"{path}: expected a table of at most {MAX_TABLE_BYTES} bytes, got {path.stat().st_size}")
    rows: list[list[Any]] = _xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    if not rows:
        raise JoinError(f"{path}: expected a table with a header, got an empty file")
    header = [clean(cell).lower() for cell in rows[0]]
    last = max((number for number, key in enumerate(header, 1) if key), default=0)
    if not last:
        raise JoinError(f"{path}: expected column names in the first row, got none")
    table = []
    for number, row in enumerate(rows[1:], 2):
        cells = [clean(cell) for cell in row]
        if len(cells) > last:  # a text with unquoted separators ran past the header: it belongs to the last column
            cells[last - 1 :] = ["; ".join(filter(None, cells[last - 1 :]))]
        if any(cells):
            table.append({"": str(number), **{key: cell for key, cell in zip(header, cells, strict=False) if key}})
    missing_width = {key: "" for key in header if key}
    return [missing_width | row for row in table] or [missing_width | {"": "1"}]


def column(table: list[dict[str, str]], names: tuple[str, ...], path: Path, required: bool = True) -> str:
    """Which of several spellings of a column the table has; raises JoinError where a required one is missing."""
    have = [key for key in table[0] if key]
    for name in names:
        if name in have:
            return name
    if required:
        raise JoinError(
            f"{path}: expected a column {names[0]!r}, got columns {', '.join(map(repr, have))}; "
            "restore the table as published or rename the column"
        )
    return ""


def read_list(path: Path) -> list[str]:
    """Non-blank lines of a split list, clean, any line ending, with or without a byte-order mark."""
    return [name for line in decode(path).splitlines() if (name := clean(line))]


def decode(path: Path) -> str:
    """Text of a file: UTF-8 (with or without mark), else UTF-16 by its mark, else Windows-1252."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _csv(path: Path) -> list[list[str]]:
    content = decode(path).replace("\0", "")
    stated = re.match(r"sep=(.)\r?\n", content, re.I)  # Excel's own way to say it
    content = content[stated.end() :] if stated else content
    try:
        mark = stated[1] if stated else _separator(content)
        return _bounded(csv.reader(io.StringIO(content, newline=""), delimiter=mark), path)
    except csv.Error as error:
        raise JoinError(
            f"{path}: expected a table separated by {' '.join(map(repr, SEPARATORS))}, got {error}"
        ) from error


def _separator(content: str) -> str:
    """What cuts the header into most cells; a comma where others do not cut it into more."""
    cells = {mark: len(next(csv.reader(io.StringIO(content, newline=""), delimiter=mark), [])) for mark in SEPARATORS}
    return max(SEPARATORS, key=lambda mark: cells[mark])


def _bounded(rows: Iterable[Sequence[Any]], path: Path) -> list[list[Any]]:
    """All rows; raises JoinError for more rows, columns or cells than a table has."""
    kept: list[list[Any]] = []
    cells = 0
    for row in rows:
        cells += len(row)
        if len(kept) == MAX_ROWS or len(row) > MAX_COLUMNS or cells > MAX_CELLS:
            raise JoinError(
                f"{path}: row {len(kept) + 1}: expected at most {MAX_ROWS} rows, {MAX_COLUMNS} columns and {MAX_CELLS} "
                "cells, got more; remove stray cells far below or beside the table"
            )
        kept.append(list(row))
    return kept


def _xlsx(path: Path) -> list[list[Any]]:
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise JoinError(
            f"{path}: reading .xlsx needs openpyxl; pip install 'covidct[published]' or give the .csv"
        ) from error
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise JoinError(
                f"{path}: expected at most {MAX_UNPACKED_BYTES} bytes unpacked, got {unpacked}; give the .csv"
            )
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # else each row is filled up to the width that the file only states
            return _bounded(sheet.iter_rows(values_only=True), path)
        finally:
            book.close()
    except JoinError:
        raise
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        zlib.error,
        SyntaxError,  # XML, of either parser that openpyxl uses
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
    ) as error:  # openpyxl believes what the parts say of each other, and raises what it meets where they are wrong
        raise JoinError(
            f"{path}: expected an Excel workbook, got a damaged one ({type(error).__name__}: {error}); "
            "give the .csv instead"
        ) from error
