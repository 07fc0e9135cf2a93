"""Downloads that are killed, answered badly, or met half-written: what came is kept, nothing wrong gets its name."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import urllib.request
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
        if what.startswith("http"):
            self.send_response(302)
            self.send_header("Location", what)
            self.end_headers()
            return
        if content is None or what.isdigit():
            self.send_error(int(what or 404))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if what == "slow":
            for byte in content[:20]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.02)
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


def entry_of(content: bytes) -> tuple[registry.Entry, dict[str, bytes]]:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return registry.Entry("images/a.png", len(content), hashlib.sha256(content).hexdigest(), md5), {md5: content}


@pytest.mark.parametrize(
    "target", ["http://localhost:{}/x", "http://169.254.169.254/x", "http://[::1]/x", "http://10.0.0.1/x"]
)
def test_a_redirect_into_this_network_is_not_followed(
    target: str, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote could have this machine ask its neighbours; within the same host it may send us on."""
    monkeypatch.setattr(stores, "WAITS", ())
    entry, objects = entry_of(b"0123456789")
    remote.objects |= objects | {"x" + entry.md5: b"0123456789"}
    remote.faults[entry.md5] = [target.format(remote.server_address[1])]
    with pytest.raises(
        stores.StoreError, match=r"expected the object or a redirect to a public address .* got a redirect"
    ):
        stores.Http(remote.url).get(entry, tmp_path / "a")
    remote.faults[entry.md5] = [f"{remote.url}/x/{entry.md5}"]
    assert stores.Http(remote.url).get(entry, tmp_path / "a")


def test_https_is_not_left_by_a_redirect() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(stores.StoreError, match=r"got a redirect to http://example\.org"):
        stores.Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_server_that_sends_a_byte_at_a_time_is_given_up(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was looked at after a megabyte only."""
    monkeypatch.setattr(stores, "WAITS", ())
    monkeypatch.setattr(stores, "TIMEOUT", 0.2)
    monkeypatch.setattr(stores, "SLOWEST", 1_000_000)
    entry, objects = entry_of(bytes(1000))
    remote.objects |= objects
    remote.faults[entry.md5] = ["slow"]
    with pytest.raises(
        stores.StoreError, match=r"images/a\.png: expected at least 1000000 bytes a second, got \d+ of 1000"
    ):
        stores.Http(remote.url).get(entry, tmp_path / "a")


@pytest.mark.parametrize("tells", [True, False])
def test_a_cloud_object_of_another_size_is_not_downloaded(
    tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk would be full before the hash is looked at."""
    pytest.importorskip("fsspec")
    store = stores.Cloud(f"memory://{tmp_path.name}", {})
    entry, _ = entry_of(b"0123456789")
    path = f"{store.base}/files/md5/{entry.md5[:2]}/{entry.md5[2:]}"
    if not tells:
        monkeypatch.setattr(
            store.files, "size", lambda path: None if store.files.exists(path) else store.files.info(path)
        )
    assert not store.get(entry, tmp_path / "a")
    store.files.pipe_file(path, bytes(5000))
    with pytest.raises(stores.StoreError, match=r"images/a\.png: expected 10 bytes, got (5000|more)"):
        store.get(entry, tmp_path / "a")
    store.files.pipe_file(path, b"0123456789")
    assert store.get(entry, tmp_path / "a") and (tmp_path / "a").read_bytes() == b"0123456789"


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
