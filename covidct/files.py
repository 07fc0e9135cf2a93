"""Files written all or nothing, hashes, and paths that stay inside their folder: what every covidct stage uses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK = 1 << 20
MAX_JSON_BYTES = 256 * 1024 * 1024


class PathError(ValueError):
    """A relative path that a table or manifest names leaves its folder."""


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary file beside ``path`` to write; then fsync and rename: all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` under ``path`` all or nothing."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text all or nothing."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON all or nothing; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def parse_json(text: str) -> Any:
    """The value of JSON text; ValueError for any other, also one nested deeper than Python can follow."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deep to be read") from error


def read_json(path: Path | str) -> Any:
    """The value in a JSON file of at most MAX_JSON_BYTES; raises ValueError, and OSError where it cannot be read."""
    size = Path(path).stat().st_size
    if size > MAX_JSON_BYTES:
        raise ValueError(f"expected at most {MAX_JSON_BYTES} bytes of JSON, got {size}")
    return parse_json(Path(path).read_text(encoding="utf-8"))


def write_lines(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines all or nothing."""
    write_text(path, "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows))


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def inside(folder: Path | str, relative: str) -> Path:
    """``folder/relative``, refused with PathError where it is absolute or leaves the folder (``../``)."""
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise PathError(f"file {relative!r}: expected a path inside {folder}, got one that leaves it; mend the table")
    return Path(folder) / pure


def clear_outputs(out: Path) -> None:
    """Remove what an earlier run of a stage left in ``out``, known by its records.csv or failed.jsonl."""
    if (out / "records.csv").is_file() or (out / "failed.jsonl").is_file():
        for name in ("records.csv", "failed.jsonl"):
            (out / name).unlink(missing_ok=True)
        if (out / "images").is_dir():
            shutil.rmtree(out / "images")
