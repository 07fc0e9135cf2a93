"""Articles of PubMed Central: found by E-utilities; read from the bucket, a package or Europe PMC; chest CTs kept.

What speaks of COVID-19, is retracted, or is outside the open-access subset is left out with its reason.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvest import bucket, europepmc, given, packages
from harvest.errors import BlockedError, HarvestError, ItemError
from harvest.eutils import Eutils
from harvest.http import Session
from harvest.jats import Article, JatsFigure, read_article
from harvest.licences import code_of
from harvest.options import progress
from harvest.select import chest_ct, ct_likelihood, may_be_covid
from harvest.store import Store
from harvest.window import day

log = logging.getLogger(__name__)
EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
BUCKET = "https://pmc-oa-opendata.s3.amazonaws.com"
OPENI = "https://openi.nlm.nih.gov"


@dataclass(frozen=True)
class Services:
    """The addresses asked, and the folder of packages looked into first."""

    eutils: str
    bucket: str
    europepmc: str
    openi: str
    archives: Path | None = None

    def public(self, text: str) -> str:
        """``text`` with a stand-in's addresses replaced by the public ones."""
        text = europepmc.public(text, self.europepmc)
        for here, there in ((self.eutils, EUTILS), (self.bucket, BUCKET), (self.openi, OPENI)):
            text = text.replace(here, there)
        return text


def list_articles(eutils: Eutils, store: Store, term: str, since: str, until: str) -> None:
    """Put the hits of a search into the store."""
    for hits in eutils.search(term, day(since), day(until)):
        with store.transaction() as db:
            for hit in hits:
                db.execute(
                    "INSERT OR IGNORE INTO article(pmcid, title, score) VALUES (?, ?, ?)",
                    (hit.pmcid, hit.title, ct_likelihood(hit.title, "")),
                )


def read_articles(session: Session, store: Store, services: Services, most: int) -> None:
    """Read the likeliest articles (``most`` of them, 0 for all) and put their chest CT figures into the store."""
    total = store.count("SELECT count(*) FROM article")
    total = min(total, most) if most else total
    with progress("articles", total) as advance:
        for position in range(total):
            row = store.db.execute(
                "SELECT * FROM article ORDER BY score DESC, pmcid LIMIT 1 OFFSET ?", (position,)
            ).fetchone()
            if row["state"] == "listed":
                try:
                    _read(session, store, services, row["pmcid"], row["title"])
                except (ItemError, BlockedError) as error:
                    store.fail(row["pmcid"], services.public(str(error)), waiting=isinstance(error, BlockedError))
            advance(1, "")


def _read(session: Session, store: Store, services: Services, pmcid: str, title: str) -> None:
    reason = "speaks of COVID-19" if may_be_covid(title) else ""
    article: Article | None = None
    metadata: dict[str, Any] = {}
    objects: list[bucket.Object] = []
    if not reason:
        article, metadata, objects = fetch_article(session, services, pmcid)
        reason = unwanted(article, metadata)
    with store.transaction() as db:
        db.execute("UPDATE article SET state = 'read' WHERE pmcid = ?", (pmcid,))
        if reason or article is None:
            given.exclude(store, pmcid, reason)
            return
        licence = code_of(str(metadata.get("license_code") or "")) or article.licence
        for figure in article.figures:
            score, why = chest_ct(figure.caption, article.title)
            if not score:
                continue
            for href in figure.graphics:
                url, md5 = _address(services, pmcid, objects, href)
                record = _record(pmcid, article, figure, href, licence)
                given.add(store, record, score, url, services.public(url), md5)
                log.debug("%s: %s", record["figure_id"], why)


def fetch_article(
    session: Session, services: Services, pmcid: str
) -> tuple[Article, dict[str, Any], list[bucket.Object]]:
    """An article with its metadata and files: from a package, the bucket, or Europe PMC (no metadata, no files)."""
    package = packages.find(services.archives, pmcid)
    if package is not None:
        article, files = packages.read(package)
        return article, {}, files
    try:
        version = bucket.newest(session, services.bucket, pmcid)
        if version:
            metadata = bucket.metadata(session, services.bucket, version)
            source = bucket.object_of(services.bucket, metadata.get("xml_url"))
            if source is None:
                raise ItemError(f"{version}: expected an xml_url, got {metadata.get('xml_url')!r}")
            root = session.xml(source.url, md5=source.md5)
            said = metadata.get("media_urls") or []
            if not isinstance(said, list):
                raise ItemError(f"{version}: expected a list of media_urls, got {said!r:.80}")
            media = (bucket.object_of(services.bucket, url) for url in said)
            return read_article(root), metadata, [item for item in media if item is not None]
        error: HarvestError = ItemError(f"{pmcid}: not in the open-access bucket")
    except (ItemError, BlockedError) as failure:
        error = failure
    if not services.europepmc:
        raise error
    log.info("%s; asking Europe PMC", error)
    try:
        return read_article(europepmc.full_text(session, services.europepmc, pmcid)), {}, []
    except (ItemError, BlockedError) as second:
        raise type(error)(f"{error}; Europe PMC: {second}") from second


def unwanted(article: Article, metadata: dict[str, Any]) -> str:
    """Why an article is left out, '' if it is not."""
    if article.retracted or metadata.get("is_retracted"):
        return "retracted"
    if metadata.get("is_pmc_openaccess") is False or code_of(str(metadata.get("license_code") or "")) == "tdm":
        return "not in the open-access subset (text mining only)"
    if may_be_covid(f"{article.title}\n{article.abstract}\n{article.body}"):
        return "speaks of COVID-19"
    if any(may_be_covid(figure.caption) for figure in article.figures):
        return "a caption speaks of COVID-19"
    return ""


def _address(services: Services, pmcid: str, objects: list[bucket.Object], href: str) -> tuple[str, str]:
    found = bucket.picture(objects, href)
    if found is not None:
        return found.url, found.md5
    name = href if href.lower().endswith((".jpg", ".jpeg", ".png", ".gif")) else f"{href}.jpg"
    return europepmc.figure_url(services.europepmc or europepmc.PUBLIC, pmcid, name), ""


def _record(pmcid: str, article: Article, figure: JatsFigure, href: str, licence: str) -> dict[str, Any]:
    stem = href.rsplit("/", 1)[-1]
    return {
        "figure_id": f"{pmcid}-{given.safe_name(stem)}",
        "source": "pmc",
        "document_id": pmcid,
        "doi": article.doi,
        "licence": figure.licence or licence,
        "label": figure.label,
        "number": figure.number,
        "caption": figure.caption,
        # JATS has no pages: 0 stands for the whole body
        "mentions": [{"page": 0, "offset": offset, "text": text} for offset, text in figure.mentions],
        "document_type": "article",
        "date": article.date,
        "title": article.title,
    }
