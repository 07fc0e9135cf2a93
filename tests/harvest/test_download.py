"""Files: complete, of the right kind, within limits, gone on with where they stopped."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from harvest.download import download
from harvest.errors import BlockedError, DiskFullError, ItemError
from harvest.store import Store

PDF = b"%PDF-1.4\n" + os.urandom(300_000) + b"\n%%EOF\n"
LIMIT = 10 << 20


def of_file(answer, body=PDF, tag='"v1"'):
    """A route that serves a file with a validator and ranges."""

    def route(ask):
        wanted = ask.headers.get("range", "")
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        if wanted and ask.headers.get("if-range") == tag:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return answer(body[start:], 206, "application/pdf", headers)
        return answer(body, 200, "application/pdf", headers)

    return route


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_saved_under_its_name_only_when_complete(service, session, answer, tmp_path):
    service.route = of_file(answer)
    saved = download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF
    assert (saved.sha256, saved.bytes, saved.kind) == (hashlib.sha256(PDF).hexdigest(), len(PDF), "pdf")
    assert left_over(tmp_path) == ["a.pdf"]


def test_a_truncated_body_is_gone_on_with_by_range(service, session, answer, tmp_path):
    good = of_file(answer)

    def route(ask):
        if len(service.asked) == 1:
            return answer(PDF[:200_000], 200, "application/pdf", {"ETag": '"v1"'}, announce=len(PDF))
        return good(ask)

    service.route = route
    saved = download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF and saved.sha256 == hashlib.sha256(PDF).hexdigest()
    begun = int(service.asked[1].headers["range"].removeprefix("bytes=").rstrip("-"))
    assert 100_000 < begun <= 200_000
    assert service.asked[1].headers["if-range"] == '"v1"'


def test_a_partial_file_of_another_state_is_begun_again(service, session, answer, tmp_path):
    (tmp_path / "a.pdf.part").write_bytes(b"%PDF-other")
    (tmp_path / "a.pdf.part.json").write_text(json.dumps({"url": f"{service.url}/x", "validator": '"old"'}))
    service.route = of_file(answer)  # its tag is another one: the whole file comes
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF
    assert service.asked[0].headers["range"] == "bytes=10-"


@pytest.mark.parametrize("note", ["", "not json", "[]", '{"url": "http://127.0.0.1/other", "validator": "x"}'])
def test_a_partial_file_without_a_fitting_note_is_not_trusted(service, session, answer, tmp_path, note):
    (tmp_path / "a.pdf.part").write_bytes(b"%PDF-other")
    if note:
        (tmp_path / "a.pdf.part.json").write_text(note)
    service.route = of_file(answer)
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF
    assert "range" not in service.asked[0].headers


def test_a_range_answer_that_begins_elsewhere_is_not_appended(service, session, answer, tmp_path):
    (tmp_path / "a.pdf.part").write_bytes(PDF[:1000])
    (tmp_path / "a.pdf.part.json").write_text(json.dumps({"url": f"{service.url}/x", "validator": '"v1"'}))

    def route(ask):
        if "range" in ask.headers:
            return answer(PDF[5:], 206, "application/pdf", {"Content-Range": f"bytes 5-{len(PDF) - 1}/{len(PDF)}"})
        return answer(PDF, 200, "application/pdf")

    service.route = route
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF


def test_a_run_killed_at_its_new_note_does_not_go_on_with_the_old_bytes(
    service, session, answer, tmp_path, monkeypatch
):
    (tmp_path / "a.pdf.part").write_bytes(b"%PDF-1.4\n" + b"old" * 1000)
    service.route = of_file(answer)
    write = Path.write_text

    def killed(self, *args, **options):
        write(self, *args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    monkeypatch.undo()
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF


def test_a_challenge_page_never_becomes_a_pdf(service, session, answer, tmp_path):
    page = b"<!DOCTYPE html><html><head><title>Just a moment...</title>" + b" " * 6000 + b"</html>"
    service.route = lambda ask: answer(page, 200, "application/pdf")
    with pytest.raises(BlockedError):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert not (tmp_path / "a.pdf").exists()
    assert len(service.asked) == 1


@pytest.mark.parametrize("body", [b"<html><title>Preparing to download</title></html>", b"", b"error"])
def test_text_instead_of_a_pdf_is_asked_again_and_then_failed(service, session, answer, tmp_path, body):
    service.route = lambda ask: answer(body, 200, "application/pdf")
    with pytest.raises(ItemError, match="expected pdf, got"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert not (tmp_path / "a.pdf").exists() and len(service.asked) > 1


def test_a_picture_instead_of_a_pdf_is_failed_at_once(service, session, answer, tmp_path):
    service.route = lambda ask: answer(b"\x89PNG\r\n\x1a\n" + b"x" * 2000, 200, "application/pdf")
    with pytest.raises(ItemError, match="got png"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert len(service.asked) == 1


def test_a_pdf_without_length_must_end_like_one(service, session, answer, tmp_path):
    cut = [True, False]
    service.route = lambda ask: answer(PDF[:100_000] if cut.pop(0) else PDF, 200, "application/pdf", raw=True)
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF


def test_a_wrong_md5_is_asked_again_and_never_kept(service, session, answer, tmp_path):
    service.route = lambda ask: answer(PDF[:-1] + bytes([PDF[-1] ^ 1]), 200, headers={"ETag": '"v1"'})
    right = hashlib.md5(PDF).hexdigest()
    with pytest.raises(ItemError, match=f"expected MD5 {right}"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT, md5=right)
    assert not (tmp_path / "a.pdf").exists()
    service.route = of_file(answer)
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT, md5=right.upper())


def test_ten_gigabytes_are_refused_before_a_byte_is_read(service, session, answer, tmp_path):
    service.route = lambda ask: answer(PDF, 200, "application/pdf", announce=10 << 30)
    with pytest.raises(ItemError, match="announcement of 10737418240"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert left_over(tmp_path) == [] and len(service.asked) == 1


def test_an_endless_body_stops_at_the_limit(service, session, answer, tmp_path):
    service.route = lambda ask: answer(b"%PDF-" + b"x" * 500_000, 200, "application/pdf", raw=True)
    with pytest.raises(ItemError, match="at most 100000 bytes"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, 100_000)


def test_a_full_disk_stops_the_run_and_leaves_no_file(service, session, answer, tmp_path, monkeypatch):
    service.route = of_file(answer)
    real = Path.open

    class Full:
        def __init__(self, handle):
            self.handle = handle

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.handle.close()

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(self, mode="r", *args, **kwargs):
        handle = real(self, mode, *args, **kwargs)
        return Full(handle) if self.name.endswith(".part") and "b" in mode and mode != "rb" else handle

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DiskFullError, match="run the same command again"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    monkeypatch.undo()
    assert not (tmp_path / "a.pdf").exists() and not (tmp_path / "a.pdf.part").exists()
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF


def test_a_file_larger_than_the_free_space_is_not_begun(service, session, answer, tmp_path, monkeypatch):
    service.route = of_file(answer)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskFullError):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert left_over(tmp_path) == []


def test_a_file_that_trickles_is_given_up(service, session, answer, tmp_path, time_):
    session.item_seconds = 5.0
    ticks = iter(range(0, 10_000, 10))
    session.clock = lambda: 1000.0 + next(ticks)
    service.route = of_file(answer)
    with pytest.raises(ItemError, match="took more than 5 s"):
        download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)


@pytest.mark.parametrize("header", ["ETag", "Last-Modified", "X-None"])
def test_a_piece_of_another_state_is_not_appended_where_if_range_is_overlooked(
    service, session, answer, tmp_path, header
):
    noted = '"v1"' if header != "Last-Modified" else "Wed, 25 Mar 2020 10:00:00 GMT"
    newer = '"v2"' if header != "Last-Modified" else "Thu, 26 Mar 2020 10:00:00 GMT"
    (tmp_path / "a.pdf.part").write_bytes(b"%PDF-1.4\n" + b"old" * 1000)
    (tmp_path / "a.pdf.part.json").write_text(json.dumps({"url": f"{service.url}/x", "validator": noted}))

    def route(ask):
        if "range" not in ask.headers:
            return answer(PDF, 200, "application/pdf", {header: newer})
        start = int(ask.headers["range"].removeprefix("bytes=").rstrip("-"))
        headers = {header: newer, "Content-Range": f"bytes {start}-{len(PDF) - 1}/{len(PDF)}"}
        return answer(PDF[start:], 206, "application/pdf", headers)

    service.route = route
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF and len(service.asked) == 2


def test_half_a_pdf_is_asked_again_though_its_length_was_announced(service, session, answer, tmp_path):
    cut = [True, False]
    service.route = lambda ask: answer(PDF[:100_000] if cut.pop(0) else PDF, 200, "application/pdf", {"ETag": '"v1"'})
    download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT)
    assert (tmp_path / "a.pdf").read_bytes() == PDF
    assert "range" not in service.asked[1].headers
    service.route = lambda ask: answer(PDF[:100_000], 200, "application/pdf")
    with pytest.raises(ItemError, match="cut off after 100000 bytes"):
        download(session, service.url + "/x", tmp_path / "b.pdf", {"pdf"}, LIMIT)
    assert not (tmp_path / "b.pdf").exists()


def test_a_cached_file_is_used_only_for_the_address_and_bytes_it_was_fetched_for(service, session, answer, tmp_path):
    """Two routes may give one name other pictures."""
    bodies = {"/one": PDF, "/two": PDF[:9] + b"other" + PDF[9:]}
    service.route = lambda ask: answer(bodies[ask.path], 200, "application/pdf")
    store = Store(tmp_path)
    kinds = frozenset({"pdf"})

    def fetch(path, md5=""):
        saved = store.fetch(session, "a", service.url + path, kinds, LIMIT, md5, canonical=f"https://public{path}")
        return saved.sha256 == hashlib.sha256(bodies[path]).hexdigest() and store.url_of("a") == f"https://public{path}"

    assert fetch("/one") and fetch("/one") and len(service.asked) == 1
    assert fetch("/two") and len(service.asked) == 2
    bodies["/two"] += b"\n%%EOF\n"
    assert fetch("/two", hashlib.md5(bodies["/two"]).hexdigest()) and len(service.asked) == 3
    assert fetch("/two", hashlib.md5(bodies["/two"]).hexdigest().upper()) and len(service.asked) == 3
    store.close()


def test_a_whole_pdf_filled_up_to_a_block_is_whole(service, session, answer, tmp_path):
    service.route = lambda ask: answer(PDF + b"\0" * 4096, 200, "application/pdf")
    assert download(session, service.url + "/x", tmp_path / "a.pdf", {"pdf"}, LIMIT).bytes == len(PDF) + 4096
    assert len(service.asked) == 1
