"""What a route answers, and the faults that can be put in its way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

JSON = "application/json"
HTML = "text/html; charset=UTF-8"
XML = "text/xml; charset=UTF-8"
CHALLENGE = b'<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title>'
"""how Cloudflare's page begins; it is padded to the length seen, 6238 bytes"""


@dataclass(frozen=True)
class Request:
    """One request as a route sees it: the path within its service, decoded query, lower-case header names."""

    service: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    raw: str
    base: str
    """address of the stand-in itself, for answers that link"""

    @staticmethod
    def parse(raw: str, headers: Mapping[str, str], base: str, body: str = "") -> Request:
        path, _, query = raw.partition("?")
        service, _, rest = path.lstrip("/").partition("/")
        pairs = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))
        return Request(service, rest, pairs, headers, raw, base)


@dataclass
class Reply:
    """Status, body and headers; ``cut`` sends fewer bytes than Content-Length says and closes."""

    body: bytes = b""
    status: int = 200
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None
    drop: bool = False
    """close the connection without an answer"""


def as_json(value: object, status: int = 200) -> Reply:
    return Reply(json.dumps(value, ensure_ascii=False).encode(), status, JSON)


def page(text: str, status: int = 200) -> Reply:
    return Reply(text.encode(), status, HTML)


def not_found(what: str = "") -> Reply:
    return page(f"<!DOCTYPE html><html><head><title>Page not found</title></head><body>{what}</body></html>", 404)


def challenge(status: int = 403) -> Reply:
    """Cloudflare's challenge page, 6 238 bytes of HTML."""
    body = CHALLENGE + b"<!--" + b" " * (6238 - len(CHALLENGE) - 7 - 7) + b"-->" + b"</html>"
    return Reply(
        body, status, HTML, {"Server": "cloudflare", "CF-RAY": "0000000000000000-AMS", "cf-mitigated": "challenge"}
    )


def too_many(retry_after: str = "") -> Reply:
    """Cloudflare's rate limit, with a Retry-After if one is given (seconds, or an HTTP date)."""
    headers = {"Server": "cloudflare"} | ({"Retry-After": retry_after} if retry_after else {})
    return Reply(b"error code: 1015", 429, "text/plain; charset=UTF-8", headers)


def ranged(data: bytes, kind: str, headers: Mapping[str, str], tag: str) -> Reply:
    """A file with validators and Range (one range, as static hosts serve it)."""
    found = {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": "Wed, 25 Mar 2020 00:00:00 GMT"}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if wanted is None or headers.get("if-range", tag) not in (tag, found["Last-Modified"]):
        return Reply(data, 200, kind, found)
    first, last = wanted.groups()
    start = int(first) if first else max(0, len(data) - int(last or 0))
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data) or start >= stop:
        return Reply(b"", 416, kind, found | {"Content-Range": f"bytes */{len(data)}"})
    found["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Reply(data[start:stop], 206, kind, found)


FAULTS = (
    *("status", "challenge", "limit", "empty", "text", "html", "reset", "cut", "slow", "garble", "huge"),
    *("ncbi-limit", "error-json"),
)


@dataclass
class Fault:
    """A fault on the routes whose address matches.

    ``kind``: ``status`` (with ``status``), ``challenge`` (Cloudflare page with ``status``, 403), ``limit`` (429 with
    ``retry_after``), ``empty`` (200, no bytes), ``text`` (200, plain text of a broken database), ``html`` (200 with a
    page instead of the file), ``reset`` (connection closed), ``cut`` (body ends early), ``slow`` (waits ``seconds``),
    ``garble`` (one byte changed, so checksums fail), ``huge`` (Content-Length of 10 GB), ``ncbi-limit`` (E-utilities'
    429), ``error-json`` (an error object inside 200).
    ``times``: how often, then the route works (None: always). ``skip``: how many requests pass first.
    """

    match: str
    kind: str
    times: int | None = None
    status: int = 503
    retry_after: str = ""
    seconds: float = 0.0
    skip: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"kind of fault: expected one of {', '.join(FAULTS)}, got {self.kind!r}")

    def strikes(self, address: str) -> bool:
        """Whether this request is hit; counts it if the address matches. Call under the server's lock."""
        if not re.search(self.match, address):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0

    def spoil(self, good: Reply) -> Reply:
        """The answer under this fault."""
        simple = {
            "status": Reply(b"", self.status, "text/plain"),
            "challenge": challenge(403 if self.status == 503 else self.status),
            "limit": too_many(self.retry_after),
            "empty": Reply(b"", 200, JSON),
            "text": Reply(b"Error : (2002) Connection refused", 200, HTML),
            "html": page("<!DOCTYPE html><html><head><title>Preparing to download</title></head><body></body></html>"),
            "reset": Reply(drop=True),
            "ncbi-limit": as_json(
                {"error": "API rate limit exceeded", "api-key": "192.0.2.1", "count": "4", "limit": "3"}, 429
            ),
            "error-json": as_json({"error": "Search Backend failed"}),
        }
        if self.kind in simple:
            return simple[self.kind]
        if self.kind == "cut":
            good.cut = max(1, len(good.body) // 2)
        elif self.kind == "garble" and good.body:
            middle = len(good.body) // 2
            good.body = good.body[:middle] + bytes([good.body[middle] ^ 0xFF]) + good.body[middle + 1 :]
        elif self.kind == "huge":
            good.length, good.cut = 10 * 1024**3, len(good.body)
        return good


def faults_of(given: Iterable[Fault] | Mapping[str, Fault | str | dict[str, Any]] | None) -> list[Fault]:
    """Faults from a list, or from ``{pattern: kind or fields}``."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return list(given)
    found = []
    for match, what in given.items():
        if isinstance(what, Fault):
            found.append(what)
        elif isinstance(what, str):
            found.append(Fault(match, what))
        else:
            found.append(Fault(match, **what))
    return found
