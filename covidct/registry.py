"""Which versions there are: the folder ``covidct/releases`` of a repository, one sub-folder per version, never changed.

A version's folder holds ``release.json`` (what it is), ``manifest.csv`` (every file with size, SHA-256 and MD5) and
``splits.csv``; all are small and live in git. Pictures live in a DVC remote under their MD5.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covidct.files import PathError, inside, read_json, sha256_file

RELEASES = Path("covidct") / "releases"
MANIFEST = "manifest.csv"
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")


class VersionError(ValueError):
    """A version that does not exist, or whose registration is damaged: what, expected, got, next step."""


@dataclass(frozen=True)
class Entry:
    """One file of a release."""

    path: str
    bytes: int
    sha256: str
    md5: str


@dataclass(frozen=True)
class Release:
    """A registered version: its facts, its files, and the repository that registered it."""

    version: str
    repository: Path
    facts: dict[str, Any]
    entries: tuple[Entry, ...]

    @property
    def key(self) -> str:
        """Name of its folder in the cache: version and the start of the manifest's hash."""
        return f"{self.version}-{self.facts['manifest_sha256'][:12]}"


def locate(repository: Path | str | None = None) -> Path:
    """The repository whose versions are meant: the one given, $COVIDCT_REPO, the clone around the working folder, else
    the one this package lies in."""
    if repository:
        return Path(repository)
    if named := os.environ.get("COVIDCT_REPO"):
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / RELEASES).is_dir():
            return folder
    return Path(__file__).resolve().parents[1]


def names(repository: Path) -> list[str]:
    """Versions registered in a repository, oldest first as registered by ``order``, then by name."""
    found = []
    for path in (repository / RELEASES).glob("*/release.json"):
        try:
            order = int(read_json(path).get("order", 0))
        except (ValueError, TypeError, AttributeError, OverflowError):
            order = 0
        found.append((order, path.parent.name))
    return [name for _, name in sorted(found)]


def read(version: str, repository: Path) -> Release:
    """A registered version, its manifest verified. Raises VersionError; an unknown one lists those there are."""
    there = names(repository)
    if version not in there:
        raise VersionError(
            f"version {version!r}: expected one of {', '.join(there) or '(none)'}, which {repository / RELEASES} has, "
            "or a folder with records.csv; name another repository with --repo (repo=…) or $COVIDCT_REPO, or update it "
            "(git pull)"
        )
    folder = repository / RELEASES / version
    try:
        facts = read_json(folder / "release.json")
        wanted = str(facts["manifest_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(f"{folder / 'release.json'}: expected the facts of a version, got {error}") from error
    manifest = folder / "manifest.csv"
    if not manifest.is_file() or (got := sha256_file(manifest)) != wanted:
        raise VersionError(
            f"{manifest}: expected sha256 {wanted[:12]}…, got {got[:12] + '…' if manifest.is_file() else 'no file'}; "
            "a version never changes: restore it (git checkout)"
        )
    return Release(version, repository, facts, tuple(read_manifest(manifest)))


def manifest_of(folder: Path) -> tuple[list[Entry], list[str]] | None:
    """Files that a release's folder should hold, and problems of its manifest; None where it has no manifest.

    A folder that lies where a repository registered it, or in the cache under its manifest's hash, is held against
    that: a manifest changed along with its files does not pass. Raises VersionError (damaged manifest, registration).
    """
    own = folder / MANIFEST
    whole = folder.resolve()
    for repository in whole.parents:
        for version in names(repository):
            release = read(version, repository)
            if (repository / str(release.facts.get("path", f"releases/{version}"))).resolve() != whole:
                continue
            if not own.is_file():
                return list(release.entries), [f"{MANIFEST}: missing"]
            same = sha256_file(own) == release.facts["manifest_sha256"]
            return list(release.entries), [] if same else [f"{MANIFEST}: not the one registered as {version}"]
    if not own.is_file():
        return None
    cached = re.search(r"-([0-9a-f]{12})$", whole.name)
    other = cached is not None and not sha256_file(own).startswith(cached[1])
    return read_manifest(own), [f"{MANIFEST}: not the one that was fetched"] if other else []


def read_manifest(path: Path) -> list[Entry]:
    """Files of a manifest. Raises VersionError (a bad row, or a path that leaves the folder)."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeError, csv.Error) as error:
        raise VersionError(
            f"{path}: expected a manifest, got {error}; restore it or fetch the version again"
        ) from error
    entries = []
    for number, row in enumerate(rows, 2):
        try:
            entry = Entry(row["path"], int(row["bytes"]), row["sha256"], row["md5"])
        except (KeyError, ValueError, TypeError) as error:
            raise VersionError(f"{path}: line {number}: expected path, bytes, sha256, md5, got {row}") from error
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or not re.fullmatch(r"[0-9a-f]{32}", entry.md5):
            raise VersionError(f"{path}: line {number}: expected hexadecimal sha256 and md5, got {row}")
        try:
            inside(path.parent, entry.path)
        except PathError as error:
            raise VersionError(f"{path}: line {number}: {error}") from error
        entries.append(entry)
    return entries
