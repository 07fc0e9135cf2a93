"""Each item in a process of its own, with limits on time and memory; a crash is an answer, not the end of the run.

`Nursery` keeps one small server process that has the libraries loaded and forks a child for every item (some ms each).
A child gets its limits, does one item, sends its answer through a pipe and is gone; whatever it does (segmentation
fault, endless loop, all the memory) comes back as `Outcome.reason`. `run_all` spreads items over nurseries: local
threads, or the workers of a Dask cluster, in order. Reads nothing and writes nothing but pipes.

Why a process that forks rather than a pool: a pool's worker serves many items, so its memory limit is shared and its
crash takes others along; and Dask's own workers are daemons, which `multiprocessing` lets have no children.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

import joblib

FRAME = struct.Struct("<QI")
"""length of the JSON part, number of blobs"""
SIZE = struct.Struct("<Q")
MAX_ANSWER = 2_000_000_000
"""bytes a child may send"""


class WorkerError(RuntimeError):
    """The server process itself could not be started or went away twice."""


@dataclass(frozen=True)
class Limits:
    """What one item may use. ``seconds`` of wall clock (and of CPU), ``memory_mb`` beyond what the libraries take."""

    seconds: float = 120.0
    memory_mb: int = 1500


@dataclass(frozen=True)
class Outcome:
    """An item's answer, or why there is none; ``peak_mb`` is the child's largest resident size."""

    answer: dict[str, Any] | None
    blobs: list[bytes] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


class Nursery:
    """One server process for one kind of work (``target`` = ``module:function``, request → (answer, blobs))."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harvest.workers", self.target],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        return self.process

    def run(self, request: dict[str, Any], limits: Limits) -> Outcome:
        """The outcome of one item. Raises WorkerError where the server process cannot be kept up."""
        for _ in range(2):
            process = self.start()
            assert_pipes(process)
            try:
                message = {"request": request, "seconds": limits.seconds, "memory_mb": limits.memory_mb}
                write_frame(process.stdin, message, [])
                reply, blobs = read_frame(process.stdout)
            except (EOFError, BrokenPipeError):
                self.close()
                continue
            return Outcome(reply.get("answer"), blobs, reply["reason"], reply["seconds"], reply["peak_mb"])
        raise WorkerError(
            f"{self.target}: expected a server process that stays up, got one that ends; run it by hand: "
            f"{sys.executable} -m harvest.workers {self.target} < /dev/null"
        )

    def close(self) -> None:
        """End the server process (its child, if any, is killed by it)."""
        if self.process is not None:
            if self.process.stdin:
                self.process.stdin.close()
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
            self.process = None


def assert_pipes(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is None or process.stdout is None:
        raise WorkerError("expected a server process with pipes, got one without")


_idle: dict[str, list[Nursery]] = {}
_lock = threading.Lock()


def run_one(target: str, request: dict[str, Any], limits: Limits) -> Outcome:
    """One item on a nursery that has nothing to do (a new one where all have; all are closed at exit)."""
    with _lock:
        if not _idle:
            atexit.register(close_all)
        idle = _idle.setdefault(target, [])
        nursery = idle.pop() if idle else Nursery(target)
    try:
        return nursery.run(request, limits)
    finally:
        with _lock:
            idle.append(nursery)


def close_all() -> None:
    """End every nursery of this process that has nothing to do."""
    with _lock:
        for idle in _idle.values():
            while idle:
                idle.pop().close()


def run_all(
    target: str, requests: Sequence[dict[str, Any]], limits: Limits, *, workers: int = 1, scheduler: str = ""
) -> Iterator[Outcome]:
    """Outcomes in the order of the requests: from ``workers`` local nurseries, or the Dask cluster at ``scheduler``.

    On a cluster the requests' paths must be visible to its workers (a shared file system).
    """
    jobs = [joblib.delayed(run_one)(target, request, limits) for request in requests]
    if not scheduler:
        yield from joblib.Parallel(n_jobs=workers, backend="threading", return_as="generator", pre_dispatch="2*n_jobs")(
            jobs
        )
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise WorkerError(
            "a Dask scheduler was named, but Dask is not installed; pip install 'covidct[cluster]'"
        ) from error
    try:
        client = Client(scheduler, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise WorkerError(f"scheduler {scheduler}: expected a Dask scheduler that answers, got: {error}") from error
    with client, joblib.parallel_config("dask"):
        yield from joblib.Parallel(return_as="generator")(jobs)


def write_frame(pipe: IO[bytes] | None, message: dict[str, Any], blobs: Sequence[bytes]) -> None:
    """Send a message and its blobs."""
    if pipe is None:
        raise WorkerError("expected an open pipe, got none")
    data = json.dumps(message).encode()
    pipe.write(FRAME.pack(len(data), len(blobs)) + data)
    for blob in blobs:
        pipe.write(SIZE.pack(len(blob)))
        pipe.write(blob)
    pipe.flush()


def read_frame(pipe: IO[bytes] | None) -> tuple[dict[str, Any], list[bytes]]:
    """Receive a message and its blobs; EOFError where the pipe ends."""
    if pipe is None:
        raise WorkerError("expected an open pipe, got none")

    def exactly(count: int) -> bytes:
        data = pipe.read(count)
        if len(data) < count:
            raise EOFError("the pipe ended in the middle of a message")
        return data

    length, number = FRAME.unpack(exactly(FRAME.size))
    message = json.loads(exactly(length))
    return message, [exactly(SIZE.unpack(exactly(SIZE.size))[0]) for _ in range(number)]


def serve(target: str) -> None:
    """The server process: one forked child for each message on standard input, until it ends."""
    module, name = target.split(":")
    function = getattr(importlib.import_module(module), name)
    gc.freeze()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    while True:
        try:
            message, _ = read_frame(source)
        except EOFError:
            return
        started = time.monotonic()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            work(function, message, writer)
        os.close(writer)
        data, late = collect(reader, started + float(message["seconds"]))
        os.close(reader)
        if late or len(data) > MAX_ANSWER:
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        reply: dict[str, Any] = {
            "reason": "",
            "seconds": time.monotonic() - started,
            "peak_mb": usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
        }
        blobs: list[bytes] = []
        if late:
            reply["reason"] = f"over the limit of {message['seconds']:g} s; raise seconds, or look at the file"
        elif os.WIFSIGNALED(status):
            reply["reason"] = crash(os.WTERMSIG(status), message)
        else:
            answer, blobs = unpacked(data)
            reply |= answer
        write_frame(sink, reply, blobs)


def crash(number: int, message: dict[str, Any]) -> str:
    """What a child's death by a signal means."""
    if number == signal.SIGXCPU:
        return f"over the limit of {message['seconds']:g} s of processor time; raise seconds, or look at the file"
    name = signal.Signals(number).name if number in {s.value for s in signal.Signals} else str(number)
    return f"the PDF library crashed on it ({name}) or took more than {message['memory_mb']} MB; look at the file"


def work(function: Any, message: dict[str, Any], writer: int) -> NoReturn:
    """The child: limits, one item, answer, end. An error of any kind becomes the reason; nothing survives."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        limit(float(message["seconds"]), int(message["memory_mb"]))
        gc.set_threshold(200_000, 20, 20)  # a child lives for one item and makes few cycles: collecting often is waste
        answer, blobs = function(message["request"])
        with os.fdopen(writer, "wb", closefd=False) as pipe:
            write_frame(pipe, {"answer": answer, "reason": ""}, blobs)
        code = 0
    finally:
        error = sys.exception()
        if error is not None:
            text = " ".join(str(error).split())[:400]
            own = type(error).__module__.startswith("harvest.")
            reason = text if own and text else f"{type(error).__name__}: {text}"
            if isinstance(error, MemoryError):
                reason = f"took more than {message['memory_mb']} MB; raise memory_mb, or look at the file"
            with os.fdopen(writer, "wb", closefd=False) as pipe:
                write_frame(pipe, {"reason": reason}, [])
            code = 0
        os._exit(code)


def limit(seconds: float, memory_mb: int) -> None:
    """Resource limits of the child: processor time, address space beyond what is mapped already, no core, no files."""
    cpu = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = mapped + memory_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def collect(reader: int, deadline: float) -> tuple[bytes, bool]:
    """What the child sends until it closes the pipe, and whether it was late."""
    parts: list[bytes] = []
    total = 0
    while total <= MAX_ANSWER:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"".join(parts), True
        part = os.read(reader, 1 << 20)
        if not part:
            break
        parts.append(part)
        total += len(part)
    return b"".join(parts), False


def unpacked(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The child's message, or a reason where it ended without one."""
    try:
        return read_frame(io.BytesIO(data))
    except EOFError:
        return {"reason": "the worker ended without an answer; look at the file"}, []


if __name__ == "__main__":
    serve(sys.argv[1])
