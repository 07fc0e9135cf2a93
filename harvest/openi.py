"""Open-i: search of figures by caption, and its pictures of at most 512 pixels' width.

``m`` and ``n`` are the first and last index, both included, counted from 1. The index ends about 2020 and knows no
COVID-19; captions hold markup and may be "Not Available.".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from harvest.errors import ItemError, TransientError
from harvest.http import Session
from harvest.licences import code_of

_PAGE = 100
_WHOLE = re.compile(r"[0-9]{1,9}")
_PATH = re.compile(r"/+imgs/\d+/\d+/\d+/(?P<unit>(?:PMC|MPX)\d+)_(?P<name>[^/]+)\.(?:png|jpg|gif)")


@dataclass(frozen=True)
class Item:
    """One picture: the article or case it belongs to (``PMC…``, ``MPX…``), its file's name, what is said about it."""

    unit: str
    name: str
    url: str
    title: str
    caption: str
    abstract: str
    licence: str
    modality: str
    problems: str
    date: str
    figure: str


def search(
    session: Session, base: str, query: str, collection: str, kinds: str = "c", most: int = 0
) -> Iterator[list[Item]]:
    """Pictures of a collection (``pmc``, ``mpx``) and kinds (``c`` CT), page by page; ``most`` bounds them (0: all)."""
    first, total = 1, None
    while total is None or first <= total:
        last = first + _PAGE - 1
        answer = session.json(
            f"{base}/api/search",
            {"query": query, "it": kinds, "coll": collection, "m": first, "n": last},
            check=_refuse,
        )
        entries = answer.get("list")
        if not isinstance(entries, list) or not entries:
            return
        yield [item for entry in entries if isinstance(entry, dict) and (item := _item(base, entry)) is not None]
        total = int(str(answer["total"]))
        total = min(total, most) if most else total
        # what was received counts, not what was asked for: a short page must not become a gap
        first += len(entries)


def plain(text: Any) -> str:
    """Text without markup; '' for nothing and for "Not Available."."""
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", str(text or ""))).split())
    words = re.sub(r"\s+([.,;:)])", r"\1", words)
    return "" if words.lower().rstrip(".") in ("not available", "none", "null") else words


def _item(base: str, entry: dict[str, Any]) -> Item | None:
    path = next((str(entry[key]) for key in ("imgLarge", "imgGrid150") if entry.get(key)), "")
    found = _PATH.search(path)
    if found is None:
        return None
    raw = entry.get("image")
    image: dict[str, Any] = raw if isinstance(raw, dict) else {}
    raw = entry.get("journal_date")
    date: dict[str, Any] = raw if isinstance(raw, dict) else {}
    parts = [str(date.get(key, "")) for key in ("year", "month", "day")]
    return Item(
        unit=found["unit"],
        name=found["name"],
        url=f"{base}{quote('/' + path[found.start() :].lstrip('/'))}",
        title=plain(entry.get("title")),
        caption=plain(image.get("caption")),
        abstract=plain(entry.get("abstract")),
        licence=code_of(str(entry.get("ccLicense") or "")) or code_of(str(entry.get("licenseType") or "")),
        modality=str(image.get("modalityMajor") or ""),
        problems=plain(entry.get("Problems")),
        date="-".join(part.zfill(2) for part in parts if part.isdigit()),
        figure=str(image.get("id") or ""),
    )


def _refuse(answer: Any) -> None:
    if isinstance(answer, dict) and "Query-Error" in answer:
        raise ItemError(f"Open-i: {answer['Query-Error']}")
    if not isinstance(answer, dict) or not _WHOLE.fullmatch(str(answer.get("total", ""))):
        raise TransientError(f"Open-i: expected a total, got {answer!r:.120}", 200)
