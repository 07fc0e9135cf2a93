"""Europe PMC, where the first source fails: preprint listings, full text as JATS, PDFs and figure files.

Errors come inside HTTP 200 as ``errCode``; the last page repeats the cursor mark, so a repeated or missing mark, or an
empty list, is the end.
"""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from harvest.biorxiv import Row
from harvest.errors import ItemError, TransientError
from harvest.hosts import is_loopback, same_site
from harvest.http import Session
from harvest.licences import code_of

PUBLIC = "https://www.ebi.ac.uk/europepmc/webservices/rest"
PUBLIC_SITE = "https://europepmc.org"
_PAGE = 200


def site_of(base: str) -> str:
    """Where Europe PMC keeps files; a stand-in keeps them under its own address."""
    return base.rstrip("/") if is_loopback(base) else PUBLIC_SITE


def public(text: str, base: str) -> str:
    """``text`` with a stand-in's addresses replaced by Europe PMC's."""
    if not base or not is_loopback(base):
        return text
    for part in ("articles/", "backend/", "api/"):
        text = text.replace(f"{base}/{part}", f"{PUBLIC_SITE}/{part}")
    return text.replace(base, PUBLIC)


def search(session: Session, base: str, query: str) -> Iterator[list[dict[str, Any]]]:
    """The results of a query, page by page (``resultType=core``)."""
    mark = "*"
    while True:
        answer = session.json(
            f"{base}/search",
            {"query": query, "resultType": "core", "format": "json", "pageSize": _PAGE, "cursorMark": mark},
            check=_refuse,
        )
        results = answer["resultList"].get("result")
        if not isinstance(results, list) or not results:
            return
        yield [entry for entry in results if isinstance(entry, dict)]
        following = answer.get("nextCursorMark")
        if not following or following == mark:
            return
        mark = str(following)


def preprints(session: Session, base: str, server: str, since: str, until: str) -> Iterator[list[Row]]:
    """Preprints first posted in the window, as listing rows; version 1 where Europe PMC names none."""
    query = f'(SRC:PPR) AND (PUBLISHER:"{server}") AND (FIRST_PDATE:[{since} TO {until}])'
    for results in search(session, base, query):
        yield [row for entry in results if (row := _row(entry, server)) is not None and since <= row.date <= until]


def preprint_pdf(session: Session, base: str, doi: str, version: int) -> str:
    """Address of the PDF of just this version at Europe PMC, '' if it has none."""
    for results in search(session, base, f'(SRC:PPR) AND (DOI:"{doi}")'):
        for entry in results:
            if str(entry.get("doi", "")).lower() != doi.lower() or _version(entry) not in (None, version):
                continue
            links = _inner(entry, "fullTextUrlList").get("fullTextUrl")
            for link in links if isinstance(links, list) else [links]:  # a single one may stand for itself
                if (
                    isinstance(link, dict)
                    and str(link.get("documentStyle", "")).lower() == "pdf"
                    and "europe" in str(link.get("site", "")).lower()
                ):
                    url = str(link.get("url", "")).replace(PUBLIC_SITE, site_of(base), 1)
                    if same_site(f"{site_of(base)}/", url):
                        return url
            # Europe PMC's copy is some version; without its number only a first version can be told apart.
            if entry.get("hasPDF") == "Y" and entry.get("id") and (_version(entry) == version or version == 1):
                return f"{site_of(base)}/backend/ptpmcrender.fcgi?accid={entry['id']}&blobtype=pdf"
    return ""


def full_text(session: Session, base: str, identifier: str) -> Element:
    """The JATS of an article (``PMC…`` or ``PPR…``). Raises ItemError where there is none (404 with an empty body)."""
    return session.xml(f"{base}/{identifier}/fullTextXML")


def figure_url(base: str, pmcid: str, name: str) -> str:
    """Address of a figure's file (``name`` with its ending)."""
    return f"{site_of(base)}/articles/{pmcid}/bin/{name}"


def _row(entry: dict[str, Any], server: str) -> Row | None:
    publisher = str(_inner(entry, "bookOrReportDetails").get("publisher", "")).lower()
    doi, date = str(entry.get("doi", "")), str(entry.get("firstPublicationDate", ""))
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        return None
    if publisher != server or "/" not in doi:
        return None
    return Row(
        doi=doi,
        version=_version(entry) or 1,
        server=server,
        date=date,
        title=_text(entry.get("title")),
        abstract=_text(entry.get("abstractText")),
        authors=_text(entry.get("authorString")),
        category="",
        licence=code_of(str(entry.get("license") or "")),
        type="withdrawn" if "withdrawn" in _text(entry.get("title")).lower()[:12] else "",
        published="",
    )


def _inner(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _version(entry: dict[str, Any]) -> int | None:
    value = str(entry.get("versionNumber", ""))
    return int(value) if re.fullmatch(r"[0-9]{1,4}", value) and int(value) > 0 else None


def _text(value: Any) -> str:
    return " ".join(html.unescape(str(value)).split()) if value else ""


def _refuse(answer: Any) -> None:
    if isinstance(answer, dict) and "errCode" in answer:
        raise ItemError(f"Europe PMC answers error {answer['errCode']}: {answer.get('errMsg', '')!s:.200}")
    if not isinstance(answer, dict) or not isinstance(answer.get("resultList"), dict):
        raise TransientError(f"expected a resultList, got {answer!r:.120}", 200)
