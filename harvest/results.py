"""How a stage with a store ends: records and their files, what failed or was left out, and a table for people."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harvest.licences import rights
from harvest.options import show_failures, show_table
from harvest.records import Failure, Record, write_jsonl
from harvest.store import Store, place

log = logging.getLogger(__name__)


def publish(
    store: Store, out: Path, name: str, found: Iterable[tuple[Record, str, Path]], folder: str, pattern: str = "*"
) -> tuple[int, int, int]:
    """Write ``<name>.jsonl`` with the files of its records, failed.jsonl, excluded.jsonl; gives how many lines each.

    found: record, its file relative to ``out``, and where that lies in the cache. Files of ``folder`` that match
    ``pattern`` and belong to no record are removed.
    """
    (out / folder).mkdir(parents=True, exist_ok=True)
    stale = {path.name for path in (out / folder).glob(pattern) if path.is_file()}

    def placed() -> Iterator[Record]:
        for record, file, cached in found:
            place(cached, out / file)
            stale.discard(Path(file).name)
            yield record

    have = write_jsonl(out / f"{name}.jsonl", placed())
    for file in stale:
        (out / folder / file).unlink()
    failed = write_jsonl(out / "failed.jsonl", store.problems())
    excluded = store.db.execute("SELECT item, reason FROM excluded ORDER BY item")
    left_out = write_jsonl(out / "excluded.jsonl", (Failure(item=r["item"], reason=r["reason"]) for r in excluded))
    return have, failed, left_out


def publish_nothing(out: Path, stage: str, name: str, folder: str) -> None:
    """Empty results of a stage that is switched off."""
    (out / folder).mkdir(parents=True, exist_ok=True)
    for table in (name, "failed", "excluded"):
        write_jsonl(out / f"{table}.jsonl", [])
    log.info("%s: switched off in params.yaml; empty results written to %s", stage, out)


def report(out: Path, title: str, unit: str, there: Mapping[tuple[str, str], int], counts: Mapping[str, int]) -> None:
    """Say what there is by (source, licence), in so many ``unit``, why items failed, and the counts."""
    rows = [
        (source, licence or "not stated", count, "yes" if rights(licence).redistribute else "no")
        for (source, licence), count in sorted(there.items())
    ]
    show_table(f"{title} by source and licence", ("source", "licence", unit, "may be redistributed"), rows)
    show_failures(out / "failed.jsonl")
    log.info(", ".join(f"{name} {count}" for name, count in counts.items()))
