"""How far the harvest is, read from the caches while it runs or after: listed, selected, have, failed, waiting."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from harvest.errors import HarvestError

_QUERIES = {
    "preprints": {
        "listed": "SELECT count(*) FROM version",
        "selected": "SELECT count(*) FROM plan",
        "have": "SELECT count(*) FROM file WHERE kind = 'pdf'",
        "excluded": "SELECT count(*) FROM excluded",
    },
    "pmc": {
        "listed": "SELECT count(*) FROM article",
        "selected": "SELECT count(*) FROM figure",
        "have": "SELECT count(*) FROM figure WHERE file <> ''",
        "excluded": "SELECT count(*) FROM excluded",
    },
    "medpix": {
        "listed": "SELECT count(*) FROM encounter",
        "selected": "SELECT count(*) FROM figure",
        "have": "SELECT count(*) FROM figure WHERE file <> ''",
        "excluded": "SELECT count(*) FROM excluded",
    },
}
_RESULTS = {"preprints": "preprints.jsonl", "pmc": "figures.jsonl", "medpix": "figures.jsonl"}


@dataclass(frozen=True)
class Row:
    """One stage's state. Units: version rows, articles or cases listed; papers or figures in the other columns."""

    stage: str
    listed: int
    selected: int
    have: int
    excluded: int
    failed: int
    waiting: int
    written: int
    """records in the stage's results; they are written when a run ends"""
    seconds: float = 0.0
    """least time that what waits still takes, at the spacing of the last run"""


def status(cache: Path, out: Path) -> list[Row]:
    """The state of each harvest stage: ``cache`` is its ``--cache``, ``out`` the folder that holds the stages' results.

    Reads only, also while a harvest is at work. Raises HarvestError for a state that is not one.
    """
    rows = []
    for stage, queries in _QUERIES.items():
        folders = list(Path(cache).glob(f"{stage}-*/state.sqlite")) if Path(cache).is_dir() else []
        result = Path(out) / stage / _RESULTS[stage]
        written = _lines(result)
        if not folders:
            rows.append(Row(stage, 0, 0, 0, 0, 0, 0, written))
            continue
        newest = max(folders, key=lambda path: path.stat().st_mtime)
        counts = _ask(newest, queries | _COMMON)
        not_there = max(0, counts["selected"] - counts["have"] - counts["failed"])
        if stage == "preprints":
            not_there = max(0, not_there - counts["later"])
        rows.append(
            Row(
                stage,
                counts["listed"],
                counts["selected"],
                min(counts["have"], counts["selected"]),
                counts["excluded"],
                counts["failed"],
                not_there,
                written,
                not_there * counts["spacing"] / 1000,
            )
        )
    return rows


# what was never tried for no fault of its own (its host was stopped) is waiting, not failed
_COMMON = {
    "failed": "SELECT count(*) FROM problem WHERE NOT waiting",
    "later": "SELECT count(*) FROM excluded WHERE reason LIKE '%after the window'",
    "spacing": "SELECT coalesce(max(number), 0) FROM progress WHERE name = 'spacing_ms'",
}


def _ask(path: Path, queries: dict[str, str]) -> dict[str, int]:
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            return {name: int(db.execute(query).fetchone()[0]) for name, query in queries.items()}
        finally:
            db.close()
    except sqlite3.Error as error:
        raise HarvestError(
            f"{path}: expected the state of a harvest, got {error}; remove its folder to begin anew"
        ) from error


def _lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as data:
        return sum(1 for line in data if line.strip())
