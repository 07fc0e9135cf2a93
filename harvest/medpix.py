"""Stage `medpix`: axial chest CTs of MedPix cases, none of them COVID-19 (paper, section III.A).

Reads     MedPix' `/rest` calls (cases, full-size pictures) and Open-i's collection `mpx` (search, pictures of at most
          512 pixels' width); or a stand-in for them.
Writes    figures.jsonl (harvest.records.Figure, pixels `given`), images/, failed.jsonl, excluded.jsonl (item, reason).
Guarantees one patient per case, whichever way its pictures came; the diagnosis as the case states it; never the
          placeholder that MedPix serves for missing pictures; no e-mail addresses; licence `link_only` (rights stay
          with the contributors).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from harvest import given, openi, options, results
from harvest.cases import MEDPIX, OPENI, Services, list_encounters, read_encounters
from harvest.content import IMAGES
from harvest.errors import BlockedError, ItemError
from harvest.hosts import check_services, is_loopback
from harvest.http import Session
from harvest.options import cache_of, guarded, in_words, new_app, split_list
from harvest.select import chest_ct, may_be_covid
from harvest.store import Store, open_store, sha256_of

log = logging.getLogger(__name__)
app = new_app()

ROUTES = ("rest", "openi")
PLACEHOLDER_BYTES = 6168
"""size of the picture MedPix serves, with status 200, for one that it does not have"""
SCHEMA = (
    given.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS encounter(id TEXT PRIMARY KEY, state TEXT DEFAULT 'listed');
CREATE TABLE IF NOT EXISTS picture(name TEXT PRIMARY KEY, encounter TEXT, unit TEXT);
"""
)


def search_openi(session: Session, store: Store, services: Services, queries: list[str]) -> None:
    """Open-i's chest CTs, of cases that MedPix itself did not give: those were decided there."""
    for query in queries:
        for items in openi.search(session, services.openi, query, "mpx"):
            with store.transaction() as db:
                for item in items:
                    name = item.name.removeprefix(f"{item.unit}_")
                    db.execute(
                        "INSERT INTO picture VALUES (?, '', ?) ON CONFLICT(name) DO UPDATE SET unit = excluded.unit",
                        (name, item.unit),
                    )
                    seen = db.execute("SELECT encounter FROM picture WHERE name = ?", (name,)).fetchone()
                    if seen["encounter"]:
                        continue
                    context = f"{item.title} {item.problems}"
                    score, _ = chest_ct(item.caption, context)
                    if not score and not item.caption:
                        score, _ = chest_ct(f"CT: {item.title}", context)
                    if not score or may_be_covid(f"{context} {item.caption}"):
                        continue
                    record = {
                        "figure_id": f"medpix-{given.safe_name(name)}",
                        "source": "medpix",
                        "document_id": item.unit,
                        "patient_id": f"medpix:{item.unit}",
                        "licence": "link_only",
                        "caption": item.caption,
                        "diagnosis": item.title,
                        "document_type": "case",
                        "title": item.title,
                    }
                    given.add(store, record, score - 0.25, item.url, services.public(item.url))


def join_cases(store: Store) -> None:
    """Give pictures that came through Open-i the case they belong to at MedPix, where any picture of the unit tells."""
    query = "SELECT unit, min(encounter) AS encounter FROM picture WHERE unit <> '' AND encounter <> '' GROUP BY unit"
    cases = list(store.db.execute(query))
    with store.transaction() as db:
        for case in cases:
            for row in list(db.execute("SELECT figure_id, record FROM figure WHERE document = ?", (case["unit"],))):
                record = json.loads(row["record"])
                record |= {"document_id": case["encounter"], "patient_id": f"medpix:{case['encounter']}"}
                db.execute(
                    "UPDATE figure SET document = ?, record = ? WHERE figure_id = ?",
                    (case["encounter"], json.dumps(record, ensure_ascii=False), row["figure_id"]),
                )


# -- pictures ----------------------------------------------------------------------------------------------------------


class Placeholder:
    """Knows what MedPix serves for a missing picture: by its size, and by what comes for a name that no picture has."""

    def __init__(self, session: Session, store: Store, services: Services) -> None:
        self.sha256 = ""
        try:
            url = f"{services.medpix}/images/full/synpic0.jpg"
            self.sha256 = store.fetch(session, "placeholder", url, IMAGES, 1 << 20).sha256
        except (ItemError, BlockedError) as error:
            log.info("MedPix shows no placeholder for a missing picture (%s)", error)

    def check(self, path: Path, size: int) -> None:
        """Raise ItemError for the placeholder."""
        if size == PLACEHOLDER_BYTES or (self.sha256 and sha256_of(path) == self.sha256):
            raise ItemError(
                f"{path.name}: expected a picture, got MedPix' placeholder for a missing one ({size} bytes)"
            )


def run_routes(session: Session, store: Store, services: Services, ways: list[str], queries: list[str]) -> list[str]:
    """Fill the store, route by route; gives what a route that broke said."""

    def fill(way: str) -> None:
        if way == "rest":
            list_encounters(session, store, services)
            read_encounters(session, store, services)
        else:
            search_openi(session, store, services, queries)

    broken = given.follow(store, ways, fill, services.public)
    join_cases(store)
    return broken


def announce(session: Session, store: Store, services: Services, ways: list[str]) -> None:
    """List the cases, read none, and say how long reading takes: a case and its topic are two requests."""
    if "rest" not in ways:
        log.info("Open-i is asked page by page and then for each picture; how many there are is not known before")
        return
    list_encounters(session, store, services)
    unread = store.count("SELECT count(*) FROM encounter WHERE state = 'listed'")
    seconds = unread * 2 * session.rule(services.medpix).spacing
    log.info("%d cases to read; at the spacing kept that takes at least %s", unread, in_words(seconds))


@app.command()
@guarded
def main(
    out: Annotated[Path, typer.Option(help="folder for the results")],
    routes: Annotated[
        list[str],
        typer.Option(help="rest, openi; in this order, a comma list or repeated", default_factory=lambda: list(ROUTES)),
    ],
    queries: Annotated[
        list[str],
        typer.Option(
            help="search words for Open-i; repeated or a comma list", default_factory=lambda: ["chest CT", "lung CT"]
        ),
    ],
    contact: options.Contact = "",
    openi_url: Annotated[str, typer.Option("--openi", help="Open-i")] = OPENI,
    medpix_url: Annotated[str, typer.Option("--medpix", help="MedPix")] = MEDPIX,
    spacing: options.OtherSpacing = 1.0,
    limit: Annotated[int, typer.Option(help="at most this many pictures, likeliest first; 0 for all")] = 0,
    max_mb: options.MaxPicture = 60,
    enabled: options.Enabled = True,
    cache: options.CacheFolder = None,
    dry_run: Annotated[bool, typer.Option(help="list only, say how long the crawl will take")] = False,
    refresh: options.Refresh = False,
) -> None:
    """Read the cases, fetch their axial chest CTs."""
    if not enabled:
        results.publish_nothing(out, "medpix", "figures", "images")
        return
    ways = given.routes_of(routes, ROUTES)
    services = Services(openi_url.rstrip("/"), medpix_url.rstrip("/"))
    used = {"openi": services.openi} if "openi" in ways else {}
    used |= {"medpix": services.medpix} if "rest" in ways else {}
    check_services(contact, used)
    cache = cache_of(out, cache)
    with open_store(cache, "medpix", (services.openi, services.medpix), SCHEMA, refresh) as store:
        local = all(is_loopback(url) for url in used.values())
        session = Session(contact, spacing=spacing, local=local, state=cache / "hosts")
        store.note(spacing_ms=round(1000 * session.rule(services.medpix if "rest" in ways else services.openi).spacing))
        words = split_list(queries)
        given.start(store, json.dumps([ways, words]), ("encounter", "picture"))
        if dry_run:
            announce(session, store, services, ways)
            return
        broken = run_routes(session, store, services, ways, words)
        given.check_listing(ways, broken)
        check = Placeholder(session, store, services).check if "rest" in ways else None
        given.gather(session, store, limit, max_mb << 20, services.public, check)
        given.finish(store, "medpix", out)


if __name__ == "__main__":
    app()
