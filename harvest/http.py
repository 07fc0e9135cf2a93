"""One polite session for every service: spacing per host, retries, Retry-After, resume, checks, limits.

Spacing is counted from an answer to the next request, on the monotonic clock: what reaches a host is then never closer
than the spacing, however long the connection took, and a clock that jumps changes nothing. (A token bucket counts
sendings, which is less.) Retrying is tenacity's, connections are requests'.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import requests
import tenacity

from harvest.answers import chunks, describe, head, named, parse_json, parse_xml, reason_of, refuse_length, retry_after
from harvest.content import is_challenge, is_cloudflare
from harvest.errors import BlockedError, ItemError, TransientError
from harvest.hosts import Rule, host_of, is_loopback, joined, rule_for, same_site, service_of

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_LIMIT = 64 << 20
"""bytes of an API answer"""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_REDIRECTS = 5
# A host that fails this many items in a row, each after all its retries, is down: the rest would take hours to fail.
_ROW_OF_FAILURES = 8
_ROW_OF_REFUSALS = 3
_ROW_OF_LIMITS = 2
# The body of an error only words a message: it is not waited for as an item is.
_ERROR_SECONDS = 30.0


class Session:
    """All requests of a run. Not for several threads at once: politeness is one request at a time.

    contact: e-mail address for the User-Agent. spacing: seconds for hosts that are none of the services' (0 is
    allowed) and for the medRxiv/bioRxiv sites (there at least 7). state: folder that remembers when each host was last
    asked, so that a restart does not break the spacing. retry_after_cap: longest wait a service may ask for, seconds.
    local: a run against a stand-in, which never leaves this machine whatever an answer links to.
    item_seconds: longest time one file may take.
    """

    def __init__(
        self,
        contact: str,
        *,
        spacing: float = 10.0,
        state: Path | None = None,
        api_key: str = "",
        local: bool = False,
        retry_after_cap: float = 120.0,
        item_seconds: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.spacing, self.api_key, self.cap, self.item_seconds = spacing, api_key, retry_after_cap, item_seconds
        self.local = local
        self._state, self.clock, self._sleep = state, clock, sleep
        self._ready: dict[str, float] = {}
        self._blocked: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self._limited: dict[str, int] = {}
        self._http = requests.Session()
        self._http.headers["User-Agent"] = (
            f"covidct-harvest/{_version()} (mailto:{contact})" if contact else "covidct-harvest"
        )
        if state is not None:
            state.mkdir(parents=True, exist_ok=True)

    # -- what callers use ------------------------------------------------------------------------------------------

    def json(self, url: str, params: dict[str, Any] | None = None, check: Callable[[Any], None] | None = None) -> Any:
        """The JSON answer of ``url``; an empty body, plain text or cut-off JSON at status 200 is asked again.

        check: may raise TransientError (ask again) or ItemError (give up) after looking at the answer.
        """

        def read() -> Any:
            body, response = self._body(url, params)
            where = named(response.url)
            answer = parse_json(body, where)
            try:
                if check is not None:
                    check(answer)
            except TransientError as error:
                raise TransientError(f"{where}: {error}", error.status, error.retry_after) from error
            except ItemError as error:
                raise ItemError(f"{where}: {error}") from error
            return answer

        return self.again(url, read)

    def xml(self, url: str, params: dict[str, Any] | None = None, md5: str = "") -> Element:
        """The root of the XML answer; entities are refused, a body cut off or of another MD5 is asked for again."""

        def read() -> Element:
            body, response = self._body(url, params)
            if md5 and hashlib.md5(body, usedforsecurity=False).hexdigest() != md5.lower():
                raise TransientError(
                    f"{named(response.url)}: expected MD5 {md5}, got other bytes ({len(body)})", response.status_code
                )
            return parse_xml(body, named(response.url))

        return self.again(url, read)

    def head_bytes(self, url: str) -> bytes:
        """A small body as it is (at most the answer limit)."""
        return self.again(url, lambda: self._body(url, None)[0])

    def ready_in(self, url: str) -> float:
        """Seconds until the URL's host may be asked again."""
        host = host_of(url)
        return max(0.0, self._ready_at(host, rule_for(url, self.spacing, self.api_key)) - self.clock())

    def blocked(self, url: str) -> str:
        """Why the URL's host is not asked any more in this run; '' if it is."""
        return self._blocked.get(service_of(url), "")

    def rule(self, url: str) -> Rule:
        """The rule that applies to the URL's host."""
        return rule_for(url, self.spacing, self.api_key)

    # -- one request -----------------------------------------------------------------------------------------------

    def _ready_at(self, host: str, rule: Rule) -> float:
        if host not in self._ready:
            self._ready[host] = self.clock()
            mark = self._state / host if self._state is not None else None
            if mark is not None and rule.spacing > 0 and mark.is_file():
                age = time.time() - mark.stat().st_mtime
                # A mark from the future means that the clock was set back: wait the whole spacing once.
                left = rule.spacing - age if age >= 0 else rule.spacing
                self._ready[host] += max(0.0, left)
        return self._ready[host]

    def open(self, url: str, params: dict[str, Any] | None, headers: dict[str, str]) -> requests.Response:
        """The answer to a GET, redirects followed within the site; its status is one of success (or 416)."""
        for _ in range(_REDIRECTS + 1):
            host, rule = host_of(url), self.rule(url)
            if self.local and not is_loopback(url):
                raise ItemError(f"{url}: not asked, this run is against a stand-in on this machine")
            if reason := self._blocked.get(service_of(url)):
                raise BlockedError(reason)
            pause = self._ready_at(host, rule) - self.clock()
            if pause > 0:
                self._sleep(pause)
            try:
                response = self._send(url, params, headers, rule)
            finally:
                self._ready[host] = self.clock() + rule.spacing
                if self._state is not None and rule.spacing > 0:
                    (self._state / host).touch()
            if not (300 <= response.status_code < 400 and "Location" in response.headers):
                return self._classified(response)
            target = joined(response.url, response.headers["Location"])
            response.close()
            if not same_site(response.url, target):
                raise ItemError(f"{url}: expected an answer or a redirect within the site, got a redirect to {target}")
            url, params = target, None
        raise ItemError(f"{url}: expected an answer, got more than {_REDIRECTS} redirects")

    def _send(self, url: str, params: dict[str, Any] | None, headers: dict[str, str], rule: Rule) -> requests.Response:
        self._http.trust_env = not is_loopback(url)  # a proxy has no business with the stand-in
        try:
            return self._http.get(
                url, params=params, headers=headers, stream=True, allow_redirects=False, timeout=(10.0, rule.timeout)
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise TransientError(f"{named(url)}: no answer ({reason_of(error)})") from error
        except requests.RequestException as error:
            raise ItemError(f"{url}: cannot be asked ({reason_of(error)})") from error
        except ValueError as error:  # requests reads the Location of a redirect even where it is not to follow it
            raise ItemError(f"{url}: expected a redirect to an address, got none ({reason_of(error)})") from error

    def _classified(self, response: requests.Response) -> requests.Response:
        status, service = response.status_code, service_of(response.url)
        if 200 <= status < 300 or status == 416:
            self._refusals[service] = 0
            return response
        with response:
            body = head(response, min(_ERROR_SECONDS, self.item_seconds))
        where = f"{named(response.url)}: HTTP {status}"
        if is_challenge(body) or (status == 403 and is_cloudflare(response.headers)):
            self.stop(response.url, f"is closed to us by Cloudflare (HTTP {status}), which asking again does not solve")
        # S3 answers 403 for an object that is not there: that is about the object, not about us.
        if status == 403 and b"<Code>" not in body:
            self._refusals[service] = self._refusals.get(service, 0) + 1
            if self._refusals[service] >= _ROW_OF_REFUSALS:
                self.stop(response.url, f"refused {_ROW_OF_REFUSALS} requests in a row (HTTP 403)")
        if status in _TRANSIENT:
            asked = retry_after(response.headers, self.cap)
            # Kept with the host, not only with this item: after its last try the next item must wait as well.
            pause = max(asked or 0.0, self.rule(response.url).cool_down if status == 429 else 0.0)
            host = host_of(response.url)
            self._ready[host] = max(self._ready.get(host, 0.0), self.clock() + pause)
            raise TransientError(f"{where} {describe(body)}", status, asked)
        raise ItemError(f"{where} {describe(body)}")

    def stop(self, url: str, what: str) -> None:
        """Ask nothing more of the URL's service in this run: raises BlockedError that says what to do."""
        reason = (
            f"{service_of(url)} {what}; nothing more is asked of it in this run. Wait some hours, then run the same "
            "command again: it goes on where it stopped. If it stays so, take another source: Europe PMC "
            "(--europepmc), archives (--meca, --packages), another of the --routes"
        )
        self._blocked[service_of(url)] = reason
        log.error(reason)
        raise BlockedError(reason)

    # -- bodies ----------------------------------------------------------------------------------------------------

    def _body(self, url: str, params: dict[str, Any] | None) -> tuple[bytes, requests.Response]:
        with self.open(url, params, {}) as response:
            refuse_length(response, 0, ANSWER_LIMIT)
            body = bytearray()
            start = self.clock()
            for chunk in chunks(response, self.item_seconds):
                body += chunk
                self.refuse_slow(url, start, len(body))
                if len(body) > ANSWER_LIMIT:
                    raise ItemError(f"{url}: expected an answer of at most {ANSWER_LIMIT >> 20} MB, got more")
        if is_challenge(bytes(body[:16_384])):
            self.stop(url, f"answers with a Cloudflare challenge (HTTP {response.status_code})")
        return bytes(body), response

    def refuse_slow(self, url: str, start: float, size: int) -> None:
        """Raise TransientError for an answer that trickles longer than an item may take."""
        if self.clock() - start > self.item_seconds:
            raise TransientError(f"{url}: took more than {self.item_seconds:.0f} s for {size} bytes")

    # -- again -----------------------------------------------------------------------------------------------------

    def again(self, url: str, action: Callable[[], T]) -> T:
        """Run ``action`` until it works, as the host's rule allows; what stays transient becomes an ItemError."""
        rule, service = self.rule(url), service_of(url)
        backoff = tenacity.wait_exponential(multiplier=rule.backoff, max=60.0) + tenacity.wait_random(0, rule.backoff)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            pause = backoff(state)
            if isinstance(error, TransientError):
                pause = max(pause if error.retry_after is None else 0.0, error.retry_after or 0.0)
                pause = max(pause, rule.cool_down) if error.status == 429 else pause
            log.warning("%s; asking again in %.1f s", error, pause)
            return pause

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(rule.tries), tenacity.stop_after_delay(2 * self.item_seconds)
            ),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            result = retrying(action)
        except TransientError as error:
            self._failures[service] = self._failures.get(service, 0) + 1
            if error.status == 429:
                self._limited[service] = self._limited.get(service, 0) + 1
                if self._limited[service] >= _ROW_OF_LIMITS:
                    self.stop(url, f"asked to wait (HTTP 429) at every one of {rule.tries} tries, twice in a row")
            if self._failures[service] >= _ROW_OF_FAILURES:
                self.stop(url, f"failed {_ROW_OF_FAILURES} items in a row, the last with: {error}")
            raise ItemError(f"{error} (asked {rule.tries} times)") from error
        except ItemError:
            self._failures[service] = 0  # a refusal of one item is an answer: the host is up
            raise
        self._failures[service] = self._limited[service] = 0
        return result


def _version() -> str:
    try:
        return version("covidct")
    except PackageNotFoundError:
        return "0"
