"""Members of zip and tar archives from elsewhere: none may leave the archive's folder, be a link, or be a bomb."""

from __future__ import annotations

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
from typing import IO

from harvest.errors import ItemError

_MEMBERS = 5000
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

    Raises ItemError for a name that climbs out, a link or device, too many members, or a broken archive: nothing of it
    is used then.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as book:
                entries = book.infolist()
                _refuse(path, [entry.filename for entry in entries], [])
                yield Archive(path, tuple(e.filename for e in entries if not e.is_dir()), book)
        else:
            with tarfile.open(path, "r:*") as tape:
                names: list[str] = []
                odd: list[str] = []
                files: list[str] = []
                for entry in tape:
                    names.append(entry.name)
                    odd += [] if entry.isfile() or entry.isdir() else [entry.name]
                    files += [entry.name] if entry.isfile() else []
                    if len(names) > _MEMBERS:
                        break
                _refuse(path, names, odd)
                yield Archive(path, tuple(files), tape)
    except _BROKEN as error:
        raise ItemError(f"{path.name}: expected a zip or tar archive, got {type(error).__name__}: {error}") from error
    except (OSError, RuntimeError) as error:
        if isinstance(error, ItemError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ItemError(f"{path.name}: expected a readable archive, got {type(error).__name__}: {error}") from error


def _refuse(path: Path, names: list[str], odd: list[str]) -> None:
    if len(names) > _MEMBERS:
        raise ItemError(f"{path.name}: expected at most {_MEMBERS} members, got more")
    for name in names:
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
            raise ItemError(
                f"{path.name}: expected members inside the archive's folder, got {name!r}; the archive is not used"
            )
    if odd:
        raise ItemError(f"{path.name}: expected files and folders, got a link or device {odd[0]!r}; it is not used")
