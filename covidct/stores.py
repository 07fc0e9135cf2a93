"""Where the bytes of a release can come from: folders, the DVC cache and DVC remotes, all addressed by content.

A DVC remote keeps a file under ``files/md5/ab/cdef…``. Folders and plain HTTP need nothing but Python; S3, SSH, GCS and
the rest go through fsspec (extra `release`). Whatever a store gives is checked against the manifest by the caller.
"""

from __future__ import annotations

import configparser
import http.client
import ipaddress
import logging
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from covidct.registry import Entry, Release

log = logging.getLogger(__name__)

TIMEOUT = 60
"""seconds without an answer"""
SLOWEST = 2000
"""bytes a second: a download slower than that for longer than TIMEOUT is given up"""
WAITS = (0.5, 2.0)
"""seconds before each further try of an HTTP download"""


class StoreError(RuntimeError):
    """A store cannot be reached or lacks what is needed to reach it: which, and why."""


class Store(Protocol):
    """Gives the bytes of an entry; ``name`` is what an error calls it."""

    name: str

    def get(self, entry: Entry, target: Path) -> bool:
        """Write the entry's bytes to ``target``; False if it is not here. Raises StoreError."""
        ...


class Folder:
    """Files under their own paths: a release in a working tree, or committed small files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def get(self, entry: Entry, target: Path) -> bool:
        """Copy the file, if it has the right size."""
        path = self.folder / entry.path
        if not path.is_file() or path.stat().st_size != entry.bytes:
            return False
        shutil.copyfile(path, target)
        return True


class Objects:
    """A folder addressed by MD5, as DVC lays it out: its cache, or a remote that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def get(self, entry: Entry, target: Path) -> bool:
        """Copy the object, if it is there."""
        for base in ("files/md5", ""):
            path = self.folder / base / entry.md5[:2] / entry.md5[2:]
            if path.is_file():
                try:
                    shutil.copyfile(path, target)
                except OSError as error:
                    raise StoreError(f"{path}: {error.strerror}") from error
                return True
        return False


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a remote to where it keeps its objects, never from https to http nor from outside into this network."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request to send instead. Raises StoreError where it must not be followed."""
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        weaker = old.scheme == "https" and new.scheme != "https"
        if weaker or (new.netloc != old.netloc and not is_public(new.hostname or "")):
            where = f"{new.scheme}://{new.hostname}"
            raise StoreError(
                f"{old.scheme}://{old.netloc}: expected the object or a redirect to a public address (https if "
                f"asked by https), got a redirect to {where}; if that is the remote, name it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_public(host: str) -> bool:
    """True if a host's addresses are all of the public Internet; one that has none is left to the connection."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True
    return all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


def copy(read: Callable[[int], bytes], entry: Entry, target: Path, name: str) -> None:
    """Write what ``read(at most)`` gives until nothing is left; raises StoreError if it is not the entry's size.

    ``read`` gives what is there: one that waits for all it was asked for would let a slow server keep us for ever.
    """
    left, end = entry.bytes + 1, time.monotonic() + TIMEOUT + entry.bytes / SLOWEST
    with target.open("wb") as out:
        while left > 0 and (chunk := read(min(1 << 20, left))):
            out.write(chunk)
            left -= len(chunk)
            if time.monotonic() > end:
                raise StoreError(
                    f"{name}: {entry.path}: expected at least {SLOWEST} bytes a second, "
                    f"got {entry.bytes + 1 - left} of {entry.bytes} bytes so far"
                )
    if left != 1:
        got = "more" if left < 1 else entry.bytes + 1 - left
        raise StoreError(f"{name}: {entry.path}: expected {entry.bytes} bytes, got {got}")


class Http:
    """A DVC remote behind plain HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.name = self.url
        self.opener = urllib.request.build_opener(Redirects)

    def get(self, entry: Entry, target: Path) -> bool:
        """Download the object, at most the size the manifest states; a fault of the line is tried again."""
        for wait in WAITS:
            try:
                return self._get(entry, target)
            except StoreError as error:
                log.info("%s; once more in %s s", error, wait)
                time.sleep(wait)
        return self._get(entry, target)

    def _get(self, entry: Entry, target: Path) -> bool:
        request = urllib.request.Request(  # noqa: S310  only http and https get here
            f"{self.url}/files/md5/{entry.md5[:2]}/{entry.md5[2:]}", headers={"User-Agent": "covidct"}
        )
        try:
            with self.opener.open(request, timeout=TIMEOUT) as answer:
                copy(answer.read1, entry, target, self.url)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                return False
            raise StoreError(f"{self.url}: HTTP {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"{self.url}: {error}") from error
        return True


class Cloud:
    """A DVC remote on S3, SSH, GCS …, through fsspec."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.name = url
        try:
            import fsspec

            self.files, self.base = fsspec.url_to_fs(url, **options)
        except ImportError as error:
            raise StoreError(f"{url}: {error}; pip install 'covidct[release]'") from error
        except (ValueError, OSError) as error:
            raise StoreError(f"{url}: {error}") from error

    def get(self, entry: Entry, target: Path) -> bool:
        """Download the object, if it has the size that the manifest states."""
        path = f"{self.base.rstrip('/')}/files/md5/{entry.md5[:2]}/{entry.md5[2:]}"
        try:
            size = self.files.size(path)
            if size is None:  # a file system that does not tell
                with self.files.open(path, "rb") as source:
                    copy(source.read, entry, target, self.name)
            elif size != entry.bytes:
                raise StoreError(f"{self.name}: {entry.path}: expected {entry.bytes} bytes, got {size}")
            else:
                self.files.get_file(path, str(target))
        except FileNotFoundError:
            return False
        except StoreError:
            raise
        except Exception as error:  # every file system of fsspec raises its own kinds
            raise StoreError(f"{self.name}: {type(error).__name__}: {error}") from error
        return True


def of_release(release: Release, remote: str | None) -> Iterator[Store]:
    """Stores, nearest first: working tree, git, DVC cache, then ``remote`` (name, folder, URL), else the default."""
    repository = release.repository
    config = dvc_config(repository)
    near = (
        Folder(repository / str(release.facts.get("path", f"releases/{release.version}"))),
        Folder(repository / "covidct" / "releases" / release.version / "files"),
        Objects(repository / ".dvc" / config.get("cache", {}).get("dir", "cache")),
    )
    yield from (store for store in near if store.folder.is_dir())
    found = find_remote(repository, config, remote)
    if found:
        yield connect(*found)


def find_remote(
    repository: Path, config: dict[str, dict[str, str]], remote: str | None
) -> tuple[str, dict[str, str], Path] | None:
    """URL, options and the folder that relative URLs start from, of a remote by name, URL or default; None without."""
    name = remote or config.get("core", {}).get("remote", "")
    if not name:
        return None
    options = config.get(f'remote "{name}"')
    if options:
        return options.get("url", ""), options, repository / ".dvc"
    if "://" in name or Path(name).is_dir() or "/" in name:
        return name, {}, Path.cwd()
    known = [key.split('"')[1] for key in config if key.startswith('remote "')]
    there = ", ".join(known) or "(none)"
    raise StoreError(f"remote {name!r}: expected a folder, a URL or one of {there} in {repository / '.dvc/config'}")


def connect(url: str, options: dict[str, str], base: Path) -> Store:
    """The store behind a remote's URL. Raises StoreError where it cannot exist."""
    if url.startswith(("http://", "https://")):
        return Http(url)
    if "://" in url and not url.startswith("file://"):
        return Cloud(url, cloud_options(url, options))
    folder = Path(url.removeprefix("file://")).expanduser()
    folder = folder if folder.is_absolute() else base / folder
    if not folder.is_dir():
        raise StoreError(f"{folder}: expected the folder of a DVC remote, got none; is the disk mounted?")
    return Objects(folder)


def cloud_options(url: str, options: dict[str, str]) -> dict[str, Any]:
    """fsspec's options for a DVC remote's: endpoint, profile, region, keys; user, port, password, key file."""
    result: dict[str, Any] = {}
    if url.startswith(("ssh://", "sftp://")):
        for ours, theirs in (("user", "username"), ("password", "password"), ("passphrase", "passphrase")):
            if ours in options:
                result[theirs] = options[ours]
        if "port" in options:
            result["port"] = int(options["port"])
        if "keyfile" in options:
            result["client_keys"] = [str(Path(options["keyfile"]).expanduser())]
        return result
    if not url.startswith("s3://"):
        return result
    if "endpointurl" in options:
        result["client_kwargs"] = {"endpoint_url": options["endpointurl"]}
    if "region" in options:
        result.setdefault("client_kwargs", {})["region_name"] = options["region"]
    if "profile" in options:
        result["profile"] = options["profile"]
    for ours, theirs in (("access_key_id", "key"), ("secret_access_key", "secret")):
        if ours in options:
            result[theirs] = options[ours]
    return result


def dvc_config(repository: Path) -> dict[str, dict[str, str]]:
    """Sections of ``.dvc/config`` and, over it, ``.dvc/config.local``."""
    merged: dict[str, dict[str, str]] = {}
    for name in ("config", "config.local"):
        path = repository / ".dvc" / name
        if not path.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{path}: expected DVC's configuration, got {error}") from error
        for section in parser.sections():
            merged.setdefault(section.strip("'"), {}).update(parser[section])
    return merged
