"""A Label Studio server of our own: an environment apart, SQLite, loopback only, first user and token by itself.

Everything it has lies in one folder (``label-studio/`` by default): data base, keys, token, log. The folder is not
committed; stop and restart keep everything. Settings follow Label Studio 1.23's own environment variables.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

VERSION = "1.23.2"
USER = "curator@example.org"
START_SECONDS = 600
log = logging.getLogger(__name__)


class ServerError(RuntimeError):
    """The server can't be installed, started, reached or stopped: says what, and what to do next."""


@dataclass(frozen=True)
class Server:
    """A running server of ours: its address, a token for it, its process and the folder of its data."""

    url: str
    token: str
    pid: int
    home: Path
    root: Path
    """the folder whose pictures it may hand out"""


def _secret(path: Path, make: int) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_hex(make))
    return path.read_text().strip()


def install(venv: Path) -> Path:
    """Make the server's own environment if there is none; returns its ``label-studio`` program."""
    program = venv / "bin" / "label-studio"
    if not program.exists():
        log.info("installing label-studio %s into %s (about 1 GB, one to two minutes)", VERSION, venv)
        commands = (
            [sys.executable, "-m", "venv", str(venv)],
            [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", f"label-studio=={VERSION}"],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerError(
                    f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}; is a package index reachable?"
                )
    return program


def running(home: Path) -> Server | None:
    """The server that was started in this folder, if its process is alive and it answers."""
    state = home / "server.txt"
    if not state.exists():
        return None
    first, _, root = state.read_text().strip().partition("\n")
    pid, _, url = first.partition(" ")
    cmdline = Path(f"/proc/{pid}/cmdline")
    if cmdline.exists() and b"label-studio" not in cmdline.read_bytes():
        return None  # the process number was given to another program since
    try:
        os.kill(int(pid), 0)
        requests.get(f"{url}/health", timeout=10).raise_for_status()
    except (ProcessLookupError, ValueError, requests.RequestException):
        return None
    return Server(url, _secret(home / "token", 20), int(pid), home, Path(root))


def start(home: Path, document_root: Path, port: int = 18090, venv: Path = Path(".venv-labelstudio")) -> Server:
    """Start (or find) the server; waits until it is healthy. Raises ServerError with the end of its log otherwise."""
    root = document_root.absolute()
    if not root.is_dir():
        raise ServerError(
            f"{root}: expected the folder above the candidates, got none; run `dvc repro candidates` first"
        )
    found = running(home)
    if found:
        if found.root != root:
            raise ServerError(
                f"the server of {home} hands out pictures of {found.root}, asked for {root}; "
                "stop it first (covidct label serve --stop), or give this one another --home"
            )
        return found
    program = install(venv)
    with socket.socket() as probe:  # Label Studio silently takes the next port, so look first
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServerError(f"port {port} is in use; give another one with --port") from error
    home = home.absolute()
    token, password = _secret(home / "token", 20), _secret(home / "password", 12)
    on, off = "true", "false"
    environment = {
        # a bare environment: Label Studio also reads HOST, DEBUG, USERNAME … from it
        "PATH": f"{program.parent.absolute()}:/usr/bin:/bin",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "share"),
        "LANG": "C.UTF-8",
        "LABEL_STUDIO_BASE_DATA_DIR": str(home),
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": on,
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": on,
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(root),
        "LABEL_STUDIO_COLLECT_ANALYTICS": off,
        "LABEL_STUDIO_LATEST_VERSION_CHECK": off,
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": on,
    }
    command = [str(program.absolute()), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--data-dir", str(home)]
    url = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("ab") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=home, start_new_session=True
        )
    (home / "server.txt").write_text(f"{process.pid} {url}\n{root}\n")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                break
        except requests.RequestException:
            log.debug("waiting for %s", url)
        time.sleep(0.5)
    else:
        os.killpg(process.pid, signal.SIGTERM)
        raise ServerError(f"Label Studio did not become healthy in {START_SECONDS} s; {_tail(home)}")
    if process.poll() is not None:
        raise ServerError(f"Label Studio ended by itself (status {process.returncode}); {_tail(home)}")
    made = Server(url, token, process.pid, home, root)
    if not _request(made, "/api/current-user/whoami").ok:  # also: does our server answer here, or somebody else's?
        os.killpg(process.pid, signal.SIGTERM)
        raise ServerError(
            f"what answers at {url} does not know the token in {home / 'token'}; "
            f"if token or data base was exchanged, put them back, or start anew with another --home; {_tail(home)}"
        )
    return made


def _tail(home: Path) -> str:
    return f"end of {home}/server.log:\n{(home / 'server.log').read_text(errors='replace')[-600:]}"


def _request(running: Server, path: str) -> requests.Response:
    return requests.get(running.url + path, headers={"Authorization": f"Token {running.token}"}, timeout=60)


def invitation(running: Server) -> str:
    """Address at which another curator chooses e-mail and password; without it nobody can make an account."""
    try:
        answer = _request(running, "/api/invite")
        answer.raise_for_status()
        return running.url + str(answer.json()["invite_url"]).removeprefix(running.url)
    except (requests.RequestException, ValueError, KeyError) as error:
        raise ServerError(f"{running.url} gave no invitation ({error}); see {running.home}/server.log") from error


def stop(home: Path) -> bool:
    """Stop the server started in this folder; True if one was running."""
    found = running(home)
    if not found:
        return False
    os.killpg(found.pid, signal.SIGTERM)
    for _ in range(100):
        with contextlib.suppress(ChildProcessError):  # it may be the child of an earlier process of ours
            os.waitpid(found.pid, os.WNOHANG)
        if not Path(f"/proc/{found.pid}").exists():
            break
        time.sleep(0.1)
    else:
        raise ServerError(f"process {found.pid} did not stop within 10 s; end it by hand")
    (home / "server.txt").unlink(missing_ok=True)
    return True
