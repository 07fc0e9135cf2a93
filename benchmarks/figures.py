"""How well the `figures` stage finds figures: against a truth CSV, against the drawn corpus, against an earlier run.

    python benchmarks/figures.py score PDFS --truth figures_pmc.csv --boxes benchmarks/data/figure_boxes.csv
    python benchmarks/figures.py sample data/sample
    python benchmarks/figures.py compare before.json after.json
    python benchmarks/figures.py speed PDFS
    python benchmarks/figures.py core PDFS
    python benchmarks/figures.py memory PDFS

Truth columns: ``pdf``, ``label`` (its number counts; rows without one count up), ``page`` (``3`` or ``3|9``),
``caption``, ``xrefs``; `--truth` may be repeated. A third of the PDFs, by hash of the file name, is set aside and
reported on its own.

``figure_boxes.csv``: boxes of the dev figures, drawn by eye on pages rendered with a grid and without any finding on
them, then drawn in to the nearest ink (the blank stretch within 10 points of the edge as drawn). They keep to what is
seen: a raster's white margin is not part of them, nor is a publisher's frame round a figure; letters, keys, titles of
axes, notes set in the figure, and the captions of sub-figures are.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import defaultdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIMILAR, SAME_REGION = 0.9, 0.85


def number_of(label: str) -> str:
    """``Fig. 2.1`` → ``2.1``; ``Supplementary Figure 3`` → ``S3``; empty where there is none."""
    match = re.search(r"\b(S)?(\d+(?:\.\d+)*)", label)
    if not match:
        return ""
    return ("S" if match[1] or label.lower().startswith("supp") else "") + match[2]


def plain(text: str) -> str:
    return re.sub(r"\W+", "", unicodedata.normalize("NFKC", text)).lower()


def similarity(got: str, expected: str) -> float:
    """Ratio of matching characters, without spaces, case and punctuation (quotes and hyphens differ by source)."""
    return SequenceMatcher(None, plain(got), plain(expected), autojunk=False).ratio()


def iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def aside(name: str) -> bool:
    """Whether a PDF belongs to the third that is set aside."""
    return hashlib.sha256(name.encode()).digest()[0] % 3 == 0


def harvest(pdfs: Path, out: Path, *options: str) -> float:
    """Run the stage; seconds it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "harvest.figures", "--pdfs", str(pdfs), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def truth_of(paths: list[Path], boxes: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Truth rows by PDF, with number, pages, caption, box where known, xrefs where given."""
    places: dict[tuple[str, str], tuple[int, list[float]]] = {}
    if boxes:
        with boxes.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                places[row["pdf"], row["number"]] = (
                    int(row["page"]),
                    [float(row[k]) for k in ("x0", "y0", "x1", "y1")],
                )
    truth: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        unnumbered: dict[str, int] = defaultdict(int)
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                number = number_of(row["label"])
                if not number and not row["label"]:
                    unnumbered[row["pdf"]] += 1
                    number = str(unnumbered[row["pdf"]])
                place = places.get((row["pdf"], number))
                truth[row["pdf"]].append(
                    {
                        "label": row["label"],
                        "number": number or row["label"],
                        "pages": {int(float(p)) for p in row["page"].split("|") if p},
                        "caption": row.get("caption", ""),
                        "xrefs": {int(x) for x in row.get("xrefs", "").split("|") if x},
                        "chest_ct": row.get("chest_ct") == "y",
                        "box": place[1] if place else None,
                    }
                )
    return truth


def judge(pdf: str, truth: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a truth figure and one a false figure, with what is right and wrong about it."""
    rows = []
    main = [figure for figure in found if "(continued)" not in figure["number"]]
    left = list(main)
    for expected in truth:
        same = [figure for figure in left if figure["number"] == expected["number"]]
        row: dict[str, Any] = {"pdf": pdf, "label": expected["label"] or f"[{expected['number']}]", "found": bool(same)}
        row["chest_ct"] = expected["chest_ct"]
        if same:
            figure = same[0]
            for one in same:
                left.remove(one)
            row["page"] = not expected["pages"] or figure["page"] in expected["pages"]
            row["got_page"] = figure["page"]
            if expected["caption"]:
                row["similarity"] = round(similarity(figure["caption"], expected["caption"]), 3)
                row["got"], row["expected"] = figure["caption"], expected["caption"]
            if expected["box"]:
                row["iou"] = round(iou(figure["box"], expected["box"]), 3)
            if expected["xrefs"]:
                row["xrefs"] = set(figure["xrefs"]) == expected["xrefs"]
            row["pixels"] = figure["pixels"]
        rows.append(row)
    rows += [
        {"pdf": pdf, "label": f["label"], "false": True, "page": f["page"], "got": f["caption"][:80]} for f in left
    ]
    return rows


def share(rows: list[dict[str, Any]], ok: Any) -> str:
    good = sum(bool(ok(row)) for row in rows)
    return f"{good}/{len(rows)} = {100 * good / len(rows):.1f} %" if rows else "–"


def summary(rows: list[dict[str, Any]], empty: set[str]) -> dict[str, str]:
    """The figures of merit of one group of PDFs."""
    truth = [row for row in rows if "found" in row]
    found = [row for row in truth if row["found"]]
    return {
        "found, right number": share(truth, lambda r: r["found"]),
        "right page": share(found, lambda r: r["page"]),
        f"caption similarity > {SIMILAR}": share(
            [r for r in found if "similarity" in r], lambda r: r["similarity"] > SIMILAR
        ),
        f"region IoU >= {SAME_REGION}": share([r for r in found if "iou" in r], lambda r: r["iou"] >= SAME_REGION),
        "chest-CT figures found": share([r for r in truth if r["chest_ct"]], lambda r: r["found"]),
        "right xrefs": share([r for r in found if "xrefs" in r], lambda r: r["xrefs"]),
        "false in papers without figures": str(sum(1 for r in rows if r.get("false") and r["pdf"] in empty)),
        "figures that the truth does not name": str(sum(1 for r in rows if r.get("false") and r["pdf"] not in empty)),
    }


def show(title: str, numbers: dict[str, str]) -> None:
    print(f"\n{title}")
    for name, value in numbers.items():
        print(f"  {name:<38} {value}")


def examples(rows: list[dict[str, Any]]) -> None:
    """The confusion, with the first of each kind of error in words."""
    kinds = {
        "missed": lambda r: r.get("found") is False,
        "wrong page": lambda r: r.get("found") and not r["page"],
        "caption": lambda r: r.get("similarity", 1) <= SIMILAR,
        "region": lambda r: r.get("iou", 1) < SAME_REGION,
        "xrefs": lambda r: r.get("xrefs") is False,
        "false": lambda r: r.get("false"),
    }
    print("\nerrors")
    for kind, test in kinds.items():
        bad = [row for row in rows if test(row)]
        print(f"  {kind:<12} {len(bad)}")
        for row in bad[:3]:
            print(
                f"      {row['pdf']} {row['label']}: "
                + json.dumps({k: str(v)[:90] for k, v in row.items() if k not in ("pdf", "label")})
            )


@app.command()
def score(
    pdfs: Path,
    truth: Annotated[list[Path], typer.Option(help="truth CSV; may be repeated")],
    boxes: Annotated[Path | None, typer.Option(help="CSV of region boxes")] = None,
    found: Annotated[Path | None, typer.Option(help="score this output instead of running the stage")] = None,
    out: Annotated[Path | None, typer.Option(help="write all rows as JSON, for `compare`")] = None,
) -> None:
    """Found, number, page, caption, region, false figures; all PDFs, those worked on, those set aside."""
    known = truth_of(truth, boxes)
    with tempfile.TemporaryDirectory() as folder:
        where = found or Path(folder)
        if not found:
            harvest(pdfs, where, "--no-pixels")
        figures: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for figure in rows_of(where / "figures.jsonl"):
            figures[figure["pdf"]].append(figure)
        failed = rows_of(where / "failed.jsonl")
        documents = rows_of(where / "documents.jsonl")
    names = sorted(path.name for path in pdfs.glob("*.pdf"))
    rows = [row for name in names for row in judge(name, known.get(name, []), figures.get(name, []))]
    empty = {name for name in names if name not in known}
    print(
        f"{len(names)} PDFs: {len(documents)} read, {len({row['item'].split(': ')[0] for row in failed})} with failures"
    )
    show("all", summary(rows, empty))
    show("worked on", summary([row for row in rows if not aside(row["pdf"])], empty))
    show("set aside", summary([row for row in rows if aside(row["pdf"])], empty))
    examples(rows)
    if out:
        out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


@app.command()
def compare(before: Path, after: Path) -> None:
    """What became right and what became wrong between two runs of `score --out`."""

    def verdicts(path: Path) -> dict[tuple[str, str], set[str]]:
        result = {}
        for row in json.loads(path.read_text(encoding="utf-8")):
            good = set()
            if row.get("found"):
                good = {"found"}
                good |= {"page"} if row["page"] else set()
                good |= {"caption"} if row.get("similarity", 0) > SIMILAR else set()
                good |= {"region"} if row.get("iou", 0) >= SAME_REGION else set()
                good |= {"xrefs"} if row.get("xrefs") else set()
            result[row["pdf"], ("false " if row.get("false") else "") + row["label"]] = good
        return result

    old, new = verdicts(before), verdicts(after)
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key, set()), new.get(key, set())
        if a != b or (key in old) != (key in new):
            gone = "" if key in new else " (no longer there)" if key in old else ""
            fresh = "" if key in old else " (new)"
            print(f"{key[0]} {key[1]}{gone}{fresh}: better {sorted(b - a) or '–'}, worse {sorted(a - b) or '–'}")


@app.command()
def sample(corpus: Path) -> None:
    """Against the drawn corpus's exact truth: figures, captions, regions, xrefs, mentions, panels' captions."""
    truth = rows_of(corpus / "truth" / "figures.jsonl")
    wanted = {row["pdf"] for row in truth}
    paths = {path.name: path for path in corpus.rglob("*.pdf") if path.name in wanted}
    with tempfile.TemporaryDirectory() as folder:
        pdfs = Path(folder) / "pdfs"
        pdfs.mkdir()
        for name, path in paths.items():
            (pdfs / name).symlink_to(path.resolve())
        harvest(pdfs, Path(folder) / "out", "--dpi", "72")
        figures = {(row["pdf"], row["number"]): row for row in rows_of(Path(folder) / "out" / "figures.jsonl")}
        count = len(rows_of(Path(folder) / "out" / "figures.jsonl"))
    hits = [(row, figures[row["pdf"], row["number"]]) for row in truth if (row["pdf"], row["number"]) in figures]
    print(f"{len(paths)} PDFs, {len(truth)} figures")
    numbers = {
        "recall": share(truth, lambda r: (r["pdf"], r["number"]) in figures),
        "precision": f"{len(hits)}/{count}",
        "right page, caption page": share(
            hits, lambda h: (h[0]["page"], h[0]["caption_page"]) == (h[1]["page"], h[1]["caption_page"])
        ),
        "caption exact": share(hits, lambda h: h[0]["caption"] == h[1]["caption"]),
        "region IoU >= 0.9": share(hits, lambda h: iou(h[0]["box"], h[1]["box"]) >= 0.9),
        "right xrefs": share(hits, lambda h: set(h[0]["xrefs"]) == set(h[1]["xrefs"])),
        "native size": share(
            [h for h in hits if len(h[0]["xrefs"]) == 1],
            lambda h: (h[0]["width"], h[0]["height"]) == (h[1]["width"], h[1]["height"]),
        ),
        "panels' captions": share(
            [h for h in hits if len(h[0]["panel_captions"]) > 1],
            lambda h: (
                {k: plain(v) for k, v in h[0]["panel_captions"].items()}
                == {k: plain(v) for k, v in h[1]["panel_captions"].items()}
            ),
        ),
    }
    mentions = [(m["page"], plain(m["text"]), figure) for row, figure in hits for m in row["mentions"]]
    numbers["mentions found"] = share(
        mentions, lambda m: any(g["page"] == m[0] and m[1] in plain(g["text"]) for g in m[2]["mentions"])
    )
    got = [(m, row) for row, figure in hits for m in figure["mentions"]]
    numbers["mentions right"] = share(
        got, lambda g: any(plain(t["text"]) == plain(g[0]["text"]) for t in g[1]["mentions"])
    )
    show(str(corpus), numbers)


@app.command()
def speed(pdfs: Path) -> None:
    """Pages a second: captions, regions and matches alone; with pixels; on one and two processes."""
    import pymupdf

    pages = 0
    for path in sorted(pdfs.glob("*.pdf")):
        with pymupdf.open(path) as document:
            pages += document.page_count
    with tempfile.TemporaryDirectory() as folder:
        for options in (
            ("--no-pixels", "--workers", "1"),
            ("--no-pixels", "--workers", "2"),
            ("--workers", "1"),
            ("--workers", "2"),
        ):
            began = os.times()
            seconds = harvest(pdfs, Path(folder) / "out", *options)
            ended = os.times()
            cpu = ended.children_user + ended.children_system - began.children_user - began.children_system
            print(
                f"{' '.join(options):<28} {pages} pages in {seconds:.1f} s: {pages / seconds:.1f} pages/s, "
                f"{pages / cpu:.1f} pages per CPU second"
            )


@app.command()
def core(pdfs: Path) -> None:
    """Pages a CPU second of one process, without pixels and without start-up, beside PyMuPDF's own calls alone."""
    import gc

    import pymupdf

    from harvest.document import Settings, extract

    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    paths = sorted(pdfs.glob("*.pdf"))
    extract(paths[0], Settings(pixels=False))
    pages, ours, alone = 0, 0.0, 0.0
    for path in paths:
        began = time.process_time()
        pages += extract(path, Settings(pixels=False)).pages
        middle = time.process_time()
        with pymupdf.open(path) as document:
            for page in document:
                page.get_textpage(flags=pymupdf.TEXTFLAGS_TEXT).extractDICT()
                page.get_image_info()
                page.get_cdrawings()
        ours += middle - began
        alone += time.process_time() - middle
    print(f"{pages} pages: {pages / ours:.1f} pages per CPU second; PyMuPDF's calls alone {pages / alone:.1f}")


@app.command()
def memory(pdfs: Path, dpi: float = 300) -> None:
    """The largest resident sizes of workers, with pixels, and pages a CPU second of theirs."""
    import resource
    from dataclasses import asdict

    from harvest.document import Settings
    from harvest.workers import Limits, close_all, run_all

    paths = sorted(pdfs.glob("*.pdf"))
    requests = [{"path": str(path.resolve()), "settings": asdict(Settings(dpi=dpi))} for path in paths]
    outcomes = list(run_all("harvest.document:run", requests, Limits(600, 4000)))
    rows = sorted(((outcome.peak_mb, path.name) for path, outcome in zip(paths, outcomes, strict=True)), reverse=True)
    for peak, name in rows[:5]:
        print(f"{peak:7.0f} MB  {name}")
    close_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages = sum(outcome.answer["pages"] for outcome in outcomes if outcome.answer)
    print(f"{pages} pages, {pages / (used.ru_utime + used.ru_stime):.1f} pages per CPU second with pixels and start-up")


if __name__ == "__main__":
    app()
