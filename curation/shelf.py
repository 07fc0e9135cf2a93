"""A dictionary on disk for keys and short texts, so that memory stays the same however many tasks a project has.

SQLite in a temporary file that is gone when it is closed; keys come out in order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType


class Shelf:
    """Text keys to text values; ``with Shelf() as shelf: shelf["key"] = "value"``. Not shared between processes."""

    def __init__(self) -> None:
        # An empty name is SQLite's own temporary file: in memory while small, then on disk, removed at the end
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("PRAGMA cache_size = -8192")  # 8 MB of pages
        self._base.execute("CREATE TABLE shelf (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        self._base.execute("BEGIN")

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def __setitem__(self, key: str, value: str) -> None:
        self._base.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?)", (key, value))

    def get(self, key: str) -> str | None:
        """The value, or None."""
        row = self._base.execute("SELECT value FROM shelf WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def __contains__(self, key: object) -> bool:
        return self._base.execute("SELECT 1 FROM shelf WHERE key = ?", (key,)).fetchone() is not None

    def __delitem__(self, key: str) -> None:
        self._base.execute("DELETE FROM shelf WHERE key = ?", (key,))

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM shelf").fetchone()[0])

    def items(self) -> Iterator[tuple[str, str]]:
        """Pairs in order of their keys (code points); not to be changed while it is read."""
        for key, value in self._base.execute("SELECT key, value FROM shelf ORDER BY key"):
            yield str(key), str(value)
