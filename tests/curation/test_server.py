"""Our own server, as far as it goes without one: a busy port, a stale process number, a secret, a program that dies."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from curation import server


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A label-studio that says something and ends."""
    made = tmp_path / "venv" / "bin" / "label-studio"
    made.parent.mkdir(parents=True)
    made.write_text('#!/bin/sh\necho "no space left"\nexit 3\n')
    made.chmod(0o755)
    return made.parents[1]


def test_a_busy_port_is_said_before_anything_is_started(program: Path, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(server.ServerError, match="--port"):
            server.start(tmp_path / "home", tmp_path, busy.getsockname()[1], program)


def test_a_server_that_ends_shows_its_log_and_keeps_its_secrets(program: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "home"
    with pytest.raises(server.ServerError, match=r"status 3[\s\S]*no space left"):
        server.start(home, tmp_path, port, program)
    first = (home / "token").read_text()
    assert len(first) == 40 and stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    with pytest.raises(server.ServerError):
        server.start(home, tmp_path, port, program)
    assert (home / "token").read_text() == first


def test_a_process_number_of_another_program_is_no_server(tmp_path: Path) -> None:
    assert server.running(tmp_path) is None and not server.stop(tmp_path)
    (tmp_path / "server.txt").write_text(f"{os.getpid()} http://127.0.0.1:9\n{tmp_path}\n")
    assert server.running(tmp_path) is None and not server.stop(tmp_path)
    for content in ("", "x y\n", "999999999 http://127.0.0.1:9\n"):
        (tmp_path / "server.txt").write_text(content)
        assert server.running(tmp_path) is None


def test_the_folder_above_the_candidates_must_be_there(program: Path, tmp_path: Path) -> None:
    with pytest.raises(server.ServerError, match="run `dvc repro candidates` first"):
        server.start(tmp_path / "home", tmp_path / "nothing", 1, program)


def test_an_environment_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(server.ServerError, match="package index"):
        server.install(tmp_path / "file" / "venv")
