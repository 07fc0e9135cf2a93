"""The dataset page in headless Chromium: seconds until it can be used, and what it reads from disk.

    python benchmarks/page.py --counts 746,20000          # drawn pictures
    python benchmarks/page.py --dataset DIR               # a real dataset folder
    python benchmarks/page.py --chromium /usr/bin/chromium

"Usable" is the page's own mark (filters ready, first rows drawn) counted from the start of navigation; "pictures" is
when every picture on the first screen is decoded. Fresh profile each time, files in the page cache.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from covidct import page, pictures
from covidct.reader import load
from covidct.records import COLUMNS, write_records

DRAWN = 64
"""different pictures; the others are links to them"""


def draw(folder: Path, count: int) -> Path:
    """A dataset of ``count`` pictures of 256 × 256 pixels with captions of some 300 characters."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    shade = np.add.outer(np.arange(256), np.arange(256)) // 3
    for number in range(DRAWN):
        noise = rng.integers(0, 85, (256, 256))
        (folder / f"drawn-{number}.png").write_bytes(pictures.encode((shade + noise).clip(0, 255).astype(np.uint8)))
    rows = []
    for number in range(count):
        figure = number // 6
        name = f"2020.02.{figure % 28 + 1:02}.2{figure:07}-p{figure % 30 + 1}-{figure % 400 + 10}%{number % 6}"
        os.link(folder / f"drawn-{number % DRAWN}.png", folder / "images" / f"{name}.png")
        rows.append(
            {
                **dict.fromkeys(COLUMNS, ""), "image_id": name, "file": f"images/{name}.png", "label": figure % 2,
                "label_name": ("NonCOVID", "COVID")[figure % 2], "patient_id": f"medrxiv:{figure}-{number % 3}",
                "patient_basis": "case", "source": ("medrxiv", "pmc", "medpix")[figure % 3],
                "width": 256, "height": 256,
                "document_id": f"medrxiv:2020.02.{figure % 28 + 1:02}.2{figure // 4:07}", "page": figure % 30 + 1,
                "xref": figure % 400 + 10, "panel": number % 6, "document_type": "preprint", "licence": "CC-BY-4.0",
                "caption": f"Figure {figure}. " + "Axial chest CT of a patient with ground-glass opacities. " * 5,
                "evidence": "Axial chest CT of a patient with ground-glass opacities.",
                "split": ("train", "val", "test")[figure % 3], "reviewed": True, "inpainted_fraction": 0.0,
            }
        )  # fmt: skip
    write_records(folder / "records.csv", pd.DataFrame(rows, columns=list(COLUMNS)))
    return folder


def measure(folder: Path, chromium: str, repeats: int) -> str:
    """A row of the table."""
    from playwright.sync_api import sync_playwright

    start = time.perf_counter()
    dataset = load(folder)
    target = folder / "index.html"
    target.write_text(page.build(dataset, target), encoding="utf-8")
    built = time.perf_counter() - start
    usable, shown, filtered, read = [], [], [], 0
    with sync_playwright() as driver:
        for _ in range(repeats):
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            asked: list[str] = []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.goto(target.as_uri())
            usable.append(tab.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1000)
            shown.append(tab.evaluate(
                "Promise.all([...document.querySelectorAll('.cell img')].map(i => i.decode().catch(() => 0)))"
                ".then(() => performance.now() / 1000)"))  # fmt: skip
            filtered.append(tab.evaluate(
                "(() => { const t = performance.now(); const s = document.getElementById('f-split'); s.value = 'test';"
                " apply(); return (performance.now() - t) / 1000; })()"))  # fmt: skip
            read = len([url for url in asked if url.startswith("file:")])
            browser.close()
    cells = [f"{statistics.median(part):.2f} ({min(part):.2f}–{max(part):.2f})" for part in (usable, shown, filtered)]
    size = target.stat().st_size / 1e6
    return f"| {len(dataset.records)} | {size:.1f} | {built:.1f} | {' | '.join(cells)} | {read} |"


def main(
    counts: Annotated[str, typer.Option(help="numbers of drawn pictures")] = "746,20000",
    dataset: Annotated[Path | None, typer.Option(help="a dataset folder instead; index.html is written there")] = None,
    repeats: Annotated[int, typer.Option(help="openings, each with a fresh browser")] = 5,
    chromium: Annotated[str, typer.Option(help="program; else found on the PATH")] = "",
) -> None:
    """Print the table."""
    program = chromium or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium on the PATH: apt-get install chromium, or --chromium PROGRAM")
    print("| images | file, MB | built in, s | usable after, s | pictures after, s | filter, s | files read |")
    print("|---|---|---|---|---|---|---|")
    if dataset:
        print(measure(dataset, program, repeats))
        return
    with tempfile.TemporaryDirectory() as work:
        for count in (int(part) for part in counts.split(",")):
            print(measure(draw(Path(work) / str(count), count), program, repeats))


if __name__ == "__main__":
    typer.run(main)
