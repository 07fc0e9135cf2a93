# ruff: noqa: E501
"""Archives from elsewhere: zip, tar, and what hostile ones try."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest import packages
from harvest.archives import open_archive
from harvest.errors import ItemError
from harvest.meca import describe_archive
from harvest.preprints import app

JATS = '<article><front><article-meta><article-id pub-id-type="doi">{doi}</article-id>{version}</article-meta></front></article>'
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


def tape(path: Path, *entries: tuple[str, bytes, bytes]) -> Path:
    """A tar.gz of (name, type, content or link target)."""
    with tarfile.open(path, "w:gz") as out:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
            else:
                info.linkname = data.decode()
                out.addfile(info)
    return path


@pytest.mark.parametrize(
    "name", ["../outside.txt", "content/../../outside.txt", "/etc/passwd", "C:\\x", "..\\x", "a/b/../../../c"]
)
def test_members_that_climb_out_make_the_archive_unusable(tmp_path, name):
    """Trap 19, for zip and tar."""
    with (
        pytest.raises(ItemError, match="inside the archive's folder"),
        open_archive(meca(tmp_path / "a.meca", "10.1101/x", extra={name: b"evil"})),
    ):
        pass
    with (
        pytest.raises(ItemError, match="inside the archive's folder"),
        open_archive(tape(tmp_path / "a.tar.gz", (name, tarfile.REGTYPE, b"evil"))),
    ):
        pass


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tape(tmp_path / "a.tar.gz", ("PMC1/ok.nxml", tarfile.REGTYPE, b"x"), ("PMC1/evil", kind, b"/etc/passwd"))
    with pytest.raises(ItemError, match="link or device"), open_archive(path):
        pass


def test_a_bomb_stops_at_its_limit(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("a", b"\0" * 20_000_000)
    with open_archive(path) as archive, pytest.raises(ItemError, match="at most 1000000 bytes"):
        archive.read("a", 1_000_000)


def test_too_many_members_and_broken_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as book:
        for n in range(5001):
            book.writestr(str(n), b"")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    (tmp_path / "cut.tar.gz").write_bytes(
        tape(tmp_path / "x.tar.gz", ("a", tarfile.REGTYPE, b"y" * 9999)).read_bytes()[:60]
    )
    for name in ("many.zip", "broken.zip", "cut.tar.gz"):
        with pytest.raises(ItemError, match=name), open_archive(tmp_path / name):
            pass


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
    import json

    rows = [
        {"doi": f"10.1101/{n}", "title": "COVID-19", "date": "2020-02-11", "version": "1", "type": "", "license": "cc_by",
         "authors": "", "category": "", "abstract": "", "published": "NA", "server": "medRxiv"} for n in "abcd"
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
    assert asked == ["/content/10.1101/bv1.full.pdf", "/content/10.1101/cv1.full.pdf"]
    records = [json.loads(line) for line in (tmp_path / "out" / "preprints.jsonl").read_text().splitlines()]
    assert [(r["doi"], r["url"]) for r in records] == [
        ("10.1101/a", "meca:1.meca/content/paper.pdf"),
        ("10.1101/b", "https://www.medrxiv.org/content/10.1101/bv1.full.pdf"),
        ("10.1101/c", "https://www.medrxiv.org/content/10.1101/cv1.full.pdf"),
    ]
    failed = (tmp_path / "out" / "failed.jsonl").read_text()
    assert "3.meca" in failed and "expected pdf, got html" in failed
    assert not (tmp_path / "x").exists() and not (tmp_path.parent / "x").exists()


def test_packages_of_pubmed_central(tmp_path):
    text = (
        b'<article xmlns:xlink="http://www.w3.org/1999/xlink"><body><fig><label>Fig. 1</label>'
        b'<graphic xlink:href="x-g1"/></fig></body></article>'
    )
    tape(
        tmp_path / "PMC7.tar.gz",
        ("PMC7/paper.nxml", tarfile.REGTYPE, text),
        ("PMC7/x-g1.jpg", tarfile.REGTYPE, b"\xff\xd8\xff"),
    )
    found = packages.find(tmp_path, "PMC7")
    assert found is not None and packages.find(tmp_path, "PMC8") is None and packages.find(None, "PMC7") is None
    article, files = packages.read(found)
    assert article.figures[0].graphics == ("x-g1",)
    assert packages.parts(files[1].url) == ("PMC7.tar.gz", "PMC7/x-g1.jpg")
