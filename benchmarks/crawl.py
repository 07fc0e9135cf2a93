"""What the harvest must reach, against the stand-in server.

    python -m benchmarks.crawl [kills|memory|speed|all]

kills   2,000 version rows and 760 PDFs, killed with SIGKILL at 20 random moments, resumed: byte-identical to an
        uninterrupted run; how often anything was asked for twice.
memory  peak resident memory of the stage with 200 and with 2,000 papers.
speed   rows/s and MB/s of the stage with spacing 0 beside a bare `requests` loop against the same server.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from harvest.sample.serve import StandIn

SERVER = """
import sys, threading
from harvest.sample.serve import StandIn
server = StandIn.synthetic(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).start()
print(server.url, flush=True)
threading.Event().wait()
"""


class Server:
    """A synthetic stand-in in a process of its own, as the real services are."""

    def __init__(self, rows: int, pdfs: int, size: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(rows), str(pdfs), str(size)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


def command(url: str, out: Path, *more: str) -> list[str]:
    """The stage's command line."""
    base = [sys.executable, "-m", "harvest.preprints", "--api", url, "--site", url, "--spacing", "0"]
    return [*base, "--contact", "bench@university.edu", "--out", str(out), *more]


def digest(folder: Path) -> str:
    """One hash over all names and bytes of a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def kills(folder: Path, rows: int, pdfs: int, times: int, seed: int) -> None:
    """Kill at random moments, resume, compare."""
    chance = random.Random(seed)
    with StandIn.synthetic(rows, pdfs, 20_000) as server:
        begin = time.monotonic()
        subprocess.run(command(server.url, folder / "whole"), check=True, capture_output=True)
        whole_seconds, whole_requests = time.monotonic() - begin, len(server.log)
        server.log.clear()
        broken, done = command(server.url, folder / "broken"), 0
        # Moments are drawn over the requests of the whole run, so that listing and files are hit alike.
        for part in sorted(chance.sample(range(1, whole_requests), times)):
            with subprocess.Popen(broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while len(server.log) < part and process.poll() is None:
                    time.sleep(0.0005)
                time.sleep(chance.random() * 0.004)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    done += 1
        subprocess.run(broken, check=True, capture_output=True)
        pdf_asked = [a.path for a in server.log if "/content/" in a.path]
        pages = [a.path for a in server.log if "/details/" in a.path and "/na/" not in a.path]
    same = digest(folder / "whole") == digest(folder / "broken")
    count = sum(1 for _ in (folder / "broken" / "pdf").iterdir())
    print(f"uninterrupted: {whole_seconds:.1f} s, {whole_requests} requests")
    print(f"killed {done} times: identical {same}, {count} PDFs")
    print(f"PDF requests {len(pdf_asked)} for {len(set(pdf_asked))} files; pages {len(pages)} for {len(set(pages))}")


def memory(folder: Path) -> None:
    """Peak memory at two sizes, in processes of their own."""
    for rows, pdfs in ((200, 200), (2000, 2000), (20_000, 760)):
        with Server(rows, pdfs, 20_000) as url:
            out = folder / f"memory{rows}-{pdfs}"
            run = [sys.executable, "-c", PEAK, *command(url, out)[3:]]
            text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
            print(f"{rows} rows, {pdfs} PDFs: peak {int(text.split()[-1]) / 1024:.1f} MB")


# VmHWM, not ru_maxrss: the latter starts with what the parent had when it forked.
PEAK = """
from pathlib import Path
from harvest.preprints import app
try:
    app()
except SystemExit as end:
    assert not end.code, end.code
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def bare(url: str, folder: Path, rows: int) -> tuple[float, float, int, int]:
    """A bare loop: list with requests, write each PDF; seconds of both, rows and bytes."""
    folder.mkdir(parents=True)
    session = requests.Session()
    begin, found, wanted = time.monotonic(), 0, []
    for server in ("medrxiv", "biorxiv"):
        cursor = 0
        while True:
            page = session.get(f"{url}/details/{server}/2020-01-19/2020-03-25/{cursor}/json", timeout=30).json()
            if not page["collection"]:
                break
            found += len(page["collection"])
            wanted += [(r["doi"], r["version"]) for r in page["collection"] if "covid" in r["title"].lower()]
            cursor += len(page["collection"])
    listed = time.monotonic() - begin
    begin, size = time.monotonic(), 0
    for doi, version in wanted:
        body = session.get(f"{url}/content/{doi}v{version}.full.pdf", timeout=30).content
        (folder / f"{doi.split('/')[1]}v{version}.pdf").write_bytes(body)
        size += len(body)
    assert found == rows
    return listed, time.monotonic() - begin, found, size


def ours(url: str, folder: Path, *more: str) -> tuple[float, float]:
    """Seconds of our listing and of our fetching, in this process, start-up of Python left out."""
    from harvest import papers, preprints, window
    from harvest.http import Session
    from harvest.store import open_store

    wanted = window.Wanted(url, url, ("medrxiv", "biorxiv"), "2020-01-19", "2020-03-25", check_later="check" in more)
    with open_store(folder / "cache", "preprints", (url,), window.SCHEMA) as store:
        session = Session("bench@university.edu", spacing=0, local=True)
        begin = time.monotonic()
        assert window.list_all(session, store, wanted) == []
        listed = time.monotonic() - begin
        window.select(store, wanted)
        begin = time.monotonic()
        papers.fetch_all(session, store, wanted)
        preprints.publish(store, wanted, folder / "out")
        return listed, time.monotonic() - begin


def speed(folder: Path, rows: int, pdfs: int, repeats: int) -> None:
    """Side by side, turn by turn."""
    for size in (200_000, 1_500_000):
        theirs: list[tuple[float, float]] = []
        mine: dict[str, list[tuple[float, float]]] = {"plain": [], "check": []}
        with Server(rows, pdfs, size) as url:
            for n in range(repeats):
                listed, fetched, found, total = bare(url, folder / f"bare{size}-{n}", rows)
                theirs.append((found / listed, total / fetched / 1e6))
                for kind in mine:
                    listed, fetched = ours(url, folder / f"ours{size}-{kind}-{n}", kind)
                    mine[kind].append((found / listed, total / fetched / 1e6))
        base = [statistics.median(v) for v in zip(*theirs, strict=True)]
        print(f"PDFs of {size / 1e6:.1f} MB: bare requests {base[0]:.0f} rows/s, {base[1]:.0f} MB/s")
        for kind, values in mine.items():
            got = [statistics.median(v) for v in zip(*values, strict=True)]
            words = "with a look-up per paper for later withdrawals" if kind == "check" else "listing and files only"
            rows_s, mb_s = (f"{mine:.0f} ({mine / other:.2f}x)" for mine, other in zip(got, base, strict=True))
            print(f"  ours, {words}: {rows_s} rows/s, {mb_s} MB/s")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["kills", "memory", "speed", "all"], nargs="?", default="all")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--pdfs", type=int, default=760)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.what in ("kills", "all"):
            kills(folder, given.rows, given.pdfs, given.kills, given.seed)
        if given.what in ("memory", "all"):
            memory(folder)
        if given.what in ("speed", "all"):
            speed(folder, given.rows, given.pdfs, given.repeats)


if __name__ == "__main__":
    main()
