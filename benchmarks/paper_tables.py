"""Rows of the paper's tables with its own settings, in resumable pieces: minutes on a GPU, days on two cores.

    python -m benchmarks.paper_tables pack --release DIR --luna DIR --weights DIR --out PACK   # once, some 50 MB
    python -m benchmarks.paper_tables --data PACK --minutes 9 --out RESULTS        # again until 'finished'
    python -m benchmarks.paper_tables table --data PACK --results RESULTS/results.zip     # what there is

PACK holds the 2020 release in a small form (pictures squeezed to 256×256; its own split and, with ``pack --cleaned``,
the one of its cleaned version), LUNA slices, ImageNet weights (SqueezeNet 1.1 whole, ResNet-18 without four layers):
all that a machine without network needs. Several runs share the card at once. RESULTS gets one small archive,
results.zip: cards, histories, predictions; put it into PACK (or leave it in RESULTS) and the next call goes on from it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
import zipfile
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import covidct
from covidct import pairs
from covidct.files import write_json, write_text
from models import backbones, checkpoint, contrastive, data, engine, experiments, finetune, pretrain
from models.contrastive import SslRecipe
from models.engine import Hardware
from models.evaluate import predict
from models.recipe import Recipe

log = logging.getLogger("paper_tables")

LEAST_MINUTES = 0.15
ARCHIVE = "results.zip"
SMALL = (".json", ".csv", ".md", ".log")
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12, "V100": 125e12, "RTX 4090": 165e12}
"""dense 16-bit rate of a card, FLOP/s, from its maker's data sheet"""
PARTIAL, SQUEEZE = "partial:weights/resnet18_imagenet_partial.pth", "file:weights/squeezenet1_1_imagenet.pth"


@dataclass(frozen=True)
class Job:
    """One fine-tuning with one seed, after its encoder where it has one; ``chain`` empty: none."""

    name: str
    backbone: str
    seed: int = 0
    init: str = "random"
    chain: tuple[str, ...] = ()
    rotation: bool = False
    scheme: str = "published"
    ssl_epochs: int = 0
    """0: what the command says"""

    @property
    def folder(self) -> str:
        return f"runs/{self.name}-{self.seed}"

    @property
    def encoder(self) -> str:
        start = "random" if self.init == "random" else "imagenet"
        return "-".join((self.backbone, start, *self.chain, *(() if self.scheme == "published" else (self.scheme,))))


@dataclass(frozen=True)
class Settings:
    """What decides results besides a job; defaults are the paper's, SSL epochs are not in it."""

    epochs: int = 50
    ssl_epochs: int = 200
    size: int = 224
    batch: int = 16
    ssl: dict[str, Any] = field(default_factory=dict)
    accelerator: str = "auto"
    precision: str = "auto"
    graphs: bool = True


def plan(seeds: list[int]) -> list[list[Job]]:
    """Tasks in order of importance; the jobs of a task run one after the other and share their encoder."""
    big = ("densenet169", "efficientnet_b1", "densenet121", "vgg16", "efficientnet_b0", "resnet50")
    table3 = [[Job(f"{name}-random", name, seed) for name in (*big, "resnet18", "crnet")] for seed in seeds]
    transfer = [
        ("resnet18-imagenet-partial", "resnet18", PARTIAL),
        ("squeezenet1_1-imagenet", "squeezenet1_1", SQUEEZE),
    ]

    def ssl(name: str, backbone: str, init: str, *chain: str, epochs: int = 0, scheme: str = "published") -> list[Job]:
        return [Job(name, backbone, seed, init, chain, scheme=scheme, ssl_epochs=epochs) for seed in seeds]

    first = [[job] for jobs in table3[:2] for job in jobs]
    first += [[Job(name, backbone, seeds[0], init)] for name, backbone, init in transfer]
    # Table VI: ResNet-18 whole, with the weights there are, then what can be had of the paper's two networks
    luna = ssl("resnet18-partial-ssl-luna", "resnet18", PARTIAL, "luna")
    luna += ssl("resnet18-partial-self-trans", "resnet18", PARTIAL, "luna", "covidct")
    second = [
        luna,
        ssl("densenet169-ssl-random-covidct", "densenet169", "random", "covidct", epochs=100)[:1],
        ssl("resnet18-partial-ssl-covidct", "resnet18", PARTIAL, "covidct"),
        ssl("resnet18-ssl-random-covidct", "resnet18", "random", "covidct"),
        [Job("resnet18-imagenet-partial", "resnet18", seed, PARTIAL) for seed in seeds[1:]],
        [Job("resnet18-partial-rotation", "resnet18", seed, PARTIAL, rotation=True) for seed in seeds],
        ssl("resnet50-ssl-random-covidct", "resnet50", "random", "covidct", epochs=100)[:2],
        [Job("resnet18-random-cleaned", "resnet18", seed, scheme="cleaned") for seed in seeds],
        [Job("resnet18-imagenet-partial-cleaned", "resnet18", seed, PARTIAL, scheme="cleaned") for seed in seeds],
        [Job("resnet18-random", "resnet18", seed) for seed in seeds[2:]],
        ssl("resnet50-ssl-random-luna-covidct", "resnet50", "random", "luna", "covidct", epochs=100)[:1],
        [Job("squeezenet1_1-imagenet", "squeezenet1_1", seed, SQUEEZE) for seed in seeds[1:]],
        ssl("densenet169-ssl-random-luna-covidct", "densenet169", "random", "luna", "covidct", epochs=100)[:1],
        ssl("resnet18-ssl-random-luna-covidct", "resnet18", "random", "luna", "covidct"),
        ssl("resnet18-partial-self-trans-cleaned", "resnet18", PARTIAL, "luna", "covidct", scheme="cleaned"),
        [Job("crnet-random-cleaned", "crnet", seed, scheme="cleaned") for seed in seeds],
    ]
    third = [[job] for jobs in table3[2:] for job in jobs]
    third += [
        ssl(f"{backbone}-ssl-random-{name}", backbone, "random", *chain, epochs=100)
        for backbone in ("resnet50", "densenet169")
        for name, chain in (("covidct", ("covidct",)), ("luna-covidct", ("luna", "covidct")))
    ]
    return [*first, *second, *third]


def dataset_of(pack: Path, scheme: str) -> covidct.Dataset:
    """The pack's pictures under one of its splits."""
    return covidct.load(pack, scheme)


def encoder_of(job: Job, pack: Path, work: Path, settings: Settings, minutes: float) -> Path:
    """Folder of the pretrained encoder, made if it is not there (weights do not travel); raises Unfinished."""
    out = work / "encoders" / job.encoder
    if not (out / checkpoint.WEIGHTS).is_file():
        dataset = dataset_of(pack, job.scheme)
        recipe = SslRecipe(
            job.backbone, local(job.init, pack), job.chain, job.ssl_epochs or settings.ssl_epochs, size=settings.size,
            **{"resize": settings.size * 8 // 7, **settings.ssl},
        )  # fmt: skip
        sets = pretrain.read_sets(job.chain, pack / "luna", dataset, recipe.resize)
        result = contrastive.pretrain(
            sets,
            recipe,
            about={**data.describe(dataset), "transductive": False},
            hardware=Hardware(settings.accelerator, 1, settings.precision, graphs=settings.graphs),
            # chains that begin alike share the states of their first set
            cache=work / "states" / f"{job.backbone}-{job.encoder.split('-')[1]}-{job.scheme}",
            minutes=minutes,
        )
        pretrain.write(out, result)
    return out


def local(init: str, pack: Path) -> str:
    """``init`` with its file in the pack."""
    kind, _, path = init.partition(":")
    return f"{kind}:{pack / path}" if path else init


def work_off(jobs: list[Job], pack: Path, work: Path, settings: Settings, end: float, threads: int) -> str:
    """Run a task in this process until ``end`` (time.time()); gives a line for the log."""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    begin, done = time.time(), 0
    for job in jobs:
        if (work / job.folder / "predictions.csv").is_file():
            continue
        try:
            one(job, pack, work, settings, end)
        except engine.Unfinished as stopped:
            return f"{job.name}-{job.seed}: {stopped}"
        done += 1
    return f"{jobs[0].name}: {done} runs, {time.time() - begin:.0f} s"


def one(job: Job, pack: Path, work: Path, settings: Settings, end: float) -> None:
    """Train one classifier and write its card, history and predictions; raises Unfinished when the time is up."""
    minutes = (end - time.time()) / 60
    if minutes < LEAST_MINUTES:
        raise engine.Unfinished("the time is up")
    init = local(job.init, pack)
    if job.chain:
        init = f"encoder:{encoder_of(job, pack, work, settings, minutes)}"
        minutes = max((end - time.time()) / 60, 0.02)
    dataset = dataset_of(pack, job.scheme)
    if minutes * 60 < shortest(job, work, settings, len(dataset.train)):
        raise engine.Unfinished("too little time is left for it")
    recipe = Recipe(
        job.backbone, init, rotation=job.rotation, seed=job.seed, epochs=settings.epochs, size=settings.size,
        resize=settings.size * 8 // 7, batch=settings.batch,
    )  # fmt: skip
    hardware = Hardware(settings.accelerator, 1, settings.precision, graphs=settings.graphs)
    # A state is no use where nothing stays, and of VGG-16 it has 2 GB
    state = None if torch.cuda.is_available() else work / "states" / f"{job.name}-{job.seed}"
    result = finetune.finetune(dataset, recipe, hardware=hardware, cache=state, minutes=minutes)
    device = "cuda" if result.card["training"]["device"] == "cuda" else "cpu"
    rows = []
    for subset in (dataset.val, dataset.test):
        scores = predict(result.network, result.card, subset, device=device)
        rows.append(subset.records[["image_id", "patient_id", "split", "label"]].assign(score=np.round(scores, 6)))
    out = work / job.folder
    write_text(out / "history.csv", finetune.table(result.history))
    write_json(out / "card.json", {**result.card, "job": asdict(job)})
    write_text(out / "predictions.csv", pd.concat(rows).to_csv(index=False, lineterminator="\n"))
    if state is not None:
        (state / engine.STATE).unlink(missing_ok=True)


def shortest(job: Job, work: Path, settings: Settings, images: int) -> float:
    """Seconds the run takes alone on the device at the speed measured before; 0 where none was."""
    path = work / "speed.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rates = [row["images_per_second"] for row in rows if row["backbone"] == job.backbone]
    return settings.epochs * images / max(rates) if rates else 0.0


def arithmetic(backbone: str, size: int = 224) -> float:
    """Floating-point operations of training on one picture: forward, and twice that for the gradients."""
    with torch.device("meta"):
        model = backbones.build(backbone, 2, size=size)
        picture = torch.empty(1, backbones.describe(backbone).channels, size, size)
    with FlopCounterMode(display=False) as counter:
        model.eval()(picture)
    return 3.0 * counter.get_total_flops()


def speed(names: list[str], settings: Settings, steps: int = 30) -> list[dict[str, Any]]:
    """Training images per second of each network alone on the device, step by step and replayed as a graph."""
    rows = []
    for name in names:
        for graphs in (False, True):
            hardware = Hardware(settings.accelerator, 1, settings.precision, graphs=graphs)
            fabric = engine.open_fabric(hardware, name)
            if graphs and fabric.device.type != "cuda":
                continue
            channels = backbones.describe(name).channels
            torch.manual_seed(0)  # the same network and pictures with and without a graph: the losses must agree
            model = engine.channels_last(backbones.build(name, 2, size=settings.size)).train()
            loss_of = _Loss(model)
            wrapped, optimizer = fabric.setup(loss_of, torch.optim.Adam(loss_of.parameters(), 1e-4, fused=True))
            step = engine.step_of(fabric, wrapped, hardware)
            pictures = torch.randn(settings.batch, channels, settings.size, settings.size).to(fabric.device)
            pictures = pictures.contiguous(memory_format=torch.channels_last)
            labels = (torch.arange(settings.batch) % 2).to(fabric.device)
            for number in range(steps + 5):
                if number == 5:
                    _wait(fabric)
                    begin = time.perf_counter()
                optimizer.zero_grad(set_to_none=True)
                loss = step(pictures, labels)
                if loss.requires_grad:
                    fabric.backward(loss)
                optimizer.step()
            _wait(fabric)
            rate = steps * settings.batch / (time.perf_counter() - begin)
            top = peak()[1]
            share = rate * arithmetic(name, settings.size) / top if top else None
            rows.append(
                {
                    "backbone": name,
                    "graph": graphs,
                    "images_per_second": round(rate, 1),
                    "of_peak": share,
                    "loss": round(float(loss.detach()), 5),
                }
            )
            log.info("%s", rows[-1])
    return rows


class _Loss(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(images), labels)


def _wait(fabric: engine.Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def peak() -> tuple[str, float | None]:
    """Name of the device, and its 16-bit peak where it is known."""
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads", None
    name = torch.cuda.get_device_name()
    return name, next((value for key, value in PEAKS.items() if key in name), None)


def bundle(work: Path, out: Path) -> None:
    """Everything small of ``work`` as one archive, all or nothing."""
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".{ARCHIVE}.part"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(work.rglob("*")):
            if path.is_file() and path.suffix in SMALL and "states" not in path.parts:
                archive.write(path, path.relative_to(work))
    part.replace(out / ARCHIVE)


def unbundle(archive: Path, work: Path) -> None:
    """Put the files of an archive that are not there yet into ``work``."""
    with zipfile.ZipFile(archive) as found:
        for info in found.infolist():
            target = (work / info.filename).resolve()
            if target.is_relative_to(work.resolve()) and not target.exists() and info.file_size < 16 * 1024**2:
                found.extract(info, work)


def _runs(work: Path) -> dict[str, list[tuple[dict[str, Any], pd.DataFrame]]]:
    groups: dict[str, list[tuple[dict[str, Any], pd.DataFrame]]] = {}
    for folder in sorted((work / "runs").glob("*-[0-9]*")):
        if (folder / "predictions.csv").is_file():
            card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
            table = pd.read_csv(folder / "predictions.csv", dtype={"image_id": str})
            groups.setdefault(card["job"]["name"], []).append((card, table))
    return groups


BASE = "resnet18-imagenet-partial"


def _test_scores(test: covidct.Subset, runs: list[tuple[dict[str, Any], pd.DataFrame]]) -> list[np.ndarray]:
    names = test.records["image_id"]
    return [
        table.loc[table["split"] == "test"].set_index("image_id").loc[names, "score"].to_numpy() for _, table in runs
    ]


def _differences(pack: Path, groups: dict[str, list[tuple[dict[str, Any], pd.DataFrame]]]) -> list[str]:
    """ResNet-18's runs against plain transfer, scores averaged over seeds, patients drawn anew together."""
    if BASE not in groups:
        return []
    test = dataset_of(pack, "published").test
    base = np.mean(_test_scores(test, groups[BASE]), axis=0)
    lines = ["", f"| AUC less that of {BASE} | difference | 95 %, patients | p |", "|---|---|---|---|"]
    for name, runs in groups.items():
        if name != BASE and name.startswith("resnet18") and runs[0][0]["job"]["scheme"] == "published":
            scores = np.mean(_test_scores(test, runs), axis=0)
            found = pairs.compare(test.labels, scores, base, test.patients)["bootstrap"]["auc"]
            low, high = found["interval"]
            lines.append(f"| {name} | {found['difference']:+.3f} | {low:+.3f} to {high:+.3f} | {found['p']:.2f} |")
    return lines


def markdown(pack: Path, work: Path) -> str:
    """One line per run name: each seed's AUC, and figures of the scores averaged over seeds with intervals."""
    paper = {row.run.name: row for row in experiments.rows()}
    lines = [
        "| run | seeds | AUC per seed | mean AUC | AUC of the mean score (95 %, patients) | paper | accuracy "
        "| at val's threshold | paper | F1 COVID | F1 non-COVID | paper | minutes a run |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(dict.fromkeys(job.name for task in plan([0]) for job in task))
    groups = _runs(work)
    for name in sorted(groups, key=lambda key: order.index(key) if key in order else len(order)):
        runs = groups[name]
        test = dataset_of(pack, runs[0][0]["job"]["scheme"]).test
        scores = _test_scores(test, runs)
        single = [test.evaluate(score, replicates=0) for score in scores]
        cuts = [float(card["metrics"]["threshold"]) for card, _ in runs]
        chosen = np.mean([((score >= cut) == test.labels).mean() for score, cut in zip(scores, cuts, strict=True)])
        whole = test.evaluate(np.mean(scores, axis=0), replicates=2000, seed=0)
        low, high = whole.intervals["auc"]
        row = paper.get(name)
        own = [f"{row.auc:.2f}", f"{row.accuracy:.2f}", f"{row.f1:.2f}"] if row else ["–"] * 3
        mean = {key: np.mean([found[key] for found in single]) for key in ("auc", "accuracy", "f1", "f1_noncovid")}
        minutes = np.mean([card["training"]["hours"] * 60 for card, _ in runs])
        lines.append(
            f"| {name} | {len(runs)} | {', '.join(f'{found.auc:.3f}' for found in single)} | {mean['auc']:.3f} "
            f"| {whole.auc:.3f} ({low:.3f}–{high:.3f}) | {own[0]} | {mean['accuracy']:.3f} | {chosen:.3f} | {own[1]} "
            f"| {mean['f1']:.3f} | {mean['f1_noncovid']:.3f} | {own[2]} | {minutes:.1f} |"
        )
    lines += _differences(pack, groups)
    if (work / "speed.json").is_file():
        found = json.loads((work / "speed.json").read_text(encoding="utf-8"))
        lines += ["", f"Alone on {found['device']}, images of training per second:", ""]
        lines += ["| network | graph | images/s | of the card's 16-bit peak |", "|---|---|---|---|"]
        for row_ in found["rows"]:
            share = f"{row_['of_peak']:.1%}" if row_["of_peak"] else "–"
            graph = "yes" if row_["graph"] else "no"
            lines.append(f"| {row_['backbone']} | {graph} | {row_['images_per_second']:.0f} | {share} |")
    return "\n".join(lines) + "\n"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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
    tasks = plan([int(value) for value in seeds.split(",")])
    wanted = tuple(only.split(",")) if only else ("",)
    tasks = [[job for job in task if job.name.startswith(wanted)] for task in tasks]
    tasks = [[job for job in task if not (work / job.folder / "predictions.csv").is_file()] for task in tasks]
    planned: set[str] = set()
    for task in tasks:
        task[:] = [job for job in task if job.folder not in planned]
        planned |= {job.folder for job in task}
    there = {path.stem for path in (data_folder / "splits").glob("*.csv")}
    tasks = [task for task in tasks if task and task[0].scheme in there]
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
            finished &= all((work / job.folder / "predictions.csv").is_file() for job in jobs)
            bundle(work, out)
    print(markdown(data_folder, work))
    print("finished" if finished else "unfinished: call again to continue")
    if not finished:
        raise typer.Exit(3)


if __name__ == "__main__":
    app()
