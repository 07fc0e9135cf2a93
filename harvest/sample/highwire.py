"""Pages of the preprint sites as HighWire's Drupal writes them: landing pages, search results, small JATS documents."""

from __future__ import annotations

import hashlib
import re
from html import escape
from xml.sax.saxutils import escape as escape_xml

import cv2
import numpy as np

from harvest.sample.replies import Reply, Request, page
from harvest.sample.store import Row, Store

SERVERS = {"medrxiv": "medRxiv", "biorxiv": "bioRxiv"}


def jats(row: Row) -> str:
    """A small JATS document of a preprint."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="article">'
        f'<front><article-meta><article-id pub-id-type="doi">{row["doi"]}</article-id>'
        f"<article-version>1.{row['version']}</article-version><title-group><article-title>"
        f"{escape_xml(row['title'])}</article-title></title-group><abstract><p>{escape_xml(row['abstract'])}</p></abstract>"
        "</article-meta></front><body/></article>"
    )


def landing(row: Row) -> Reply:
    where = f"https://www.{row['server'].lower()}.org/content/{row['doi']}v{row['version']}"
    title = escape(row["title"])
    return page(
        f"<!DOCTYPE html><html><head><title>{title} | {row['server']}</title>"
        f'<meta name="citation_title" content="{title}" />'
        f'<meta name="citation_pdf_url" content="{where}.full.pdf" /></head><body>'
        f'<h1 class="highwire-cite-title">{title}</h1>'
        f'<a class="article-dl-pdf-link" href="/content/{row["doi"]}v{row["version"]}.full.pdf">Download PDF</a>'
        f'<div class="pane-1"><div class="pane-content">Posted {row["date"]}.</div></div></body></html>'
    )


def results(path: str, request: Request, store: Store, server: str | None) -> Reply:
    """HighWire's search page: ten items a page, 0-based ``page``; title spans are nested twice, as there."""
    words = re.split(r"%20|\+| ", path)[0].replace("%252B", " ").lower()
    rows = [r for r in store.rows if words in (r["title"] + r["abstract"]).lower()]
    rows = [r for r in rows if server is None or r["server"] == SERVERS[server]]
    number = int(request.query.get("page", 0))
    served = rows[number * 10 : number * 10 + 10]
    if not served:
        return page(
            '<html><body><div id="search-summary-wrapper"><h1 id="page-title">No Results</h1></div>'
            '<div class="highwire-list">No results found</div></body></html>'
        )
    items = []
    for row in served:
        ident, low = row["doi"].split("/", 1)[1], row["server"].lower()
        day = row["date"].replace("-", "/")
        items.append(
            f'<li class="odd search-result result-jcode-{low} search-result-highwire-citation"><div '
            f'class="highwire-article-citation highwire-citation-type-highwire-article" '
            f'data-pisa="{low};{ident}v{row["version"]}"'
            f' data-pisa-master="{low};{ident}" data-apath="/{low}/early/{day}/{ident}.atom">'
            '<div class="highwire-cite">'
            f'<span class="highwire-cite-title"><a href="/content/{row["doi"]}v{row["version"]}" '
            f'class="highwire-cite-linked-title">'
            f'<span class="highwire-cite-title">{escape(row["title"])}</span></a> </span>'
            f'<div class="highwire-cite-authors"><span class="highwire-citation-authors">{_authors(row)}</span></div>'
            '<div class="highwire-cite-metadata"><span class="highwire-cite-metadata-doi highwire-cite-metadata">'
            f'<span class="doi_label">doi:</span> https://doi.org/{row["doi"]} </span></div></div></div></li>'
        )
    last, more = (len(rows) - 1) // 10, ""
    if number < last:
        more = (
            f'<li class="pager-next"><a href="?page={number + 1}">Next</a></li>'
            f'<li class="pager-last"><a href="?page={last}">{last + 1}</a></li>'
        )
    return page(
        f'<html><body><ul class="highwire-search-results-list">{"".join(items)}</ul>'
        f'<ul class="pager">{more}</ul></body></html>'
    )


def _authors(row: Row) -> str:
    found = []
    for number, author in enumerate(row["authors"].split(";")):
        surname, _, given = author.strip().partition(",")
        found.append(
            f'<span class="highwire-citation-author" data-delta="{number}"><span class="nlm-given-names">'
            f'{escape(given.strip())}</span> <span class="nlm-surname">{escape(surname)}</span></span>'
        )
    return ", ".join(found)


def figure(ident: str) -> bytes:
    """A figure file of an article's page (``F1.large.jpg``): a grey ramp that differs from paper to paper."""
    shade = int(hashlib.sha256(ident.encode()).hexdigest()[:2], 16)
    ramp = (np.add.outer(np.arange(320), np.arange(480)) // 4 + shade).astype(np.uint8)
    return cv2.imencode(".jpg", ramp, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
