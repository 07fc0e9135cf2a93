"""The PDFs of the plan, one after the other: from the cache, an archive, the site, or Europe PMC."""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from collections.abc import Iterator

from harvest import biorxiv, europepmc, meca
from harvest.errors import BlockedError, ItemError
from harvest.http import Session
from harvest.options import progress
from harvest.store import Store
from harvest.window import PUBLIC_API, PUBLIC_SITE, Wanted

log = logging.getLogger(__name__)
_LATER_FAILURES = 3


def in_turn(session: Session, store: Store, wanted: Wanted) -> Iterator[sqlite3.Row]:
    """The plan, best first; while one site's spacing runs the other's turn comes: two sites take no longer than one.

    With a limit the order is by score alone, so that what is taken does not depend on the clock.
    """

    def key(row: sqlite3.Row) -> tuple[float, float, str]:
        wait = 0.0 if wanted.limit else session.ready_in(wanted.pdf_url(row["server"], "x", 1))
        return wait, -row["score"], row["doi"]

    query = "SELECT p.*, v.title FROM plan p JOIN version v USING (doi, version) WHERE p.server = ? AND p.position = ?"
    heads = {server: store.db.execute(query, (server, 1)).fetchone() for server in wanted.servers}
    while waiting := {server: row for server, row in heads.items() if row is not None}:
        best = min(waiting.values(), key=key)
        yield best
        heads[best["server"]] = store.db.execute(query, (best["server"], best["position"] + 1)).fetchone()


class Later:
    """Looks up whether a paper was withdrawn after the window; gives up (and says so) where the API does not answer."""

    def __init__(self, session: Session, store: Store, wanted: Wanted) -> None:
        self.session, self.store, self.wanted = session, store, wanted
        self.failures = 0 if wanted.check_later else _LATER_FAILURES

    def withdrawn(self, server: str, doi: str) -> bool:
        """True if any version of the paper is a withdrawal."""
        row = self.store.db.execute("SELECT withdrawn FROM later WHERE doi = ?", (doi,)).fetchone()
        if row is not None:
            return bool(row["withdrawn"])
        if self.failures >= _LATER_FAILURES:
            return False
        try:
            found = any(row.withdrawn for row in biorxiv.versions(self.session, self.wanted.api, server, doi))
        except (ItemError, BlockedError) as error:
            self.failures += 1
            log.warning("%s: not known whether it was withdrawn later (%s)", doi, error)
            if self.failures == _LATER_FAILURES:
                log.warning("later withdrawals are not checked any more in this run")
            return False
        self.failures = 0
        with self.store.transaction() as db:
            db.execute("INSERT OR REPLACE INTO later VALUES (?, ?)", (doi, int(found)))
        return found


def fetch_all(session: Session, store: Store, wanted: Wanted) -> None:
    """Fetch the PDFs of the plan; what fails is recorded and the others go on."""
    total = store.count("SELECT count(*) FROM plan")
    total = min(total, wanted.limit) if wanted.limit else total
    later, have, failed, tried = Later(session, store, wanted), 0, 0, 0
    with progress("PDFs", total) as advance:
        for row in in_turn(session, store, wanted):
            if wanted.limit and tried >= wanted.limit:
                break
            item = f"{row['doi']}v{row['version']}"
            if later.withdrawn(row["server"], row["doi"]):
                with store.transaction() as db:
                    db.execute("INSERT OR REPLACE INTO excluded VALUES (?, ?)", (item, "withdrawn after the window"))
                advance(0 if wanted.limit else 1, f"{failed} failed")
                continue
            tried += 1
            with store.transaction() as db:
                db.execute(
                    "UPDATE plan SET taken = 1 WHERE server = ? AND position = ?", (row["server"], row["position"])
                )
            try:
                fetch(session, store, wanted, row)
                have += 1
            except BlockedError as error:
                failed += 1
                store.fail(item, wanted.public(str(error)), waiting=True)
            except ItemError as error:
                failed += 1
                store.fail(item, wanted.public(str(error)))
            advance(1, f"{failed} failed")


def fetch(session: Session, store: Store, wanted: Wanted, row: sqlite3.Row) -> None:
    """One PDF: from the cache, an archive, the site, or Europe PMC, in this order."""
    name = pdf_name(row["doi"], row["version"])
    if store.have(name):
        if store.intact(name):
            return
        log.warning("%s: the cached file is damaged; fetching it again", name)
        store.drop(name)
    damaged = ""
    try:
        if meca.extract(store, row["doi"], row["version"], name, wanted.max_bytes):
            return
    except ItemError as error:
        damaged = f"{error}; "
        log.warning("%s; asking the site", error)
    url = wanted.pdf_url(row["server"], row["doi"], row["version"])
    public = Wanted.pdf_url(_PUBLIC, row["server"], row["doi"], row["version"])
    try:
        store.fetch(session, name, url, _PDF, wanted.max_bytes, canonical=public)
    except (BlockedError, ItemError) as error:
        if not wanted.europepmc:
            raise type(error)(f"{damaged}{error}") from error
        try:
            other = europepmc.preprint_pdf(session, wanted.europepmc, row["doi"], row["version"])
            if not other:
                raise ItemError("has no PDF of this version") from error
            store.fetch(session, name, other, _PDF, wanted.max_bytes, canonical=wanted.public(other))
        except (BlockedError, ItemError) as second:
            raise type(error)(f"{damaged}{error}; Europe PMC: {second}") from second
        log.warning("%s; taken from Europe PMC", error)


_PDF = frozenset({"pdf"})
_PUBLIC = Wanted(PUBLIC_API, PUBLIC_SITE, biorxiv.SERVERS, "", "")


def pdf_name(doi: str, version: int) -> str:
    """``<id>v<version>.pdf``: the part of the DOI after the prefix, with nothing in it that a path could mean.

    Where that changes the id, a hash keeps apart what would look the same.
    """
    wanted = doi.split("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", wanted).lstrip(".")[:120]
    if name != wanted:
        name += f"-{hashlib.sha256(doi.encode()).hexdigest()[:8]}"
    return f"{name}v{version}.pdf"


def crawl_seconds(session: Session, store: Store, wanted: Wanted) -> tuple[int, float]:
    """How many PDFs are still to be fetched, and how long the polite crawl takes at least."""
    waiting: dict[str, int] = {}
    left = wanted.limit or store.count("SELECT count(*) FROM plan")
    for row in store.db.execute("SELECT server, doi, version FROM plan ORDER BY score DESC, doi"):
        if left <= 0:
            break
        left -= 1
        if store.have(pdf_name(row["doi"], row["version"])) is None:
            waiting[row["server"]] = waiting.get(row["server"], 0) + 1
    hosts: dict[str, float] = {}
    for server, count in waiting.items():
        url = wanted.pdf_url(server, "x", 1)
        hosts[url.split("/content/")[0]] = hosts.get(url.split("/content/")[0], 0.0) + count * session.rule(url).spacing
    return sum(waiting.values()), max(hosts.values(), default=0.0)
