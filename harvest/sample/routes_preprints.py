"""medRxiv and bioRxiv as they answer: the API (`/details`, `/pubs`, `/covid19`), the sites, and the TDM buckets.

Forms follow the recorded answers and the notes on them: page size and the type of numbers are options because both have
been seen, errors come with status 200, an unknown category is ignored, a very long interval gives no bytes at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
import zipfile
from dataclasses import dataclass
from xml.sax.saxutils import escape as escape_xml

from harvest.sample.dates import MONTHS
from harvest.sample.highwire import SERVERS, figure, jats, landing, results
from harvest.sample.replies import HTML, JSON, XML, Reply, Request, as_json, not_found, page, ranged
from harvest.sample.store import Row, Store

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
COVID = re.compile(r"covid|ncov|sars-cov-2|novel coronavirus", re.IGNORECASE)
CONTENT = re.compile(
    r"(?P<prefix>10\.\d+)/(?P<id>[\d.]+?)(?:v(?P<v>\d+))?(?P<end>\.full\.pdf|\.full|\.full-text|\.article-info)?"
)
EARLY = re.compile(
    r"(?:(?P<site>\w+)/)?early/(?P<day>\d{4}/\d\d/\d\d)/(?P<id>[\d.]+?)(?P<end>\.full\.pdf|\.source\.xml|/F\d+\..*)?"
)


@dataclass(frozen=True)
class Forms:
    """Which of the forms seen the API takes today."""

    page_size: int = 30
    numbers: str = "2026"
    """``2026``: total is text, cursor a number first and text later; ``2018``: total a number, cursor text"""
    surplus: int = 0
    """how many rows ``total`` promises beyond what is served (31 has been seen)"""
    covid19: str = "empty"
    """``empty``: 200 with no bytes, as since 2026-09; ``ok``: the collection"""


def api(request: Request, store: Store, forms: Forms) -> Reply:
    """Routes of api.biorxiv.org."""
    parts = [p for p in request.path.split("/") if p]
    if not parts:
        return page("<html><body>bioRxiv API</body></html>")
    if parts[0] == "details":
        return _details(parts[1:], request, store, forms)
    if parts[0] == "pubs":
        return _pubs(parts[1:], store)
    if parts[0] == "covid19":
        return _covid19(parts[1:], store, forms)
    return not_found("no such route")


def _status(text: str, length: int) -> Reply:
    """An error inside 200, padded with white space to the length recorded for it."""
    core = json.dumps({"messages": [{"status": text}], "collection": []}, separators=(",", ":"))
    return Reply((core + "\n").ljust(length).encode(), 200, JSON)


def _nothing() -> Reply:
    return _status("no posts found", 67)


def _details(parts: list[str], request: Request, store: Store, forms: Forms) -> Reply:
    if not parts or parts[0] not in SERVERS:
        return _status("Server not recognized", 74)
    rest = parts[1:]
    if len(rest) >= 2 and DAY.fullmatch(rest[0]) and DAY.fullmatch(rest[1]):
        return _interval(store.listing(SERVERS[parts[0]], rest[0], rest[1]), rest, request, forms)
    if len(rest) == 1:
        return Reply(b"", 500, HTML)
    if len(rest) >= 2 and rest[0].startswith("10."):
        rows = store.by_doi.get(f"{rest[0]}/{rest[1]}", [])
        found = [r for r in rows if r["server"] == SERVERS[parts[0]]]
        if not found:
            return _nothing()
        return as_json({"messages": [{"status": "ok", "category": "all"}], "collection": found})
    return _nothing()


def _interval(rows: list[Row], rest: list[str], request: Request, forms: Forms) -> Reply:
    first, last = rest[0], rest[1]
    cursor = int(rest[2]) if len(rest) > 2 and rest[2].isdigit() else 0
    if int(last[:4]) - int(first[:4]) > 3:
        return Reply(b"", 200, JSON)
    wanted = request.query.get("category", "").replace("_", " ").lower()
    known = bool(wanted) and any(r["category"] == wanted for r in rows)
    if known:
        rows = [r for r in rows if r["category"] == wanted]
    served = rows[cursor : cursor + forms.page_size]
    if not served:
        return _nothing()
    total = len(rows) + forms.surplus
    message: dict[str, object] = {"status": "ok", "interval": f"{first}:{last}"}
    if forms.numbers == "2026":
        news = {r["doi"] for r in served if r["version"] == "1"}
        message = {
            "status": "ok",
            "category": wanted if known else "all",
            "interval": f"{first}:{last}",
            "funder": "all",
            "cursor": cursor if cursor == 0 else str(cursor),
            "count": len(served),
            "count_new_papers": str(len(news)),
            "total": str(total),
        }
    else:
        message |= {"cursor": str(cursor), "count": len(served), "total": total}
    if len(rest) > 3 and rest[3] == "xml":
        return _as_xml(served)
    return as_json({"messages": [message], "collection": served})


def _as_xml(rows: list[Row]) -> Reply:
    body = "".join(
        "<record>" + "".join(f"<{k}>{escape_xml(str(v))}</{k}>" for k, v in r.items()) + "</record>" for r in rows
    )
    return Reply(f'<?xml version="1.0" encoding="UTF-8"?><records>{body}</records>'.encode(), 200, XML)


def _pubs(parts: list[str], store: Store) -> Reply:
    if not parts or parts[0] not in SERVERS:
        return _status("Server not recognized", 74)
    doi = "/".join(parts[1:3])
    found = [r for r in store.rows if r["doi"] == doi and r["published"] != "NA"]
    if not found:
        return as_json({"messages": [{"status": "no articles found for published version of "}], "collection": []})
    row = found[0]
    link = {
        "preprint_doi": row["doi"],
        "published_doi": row["published"],
        "published_journal": "J Drawn Radiol",
        "preprint_platform": row["server"],
        "preprint_title": row["title"],
        "preprint_authors": row["authors"],
        "preprint_category": row["category"],
        "preprint_date": row["date"],
        "published_date": "2020-06-01",
        "preprint_abstract": row["abstract"],
    }
    return as_json({"messages": [{"status": "ok"}], "collection": [link]})


def _covid19(parts: list[str], store: Store, forms: Forms) -> Reply:
    if forms.covid19 == "empty":
        return Reply(b"", 200, JSON)
    cursor = int(parts[0]) if parts and parts[0].isdigit() else 0
    rows = [r for r in reversed(store.rows) if COVID.search(r["title"] + r["abstract"])]
    served = [
        {
            "rel_doi": r["doi"],
            "rel_title": r["title"],
            "rel_link": f"https://{r['server'].lower()}.org/cgi/content/short/{r['doi'].split('/')[1]}",
            "rel_abs": r["abstract"],
            "rel_num_authors": 1 + r["authors"].count(";"),
            "rel_authors": [{"author_name": a.strip(), "author_inst": "Example"} for a in r["authors"].split(";")],
            "rel_date": r["date"],
            "rel_site": r["server"],
            "version": r["version"],
            "license": r["license"],
            "type": r["type"],
            "category": r["category"],
        }
        for r in rows[cursor : cursor + 30]
    ]
    if not served:
        return _nothing()
    message = {"status": "ok", "cursor": cursor, "count": len(served), "total": str(len(rows))}
    return as_json({"messages": [message], "collection": served})


def site(request: Request, store: Store, server: str | None) -> Reply:
    """Routes of www.medrxiv.org and www.biorxiv.org (``server`` None: both, for clients with one address)."""
    path = request.path
    if path == "robots.txt":
        return Reply(b"User-agent: *\nCrawl-delay: 7\nDisallow: /search/\n", 200, "text/plain")
    if path.startswith("search/"):
        return results(path.removeprefix("search/"), request, store, server)
    if not path.startswith("content/"):
        return not_found()
    rest = path.removeprefix("content/")
    if found := EARLY.fullmatch(rest):
        rows = [r for r in store.rows if server is None or r["server"] == SERVERS[server]]
        return _early(found, rows, request, store)
    found = CONTENT.fullmatch(rest)
    if not found:
        return not_found()
    mine = store.by_doi.get(f"{found['prefix']}/{found['id']}", [])
    mine = [r for r in mine if server is None or r["server"] == SERVERS[server]]
    if not mine:
        return not_found(rest)
    version = int(found["v"]) if found["v"] else max(int(r["version"]) for r in mine)
    row = next((r for r in mine if int(r["version"]) == version), None)
    if row is None:
        return not_found(rest)
    if found["end"] == ".full.pdf":
        return _pdf(row, request, store)
    return landing(row)


def _pdf(row: Row, request: Request, store: Store) -> Reply:
    data = store.pdf(row["doi"].split("/", 1)[1], int(row["version"]))
    if data is None:
        return not_found(row["doi"])
    tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
    return ranged(data, "application/pdf", request.headers, tag)


def _early(found: re.Match[str], rows: list[Row], request: Request, store: Store) -> Reply:
    mine = [r for r in rows if r["doi"].endswith("/" + found["id"])]
    if not mine:
        return not_found(found["id"])
    row = next(
        (r for r in mine if r["date"] == found["day"].replace("/", "-")), max(mine, key=lambda r: int(r["version"]))
    )
    if found["end"] == ".source.xml":
        return Reply(jats(row).encode(), 200, XML)
    if found["end"] and found["end"].startswith("/F"):
        known = found["end"] == "/F1.large.jpg"
        return ranged(figure(row["doi"]), "image/jpeg", request.headers, '"F1"') if known else not_found(found["end"])
    return _pdf(row, request, store)


def tdm(request: Request, store: Store, server: str, hostile: bool) -> Reply:
    """The requester-pays buckets: listing by month, ``.meca`` archives made when asked for."""
    if request.headers.get("x-amz-request-payer", request.query.get("x-amz-request-payer")) != "requester":
        body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return Reply(body.encode(), 403, "application/xml")
    keys = {meca_key(r): r for r in store.rows if r["server"] == SERVERS[server] and COVID.search(r["title"])}
    if request.query.get("list-type") == "2":
        prefix = request.query.get("prefix", "")
        names = sorted(k for k in keys if k.startswith(prefix))
        body = "".join(f"<Contents><Key>{k}</Key><Size>1</Size></Contents>" for k in names)
        return Reply(
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{server}-src-monthly</Name>'
            f"<Prefix>{prefix}</Prefix><KeyCount>{len(names)}</KeyCount><IsTruncated>false</IsTruncated>{body}"
            "</ListBucketResult>".encode(),
            200,
            "application/xml",
        )
    row = keys.get(request.path)
    data = store.pdf(row["doi"].split("/", 1)[1], int(row["version"])) if row else None
    if row is None or data is None:
        return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404, "application/xml")
    return Reply(_meca(row, data, hostile), 200, "application/zip")


def meca_key(row: Row) -> str:
    """Key of a version's archive: month of posting and a uuid that nothing else tells."""
    month = MONTHS[int(row["date"][5:7]) - 1]
    return (
        f"Current_Content/{month}_{row['date'][:4]}/{uuid.uuid5(uuid.NAMESPACE_URL, row['doi'] + row['version'])}.meca"
    )


def _meca(row: Row, pdf: bytes, hostile: bool) -> bytes:
    ident = row["doi"].split("/", 1)[1]
    parts = {
        "manifest.xml": b'<?xml version="1.0"?><manifest xmlns="http://manuscriptexchange.org" version="1"/>',
        f"content/{ident}.pdf": pdf,
        f"content/{ident}.xml": jats(row).encode(),
    }
    if hostile:
        parts["../../outside.txt"] = b"out of the folder"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        for name, data in parts.items():
            book.writestr(zipfile.ZipInfo(name, (2020, 3, 1, 0, 0, 0)), data)
    return out.getvalue()
