"""Rows of the paper's tables with its own settings, in resumable pieces: minutes on a GPU, days on two cores.

    python -m benchmarks.paper_tables pack --release DIR --luna DIR --weights DIR --out PACK   # once, some 50 MB
    python -m benchmarks.paper_tables --data PACK --minutes 9 --out RESULTS        # again until 'finished'
    python -m benchmarks.paper_tables table --data PACK --results RESULTS/results.zip     # what there is

PACK holds the 2020 release in a small form (pictures squeezed to 256×256; its own split and, with ``pack --cleaned``,
the one of its cleaned version), LUNA slices, ImageNet weights (SqueezeNet 1.1 whole, ResNet-18 without four layers):
all that a machine without network needs. Several runs share the card at once. RESULTS gets one small archive,
results.zip: cards, histories, predictions; put it into PACK (or leave it in RESULTS) and the next call goes on from it.
The archive that `benchmarks/RESULTS.md` was written from is ``benchmarks/paper_tables.zip``.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import typer

from benchmarks.paper_plan import Job, Settings, plan
from benchmarks.paper_results import ARCHIVE, bundle, markdown, unbundle
from benchmarks.paper_runs import done, work_off
from benchmarks.paper_speed import peak, speed
from covidct.files import write_json
from models import backbones, engine

log = logging.getLogger("paper_tables")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def unfinished(tasks: list[list[Job]], work: Path, only: str, pack: Path) -> list[list[Job]]:
    """What is left to do of ``tasks``, each job once, where the pack has its split.

    ``only``: beginnings of run names, comma-separated; empty: all.
    """
    wanted = tuple(only.split(",")) if only else ("",)
    there = {path.stem for path in (pack / "splits").glob("*.csv")}
    planned: set[str] = set()
    left = []
    for task in tasks:
        jobs = []
        for job in task:
            if job.name.startswith(wanted) and not done(job, work) and job.folder not in planned:
                planned.add(job.folder)
                jobs.append(job)
        if jobs and jobs[0].scheme in there:
            left.append(jobs)
    return left


@app.command("pack")
def pack_command(
    release: Path = typer.Option(..., help="folder of the 2020 release"),
    luna: Path = typer.Option(..., help="folder of LUNA16 slices or volumes, or of stage luna"),
    weights: Path = typer.Option(..., help="folder of ImageNet weights (.pth)"),
    cleaned: Path | None = typer.Option(None, help="the split of the cleaned version: CSV with image_id, split"),
    out: Path = typer.Option(Path(".gpu-pack")),
) -> None:
    """Make the pack."""
    from benchmarks import paper_pack

    print(f"{out}: {paper_pack.make(release, luna, weights, out, cleaned) / 1e6:.1f} MB")


@app.command("table")
def table_command(
    data_folder: Path = typer.Option(..., "--data", help="the pack"),
    results: Path = typer.Option(..., help="results.zip"),
    work: Path = typer.Option(Path("cache/paper_tables")),
) -> None:
    """Print what is finished."""
    unbundle(results, work)
    print(markdown(data_folder, work), end="")


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    data_folder: Path = typer.Option(Path(".gpu-pack"), "--data", help="the pack"),
    out: Path = typer.Option(Path("cache/paper_tables"), help="folder of results.zip"),
    work: Path = typer.Option(Path("cache/paper_tables"), help="folder of results and resumable states"),
    minutes: float = typer.Option(9.0, help="of this call"),
    seeds: str = typer.Option("0,1,2"),
    workers: int = typer.Option(3, help="runs that share the device"),
    only: str = typer.Option("", help="beginnings of run names, comma-separated; empty: all"),
    speed_of: str = typer.Option("", "--speed", help="networks to time alone first: all, or names"),
    epochs: int = typer.Option(50, help="of fine-tuning (IV.C.1: 50)"),
    ssl_epochs: int = typer.Option(200, help="of pretraining, per set (the paper does not say)"),
    size: int = typer.Option(224),
    batch: int = typer.Option(16),
    ssl_batch: int = typer.Option(128),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    graphs: bool = typer.Option(True, help="replay steps as CUDA graphs"),
) -> None:
    """Train what is not finished yet, most important first, within the minutes."""
    if context.invoked_subcommand:
        return
    end = time.time() + 60 * minutes
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for archive in (out / ARCHIVE, data_folder / ARCHIVE):
        if archive.is_file():
            unbundle(archive, work)
    settings = Settings(epochs, ssl_epochs, size, batch, {"batch": ssl_batch}, accelerator, precision, graphs)
    if speed_of and not (work / "speed.json").is_file():
        names = list(backbones.TABLE_2) if speed_of == "all" else speed_of.split(",")
        write_json(work / "speed.json", {"device": peak()[0], "rows": speed(names, settings)})
        bundle(work, out)
    tasks = unfinished(plan([int(value) for value in seeds.split(",")]), work, only, data_folder)
    log.info("%d tasks to do on %s", len(tasks), peak()[0])
    threads = max(1, (os.cpu_count() or 1) // workers)
    finished, lines = True, []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[str], list[Job]] = {
            pool.submit(work_off, task, data_folder, work, settings, end, threads): task for task in tasks
        }
        for future in as_completed(waiting):
            jobs = waiting[future]
            try:
                lines.append(future.result())
            except (ValueError, RuntimeError, OSError) as error:
                lines.append(f"{jobs[0].name}: failed: {error}")
            log.info("%s", lines[-1])
            finished &= all(done(job, work) for job in jobs)
            bundle(work, out)
    print("finished" if finished else "unfinished: call again to continue", flush=True)
    print(markdown(data_folder, work))  # its intervals take half a minute: what matters has been written by now
    if not finished:
        raise typer.Exit(3)


if __name__ == "__main__":
    app()
