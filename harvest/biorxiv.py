"""The medRxiv/bioRxiv API: a window's version rows, page by page, and all versions of one DOI.

Nearly every fault arrives as HTTP 200: an empty body, plain text, a status in words. The page size was 100 and is 30,
so the next cursor is what was received, never a constant; ``total`` may be some tens too high, so an empty page is an
end.
"""

from __future__ import annotations

import datetime
import html
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from harvest.errors import ItemError, TransientError
from harvest.http import Session
from harvest.licences import code_of

log = logging.getLogger(__name__)

SERVERS = ("medrxiv", "biorxiv")
# rows by which `total` was seen to exceed what is served: some tens (ropensci/medrxivr#19)
_TOTAL_TOO_HIGH = 100
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]{1,200}")
_NOTHING = re.compile(r"no posts found|no articles found", re.IGNORECASE)
_UNKNOWN_SERVER = re.compile(r"server not recogni[sz]ed", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One version of one preprint, as listed."""

    doi: str
    version: int
    server: str
    date: str
    title: str
    abstract: str
    authors: str
    category: str
    licence: str
    type: str
    published: str

    def values(self) -> tuple[Any, ...]:
        """The fields in their order (``dataclasses.astuple`` copies each one deeply)."""
        return _VALUES(self)

    @property
    def withdrawn(self) -> bool:
        """True for a version that only carries the statement of withdrawal (the API's one signal is the type)."""
        return self.type.strip().lower() == "withdrawn"


_VALUES = attrgetter(*(field.name for field in fields(Row)))


@dataclass(frozen=True)
class Page:
    """One page: its rows, what was wrong with others, where the next one begins (None: this was the last)."""

    rows: list[Row]
    bad: list[tuple[str, str]]
    received: int
    total: int | None
    next: int | None
    category: str


def page(session: Session, api: str, server: str, since: str, until: str, cursor: int, category: str = "") -> Page:
    """One page of the interval (both days included). Raises ItemError if it cannot be had: a page is never skipped."""
    url = f"{api}/details/{server}/{since}/{until}/{cursor}/json"
    answer = session.json(url, {"category": category} if category else None, check=_refuse)
    rows, bad = [], []
    for number, entry in enumerate(answer["collection"]):
        try:
            rows.append(row_of(entry, server))
        except ValueError as error:
            bad.append((f"{server} {since}..{until} row {cursor + number}", str(error)))
    received = len(answer["collection"])
    message = _message(answer)
    total = _whole(message.get("total"))
    following = cursor + received
    last = not received or (total is not None and following >= total)
    if not received and total is not None and cursor < total - _TOTAL_TOO_HIGH:
        raise ItemError(f"{server} {since}..{until}: expected {total} rows, got an empty page at {cursor}")
    if not received and total is not None and cursor < total:
        log.info("%s %s..%s: total says %d, %d were served", server, since, until, total, cursor)
    return Page(rows, bad, received, total, None if last else following, str(message.get("category", "")))


def versions(session: Session, api: str, server: str, doi: str) -> list[Row]:
    """All versions of one DOI, from its server or else the other one (which has its own DOIs only)."""
    for name in (server, *(s for s in SERVERS if s != server)):
        answer = session.json(f"{api}/details/{name}/{quote(doi, safe='/')}/na/json", check=_refuse)
        rows = list(_good(answer["collection"], name))
        if rows:
            return sorted(rows, key=lambda row: row.version)
    raise ItemError(f"{doi}: expected its versions, got 'no posts found' from {' and '.join(SERVERS)}")


def row_of(entry: Any, server: str) -> Row:
    """A row of ``collection``, numbers as numbers, text without entities. Raises ValueError naming the field."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected a row with fields, got {entry!r:.80}")

    def text(field: str) -> str:
        value = entry.get(field)
        value = "; ".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value
        return " ".join(html.unescape(str(value)).split()) if isinstance(value, str | int) else ""

    doi = text("doi").removeprefix("https://doi.org/")
    if not _DOI.fullmatch(doi) or "/../" in f"/{doi}/":
        raise ValueError(f"field doi: expected 10.<registrant>/<id>, got {entry.get('doi')!r:.80}")
    version = _whole(entry.get("version"))
    if version is None or version < 1:
        raise ValueError(f"{doi}: field version: expected a number from 1, got {entry.get('version')!r:.40}")
    try:
        date = datetime.date.fromisoformat(text("date")).isoformat()
    except ValueError as error:
        raise ValueError(f"{doi}: field date: expected YYYY-MM-DD, got {entry.get('date')!r:.40}") from error
    for field in ("title", "abstract"):
        # These select: one that cannot be read would pass for a paper about something else.
        if entry.get(field) and not text(field):
            raise ValueError(f"{doi}: field {field}: expected text, got {entry[field]!r:.80}")
    said = text("server").lower()
    return Row(
        doi=doi,
        version=version,
        server=said if said in SERVERS else server,
        date=date,
        title=text("title"),
        abstract=text("abstract"),
        authors=text("authors"),
        category=text("category").lower().replace("_", " "),
        licence=code_of(text("license")) or text("license").lower(),
        type=text("type"),
        published="" if text("published").upper() == "NA" else text("published"),
    )


def _good(collection: list[Any], server: str) -> Iterator[Row]:
    for entry in collection:
        try:
            yield row_of(entry, server)
        except ValueError as error:
            log.warning("a listed version is not usable: %s", error)


def _message(answer: Any) -> dict[str, Any]:
    messages = answer.get("messages")
    return messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], dict) else {}


def _refuse(answer: Any) -> None:
    """The API's own checks: what is not an answer is asked again, what never will be is given up."""
    if not isinstance(answer, dict) or not isinstance(answer.get("collection"), list):
        raise TransientError(f"expected messages and a collection, got {answer!r:.120}", 200)
    status = str(_message(answer).get("status", "ok")).strip()
    if status.lower() == "ok" or _NOTHING.search(status):
        return
    if _UNKNOWN_SERVER.search(status):
        raise ItemError(f"the API answers {status!r}; known servers: {', '.join(SERVERS)}")
    if not answer["collection"]:
        raise TransientError(f"the API answers {status!r} instead of a page", 200)


def _whole(value: Any) -> int | None:
    """A whole number the API writes as a number (``1``, ``1.0``) or as text; None if it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = re.fullmatch(r"([0-9]{1,9})(?:\.0{1,9})?", str(value).strip())
    return int(found[1]) if found else None
