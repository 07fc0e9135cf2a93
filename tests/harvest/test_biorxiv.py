"""The medRxiv/bioRxiv API in every form it was seen to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvest import biorxiv
from harvest.errors import BlockedError, ItemError
from harvest.licences import rights


def row(n: int, **changes: object) -> dict[str, object]:
    """One listed version."""
    return {
        "doi": f"10.1101/2020.02.11.2002{n:04d}", "title": f"COVID-19 paper {n}", "authors": "A, B.",
        "date": "2020-02-11", "version": "1", "type": "PUBLISHAHEADOFPRINT", "license": "cc_by",
        "category": "infectious diseases",        "abstract": "Chest CT.", "published": "NA", "server": "medRxiv",
    } | changes  # fmt: skip


def body(rows: list[dict[str, object]], **message: object) -> bytes:
    """An answer of the API."""
    return json.dumps({"messages": [{"status": "ok"} | message], "collection": rows}).encode()


def walk(session, url, **options):
    """All rows of an interval, and the cursors asked."""
    rows, cursor = [], 0
    while cursor is not None:
        page = biorxiv.page(session, url, "medrxiv", "2020-01-19", "2020-03-25", cursor, **options)
        rows += page.rows
        cursor = page.next
    return rows


@pytest.mark.parametrize("size", [30, 100, 7])
@pytest.mark.parametrize("surplus", [0, 31])
@pytest.mark.parametrize("kind", [int, str])
def test_pages_follow_what_was_received(service, session, answer, size, surplus, kind):
    """Traps 1 and 2: page size, a total that is too high, numbers as text."""
    listed = [row(n) for n in range(95)]

    def route(ask):
        cursor = int(ask.path.split("/")[-2])
        part = listed[cursor : cursor + size]
        if not part:
            return answer(b'{"messages":[{"status":"no posts found"}],"collection":[]}         ')
        return answer(body(part, cursor=kind(cursor), count=len(part), total=kind(95 + surplus)))

    service.route = route
    rows = walk(session, service.url)
    assert [r.doi for r in rows] == [r["doi"] for r in listed]
    assert len(service.asked) == -(-95 // size) + bool(surplus)


def test_a_page_shorter_than_its_count_says_is_no_gap(service, session, answer):
    """The rows are the truth, not `count`."""
    listed = [row(n) for n in range(40)]

    def route(ask):
        cursor = int(ask.path.split("/")[-2])
        return answer(body(listed[cursor : cursor + 13], count=100, total="40"))

    service.route = route
    assert len(walk(session, service.url)) == 40


def test_an_empty_page_far_from_the_total_is_not_an_end(service, session, answer):
    def route(ask):
        cursor = int(ask.path.split("/")[-2])
        return answer(body([row(n) for n in range(30)] if not cursor else [], total=2000))

    service.route = route
    with pytest.raises(ItemError, match="expected 2000 rows, got an empty page at 30"):
        walk(session, service.url)


@pytest.mark.parametrize("fault", [b"", b"Error : (2002) Connection refused", b'{"error": "x"}', b"null", b"[]"])
def test_faults_inside_200_are_asked_again(service, session, answer, fault):
    """Trap 3."""
    left = [answer(fault), answer(fault), answer(body([row(1)], total=1))]
    service.route = lambda ask: left.pop(0)
    assert len(walk(session, service.url)) == 1


def test_a_page_that_stays_empty_is_a_failure_never_skipped(service, session, answer):
    service.route = lambda ask: answer(b"")
    with pytest.raises(ItemError):
        biorxiv.page(session, service.url, "medrxiv", "2020-01-19", "2020-03-25", 30)


def test_no_posts_found_is_an_end(service, session, answer):
    service.route = lambda ask: answer(b'{"messages":[{"status":"no posts found"}],\n "collection":[]}')
    page = biorxiv.page(session, service.url, "medrxiv", "2020-01-19", "2020-03-25", 0)
    assert (page.rows, page.next) == ([], None)


def test_an_unknown_server_is_said_so(service, session, answer):
    service.route = lambda ask: answer(b'{"messages":[{"status":"Server not recognized"}],"collection":[]}')
    with pytest.raises(ItemError, match="Server not recognized"):
        biorxiv.page(session, service.url, "notaserver", "2020-01-19", "2020-03-25", 0)
    assert len(service.asked) == 1


def test_the_category_asked_for_is_passed_and_what_came_back_is_told(service, session, answer):
    """Trap 4: an unknown category is ignored by the service; only the echo tells."""
    service.route = lambda ask: answer(body([row(1)], category="all", total=1))
    page = biorxiv.page(session, service.url, "medrxiv", "2020-01-19", "2020-03-25", 0, "quantum gravity")
    assert service.asked[0].query == {"category": "quantum gravity"} and page.category == "all"


def test_a_doi_is_asked_with_its_slash_and_of_the_other_server_too(service, session, answer):
    """Trap 5."""

    def route(ask):
        if ask.path.startswith("/details/biorxiv/10.1101/2020.02.11.123456/"):
            return answer(body([row(1, version="10"), row(1, version="9"), row(1, version="2")]))
        return answer(b'{"messages":[{"status":"no posts found"}],"collection":[]}')

    service.route = route
    found = biorxiv.versions(session, service.url, "medrxiv", "10.1101/2020.02.11.123456")
    assert [r.version for r in found] == [2, 9, 10]  # trap 6: numbers, not text
    assert service.paths() == [
        "/details/medrxiv/10.1101/2020.02.11.123456/na/json",
        "/details/biorxiv/10.1101/2020.02.11.123456/na/json",
    ]
    with pytest.raises(ItemError, match="no posts found"):
        biorxiv.versions(session, service.url, "medrxiv", "10.1101/none")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"doi": ""}, "doi"), ({"doi": "../../etc/passwd"}, "doi"), ({"doi": "10.1101/../x"}, "doi"),
        ({"doi": None}, "doi"),
        ({"version": "0"}, "version"), ({"version": "one"}, "version"), ({"version": True}, "version"),
        ({"date": "2020-02-30"}, "date"), ({"date": ""}, "date"),
    ],
)  # fmt: skip
def test_a_bad_row_is_told_and_the_others_go_on(service, session, answer, changes, field):
    service.route = lambda ask: answer(body([row(1), row(2, **changes), "text", row(3)], total=4))
    page = biorxiv.page(session, service.url, "medrxiv", "2020-01-19", "2020-03-25", 0)
    assert [r.doi[-1] for r in page.rows] == ["1", "3"] and page.received == 4
    assert f"field {field}" in page.bad[0][1] and page.bad[0][0] == "medrxiv 2020-01-19..2020-03-25 row 1"


def test_rows_are_read_as_what_they_mean():
    read = biorxiv.row_of(
        row(1, title="A &amp; B\n  CT", version=3, type="WITHDRAWN", license="", published="10.1/x", server="bioRxiv"),
        "medrxiv",
    )
    assert (read.title, read.version, read.withdrawn, read.licence) == ("A & B CT", 3, True, "")  # trap 9
    assert (read.published, read.server) == ("10.1/x", "biorxiv")
    assert not rights(read.licence).redistribute and not rights("cc_no").redistribute
    assert biorxiv.row_of(row(1, type="withdrawn"), "medrxiv").withdrawn
    assert not biorxiv.row_of(row(1, type="new results"), "medrxiv").withdrawn


def test_a_title_that_cannot_be_read_is_told_and_never_taken_for_another_subject():
    for field, value in (("title", {"a": "COVID-19"}), ("title", ["COVID-19", 5]), ("abstract", 2.5), ("title", [[]])):
        with pytest.raises(ValueError, match=f"field {field}: expected text"):
            biorxiv.row_of(row(1, **{field: value}), "medrxiv")
    assert biorxiv.row_of(row(1, title=["COVID-19"], abstract=None), "medrxiv").title == "COVID-19"


@pytest.mark.parametrize("version", [2.0, "2.0", 2, " 2 "])
def test_a_version_written_as_a_decimal_is_that_number(version):
    assert biorxiv.row_of(row(1, version=version), "medrxiv").version == 2


@pytest.mark.real
def test_recorded_answers_parse(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "biorxiv_api"
    interval = (folder / "details_interval_2026-08-01_trimmed.json").read_bytes()
    service.route = lambda ask: answer(interval)
    page = biorxiv.page(session, service.url, "biorxiv", "2026-08-01", "2026-08-02", 0)
    assert (page.received, page.total, page.next, page.bad) == (1, 109, 1, [])
    assert (page.rows[0].doi, page.rows[0].licence, page.rows[0].published) == (
        "10.64898/2026.07.31.741992",
        "cc_by_nc_nd",
        "",
    )
    two = (folder / "details_doi_two_versions_medrxiv_edited_fixture.json").read_bytes()
    service.route = lambda ask: answer(two)
    found = biorxiv.versions(session, service.url, "medrxiv", "10.1101/2020.03.24.20042937")
    assert [(r.version, r.date, r.licence) for r in found] == [
        (1, "2020-03-28", "cc_by_nd"),
        (2, "2020-09-14", "cc_by_nd"),
    ]


@pytest.mark.real
def test_recorded_faults_are_met(real_data: Path, service, session, answer):
    for line in (real_data / "recorded" / "biorxiv_api" / "error_bodies.jsonl").read_text().splitlines():
        seen = json.loads(line)
        if "details" not in seen["request"] or seen.get("status") == "ok" or seen["http"] != 200:
            continue
        text = seen.get("body") or ""
        if not text and seen.get("status"):
            text = json.dumps({"messages": [{"status": seen["status"]}], "collection": []})
        service.route = lambda ask, text=text: answer(text.encode())
        try:
            page = biorxiv.page(session, service.url, "medrxiv", "2020-01-19", "2020-03-25", 0)
        except (ItemError, BlockedError):
            continue
        assert page.rows == [] and page.next is None and "no posts found" in text
