"""Stage `preprints`: the COVID-19 preprints of a window of days, and their PDFs (section III.A of the paper).

Reads     the medRxiv/bioRxiv API and sites (or a stand-in), Europe PMC where they fail, .meca archives where given.
Writes    preprints.jsonl (harvest.records.Preprint, by DOI), pdf/<id>v<version>.pdf, failed.jsonl (item, reason),
          excluded.jsonl (withdrawn papers), summary.json (counts).
Guarantees every version row of the window listed once; of each DOI the highest version of the window; nothing that was
          withdrawn; every file complete, a PDF, and with its SHA-256; a killed run goes on where it was and ends in the
          same bytes; requests no closer than the services ask for.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from harvest import biorxiv, europepmc, meca
from harvest.biorxiv import Row
from harvest.errors import BlockedError, HarvestError, ItemError, SettingError
from harvest.hosts import check_services, is_loopback
from harvest.http import Session
from harvest.licences import rights
from harvest.options import guarded, in_words, new_app, progress, show_failures, show_table, split_list
from harvest.records import Failure, Preprint, write_jsonl
from harvest.store import Store, open_store, place
from harvest.window import PUBLIC_API, PUBLIC_SITE, SCHEMA, Wanted, add_saved, check_window, list_all, listed, select

log = logging.getLogger(__name__)
app = new_app()

_LATER_FAILURES = 3

# -- fetching ----------------------------------------------------------------------------------------------------------


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
    if meca.extract(store, row["doi"], row["version"], name, wanted.max_bytes):
        return
    url = wanted.pdf_url(row["server"], row["doi"], row["version"])
    public = Wanted.pdf_url(_PUBLIC, row["server"], row["doi"], row["version"])
    try:
        store.fetch(session, name, url, _PDF, wanted.max_bytes, canonical=public)
    except (BlockedError, ItemError) as error:
        if not wanted.europepmc:
            raise
        try:
            other = europepmc.preprint_pdf(session, wanted.europepmc, row["doi"], row["version"])
            if not other:
                raise ItemError("has no PDF of this version") from error
            store.fetch(session, name, other, _PDF, wanted.max_bytes, canonical=wanted.public(other))
        except (BlockedError, ItemError) as second:
            raise type(error)(f"{error}; Europe PMC: {second}") from second
        log.warning("%s; taken from Europe PMC", error)


_PDF = frozenset({"pdf"})
_PUBLIC = Wanted(PUBLIC_API, PUBLIC_SITE, biorxiv.SERVERS, "", "")


def pdf_name(doi: str, version: int) -> str:
    """``<id>v<version>.pdf``: the part of the DOI after the prefix, with nothing in it that a path could mean."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", doi.split("/", 1)[-1]).lstrip(".")[:120] + f"v{version}.pdf"


# -- results -----------------------------------------------------------------------------------------------------------


def records(store: Store) -> Iterator[Preprint]:
    """The records of what is there, by DOI."""
    query = "SELECT v.* FROM plan p JOIN version v USING (doi, version) WHERE p.taken ORDER BY doi, version"
    for found in store.db.execute(query):
        row = Row(**{field.name: found[field.name] for field in fields(Row)})
        name = pdf_name(row.doi, row.version)
        saved = store.have(name)
        if saved is None:
            continue
        yield Preprint(
            doi=row.doi,
            version=row.version,
            server=row.server,
            date=row.date,
            title=row.title,
            abstract=row.abstract,
            category=row.category,
            licence=row.licence,
            pdf=f"pdf/{name}",
            sha256=saved.sha256,
            bytes=saved.bytes,
            authors=row.authors,
            published=row.published,
            url=store.url_of(name),
        )


def publish(store: Store, wanted: Wanted, out: Path) -> dict[str, int]:
    """Write the results and return the counts."""
    (out / "pdf").mkdir(parents=True, exist_ok=True)
    stale = {path.name for path in (out / "pdf").glob("*v*.pdf")}

    def placed() -> Iterator[Preprint]:
        for record in records(store):
            name = Path(record.pdf).name
            place(store.files / name, out / "pdf" / name)
            stale.discard(name)
            yield record

    downloaded = write_jsonl(out / "preprints.jsonl", placed())
    for name in stale:
        (out / "pdf" / name).unlink()
    failed = write_jsonl(out / "failed.jsonl", store.problems())
    excluded = store.db.execute("SELECT item, reason FROM excluded ORDER BY item")
    withdrawn = write_jsonl(out / "excluded.jsonl", (Failure(item=r["item"], reason=r["reason"]) for r in excluded))
    counts = {
        "listed": listed(store, wanted),
        "selected": store.count("SELECT count(*) FROM plan"),
        "downloaded": downloaded,
        "failed": failed,
        "withdrawn": withdrawn,
    }
    part = out / ".summary.json.part"
    part.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    part.replace(out / "summary.json")
    return counts


def report(out: Path, counts: dict[str, int]) -> None:
    """Say what there is, by server and licence."""
    table: dict[tuple[str, str], int] = {}
    with (out / "preprints.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            key = (record["server"], record["licence"])
            table[key] = table.get(key, 0) + 1
    rows = [
        (server, licence or "not stated", count, "yes" if rights(licence).redistribute else "no")
        for (server, licence), count in sorted(table.items())
    ]
    show_table("preprints by source and licence", ("source", "licence", "papers", "may be redistributed"), rows)
    show_failures(out / "failed.jsonl")
    log.info(", ".join(f"{name} {count}" for name, count in counts.items()))


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


@app.command()
@guarded
def main(
    out: Annotated[Path, typer.Option(help="folder for the results")],
    servers: Annotated[
        list[str],
        typer.Option(help="medrxiv, biorxiv; a comma list or repeated", default_factory=lambda: list(biorxiv.SERVERS)),
    ],
    contact: Annotated[str, typer.Option(help="e-mail address for the User-Agent; needed for the live services")] = "",
    api: Annotated[str, typer.Option(help="API of both servers")] = PUBLIC_API,
    site: Annotated[str, typer.Option(help="site of the PDFs; {server} becomes medrxiv or biorxiv")] = PUBLIC_SITE,
    europepmc_api: Annotated[
        str, typer.Option("--europepmc", help="Europe PMC's REST address, the fallback; '' for none")
    ] = "",
    since: Annotated[str, typer.Option(help="first day, YYYY-MM-DD")] = "2020-01-19",
    until: Annotated[str, typer.Option(help="last day, YYYY-MM-DD")] = "2020-03-25",
    category: Annotated[str, typer.Option(help="only this category of the servers; '' for all")] = "",
    spacing: Annotated[
        float, typer.Option(help="seconds between requests to the site (at least 7 on the real ones)")
    ] = 10.0,
    limit: Annotated[int, typer.Option(help="at most this many PDFs, likely CTs first; 0 for all")] = 0,
    check_later: Annotated[bool, typer.Option(help="look each paper up for a withdrawal after the window")] = True,
    archives: Annotated[
        str, typer.Option("--meca", help="folder of .meca archives to take PDFs from first; '' for none")
    ] = "",
    saved_pages: Annotated[
        str, typer.Option(help="folder of search result pages saved in a browser; '' for none")
    ] = "",
    max_mb: Annotated[int, typer.Option(help="largest PDF, megabytes")] = 300,
    max_failed: Annotated[float, typer.Option(help="share of failed PDFs above which the stage fails")] = 1.0,
    enabled: Annotated[bool, typer.Option(help="--no-enabled writes empty results")] = True,
    cache: Annotated[Path | None, typer.Option(help="folder that survives a killed run; default: <out>.cache")] = None,
    dry_run: Annotated[
        bool, typer.Option(help="list and select, say how long the crawl will take, fetch nothing")
    ] = False,
    refresh: Annotated[bool, typer.Option(help="forget what the cache knows")] = False,
) -> None:
    """List the window, select the COVID papers, fetch their PDFs."""
    if not enabled:
        for name in ("preprints", "failed", "excluded"):
            write_jsonl(out / f"{name}.jsonl", [])
        (out / "pdf").mkdir(parents=True, exist_ok=True)
        log.info("preprints: switched off in params.yaml; empty results written to %s", out)
        return
    names = tuple(split_list(servers))
    if not names or (unknown := [name for name in names if name not in biorxiv.SERVERS]):
        raise SettingError(
            f"--servers: expected {' or '.join(biorxiv.SERVERS)}, got {', '.join(unknown) if names else 'none'}"
        )
    since, until = check_window(since, until)
    api, site, europepmc_api = api.rstrip("/"), site.rstrip("/"), europepmc_api.rstrip("/")
    wanted = Wanted(api, site, names, since, until, category, europepmc_api, check_later, limit, max_mb << 20)
    check_services(contact, {"api": api, "site": wanted.pdf_url(names[0], "x", 1), "europepmc": europepmc_api})
    cache = cache or out.with_name(out.name + ".cache")
    local = all(is_loopback(url) for url in (api, wanted.pdf_url(names[0], "x", 1)))
    with open_store(cache, "preprints", (api, site), SCHEMA, refresh) as store:
        session = Session(contact, spacing=spacing, state=cache / "hosts", local=local)
        with store.transaction() as db:
            db.execute("DELETE FROM problem")
        if archives:
            log.info("%d archives in %s", meca.index(store, Path(archives)), archives)
        if saved_pages:
            log.info("%d rows in the pages of %s", add_saved(store, Path(saved_pages)), saved_pages)
        missing = list_all(session, store, wanted)
        for item in missing:
            store.fail("listing", item)
        select(store, wanted)
        waiting, seconds = crawl_seconds(session, store, wanted)
        store.note(spacing_ms=round(1000 * session.rule(wanted.pdf_url(names[0], "x", 1)).spacing))
        log.info("%d PDFs to fetch; at the spacing the sites ask for that takes %s", waiting, in_words(seconds))
        if dry_run:
            if missing:
                raise HarvestError("; ".join(missing))
            return
        fetch_all(session, store, wanted)
        counts = publish(store, wanted, out)
        blocked = store.count("SELECT count(*) FROM problem WHERE waiting")
    report(out, counts)
    judge(wanted, counts, missing, blocked, max_failed, out)


def judge(
    wanted: Wanted, counts: dict[str, int], missing: list[str], blocked: int, max_failed: float, out: Path
) -> None:
    """Raise HarvestError where the stage as a whole did not do its job."""
    if missing:
        raise HarvestError(f"the listing is incomplete: {'; '.join(missing)}. Run the same command again to go on")
    if not counts["selected"]:
        raise HarvestError(
            f"{wanted.since}..{wanted.until} on {', '.join(wanted.servers)}: expected preprints about COVID-19, got "
            f"none among {counts['listed']} listed versions ({counts['withdrawn']} withdrawn); check --since, --until, "
            "--servers"
        )
    if blocked:
        raise HarvestError(
            f"{blocked} PDFs were not fetched because a host was stopped (see {out / 'failed.jsonl'}); "
            f"run the same command again later to go on"
        )
    if counts["failed"] and not counts["downloaded"]:
        raise HarvestError(f"all {counts['failed']} PDFs failed; the reasons are in {out / 'failed.jsonl'}")
    if counts["failed"] > max_failed * max(1, counts["failed"] + counts["downloaded"]):
        raise HarvestError(
            f"{counts['failed']} PDFs failed, more than --max_failed {max_failed:.0%}; see {out / 'failed.jsonl'}"
        )


if __name__ == "__main__":
    app()
