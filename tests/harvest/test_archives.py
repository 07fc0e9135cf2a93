"""Archives from elsewhere: zip, tar, and what hostile ones try."""

from __future__ import annotations

import io
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
