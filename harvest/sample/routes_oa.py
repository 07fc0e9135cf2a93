"""www.ncbi.nlm.nih.gov as it answers: the OA web service (legacy) with its packages, BioC, and what is gone."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from xml.sax.saxutils import escape

from harvest.sample.replies import XML, Reply, Request, as_json, not_found, page, ranged
from harvest.sample.routes_pmc import newest
from harvest.sample.store import Row, Store, small_pdf

FTP = "ftp://ftp.ncbi.nlm.nih.gov"
QUOTE = {'"': "&quot;"}
DAY = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d)?")


def oa(request: Request, store: Store, most: int = 1000) -> Reply:
    """Where an article's package lies, or why not; a span of days gives ``most`` records and a resumption token."""
    if request.path.startswith("pub/pmc/"):
        return _file(request, store)
    query = request.query
    asked = f' id="{escape(query["id"], QUOTE)}"' if query.get("id") else ""
    head = f"<OA><responseDate>2026-01-01 00:00:00</responseDate><request{asked}>oa.fcgi</request>"
    wanted: list[str] = [kind for kind in ("tgz", "pdf") if query.get("format", kind) == kind]
    if query.get("resumptionToken") or query.get("from") or query.get("until"):
        return _span(query, store, head, wanted, most)
    if not query.get("id"):
        body = "<repositoryName>PubMed Central Open Access FTP Repository</repositoryName>"
        return Reply(f"{head}{body}</OA>".encode(), 200, XML)
    ident = query["id"]
    row = next((r for r in store.articles if r["pmcid"] == ident), None)
    if row is None:
        body = f"<error code=\"idDoesNotExist\">Identifier '{escape(ident)}' does not exist in PMC</error>"
    elif not row["open_access"]:
        body = f"<error code=\"idIsNotOpenAccess\">identifier '{escape(ident)}' is not Open Access</error>"
    else:
        links = _links(row, wanted)
        # the service counts links, not records: two for an article that has a PDF beside its package
        body = (
            f'<records returned-count="{len(links)}" total-count="{len(links)}">{_record(row, links)}</records>'
            if links
            else f"<error code=\"cannotDisseminateFormat\">no {escape(query.get('format', ''))} for '{ident}'</error>"
        )
    return Reply(f"{head}{body}</OA>".encode(), 200, XML)


def _span(query: dict[str, str], store: Store, head: str, wanted: list[str], most: int) -> Reply:
    start, first, last = 0, query.get("from", "0000"), query.get("until", "9999")
    if token := query.get("resumptionToken", ""):
        found = re.fullmatch(r"drawn!(\d+)!(.*)!(.*)", token)
        if found is None:
            return Reply(f'{head}<error code="badResumptionToken">unknown token</error></OA>'.encode(), 200, XML)
        start, first, last = int(found[1]), found[2], found[3]
    elif not all(DAY.fullmatch(query[key]) for key in ("from", "until") if query.get(key)):
        return Reply(f'{head}<error code="badArgument">invalid date</error></OA>'.encode(), 200, XML)
    rows = [r for r in store.articles if r["open_access"] and first[:10] <= r["date"].replace("/", "-") <= last[:10]]
    rows.sort(key=lambda r: (r["date"], r["pmcid"]))
    served, after = rows[start : start + most], start + most
    more = ""
    if after < len(rows):
        token = f"drawn!{after}!{first}!{last}"
        where = f"https://www.ncbi.nlm.nih.gov/pmc/utils/oa/oa.fcgi?resumptionToken={token}"
        more = f'<resumption><link token="{token}" href="{escape(where)}"/></resumption>'
    records = "".join(_record(row, _links(row, wanted)) for row in served)
    counts = f'returned-count="{len(served)}" total-count="{len(rows)}"'
    return Reply(f"{head}<records {counts}>{records}{more}</records></OA>".encode(), 200, XML)


def _record(row: Row, links: list[str]) -> str:
    licence = escape(row["license"] or "none")
    citation = escape(row["journal"], QUOTE)
    facts = f'id="{row["pmcid"]}" citation="{citation}" license="{licence}" retracted="no"'
    return f"<record {facts}>{''.join(links)}</record>"


def _links(row: Row, wanted: list[str]) -> list[str]:
    """The package, and for about every other article its PDF too."""
    ident, stamp = row["pmcid"], 'updated="2022-12-16 07:10:15"'
    links = []
    if "tgz" in wanted:
        links.append(f'<link format="tgz" {stamp} href="{FTP}/pub/pmc/oa_package/00/01/{ident}.tar.gz" />')
    if "pdf" in wanted and sum(map(int, ident[3:])) % 2 == 0:
        links.append(f'<link format="pdf" {stamp} href="{FTP}/pub/pmc/oa_pdf/00/01/drawn-1.{ident}.pdf" />')
    return links


def _file(request: Request, store: Store) -> Reply:
    if found := re.search(r"oa_package/.*/(PMC\d+)\.tar\.gz$", request.path):
        data = _package(store, found[1])
        return ranged(data, "application/gzip", request.headers, '"package"') if data else not_found(request.path)
    found = re.search(r"oa_pdf/.*\.(PMC\d+)\.pdf$", request.path)
    if found and any(r["pmcid"] == found[1] and r["open_access"] for r in store.articles):
        return ranged(small_pdf(found[1], 4000), "application/pdf", request.headers, '"pdf"')
    return not_found(request.path)


def _package(store: Store, pmcid: str) -> bytes | None:
    base = newest(store, pmcid)
    if not base:
        return None
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, path in store.bucket.items():
            if key.startswith(f"{base}/") and not key.endswith((".json", ".txt")):
                name = key.split("/", 1)[1]
                data = path.read_bytes()
                info = tarfile.TarInfo(f"{pmcid}/{pmcid}.nxml" if name == f"{base}.xml" else f"{pmcid}/{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def ncbi(request: Request, store: Store) -> Reply:
    """Routes of www.ncbi.nlm.nih.gov: the OA service, BioC (a miss is text with status 200), and what is gone."""
    if request.path.startswith("pmc/utils/oa/"):
        return oa(request, store)
    if found := re.match(r"research/bionlp/RESTful/pmcoa\.cgi/BioC_\w+/(\w+)/", request.path):
        row = next((r for r in store.articles if found.group(1) == r["pmcid"] and r["open_access"]), None)
        if row is None:
            where = f"https://www.ncbi.nlm.nih.gov/{request.path}"
            return page(f"[Error] : No result can be found. <BR><HR><B> - {where}")
        passage = {"offset": 0, "infons": {"section_type": "TITLE", "type": "front"}, "text": row["title"]}
        document = {"id": row["pmcid"][3:], "infons": {}, "passages": [passage]}
        return as_json([{"source": "PMC", "date": "20260101", "key": "pmc.key", "documents": [document]}])
    return not_found(request.path)
