"""Members of zip and tar archives from elsewhere: none may leave the archive's folder, be a link, or be a bomb."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from harvest.errors import ItemError

_MEMBERS = 5000
_NAME = 1024
_PIECE = 1 << 20
"""bytes that listing may want at once: a long name, the extended headers of a member"""
_FLOOR, _TIMES = 256 << 20, 100
"""bytes that a compressed tar may give: so many, and so many times its own size (pictures give 1 to 20 times)"""
# A damaged member shows only while it is read, and then by its compressor's own error.
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, EOFError
)  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """An open archive: ``names`` of its files, all checked."""

    path: Path
    names: tuple[str, ...]
    _inner: zipfile.ZipFile | tarfile.TarFile

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream."""
        if isinstance(self._inner, zipfile.ZipFile):
            return self._inner.open(name)
        found = self._inner.extractfile(name)
        if found is None:
            raise ItemError(f"{self.path.name}: {name}: expected a file, got something else")
        return found

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes, at most ``limit`` whatever it announces."""
        with self.open(name) as source:
            body = source.read(limit + 1)
        if len(body) > limit:
            raise ItemError(f"{self.path.name}: {name}: expected at most {limit} bytes, got more")
        return body


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip (``.meca``) or tar archive after a look at every member's name.

    Raises ItemError for a name that climbs out or is too long, a link or device, too many members, a tar that gives far
    more than its size, or a broken archive: nothing of it is used then.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as book:
                entries = book.infolist()
                _refuse(path, [entry.filename for entry in entries], [])
                yield Archive(path, tuple(e.filename for e in entries if not e.is_dir()), book)
        else:
            with _unpacked(path) as stream, tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tape:
                names: list[str] = []
                odd: list[str] = []
                files: list[str] = []
                for entry in tape:
                    names.append(entry.name)
                    _refuse(path, names[-1:], [])  # at once: long ones would fill the memory before all are listed
                    odd += [] if entry.isfile() or entry.isdir() else [entry.name]
                    files += [entry.name] if entry.isfile() else []
                    if len(names) > _MEMBERS:
                        break
                _refuse(path, names, odd)
                stream.piece = None
                yield Archive(path, tuple(files), tape)
    except _BROKEN as error:
        raise ItemError(f"{path.name}: expected a zip or tar archive, got {type(error).__name__}: {error}") from error
    except (OSError, RuntimeError) as error:
        if isinstance(error, ItemError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ItemError(f"{path.name}: expected a readable archive, got {type(error).__name__}: {error}") from error


class _Bounded(io.RawIOBase):
    """A tar as it is unpacked, within limits: listing reads past every member, which costs what its headers say."""

    def __init__(self, path: Path, inner: BinaryIO, total: int) -> None:
        self.path, self.inner, self.total = path, inner, total
        self.piece: int | None = _PIECE

    def read(self, size: int = -1) -> bytes:
        if self.piece is not None and not 0 <= size <= self.piece:
            raise ItemError(f"{self.path.name}: expected headers of at most {self.piece} bytes, got one of {size}")
        self._within(self.inner.tell() + max(size, 0))
        return self.inner.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._within(offset)
        return self.inner.seek(offset, whence)

    def tell(self) -> int:
        return self.inner.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.inner.close()
        super().close()

    def _within(self, position: int) -> None:
        if position > self.total:
            raise ItemError(
                f"{self.path.name}: expected a tar that gives at most {self.total} bytes ({_FLOOR >> 20} MB and "
                f"{_TIMES} times its size), got more; the archive is not used"
            )


def _unpacked(path: Path) -> _Bounded:
    """The bytes of a tar file, whatever it is packed with."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        inner = cast(BinaryIO, gzip.GzipFile(path))
    elif start.startswith(b"BZh"):
        inner = cast(BinaryIO, bz2.BZ2File(path))
    elif start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        inner = cast(BinaryIO, lzma.LZMAFile(path))  # noqa: SIM115 - closed by what it is given to
    else:
        inner = path.open("rb")
    return _Bounded(path, inner, _FLOOR + _TIMES * path.stat().st_size)


def _refuse(path: Path, names: list[str], odd: list[str]) -> None:
    if len(names) > _MEMBERS:
        raise ItemError(f"{path.name}: expected at most {_MEMBERS} members, got more")
    for name in names:
        if len(name) > _NAME:
            raise ItemError(
                f"{path.name}: expected names of at most {_NAME} characters, got {len(name)}: {name[:80]!r}…"
            )
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
            raise ItemError(
                f"{path.name}: expected members inside the archive's folder, got {name!r}; the archive is not used"
            )
    if odd:
        raise ItemError(f"{path.name}: expected files and folders, got a link or device {odd[0]!r}; it is not used")
