"""What an answer is: its pieces, length and kind, the wait it asks for, its XML or JSON; how messages name it."""

from __future__ import annotations

import email.utils
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import requests
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from harvest.content import sniff
from harvest.errors import ItemError, TransientError

CHUNK = 1 << 16
# Real JATS nests some 30 elements deep; what walks an element tree calls itself once a level.
_DEPTH = 200
_HALF = re.compile("[\ud800-\udfff]")
_PRIVATE = re.compile(r"(?<=[?&])(api_key|email)=[^&\s]*", re.IGNORECASE)


def retry_after(headers: Mapping[str, str], cap: float) -> float | None:
    """Seconds a service asks to wait (RFC 9110: seconds or a date), between 0 and ``cap``; None if it does not say."""
    value = headers.get("Retry-After", "").strip()
    try:
        if value.isdigit():
            return min(float(value), cap)
    except ValueError:
        return None
    asked, now = _date(value), _date(headers.get("Date", ""))
    if asked is None:
        return None
    # The date is meant by the service's clock: where it tells its time, ours does not matter.
    return min(max((asked - (now or datetime.now(UTC))).total_seconds(), 0.0), cap)


def _date(text: str) -> datetime | None:
    """A header's date, in UTC where it names no zone; None for what is none (a day of twenty digits overflows)."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def parse_xml(body: bytes, where: str) -> Element:
    """The root element.

    Raises ItemError for entity declarations (an attack), another encoding than expat's or too deep a nesting,
    TransientError for a cut-off body.
    """
    try:
        root: Element = fromstring(body, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise ItemError(f"{where}: expected XML without entity declarations, got {error}") from error
    except ParseError as error:
        raise TransientError(f"{where}: expected XML, got {describe(body)} ({error})") from error
    except (ValueError, LookupError) as error:  # an encoding of several bytes a letter, of no letters, or of no name
        raise ItemError(
            f"{where}: expected XML in UTF-8, UTF-16 or a one-byte encoding, got {describe(body)} ({error})"
        ) from error
    level, depth = [root], 0
    while level:
        level, depth = [child for element in level for child in element], depth + 1
        if depth > _DEPTH:
            raise ItemError(f"{where}: expected XML at most {_DEPTH} elements deep, got more")
    return root


def parse_json(body: bytes, where: str) -> Any:
    """The value of a JSON body; half characters (lone surrogates) in its text become U+FFFD.

    Raises TransientError for what is no JSON, ItemError for one nested too deep.
    """
    if sniff(body[:1024]) not in ("json", "text") or not body.strip():
        raise TransientError(f"{where}: expected JSON, got {describe(body)}", 200)
    try:
        answer = json.loads(body)
        # The walk costs time, so only bodies that can hold half a character (escaped, or as its bytes) are walked.
        return _without_halves(answer) if b"\\u" in body or b"\xed" in body else answer
    except ValueError as error:
        raise TransientError(f"{where}: expected JSON, got {describe(body)}", 200) from error
    except RecursionError as error:
        raise ItemError(f"{where}: expected JSON of an API, got one nested too deep to be read") from error


def _without_halves(value: Any) -> Any:
    """The value with text that can be encoded: no database, file or log takes a lone surrogate."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_halves(entry) for entry in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(entry) for key, entry in value.items()}
    return value


def chunks(response: requests.Response, seconds: float, size: int = CHUNK) -> Iterator[bytes]:
    """The body in pieces of ``size`` bytes, all of it within so many seconds.

    A piece comes when all of its bytes are there, so whoever looks at the clock between pieces never does with a server
    that sends a byte now and then: the connection is shut from outside when the time is over. Raises TransientError for
    that, and for a connection that breaks off.
    """
    over = threading.Event()
    watch = threading.Timer(seconds, _shut, (response, over))
    watch.daemon = True
    watch.start()
    where = named(response.url)
    try:
        for piece in response.iter_content(size):
            if over.is_set():  # what is read from a connection that was shut may be the cipher's bytes
                break
            yield piece
    except requests.RequestException as error:
        if not over.is_set():
            broken = requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError
            what = "broke off" if isinstance(error, broken) else "is not readable"
            raise TransientError(f"{where}: the answer {what} ({reason_of(error)})") from error
    finally:
        watch.cancel()
    if over.is_set():
        raise TransientError(f"{where}: the answer took more than {seconds:.0f} s")


def _shut(response: requests.Response, over: threading.Event) -> None:
    over.set()
    with suppress(OSError, RuntimeError, ValueError):  # it has ended by itself in the meantime
        response.raw.shutdown()


def head(response: requests.Response, seconds: float, limit: int = 16_384) -> bytes:
    """The beginning of an error's body; nothing where it does not come whole or in time: the status says enough."""
    try:
        return next(chunks(response, seconds, limit), b"")
    except TransientError:
        return b""


def refuse_length(response: requests.Response, offset: int, limit: int) -> int | None:
    """Total bytes as announced (None: not said); ItemError before a byte is read if that is too much."""
    text = response.headers.get("Content-Length", "")
    if not text.isdecimal() or response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    total = offset + int(text[:20])
    if total > limit:
        raise ItemError(
            f"{named(response.url)}: expected at most {limit} bytes, got an announcement of {total} (--max_mb)"
        )
    return total


def describe(body: bytes) -> str:
    """What a body is, for a message: its kind and, of text, its beginning."""
    kind = sniff(body[:1024])
    if kind == "empty":
        return "an empty body"
    text = " ".join(body[:120].decode("utf-8", "replace").split())
    return f"{kind}: {text!r}" if kind in ("html", "xml", "json", "text") else kind


def reason_of(error: BaseException) -> str:
    """An exception in one short line."""
    return f"{type(error).__name__}: {named(str(error))[:160]}"


def named(url: str) -> str:
    """A URL as it may stand in a message or a record: without the key and the address of who asks."""
    return _PRIVATE.sub(lambda found: f"{found[1]}=…", url)
