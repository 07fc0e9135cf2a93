"""Downloads that are killed, answered badly, or met half-written: what came is kept, nothing wrong gets its name."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import covidct
from covidct import download, registry, release, stores

pytest.importorskip("mlcroissant")


class Remote(http.server.ThreadingHTTPServer):
    """A DVC remote over HTTP that counts what it is asked for, and answers slowly or badly as told."""

    daemon_threads = True

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = objects
        self.delay = 0.0
        self.asked: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.faults: dict[str, list[str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Remote

    def do_GET(self) -> None:
        key = "".join(self.path.split("/")[-2:])
        self.server.asked[key] += 1
        time.sleep(self.server.delay)
        content = self.server.objects.get(key)
        fault = self.server.faults.get(key, [])
        what = fault.pop(0) if fault else ""
        if content is None or what.isdigit():
            self.send_error(int(what or 404))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        body = {"half": content[: len(content) // 2], "other": bytes(len(content))}.get(what, content)
        self.wfile.write(body)
        self.server.served[key] += not what

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def repository(tmp_path: Path, shared_dataset: Path) -> Path:
    """A clone that registers v1 and has none of its pictures."""
    folder = tmp_path / "repo"
    (folder / registry.RELEASES).mkdir(parents=True)
    release.build(shared_dataset, folder, release.Wish("v1", images="all", waive="a test", date="2026-01-02"))
    (folder / "releases").rename(tmp_path / "elsewhere")
    return folder


@pytest.fixture
def remote(repository: Path, tmp_path: Path) -> Iterator[Remote]:
    files = {
        entry.md5: (tmp_path / "elsewhere" / "v1" / entry.path).read_bytes()
        for entry in registry.read("v1", repository).entries
    }
    server = Remote(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_killed_download_resumes(repository: Path, remote: Remote, tmp_path: Path) -> None:
    """SIGKILL in the middle: no version folder yet; the next call fetches only what had not come whole."""
    home = tmp_path / "home"
    remote.delay = 0.3
    command = [sys.executable, "-m", "covidct", "fetch", "v1", "--repo", str(repository), "--remote", remote.url]
    environment = {**os.environ, "COVIDCT_HOME": str(home), "PYTHONPATH": str(Path(covidct.__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if sum(remote.served.values()) > download.WORKERS:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [path.name for path in home.iterdir()] == ["objects"]
    whole = {path.name for path in home.glob("objects/??/*") if not path.name.endswith(".part")}
    assert 0 < len(whole) < len(remote.objects)
    remote.delay = 0
    remote.asked.clear()
    folder = covidct.fetch("v1", repository, remote.url, home=home)
    entries = registry.read("v1", repository).entries
    assert set(remote.asked) == {entry.md5 for entry in entries if entry.sha256 not in whole}
    assert covidct.verify("v1", repository, home=home) == []
    assert covidct.load(folder).verify() == []


def test_what_a_kill_left_behind_is_swept(repository: Path, remote: Remote, tmp_path: Path) -> None:
    """Half-written files of yesterday go; those of a download that may still run stay."""
    home = tmp_path / "home"
    old, fresh, made = home / "objects/ab/x.part", home / "objects/ab/y.part", home / ".v1-abc-1"
    old.parent.mkdir(parents=True)
    made.mkdir()
    for path in (old, fresh):
        path.write_bytes(b"half")
    for path in (old, made):
        os.utime(path, (time.time() - 2 * download.ABANDONED,) * 2)
    covidct.fetch("v1", repository, remote.url, home=home)
    assert (old.exists(), fresh.exists(), made.exists()) == (False, True, False)


def test_faults_of_the_line_are_tried_again(
    repository: Path, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 500, a torn answer: again. Wrong bytes under the right name: refused, said, never stored."""
    monkeypatch.setattr(stores, "WAITS", (0.0, 0.0))
    first, second, *_ = sorted(remote.objects)
    remote.faults = {first: ["503", "half"], second: ["half"]}
    covidct.fetch("v1", repository, remote.url, home=tmp_path / "home")
    assert (remote.asked[first], remote.asked[second]) == (3, 2)
    remote.faults = {first: ["other"]}
    with pytest.raises(download.FetchError, match=r"1 of 37 files could not be had.*the bytes there have another hash"):
        covidct.fetch("v1", repository, remote.url, home=tmp_path / "other")
    covidct.fetch("v1", repository, remote.url, home=tmp_path / "other")


def test_a_remote_that_is_gone(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, or the server knows nothing: both are said with the store's name and what was tried."""
    monkeypatch.setattr(stores, "WAITS", ())
    with pytest.raises(download.FetchError, match=r"http://127\.0\.0\.1:9: 0 of 37; .*refused.*name another store"):
        covidct.fetch("v1", repository, "http://127.0.0.1:9", home=tmp_path / "home")
    with pytest.raises(download.FetchError, match="tried nothing: no DVC remote is configured there; name another"):
        covidct.fetch("v1", repository, home=tmp_path / "home")
    with pytest.raises(download.FetchError, match="remote 'store': expected a folder, a URL or one of"):
        covidct.fetch("v1", repository, "store", home=tmp_path / "home")


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        (
            "ssh://host/store", {"user": "me", "port": "2222", "keyfile": "/k", "type": "x"},
            {"username": "me", "port": 2222, "client_keys": ["/k"]},
        ),
        (
            "s3://bucket/store", {"endpointurl": "http://x", "region": "eu", "profile": "p", "access_key_id": "k"},
            {"client_kwargs": {"endpoint_url": "http://x", "region_name": "eu"}, "profile": "p", "key": "k"},
        ),
        ("gs://bucket/store", {"projectname": "x"}, {}),
    ],
)  # fmt: skip
def test_options_of_a_remote(url: str, options: dict[str, str], expected: dict[str, object]) -> None:
    """DVC's names for a remote's options become those of the file system."""
    assert stores.cloud_options(url, options) == expected
