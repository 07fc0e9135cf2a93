"""Open-i: inclusive indices from one, captions with markup, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvest import openi
from harvest.errors import ItemError


def test_open_i_pages_are_inclusive_from_one_and_a_short_page_leaves_no_gap(service, session, answer):
    """Traps 13 and 14."""
    entries = [
        {"uid": f"PMC{n}", "title": "t", "image": {"id": "F1", "caption": "A <b>chest CT</b> &amp; more ."},
         "imgLarge": f"/imgs/512/{n % 401}/{n}/PMC{n}_x-g1.png"} for n in range(1, 251)
    ]  # fmt: skip
    entries[3]["image"]["caption"] = "Not Available."
    del entries[4]["image"], entries[5]["imgLarge"]

    def route(ask):
        first, last = int(ask.query["m"]), int(ask.query["n"])
        served = entries[first - 1 : min(last, first + 79)]  # the service gives fewer than asked
        return answer(json.dumps({"total": 250, "count": len(served), "list": served}).encode())

    service.route = route
    found = [item for page in openi.search(session, service.url, "chest CT", "pmc") for item in page]
    assert [a.query["m"] for a in service.asked] == ["1", "81", "161", "241"]
    assert service.asked[0].query["n"] == "100" and service.asked[0].query["query"] == "chest CT"
    assert len({item.unit for item in found}) == 249  # one has no picture
    assert found[0].caption == "A chest CT & more." and found[3].caption == "" and found[4].caption == ""
    assert found[0].url == f"{service.url}/imgs/512/1/1/PMC1_x-g1.png" and found[0].name == "x-g1"


def test_open_i_with_nothing_and_with_an_error(service, session, answer):
    service.route = lambda ask: answer(b'{"total":0}')
    assert list(openi.search(session, service.url, "x", "pmc")) == []
    service.route = lambda ask: answer(b'{"Query-Error": "Invalid request type."}')
    with pytest.raises(ItemError, match="Invalid request type"):
        list(openi.search(session, service.url, "x", "pmc"))


@pytest.mark.real
def test_the_recorded_open_i_answer(real_data: Path, service, session, answer):
    body = json.loads((real_data / "recorded/openi/search_pmc_trimmed.json").read_text())
    body["total"] = 1
    service.route = lambda ask: answer(json.dumps(body).encode())
    ((item,),) = openi.search(session, service.url, "x", "pmc")
    assert (item.unit, item.name, item.date) == ("PMC4911020", "ipri-34-21.01", "2016-02-05")
    assert item.caption.startswith("CRP in relation to outcome of chest X-ray")
    assert item.url.endswith("/imgs/512/374/4911020/PMC4911020_ipri-34-21.01.png")
