"""Europe PMC in every form it was seen to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvest import europepmc
from harvest.errors import ItemError


def result(n: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"PPR{n}",
        "source": "PPR",
        "doi": f"10.1101/{n}",
        "title": "COVID-19",
        "firstPublicationDate": "2020-02-11",
        "bookOrReportDetails": {"publisher": "medRxiv"},
        "license": "cc by-nc",
        "hasPDF": "Y",
    } | changes


@pytest.mark.parametrize("end", ["repeated", "missing", "empty"])
def test_pages_end_where_the_mark_repeats_is_missing_or_nothing_comes(service, session, answer, end):
    def route(ask):
        mark = ask.query["cursorMark"]
        number = 0 if mark == "*" else int(mark)
        if number >= 3 and end == "empty":
            return answer(b'{"resultList":{"result":[]},"nextCursorMark":"4"}')
        body: dict[str, object] = {
            "resultList": {"result": [result(number)]},
            "nextCursorMark": str(min(number + 1, 3)),
        }
        if number >= 2 and end == "missing":
            del body["nextCursorMark"]
        return answer(json.dumps(body).encode())

    service.route = route
    rows = [
        r for page in europepmc.preprints(session, service.url, "medrxiv", "2020-01-19", "2020-03-25") for r in page
    ]
    assert [r.doi for r in rows][:3] == ["10.1101/0", "10.1101/1", "10.1101/2"]
    assert len(service.asked) <= 4 and rows[0].licence == "cc_by_nc" and rows[0].version == 1


def test_errors_inside_200_of_europe_pmc(service, session, answer):
    service.route = lambda ask: answer(b'{"errCode":404,"errMsg":"Invalid page size provided."}')
    with pytest.raises(ItemError, match="Invalid page size"):
        list(europepmc.search(session, service.url, "x"))
    service.route = lambda ask: answer(b"", 404)
    with pytest.raises(ItemError, match="404"):
        europepmc.full_text(session, service.url, "PMC1")


def test_rows_of_others_are_not_taken(service, session, answer):
    rows = [
        result(1),
        result(2, bookOrReportDetails={"publisher": "Research Square"}),
        result(3, firstPublicationDate="soon"),
        result(4, doi=None),
        result(5, firstPublicationDate="2021-01-01"),
        result(6, versionNumber="3"),
        result(7, bookOrReportDetails=None),
    ]
    service.route = lambda ask: answer(json.dumps({"resultList": {"result": rows}}).encode())
    (found,) = europepmc.preprints(session, service.url, "medrxiv", "2020-01-19", "2020-03-25")
    assert [(r.doi, r.version) for r in found] == [("10.1101/1", 1), ("10.1101/6", 3)]


def test_a_pdf_of_just_this_version_and_of_the_same_site(service, session, answer):
    links = {
        "fullTextUrl": [{"documentStyle": "pdf", "site": "Europe_PMC", "url": "https://europepmc.org/api/x?pprId=PPR1"}]
    }
    entry = result(1, versionNumber=2, fullTextUrlList=links)
    service.route = lambda ask: answer(json.dumps({"resultList": {"result": [entry]}}).encode())
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 2) == f"{service.url}/api/x?pprId=PPR1"
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 1) == ""
    links["fullTextUrl"][0]["url"] = "https://evil.org/x.pdf"
    entry["hasPDF"] = "N"
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 2) == ""


@pytest.mark.real
def test_recorded_europe_pmc_answers(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "europepmc"
    service.route = lambda ask: answer((folder / "search_ppr_lite_trimmed_2026.json").read_bytes())
    pages = europepmc.preprints(session, service.url, "biorxiv", "2026-08-01", "2026-08-31")
    assert [row.doi for row in next(pages)] == ["10.64898/2026.08.20.745440"]
    for line in (folder / "errors.jsonl").read_bytes().splitlines():
        service.route = lambda ask, line=line: answer(line)
        with pytest.raises(ItemError, match="error 404"):
            list(europepmc.search(session, service.url, "x"))


@pytest.mark.parametrize(
    "links", [5, True, "http://x", [5], {"a": 1}, {"documentStyle": "pdf", "site": "Europe_PMC", "url": "http://[x"}]
)
def test_links_of_another_type_are_no_pdf(service, session, answer, links):
    entry = result(1, hasPDF="N", fullTextUrlList={"fullTextUrl": links})
    service.route = lambda ask: answer(json.dumps({"resultList": {"result": [entry]}}).encode())
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 1) == ""
