"""Fetching a version: once, verified, resumable, into a cache that versions share.

``$COVIDCT_HOME`` (else ``~/.cache/covidct``) holds ``objects/`` (bytes by SHA-256), one folder per version linked to
them, and ``repos/`` (pointers of repositories given by URL). Nothing gets its final name before its hash was right.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from covidct import pictures, recipes, registry, stores
from covidct.files import inside, sha256_file, write_bytes
from covidct.registry import Entry, Release, VersionError

log = logging.getLogger(__name__)

FULL_CHECK = 1024**3
"""bytes up to which a cached version is hashed whole every time it is loaded; above, sizes are compared"""
WORKERS = 8
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""files that file managers leave anywhere"""
ABANDONED = 24 * 3600
"""seconds after which a half-written file counts as left behind"""


class FetchError(RuntimeError):
    """A version cannot be had: what was tried, why each failed, next step."""


def home_folder(home: Path | str | None = None) -> Path:
    """The cache: ``home``, else $COVIDCT_HOME, else ~/.cache/covidct. Not made here."""
    return Path(home or os.environ.get("COVIDCT_HOME") or Path.home() / ".cache" / "covidct").expanduser()


def repository_of(repo: str | Path | None, home: Path) -> Path:
    """A folder with ``covidct/releases``: the repository itself, or a shallow clone of a git URL kept in the cache."""
    if repo is None or (Path(repo) / registry.RELEASES).is_dir():
        return registry.locate(repo)
    address = str(repo)
    if address.startswith("-"):
        raise FetchError(f"repo {address!r}: expected a git URL or the folder of a clone")
    clone = home / "repos" / hashlib.sha256(address.encode()).hexdigest()[:16]
    if (clone / ".git").is_dir():
        done = _git(["-C", str(clone), "pull", "--quiet", "--ff-only"])
        if done:
            log.warning("repo %s: cannot update (%s); using what was fetched before", address, done)
        return clone
    clone.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=clone.parent, prefix=".clone-"))
    try:
        if said := _git(["clone", "--quiet", "--depth", "1", "--", address, str(part / "it")]):
            raise FetchError(f"repo {address}: expected a git repository that registers versions; git: {said}")
        if not (part / "it" / registry.RELEASES).is_dir():
            raise FetchError(f"repo {address}: expected the folder {registry.RELEASES} in it, got none")
        (part / "it").replace(clone)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return clone


def fetch(
    version: str,
    repo: str | Path | None = None,
    remote: str | None = None,
    home: Path | str | None = None,
    source: Path | str | None = None,
    partial: bool = False,
) -> Path:
    """Folder of a version, every file verified; downloads only what is missing, and resumes where it stopped.

    repo: clone, git path or git URL that registers it. remote: DVC remote by name, folder or URL (default: the
    repository's). source: folder with the pictures of a recipe, whose licence forbids handing them on. partial: take
    a recipe without them. Raises VersionError, FetchError.
    """
    place = home_folder(home)
    try:
        release = registry.read(version, repository_of(repo, place))
        folder = place / release.key
        wrong = list(_wrong(folder, release.entries)) if folder.is_dir() else list(release.entries)
        if wrong:
            if folder.is_dir():
                log.warning("%s: %d damaged or missing files, fetched again", folder, len(wrong))
            _sweep(place)
            _collect(release, wrong, place, remote)
            _assemble(release, place, folder)
        _leave_manifest(release, folder)
    except stores.StoreError as error:
        raise FetchError(f"version {version}: {error}") from error
    swapped = list(_unlike(folder))
    if swapped and source is None:
        raise FetchError(
            f"version {version}: {len(swapped)} pictures of its recipe are not what was released, e.g. {swapped[0]} in "
            f"{folder}; run `covidct fetch {version} --source DIR` with the folder that holds the right ones"
        )
    for file in swapped:
        log.warning("%s: not the picture of the recipe, filled again", folder / file)
        inside(folder, file).unlink()
    lacking = recipes.missing(folder)
    if lacking and source is not None:
        lacking = recipes.fill(folder, Path(source))
    if lacking and not partial:
        raise FetchError(
            f"version {version} is a recipe: {len(lacking)} pictures may not be handed on (e.g. {lacking[0]}); "
            f"run `covidct fetch {version} --source DIR` with the folder that holds them, or accept it "
            "as it is with --partial (partial=True)"
        )
    return folder


def versions(repo: str | Path | None = None, home: Path | str | None = None) -> list[str]:
    """Names of the registered versions, oldest first."""
    return registry.names(repository_of(repo, home_folder(home)))


def verify(version: str, repo: str | Path | None = None, home: Path | str | None = None) -> list[str]:
    """Problems of a version's cached files, each hashed, and files that are none of its; empty = all are what was
    released. Pictures of a recipe are compared by their pixels. Raises VersionError."""
    place = home_folder(home)
    release = registry.read(version, repository_of(repo, place))
    folder = place / release.key
    if not folder.is_dir():
        return [f"{version}: not fetched yet (no {folder}); run `covidct fetch {version}`"]
    return problems(folder, release.entries)


def problems(folder: Path, entries: Iterable[Entry]) -> list[str]:
    """What in a folder is not what a manifest lists: damaged, missing or foreign files, and pictures of the folder's
    recipe that are missing or others (by pixels). Raises PathError."""
    entries = list(entries)
    found = [f"{entry.path}: {_problem(folder, entry)}" for entry in _wrong(folder, entries, full=True)]
    try:
        described = [row["file"] for row in recipes.rows(folder)]
        found += [
            f"{file}: missing; its licence forbids handing it on: `covidct fetch VERSION --source DIR` fills it in"
            for file in recipes.missing(folder)
        ]
        found += [f"{file}: not the picture that recipe.csv describes" for file in _unlike(folder, full=True)]
    except (KeyError, TypeError, UnicodeError) as error:  # a damaged recipe.csv is told above
        described = []
        log.debug("%s: %s", folder / recipes.FILE, error)
    known = {entry.path for entry in entries} | set(described) | {registry.MANIFEST}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()) and path.name not in LITTER:
            found.append(f"{name}: not part of this version; remove it")
    return found


def _unlike(folder: Path, full: bool | None = None) -> Iterator[str]:
    """Files of the folder's recipe that are there but show other pixels. full: look also where all together are large
    (None: not above FULL_CHECK)."""
    there = [row for row in recipes.rows(folder) if inside(folder, row["file"]).is_file()]
    size = sum(inside(folder, row["file"]).stat().st_size for row in there)
    if not there or (full is None and size > FULL_CHECK):
        return
    with (folder / "records.csv").open(encoding="utf-8", newline="") as stream:
        stated = {row["file"]: row["sha256"] for row in csv.DictReader(stream)}
    for row in there:
        path = inside(folder, row["file"])
        if sha256_file(path) == stated.get(row["file"]):
            continue  # the very bytes; decoding is only for a picture that another encoder wrote
        try:
            if recipes.pixel_hash(pictures.to_grey(pictures.open_picture(path))) != row["pixels"]:
                yield row["file"]
        except pictures.PictureError:
            yield row["file"]


def _wrong(folder: Path, entries: Iterable[Entry], full: bool | None = None) -> Iterable[Entry]:
    entries = list(entries)
    full = sum(entry.bytes for entry in entries) <= FULL_CHECK if full is None else full
    for entry in entries:
        path = inside(folder, entry.path)
        if not path.is_file() or path.stat().st_size != entry.bytes or (full and sha256_file(path) != entry.sha256):
            yield entry


def _problem(folder: Path, entry: Entry) -> str:
    path = folder / entry.path
    if not path.is_file():
        return "missing"
    return f"expected sha256 {entry.sha256[:12]}… ({entry.bytes} bytes), got {sha256_file(path)[:12]}…"


def _object(place: Path, sha256: str) -> Path:
    return place / "objects" / sha256[:2] / sha256


def _sweep(place: Path) -> None:
    """Remove what a killed download left half-written, once it is old enough to be nobody's work in progress."""
    limit = time.time() - ABANDONED
    for path in (*place.glob("objects/??/*.part"), *place.glob(".*-*")):
        try:
            if path.stat().st_mtime < limit:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        except FileNotFoundError:  # another process was done with it
            continue


def _collect(release: Release, entries: list[Entry], place: Path, remote: str | None) -> None:
    """Bring every entry's bytes into ``objects/``, verified. Raises FetchError naming the stores that were tried."""
    todo = {entry.sha256: entry for entry in entries if not _sound(_object(place, entry.sha256), entry)}
    tried: list[str] = []
    iterator = stores.of_release(release, remote)
    while todo:
        try:
            store = next(iterator, None)
        except stores.StoreError as error:
            tried.append(str(error))
            break
        if store is None:
            break
        found, reasons = _drain(store, list(todo.values()), place)
        tried.append(f"{store.name}: {len(found)} of {len(todo)}{'; ' + reasons[0] if reasons else ''}")
        for sha256 in found:
            del todo[sha256]
    if todo:
        first = next(iter(todo.values()))
        where = " | ".join(tried) or "nothing: no DVC remote is configured there"
        raise FetchError(
            f"version {release.version}: {len(todo)} of {len(entries)} files could not be had, e.g. {first.path}; "
            f"tried {where}; name another store with --remote (remote=…) (what came is kept)"
        )


def _drain(store: stores.Store, entries: list[Entry], place: Path) -> tuple[list[str], list[str]]:
    reasons: list[str] = []

    def one(entry: Entry) -> str:
        if len(reasons) >= WORKERS:  # a store that is down is not asked 746 times
            return ""
        target = _object(place, entry.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            if not store.get(entry, part):
                return ""
            if not _sound(part, entry):
                reasons.append(f"{entry.path}: the bytes there have another hash")
                return ""
            part.chmod(0o444)
            part.replace(target)
        except stores.StoreError as error:
            reasons.append(str(error))
            return ""
        finally:
            part.unlink(missing_ok=True)
        return entry.sha256

    bar = tqdm(total=len(entries), unit="file", desc=store.name[-40:], disable=not sys.stderr.isatty(), leave=False)
    with bar, ThreadPoolExecutor(WORKERS) as pool:
        found = []
        for sha256 in pool.map(one, entries):
            bar.update()
            if sha256:
                found.append(sha256)
    return found, reasons


def _sound(path: Path, entry: Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes and sha256_file(path) == entry.sha256


def _assemble(release: Release, place: Path, folder: Path) -> None:
    """Link or copy the objects under their names; a folder that is there is mended in place, file by file."""
    made = folder if folder.is_dir() else Path(tempfile.mkdtemp(dir=place, prefix=f".{release.key}-"))
    try:
        for entry in release.entries:
            path = inside(made, entry.path)
            if made is folder and _sound(path, entry):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name[:80]}.part")
            part.unlink(missing_ok=True)
            try:
                os.link(_object(place, entry.sha256), part)
            except OSError:
                shutil.copyfile(_object(place, entry.sha256), part)
            part.replace(path)
        if made is not folder:
            made.chmod(0o755)
            try:
                made.replace(folder)
            except OSError:  # another process was first; its folder was verified as ours was
                if not folder.is_dir():
                    raise
    finally:
        if made is not folder:
            shutil.rmtree(made, ignore_errors=True)


def _leave_manifest(release: Release, folder: Path) -> None:
    """The registered manifest beside the files, so that the folder can be verified by itself."""
    content = (release.repository / registry.RELEASES / release.version / registry.MANIFEST).read_bytes()
    target = folder / registry.MANIFEST
    if not target.is_file() or target.read_bytes() != content:
        write_bytes(target, content)


def _git(arguments: list[str]) -> str:
    """Run git; the error message, empty if all went well."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            [shutil.which("git") or "git", *arguments], capture_output=True, text=True, env=environment, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")


__all__ = ["FetchError", "VersionError", "fetch", "home_folder", "repository_of", "verify", "versions"]
