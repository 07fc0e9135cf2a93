"""NCBI's E-utilities: a search kept on the history server, then summaries page by page.

Numbers come as text, errors inside HTTP 200. A search is sliced by publication date so that no slice is longer than the
service pages through.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harvest.errors import ItemError, TransientError
from harvest.http import Session

TOOL = "covidct-harvest"
# PubMed pages to 9,998; for PMC the limit is not documented, so the same is assumed.
_LONGEST = 9000
_PAGE = 500


@dataclass(frozen=True)
class Summary:
    """One hit: PMC id with its prefix, title, publication date as the service writes it."""

    pmcid: str
    title: str
    date: str


@dataclass(frozen=True)
class Eutils:
    """Where to ask, and as whom (the services want tool and e-mail with every call)."""

    session: Session
    base: str
    email: str
    api_key: str = ""

    def _ask(self, program: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        given = {"db": "pmc", "retmode": "json", "tool": TOOL, **parameters}
        given |= {"email": self.email} if self.email else {}
        given |= {"api_key": self.api_key} if self.api_key else {}
        answer = self.session.json(f"{self.base}/{program}.fcgi", given, check=lambda found: _refuse(found, key))
        return dict(answer[key])

    def count(self, term: str, since: datetime.date, until: datetime.date) -> tuple[int, dict[str, str]]:
        """How many hits a slice has, and where on the history server they are."""
        answer = self._ask(
            "esearch",
            "esearchresult",
            {
                "term": term,
                "usehistory": "y",
                "retmax": 0,
                "datetype": "pdat",
                "mindate": since.strftime("%Y/%m/%d"),
                "maxdate": until.strftime("%Y/%m/%d"),
            },
        )
        number = _whole(answer.get("count"))
        return number, {"WebEnv": str(answer.get("webenv", "")), "query_key": str(answer.get("querykey", ""))}

    def search(self, term: str, since: datetime.date, until: datetime.date) -> Iterator[list[Summary]]:
        """All hits published in the days given, page by page; a slice too long to page through is halved."""
        total, history = self.count(term, since, until)
        if total > _LONGEST and since < until:
            middle = since + (until - since) // 2
            yield from self.search(term, since, middle)
            yield from self.search(term, middle + datetime.timedelta(days=1), until)
            return
        start = 0
        while start < total:
            result = self._ask("esummary", "result", {**history, "version": "2.0", "retstart": start, "retmax": _PAGE})
            uids = result.get("uids")
            if not isinstance(uids, list) or not uids:
                raise ItemError(f"esummary: expected {total} summaries, got no more after {start}")
            yield [_summary(str(uid), result.get(str(uid))) for uid in uids]
            start += len(uids)


def _summary(uid: str, entry: Any) -> Summary:
    entry = entry if isinstance(entry, dict) else {}
    return Summary(f"PMC{uid.removeprefix('PMC')}", str(entry.get("title", "")), str(entry.get("pubdate", "")))


def _refuse(answer: Any, key: str) -> None:
    """What E-utilities report inside 200: limits and broken backends are asked again, a bad query is given up."""
    if not isinstance(answer, dict):
        raise TransientError(f"E-utilities: expected an object, got {answer!r:.120}", 200)
    if "error" in answer:
        text = str(answer["error"])
        if "invalid" in text.lower():
            raise ItemError(f"E-utilities: {text}; check --api_key")
        raise TransientError(f"E-utilities: {text}", 429 if "rate limit" in text.lower() else 200)
    result = answer.get(key)
    if not isinstance(result, dict):
        raise TransientError(f"E-utilities: expected {key}, got {answer!r:.120}", 200)
    if result.get("ERROR"):
        text = f"E-utilities: {' '.join(str(result['ERROR']).split()):.300}"
        raise ItemError(text) if "cannot be larger" in text else TransientError(text, 200)


def _whole(value: Any) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ItemError(f"E-utilities: expected a count, got {value!r:.60}")
    return int(text)
