"""The polite session: what it retries, how long it waits, whom it stops asking."""

from __future__ import annotations

import email.utils
import os
import time
from pathlib import Path

import pytest

from harvest.answers import parse_xml, retry_after
from harvest.content import is_challenge, is_cloudflare, sniff
from harvest.errors import BlockedError, ItemError, SettingError
from harvest.hosts import check_services, is_public, rule_for, same_site
from harvest.http import Session

CHALLENGE = b'<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body></body></html>'


def in_order(*answers):
    """A route that gives these answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda ask: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 522])
def test_transient_statuses_are_asked_again(service, session, answer, status):
    service.route = in_order(answer(b"", status), answer(b"", status), answer(b'{"a": 1}'))
    assert session.json(service.url + "/x") == {"a": 1}
    assert len(service.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 410, 414, 501])
def test_refusals_are_not_asked_again(service, session, answer, status):
    service.route = lambda ask: answer(b"no", status, "text/plain")
    with pytest.raises(ItemError, match=f"HTTP {status}"):
        session.json(service.url + "/x")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"   \n", b"Error : (2002) Connection refused", b'{"messages": [', b"<html><body>maintenance</body></html>",
     b"[Error] : No result can be found. <BR><HR><B> - https://example"],
)  # fmt: skip
def test_status_200_without_json_is_asked_again(service, session, answer, body):
    service.route = in_order(answer(body), answer(b'{"ok": true}'))
    assert session.json(service.url + "/x") == {"ok": True}


def test_what_stays_transient_fails_the_item_and_says_how_often(service, session, answer):
    service.route = lambda ask: answer(b"")
    with pytest.raises(ItemError, match=r"an empty body.*asked 5 times"):
        session.json(service.url + "/x")
    assert len(service.asked) == 5


def test_backoff_grows_and_has_jitter(service, session, answer, time_):
    service.route = lambda ask: answer(b"", 500)
    with pytest.raises(ItemError):
        session.json(service.url + "/x")
    base = session.rule(service.url).backoff
    assert len(time_.slept) == 4
    for n, pause in enumerate(time_.slept):
        assert base * 2**n <= pause <= base * 2**n + base
    assert len(set(time_.slept)) == 4


def test_retry_after_in_seconds_and_as_a_date_capped():
    assert retry_after({"Retry-After": "7"}, 120) == 7
    assert retry_after({"Retry-After": "86400"}, 120) == 120
    sent = "Wed, 25 Mar 2020 10:00:00 GMT"
    assert retry_after({"Retry-After": "Wed, 25 Mar 2020 10:00:30 GMT", "Date": sent}, 120) == 30
    assert retry_after({"Retry-After": "Wed, 25 Mar 2020 09:00:00 GMT", "Date": sent}, 120) == 0
    assert retry_after({"Retry-After": "Thu, 26 Mar 2020 10:00:00 GMT", "Date": sent}, 120) == 120
    soon = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 55 < retry_after({"Retry-After": soon}, 120) <= 60
    assert retry_after({"Retry-After": "soon"}, 120) is None
    assert retry_after({}, 120) is None


def test_retry_after_is_waited_for(service, session, answer, time_):
    service.route = in_order(answer(b"error code: 1015", 429, headers={"Retry-After": "17"}), answer(b"{}"))
    session.json(service.url + "/x")
    assert sum(time_.slept) >= 17


def test_a_challenge_stops_the_host_at_once_and_says_what_to_do(service, session, answer):
    service.route = lambda ask: answer(CHALLENGE, 403, "text/html")
    with pytest.raises(BlockedError, match="run the same command again"):
        session.json(service.url + "/s/x")
    with pytest.raises(BlockedError, match="Cloudflare"):
        session.json(service.url + "/s/y")
    assert service.paths() == ["/s/x"]
    assert session.blocked(service.url + "/s/z")
    assert not session.blocked(service.url + "/other")


def test_a_challenge_is_one_whatever_its_status(service, session, answer):
    service.route = lambda ask: answer(CHALLENGE, 200, "application/json")
    with pytest.raises(BlockedError):
        session.json(service.url + "/s/x")
    assert len(service.asked) == 1


def test_three_plain_403_in_a_row_stop_the_host(service, session, answer):
    service.route = lambda ask: answer(b"no", 403, "text/plain")
    for _ in range(2):
        with pytest.raises(ItemError):
            session.json(service.url + "/x")
    with pytest.raises(BlockedError):
        session.json(service.url + "/x")
    assert len(service.asked) == 3


def test_objects_that_s3_does_not_have_do_not_stop_it(service, session, answer):
    body = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
    service.route = lambda ask: answer(body, 403, "application/xml")
    for n in range(6):
        with pytest.raises(ItemError, match="AccessDenied"):
            session.json(f"{service.url}/s/{n}")
    assert not session.blocked(service.url + "/s/z")


def test_a_host_that_only_asks_to_wait_is_stopped_after_two_items(service, session, answer, time_):
    service.route = lambda ask: answer(b"error code: 1015", 429) if "/s/" in ask.path else answer(b"{}")
    with pytest.raises(ItemError, match="429"):
        session.json(service.url + "/s/1")
    with pytest.raises(BlockedError, match="run the same command again"):
        session.json(service.url + "/s/2")
    assert session.json(service.url + "/other") == {}


def test_one_item_that_stays_limited_does_not_stop_the_host(service, session, answer):
    service.route = lambda ask: answer(b"error code: 1015", 429) if ask.path == "/s/bad" else answer(b"{}")
    for _ in range(3):
        with pytest.raises(ItemError, match="429"):
            session.json(service.url + "/s/bad")
        assert session.json(service.url + "/s/good") == {}


def test_a_host_that_is_down_is_given_up_after_some_items(service, session, answer):
    service.route = lambda ask: answer(b"", 503)
    failures = []
    for n in range(12):
        try:
            session.json(f"{service.url}/s/{n}")
        except (ItemError, BlockedError) as error:
            failures.append(type(error))
    assert failures[:7] == [ItemError] * 7
    assert set(failures[7:]) == {BlockedError}
    assert len({ask.path for ask in service.asked}) == 8


def test_spacing_counts_from_the_answer_and_a_clock_jump_changes_nothing(service, answer, time_, monkeypatch):
    spaced = Session("a@b.edu", spacing=3, clock=time_.clock, sleep=time_.sleep)
    service.route = lambda ask: answer(b"{}")
    spaced.json(service.url + "/1")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    spaced.json(service.url + "/2")
    time_.now += 1
    spaced.json(service.url + "/3")
    assert time_.slept == [3.0, 2.0]


def test_spacing_survives_a_restart(service, answer, time_, tmp_path):
    def new() -> Session:
        return Session("a@b.edu", spacing=50, state=tmp_path, clock=time_.clock, sleep=time_.sleep)

    service.route = lambda ask: answer(b"{}")
    new().json(service.url + "/1")
    new().json(service.url + "/2")
    assert 45 < time_.slept[0] <= 50
    mark = next(tmp_path.iterdir())
    os.utime(mark, (time.time() + 1e6,) * 2)  # the clock was set back since
    new().json(service.url + "/3")
    assert time_.slept[-1] == pytest.approx(50, abs=1)


def test_the_floor_holds_on_the_services_own_sites_only():
    assert rule_for("https://www.medrxiv.org/content/x", 0).spacing == 7
    assert rule_for("https://www.biorxiv.org/content/x", 10).spacing == 10
    assert rule_for("https://MEDRXIV.org/x", 1).spacing == 7
    assert rule_for("http://127.0.0.1:9/www.medrxiv.org/content/x", 0).spacing == 0
    assert rule_for("https://notmedrxiv.org/x", 2).spacing == 2
    assert rule_for("https://api.biorxiv.org/details", 0).spacing == 1
    assert rule_for("https://eutils.ncbi.nlm.nih.gov/x", 0).spacing == pytest.approx(1 / 3, abs=0.02)
    assert rule_for("https://eutils.ncbi.nlm.nih.gov/x", 0, "key").spacing == pytest.approx(0.1, abs=0.02)


def test_redirects_stay_within_the_site(service, session, answer):
    service.route = lambda ask: answer(b"{}") if ask.path == "/new" else answer(b"", 301, headers={"Location": "/new"})
    assert session.json(service.url + "/old") == {}
    service.route = lambda ask: answer(b"", 302, headers={"Location": "https://elsewhere.org/x"})
    with pytest.raises(ItemError, match=r"redirect to https://elsewhere\.org"):
        session.json(service.url + "/x")
    service.route = lambda ask: answer(b"", 302, headers={"Location": ask.path + "x"})
    with pytest.raises(ItemError, match="redirects"):
        session.json(service.url + "/loop")


def test_same_site():
    assert same_site("https://www.medrxiv.org/a", "https://medrxiv.org/b")
    assert same_site("https://www.ncbi.nlm.nih.gov/a", "https://pmc.ncbi.nlm.nih.gov/b")
    assert not same_site("https://www.medrxiv.org/a", "http://www.medrxiv.org/b")
    assert not same_site("https://www.medrxiv.org/a", "https://medrxiv.org.evil.com/b")
    assert not same_site("https://www.medrxiv.org/a", "file:///etc/passwd")
    assert not same_site("http://127.0.0.1:80/a", "http://127.0.0.1:81/b")


def test_a_run_against_a_stand_in_never_leaves_the_machine():
    with pytest.raises(ItemError, match="stand-in"):
        Session("a@b.edu", local=True).json("https://api.biorxiv.org/details/medrxiv/2020-01-19/2020-01-20/0/json")


def test_the_contact_is_in_the_user_agent(service, session, answer):
    service.route = lambda ask: answer(b"{}")
    session.json(service.url + "/x")
    agent = service.asked[0].headers["user-agent"]
    assert "covidct" in agent and "curator@university.edu" in agent


@pytest.mark.parametrize("contact", ["", "me", "me@example.com", "you@example.org", "a b@c.de", "x@y"])
def test_a_live_run_without_a_contact_is_refused(contact):
    with pytest.raises(SettingError, match="--contact"):
        check_services(contact, {"api": "https://api.biorxiv.org"})
    check_services(contact, {"api": "http://127.0.0.1:8000"})
    check_services("me@university.edu", {"api": "https://api.biorxiv.org"})


def test_an_address_that_is_none_is_refused():
    for url in ("ftp://x.org", "api.biorxiv.org", "http://", "http://[x/", "http://x.org:99999/"):
        with pytest.raises(SettingError, match="--api"):
            check_services("me@university.edu", {"api": url})


def test_which_addresses_are_of_the_open_web():
    for url in (
        "https://www.medrxiv.org/x", "http://8.8.8.8/", "http://[2606:4700::1111]/", "https://pmc-oa.s3.amazonaws.com:443/a",
    ):  # fmt: skip
        assert is_public(url), url
    for url in (
        "http://127.0.0.1/", "http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://0/", "http://[::1]/",
        "http://[::ffff:10.0.0.1]/", "http://10.0.0.1:8080/", "http://me@192.168.0.1/", "http://172.16.0.1/",
        "http://169.254.169.254/latest", "http://100.64.0.1/", "http://[fe80::1]/", "http://[fd00::1]/", "http://224.0.0.1/",
        "http://localhost./", "http://LOCALHOST/", "http://router/", "http://nas.local/", "http://\uff11\uff12\uff17.0.0.1/",
        "http://10.0.0.1%20/", "http://[x/", "http://x.org:99999/", "ftp://x.org/", "file:///etc/passwd", "http://", "",
    ):  # fmt: skip
        assert not is_public(url), url


def test_a_huge_answer_is_refused_before_it_is_read(service, session, answer):
    service.route = lambda ask: answer(b"{}", announce=10 << 30)
    with pytest.raises(ItemError, match="10737418240"):
        session.json(service.url + "/x")
    assert len(service.asked) == 1


def test_xml_entities_are_refused_and_a_doctype_is_not():
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]><a>&y;</a>'
    with pytest.raises(ItemError, match="entity"):
        parse_xml(bomb, "here")
    outside = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    with pytest.raises(ItemError):
        parse_xml(outside, "here")
    assert parse_xml(b'<!DOCTYPE article PUBLIC "-//NLM//DTD" "x.dtd"><article>caf&#xE9;</article>', "h").text == "café"


def test_cut_off_xml_is_asked_for_again(service, session, answer):
    service.route = in_order(answer(b"<a><b>", type="text/xml"), answer(b"<a><b/></a>", type="text/xml"))
    assert session.xml(service.url + "/x").tag == "a"


def test_sniff():
    assert sniff(b"%PDF-1.4\n") == "pdf"
    assert sniff(b"\n\n%PDF-1.4\n") == "pdf"
    assert sniff(b"<html>%PDF-1.4") == "html"
    assert sniff(b"  <!DOCTYPE html>") == "html"
    assert sniff(b'<?xml version="1.0"?>') == "xml"
    assert sniff(b"\xff\xd8\xff\xe0") == "jpeg"
    assert sniff(b"") == "empty"
    assert is_challenge(CHALLENGE) and not is_challenge(b"<html><title>Just a moment in time</title>"[:0])


def test_no_state_folder_is_needed(service, answer):
    service.route = lambda ask: answer(b"{}")
    assert Session("", spacing=0).json(service.url + "/x") == {}
    assert not Path("hosts").exists()


@pytest.mark.parametrize("place", ["http://[x/", "http://127.0.0.1:99999/x", "//[", "http://\u2100.example/"])
def test_a_redirect_to_no_address_fails_the_item_only(service, session, answer, place):
    place = place.encode().decode("latin-1")
    service.route = lambda ask: answer(b"", 302, headers={"Location": place})
    with pytest.raises(ItemError, match="a redirect to"):
        session.json(service.url + "/x")
    assert not same_site("https://www.medrxiv.org/a", place)


def test_half_characters_in_json_become_a_replacement(service, session, answer):
    body = (
        b'{"title": "COVID-19 \\ud83d CT", "list": [{"a\\udc00": "\xed\xa0\xbd"}], "whole": "\\ud83d\\ude00", "n": 1}'
    )
    service.route = lambda ask: answer(body)
    found = session.json(service.url + "/x")
    assert found["title"] == "COVID-19 \ufffd CT" and found["whole"] == "\U0001f600" and found["n"] == 1
    str(found).encode("utf-8")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html><title>Access denied | www.medrxiv.org used Cloudflare to restrict access</title></html>", "CF-RAY"),
        (b"error code: 1020", "CF-RAY"),
        (b"no", "cf-mitigated"),
    ],
)
def test_a_403_by_way_of_cloudflare_stops_the_host_at_once_whatever_it_says(service, session, answer, body, headers):
    service.route = lambda ask: answer(body, 403, "text/html", {headers: "cloudflare"})
    with pytest.raises(BlockedError, match="by Cloudflare"):
        session.json(service.url + "/s/x")
    assert session.blocked(service.url + "/s/y") and len(service.asked) == 1
    assert is_cloudflare({"server": "cloudflare"}) is is_cloudflare({"Server": "Cloudflare"}) is True
    assert not is_cloudflare({"Server": "AmazonS3"})


def test_the_wait_of_an_items_last_try_holds_for_the_next_item(service, session, answer, time_):
    service.route = lambda ask: (
        answer(b"slow", 429, "text/plain", {"Retry-After": "100"}) if ask.path == "/x" else answer(b"{}")
    )
    with pytest.raises(ItemError):
        session.json(service.url + "/x")
    before = len(time_.slept)
    assert sum(time_.slept) == 100 * before and before == session.rule(service.url).tries - 1  # never twice
    session.json(service.url + "/y")
    assert time_.slept[before:] == [100]
