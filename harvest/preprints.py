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
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from harvest import biorxiv, meca, results
from harvest.biorxiv import Row
from harvest.errors import HarvestError, SettingError
from harvest.hosts import check_services, is_loopback
from harvest.http import Session
from harvest.options import CacheFolder, Enabled, Refresh, cache_of, guarded, in_words, new_app, split_list
from harvest.papers import crawl_seconds, fetch_all, pdf_name
from harvest.records import Preprint
from harvest.store import Store, open_store
from harvest.window import PUBLIC_API, PUBLIC_SITE, SCHEMA, Wanted, add_saved, check_window, list_all, listed, select

log = logging.getLogger(__name__)
app = new_app()

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
        known = {field.name: getattr(row, field.name) for field in fields(Row) if field.name in Preprint.model_fields}
        yield Preprint(**known, pdf=f"pdf/{name}", sha256=saved.sha256, bytes=saved.bytes, url=store.url_of(name))


def publish(store: Store, wanted: Wanted, out: Path) -> dict[str, int]:
    """Write the results and return the counts."""
    found = ((record, record.pdf, store.files / Path(record.pdf).name) for record in records(store))
    downloaded, failed, withdrawn = results.publish(store, out, "preprints", found, "pdf", "*v*.pdf")
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
    results.report(out, "preprints", "papers", table, counts)


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
    go_on: Annotated[
        bool, typer.Option(help="end well although a host was stopped, with what there is; else run again later")
    ] = False,
    enabled: Enabled = True,
    cache: CacheFolder = None,
    dry_run: Annotated[
        bool, typer.Option(help="list and select, say how long the crawl will take, fetch nothing")
    ] = False,
    refresh: Refresh = False,
) -> None:
    """List the window, select the COVID papers, fetch their PDFs."""
    if not enabled:
        results.publish_nothing(out, "preprints", "preprints", "pdf")
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
    cache = cache_of(out, cache)
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
        blocked = store.waiting()
    report(out, counts)
    if go_on and blocked:
        log.warning("%d PDFs wait for a host that was stopped; going on without them (--go_on)", blocked)
        blocked = 0
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
            f"run the same command again later to go on, or take what there is (go_on)"
        )
    if counts["failed"] and not counts["downloaded"]:
        raise HarvestError(f"all {counts['failed']} PDFs failed; the reasons are in {out / 'failed.jsonl'}")
    if counts["failed"] > max_failed * max(1, counts["failed"] + counts["downloaded"]):
        raise HarvestError(
            f"{counts['failed']} PDFs failed, more than --max_failed {max_failed:.0%}; see {out / 'failed.jsonl'}"
        )


if __name__ == "__main__":
    app()
