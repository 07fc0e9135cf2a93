"""`.meca` archives: which version they hold, and PDFs taken from them before the site is asked."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest.errors import ItemError
from harvest.meca import describe_archive, index
from harvest.papers import fetch
from harvest.preprints import app
from harvest.store import Store
from harvest.window import SCHEMA, Wanted

JATS = (
    '<article><front><article-meta><article-id pub-id-type="doi">{doi}</article-id>{version}</article-meta></front>'
    "</article>"
)
PDF = b"%PDF-1.4\n" + b"x" * 3000 + b"\n%%EOF\n"


def meca(path: Path, doi: str, version: str = "", pdf: bytes = PDF, extra: dict[str, bytes] | None = None) -> Path:
    text = f"<article-version>{version}</article-version>" if version else ""
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("manifest.xml", "<manifest/>")
        book.writestr("content/other.pdf", b"%PDF-other")
        book.writestr("content/paper.pdf", pdf)
        book.writestr("content/paper.xml", JATS.replace("{doi}", doi).replace("{version}", text))
        for name, data in (extra or {}).items():
            book.writestr(name, data)
    return path


def test_what_a_meca_archive_holds(tmp_path):
    assert describe_archive(meca(tmp_path / "a.meca", "10.1101/x")) == ("10.1101/x", 1, "content/paper.pdf")
    assert describe_archive(meca(tmp_path / "b.meca", "10.1101/x", "1.2"))[1] == 2
    assert describe_archive(meca(tmp_path / "c.meca", "10.1101/x", "3"))[1] == 3
    evil = '<!DOCTYPE a [<!ENTITY x "y">]><article>&x;</article>'
    with zipfile.ZipFile(tmp_path / "d.meca", "w") as book:
        book.writestr("content/a.xml", evil)
    with pytest.raises(ItemError, match="entity"):
        describe_archive(tmp_path / "d.meca")
    with zipfile.ZipFile(tmp_path / "e.meca", "w") as book:
        book.writestr("content/a.txt", "x")
    with pytest.raises(ItemError, match="found no such pair"):
        describe_archive(tmp_path / "e.meca")


def test_pdfs_come_out_of_archives_before_the_site_is_asked(tmp_path, service, answer):
    rows = [
        {"doi": f"10.1101/{n}", "title": "COVID-19", "date": "2020-02-11", "version": "1", "type": "",
         "server": "medRxiv", "license": "cc_by", "authors": "", "category": "", "abstract": "", "published": ""}
        for n in "abcd"
    ]  # fmt: skip

    def route(ask):
        parts = ask.path.strip("/").split("/")
        if parts[0] == "content":
            return answer(PDF, 200, "application/pdf")
        mine = rows if parts[1] == "medrxiv" and parts[4] == "0" else []
        status = "ok" if mine else "no posts found"
        return answer(json.dumps({"messages": [{"status": status}], "collection": mine}).encode())

    service.route = route
    folder = tmp_path / "meca"
    folder.mkdir()
    meca(folder / "1.meca", "10.1101/a")
    meca(folder / "2.meca", "10.1101/b", "1.2")  # another version
    meca(folder / "3.meca", "10.1101/c", extra={"../../x": b"evil"})
    meca(folder / "4.meca", "10.1101/d", pdf=b"<html>no pdf</html>")
    words = ["--api", service.url, "--site", service.url, "--spacing", "0", "--meca", str(folder), "--no-check-later"]
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), *words])
    assert result.exit_code == 0, result.output
    asked = sorted(path for path in service.paths() if "content" in path)
    assert asked == [f"/content/10.1101/{n}v1.full.pdf" for n in "bcd"]  # d: its member is no PDF
    records = [json.loads(line) for line in (tmp_path / "out" / "preprints.jsonl").read_text().splitlines()]
    assert [(r["doi"], r["url"]) for r in records] == [
        ("10.1101/a", "meca:1.meca/content/paper.pdf"),
        ("10.1101/b", "https://www.medrxiv.org/content/10.1101/bv1.full.pdf"),
        ("10.1101/c", "https://www.medrxiv.org/content/10.1101/cv1.full.pdf"),
        ("10.1101/d", "https://www.medrxiv.org/content/10.1101/dv1.full.pdf"),
    ]
    failed = (tmp_path / "out" / "failed.jsonl").read_text()
    assert "3.meca" in failed and "4.meca" not in failed
    assert not (tmp_path / "x").exists() and not (tmp_path.parent / "x").exists()


def test_a_damaged_member_is_told_where_no_other_source_has_the_paper(tmp_path, service, session, answer):
    store = Store(tmp_path / "store", SCHEMA)
    path = meca(tmp_path / "a.meca", "10.1101/a")
    data = bytearray(path.read_bytes())
    data[data.find(b"xxxx") + 50] ^= 1
    path.write_bytes(data)
    assert index(store, tmp_path) == 1
    service.route = lambda ask: answer(b"no", 404, "text/plain")
    wanted = Wanted(service.url, service.url, ("medrxiv",), "", "", europepmc=service.url + "/epmc")
    row = {"doi": "10.1101/a", "version": 1, "server": "medrxiv"}
    with pytest.raises(ItemError, match=r"a\.meca.*CRC.*HTTP 404.*Europe PMC.*HTTP 404"):
        fetch(session, store, wanted, row)
    assert service.paths() == ["/content/10.1101/av1.full.pdf", "/epmc/search"]
    store.close()


def test_an_archives_bytes_are_never_gone_on_with_from_the_site(tmp_path, service, session, answer):
    """A download was killed; then an archive of the paper comes, and fails in its middle, after a first piece."""
    body = b"%PDF-1.4\n" + random.Random(1).randbytes(300_000) + b"\n%%EOF\n"
    other = body[:9] + bytes(byte ^ 0xFF for byte in body[9:])  # the archive holds another state of the paper
    store = Store(tmp_path / "store", SCHEMA)
    path = meca(tmp_path / "a.meca", "10.1101/a", pdf=other)
    data = bytearray(path.read_bytes())
    data[data.find(other) + 200_000] ^= 1
    path.write_bytes(data)
    assert index(store, tmp_path) == 1

    def route(ask):
        if "range" not in ask.headers:
            return answer(body, 200, "application/pdf", {"ETag": '"v1"'})
        start = int(ask.headers["range"].removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": '"v1"', "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return answer(body[start:], 206, "application/pdf", headers)

    service.route = route
    wanted = Wanted(service.url, service.url, ("medrxiv",), "", "")
    name, url = "av1.pdf", f"{service.url}/content/10.1101/av1.full.pdf"
    (store.files / f"{name}.part").write_bytes(body[:100_000])
    (store.files / f"{name}.part.json").write_text(json.dumps({"url": url, "validator": '"v1"'}))
    row = {"doi": "10.1101/a", "version": 1, "server": "medrxiv"}
    (store.files / f"{name}.unpack").write_bytes(other[:65536])  # what a run killed in an archive leaves
    fetch(session, store, wanted, row)
    assert (store.files / name).read_bytes() == body and store.intact(name)
    assert service.asked[0].headers["range"] == "bytes=100000-"  # the download itself is gone on with
    store.close()


@pytest.mark.parametrize(("kinds", "limit"), [({"png"}, 10_000), ({"pdf"}, 100)])
def test_what_is_refused_while_it_is_unpacked_leaves_nothing(tmp_path, kinds, limit):
    store = Store(tmp_path / "store")
    path = meca(tmp_path / "a.meca", "10.1101/a")
    with pytest.raises(ItemError, match=r"a\.meca"):
        store.unpack("a", path, "content/paper.pdf", frozenset(kinds), limit, "meca:a")
    assert list(store.files.iterdir()) == []
    store.unpack("a", path, "content/paper.pdf", frozenset({"pdf"}), 10_000, "meca:a")
    assert [file.name for file in store.files.iterdir()] == ["a"]
    store.close()
