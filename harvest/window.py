"""A window of days on medRxiv and bioRxiv: its version rows in the store, and which papers of it are wanted.

Listing goes on where it stopped: the rows of a page and the cursor behind it are one transaction.
"""

from __future__ import annotations

import datetime
import json
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harvest import biorxiv, europepmc, highwire
from harvest.errors import BlockedError, ItemError, SettingError
from harvest.http import Session
from harvest.select import ct_likelihood, is_covid
from harvest.store import Store

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS listing(
  server TEXT, since TEXT, until TEXT, category TEXT, cursor INTEGER, total INTEGER, state TEXT,
  PRIMARY KEY(server, since, until, category));
CREATE TABLE IF NOT EXISTS version(
  doi TEXT, version INTEGER, server TEXT, date TEXT, title TEXT, abstract TEXT, authors TEXT, category TEXT,
  licence TEXT, type TEXT, published TEXT, PRIMARY KEY(doi, version));
CREATE TABLE IF NOT EXISTS later(doi TEXT PRIMARY KEY, withdrawn INTEGER);
CREATE TABLE IF NOT EXISTS archive(doi TEXT, version INTEGER, path TEXT, member TEXT, PRIMARY KEY(doi, version));
CREATE TABLE IF NOT EXISTS plan(
  server TEXT, position INTEGER, doi TEXT, version INTEGER, score REAL, taken INTEGER DEFAULT 0,
  PRIMARY KEY(server, position));
CREATE TABLE IF NOT EXISTS excluded(item TEXT PRIMARY KEY, reason TEXT);
"""
PUBLIC_API, PUBLIC_SITE = "https://api.biorxiv.org", "https://www.{server}.org"


@dataclass(frozen=True)
class Wanted:
    """What is asked for, and of whom."""

    api: str
    site: str
    servers: tuple[str, ...]
    since: str
    until: str
    category: str = ""
    europepmc: str = ""
    check_later: bool = True
    limit: int = 0
    max_bytes: int = 300 << 20

    def pdf_url(self, server: str, doi: str, version: int) -> str:
        """Address of a version's PDF on the site asked."""
        return f"{self.site.replace('{server}', server)}/content/{quote(doi, safe='/')}v{version}.full.pdf"

    def public(self, text: str) -> str:
        """``text`` with the addresses of a stand-in replaced by the public ones: outputs know no loopback port."""
        for server in self.servers:
            text = text.replace(self.site.replace("{server}", server) + "/content", f"https://www.{server}.org/content")
        text = text.replace(self.api + "/details", PUBLIC_API + "/details")
        return europepmc.public(text, self.europepmc)


# -- listing -----------------------------------------------------------------------------------------------------------


def list_server(session: Session, store: Store, wanted: Wanted, server: str, since: str, until: str) -> None:
    """List one server's window into the store, from where it stopped; an interval too long for the API is halved."""
    key = (server, since, until, wanted.category)
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO listing VALUES (?, ?, ?, ?, 0, NULL, 'open')", key)
    for _ in range(3):
        state = _state(store, key)
        if state["state"] == "split":
            for part in _halves(since, until):
                list_server(session, store, wanted, server, *part)
            return
        if state["state"] == "done" or _list_pages(session, store, wanted, key):
            return
    raise ItemError(f"{server} {since}..{until}: the listing changed while it was read, three times; run again later")


def _list_pages(session: Session, store: Store, wanted: Wanted, key: tuple[str, str, str, str]) -> bool:
    """Read pages until the end (True), or until the listing turned out to have changed or to be too long (False)."""
    server, since, until, category = key
    while True:
        state = _state(store, key)
        cursor = int(state["cursor"])
        try:
            page = biorxiv.page(session, wanted.api, server, since, until, cursor, category)
        except ItemError as error:
            if cursor or not _asks_too_much(error) or len(set(_halves(since, until))) < 2:
                raise
            log.warning("%s %s..%s: no answer to so long an interval; halving it", server, since, until)
            with store.transaction() as db:
                db.execute("UPDATE listing SET state = 'split' WHERE rowid = ?", (state["number"],))
            return False
        changed = bool(cursor) and page.total is not None and page.total != state["total"]
        if category and page.received and page.category.lower().replace("_", " ") != category.lower().replace("_", " "):
            log.warning("the API does not know the category %r and lists everything; filtering here", category)
        with store.transaction() as db:
            if changed:
                log.warning(
                    "%s %s..%s: total was %s and is %s; listing it again",
                    server,
                    since,
                    until,
                    state["total"],
                    page.total,
                )
                db.execute("UPDATE listing SET cursor = 0, total = NULL WHERE rowid = ?", (state["number"],))
                return False
            db.executemany(
                "INSERT OR REPLACE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [row.values() for row in page.rows],
            )
            db.executemany("INSERT OR REPLACE INTO problem VALUES (?, ?, 0)", page.bad)
            done = page.next is None
            db.execute(
                "UPDATE listing SET cursor = ?, total = ?, state = ? WHERE rowid = ?",
                (cursor + page.received, page.total, "done" if done else "open", state["number"]),
            )
        if done:
            return True


def _state(store: Store, key: tuple[str, str, str, str]) -> sqlite3.Row:
    row: sqlite3.Row = store.db.execute(
        "SELECT rowid AS number, * FROM listing WHERE server = ? AND since = ? AND until = ? AND category = ?", key
    ).fetchone()
    return row


def _asks_too_much(error: ItemError) -> bool:
    return getattr(error.__cause__, "status", None) == 200


def _halves(since: str, until: str) -> list[tuple[str, str]]:
    first, last = datetime.date.fromisoformat(since), datetime.date.fromisoformat(until)
    if (last - first).days < 7:
        return [(since, until)]
    middle = first + (last - first) // 2
    return [(since, middle.isoformat()), ((middle + datetime.timedelta(days=1)).isoformat(), until)]


def list_all(session: Session, store: Store, wanted: Wanted) -> list[str]:
    """List every server's window; what the API does not give is asked of Europe PMC. Returns what is still missing."""
    missing = []
    for server in wanted.servers:
        try:
            list_server(session, store, wanted, server, wanted.since, wanted.until)
        except (ItemError, BlockedError) as error:
            if not wanted.europepmc:
                missing.append(f"listing of {server}: {wanted.public(str(error))}")
                continue
            log.warning("%s: listing failed (%s); asking Europe PMC", server, error)
            try:
                rows = europepmc.preprints(session, wanted.europepmc, server, wanted.since, wanted.until)
                for batch in rows:
                    with store.transaction() as db:
                        # What the API did list knows more (version, licence, type) than Europe PMC.
                        db.executemany(
                            "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            [row.values() for row in batch],
                        )
            except (ItemError, BlockedError) as second:
                missing.append(f"listing of {server}: {wanted.public(f'{error}; Europe PMC: {second}')}")
    return missing


# -- selection ---------------------------------------------------------------------------------------------------------


def add_saved(store: Store, folder: Path) -> int:
    """Add the rows of search pages saved by hand; what the API lists of the same version goes before. How many."""
    rows = list(highwire.read_pages(folder))
    with store.transaction() as db:
        db.executemany(
            "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [row.values() for row in rows]
        )
    return len(rows)


# of each DOI the highest version of the window, and whether any version of it is a withdrawal
_CHOSEN = """
  SELECT v.*, EXISTS(SELECT 1 FROM version w WHERE w.doi = v.doi AND lower(trim(w.type)) = 'withdrawn')
    OR EXISTS(SELECT 1 FROM later l WHERE l.doi = v.doi AND l.withdrawn) AS gone
  FROM version v WHERE v.server IN (SELECT value FROM json_each(?)) AND v.date BETWEEN ? AND ?
    AND v.version = (SELECT max(w.version) FROM version w WHERE w.doi = v.doi AND w.date BETWEEN ? AND ?)"""


def select(store: Store, wanted: Wanted) -> None:
    """Fill the plan, likely CTs first: what the window has about COVID-19 that was not withdrawn."""
    window = (wanted.since, wanted.until)
    with store.transaction() as db:
        db.execute("DELETE FROM plan")
        db.execute("DELETE FROM excluded")
        db.execute("CREATE TEMP TABLE IF NOT EXISTS scored(server TEXT, doi TEXT, version INTEGER, score REAL)")
        db.execute("DELETE FROM scored")
        for row in db.execute(_CHOSEN, (json.dumps(wanted.servers), *window, *window)):
            if not is_covid(f"{row['title']}\n{row['abstract']}") or not _in_category(row["category"], wanted.category):
                continue
            if row["gone"]:
                db.execute(
                    "INSERT OR REPLACE INTO excluded VALUES (?, ?)", (f"{row['doi']}v{row['version']}", "withdrawn")
                )
                continue
            score = ct_likelihood(row["title"], row["abstract"])
            db.execute("INSERT INTO scored VALUES (?, ?, ?, ?)", (row["server"], row["doi"], row["version"], score))
        db.execute(
            "INSERT INTO plan(server, position, doi, version, score) "
            "SELECT server, row_number() OVER (PARTITION BY server ORDER BY score DESC, doi), "
            "doi, version, score FROM scored"
        )


def _in_category(category: str, wanted: str) -> bool:
    return not wanted or category == wanted.lower().replace("_", " ")


def check_window(since: str, until: str) -> tuple[str, str]:
    """Both dates as YYYY-MM-DD. Raises SettingError for what is no date, or dates reversed."""
    dates = []
    for option, value in (("since", since), ("until", until)):
        try:
            dates.append(datetime.date.fromisoformat(value))
        except ValueError as error:
            raise SettingError(f"--{option}: expected a date as YYYY-MM-DD, got {value!r}") from error
    if dates[0] > dates[1]:
        raise SettingError(f"--since, --until: expected since before until, got {since} and {until}; swap them")
    return dates[0].isoformat(), dates[1].isoformat()


def day(text: str) -> datetime.date:
    """A checked date."""
    return datetime.date.fromisoformat(text)


def listed(store: Store, wanted: Wanted) -> int:
    """How many version rows the window has."""
    return store.count(
        "SELECT count(*) FROM version WHERE server IN (SELECT value FROM json_each(?)) AND date BETWEEN ? AND ?",
        json.dumps(wanted.servers),
        wanted.since,
        wanted.until,
    )
