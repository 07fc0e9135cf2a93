"""Stage pmc: chest CTs that are not COVID, by every route, with licence and provenance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest.articles import Services, fetch_article
from harvest.errors import ItemError
from harvest.pmc import SCHEMA, app, search_openi
from harvest.records import Figure, read_jsonl
from harvest.sample.serve import Fault, StandIn
from harvest.store import Store


def call(out: Path, url: str, *more: str):
    """The stage's command line in this process."""
    words = ["--out", str(out), "--eutils", f"{url}/eutils", "--bucket", f"{url}/pmc-s3", "--europepmc", f"{url}/epmc"]
    return CliRunner().invoke(app, [*words, "--openi", f"{url}/openi", "--spacing", "0", *more])


def figures(out: Path) -> list[Figure]:
    return list(read_jsonl(out / "figures.jsonl", Figure))


def reasons(path: Path) -> dict[str, str]:
    return {row["item"]: row["reason"] for row in map(json.loads, path.read_text().splitlines())}


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


@pytest.mark.parametrize("media", [5, True, {"a": 1}, "s3://x/PMC1.1/f1.jpg"])
def test_metadata_of_another_type_sends_to_europe_pmc(service, session, answer, media):
    said = {"pmcid": "PMC1", "xml_url": "s3://x/PMC1.1/PMC1.1.xml", "media_urls": media}

    def route(ask):
        if "list-type" in ask.query:
            prefix = b"<CommonPrefixes><Prefix>PMC1.1/</Prefix></CommonPrefixes>"
            return answer(b"<ListBucketResult>" + prefix + b"</ListBucketResult>")
        return answer(json.dumps(said).encode() if "metadata" in ask.path else b"<article/>")

    service.route = route
    with pytest.raises(ItemError, match="expected a list of media_urls"):
        fetch_article(session, Services(service.url, service.url, "", service.url), "PMC1")
    assert fetch_article(session, Services(service.url, service.url, service.url, service.url), "PMC1")[2] == []
    assert service.paths()[-1] == "/PMC1/fullTextXML"


def test_a_figure_credited_to_others_is_not_the_articles_to_license_by_open_i_either(
    service, session, answer, tmp_path
):
    entries = [
        {
            "imgLarge": f"/imgs/512/1/2/PMC{n}_f.png",
            "title": "Sarcoidosis",
            "licenseType": "by",
            "image": {"caption": text},
        }
        for n, text in ((1, "Axial chest CT."), (2, "Axial chest CT. Courtesy of Dr. Smith."))
    ]
    service.route = lambda ask: answer(
        json.dumps({"total": 2, "list": entries if ask.query["m"] == "1" else []}).encode()
    )
    store = Store(tmp_path, SCHEMA)
    search_openi(session, store, Services("", "", "", service.url), "chest CT", 0)
    records = [json.loads(row["record"]) for row in store.db.execute("SELECT record FROM figure ORDER BY figure_id")]
    assert [record["licence"] for record in records] == ["cc_by", "reproduced"]
    store.close()
