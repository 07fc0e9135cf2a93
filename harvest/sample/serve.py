"""Run a command with the stand-in server beside it, or the server alone.

    python -m harvest.sample.serve --corpus data/sample -- python -m harvest.preprints --api {standin}/api.biorxiv.org …
    python -m harvest.sample.serve --corpus data/sample --port 8765
    python -m harvest.sample.serve --synthetic 2000 760 --port 8765
    python -m harvest.sample.serve --synthetic 2000 760 --fault limit,times=2@/content/ --log asked.jsonl -- …

An argument of the command that holds the token ``{standin}`` makes the server start on a free loopback port, with its
address put in place of the token; without the token the command runs as it is (the paper profile talks to the real
services). The command's exit status is this program's. A fault is ``kind[,field=value…]@pattern`` (fields and kinds:
``harvest.sample.replies.Fault``); the log has one line for each request, with the time it arrived.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harvest.sample.replies import Fault
from harvest.sample.standin import StandIn
from harvest.sample.store import Store, StoreError, Synthetic

TOKEN = "{standin}"  # noqa: S105 - a place holder, no secret

FIELDS: dict[str, Callable[[str], Any]] = {
    "times": int, "status": int, "skip": int, "seconds": float, "retry_after": str
}  # fmt: skip

__all__ = ["Fault", "StandIn", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m harvest.sample.serve", description=(__doc__ or "").split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--corpus", type=Path, help="folder written by python -m harvest.sample")
    source.add_argument("--synthetic", nargs=2, type=int, metavar=("ROWS", "PDFS"), help="a made-up listing instead")
    parser.add_argument("--port", type=int, default=0, help="serve on this port until interrupted (0: a free one)")
    parser.add_argument("--page-size", type=int, default=30, help="rows per page of the preprint API")
    parser.add_argument("--fault", type=fault_of, action="append", default=[], help="kind[,field=value...]@pattern")
    parser.add_argument("--log", type=Path, help="write arrivals to this file (.jsonl) when the server stops")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- command and arguments")
    given = parser.parse_args(arguments)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if command and command[0] in ("python", "python3"):
        command[0] = sys.executable
    if command and not any(TOKEN in word for word in command):
        return _run(command)
    try:
        store = Synthetic(*given.synthetic) if given.synthetic else Store(given.corpus)
        with StandIn(store=store, page_size=given.page_size, port=given.port, faults=given.fault) as server:
            try:
                if command:
                    return _run([word.replace(TOKEN, server.url) for word in command])
                what = given.corpus or "a synthetic listing"
                sys.stderr.write(f"stand-in serves {what} at {server.url}; Ctrl-C stops it\n")
                return _wait()
            finally:
                if given.log:
                    lines = (json.dumps(asdict(arrival)) + "\n" for arrival in list(server.log))
                    given.log.write_text("".join(lines), encoding="utf-8")
    except (StoreError, OSError) as error:
        sys.stderr.write(f"stand-in: {error}\n")
        return 1


def fault_of(text: str) -> Fault:
    """A fault from ``kind[,field=value…]@pattern``. Raises ArgumentTypeError saying what is expected."""
    words, sign, pattern = text.partition("@")
    kind, *fields = words.split(",")
    options: dict[str, Any] = {}
    try:
        if not sign:
            raise ValueError("expected kind@pattern")
        re.compile(pattern)
        for field in fields:
            name, _, value = field.partition("=")
            options[name] = {"times": int, "status": int, "skip": int, "seconds": float, "retry_after": str}[name](
                value
            )
        return Fault(pattern, kind, **options)
    except (ValueError, KeyError, re.error) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {error}; fields: times, status, skip, seconds, retry_after"
        ) from error


def _run(command: list[str]) -> int:
    """Run a command to its end; an interrupt goes to the command, and the server stays up until it has ended."""
    try:
        child = subprocess.Popen(command)
    except FileNotFoundError:
        sys.stderr.write(f"stand-in: expected a program to run, got {command[0]!r}, which is not on the PATH\n")
        return 127
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            try:
                code = child.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait() -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        while not stop.wait(0.5):
            pass
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
