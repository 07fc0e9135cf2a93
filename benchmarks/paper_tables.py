"""Rows of the paper's tables with its own settings, in resumable pieces: minutes on a GPU, days on two cores.

    python benchmarks/paper_tables.py --data PACK --root RELEASE         # make the pack (once, 30 MB), run nothing
    python benchmarks/paper_tables.py --data PACK --minutes 9            # train until the minutes are used up; repeat
    python benchmarks/paper_tables.py --data PACK --table-only           # what is finished, as Markdown

PACK holds the 2020 release in a small form (pictures squeezed to 256×256, the release's own split), so that it travels
to a machine without the rest. Rows are those that need no downloaded weights (Table III 'Rand.', Table VI Method 1), or
with ``--weights imagenet`` all that need no LUNA. Each call continues where the last stopped. Reported besides the
figures: training images per second, and the share of the card's peak that the arithmetic of the network comes to.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import covidct
from covidct import metrics
from covidct.files import sha256_bytes, write_bytes, write_json, write_text
from covidct.pictures import encode
from covidct.records import write_records
from models import backbones, checkpoint, contrastive, data, engine, experiments, pretrain
from models.contrastive import SslRecipe
from models.engine import Hardware
from models.evaluate import evaluate
from models.experiments import Encoder, Run
from models.finetune import finetune, write
from models.recipe import Recipe

log = logging.getLogger("paper_tables")

SIDE = 256
LEAST_MINUTES = 0.3
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12, "V100": 125e12, "RTX 4090": 165e12}
"""dense 16-bit multiply-add rate of a card, FLOP/s, from its maker's data sheet"""


def pack(root: Path, out: Path) -> None:
    """The release as records with pictures of SIDE×SIDE; widths and heights of the originals stay in the table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "covidct.published", "--root", str(root), "--out", folder]
        subprocess.run(command, check=True)
        dataset = covidct.load(Path(folder))
        records, hashes = dataset.records.copy(), []
        for index, (picture, _) in enumerate(dataset):
            small = encode(np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
            write_bytes(out / str(records["file"].iloc[index]), small)
            hashes.append(sha256_bytes(small))
        records["sha256"] = hashes
        write_records(out / "records.csv", records)


def runs(kinds: str, weights: str) -> list[Run]:
    """The runs that can be made here, cheapest first."""
    found = experiments.runs(experiments.rows())
    if weights == "random":
        found = [run for run in found if (run.encoder.init if run.encoder else run.init) == "random"]
    found = [run for run in found if not (run.encoder and ("luna" in run.encoder.chain or not run.encoder.chain))]
    if kinds:
        wanted = set(kinds.split(","))
        unknown = wanted - {run.name for run in found}
        if unknown:
            raise typer.BadParameter(
                f"expected runs among {', '.join(run.name for run in found)}; got {', '.join(unknown)}"
            )
        found = [run for run in found if run.name in wanted]
    return sorted(found, key=lambda run: (run.encoder is not None, backbones.describe(run.backbone).parameters or 0))


def pretrained(
    dataset: covidct.Dataset, encoder: Encoder, work: Path, hardware: Hardware, minutes: float, ssl_epochs: int
) -> Path:
    """Folder of the encoder, made if it is not there; raises Unfinished."""
    out = work / "encoders" / encoder.name
    if not (out / checkpoint.CARD).is_file():
        recipe = SslRecipe(backbone=encoder.backbone, init=encoder.init, chain=encoder.chain, epochs=ssl_epochs)
        result = contrastive.pretrain(
            pretrain.read_sets(encoder.chain, None, dataset, recipe.resize),
            recipe,
            about={**data.describe(dataset), "transductive": False},
            hardware=hardware,
            cache=work / "states" / encoder.name,
            minutes=minutes,
        )
        pretrain.write(out, result)
    return out


def one(
    dataset: covidct.Dataset,
    run: Run,
    seed: int,
    work: Path,
    hardware: Hardware,
    end: float,
    epochs: int,
    ssl_epochs: int,
) -> None:
    """Train and evaluate one run; raises Unfinished when the time is up."""
    out = work / "runs" / f"{run.name}-{seed}"
    options = run.options(seed)
    if run.encoder:
        folder = pretrained(dataset, run.encoder, work, hardware, (end - time.monotonic()) / 60, ssl_epochs)
        options["init"] = f"encoder:{folder}"
    left = (end - time.monotonic()) / 60
    if left < LEAST_MINUTES:
        raise engine.Unfinished("the time is up")
    result = finetune(
        dataset, Recipe(**options, epochs=epochs), hardware=hardware, cache=work / "states" / out.name, minutes=left
    )
    write(out, dataset, result)
    device = "cuda" if result.card["training"]["device"] == "cuda" else "cpu"
    table, summary = evaluate(dataset, *checkpoint.load(out), device=device)
    write_text(out / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(out / "metrics.json", metrics.Metrics(summary).to_json())
    state = work / "states" / out.name / engine.STATE
    state.unlink(missing_ok=True)  # finished: its space is worth more than its return


def arithmetic(backbone: str) -> float:
    """Floating-point operations of training on one 224×224 picture: forward, and twice that for the gradients."""
    with torch.device("meta"):
        model = backbones.build(backbone, 2)
        picture = torch.empty(1, backbones.describe(backbone).channels, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model.eval()(picture)
    return 3.0 * counter.get_total_flops()


def peak() -> tuple[str, float | None]:
    """Name of the device, and its 16-bit peak where it is known."""
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads", None
    name = torch.cuda.get_device_name()
    return name, next((value for key, value in PEAKS.items() if key in name), None)


def markdown(work: Path) -> str:
    """One line per run: mean over seeds, interval of each seed's mean over patients, beside the paper's."""
    rows = {row.run.name: row for row in experiments.rows()}
    device, top = peak()
    lines = [
        f"Device of this table: {device}.",
        "",
        "| run | seeds | AUC: mean (each; 95 % of the first) | paper | accuracy | paper | F1 COVID | F1 non-COVID | paper "
        "| hours | images/s | of peak |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        folders = sorted(path.parent for path in (work / "runs").glob(f"{name}-[0-9]*/metrics.json"))
        if not folders:
            continue
        tests = [json.loads((path / "metrics.json").read_text(encoding="utf-8"))["test"]["at_half"] for path in folders]
        cards = [json.loads((path / "card.json").read_text(encoding="utf-8")) for path in folders]
        mean = {key: np.mean([test[key] for test in tests]) for key in ("auc", "accuracy", "f1", "f1_noncovid")}
        low, high = tests[0]["intervals"]["auc"]
        each = ", ".join(f"{test['auc']:.3f}" for test in tests)
        speed = float(np.mean([card["training"]["images_per_second"] for card in cards]))
        share = f"{speed * arithmetic(row.run.backbone) / top:.1%}" if top else "–"
        lines.append(
            f"| {name} | {len(folders)} | {mean['auc']:.3f} ({each}; {low:.3f}–{high:.3f}) | {row.auc:.2f} "
            f"| {mean['accuracy']:.3f} | {row.accuracy:.2f} | {mean['f1']:.3f} | {mean['f1_noncovid']:.3f} | {row.f1:.2f} "
            f"| {np.mean([card['training']['hours'] for card in cards]):.2f} | {speed:.0f} | {share} |"
        )
    return "\n".join(lines) + "\n"


def main(
    data_folder: Path = typer.Option(..., "--data", help="the pack"),
    root: str = typer.Option("", help="folder of the 2020 release, to make the pack from"),
    work: Path = typer.Option(Path("cache/paper_tables"), help="folder of results and resumable states"),
    minutes: float = typer.Option(9.0, help="of this call"),
    seeds: str = typer.Option("0"),
    only: str = typer.Option("", help="runs, comma-separated; empty: all that can be made here"),
    weights: str = typer.Option("random", help="random, or imagenet where torchvision can download"),
    epochs: int = typer.Option(50, help="of fine-tuning (IV.C.1: 50)"),
    ssl_epochs: int = typer.Option(200, help="of pretraining (the paper does not say)"),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    compile: bool = typer.Option(False, help="torch.compile"),
    table_only: bool = typer.Option(False, help="only print what is finished"),
) -> None:
    """Train what is not finished yet, within the minutes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    end = time.monotonic() + 60 * minutes
    if root:
        pack(Path(root), data_folder)
        print(f"{data_folder}: packed")
        return
    finished = True
    if not table_only:
        dataset = covidct.load(data_folder)
        hardware = Hardware(accelerator, 1, precision, compile)
        todo = [
            (run, seed)
            for seed in (int(value) for value in seeds.split(","))
            for run in runs(only, weights)
            if not (work / "runs" / f"{run.name}-{seed}" / "metrics.json").is_file()
        ]
        for run, seed in todo:
            try:
                if (end - time.monotonic()) / 60 < LEAST_MINUTES:
                    raise engine.Unfinished("the time is up")
                one(dataset, run, seed, work, hardware, end, epochs, ssl_epochs)
            except engine.Unfinished as stopped:
                log.info("%s-%d: %s", run.name, seed, stopped)
                finished = False
                break
    print(markdown(work))
    print("finished" if finished else "unfinished: call again to continue")
    if not finished:
        raise typer.Exit(3)


if __name__ == "__main__":
    typer.run(main)
