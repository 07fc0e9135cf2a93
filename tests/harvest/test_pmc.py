"""PubMed Central: search, bucket, Open-i, and the stage over all of them."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest import bucket, openi
from harvest.errors import ItemError
from harvest.eutils import Eutils
from harvest.pmc import app
from harvest.records import Figure, read_jsonl
from harvest.sample.serve import Fault, StandIn

DAYS = (datetime.date(2000, 1, 1), datetime.date(2019, 10, 31))


def call(out: Path, url: str, *more: str):
    """The stage's command line in this process."""
    words = ["--out", str(out), "--eutils", f"{url}/eutils", "--bucket", f"{url}/pmc-s3", "--europepmc", f"{url}/epmc"]
    return CliRunner().invoke(app, [*words, "--openi", f"{url}/openi", "--spacing", "0", *more])


def figures(out: Path) -> list[Figure]:
    return list(read_jsonl(out / "figures.jsonl", Figure))


def reasons(path: Path) -> dict[str, str]:
    return {row["item"]: row["reason"] for row in map(json.loads, path.read_text().splitlines())}


# -- E-utilities -----------------------------------------------------------------------------------------------------


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


# -- bucket ----------------------------------------------------------------------------------------------------------


def listing(*prefixes: str, token: str = "") -> bytes:
    body = "".join(f"<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>" for p in prefixes)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{body}{more}</ListBucketResult>'.encode()


def test_the_newest_version_is_a_number_over_all_pages(service, session, answer):
    def route(ask):
        if ask.query.get("continuation-token") == "t":
            return answer(listing("PMC7.10/", "PMC70.99/"), type="application/xml")
        return answer(listing("PMC7.2/", "PMC7.9/", token="t"), type="application/xml")

    service.route = route
    assert bucket.newest(session, service.url, "PMC7") == "PMC7.10"
    assert service.asked[0].query == {"list-type": "2", "prefix": "PMC7.", "delimiter": "/"}
    service.route = lambda ask: answer(listing(), type="application/xml")
    assert bucket.newest(session, service.url, "PMC8") == ""


def test_objects_of_the_metadata():
    md5 = "99210445a56f3315af7e95797556bd6b"
    found = bucket.object_of("http://b", f"s3://pmc-oa-opendata/PMC1.1/a b.jpg?md5={md5}")
    assert found == bucket.Object("http://b/PMC1.1/a%20b.jpg", md5, "a b.jpg")
    assert bucket.object_of("http://b", None) is None and bucket.object_of("http://b", "...") is None
    assert bucket.object_of("http://b", "s3://x/../../etc/passwd") is None
    objects = [bucket.Object("", "", name) for name in ("g1.gif", "g1.jpg", "g10.jpg", "g1.jpg.txt", "G2.TIF")]
    assert bucket.picture(objects, "g1") == objects[1] and bucket.picture(objects, "g1.gif") == objects[1]
    assert bucket.picture(objects, "g2") == objects[4] and bucket.picture(objects, "g3") is None


@pytest.mark.real
def test_recorded_bucket_answers(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "pmc_cloud"
    for name, pmcid, expected in (
        ("list_none.xml", "PMC99999999999", ""),
        ("list_one.xml", "PMC12855588", "PMC12855588.1"),
        ("list_two_versions.xml", "PMC11370360", "PMC11370360.2"),
    ):
        service.route = lambda ask, name=name: answer((folder / name).read_bytes(), type="application/xml")
        assert bucket.newest(session, service.url, pmcid) == expected
    service.route = lambda ask: answer((folder / "metadata_PMC12855588.1_trimmed.json").read_bytes())
    metadata = bucket.metadata(session, service.url, "PMC12855588.1")
    found = bucket.object_of("http://b", metadata["xml_url"])
    assert found is not None and found.md5 == "99210445a56f3315af7e95797556bd6b"


# -- Open-i ----------------------------------------------------------------------------------------------------------


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


# -- the stage -------------------------------------------------------------------------------------------------------


def truth(corpus: Path) -> dict[str, dict]:
    rows = map(json.loads, (corpus / "truth" / "others.jsonl").read_text().splitlines())
    return {f"{r['document']}-{Path(r['file']).stem}": r for r in rows if r["source"] == "pmc"}


def test_chest_cts_that_are_not_covid_with_licence_and_provenance(negatives, tmp_path):
    with StandIn(negatives) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 0, result.output
    drawn = truth(negatives)
    found = {f.figure_id: f for f in figures(tmp_path / "out")}
    for figure_id, figure in found.items():
        if figure_id in drawn and ".2/" not in figure.url:  # truth is of first versions
            assert drawn[figure_id]["kind"] == "ct" and not any(p["label"] for p in drawn[figure_id]["panels"])
            assert drawn[figure_id]["caption"].split()[-1] in figure.caption
        assert (figure.pixels, figure.source, figure.document_type) == ("given", "pmc", "article")
        assert figure.url.startswith("https://pmc-oa-opendata.s3.amazonaws.com/PMC")
        data = (tmp_path / "out" / figure.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == figure.sha256 and figure.width > 0
    left = reasons(tmp_path / "out" / "excluded.jsonl")
    assert "retracted" in left.values()
    entries = json.loads((negatives / "server" / "articles.json").read_text())
    allowed = {e["pmcid"] for e in entries if e["open_access"] and "covid" not in e["title"].lower()} - set(left)
    wanted = {i for i, r in drawn.items() if r["kind"] == "ct" and r["document"] in allowed}
    assert wanted <= set(found) and {f.document_id for f in found.values()} <= allowed
    assert {f.licence for f in found.values()} >= {"cc_by", "cc_by_nc"}
    assert any(f.mentions for f in found.values())


def test_covid_is_refused_even_when_the_search_gives_it(negatives, tmp_path):
    with StandIn(negatives) as server:
        words = ["--until", "2021-12-31", "--routes", "bucket", "--term", '"chest CT" OR "CT"']
        assert call(tmp_path / "out", server.url, *words).exit_code == 0
    entries = json.loads((negatives / "server" / "articles.json").read_text())
    covid = {e["pmcid"] for e in entries if "covid" in e["title"].lower()}
    assert covid and not covid & {f.document_id for f in figures(tmp_path / "out")}
    left = reasons(tmp_path / "out" / "excluded.jsonl")
    assert all(left[pmcid] == "speaks of COVID-19" for pmcid in covid)
    assert any("text mining only" in reason for reason in left.values())


def test_open_i_alone(negatives, tmp_path):
    with StandIn(negatives) as server:
        assert call(tmp_path / "out", server.url, "--routes", "openi").exit_code == 0
        assert not any("/eutils" in a.path or "/pmc-s3" in a.path for a in server.log)
    found = figures(tmp_path / "out")
    assert found and all(f.url.startswith("https://openi.nlm.nih.gov/imgs/512/") and f.licence for f in found)
    assert all(f.width <= 512 for f in found)


def test_europe_pmc_where_the_bucket_fails(negatives, tmp_path):
    with StandIn(negatives, faults=[Fault(r"^/pmc-s3/", "status", status=404)]) as server:
        result = call(tmp_path / "out", server.url, "--routes", "bucket")
    assert result.exit_code == 0, result.output
    found = figures(tmp_path / "out")
    assert found and all(f.url.startswith("https://europepmc.org/articles/PMC") for f in found)


def test_open_i_where_the_search_fails(negatives, tmp_path):
    with StandIn(negatives, faults=[Fault(r"^/eutils", "status", status=500)]) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 0 and figures(tmp_path / "out")
        assert "route bucket" in reasons(tmp_path / "out" / "failed.jsonl")
        server.faults.append(Fault(r"^/openi", "status", status=404))
        result = call(tmp_path / "two", server.url)
    assert result.exit_code == 1 and "no route gave a listing" in result.stderr
    assert "127.0.0.1" not in (tmp_path / "out" / "failed.jsonl").read_text()


def test_changed_bytes_are_noticed_by_their_md5(negatives, tmp_path):
    with StandIn(negatives, faults=[Fault(r"^/pmc-s3/.*\.(jpg|xml)", "garble", times=3)]) as server:
        assert call(tmp_path / "out", server.url, "--routes", "bucket").exit_code == 0
    assert reasons(tmp_path / "out" / "failed.jsonl") == {}
    for figure in figures(tmp_path / "out"):
        name = figure.url.rsplit("/", 2)
        served = (negatives / "server" / "pmc" / name[1] / name[2]).read_bytes()
        assert (tmp_path / "out" / figure.file).read_bytes() == served


def test_a_picture_that_is_none_is_a_failure(negatives, tmp_path):
    with StandIn(negatives, faults=[Fault(r"^/pmc-s3/.*g001\.jpg", "html")]) as server:
        result = call(tmp_path / "out", server.url, "--routes", "bucket", "--limit", "3")
    assert result.exit_code in (0, 1)
    assert all("expected" in reason for reason in reasons(tmp_path / "out" / "failed.jsonl").values())
    assert not any(f.figure_id.endswith("g001") for f in figures(tmp_path / "out"))


def test_a_second_run_asks_only_for_the_listing_and_gives_the_same_bytes(negatives, tmp_path):
    with StandIn(negatives, page_keys=1) as server:
        call(tmp_path / "out", server.url)
        first = {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
        server.log.clear()
        call(tmp_path / "out", server.url)
        assert not any("/pmc-s3" in a.path for a in server.log)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == first


def test_settings_that_cannot_work(tmp_path, service):
    assert call(tmp_path / "out", service.url, "--routes", "ftp").exit_code == 2
    assert call(tmp_path / "out", service.url, "--since", "2020-01-01").exit_code == 2
    live = CliRunner().invoke(app, ["--out", str(tmp_path / "out")])
    assert live.exit_code == 2 and "--contact" in live.stderr
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "off"), "--no-enabled"]).exit_code == 0
    assert figures(tmp_path / "off") == []
