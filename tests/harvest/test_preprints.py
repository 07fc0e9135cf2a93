"""The preprints stage against servers with every fault: listing, choice, files, resuming, refusals."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest.papers import pdf_name
from harvest.preprints import app
from harvest.sample.serve import Fault, StandIn

CHALLENGE = "challenge"


def call(out: Path, url: str, *more: str):
    """The stage's command line in this process."""
    words = ["--out", str(out), "--api", url, "--site", url, "--spacing", "0", "--contact", "me@university.edu", *more]
    return CliRunner().invoke(app, words)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def row(doi: str, version: str = "1", date: str = "2020-02-11", **changes: object) -> dict[str, object]:
    return {
        "doi": f"10.1101/{doi}", "title": "Chest CT of COVID-19", "authors": "A, B.", "date": date, "version": version,
        "type": "PUBLISHAHEADOFPRINT", "license": "cc_by", "category": "radiology", "abstract": "", "published": "NA",
        "server": "medRxiv",
    } | changes  # fmt: skip


@pytest.fixture
def listing(service, answer):
    """Serve rows as the API does (pages of 3), and a PDF for each version; returns the list to fill."""
    rows: list[dict] = []

    def route(ask):
        parts = ask.path.strip("/").split("/")
        if parts[0] == "content":
            return answer(b"%PDF-1.4\n" + ask.path.encode() * 50 + b"\n%%EOF\n", 200, "application/pdf")
        if parts[2].startswith("10."):
            found = [r for r in rows if r["doi"] == "/".join(parts[2:-2]) and r["server"].lower() == parts[1]]
            return answer(json.dumps({"messages": [{"status": "ok"}], "collection": found}).encode())
        cursor, mine = int(parts[4]), [r for r in rows if r["server"].lower() == parts[1]]
        mine = [r for r in mine if parts[2] <= r["date"] <= parts[3]]
        served = mine[cursor : cursor + 3]
        status = "ok" if served else "no posts found"
        message = {"status": status, "total": str(len(mine)), "category": "all"}
        return answer(json.dumps({"messages": [message], "collection": served}).encode())

    service.route = route
    return rows


def test_the_highest_version_of_the_window_by_number(service, listing, tmp_path):
    """Traps 6 and 7."""
    listing += [row("a", "9", "2020-03-01"), row("a", "10", "2020-03-02"), row("a", "11", "2020-03-26")]
    listing += [row("b", "2", "2020-01-20"), row("c", "1", "2020-01-18")]
    assert call(tmp_path / "out", service.url).exit_code == 0
    found = lines(tmp_path / "out" / "preprints.jsonl")
    assert [(r["doi"], r["version"]) for r in found] == [("10.1101/a", 10), ("10.1101/b", 2)]
    assert sorted(p.name for p in (tmp_path / "out" / "pdf").iterdir()) == ["av10.pdf", "bv2.pdf"]
    assert found[0]["url"] == "https://www.medrxiv.org/content/10.1101/av10.full.pdf"


def test_withdrawn_papers_are_left_out_and_said_so(service, listing, tmp_path):
    """Trap 8: withdrawn in the window, after it, or (types differ) by the other server."""
    listing += [row("a", "1"), row("a", "2", "2020-03-20", type="WITHDRAWN")]
    listing += [row("b", "1"), row("b", "2", "2020-09-01", type="withdrawn")]
    listing += [row("c", "1"), row("c", "2", "2020-09-01")]
    assert call(tmp_path / "out", service.url).exit_code == 0
    assert [r["doi"] for r in lines(tmp_path / "out" / "preprints.jsonl")] == ["10.1101/c"]
    assert lines(tmp_path / "out" / "excluded.jsonl") == [
        {"item": "10.1101/av2", "reason": "withdrawn"},
        {"item": "10.1101/bv1", "reason": "withdrawn after the window"},
    ]
    assert call(tmp_path / "two", service.url, "--no-check-later").exit_code == 0
    assert [r["doi"] for r in lines(tmp_path / "two" / "preprints.jsonl")] == ["10.1101/b", "10.1101/c"]


def test_only_covid_papers_by_the_words_of_2020(service, listing, tmp_path):
    titles = [
        "2019-nCoV in Wuhan",
        "COVID-19",
        "SARS-CoV-2 entry",
        "The novel coronavirus",
        "nCoV spread",
        "hCoV-19 genomes",
    ]
    listing += [row(f"y{n}", title=title) for n, title in enumerate(titles)]
    listing += [
        row(f"n{n}", title=t) for n, t in enumerate(["Chest CT of tuberculosis", "SARS in 2003", "Covidien staplers X"])
    ]
    listing += [row("abstract", title="A cohort", abstract="We studied COVID-19.")]
    call(tmp_path / "out", service.url)
    found = {r["doi"].removeprefix("10.1101/") for r in lines(tmp_path / "out" / "preprints.jsonl")}
    assert found == {*(f"y{n}" for n in range(len(titles))), "abstract"}


def test_likely_cts_come_first_and_a_limit_takes_them(service, listing, tmp_path):
    listing += [
        row("m", title="Modelling COVID-19"),
        row("x", title="COVID-19 chest CT"),
        row("y", title="COVID-19 cells"),
    ]
    listing += [row("z", abstract="ground-glass opacities on computed tomography", title="COVID-19 cases")]
    assert call(tmp_path / "out", service.url, "--limit", "2").exit_code == 0
    assert [a.path for a in service.asked if "content" in a.path] == [
        "/content/10.1101/xv1.full.pdf",
        "/content/10.1101/zv1.full.pdf",
    ]
    assert [r["doi"] for r in lines(tmp_path / "out" / "preprints.jsonl")] == ["10.1101/x", "10.1101/z"]


def test_an_ignored_category_is_filtered_here(service, listing, tmp_path):
    listing += [row("a", category="radiology"), row("b", category="infectious diseases")]
    assert call(tmp_path / "out", service.url, "--category", "infectious_diseases").exit_code == 0
    assert [r["doi"] for r in lines(tmp_path / "out" / "preprints.jsonl")] == ["10.1101/b"]


def test_an_interval_too_long_for_the_api_is_halved(service, listing, tmp_path, answer):
    listing += [row(f"p{n}", date=f"2020-0{2 + n % 2}-{1 + n:02d}") for n in range(8)]
    good = service.route

    def route(ask):
        parts = ask.path.split("/")
        if parts[1] == "details" and parts[3] == "2020-01-19" and parts[4] == "2020-03-25":
            return answer(b"")
        return good(ask)

    service.route = route
    assert call(tmp_path / "out", service.url, "--servers", "medrxiv").exit_code == 0
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 8


def test_a_listing_that_changes_while_it_is_read_is_read_again(service, listing, tmp_path):
    listing += [row(f"p{n}") for n in range(7)]
    good = service.route

    def route(ask):
        if ask.path.endswith("/3/json") and len(listing) == 7:
            listing.insert(0, row("new"))  # rows move by one: the second page now begins with one already seen
        return good(ask)

    service.route = route
    assert call(tmp_path / "out", service.url, "--servers", "medrxiv").exit_code == 0
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 8


def test_a_listing_that_stays_broken_is_an_error_that_keeps_what_there_is(tmp_path):
    with StandIn.synthetic(
        200, 40, 3000, faults=[Fault(r"/details/biorxiv/2020-01-19/2020-03-25/30", "empty")]
    ) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 1 and "listing is incomplete" in result.stderr and "biorxiv" in result.stderr
        have = len(lines(tmp_path / "out" / "preprints.jsonl"))
        assert 0 < have < 40
        assert lines(tmp_path / "out" / "failed.jsonl")[0]["item"] == "listing"
        assert "127.0.0.1" not in (tmp_path / "out" / "failed.jsonl").read_text()
        server.faults.clear()
        assert call(tmp_path / "out", server.url).exit_code == 0
        assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 40


@pytest.mark.parametrize("size", [30, 100])
@pytest.mark.parametrize("numbers", ["2026", "2018"])
def test_everything_is_listed_and_fetched_exactly_once(tmp_path, size, numbers):
    with StandIn.synthetic(300, 60, 3000, page_size=size, numbers=numbers, surplus=31) as server:
        result = call(tmp_path / "out", server.url, "--servers", "medrxiv", "--servers", "biorxiv")
        assert result.exit_code == 0, result.output
        asked = [a.path for a in server.log if "/content/" in a.path]
        pages = [a.path for a in server.log if "/details/" in a.path and "/na/" not in a.path]
    assert len(asked) == len(set(asked)) == 60 and len(pages) == len(set(pages))
    found = lines(tmp_path / "out" / "preprints.jsonl")
    assert len(found) == 60 and lines(tmp_path / "out" / "failed.jsonl") == []
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["listed"] == 300
    for record in found:
        data = (tmp_path / "out" / record["pdf"]).read_bytes()
        assert data.startswith(b"%PDF-") and len(data) == record["bytes"]


def test_a_second_run_asks_for_nothing_and_gives_the_same_bytes(tmp_path):
    with StandIn.synthetic(100, 20, 3000) as server:
        assert call(tmp_path / "out", server.url).exit_code == 0
        first, asked = tree(tmp_path / "out"), len(server.log)
        assert call(tmp_path / "out", server.url).exit_code == 0
        assert tree(tmp_path / "out") == first and len(server.log) == asked
        assert call(tmp_path / "out", server.url, "--refresh").exit_code == 0
        assert len(server.log) == 2 * asked and tree(tmp_path / "out") == first


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path):
    with StandIn.synthetic(50, 10, 3000) as server:
        call(tmp_path / "out", server.url)
        first = tree(tmp_path / "out")
        cached = sorted((tmp_path / "out.cache").glob("preprints-*/files/*.pdf"))
        data = bytearray(cached[0].read_bytes())
        data[100] ^= 1
        cached[0].unlink()
        cached[0].write_bytes(data)
        cached[1].unlink()
        call(tmp_path / "out", server.url)
    assert tree(tmp_path / "out") == first


@pytest.mark.parametrize(
    "fault",
    [
        Fault(r"/content/", "status", times=2),
        Fault(r"/content/", "limit", times=2, retry_after="0"),
        Fault(r"/content/", "limit", times=1, retry_after="Wed, 25 Mar 2020 00:00:00 GMT"),
        Fault(r"/content/", "cut", times=2),
        Fault(r"/content/", "html", times=2),
        Fault(r"/content/", "reset", times=2),
        Fault(r"/details/", "empty", times=2),
        Fault(r"/details/", "text", times=2),
        Fault(r"/details/", "cut", times=2),
        Fault(r"/details/", "slow", times=1, seconds=0.2),
    ],
    ids=lambda f: f"{f.kind}-{f.match}",
)
def test_nothing_is_lost_to_a_passing_fault(tmp_path, fault):
    with StandIn.synthetic(80, 12, 3000, faults=[fault]) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 0, result.output
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 12


def test_one_bad_pdf_is_a_row_and_the_others_go_on(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/.*20000006v1", "status", status=404)]) as server:
        result = call(tmp_path / "out", server.url)
    assert result.exit_code == 0
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 11
    (failure,) = lines(tmp_path / "out" / "failed.jsonl")
    assert failure["item"].endswith("20000006v1") and "HTTP 404" in failure["reason"]
    assert "127.0.0.1" not in failure["reason"] and "https://www.medrxiv.org/content/" in failure["reason"]


def test_too_many_failures_fail_the_stage(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/.*2000000", "status", status=404)]) as server:
        assert call(tmp_path / "out", server.url, "--max-failed", "0").exit_code == 1
        server.faults[:] = [Fault(r"/content/", "status", status=404)]
        result = call(tmp_path / "out2", server.url)
    assert result.exit_code == 1 and "all 12 PDFs failed" in result.stderr


def test_a_challenge_stops_the_site_at_once_and_the_rest_waits(tmp_path):
    """Trap 11, and: what was not tried is fetched by the next run."""
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", CHALLENGE, skip=4)]) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 1 and "run the same command again" in result.stderr
        assert sum("/content/" in a.path for a in server.log) == 5
        assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 4
        assert len(lines(tmp_path / "out" / "failed.jsonl")) == 8
        for pdf in (tmp_path / "out" / "pdf").iterdir():
            assert pdf.read_bytes().startswith(b"%PDF-")
        server.faults.clear()
        assert call(tmp_path / "out", server.url).exit_code == 0
        assert sum("/content/" in a.path for a in server.log) == 5 + 8
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 12


def test_what_there_is_may_be_taken_although_the_site_blocks(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", CHALLENGE, skip=4)]) as server:
        result = call(tmp_path / "out", server.url, "--go-on")
    assert result.exit_code == 0 and "going on without them" in result.output
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 4


def test_europe_pmc_stands_in_for_a_site_that_blocks(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", CHALLENGE)]) as server:
        result = call(tmp_path / "out", server.url, "--europepmc", f"{server.url}/epmc")
    assert result.exit_code == 0, result.output
    found = lines(tmp_path / "out" / "preprints.jsonl")
    assert len(found) == 12 and all(r["url"].startswith("https://europepmc.org/") for r in found)


def test_europe_pmc_stands_in_for_a_listing_that_fails(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"^/details/", "status", status=500)]) as server:
        result = call(tmp_path / "out", server.url, "--europepmc", f"{server.url}/epmc", "--no-check-later")
    assert result.exit_code == 0, result.output
    assert len(lines(tmp_path / "out" / "preprints.jsonl")) == 12


def test_an_announced_length_of_ten_gigabytes_is_one_failure(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/.*20000006v1", "huge")]) as server:
        assert call(tmp_path / "out", server.url).exit_code == 0
    (failure,) = lines(tmp_path / "out" / "failed.jsonl")
    assert "10737418240" in failure["reason"]


def test_spacing_is_kept_between_arrivals(tmp_path):
    with StandIn.synthetic(20, 4, 3000) as server:
        site = f"{server.url}/www.{{server}}.org"
        words = [
            "--out",
            str(tmp_path / "out"),
            "--api",
            f"{server.url}/api.biorxiv.org",
            "--site",
            site,
            "--spacing",
            "0.15",
        ]
        assert CliRunner().invoke(app, [*words, "--contact", "me@university.edu"]).exit_code == 0
        at = sorted(a.at for a in server.log)
    assert min(b - a for a, b in pairwise(at)) >= 0.15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--servers", "medrxiv,arxiv"], "expected medrxiv or biorxiv, got arxiv"),
        (["--servers", ","], "--servers"),
        (["--since", "2020-03-25", "--until", "2020-01-19"], "swap them"),
        (["--since", "19.1.2020"], "YYYY-MM-DD"),
        (["--api", "nonsense"], "--api"),
        (["--meca", "/no/such/folder"], "--meca"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(tmp_path, service, words, message):
    result = call(tmp_path / "out", service.url, *words)
    assert result.exit_code == 2 and message in result.stderr
    assert service.asked == [] and not (tmp_path / "out").exists()


def test_odd_dois_are_asked_for_as_they_are(service, listing, tmp_path):
    """A slash stays one, everything that a URL gives a meaning is escaped; names do not clash."""
    listing += [row("a/b"), row("a_b"), row("x?y=1"), row("c#d"), row("e%2Ff")]
    assert call(tmp_path / "out", service.url).exit_code == 0
    asked = sorted(a.path for a in service.asked if "content" in a.path)
    assert asked == sorted(f"/content/10.1101/{doi}v1.full.pdf" for doi in ("a/b", "a_b", "x?y=1", "c#d", "e%2Ff"))
    found = lines(tmp_path / "out" / "preprints.jsonl")
    assert len({r["pdf"] for r in found}) == len({r["sha256"] for r in found}) == 5


def test_a_live_run_without_a_contact_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "--contact" in result.stderr


def test_a_window_with_nothing_says_so(service, listing, tmp_path):
    result = call(tmp_path / "out", service.url)
    assert result.exit_code == 1 and "none among 0 listed" in result.stderr
    assert lines(tmp_path / "out" / "preprints.jsonl") == []


def test_switched_off_writes_empty_results(tmp_path):
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), "--no-enabled"])
    assert result.exit_code == 0 and lines(tmp_path / "out" / "preprints.jsonl") == []
    assert (tmp_path / "out" / "pdf").is_dir()


def test_a_dry_run_says_how_long_it_will_take_and_fetches_nothing(tmp_path, caplog):
    with StandIn.synthetic(80, 12, 3000) as server:
        result = call(tmp_path / "out", server.url, "--dry-run")
        assert result.exit_code == 0 and not any("/content/" in a.path for a in server.log)
    assert not (tmp_path / "out").exists() and "12 PDFs to fetch" in result.output


def test_two_harvests_in_one_cache_are_refused(tmp_path, service, listing):
    from filelock import FileLock

    listing.append(row("a"))
    (tmp_path / "out.cache").mkdir()
    with FileLock(tmp_path / "out.cache" / "preprints.lock"):
        result = call(tmp_path / "out", service.url)
    assert result.exit_code == 1 and "another preprints harvest" in result.stderr


def test_names_of_files_hold_nothing_a_path_could_mean():
    assert pdf_name("10.1101/2020.02.11.20021493", 2) == "2020.02.11.20021493v2.pdf"
    assert pdf_name("10.1101/a/b", 1) != pdf_name("10.1101/a_b", 1) == "a_bv1.pdf"
    assert pdf_name("10.1101/" + "x" * 150, 1) != pdf_name("10.1101/" + "x" * 151, 1)
    assert "/" not in pdf_name("10.1101/../../etc/x", 1) and not pdf_name("10.1101/../../etc/x", 1).startswith(".")


def test_killed_at_random_moments_and_resumed_the_result_is_the_same(tmp_path):
    """Trap 20: mid-file and mid-page; every PDF that was complete is not asked for again."""
    chance = random.Random(5)
    with StandIn.synthetic(300, 60, 60_000) as server:
        base = [sys.executable, "-m", "harvest.preprints", "--api", server.url, "--site", server.url, "--spacing", "0"]
        base += ["--contact", "me@university.edu"]
        subprocess.run([*base, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
        server.log.clear()
        broken, out = [*base, "--out", str(tmp_path / "broken")], tmp_path / "broken"
        kills = 0
        for _ in range(30):
            if kills == 4:
                break
            with subprocess.Popen(broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                seen = len(server.log)
                deadline = time.monotonic() + 20
                wanted = chance.randint(1, 30)
                while len(server.log) < seen + wanted and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.002)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
        assert kills == 4
        subprocess.run(broken, check=True, capture_output=True)
        asked = [a.path for a in server.log if "/content/" in a.path and not a.byte_range]
    assert tree(out) == tree(tmp_path / "whole")
    assert len(asked) <= 60 + kills
    assert not list((tmp_path / "broken.cache").rglob("*.part"))
