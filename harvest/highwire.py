"""Search result pages of the medRxiv/bioRxiv sites, as a person saved them in a browser.

The sites' robots.txt forbids machines the search, so nothing here asks for a page; where the API and Europe PMC both
fail, pages saved by hand are a listing all the same (without abstracts and licences).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from harvest.biorxiv import SERVERS, Row
from harvest.errors import SettingError

_PISA = re.compile(r"(?P<server>medrxiv|biorxiv);(?P<id>[^;\s]+?)v(?P<version>\d+)")
_DAY = re.compile(r"/early/(\d{4})/(\d\d)/(\d\d)/")
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]+")
_LIMIT = 16 << 20


def read_pages(folder: Path) -> Iterator[Row]:
    """Rows of all ``.html``/``.htm`` pages of a folder."""
    if not folder.is_dir():
        raise SettingError(f"--saved_pages: expected a folder of saved result pages, got {folder}")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".html", ".htm") and path.stat().st_size <= _LIMIT:
            yield from read_page(path.read_text(encoding="utf-8", errors="replace"))


def read_page(text: str) -> Iterator[Row]:
    """Rows of one page; none for "No Results"."""
    soup = BeautifulSoup(text, "lxml")
    for item in soup.select("[data-pisa]"):
        found = _PISA.fullmatch(str(item.get("data-pisa", "")).strip())
        day = _DAY.search(str(item.get("data-apath", "")))
        if found is None or day is None or found["server"] not in SERVERS:
            continue
        said = item.select_one(".highwire-cite-metadata-doi")
        doi = _DOI.search(said.get_text(" ")) if said is not None else None
        yield Row(
            doi=doi[0].rstrip(".") if doi else f"10.1101/{found['id']}",
            version=int(found["version"]),
            server=found["server"],
            date="-".join(day.groups()),
            title=_title(item),
            abstract="",
            authors="; ".join(_author(a) for a in item.select(".highwire-citation-author")),
            category="",
            licence="",
            type="",
            published="",
        )


def _title(item: Tag) -> str:
    # The title's span is nested in another of the same class: the outer one would give the words twice.
    spans = item.select(".highwire-cite-title .highwire-cite-title") or item.select(".highwire-cite-title")
    return " ".join(spans[0].get_text(" ").split()) if spans else ""


def _author(author: Tag) -> str:
    surname, given = (author.select_one(f".nlm-{part}") for part in ("surname", "given-names"))
    if surname is None:
        return " ".join(author.get_text(" ").split())
    return ", ".join(part.get_text(" ").strip() for part in (surname, given) if part is not None)
