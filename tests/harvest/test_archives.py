"""Archives from elsewhere: zip, tar, and what hostile ones try."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from harvest.archives import open_archive
from harvest.errors import ItemError


def book(path: Path, members: dict[str, bytes]) -> Path:
    """A zip of (name, content)."""
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)
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
        open_archive(book(tmp_path / "a.meca", {"content/a.pdf": b"%PDF-", name: b"evil"})),
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


def test_a_damaged_member_makes_the_archive_unusable_by_name(tmp_path):
    noise = random.Random(1).randbytes(5000)
    for name, method in (("d.zip", zipfile.ZIP_DEFLATED), ("l.zip", zipfile.ZIP_LZMA), ("b.zip", zipfile.ZIP_BZIP2)):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", method) as book:
            book.writestr("a", noise.hex())
        data = bytearray(path.read_bytes())
        data[60:120] = bytes(byte ^ 0xFF for byte in data[60:120])
        path.write_bytes(data)
        with pytest.raises(ItemError, match=name), open_archive(path) as archive:
            archive.read("a", 1 << 20)


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda body: lzma.compress(body, lzma.FORMAT_ALONE), bytes]
)
def test_a_tar_is_read_whatever_it_is_packed_with(tmp_path, pack):
    body = random.Random(1).randbytes(3 << 20)
    plain = tape(tmp_path / "x.tar.gz", ("a/b.bin", tarfile.REGTYPE, body), ("a/c.txt", tarfile.REGTYPE, b"c"))
    (tmp_path / "a.tar.any").write_bytes(pack(gzip.decompress(plain.read_bytes())))
    with open_archive(tmp_path / "a.tar.any") as archive:
        assert archive.names == ("a/b.bin", "a/c.txt")
        assert archive.read("a/c.txt", 9) == b"c" and archive.read("a/b.bin", 4 << 20) == body


def test_a_tar_that_unpacks_without_end_is_refused_while_it_is_listed(tmp_path, monkeypatch):
    """Names are read whole, and members that nobody asked for are read past: both cost what the headers say."""
    long = tape(tmp_path / "long.tar.gz", ("a" * (40 << 20), tarfile.REGTYPE, b"x"))
    assert long.stat().st_size < 1 << 20
    with (
        pytest.raises(ItemError, match=r"long\.tar\.gz: expected headers of at most 1048576 bytes"),
        open_archive(long),
    ):
        pass
    with (
        pytest.raises(ItemError, match=r"at most 1024 characters, got 1025: 'a+'") as caught,
        open_archive(tape(tmp_path / "name.tar.gz", ("a" * 1025, tarfile.REGTYPE, b"x"))),
    ):
        pass
    assert len(str(caught.value)) < 250
    with pytest.raises(ItemError, match="1024"), open_archive(book(tmp_path / "name.zip", {"a" * 1025: b"x"})):
        pass
    bomb = tape(tmp_path / "bomb.tar.gz", ("a", tarfile.REGTYPE, b"\0" * (30 << 20)), ("b", tarfile.REGTYPE, b"x"))
    with open_archive(bomb) as archive:
        assert archive.names == ("a", "b")
    monkeypatch.setattr("harvest.archives._FLOOR", 20 << 20)
    with pytest.raises(ItemError, match=r"bomb\.tar\.gz: expected a tar that gives at most"), open_archive(bomb):
        pass


def test_a_tar_whose_header_announces_more_than_there_can_be(tmp_path):
    info = tarfile.TarInfo("a")
    info.size = 1 << 50
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 512)
    with pytest.raises(ItemError, match=r"a\.tar: expected a tar that gives at most"), open_archive(tmp_path / "a.tar"):
        pass
