"""Items in processes of their own: whatever one does comes back as an answer or a reason, in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvest import workers
from harvest.workers import Limits, Nursery, Outcome, WorkerError, run_all

JOBS = """
import os, signal, time, ctypes
from pathlib import Path

class HarvestLike(RuntimeError): pass

def run(request):
    what = request["what"]
    if what == "echo":
        return {"n": request["n"], "pid": os.getpid()}, [bytes([request["n"]]) * request.get("size", 3)]
    if what == "hang":
        time.sleep(60)
    if what == "spin":
        while True: pass
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "null":
        ctypes.string_at(0)
    if what == "memory":
        keep = []
        while True: keep.append(bytearray(20_000_000))
    if what == "error":
        raise ValueError("no such\\n figure")
    if what == "exit":
        os._exit(3)
    if what == "write":
        Path(request["path"]).write_bytes(b"x" * 100)
    if what == "noise":
        print("to standard output"); os.system("echo more"); return {}, []
    if what == "stdin":
        import sys; return {"read": sys.stdin.read()}, []
    if what == "state":
        globals().setdefault("seen", []).append(1); return {"seen": len(seen)}, []
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of jobs that the server process can import."""
    (tmp_path / "fragile_jobs.py").write_text(JOBS)
    paths = [str(tmp_path), str(Path(workers.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    yield "fragile_jobs:run"
    workers.close_all()


def outcome(target: str, limits: Limits | None = None, **request: object) -> Outcome:
    nursery = Nursery(target)
    try:
        return nursery.run(request, limits or Limits(20, 400))
    finally:
        nursery.close()


def test_answers_and_blobs_come_back_in_order(target: str) -> None:
    requests = [{"what": "echo", "n": n, "size": 200_000} for n in range(9)]
    outcomes = list(run_all(target, requests, Limits(20, 400), workers=3))
    assert [o.answer["n"] for o in outcomes if o.answer] == list(range(9))
    assert [o.blobs[0] for o in outcomes] == [bytes([n]) * 200_000 for n in range(9)]
    assert len({o.answer["pid"] for o in outcomes if o.answer}) == 9, "a process each"
    assert all(o.reason == "" and o.peak_mb > 1 for o in outcomes)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("hang", "over the limit of 1 s"),
        ("spin", "over the limit of 1 s"),
        ("crash", "crashed on it (SIGSEGV)"),
        ("null", "crashed on it (SIGSEGV)"),
        ("memory", "took more than 100 MB"),
        ("error", "ValueError: no such figure"),
        ("exit", "ended without an answer"),
    ],
)
def test_what_goes_wrong_is_a_reason_and_the_next_item_goes_on(target: str, what: str, reason: str) -> None:
    nursery = Nursery(target)
    try:
        bad = nursery.run({"what": what}, Limits(1 if "limit of 1 s" in reason else 30, 100))
        good = nursery.run({"what": "echo", "n": 7}, Limits(20, 100))
    finally:
        nursery.close()
    assert bad.answer is None and reason in bad.reason
    assert good.answer and good.answer["n"] == 7


def test_a_child_writes_no_file(target: str, tmp_path: Path) -> None:
    got = outcome(target, what="write", path=str(tmp_path / "stray"))
    assert got.answer is None
    assert not (tmp_path / "stray").exists() or (tmp_path / "stray").stat().st_size == 0


def test_noise_on_standard_output_does_not_reach_the_pipe(target: str) -> None:
    assert outcome(target, what="noise").answer == {}


def test_a_child_reads_nothing_from_the_servers_pipe(target: str) -> None:
    assert outcome(target, what="stdin").answer == {"read": ""}


def test_an_item_leaves_no_trace_in_the_next(target: str) -> None:
    requests = [{"what": "state"}] * 3
    assert [o.answer for o in run_all(target, requests, Limits(20, 400))] == [{"seen": 1}] * 3


def test_a_server_that_dies_is_started_again_and_one_that_cannot_start_is_told(target: str) -> None:
    nursery = Nursery(target)
    try:
        assert nursery.run({"what": "echo", "n": 1}, Limits(20, 400)).answer
        assert nursery.process
        nursery.process.kill()
        nursery.process.wait()
        assert nursery.run({"what": "echo", "n": 2}, Limits(20, 400)).answer
    finally:
        nursery.close()
    absent = Nursery("no_such_module:run")
    with pytest.raises(WorkerError, match="run it by hand"):
        absent.run({}, Limits(5, 100))


def test_a_scheduler_that_is_not_there_is_told(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkerError, match=r"covidct\[cluster\]"):
        list(run_all(target, [{"what": "state"}], Limits(), scheduler="tcp://127.0.0.1:1"))


def test_a_dask_cluster_gives_the_same_in_the_same_order(target: str) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    requests = [{"what": "echo", "n": n} for n in range(6)]
    local = [(o.answer and o.answer["n"], o.blobs) for o in run_all(target, requests, Limits(20, 400))]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        spread = run_all(target, requests, Limits(20, 400), scheduler=cluster.scheduler_address)
        assert [(o.answer and o.answer["n"], o.blobs) for o in spread] == local
