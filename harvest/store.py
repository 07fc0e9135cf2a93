"""What a harvest stage remembers between runs: an SQLite file and the fetched files, in a folder of the cache.

Everything a stage learns is committed in the transaction that also moves its cursor on, and files are renamed into
place only when complete and checked, so that a run can be killed at any moment and goes on with nothing lost or
doubled.
Nothing is held in memory that grows with the number of items.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harvest.answers import CHUNK
from harvest.archives import open_archive
from harvest.content import sniff
from harvest.download import Saved, download
from harvest.errors import HarvestError, ItemError
from harvest.hosts import is_loopback
from harvest.http import Session
from harvest.records import Failure

_COMMON = """
CREATE TABLE IF NOT EXISTS file(
  name TEXT PRIMARY KEY, url TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS problem(item TEXT PRIMARY KEY, reason TEXT NOT NULL, waiting INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS progress(name TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""


class Store:
    """State of one stage against one set of services. ``db`` is in autocommit mode: use ``transaction()``."""

    def __init__(self, folder: Path, schema: str = "") -> None:
        self.folder, self.files = folder, folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(folder / "state.sqlite", isolation_level=None)
        self.db.row_factory = sqlite3.Row
        # WAL without a sync at each commit survives a killed process; what a power cut could lose is fetched again.
        self.db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _COMMON + schema)

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def have(self, name: str) -> Saved | None:
        """The file as recorded, if it lies there with its recorded size."""
        row = self.db.execute("SELECT sha256, bytes, kind FROM file WHERE name = ?", (name,)).fetchone()
        path = self.files / name
        if row is None or not path.is_file() or path.stat().st_size != row["bytes"]:
            return None
        return Saved(row["sha256"], row["bytes"], row["kind"])

    def url_of(self, name: str) -> str:
        """Where a file came from."""
        row = self.db.execute("SELECT url FROM file WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row["url"])

    def keep(self, name: str, url: str, saved: Saved) -> None:
        """Record a complete file under ``files/name``."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", (name, url, saved.sha256, saved.bytes, saved.kind)
            )

    def fetch(
        self,
        session: Session,
        name: str,
        url: str,
        kinds: frozenset[str],
        max_bytes: int,
        md5: str = "",
        canonical: str = "",
    ) -> Saved:
        """The file ``name``, fetched from ``url`` unless it is already here from there (``canonical``: as recorded)."""
        saved = self._from(name, canonical or url, md5)
        if saved is None:
            saved = download(session, url, self.files / name, kinds, max_bytes, md5)
            self.keep(name, canonical or url, saved)
        return saved

    def _from(self, name: str, origin: str, md5: str = "") -> Saved | None:
        """The file as recorded, if it came from ``origin`` and has the MD5: two routes may give a name other bytes."""
        saved = self.have(name)
        if saved is None or self.url_of(name) != origin:
            return None
        return saved if not md5 or _hash_of(self.files / name, "md5") == md5.lower() else None

    def unpack(self, name: str, path: Path, member: str, kinds: frozenset[str], max_bytes: int, origin: str) -> Saved:
        """The file ``name``, copied out of an archive unless it is already here from there. Raises ItemError."""
        saved = self._from(name, origin)
        if saved is not None:
            return saved
        # A name of its own: ``.part`` is a download's, which a later run goes on with behind the bytes it finds there.
        part = self.files / f"{name}.unpack"
        digest, size, head = hashlib.sha256(), 0, b""
        try:
            with open_archive(path) as archive, archive.open(member) as source, part.open("wb") as out:
                while chunk := source.read(CHUNK):
                    head = head or chunk[:1024]
                    size += len(chunk)
                    if size > max_bytes:
                        raise ItemError(
                            f"{path.name}: {member}: expected at most {max_bytes} bytes, got more (--max_mb)"
                        )
                    digest.update(chunk)
                    out.write(chunk)
            if sniff(head) not in kinds:
                raise ItemError(f"{path.name}: {member}: expected {' or '.join(sorted(kinds))}, got {sniff(head)}")
            part.replace(self.files / name)
        finally:
            part.unlink(missing_ok=True)
        saved = Saved(digest.hexdigest(), size, sniff(head))
        self.keep(name, origin, saved)
        return saved

    def drop(self, name: str) -> None:
        """Forget a file."""
        with self.transaction() as db:
            db.execute("DELETE FROM file WHERE name = ?", (name,))
        (self.files / name).unlink(missing_ok=True)

    def intact(self, name: str) -> bool:
        """True if the file's bytes are still those that were recorded."""
        saved = self.have(name)
        return saved is not None and sha256_of(self.files / name) == saved.sha256

    def fail(self, item: str, reason: str, waiting: bool = False) -> None:
        """Record why an item is not there; waiting: it was not tried, for no fault of its own."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO problem VALUES (?, ?, ?)", (item, reason, int(waiting)))

    def problems(self) -> Iterator[Failure]:
        """What went wrong in this run, by item."""
        for row in self.db.execute("SELECT item, reason FROM problem ORDER BY item"):
            yield Failure(item=row["item"], reason=row["reason"])

    def waiting(self) -> int:
        """How many items were not tried in this run, because a host was stopped."""
        return self.count("SELECT count(*) FROM problem WHERE waiting")

    def count(self, query: str, *values: object) -> int:
        """The one number of a query."""
        return int(self.db.execute(query, values).fetchone()[0])

    def note(self, **numbers: int) -> None:
        """Record counts for ``status``."""
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", list(numbers.items()))


@contextmanager
def open_store(
    cache: Path, stage: str, services: tuple[str, ...], schema: str, refresh: bool = False
) -> Iterator[Store]:
    """The stage's state in ``cache``; one process at a time.

    Answers of different services never mix: each set of addresses has its own folder. Folders of stand-ins of earlier
    runs (loopback addresses change with every start) are removed. refresh: forget what is known, keep nothing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / f"{stage}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise HarvestError(
            f"{cache}: expected this cache to be free, got another {stage} harvest at work in it; wait for it, or name "
            f"another --cache"
        ) from error
    try:
        folder = cache / f"{stage}-{hashlib.sha256(chr(10).join(services).encode()).hexdigest()[:10]}"
        for other in sorted(cache.glob(f"{stage}-*")):
            if other.is_dir() and (
                ((other / "loopback").exists() and other != folder) or (refresh and other == folder)
            ):
                shutil.rmtree(other)
        store = Store(folder, schema)
        if any(is_loopback(service) for service in services):
            (folder / "loopback").touch()
        try:
            yield store
        finally:
            store.close()
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    return _hash_of(path, "sha256")


def _hash_of(path: Path, name: str) -> str:
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as data:
        while chunk := data.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def place(source: Path, target: Path) -> None:
    """Put a cached file under its final name: a second name for the same bytes where possible, else a copy.

    Neither side is ever written in place, so sharing the bytes is safe.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return  # renaming one name of a file over another would leave both
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(target)
