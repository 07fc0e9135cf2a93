"""What is read out of an answer, and how messages name it."""

from __future__ import annotations

import pytest
import requests

from harvest.answers import describe, named, parse_json, parse_xml, reason_of
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
