"""What is read out of an answer, and how messages name it."""

from __future__ import annotations

import time

import pytest
import requests

from harvest.answers import describe, named, parse_json, parse_xml, reason_of, retry_after
from harvest.download import download
from harvest.errors import ItemError, TransientError
from harvest.eutils import Eutils
from harvest.http import Session


def test_keys_and_addresses_are_not_named():
    url = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/esearch.fcgi?db=pmc&email=me%40university.edu&api_key=S3CRET&term=ct"
    assert named(url).endswith("esearch.fcgi?db=pmc&email=…&api_key=…&term=ct")
    assert "S3CRET" not in reason_of(requests.ConnectionError(f"Max retries exceeded with url: {url} (Caused by x)"))
    assert named("https://x.org/?tool=a") == "https://x.org/?tool=a"


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_no_message_holds_the_key(service, session, answer, status):
    import datetime

    service.route = lambda ask: answer(b"<html>broken</html>", status, "text/html")
    with pytest.raises(ItemError) as caught:
        list(Eutils(session, service.url, "me@university.edu", "S3CRET").search("ct", *[datetime.date(2019, 1, 1)] * 2))
    assert "S3CRET" not in str(caught.value) and "university" not in str(caught.value)
    assert service.asked[0].query["api_key"] == "S3CRET"


def test_a_dead_host_is_named_without_the_key(time_):
    session = Session("", spacing=0, clock=time_.clock, sleep=time_.sleep)
    with pytest.raises(ItemError, match="no answer") as caught:
        session.json("http://127.0.0.1:9/x", {"api_key": "S3CRET"})
    assert "S3CRET" not in str(caught.value)


def test_json_and_xml_nested_without_end_are_refused():
    with pytest.raises(ItemError, match="nested too deep"):
        parse_json(b"[" * 200_000, "here")
    with pytest.raises(ItemError, match="deep"):
        parse_xml(b"<a>" * 5000 + b"</a>" * 5000, "here")
    assert parse_xml(b"<a>" * 150 + b"</a>" * 150, "here").tag == "a"


def test_json_that_is_none_is_asked_again():
    for body in (b"", b"  ", b"{", b"<a/>", b"[Error] : No result can be found.", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(TransientError, match="expected JSON"):
            parse_json(body, "here")
    assert parse_json(b"[1]", "here") == [1]


def test_bodies_in_messages_are_short():
    assert describe(b"") == "an empty body" and describe(b"%PDF-1.4") == "pdf"
    assert len(describe(b"<html>" + b"x" * 9999)) < 150


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "big5", "utf-7", "foo", "hex", "idna", "rot13"])
def test_xml_in_an_encoding_that_cannot_be_read_is_refused(encoding):
    with pytest.raises(ItemError, match="here: expected XML in UTF-8"):
        parse_xml(f'<?xml version="1.0" encoding="{encoding}"?><a>b</a>'.encode(), "here")
    assert (
        parse_xml('<?xml version="1.0" encoding="windows-1252"?><a>\u00e9</a>'.encode("cp1252"), "here").text
        == "\u00e9"
    )


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", "Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 1 Jan 2020 00:00:00 +99999999999999999999", " , ", "\u00b2",
        "Mon, 1 Jan 2020 99999999999999999999:00:00 GMT",
    ],
)  # fmt: skip
def test_a_wait_that_is_no_date_is_none_asked_for(value):
    assert retry_after({"Retry-After": value}, 120) is None
    assert retry_after({"Retry-After": "Wed, 25 Mar 2020 10:00:00 GMT", "Date": value}, 120) == 0
    assert retry_after({"Retry-After": "9" * 400}, 120) == 120


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, b" "),
        (200, {"Content-Length": "9000"}, b" "),
        (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\x08" + b"name" * 4),  # a gzip header that never ends
        (200, {"Transfer-Encoding": "chunked"}, b"1\r\n \r\n"),
        (404, {}, b" "),
    ],
)
def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(service, answer, status, headers, body):
    session = Session("", spacing=0, item_seconds=0.4)
    service.route = lambda ask: answer(body, status, headers=headers, trickle=0.02)
    start = time.monotonic()
    with pytest.raises(ItemError, match=r"took more than 0 s" if status == 200 else "HTTP 404"):
        session.json(service.url + "/x")
    assert time.monotonic() - start < 10


def test_a_file_that_trickles_is_given_up_in_time_and_comes_whole_later(service, answer, tmp_path):
    session = Session("", spacing=0, item_seconds=0.4)
    whole = b"%PDF-1.4\n" + bytes(range(256)) * 1000 + b"\n%%EOF\n"
    service.route = lambda ask: answer(whole, headers={"ETag": '"v1"', "Content-Length": "999"}, trickle=0.02)
    start = time.monotonic()
    with pytest.raises(ItemError, match="took more than"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, 1 << 20)
    assert time.monotonic() - start < 10
    service.route = lambda ask: answer(whole, headers={"ETag": '"v1"'})
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, 1 << 20)
    assert (tmp_path / "a.pdf").read_bytes() == whole


def test_one_connection_serves_several_answers(service, session, answer, monkeypatch):
    """The limit on time leaves what was read whole alone: the connection is used again."""
    made = []
    monkeypatch.setattr("urllib3.connection.HTTPConnection.connect", counted(made))
    service.route = lambda ask: answer(b"{}")
    for _ in range(5):
        assert session.json(service.url + "/x") == {}
    assert len(made) == 1


def counted(made):
    from urllib3.connection import HTTPConnection

    connect = HTTPConnection.connect

    def wrapper(self):
        made.append(self)
        return connect(self)

    return wrapper
