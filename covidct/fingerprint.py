"""What an audit looked at, in one hash: pictures and table, so that findings are never taken for another dataset's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from covidct.files import sha256_file

TABLE = "records.csv"


def fingerprint(folder: Path, pictures: Iterable[Path]) -> dict[str, str | int]:
    """``pictures`` (how many) and ``sha256`` over the sorted SHA-256 of the pictures and of the folder's records.csv.

    The names do not count, the table does: labels, patients and splits are what an audit judges. Raises OSError.
    """
    hashes = sorted(sha256_file(path) for path in pictures)
    table = sha256_file(folder / TABLE) if (folder / TABLE).is_file() else ""
    lines = [f"{TABLE} {table}", *hashes]
    return {"pictures": len(hashes), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
