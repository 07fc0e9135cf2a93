"""One file from a service to the disk: streamed, bounded, checked by its first bytes and checksums, then renamed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from harvest.answers import CHUNK, chunks, describe, refuse_length
from harvest.content import is_challenge, sniff
from harvest.errors import DiskFullError, ItemError, TransientError, is_disk_full
from harvest.http import Session


@dataclass(frozen=True)
class Saved:
    """A complete, checked file on disk."""

    sha256: str
    bytes: int
    kind: str


def download(
    session: Session,
    url: str,
    path: Path,
    kinds: Collection[str],
    max_bytes: int,
    md5: str = "",
    params: dict[str, Any] | None = None,
) -> Saved:
    """Fetch ``url`` to ``path``: into ``path.part``, checked, then renamed; goes on from a partial file by Range.

    kinds: accepted contents by their first bytes (``harvest.content.sniff``). Raises ItemError (not to be had),
    BlockedError (host refuses), DiskFullError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return session.again(url, lambda: _fetch(session, url, path, kinds, max_bytes, md5, params))


def _fetch(
    session: Session, url: str, path: Path, kinds: Collection[str], limit: int, md5: str, params: dict[str, Any] | None
) -> Saved:
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    headers, offset = {"Accept-Encoding": "identity"}, 0
    if validator := _partial(part, note, url):
        offset = part.stat().st_size
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        with session.open(url, params, headers) as response:
            if response.status_code != 206:
                offset = 0
            if response.status_code == 416 or not _continues(response, offset, validator):
                note.unlink(missing_ok=True)
                raise TransientError(f"{url}: the partial file does not fit any more, starting again", 416)
            expected = refuse_length(response, offset, limit)
            if expected is not None and shutil.disk_usage(path.parent).free < expected - offset:
                raise DiskFullError(path.parent)
            size, sha256, checksum, head = _write(session, response, url, part, note, offset, kinds, limit, bool(md5))
        if expected is not None and size != expected:
            raise TransientError(f"{url}: expected {expected} bytes, got {size}")
        kind = sniff(head)
        # A service may hold half a file and announce just that; where it gives an MD5, that says more.
        if kind == "pdf" and not md5 and not _ends_like_pdf(part):
            note.unlink(missing_ok=True)
            raise TransientError(f"{url}: expected a PDF that ends in %%EOF, got one cut off after {size} bytes")
        if md5 and checksum != md5.lower():
            note.unlink(missing_ok=True)
            raise TransientError(f"{url}: expected MD5 {md5}, got {checksum} ({size} bytes)")
        part.replace(path)
        note.unlink(missing_ok=True)
    except OSError as error:
        if not is_disk_full(error):
            raise
        part.unlink(missing_ok=True)
        raise DiskFullError(path.parent) from error
    return Saved(sha256, size, kind)


def _write(
    session: Session,
    response: requests.Response,
    url: str,
    part: Path,
    note: Path,
    offset: int,
    kinds: Collection[str],
    limit: int,
    with_md5: bool,
) -> tuple[int, str, str, bytes]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    sums = (sha256, md5) if with_md5 else (sha256,)
    head = bytearray()
    if offset:
        with part.open("rb") as have:
            head += have.read(1024)
            have.seek(0)
            while chunk := have.read(CHUNK):
                for checksum in sums:
                    checksum.update(chunk)
    else:
        # The old bytes go before the new note comes: a run killed between the two must not go on with them.
        validator = _validator(response)
        note.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
        if validator:
            note.write_text(json.dumps({"url": url, "validator": validator}))
    size, start, known = offset, session.clock(), bool(offset)
    with part.open("ab" if offset else "wb") as out:
        for chunk in chunks(response, session.item_seconds):
            if len(head) < 1024:
                head += chunk[: 1024 - len(head)]
            if not known and len(head) >= 1024:
                _refuse_content(session, response, bytes(head), kinds)
                known = True
            out.write(chunk)
            for checksum in sums:
                checksum.update(chunk)
            size += len(chunk)
            if size > limit:
                raise ItemError(f"{url}: expected at most {limit} bytes, got more (--max_mb)")
            session.refuse_slow(url, start, size)
    if not known:
        _refuse_content(session, response, bytes(head), kinds)
    return size, sha256.hexdigest(), md5.hexdigest(), bytes(head)


def _refuse_content(session: Session, response: requests.Response, head: bytes, kinds: Collection[str]) -> None:
    kind = sniff(head)
    if kind in kinds:
        return
    if is_challenge(head):
        session.stop(response.url, f"answers with a Cloudflare challenge (HTTP {response.status_code})")
    message = f"{response.url}: expected {' or '.join(sorted(kinds))}, got {describe(head)}"
    # Text instead of a file is what overloaded servers send; a file of another kind stays what it is.
    raise (
        TransientError(message, response.status_code)
        if kind in ("html", "text", "empty", "xml", "json")
        else ItemError(message)
    )


def _validator(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _partial(part: Path, note: Path, url: str) -> str:
    """The validator of a partial file that may be gone on with; '' if there is none."""
    if not part.is_file() or not part.stat().st_size or not note.is_file():
        return ""
    try:
        said = json.loads(note.read_text())
    except ValueError:
        return ""
    return str(said.get("validator", "")) if isinstance(said, dict) and said.get("url") == url else ""


def _continues(response: requests.Response, offset: int, validator: str) -> bool:
    """False for a piece that begins elsewhere, or (of a server that overlooks If-Range) is of another state."""
    if response.status_code != 206:
        return True
    if _validator(response) != validator:
        return False
    return response.headers.get("Content-Range", "").replace(" ", "").startswith(f"bytes{offset}-")


def _ends_like_pdf(path: Path) -> bool:
    with path.open("rb") as data:
        data.seek(max(0, path.stat().st_size - CHUNK))
        return b"%%EOF" in data.read().rstrip(b"\0\t\r\n ")[-2048:]  # some stores fill up to a whole block
