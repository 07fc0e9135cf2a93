"""Self-Trans and its ablations (Table VI) on the 2020 COVID-CT release, in resumable pieces.

    python benchmarks/self_trans.py --root RELEASE --luna SLICES --weights resnet18_imagenet_partial.pth --minutes 9
    python benchmarks/self_trans.py --root RELEASE --luna SLICES --weights FILE --table

RELEASE is the folder of the 2020 release, SLICES a folder of LUNA16 slices (<seriesuid>.mhd_<n>.png) or volumes, FILE
ImageNet weights for ResNet-18, complete or partial. Each call trains until its minutes are used up; call it again until
it says "finished". All methods share one fine-tuning recipe; pretraining sees training pictures and LUNA only. Chains
that begin alike share the states of their first set.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import typer

import covidct
from covidct import metrics
from covidct.files import write_json, write_text
from models import checkpoint, contrastive, engine, finetune, pretrain
from models.contrastive import SslRecipe
from models.data import describe
from models.engine import Hardware
from models.evaluate import evaluate
from models.recipe import Recipe

log = logging.getLogger("self_trans")

METHODS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    # name: where it starts, self-supervised sets, rotation prediction beside fine-tuning
    "random": ("random", (), False),
    "transfer": ("imagenet", (), False),
    "method1": ("random", ("covidct",), False),
    "method2": ("imagenet", ("covidct",), False),
    "method3": ("imagenet", ("luna",), False),
    "method4": ("imagenet", (), True),
    "self-trans": ("imagenet", ("luna", "covidct"), False),
}
TITLES = {
    "random": "random weights",
    "transfer": "ImageNet weights",
    "method1": "Method 1: SSL on COVID-CT from random weights",
    "method2": "Method 2: ImageNet, SSL on COVID-CT",
    "method3": "Method 3: ImageNet, SSL on LUNA",
    "method4": "Method 4: ImageNet, rotation prediction",
    "self-trans": "Self-Trans: ImageNet, SSL on LUNA, then COVID-CT",
}


def prepare(root: Path, luna: Path, work: Path) -> covidct.Dataset:
    """The release with its own split, and the slices, as the stages write them; made once."""
    for folder, marker, command in (
        ("published", "records.csv", ["covidct.published", "--root", str(root)]),
        ("luna", "slices.csv", ["harvest.luna", "--root", str(luna), "--subjects", "0"]),
    ):
        if not (work / folder / marker).is_file():
            subprocess.run([sys.executable, "-m", *command, "--out", str(work / folder)], check=True)
    return covidct.load(work / "published")


def encoder(
    dataset: covidct.Dataset, work: Path, init: str, chain: tuple[str, ...], settings: dict, minutes: float
) -> Path:
    """Folder of the pretrained encoder, made if it is not there yet."""
    start = init.partition(":")[0]
    out = work / "encoders" / "-".join([start, *chain, str(settings["seed"])])
    if not (out / checkpoint.CARD).is_file():
        recipe = SslRecipe(backbone="resnet18", init=init, chain=chain, **settings)
        sets = pretrain.read_sets(chain, work / "luna", dataset, recipe.resize)
        result = contrastive.pretrain(
            sets,
            recipe,
            about={**describe(dataset), "transductive": False},
            cache=work / "states" / f"{start}-{settings['seed']}",
            minutes=minutes,
        )
        pretrain.write(out, result)
    return out


def one(dataset: covidct.Dataset, work: Path, method: str, weights: str, ssl: dict, tune: dict, minutes: float) -> None:
    """Pretrain, fine-tune and evaluate one method with one seed; raises Unfinished when the time is up."""
    end = time.monotonic() + 60 * minutes
    start, chain, rotation = METHODS[method]
    init = weights if start == "imagenet" else start
    if chain:
        init = f"encoder:{encoder(dataset, work, init, chain, ssl, minutes)}"
    name = f"{method}-{tune['seed']}"
    left = (end - time.monotonic()) / 60
    if left < 0.2:
        raise engine.Unfinished(f"{name}: the time is up")
    recipe = Recipe(backbone="resnet18", init=init, rotation=rotation, **tune)
    result = finetune.finetune(dataset, recipe, cache=work / "states" / name, minutes=left, hardware=Hardware())
    out = work / "runs" / name
    finetune.write(out, dataset, result)
    table, summary = evaluate(dataset, *checkpoint.load(out))
    write_text(out / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(out / "metrics.json", metrics.Metrics(summary).to_json())


def markdown(dataset: covidct.Dataset, work: Path) -> str:
    """Means over seeds per method with the spread, and the paired difference of each from plain transfer."""
    lines = [
        "| method | seeds | AUC per seed | AUC of the mean score (95 %, patients) | accuracy | F1 COVID | F1 non-COVID "
        "| SSL epochs | hours SSL + tuning |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    pooled: dict[str, np.ndarray] = {}
    test = dataset.test
    for method in METHODS:
        folders = sorted((work / "runs").glob(f"{method}-[0-9]*"))
        folders = [folder for folder in folders if (folder / "metrics.json").is_file()]
        if not folders:
            continue
        scores, rows, hours, epochs = [], [], [], ""
        for folder in folders:
            table = pd.read_csv(folder / "predictions.csv").set_index("image_id")
            scores.append(table.loc[test.records["image_id"], "score"].to_numpy())
            rows.append(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]["at_half"])
            card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
            spent = card["training"]["hours"]
            kind, _, path = card["recipe"]["init"].partition(":")
            if kind == "encoder":
                ssl = json.loads((Path(path) / "card.json").read_text(encoding="utf-8"))
                spent += ssl["training"]["hours"]
                epochs = f"{ssl['recipe']['epochs']} × {len(ssl['recipe']['chain'])}"
            hours.append(spent)
        pooled[method] = np.mean(scores, axis=0)
        whole = test.evaluate(pooled[method], replicates=2000, seed=0).to_json()
        low, high = whole["intervals"]["auc"]
        mean = {name: np.mean([row[name] for row in rows]) for name in ("accuracy", "f1", "f1_noncovid")}
        each = ", ".join(f"{row['auc']:.3f}" for row in rows)
        lines.append(
            f"| {TITLES[method]} | {len(rows)} | {each} "
            f"| {whole['auc']:.3f} ({low:.3f}–{high:.3f}) | {mean['accuracy']:.3f} | {mean['f1']:.3f} "
            f"| {mean['f1_noncovid']:.3f} | {epochs or '–'} | {np.mean(hours):.2f} |"
        )
    base = pooled.get("transfer")
    if base is not None:
        lines += [
            "",
            "| difference of AUC from ImageNet weights (scores averaged over seeds) | 95 %, patients |",
            "|---|---|",
        ]
        for method, scores_ in pooled.items():
            if method != "transfer":
                found = difference(test.labels, scores_, base, test.patients)
                lines.append(f"| {TITLES[method]}: {found[0]:+.3f} | {found[1]:+.3f} to {found[2]:+.3f} |")
    return "\n".join(lines) + "\n"


def difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, patients: np.ndarray, replicates: int = 2000
) -> tuple[float, float, float]:
    """AUC(first) − AUC(second) with a 95 % interval, patients drawn anew together (paired bootstrap)."""
    rng = np.random.default_rng(0)
    names = pd.unique(patients)
    members = [np.flatnonzero(patients == name) for name in names]
    found: list[float] = []
    while len(found) < replicates:
        index = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if labels[index].min() != labels[index].max():
            found.append(metrics.auc(labels[index], first[index]) - metrics.auc(labels[index], second[index]))
    low, high = np.quantile(found, [0.025, 0.975])
    return metrics.auc(labels, first) - metrics.auc(labels, second), float(low), float(high)


def main(
    root: Path = typer.Option(..., help="folder of the 2020 release"),
    luna: Path = typer.Option(..., help="folder of LUNA16 slices or volumes"),
    weights: Path = typer.Option(..., help="ImageNet weights for ResNet-18, complete or partial"),
    work: Path = typer.Option(Path("cache/self_trans"), help="folder of results and resumable states"),
    methods: str = typer.Option(",".join(METHODS)),
    seeds: str = typer.Option("0"),
    minutes: float = typer.Option(9.0, help="of this call"),
    epochs: int = typer.Option(20, help="of fine-tuning (IV.C.1: 50)"),
    ssl_epochs: int = typer.Option(20, help="of pretraining, per set"),
    ssl_size: int = typer.Option(128, help="pixels of a view (IV.A: 224)"),
    ssl_batch: int = typer.Option(64, help="images per step (IV.E.2: 128)"),
    ssl_momentum: float = typer.Option(0.99, help="of the key encoder (III.C: 0.999, for far more steps)"),
    table: bool = typer.Option(False, help="only print what is finished"),
) -> None:
    """Train what is not finished yet, within the minutes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    end = time.monotonic() + 60 * minutes
    dataset = prepare(root, luna, work)
    if not table:
        for seed in (int(value) for value in seeds.split(",")):
            ssl = {
                "seed": seed, "epochs": ssl_epochs, "size": ssl_size, "resize": ssl_size * 8 // 7, "batch": ssl_batch,
                "momentum": ssl_momentum, "mask_same": True,
            }  # fmt: skip
            for method in methods.split(","):
                if (work / "runs" / f"{method}-{seed}" / "metrics.json").is_file():
                    continue
                left = (end - time.monotonic()) / 60
                try:
                    if left < 0.3:
                        raise engine.Unfinished("the time is up")
                    one(dataset, work, method, f"partial:{weights}", ssl, {"seed": seed, "epochs": epochs}, left)
                except engine.Unfinished as stopped:
                    print(f"unfinished ({stopped}): call again to continue")
                    raise typer.Exit(3) from stopped
        print("finished")
    print(markdown(dataset, work), end="")


if __name__ == "__main__":
    typer.run(main)
