"""Figures that a service gives as files (PubMed Central, MedPix): candidates in the store, then their pictures.

A candidate is a Figure record without its picture; what is fetched is checked to be one, and is kept as it was served.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from harvest import packages, results
from harvest.content import FORMATS, IMAGES, SUFFIX
from harvest.errors import BlockedError, HarvestError, ItemError, SettingError
from harvest.http import Session
from harvest.options import progress, split_list
from harvest.records import Figure
from harvest.store import Store

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS figure(
  figure_id TEXT PRIMARY KEY, document TEXT, score REAL, record TEXT, url TEXT, public TEXT, md5 TEXT,
  taken INTEGER DEFAULT 0, file TEXT DEFAULT '', width INTEGER DEFAULT 0, height INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS excluded(item TEXT PRIMARY KEY, reason TEXT);
CREATE TABLE IF NOT EXISTS settings(value TEXT);
"""
MAX_PIXELS = 100 << 20
Check = Callable[[Path, int], None]


def safe_name(text: str) -> str:
    """Text as a part of a file name: nothing in it that a path could mean."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")[:120]


def start(store: Store, settings: str, tables: tuple[str, ...] = ()) -> None:
    """Begin a run: yesterday's problems are tried again; candidates of other settings are forgotten, files are kept."""
    row = store.db.execute("SELECT value FROM settings").fetchone()
    with store.transaction() as db:
        db.execute("DELETE FROM problem")
        if row is None or row["value"] != settings:
            for table in ("figure", "excluded", "settings", *tables):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from this package
            db.execute("INSERT INTO settings VALUES (?)", (settings,))


def add(store: Store, record: dict[str, Any], score: float, url: str, public: str, md5: str = "") -> None:
    """Remember a candidate; the first one of an id stays. Call within a transaction."""
    store.db.execute(
        "INSERT OR IGNORE INTO figure(figure_id, document, score, record, url, public, md5) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record["figure_id"],
            record["document_id"],
            round(score, 6),
            json.dumps(record, ensure_ascii=False),
            url,
            public,
            md5,
        ),
    )


def exclude(store: Store, item: str, reason: str) -> None:
    """Remember what was left out on purpose. Call within a transaction."""
    store.db.execute("INSERT OR REPLACE INTO excluded VALUES (?, ?)", (item, reason))


def gather(
    session: Session,
    store: Store,
    limit: int,
    max_bytes: int,
    public: Callable[[str], str],
    check: Check | None = None,
    archives: Path | None = None,
) -> None:
    """Fetch the pictures of the best candidates; what fails is recorded and the others go on.

    limit: at most so many, 0 for all. check: may refuse a fetched file with ItemError. archives: folder of
    the packages that candidates may lie in.
    """
    with store.transaction() as db:
        db.execute("UPDATE figure SET taken = 0")
        db.execute(
            "UPDATE figure SET taken = 1 WHERE figure_id IN "
            "(SELECT figure_id FROM figure ORDER BY score DESC, figure_id LIMIT ?)",
            (limit or -1,),
        )
    total = store.count("SELECT count(*) FROM figure WHERE taken")
    failed, last = 0, (float("inf"), "")
    with progress("pictures", total) as advance:
        for _ in range(total):
            row = store.db.execute(
                "SELECT * FROM figure WHERE taken AND (score < ? OR (score = ? AND figure_id > ?)) "
                "ORDER BY score DESC, figure_id LIMIT 1",
                (last[0], last[0], last[1]),
            ).fetchone()
            last = (row["score"], row["figure_id"])
            try:
                _fetch(session, store, row, max_bytes, check, archives)
            except (ItemError, BlockedError) as error:
                failed += 1
                store.fail(row["figure_id"], public(str(error)), waiting=isinstance(error, BlockedError))
            advance(1, f"{failed} failed")


def _fetch(session: Session, store: Store, row: Any, max_bytes: int, check: Check | None, folder: Path | None) -> None:
    stem = safe_name(row["figure_id"])
    saved = store.have(stem)
    if saved is not None and not store.intact(stem):
        log.warning("%s: the cached file is damaged; fetching it again", stem)
        store.drop(stem)
    if row["url"].startswith(packages.SCHEME) and folder is not None:
        file, member = packages.parts(row["url"])
        saved = store.unpack(stem, folder / file, member, IMAGES, max_bytes, row["public"])
    else:
        saved = store.fetch(session, stem, row["url"], IMAGES, max_bytes, row["md5"], canonical=row["public"])
    path = store.files / stem
    try:
        if check is not None:
            check(path, saved.bytes)
        width, height = picture_size(path)
    except ItemError:
        store.drop(stem)
        raise
    with store.transaction() as db:
        db.execute(
            "UPDATE figure SET file = ?, width = ?, height = ? WHERE figure_id = ?",
            (stem + SUFFIX[saved.kind], width, height, row["figure_id"]),
        )


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture that decodes to its last row. Raises ItemError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ItemError(f"{path.name}: expected at most {MAX_PIXELS} pixels, got {image.width}×{image.height}")
            image.load()
            return image.width, image.height
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ItemError(f"{path.name}: expected a picture that decodes, got {type(error).__name__}: {error}") from error


def figures(store: Store) -> Iterator[tuple[Figure, Path]]:
    """The records of the pictures that are there, by id, each with its cached file."""
    for row in store.db.execute("SELECT * FROM figure WHERE taken AND file <> '' ORDER BY figure_id"):
        stem = safe_name(row["figure_id"])
        saved = store.have(stem)
        if saved is None:
            continue
        record = json.loads(row["record"])
        record |= {"file": f"images/{row['file']}", "width": row["width"], "height": row["height"]}
        record |= {"pixels": "given", "url": row["public"], "sha256": saved.sha256}
        yield Figure.model_validate(record), store.files / stem


def publish(store: Store, out: Path) -> dict[str, int]:
    """Write figures.jsonl, images/, failed.jsonl, excluded.jsonl and return the counts."""
    found = ((figure, figure.file, cached) for figure, cached in figures(store))
    have, failed, left_out = results.publish(store, out, "figures", found, "images")
    return {
        "candidates": store.count("SELECT count(*) FROM figure"),
        "selected": store.count("SELECT count(*) FROM figure WHERE taken"),
        "have": have,
        "failed": failed,
        "excluded": left_out,
    }


def report(store: Store, what: str, counts: dict[str, int], out: Path) -> None:
    """Say what there is, by licence."""
    table: dict[tuple[str, str], int] = {}
    for figure, _ in figures(store):
        key = (what, figure.licence)
        table[key] = table.get(key, 0) + 1
    results.report(out, "figures", "figures", table, counts)


def judge(what: str, counts: dict[str, int], blocked: int, out: Path) -> None:
    """Raise HarvestError where the stage as a whole did not do its job."""
    if blocked:
        raise HarvestError(
            f"{blocked} pictures were not fetched because a host was stopped (see {out / 'failed.jsonl'}); "
            f"run the same command again later to go on"
        )
    if not counts["candidates"]:
        raise HarvestError(f"{what}: expected figures of chest CT, got none; check the search term and the dates")
    if counts["failed"] and not counts["have"]:
        raise HarvestError(f"{what}: all {counts['failed']} items failed; the reasons are in {out / 'failed.jsonl'}")


def routes_of(routes: list[str], known: tuple[str, ...]) -> list[str]:
    """The routes asked for, in order. Raises SettingError for none, or one that is not known."""
    ways = split_list(routes)
    if not ways or set(ways) - set(known):
        raise SettingError(f"--routes: expected {' or '.join(known)}, got {', '.join(ways) or 'none'}")
    return ways


def follow(store: Store, ways: list[str], fill: Callable[[str], None], public: Callable[[str], str]) -> list[str]:
    """Fill the store route by route; one that breaks is recorded, and the others go on. Gives what those said."""
    broken = []
    for way in ways:
        try:
            fill(way)
        except (ItemError, BlockedError) as error:
            log.warning("%s: %s", way, error)
            broken.append(f"route {way}: {public(str(error))}")
            store.fail(f"route {way}", public(str(error)))
    return broken


def check_listing(ways: list[str], broken: list[str]) -> None:
    """Raise HarvestError where every route broke."""
    if len(broken) == len(ways):
        raise HarvestError(f"no route gave a listing: {'; '.join(broken)}. Run the same command again to go on")


def finish(store: Store, what: str, out: Path) -> None:
    """Write the results, say what there is, and judge it. Raises HarvestError."""
    counts = publish(store, out)
    report(store, what, counts, out)
    judge(what, counts, store.waiting(), out)
