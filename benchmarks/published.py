"""Real input: rows of the paper's tables trained with its settings on the 2020 COVID-CT release, in resumable pieces.

    python benchmarks/published.py --root DIR --rows crnet,resnet18 --seeds 0,1,2 --minutes 9
    python benchmarks/published.py --root DIR --table          # what is finished, as Markdown

DIR is the folder of the release (CT_COVID, CT_NonCOVID, Data-split, metadata). Each call trains until its minutes are
used up and saves its state; call it again until it says "finished". Results and states lie under --work.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import typer

import covidct
from covidct.files import write_json, write_text
from covidct.metrics import Metrics
from models import checkpoint, engine
from models.evaluate import evaluate
from models.finetune import finetune, write
from models.recipe import Recipe

log = logging.getLogger("published")

PAPER = {"crnet": (0.72, 0.76, 0.77), "resnet18": (0.67, 0.66, 0.76)}
"""Table III 'Rand.': accuracy, F1, AUC"""
LEAST_MINUTES = 0.5


def dataset_of(root: Path, work: Path) -> covidct.Dataset:
    """The release as records, made once."""
    folder = work / "dataset"
    if not (folder / "records.csv").is_file():
        subprocess.run(
            [sys.executable, "-m", "covidct.published", "--root", str(root), "--out", str(folder)], check=True
        )
    return covidct.load(folder)


def train(dataset: covidct.Dataset, backbone: str, seed: int, work: Path, minutes: float, epochs: int) -> bool:
    """Train and evaluate one run; False if the time ran out first."""
    run = f"{backbone}-random-{seed}" + (f"-{epochs}" if epochs != 50 else "")
    out = work / "runs" / run
    if (out / "metrics.json").is_file():
        return True
    try:
        result = finetune(
            dataset, Recipe(backbone=backbone, seed=seed, epochs=epochs), cache=work / "states" / run, minutes=minutes
        )
    except engine.Unfinished as stopped:
        log.info("%s: %s", run, stopped)
        return False
    write(out, dataset, result)
    model, card = checkpoint.load(out)
    table, summary = evaluate(dataset, model, card)
    write_text(out / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(out / "metrics.json", Metrics(summary).to_json())
    return True


def markdown(work: Path) -> str:
    """One line per finished run, then the mean over seeds, beside the paper's figure."""
    lines = [
        "| run | AUC (95 %, patients) | accuracy | F1 COVID | F1 non-COVID | epoch | hours | images/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict[str, float]]] = {}
    for folder in sorted((work / "runs").glob("*")):
        if not (folder / "metrics.json").is_file():
            continue
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        test = found["test"]["at_half"]
        low, high = test["intervals"]["auc"]
        lines.append(
            f"| {folder.name} | {test['auc']:.3f} ({low:.3f}–{high:.3f}) | {test['accuracy']:.3f} | {test['f1']:.3f} "
            f"| {test['f1_noncovid']:.3f} | {card['epoch']} | {card['training']['hours']:.2f} "
            f"| {card['training']['images_per_second']:.1f} |"
        )
        groups.setdefault(found["model"]["backbone"], []).append(test)
    for backbone, tests in groups.items():
        auc, accuracy, f1 = (np.array([test[name] for test in tests]) for name in ("auc", "accuracy", "f1"))
        paper = PAPER.get(backbone)
        spread = auc.std(ddof=1) if len(tests) > 1 else 0.0
        lines.append(
            f"| **{backbone}, mean of {len(tests)}** | {auc.mean():.3f} (SD {spread:.3f})"
            f" | {accuracy.mean():.3f} | {f1.mean():.3f} | | | | |"
        )
        if paper:
            lines.append(f"| paper, Table III Rand. {backbone} | {paper[2]} | {paper[0]} | {paper[1]} | | | | |")
    return "\n".join(lines) + "\n"


def main(
    root: Path = typer.Option(..., help="folder of the 2020 release"),
    work: Path = typer.Option(Path("cache/published"), help="folder of results and resumable states"),
    rows: str = typer.Option("crnet,resnet18", help="backbones, from random weights"),
    seeds: str = typer.Option("0"),
    minutes: float = typer.Option(9.0, help="of this call"),
    epochs: int = typer.Option(50),
    table: bool = typer.Option(False, help="only print what is finished"),
) -> None:
    """Train what is not finished yet, within the minutes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not table:
        end = time.monotonic() + 60 * minutes
        dataset = dataset_of(root, work)
        for seed in (int(value) for value in seeds.split(",")):
            for backbone in rows.split(","):
                left = (end - time.monotonic()) / 60
                if left < LEAST_MINUTES or not train(dataset, backbone, seed, work, left, epochs):
                    print("unfinished: call again to continue")
                    raise typer.Exit(3)
        print("finished")
    print(markdown(work), end="")


if __name__ == "__main__":
    typer.run(main)
