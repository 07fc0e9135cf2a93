"""Thousands of broken PDFs through the `figures` stage: no crash of the run, no hang, no file outside its folder.

    python benchmarks/figures_fuzz.py PDFS [MORE_PDFS …] --count 2000 --seed 0

Mutants of the PDFs given: flipped bits, cut ends, cut middles, objects of one PDF put into another, numbers changed in
place (lengths, sizes, references), streams exchanged. Prints what became of them and the reasons; a mutant over its
limit of time or memory is among these. Exits 1 if the run itself failed, a mutant has no row, or a file appeared
elsewhere.
"""

from __future__ import annotations

import collections
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

NUMBER = re.compile(rb"(?<=[ /\[<])\d{1,7}(?=[ /\]>\r\n])")
OBJECT = re.compile(rb"\d+ \d+ obj\b.*?endobj", re.S)
STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.S)


def mutate(data: bytes, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One mutant of ``data`` and the name of what was done to it."""
    kind = rng.choice(["bits", "bytes", "cut", "hole", "splice", "numbers", "streams", "head"])
    out = bytearray(data)
    if kind in ("bits", "bytes"):
        for _ in range(rng.choice([1, 4, 30, 300, 3000])):
            place = rng.randrange(len(out))
            out[place] = out[place] ^ (1 << rng.randrange(8)) if kind == "bits" else rng.randrange(256)
    elif kind == "cut":
        del out[rng.randrange(8, len(out)) :]
    elif kind == "hole":
        start = rng.randrange(len(out))
        del out[start : start + rng.choice([1, 100, 10_000, 200_000])]
    elif kind == "splice":
        objects = [m.span() for m in OBJECT.finditer(other[:3_000_000])]
        targets = [m.span() for m in OBJECT.finditer(data[:3_000_000])]
        for _ in range(rng.choice([1, 3, 10])):
            if objects and targets:
                a, b = rng.choice(objects)
                c, d = rng.choice(targets)
                out[c:d] = other[a:b]
    elif kind == "numbers":
        places = [m.span() for m in NUMBER.finditer(data[:3_000_000])]
        for a, b in rng.sample(places, min(len(places), rng.choice([1, 5, 50]))):
            value = rng.choice([b"0", b"1", b"-1", b"999999", b"4294967295", str(rng.randrange(10_000)).encode()])
            out[a:b] = value[: b - a].ljust(b - a) if rng.random() < 0.8 else value
    elif kind == "streams":
        spans = [m.span(1) for m in STREAM.finditer(data[:3_000_000])]
        if len(spans) > 1:
            (a, b), (c, d) = rng.sample(spans, 2)
            out[a:b] = data[c:d]
    else:
        out[:0] = rng.randbytes(rng.choice([1, 500, 2000]))
    return kind, bytes(out)


def main(
    folders: list[Path],
    count: Annotated[int, typer.Option()] = 2000,
    seed: Annotated[int, typer.Option()] = 0,
    seconds: Annotated[float, typer.Option(help="limit for one mutant")] = 20,
    memory_mb: Annotated[int, typer.Option()] = 800,
    workers: Annotated[int, typer.Option()] = 2,
    largest: Annotated[float, typer.Option(help="PDFs above so many MB are not mutated")] = 8,
) -> None:
    """Run the mutants in batches of 200."""
    paths = sorted(p for folder in folders for p in folder.rglob("*.pdf") if p.stat().st_size < largest * 1e6)
    rng = random.Random(seed)
    reasons: collections.Counter[str] = collections.Counter()
    bad, figures = 0, 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for start in range(0, count, 200):
            pdfs = root / "pdfs"
            pdfs.mkdir()
            for number in range(start, min(count, start + 200)):
                source, other = rng.choice(paths), rng.choice(paths)
                kind, data = mutate(source.read_bytes(), other.read_bytes(), rng)
                (pdfs / f"{number:05d}-{kind}.pdf").write_bytes(data)
            before = listing(root)
            command = [sys.executable, "-m", "harvest.figures", "--pdfs", str(pdfs), "--out", str(root / "out")]
            command += ["--seconds", str(seconds), "--memory-mb", str(memory_mb), "--workers", str(workers)]
            command += ["--max-failed", "1", "--dpi", "100"]
            batch = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            took = time.perf_counter() - batch
            stray = {path for path in listing(root) - before if not path.startswith("out/")} - {"out"}
            failed = [json.loads(line) for line in (root / "out" / "failed.jsonl").read_text().splitlines()]
            read = (root / "out" / "documents.jsonl").read_text().count("\n")
            figures += (root / "out" / "figures.jsonl").read_text().count("\n")
            whole = {row["item"] for row in failed if ": page" not in row["item"]}
            if done.returncode or stray or read + len(whole) != min(count, start + 200) - start:
                bad += 1
                print(f"batch {start}: exit {done.returncode}, stray {sorted(stray)[:5]}, {read} read")
                print(done.stderr[-1500:])
            reasons["read"] += read
            for row in failed:
                reasons[re.sub(r"[0-9]+|b['\"].*?['\"]|\(.*?\)", "#", row["reason"])[:90]] += 1
            print(f"{start + 200:6d} in {took:.0f} s: {read} read, {len(whole)} failed", flush=True)
            subprocess.run(["rm", "-rf", str(pdfs), str(root / "out")], check=True)
    print(
        f"\n{count} mutants of {len(paths)} PDFs, seed {seed}, {figures} figures, {time.perf_counter() - began:.0f} s"
    )
    for reason, number in reasons.most_common(25):
        print(f"  {number:6d}  {reason}")
    raise SystemExit(1 if bad else 0)


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


if __name__ == "__main__":
    typer.run(main)
