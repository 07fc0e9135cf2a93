"""Europe PMC as it answers: search with cursor marks over preprints, full text, figure files and PDFs."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from harvest.sample.highwire import SERVERS, jats
from harvest.sample.replies import XML, Reply, Request, as_json, not_found, ranged
from harvest.sample.routes_pmc import article_xml, newest
from harvest.sample.store import Row, Store


def europepmc(request: Request, store: Store) -> Reply:
    """Europe PMC's REST service, and the article addresses of its site."""
    path = re.sub(r"^(europepmc/)?(webservices/rest/)?", "", request.path)
    if path in ("search", "searchPOST"):
        return _epmc_search(request, store)
    if found := re.fullmatch(r"(PMC\d+|PPR\d+)/fullTextXML", path):
        return _full_text(found.group(1), store)
    if found := re.fullmatch(r"articles/(PMC\d+)/bin/(.+)\.jpg", path):
        file = store.bucket.get(f"{newest(store, found.group(1))}/{found.group(2)}.jpg")
        return ranged(file.read_bytes(), "image/jpeg", request.headers, '"epmc"') if file else not_found(path)
    ident = request.query.get("accid", "") or request.query.get("pprId", "")
    if found := re.fullmatch(r"articles?/(?:PPR/)?(PPR\d+)", path):
        ident = found.group(1)
    if ident.startswith("PPR"):
        row = _ppr(store).get(ident)
        data = store.pdf(row["doi"].split("/", 1)[1], int(row["version"])) if row and row["license"] else None
        return ranged(data, "application/pdf", request.headers, '"epmc"') if data else not_found(ident)
    return not_found(path)


def _ppr(store: Store) -> dict[str, Row]:
    """Newest version of each preprint by its Europe PMC id."""
    return {_ident(doi): rows[-1] for doi, rows in store.by_doi.items()}


def _ident(doi: str) -> str:
    return f"PPR{100000 + int(hashlib.sha256(doi.encode()).hexdigest()[:6], 16)}"


def _full_text(ident: str, store: Store) -> Reply:
    if ident.startswith("PPR"):
        row = _ppr(store).get(ident)
        return (
            Reply(jats(row).encode(), 200, XML) if row and row["license"].startswith("cc_by") else Reply(b"", 404, XML)
        )
    row = next((r for r in store.articles if r["pmcid"] == ident), None)
    data = article_xml(store, ident) if row and row["open_access"] else None
    return Reply(data, 200, XML) if data else Reply(b"", 404, XML)


def _epmc_search(request: Request, store: Store) -> Reply:
    query = request.query
    wanted, size = query.get("query", ""), query.get("pageSize", "25")
    if not wanted:
        words = "No search criteria provided. Please provide a search criteria which is less than 1500 characters."
        return as_json({"errCode": 404, "errMsg": words})
    if not size.isdigit() or not 1 <= int(size) <= 1000:
        return as_json({"errCode": 404, "errMsg": "Invalid page size provided. Valid size is between 1 and 1000"})
    rows = _epmc_rows(wanted, store, query.get("resultType", "lite"), request.base)
    mark = query.get("cursorMark", "*")
    start = 0 if mark == "*" else int(mark.removeprefix("AoI")) if mark.removeprefix("AoI").isdigit() else 0
    served = rows[start : start + int(size)]
    after = f"AoI{start + len(served)}" if served else mark
    answer: dict[str, object] = {"version": "6.9", "hitCount": len(rows)}
    if after != "*":
        answer["nextCursorMark"] = after
        if served:
            answer["nextPageUrl"] = (
                f"https://www.ebi.ac.uk/europepmc/webservices/rest/search?query={quote(wanted)}&cursorMark={after}"
            )
    answer |= {
        "request": {
            "queryString": wanted,
            "resultType": query.get("resultType", "lite"),
            "cursorMark": mark,
            "pageSize": int(size),
            "sort": "",
            "synonym": False,
        },
        "resultList": {"result": served},
    }
    return as_json(answer)


def _epmc_rows(query: str, store: Store, kind: str, base: str) -> list[Row]:
    dates = re.search(r"FIRST_PDATE:\[(\S+) TO (\S+)\]", query)
    low, high = dates.groups() if dates else ("0000", "9999")
    publisher = re.search(r'PUBLISHER:"?(medRxiv|bioRxiv)"?', query, re.IGNORECASE)
    doi = re.search(r'DOI:"?([^\s")]+)"?', query, re.IGNORECASE)
    groups = [
        re.findall(r'"([^"]+)"|([\w.-]+)', g)
        for g in re.findall(r"\(([^()]*)\)", re.sub(r"\w+:(\"[^\"]*\"|\[[^\]]*\]|\S+)", " ", query))
    ]
    terms = [[(a or b).lower() for a, b in group if (a or b).upper() not in ("OR", "AND")] for group in groups]
    found = []
    for ident, row in sorted(_ppr(store).items(), key=lambda pair: (pair[1]["date"], pair[1]["doi"])):
        first = min(r["date"] for r in store.by_doi[row["doi"]])
        text = (row["title"] + " " + row["abstract"]).lower()
        if not low <= first <= high or (publisher and publisher.group(1).lower() != row["server"].lower()):
            continue
        if (doi and doi.group(1).lower() != row["doi"].lower()) or any(
            g and not any(t in text for t in g) for g in terms
        ):
            continue
        found.append(_epmc_row(ident, row, first, kind))
    return found if "SRC:PPR" in query or doi or publisher else []


def _epmc_row(ident: str, row: Row, first: str, kind: str) -> Row:
    free = row["license"].startswith("cc_by") or row["license"] == "cc0"
    result: Row = {
        "id": ident,
        "source": "PPR",
        "doi": row["doi"],
        "title": row["title"],
        "authorString": row["authors"].replace(";", ","),
        "pubYear": first[:4],
        "pubType": "preprint",
        "bookOrReportDetails": {"publisher": SERVERS[row["server"].lower()], "yearOfPublication": int(first[:4])},
        "isOpenAccess": "Y" if free else "N",
        "inEPMC": "Y" if free else "N",
        "hasPDF": "Y" if free else "N",
        "citedByCount": 0,
        "hasReferences": "N",
        "hasTextMinedTerms": "Y",
        "firstIndexDate": first,
        "firstPublicationDate": first,
    }
    if kind == "core":
        result["abstractText"] = row["abstract"]
        result["versionNumber"] = int(row["version"])
        if row["license"].startswith("cc"):
            result["license"] = row["license"].replace("_", " ", 1).replace("_", "-")
        landing = f"https://doi.org/{row['doi']}"
        urls = [
            {
                "availability": "Subscription required" if not free else "Open access",
                "availabilityCode": "S" if not free else "OA",
                "documentStyle": "doi",
                "site": "DOI",
                "url": landing,
            }
        ]
        if free:
            urls.append(
                {
                    "availability": "Open access",
                    "availabilityCode": "OA",
                    "documentStyle": "pdf",
                    "site": "Europe_PMC",
                    "url": f"https://europepmc.org/api/fulltextRepo?pprId={ident}&type=FILE&fileName=drawn.pdf",
                }
            )
        result["fullTextUrlList"] = {"fullTextUrl": urls}
    return result
