"""Stage `pmc`: chest CT figures of PubMed Central that show something else than COVID-19 (paper, section III.A).

Reads     E-utilities and the `pmc-oa-opendata` bucket (Europe PMC where an article or a picture is missing there), or
          Open-i; or a stand-in for them.
Writes    figures.jsonl (harvest.records.Figure, pixels `given`), images/, failed.jsonl, excluded.jsonl (item, reason).
Guarantees nothing that speaks of COVID-19, nothing retracted, nothing outside the open-access subset; captions that
          name a chest CT; licence of the figure where it has its own, else of the article; every picture checked (MD5
          where the bucket gives one, first bytes, decodes); a killed run goes on and ends in the same bytes.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from harvest import europepmc, given, openi, options, results
from harvest.articles import BUCKET, EUTILS, OPENI, Services, list_articles, read_articles
from harvest.eutils import Eutils
from harvest.hosts import check_services, is_loopback
from harvest.http import Session
from harvest.licences import of_others
from harvest.options import cache_of, guarded, in_words, new_app
from harvest.select import chest_ct, may_be_covid
from harvest.store import Store, open_store
from harvest.window import check_window

log = logging.getLogger(__name__)
app = new_app()

ROUTES = ("bucket", "openi")
TERM = (
    '("chest CT" OR "lung CT" OR "thoracic CT" OR "computed tomography") AND (lung OR pulmonary OR chest OR thorax) '
    'AND "open access"[filter] NOT ("COVID-19" OR "SARS-CoV-2" OR "2019-nCoV")'
)
SCHEMA = (
    given.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS article(pmcid TEXT PRIMARY KEY, title TEXT, score REAL, state TEXT DEFAULT 'listed');
CREATE INDEX IF NOT EXISTS article_rank ON article(score DESC, pmcid);
"""
)


def search_openi(session: Session, store: Store, services: Services, query: str, most: int) -> None:
    """Put Open-i's chest CT figures into the store, except of articles that were read from the bucket."""
    for items in openi.search(session, services.openi, query, "pmc", most=most):
        with store.transaction() as db:
            for item in items:
                known = db.execute("SELECT 1 FROM article WHERE pmcid = ? AND state = 'read'", (item.unit,)).fetchone()
                score, _ = chest_ct(item.caption, item.title)
                if known or not score:
                    continue
                if may_be_covid(f"{item.title}\n{item.abstract}\n{item.caption}"):
                    given.exclude(store, item.unit, "speaks of COVID-19")
                    continue
                if not item.licence:
                    given.exclude(store, item.unit, "Open-i states no Creative Commons licence")
                    continue
                record = {
                    "figure_id": f"{item.unit}-{given.safe_name(item.name)}",
                    "source": "pmc",
                    "document_id": item.unit,
                    "licence": "reproduced" if of_others(item.caption) else item.licence,
                    "label": item.figure,
                    "caption": item.caption,
                    "document_type": "article",
                    "date": item.date,
                    "title": item.title,
                    "diagnosis": item.problems,
                }
                # Open-i's copies are at most 512 pixels wide: what the bucket has comes first
                given.add(store, record, score - 0.25, item.url, services.public(item.url))


@app.command()
@guarded
def main(
    out: Annotated[Path, typer.Option(help="folder for the results")],
    routes: Annotated[
        list[str],
        typer.Option(
            help="bucket, openi; in this order, a comma list or repeated", default_factory=lambda: list(ROUTES)
        ),
    ],
    contact: options.Contact = "",
    api_key: Annotated[
        str, typer.Option(help="NCBI key: 10 requests a second instead of 3", envvar="NCBI_API_KEY")
    ] = "",
    eutils: Annotated[str, typer.Option(help="E-utilities")] = EUTILS,
    bucket_url: Annotated[str, typer.Option("--bucket", help="open-access bucket")] = BUCKET,
    europepmc_url: Annotated[
        str, typer.Option("--europepmc", help="Europe PMC, the fallback; '' for none")
    ] = europepmc.PUBLIC,
    openi_url: Annotated[str, typer.Option("--openi", help="Open-i")] = OPENI,
    term: Annotated[str, typer.Option(help="search term for PubMed Central")] = TERM,
    query: Annotated[str, typer.Option(help="search words for Open-i")] = "chest CT",
    since: Annotated[str, typer.Option(help="published from, YYYY-MM-DD")] = "2000-01-01",
    until: Annotated[str, typer.Option(help="published until, YYYY-MM-DD")] = "2019-10-31",
    spacing: options.OtherSpacing = 1.0,
    max_articles: Annotated[int, typer.Option(help="at most this many articles, likeliest first; 0 for all")] = 2000,
    archives: Annotated[
        str, typer.Option("--packages", help="folder of PMC….tar.gz packages, looked into first; '' for none")
    ] = "",
    limit: Annotated[int, typer.Option(help="at most this many figures, likeliest first; 0 for all")] = 1000,
    max_mb: options.MaxPicture = 60,
    enabled: options.Enabled = True,
    cache: options.CacheFolder = None,
    dry_run: Annotated[bool, typer.Option(help="list only, say how long the crawl will take")] = False,
    refresh: options.Refresh = False,
) -> None:
    """Search, read captions, fetch the chest CT figures."""
    if not enabled:
        results.publish_nothing(out, "pmc", "figures", "images")
        return
    ways = given.routes_of(routes, ROUTES)
    since, until = check_window(since, until)
    services = Services(
        eutils.rstrip("/"),
        bucket_url.rstrip("/"),
        europepmc_url.rstrip("/"),
        openi_url.rstrip("/"),
        Path(archives) if archives else None,
    )
    used = {"openi": services.openi} if "openi" in ways else {}
    if "bucket" in ways:
        used |= {"eutils": services.eutils, "bucket": services.bucket, "europepmc": services.europepmc}
    check_services(contact, used)
    cache = cache_of(out, cache)
    names = (services.eutils, services.bucket, services.europepmc, services.openi)
    with open_store(cache, "pmc", names, SCHEMA, refresh) as store:
        local = all(is_loopback(url) for url in used.values())
        session = Session(contact, spacing=spacing, local=local, state=cache / "hosts", api_key=api_key)
        store.note(spacing_ms=round(1000 * session.rule(services.bucket).spacing))
        given.start(store, json.dumps([ways, term, query, since, until, max_articles, archives]), ("article",))

        def fill(way: str) -> None:
            if way == "bucket":
                list_articles(Eutils(session, services.eutils, contact, api_key), store, term, since, until)
                _announce(session, store, services, max_articles)
                if not dry_run:
                    read_articles(session, store, services, max_articles)
            elif not dry_run:
                search_openi(session, store, services, query, max_articles)

        broken = given.follow(store, ways, fill, services.public)
        if dry_run:
            return
        given.check_listing(ways, broken)
        given.gather(session, store, limit, max_mb << 20, services.public, archives=services.archives)
        given.finish(store, "pmc", out)


def _announce(session: Session, store: Store, services: Services, most: int) -> None:
    unread = store.count("SELECT count(*) FROM article WHERE state = 'listed'")
    unread = min(unread, most) if most else unread
    seconds = unread * 3 * session.rule(services.bucket).spacing
    log.info("%d articles to read; at the spacing kept that takes at least %s", unread, in_words(seconds))
    if not is_loopback(services.eutils):
        log.info(
            "NCBI asks for searches of more than a hundred calls at weekends, or from 21:00 to 5:00 US Eastern time"
        )


if __name__ == "__main__":
    app()
