"""The stand-in answers in the services' own forms, fails as they fail, and logs what arrived."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pymupdf
import pytest
import requests
from defusedxml import ElementTree

from harvest.errors import ItemError
from harvest.meca import describe_archive
from harvest.sample.corpus import write_corpus
from harvest.sample.plan import Size
from harvest.sample.serve import Fault, StandIn, main
from harvest.sample.store import StoreError

WINDOW = "2020-01-19/2020-03-25"
SIZE = Size(ct_preprints=2, other_preprints=1, rows=70, articles=8, cases=6, volumes=0, release=0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("served")
    write_corpus(out, 5, SIZE, parts=("preprints", "pmc", "medpix"))
    return out


@pytest.fixture(scope="module")
def server(corpus: Path):
    with StandIn(corpus) as running:
        yield running


def get(server: StandIn, path: str, **options) -> requests.Response:
    return requests.get(server.url + path, timeout=20, **options)


@pytest.mark.parametrize("page_size", [30, 100])
def test_listing_pages_by_absolute_cursor(corpus: Path, page_size: int) -> None:
    with StandIn(corpus, page_size=page_size, surplus=31) as server:
        cursor, seen = 0, []
        while True:
            answer = get(server, f"/api.biorxiv.org/details/medrxiv/{WINDOW}/{cursor}/json").json()
            if not answer["collection"]:
                assert answer["messages"][0]["status"] == "no posts found"
                break
            message = answer["messages"][0]
            assert message["count"] == len(answer["collection"]) <= page_size
            assert isinstance(message["total"], str) and isinstance(message["cursor"], int if cursor == 0 else str)
            seen += [(r["doi"], r["version"]) for r in answer["collection"]]
            cursor += message["count"]
        assert len(seen) == len(set(seen)) > 30
        assert int(message["total"]) == len(seen) + 31, "total promises more than is served"


def test_listing_in_the_older_form(corpus: Path) -> None:
    with StandIn(corpus, numbers="2018") as server:
        message = get(server, f"/api.biorxiv.org/details/biorxiv/{WINDOW}/0").json()["messages"][0]
    assert isinstance(message["total"], int) and message["cursor"] == "0" and "category" not in message


def test_api_errors_come_with_status_200(server: StandIn) -> None:
    base = "/api.biorxiv.org/details"
    nothing = get(server, f"{base}/medrxiv/10.1101/2020.01.01.1/na/json")
    assert (nothing.status_code, len(nothing.content)) == (200, 67)
    unknown = get(server, f"{base}/notaserver/{WINDOW}/0")
    assert (unknown.status_code, len(unknown.content)) == (200, 74)
    assert unknown.json()["messages"][0]["status"] == "Server not recognized"
    long = get(server, f"{base}/biorxiv/2013-01-01/2026-09-01/0")
    assert (long.status_code, long.content) == (200, b"")
    assert get(server, f"{base}/medrxiv/10d").status_code == 500
    assert get(server, "/api.biorxiv.org/covid19/0/json").content == b""
    pubs = get(server, "/api.biorxiv.org/pubs/medrxiv/10.1101/x/na/json").json()
    assert pubs["messages"][0]["status"].startswith("no articles found")


def test_unknown_category_is_ignored_silently(server: StandIn) -> None:
    base = f"/api.biorxiv.org/details/medrxiv/{WINDOW}/0"
    odd = get(server, base, params={"category": "quantum_gravity"}).json()
    assert odd["messages"][0]["category"] == "all" and odd["collection"]
    known = get(server, base, params={"category": "genetics"}).json()
    assert known["messages"][0]["category"] == "genetics"
    assert {r["category"] for r in known["collection"]} == {"genetics"}


def test_doi_gives_all_versions_at_its_own_server_only(server: StandIn) -> None:
    row = next(r for r in server.store.rows if r["version"] == "2" and r["server"] == "bioRxiv")
    own = get(server, f"/api.biorxiv.org/details/biorxiv/{row['doi']}/na/json").json()
    assert [r["version"] for r in own["collection"]][:2] == ["1", "2"]
    assert get(server, f"/api.biorxiv.org/details/medrxiv/{row['doi']}/na/json").json()["collection"] == []


def test_pdf_with_range_and_latest_version(server: StandIn) -> None:
    row = next(r for r in server.store.rows if r["version"] == "2" and r["server"] == "medRxiv")
    url = f"/www.medrxiv.org/content/{row['doi']}"
    whole = get(server, f"{url}v2.full.pdf")
    assert whole.headers["Content-Type"] == "application/pdf" and whole.content[:5] == b"%PDF-"
    latest = get(server, f"{url}.full.pdf")
    newest = max(int(r["version"]) for r in server.store.rows if r["doi"] == row["doi"])
    assert latest.content == get(server, f"{url}v{newest}.full.pdf").content
    part = get(server, f"{url}v2.full.pdf", headers={"Range": "bytes=1000-"})
    assert part.status_code == 206 and part.content == whole.content[1000:]
    assert part.headers["Content-Range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    stale = get(server, f"{url}v2.full.pdf", headers={"Range": "bytes=1000-", "If-Range": '"other"'})
    assert stale.status_code == 200
    past = get(server, f"{url}v2.full.pdf", headers={"Range": f"bytes={len(whole.content)}-"})
    assert past.status_code == 416
    assert get(server, f"/www.biorxiv.org/content/{row['doi']}v2.full.pdf").status_code == 404
    assert get(server, f"{url}v99.full.pdf").status_code == 404
    assert get(server, f"/content/{row['doi']}v2.full.pdf").content == whole.content, "one address for both servers"


def test_pages_of_the_site(server: StandIn) -> None:
    row = server.store.rows[0]
    host = f"www.{row['server'].lower()}.org"
    landing = get(server, f"/{host}/content/{row['doi']}v{row['version']}")
    assert "citation_pdf_url" in landing.text
    assert "Disallow: /search/" in get(server, f"/{host}/robots.txt").text
    jats = get(server, f"/{host}/" + row["jatsxml"].split("/", 3)[3])
    assert ElementTree.fromstring(jats.content).tag == "article"
    hits = get(server, f"/{host}/search/{quote('mice')}").text
    assert hits.count("highwire-cite-title") == 2 * hits.count("data-pisa-master"), "title spans are nested twice"
    assert hits.count('class="nlm-surname"') >= hits.count("data-pisa-master") > 0
    assert "No Results" in get(server, f"/{host}/search/abcxyz").text
    assert "pager-next" not in get(server, f"/{host}/search/{quote('mice')}?page=99").text
    folder = row["jatsxml"].split("/", 3)[3].removesuffix(".source.xml")
    figure = get(server, f"/{host}/{folder}/F1.large.jpg")
    assert figure.headers["Content-Type"] == "image/jpeg" and figure.content[:3] == b"\xff\xd8\xff"
    assert get(server, f"/{host}/{folder}/F9.large.jpg").status_code == 404


def test_faults_then_success(corpus: Path) -> None:
    faults = [
        Fault(r"/content/", "challenge", times=1),
        Fault(r"/content/", "limit", times=1, retry_after="7"),
        Fault(r"/content/", "html", times=1),
        Fault(r"/content/", "cut", times=1),
        Fault(r"/details/", "status", times=2),
        Fault(r"/details/", "empty", times=1),
        Fault(r"/details/", "text", times=1),
        Fault(r"/eutils/", "reset", times=1),
        Fault(r"/eutils/", "ncbi-limit", times=1),
        Fault(r"/pmc-s3/PMC", "garble", times=1),
    ]
    with StandIn(corpus, faults=faults) as server:
        row = server.store.rows[0]
        pdf = f"/www.{row['server'].lower()}.org/content/{row['doi']}v{row['version']}.full.pdf"
        page = get(server, pdf)
        assert page.status_code == 403 and len(page.content) == 6238 and b"Just a moment..." in page.content
        limit = get(server, pdf)
        assert (limit.status_code, limit.content, limit.headers["Retry-After"]) == (429, b"error code: 1015", "7")
        html = get(server, pdf)
        assert html.status_code == 200 and html.headers["Content-Type"].startswith("text/html")
        with pytest.raises(requests.exceptions.RequestException):
            requests.get(server.url + pdf, timeout=5).raise_for_status()
        assert get(server, pdf).content[:5] == b"%PDF-"
        listing = f"/api.biorxiv.org/details/medrxiv/{WINDOW}/0"
        assert [get(server, listing).status_code for _ in range(2)] == [503, 503]
        assert get(server, listing).content == b""
        assert get(server, listing).text == "Error : (2002) Connection refused"
        assert get(server, listing).json()["collection"]
        with pytest.raises(requests.exceptions.ConnectionError):
            get(server, "/eutils/esearch.fcgi?db=pmc&term=ct")
        assert get(server, "/eutils/esearch.fcgi?db=pmc&term=ct").json()["limit"] == "3"
        key = next(k for k in server.store.bucket if k.endswith(".jpg"))
        bad, good = get(server, f"/pmc-s3/{key}"), get(server, f"/pmc-s3/{key}")
        assert hashlib.md5(bad.content).hexdigest() != hashlib.md5(good.content).hexdigest()
        assert good.headers["ETag"] == f'"{hashlib.md5(good.content).hexdigest()}"'


def test_always_failing_slow_and_huge(corpus: Path) -> None:
    faults = {
        "/medpix/": "status",
        "/openi/": {"kind": "slow", "seconds": 0.3},
        r"\.full\.pdf": {"kind": "huge"},
        "skipped": {"kind": "status", "skip": 1, "times": 1},
    }
    with StandIn(corpus, faults=faults) as server:
        assert {get(server, "/medpix/rest/caseofweek/list").status_code for _ in range(4)} == {503}
        begin = time.monotonic()
        get(server, "/openi/api/search?query=ct")
        assert time.monotonic() - begin >= 0.3
        row = server.store.rows[0]
        with get(server, f"/content/{row['doi']}v{row['version']}.full.pdf", stream=True) as huge:
            assert int(huge.headers["Content-Length"]) == 10 * 1024**3
        assert [get(server, "/api.biorxiv.org/skipped").status_code for _ in range(3)] == [404, 503, 404]
    with pytest.raises(ValueError, match="kind of fault"):
        Fault("/", "no such fault")


def test_arrivals_are_logged_in_time(corpus: Path) -> None:
    with StandIn(corpus) as server:
        for _ in range(2):
            get(server, "/www.medrxiv.org/robots.txt", headers={"User-Agent": "me (mail@example.org)"})
            time.sleep(0.05)
        assert [a.status for a in server.log] == [200, 200]
        assert server.log[0].agent.startswith("me ")
        assert server.spacing("www.medrxiv.org")[0] >= 0.05


def test_parallel_clients_get_their_own_answers(server: StandIn) -> None:
    rows = server.store.rows[:24]
    wrong: list[str] = []

    def ask(row: dict) -> None:
        answer = get(server, f"/api.biorxiv.org/details/{row['server'].lower()}/{row['doi']}/na/json").json()
        if answer["collection"][0]["doi"] != row["doi"]:
            wrong.append(row["doi"])

    threads = [threading.Thread(target=ask, args=(r,)) for r in rows]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_entrez_search_history_and_errors(server: StandIn) -> None:
    base = "/eutils/esearch.fcgi?db=pmc"
    term = quote('("chest ct" OR "computed tomography") AND ("2000"[PDAT] : "2019/10/31"[PDAT]) NOT (covid-19)')
    found = get(server, f"{base}&term={term}&usehistory=y&retmode=json&retmax=2").json()["esearchresult"]
    assert len(found["idlist"]) == 2 and int(found["count"]) > 2 and not found["idlist"][0].startswith("PMC")
    whole = get(server, f"/eutils/esummary.fcgi?db=pmc&WebEnv={found['webenv']}&query_key={found['querykey']}"
                        "&retmode=json&version=2.0").json()["result"]  # fmt: skip
    assert len(whole["uids"]) == int(found["count"])
    text = get(server, f"/eutils/esummary.fcgi?db=pmc&WebEnv={found['webenv']}&query_key={found['querykey']}").content
    assert [e.get("uid") for e in ElementTree.fromstring(text).iter("DocumentSummary")] == whole["uids"]
    none = get(server, f"{base}&term=abcXYZ")
    root = ElementTree.fromstring(none.content)
    assert root.findtext("Count") == "0" and root.findtext("ErrorList/PhraseNotFound") == "abcxyz"
    assert none.headers["x-ratelimit-limit"] == "3"
    assert get(server, f"{base}&term=ct&api_key=k").headers["x-ratelimit-limit"] == "10"
    late = get(server, f"{base}&term=ct&retmode=json&retstart=9999").json()["esearchresult"]
    assert "retstart" in late["ERROR"]
    assert get(server, f"{base}&term={'x' * 9000}").status_code == 414
    day = get(server, f"{base}&term=ct&datetype=pdat&mindate=2030/01/01&maxdate=2030/02/01").content
    assert ElementTree.fromstring(day).findtext("Count") == "0"


def test_entrez_fetch_hides_the_text_of_closed_articles(server: StandIn) -> None:
    closed = next(a["pmcid"][3:] for a in server.store.articles if not a["open_access"])
    opened = next(a["pmcid"][3:] for a in server.store.articles if a["open_access"])
    text = get(server, f"/eutils/efetch.fcgi?db=pmc&id={closed}&retmode=xml").text
    assert "does not allow downloading" in text and "<body>" not in text
    assert "<body>" in get(server, f"/eutils/efetch.fcgi?db=pmc&id={opened}&retmode=xml").text


def test_entrez_limit_is_enforced_when_asked_for(corpus: Path) -> None:
    with StandIn(corpus, enforce_limits=True) as server:
        codes = [get(server, "/eutils/esearch.fcgi?db=pmc&term=ct").status_code for _ in range(6)]
    assert codes[:3] == [200, 200, 200] and 429 in codes[3:]


def test_bucket_lists_versions_and_pages(corpus: Path) -> None:
    space = {"s": "http://s3.amazonaws.com/doc/2006-03-01/"}
    with StandIn(corpus, page_keys=1) as server:
        two = next(k.split(".")[0] for k in server.store.bucket if k.split("/")[0].endswith(".2"))
        first = ElementTree.fromstring(get(server, f"/pmc-s3/?list-type=2&prefix={two}.&delimiter=/").content)
        assert first.findtext("s:IsTruncated", namespaces=space) == "true"
        token = first.findtext("s:NextContinuationToken", namespaces=space)
        second = ElementTree.fromstring(
            get(server, f"/pmc-s3/?list-type=2&prefix={two}.&delimiter=/&continuation-token={token}").content
        )
        prefixes = [e.text for r in (first, second) for e in r.findall("s:CommonPrefixes/s:Prefix", space)]
        assert prefixes == [f"{two}.1/", f"{two}.2/"]
        none = ElementTree.fromstring(get(server, "/pmc-s3/?list-type=2&prefix=PMC99999999999.&delimiter=/").content)
        assert none.findtext("s:KeyCount", namespaces=space) == "0"
        missing = get(server, "/pmc-s3/PMC1.1/PMC1.1.xml")
        assert missing.status_code == 404 and b"NoSuchKey" in missing.content


def test_oa_service_gives_one_or_two_links_and_spans_with_a_token(corpus: Path) -> None:
    with StandIn(corpus, page_keys=2) as server:
        opened = [a["pmcid"] for a in server.store.articles if a["open_access"]]
        counts = {}
        for ident in opened:
            records = ElementTree.fromstring(get(server, f"/oa/oa.fcgi?id={ident}").content).find("records")
            assert records is not None
            links = records.findall("record/link")
            assert records.get("returned-count") == str(len(links)) and links[0].get("format") == "tgz"
            counts[len(links)] = links[-1].get("href", "")
        assert set(counts) == {1, 2}
        assert get(server, "/oa/" + counts[2].split("/", 3)[3]).content[:5] == b"%PDF-"
        seen, query = [], "from=2000-01-01&until=2030-01-01 00:00:00"
        while query:
            root = ElementTree.fromstring(get(server, f"/oa/oa.fcgi?{query}").content)
            found = [r.get("id") for r in root.findall("records/record")]
            assert 0 < len(found) <= 2
            seen += found
            link = root.find("records/resumption/link")
            query = "" if link is None else f"resumptionToken={link.get('token')}"
        assert sorted(seen) == sorted(opened)
        assert b"badArgument" in get(server, "/oa/oa.fcgi?from=yesterday").content
        assert b"badResumptionToken" in get(server, "/oa/oa.fcgi?resumptionToken=x").content


def test_oa_service_and_its_package(server: StandIn) -> None:
    closed = next(a["pmcid"] for a in server.store.articles if not a["open_access"])
    opened = next(a["pmcid"] for a in server.store.articles if a["open_access"])
    assert b'code="idIsNotOpenAccess"' in get(server, f"/oa/oa.fcgi?id={closed}").content
    assert b'code="idDoesNotExist"' in get(server, "/oa/oa.fcgi?id=PMC1").content
    record = ElementTree.fromstring(get(server, f"/oa/oa.fcgi?id={opened}").content)
    link = record.find("records/record/link")
    assert link is not None
    href = link.get("href", "")
    assert href.startswith("ftp://")
    data = get(server, "/oa/" + href.split("/", 3)[3]).content
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        names = package.getnames()
    assert f"{opened}/{opened}.nxml" in names and any(n.endswith(".jpg") for n in names)


def test_bioc_misses_with_status_200(server: StandIn) -> None:
    base = "/www.ncbi.nlm.nih.gov/research/bionlp/RESTful/pmcoa.cgi/BioC_json"
    miss = get(server, f"{base}/PMC1/unicode")
    assert miss.status_code == 200 and miss.text.startswith("[Error] : No result can be found.")
    opened = next(a["pmcid"] for a in server.store.articles if a["open_access"])
    assert get(server, f"{base}/{opened}/unicode").json()[0]["documents"][0]["id"] == opened[3:]


def test_europe_pmc_search_and_full_text(server: StandIn) -> None:
    query = quote('SRC:PPR AND PUBLISHER:"medRxiv" AND FIRST_PDATE:[2020-01-19 TO 2020-03-25]')
    base = f"/epmc/search?query={query}&resultType=core&format=json&pageSize=7"
    mark, seen = "*", []
    while True:
        answer = get(server, f"{base}&cursorMark={mark}").json()
        seen += [r["doi"] for r in answer["resultList"]["result"]]
        if not answer["resultList"]["result"] or answer["nextCursorMark"] == mark:
            break
        mark = answer["nextCursorMark"]
    assert len(seen) == len(set(seen)) == answer["hitCount"] > 7
    assert get(server, "/epmc/search?query=").json()["errCode"] == 404
    assert "page size" in get(server, f"/epmc/search?query={query}&pageSize=5000").json()["errMsg"]
    empty = get(server, "/epmc/PMC1/fullTextXML")
    assert (empty.status_code, empty.content) == (404, b"")
    opened = next(a["pmcid"] for a in server.store.articles if a["open_access"])
    assert get(server, f"/epmc/{opened}/fullTextXML").content.startswith(b"<?xml")
    key = next(k for k in server.store.bucket if k.startswith(f"{opened}.") and k.endswith(".jpg"))
    name = key.split("/")[1]
    assert get(server, f"/europepmc.org/articles/{opened}/bin/{name}").content[:3] == b"\xff\xd8\xff"


def test_europe_pmc_serves_pdfs_of_free_preprints(server: StandIn) -> None:
    free = next(r for r in server.store.rows if r["license"] == "cc_by")
    answer = get(server, f"/epmc/search?query=DOI:{quote(free['doi'])}&resultType=core&format=json").json()
    row = answer["resultList"]["result"][0]
    assert row["license"] == "cc by"
    url = next(u["url"] for u in row["fullTextUrlList"]["fullTextUrl"] if u["documentStyle"] == "pdf")
    pdf = get(server, "/europepmc.org/" + url.split("/", 3)[3])
    assert pdf.content[:5] == b"%PDF-"


def test_openi_ranges_are_inclusive_and_one_based(server: StandIn) -> None:
    base = "/openi/api/search?query=chest&coll=mpx&it=c"
    whole = get(server, f"{base}&m=1&n=100").json()
    halves = [get(server, f"{base}&m={m}&n={n}").json()["list"] for m, n in ((1, 3), (4, 100))]
    assert [i["image"]["id"] for h in halves for i in h] == [i["image"]["id"] for i in whole["list"]]
    assert len(halves[0]) == 3
    assert get(server, f"{base}&it=zz").json() == {"Query-Error": "Invalid request type."}
    assert get(server, "/openi/api/search?query=covid&coll=pmc").json() == {"total": 0}
    for item in (whole["list"][0], get(server, "/openi/api/search?query=chest&coll=pmc&it=c").json()["list"][0]):
        data = get(server, "/openi" + item["imgLarge"]).content
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert data[:4] == b"\x89PNG" and picture.shape[1] <= 512
    pmc = get(server, "/openi/api/search?query=chest&coll=pmc&it=c").json()["list"]
    assert any("<b>" in i["image"]["caption"] for i in pmc)


def test_medpix_calls_and_placeholder(server: StandIn) -> None:
    listed = {c["encounterID"] for letter in "abcdefghijklmnopqrstuvwxyz"
              for c in get(server, f"/medpix/rest/encounter/diagnosis.json?diagnosis={letter}").json()}  # fmt: skip
    assert len(listed) == SIZE.cases
    missing = 0
    for ident in listed:
        case = get(server, f"/medpix/rest/encounter.json?encounterID={ident}").json()
        assert get(server, f"/medpix/rest/topic.json?topicID={case['topicID']}").json()["title"]
        for image in case["imageList"]:
            answer = get(server, "/medpix" + image["imageURL"])
            assert answer.status_code == 200
            missing += len(answer.content) == 6168
    assert missing == 1
    placeholder = get(server, "/medpix/images/full/synpic0.jpg").content
    assert cv2.imdecode(np.frombuffer(placeholder, np.uint8), 1) is not None
    assert get(server, "/medpix/rest/encounter.json?encounterID=x").json()["error"]


def test_tdm_bucket_needs_the_payer_and_can_be_hostile(corpus: Path) -> None:
    with StandIn(corpus, hostile=True) as server:
        listing = "/medrxiv-src-monthly/?list-type=2&prefix=Current_Content/"
        assert get(server, listing).status_code == 403
        payer = {"x-amz-request-payer": "requester"}
        root = ElementTree.fromstring(get(server, listing, headers=payer).content)
        keys = [e.text for e in root.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]
        assert keys
        answers = (get(server, f"/medrxiv-src-monthly/{k}", headers=payer) for k in keys)
        (corpus.parent / "evil.meca").write_bytes(next(r.content for r in answers if r.status_code == 200))
        book = zipfile.ZipFile(corpus.parent / "evil.meca")
        assert "manifest.xml" in book.namelist() and any(n.startswith("..") for n in book.namelist())
        assert any(n.startswith("content/") and n.endswith(".pdf") for n in book.namelist())
        with pytest.raises(ItemError, match="inside the archive's folder"):
            describe_archive(corpus.parent / "evil.meca")
    with StandIn(corpus) as server:
        versions = set()
        for key in keys:
            answer = get(server, f"/medrxiv-src-monthly/{key}", headers=payer)
            if answer.status_code == 200:
                (corpus.parent / "one.meca").write_bytes(answer.content)
                doi, version, _ = describe_archive(corpus.parent / "one.meca")
                assert any((r["doi"], r["version"]) == (doi, str(version)) for r in server.store.rows)
                versions.add((doi, version))
        assert len(versions) > 1


def test_synthetic_listing_for_benchmarks() -> None:
    with StandIn.synthetic(rows=200, pdfs=76, pdf_bytes=5000, page_size=100) as server:
        rows = server.store.rows
        assert len(rows) == 200 and len({r["doi"] for r in rows}) == 200
        covid = [r for r in rows if "COVID" in r["title"]]
        assert len(covid) == 76
        assert all("2020-01-19" <= r["date"] <= "2020-03-25" for r in rows)
        pdf = get(server, f"/www.{covid[0]['server'].lower()}.org/content/{covid[0]['doi']}v1.full.pdf").content
        assert 4000 < len(pdf) < 6000
        with pymupdf.open(stream=pdf) as doc:
            assert not doc.is_repaired and covid[0]["doi"].split("/")[1] in doc[0].get_text()


def test_command_gets_the_address_and_its_status_comes_back(corpus: Path, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(
        "import sys, urllib.request\n"
        "print(urllib.request.urlopen(sys.argv[1] + '/www.medrxiv.org/robots.txt').read().decode())\nsys.exit(7)\n"
    )
    serve = [sys.executable, "-m", "harvest.sample.serve", "--corpus", str(corpus)]
    done = subprocess.run(
        [*serve, "--", "python", str(script), "{standin}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7 and "Crawl-delay: 7" in done.stdout


def test_without_the_token_no_server_is_needed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--corpus", str(tmp_path / "none"), "--", "python", "-c", "print('alone')"]) == 0
    assert "alone" in capfd.readouterr().out
    assert main(["--corpus", str(tmp_path / "none"), "--", "python", "-c", "print()", "{standin}"]) == 1
    assert "run python -m harvest.sample" in capfd.readouterr().err
    assert main(["--corpus", str(tmp_path), "--", "no-such-program"]) == 127


def test_faults_and_the_log_from_the_command_line(corpus: Path, tmp_path: Path, capfd) -> None:
    code = "import requests, sys; print([requests.get(sys.argv[1] + '/content/x').status_code for _ in range(3)])"
    words = ["--corpus", str(corpus), "--fault", "limit,times=2,retry_after=7@^/content/", "--log", str(tmp_path / "l")]
    assert main([*words, "--", "python", "-c", code, "{standin}"]) == 0
    assert capfd.readouterr().out.strip() == "[429, 429, 404]"
    log = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    assert [a["status"] for a in log] == [429, 429, 404] and log[0]["at"] < log[1]["at"]
    for wrong in ("limit", "nosuch@/x", "limit,times=two@/x", "limit,colour=1@/x", "limit@("):
        with pytest.raises(SystemExit):
            main(["--corpus", str(corpus), "--fault", wrong, "--", "true"])
        assert "fields: times" in capfd.readouterr().err


def test_busy_port_is_an_error(corpus: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(OSError, match="in use"):
            StandIn(corpus, port=busy.getsockname()[1]).start()


def test_folder_that_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run python -m"):
        StandIn(tmp_path)
