"""The stand-in HTTP server: the services' own forms and faults on loopback, with a log of what arrived when.

    with StandIn(corpus, page_size=30, faults=[Fault(r"/content/", "limit", times=2, retry_after="1")]) as server:
        requests.get(f"{server.url}/api.biorxiv.org/details/medrxiv/2020-01-19/2020-03-25/0/json")
        server.log[0].path, server.log[0].at

One service is one first segment of the path (see SERVICES); without one, ``/details/…`` and ``/content/…`` work at the
root, for clients that take one address for both preprint servers.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from harvest.sample.replies import Fault, Reply, Request, as_json, faults_of, not_found
from harvest.sample.routes_europepmc import europepmc
from harvest.sample.routes_medpix import medpix
from harvest.sample.routes_oa import ncbi, oa
from harvest.sample.routes_openi import openi
from harvest.sample.routes_pmc import Entrez, bucket, idconv
from harvest.sample.routes_preprints import Forms, api, site, tdm
from harvest.sample.store import Store, Synthetic

SERVICES: dict[str, str] = {
    "api.biorxiv.org": "api",
    "www.medrxiv.org": "medrxiv",
    "www.biorxiv.org": "biorxiv",
    "medrxiv-src-monthly": "tdm-medrxiv",
    "biorxiv-src-monthly": "tdm-biorxiv",
    "eutils": "eutils",
    "eutils.ncbi.nlm.nih.gov": "eutils",
    "pmc-s3": "bucket",
    "pmc-oa-opendata.s3.amazonaws.com": "bucket",
    "oa": "oa",
    "www.ncbi.nlm.nih.gov": "ncbi",
    "epmc": "epmc",
    "www.ebi.ac.uk": "epmc",
    "europepmc.org": "epmc",
    "idconv": "idconv",
    "openi": "openi",
    "openi.nlm.nih.gov": "openi",
    "medpix": "medpix",
    "medpix.nlm.nih.gov": "medpix",
}


@dataclass(frozen=True)
class Arrival:
    """One request as it arrived: ``at`` in seconds of a monotonic clock, ``status`` as answered (0: dropped)."""

    at: float
    service: str
    path: str
    status: int
    sent: int
    byte_range: str
    agent: str


class StandIn:
    """The server; a context manager, or `start` and `stop`.

    corpus: folder written by `python -m harvest.sample`. page_size, numbers, surplus, covid19: forms of the preprint
    API (`routes_preprints.Forms`). faults: see `replies.Fault`. page_keys: keys per page of the bucket's listing,
    records per page of the OA service's.
    enforce_limits: answer 429 to E-utilities clients faster than 3 (with a key 10) requests a second. hostile: archives
    carry a member that climbs out of its folder.
    """

    def __init__(
        self,
        corpus: Path | str | None = None,
        *,
        store: Store | None = None,
        page_size: int = 30,
        numbers: str = "2026",
        surplus: int = 0,
        covid19: str = "empty",
        faults: Iterable[Fault] | Mapping[str, Fault | str | dict[str, object]] | None = None,
        page_keys: int = 1000,
        enforce_limits: bool = False,
        hostile: bool = False,
        port: int = 0,
    ) -> None:
        if store is None:
            if corpus is None:
                raise ValueError("stand-in: expected a corpus folder or a store, got neither")
            store = Store(Path(corpus))
        self.store = store
        self.forms = Forms(page_size, numbers, surplus, covid19)
        self.faults = faults_of(faults)
        self.page_keys, self.enforce_limits, self.hostile = page_keys, enforce_limits, hostile
        self.log: list[Arrival] = []
        self._lock = threading.Lock()
        self._entrez = Entrez(store)
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def synthetic(cls, rows: int = 2000, pdfs: int = 760, pdf_bytes: int = 20000, **options: Any) -> StandIn:
        """A stand-in with a made-up listing of ``rows`` version rows, ``pdfs`` of them COVID preprints."""
        return cls(store=Synthetic(rows, pdfs, pdf_bytes), **options)

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError(
                "stand-in: expected a running server, got one that was not started; use it in a with block"
            )
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> StandIn:
        """Listen on loopback; a busy port is an error (OSError), not a reason to take another."""
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, request: Request) -> Reply:
        """What the services answer, with the faults in force."""
        with self._lock:
            struck = next((f for f in self.faults if f.strikes(request.raw)), None)
        if struck is not None and struck.kind == "slow":
            time.sleep(struck.seconds)
            return self._good(request)
        if struck is not None:
            # a fault that hides the answer need not make it
            return struck.spoil(self._good(request) if struck.kind in ("cut", "garble", "huge") else Reply())
        return self._good(request)

    def _good(self, request: Request) -> Reply:
        if request.service in ("details", "pubs", "covid19", "content", "robots.txt"):
            whole = Request("", f"{request.service}/{request.path}".rstrip("/"), *_rest(request))
            if request.service in ("content", "robots.txt"):
                return site(whole, self.store, None)
            return api(whole, self.store, self.forms)
        routes: dict[str, Callable[[], Reply]] = {
            "api": lambda: api(request, self.store, self.forms),
            "medrxiv": lambda: site(request, self.store, "medrxiv"),
            "biorxiv": lambda: site(request, self.store, "biorxiv"),
            "tdm-medrxiv": lambda: tdm(request, self.store, "medrxiv", self.hostile),
            "tdm-biorxiv": lambda: tdm(request, self.store, "biorxiv", self.hostile),
            "eutils": lambda: self._limited(request),
            "bucket": lambda: bucket(request, self.store, self.page_keys),
            "oa": lambda: oa(request, self.store, self.page_keys),
            "ncbi": lambda: ncbi(request, self.store),
            "epmc": lambda: europepmc(request, self.store),
            "idconv": lambda: idconv(request, self.store),
            "openi": lambda: openi(request, self.store),
            "medpix": lambda: medpix(request, self.store),
        }
        name = SERVICES.get(request.service)
        return routes[name]() if name else not_found(f"{request.service}: services are {', '.join(SERVICES)}")

    def _limited(self, request: Request) -> Reply:
        limit = 10 if request.query.get("api_key") else 3
        if self.enforce_limits:
            now = time.monotonic()
            with self._lock:
                recent = [a for a in self.log[-20:] if SERVICES.get(a.service) == "eutils" and now - a.at < 1.0]
            if len(recent) >= limit:
                body = {"error": "API rate limit exceeded", "api-key": "127.0.0.1", "count": str(len(recent) + 1)}
                return as_json(body | {"limit": str(limit)}, 429)
        with self._lock:
            return self._entrez.reply(request)

    def record(self, arrival: Arrival) -> None:
        with self._lock:
            self.log.append(arrival)

    def spacing(self, service: str) -> list[float]:
        """Seconds between the arrivals of one service, in order."""
        at = sorted(a.at for a in self.log if a.service == service)
        return [b - a for a, b in pairwise(at)]


def _rest(request: Request) -> tuple[dict[str, str], Mapping[str, str], str, str]:
    return request.query, request.headers, request.raw, request.base


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed or hung up is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | socket.timeout):
            super().handle_error(request, client_address)


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def do_GET(self) -> None:
            self._serve()

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), 1 << 20)
            self._serve(self.rfile.read(length).decode("utf-8", "replace"))

        def _serve(self, form: str = "", body: bool = True) -> None:
            at = time.monotonic()
            headers = {k.lower(): v for k, v in self.headers.items()}
            request = Request.parse(self.path, headers, standin.url, form)
            reply = standin.answer(request)
            sent = reply.body if reply.cut is None else reply.body[: reply.cut]
            status = 0 if reply.drop else reply.status
            agent = headers.get("user-agent", "")
            standin.record(Arrival(at, request.service, self.path, status, len(sent), headers.get("range", ""), agent))
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            length = reply.length if reply.length is not None else len(reply.body)
            self.send_header("Content-Length", str(length))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(sent)
                self.wfile.flush()
            if reply.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Arrivals are in StandIn.log; nothing on the console."""

        def version_string(self) -> str:
            return "standin"

    return Handler
