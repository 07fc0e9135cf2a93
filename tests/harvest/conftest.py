"""A small real HTTP server for the harvest's tests: routes are functions, arrivals are kept."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from harvest.http import Session


@dataclass
class Ask:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass
class Answer:
    """What to send; ``announce`` lies about the length, ``raw`` sends no length at all.

    trickle: seconds between the bytes of the body, which then begins again and again without an end.
    """

    body: bytes = b""
    status: int = 200
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    announce: int | None = None
    raw: bool = False
    trickle: float = 0.0


class Service:
    """``url`` of the server; ``route`` is called for each request; ``asked`` keeps them in order."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.route: Callable[[Ask], Answer] = lambda ask: Answer(b"not here", 404, "text/plain")
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits for a delayed acknowledgement

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
                headers = {key.lower(): value for key, value in self.headers.items()}
                ask = Ask(unquote(parts.path), query, headers, time.monotonic())
                service.asked.append(ask)
                answer = service.route(ask)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.type)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.raw or answer.trickle:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                else:
                    length = len(answer.body) if answer.announce is None else answer.announce
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                if answer.trickle:
                    self.send_slowly(answer)
                    return
                self.wfile.write(answer.body)
                if answer.announce is not None:
                    self.close_connection = True

            def send_slowly(self, answer: Answer) -> None:
                for byte in itertools.cycle(answer.body):
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return  # it does not wait any longer
                    time.sleep(answer.trickle)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def paths(self) -> list[str]:
        """Paths asked for, in order."""
        return [ask.path for ask in self.asked]


@pytest.fixture
def service() -> Iterator[Service]:
    """A fresh server on a free loopback port."""
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def answer() -> type[Answer]:
    """The answer type of the server."""
    return Answer


class Time:
    """A clock that only sleeping moves on; ``slept`` keeps the pauses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time_() -> Time:
    """A clock for tests of waiting."""
    return Time()


@pytest.fixture
def session(time_: Time) -> Session:
    """A session that never really waits."""
    return Session("curator@university.edu", spacing=0, clock=time_.clock, sleep=time_.sleep)


@pytest.fixture(scope="session")
def negatives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn corpus of articles and cases."""
    from harvest.sample.corpus import write_corpus
    from harvest.sample.plan import Size

    folder = tmp_path_factory.mktemp("negatives")
    size = Size(ct_preprints=0, other_preprints=0, rows=0, articles=9, cases=8, volumes=0, release=0)
    write_corpus(folder, 3, size, ("pmc", "medpix"))
    return folder


FIELDS = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-10 -20 -30",
    "CenterOfRotation": "0 0 0", "AnatomicalOrientation": "RAI", "ElementSpacing": "0.5 0.5 2.5",
    "DimSize": "4 3 2", "ElementType": "MET_SHORT",
}  # fmt: skip


def write_volume(folder: Path, *, name: str = "v", data: bytes | None = None, **changes: str | None) -> Path:
    """A MetaImage volume: the fields above with some changed (None: left out), and its data (4 × 3 × 2 by default)."""
    fields = FIELDS | {"ElementDataFile": f"{name}.raw"} | changes
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # it ends the header
    (folder / f"{name}.raw").write_bytes((np.arange(24, dtype="<i2") - 1000).tobytes() if data is None else data)
    path = folder / f"{name}.mhd"
    path.write_text("".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None))
    return path


@pytest.fixture
def volume() -> Callable[..., Path]:
    """Writes volumes."""
    return write_volume
