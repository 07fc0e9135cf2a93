"""E-utilities: history, slices by date, limits and errors inside 200."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from harvest.errors import ItemError
from harvest.eutils import Eutils

DAYS = (datetime.date(2000, 1, 1), datetime.date(2019, 10, 31))


def summaries(ids: list[int]) -> bytes:
    result: dict[str, object] = {"uids": [str(i) for i in ids]}
    result |= {str(i): {"uid": str(i), "title": f"Chest CT {i}", "pubdate": "2015"} for i in ids}
    return json.dumps({"result": result}).encode()


def hits(count: int, **more: object) -> bytes:
    result = {"count": str(count), "retmax": "0", "querykey": "1", "webenv": "MCID_x", "idlist": []} | more
    return json.dumps({"header": {}, "esearchresult": result}).encode()


def test_a_search_is_kept_on_the_history_server_and_paged(service, session, answer):
    def route(ask):
        if "esearch" in ask.path:
            return answer(hits(1200))
        start = int(ask.query["retstart"])
        return answer(summaries(list(range(start, min(start + 500, 1200)))))

    service.route = route
    found = [h for page in Eutils(session, service.url, "me@university.edu").search("ct", *DAYS) for h in page]
    assert len(found) == 1200 and found[7].pmcid == "PMC7" and found[7].title == "Chest CT 7"
    first = service.asked[0].query
    assert first["mindate"] == "2000/01/01" and first["maxdate"] == "2019/10/31" and first["usehistory"] == "y"
    assert {a.query["tool"] for a in service.asked} == {"covidct-harvest"}
    assert {a.query["email"] for a in service.asked} == {"me@university.edu"}
    assert service.asked[1].query["WebEnv"] == "MCID_x" and service.asked[1].query["query_key"] == "1"


def test_a_search_too_long_to_page_through_is_sliced_by_date(service, session, answer):
    asked = []

    def route(ask):
        if "esearch" in ask.path:
            days = (ask.query["mindate"], ask.query["maxdate"])
            asked.append(days)
            return answer(hits(20_000 if len(asked) == 1 else len(asked)))
        return answer(summaries(list(range(len(asked)))))

    service.route = route
    pages = list(Eutils(session, service.url, "").search("ct", *DAYS))
    assert [len(p) for p in pages] == [2, 3]
    assert asked[1][0] == "2000/01/01" and asked[2][1] == "2019/10/31"
    assert datetime.date.fromisoformat(asked[2][0].replace("/", "-")) - datetime.date.fromisoformat(
        asked[1][1].replace("/", "-")
    ) == datetime.timedelta(days=1)


def test_limits_and_errors_inside_200(service, session, answer):
    limit = b'{"error":"API rate limit exceeded","api-key":"192.0.2.1","count":"4","limit":"3"}'
    left = [answer(limit, 429), answer(limit), answer(hits(0, ERROR="Search Backend failed")), answer(hits(0))]
    service.route = lambda ask: left.pop(0)
    assert list(Eutils(session, service.url, "").search("ct", *DAYS)) == []
    service.route = lambda ask: answer(hits(0, ERROR="'retstart' cannot be larger than 9998."))
    with pytest.raises(ItemError, match="9998"):
        list(Eutils(session, service.url, "").search("ct", *DAYS))
    service.route = lambda ask: answer(b'{"error":"API key invalid","api-key":"x"}')
    with pytest.raises(ItemError, match="--api_key"):
        list(Eutils(session, service.url, "", "x").search("ct", *DAYS))


def test_fewer_summaries_than_hits_is_an_error(service, session, answer):
    service.route = lambda ask: answer(hits(10)) if "esearch" in ask.path else answer(summaries([]))
    with pytest.raises(ItemError, match="expected 10 summaries"):
        list(Eutils(session, service.url, "").search("ct", *DAYS))


@pytest.mark.real
def test_recorded_eutils_answers(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "eutils"
    service.route = lambda ask: answer((folder / "esearch_json_history.json").read_bytes())
    assert Eutils(session, service.url, "").count("x", *DAYS) == (
        28198,
        {"WebEnv": "MCID_6a9fbe6de7945a8899092570", "query_key": "1"},
    )
    service.route = lambda ask: answer((folder / "esearch_json_retstart_error.json").read_bytes())
    with pytest.raises(ItemError, match="cannot be larger than 9998"):
        Eutils(session, service.url, "").count("x", *DAYS)
    left = [answer((folder / "error_429.json").read_bytes(), 429), answer(hits(5))]
    service.route = lambda ask: left.pop(0)
    assert Eutils(session, service.url, "").count("x", *DAYS)[0] == 5
