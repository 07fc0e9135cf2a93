"""Stage `finetune`: initial weights or an encoder + train and val → a classifier (sections IV.B–D, Table VII).

Reads   ``--dataset`` (records.csv, pictures): the train and val splits; the test split is never opened here.
Writes  ``--out``: model.safetensors, card.json (recipe, preprocessing, threshold, validation metrics), history.csv,
        val.csv (scores of the chosen model). ``--cache``: the state after each epoch, to resume from.
Guarantees  the chosen epoch depends on val only; the same inputs, seed, threads and hardware give the same weights,
        interrupted or not.

Loss: cross-entropy over two logits. Binary cross-entropy, as the paper says, of the difference of the two logits is the
same function; with two logits the weights load into the stock torchvision network.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from torch import nn

import covidct
from covidct.commands import new_app
from covidct.files import write_text
from models import backbones, checkpoint, data, engine, lineage, weights
from models.cards import classifier_card, seen_hash
from models.engine import Hardware
from models.errors import guarded
from models.recipe import SELECT, Recipe
from models.supervised import fit
from models.tables import csv_text, history_text
from models.training import card_facts
from models.transforms import Evaluation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A trained classifier: the chosen weights, what happened per epoch, and the scores of val."""

    network: nn.Module
    card: dict[str, Any]
    history: list[dict[str, float]]
    val_scores: np.ndarray
    writes: bool = True
    """False in the other processes of data parallelism"""


def finetune(
    dataset: covidct.Dataset,
    recipe: Recipe,
    *,
    hardware: Hardware = Hardware(),
    cache: Path | None = None,
    minutes: float = 0.0,
    live: Path | None = None,
    transductive: bool = False,
) -> Result:
    """Train one classifier; raises FineTuneError, LineageError, EngineError, WeightsError, DataError, DatasetError.

    ``cache``: folder of the resumable state. ``minutes`` > 0: stop cleanly within about that time with
    engine.Unfinished. ``live``: folder of DVCLive's metrics per epoch (needs dvclive). ``transductive``: take initial
    weights that saw another split of the pictures, and mark it in the card.
    """
    recipe.check(len(dataset.train))
    marks = lineage.check(recipe.init, data.describe(dataset), transductive=transductive)
    fabric = engine.open_fabric(hardware, recipe.backbone)
    train = data.load_split(dataset.train, recipe.resize)
    val = data.load_split(dataset.val, recipe.size)
    data.check_classes(train.labels, "train")
    data.check_classes(val.labels, "val")
    normalise = weights.normalisation(recipe.init, recipe.backbone, train.images)
    plain = Evaluation(recipe.size, normalise)
    found = fit(
        train,
        val,
        len(data.CLASS_NAMES),
        recipe,
        plain,
        fabric,
        hardware=hardware,
        title=f"{recipe.backbone} {recipe.init}",
        fingerprint={
            "recipe": asdict(replace(recipe, epochs=1)),  # more epochs may follow fewer
            "files": seen_hash(dataset),
            "normalise": asdict(normalise),
        },
        cache=cache,
        minutes=minutes,
        live=live,
    )
    training = card_facts(fabric, found.clock)
    scores = engine.probabilities(found.network, val.images, plain, device=fabric.device)[:, 1].numpy()
    network = found.network.to("cpu").eval()
    card = classifier_card(dataset, recipe, plain, found.report, found.epoch, val, scores, training, marks)
    return Result(network, card, found.history, scores, fabric.is_global_zero)


def write(out: Path, dataset: covidct.Dataset, result: Result) -> None:
    """Write the stage's files."""
    checkpoint.save(out, result.network, result.card)
    write_text(out / "history.csv", history_text(result.history))
    records = dataset.val.records
    rows = [
        {"image_id": name, "label": int(label), "score": f"{score:.6f}"}
        for name, label, score in zip(records["image_id"], records["label"], result.val_scores, strict=True)
    ]
    write_text(out / "val.csv", csv_text(rows))


app = new_app()


@app.command()
@guarded
def main(
    dataset: Path = typer.Option(..., help="folder with records.csv, or a released version"),
    out: Path = typer.Option(..., help="folder of the classifier"),
    backbone: str = typer.Option(..., help=", ".join(backbones.BACKBONES)),
    cache: Path | None = typer.Option(None, help="folder of the resumable state"),
    init: str = typer.Option("random", help="random, imagenet, file:PATH, partial:PATH or encoder:PATH"),
    frozen: bool = typer.Option(False, help="train the last layer only"),
    rotation: bool = typer.Option(False, help="joint rotation prediction"),
    seed: int = typer.Option(0, min=0),
    size: int = typer.Option(224, help="side of the network's input, pixels"),
    resize: int = typer.Option(256, help="side of the stored picture that crops are cut from, pixels"),
    epochs: int = typer.Option(50),
    batch: int = typer.Option(16, help="images per step, over all processes"),
    learning_rate: float = typer.Option(1e-4),
    weight_decay: float = typer.Option(0.0),
    period: int = typer.Option(10, help="T_max of the cosine annealing, epochs"),
    crop: float = typer.Option(0.5, help="smallest area of a crop, as a share"),
    flip: float = typer.Option(0.5),
    brightness: float = typer.Option(0.2),
    contrast: float = typer.Option(0.2),
    select: str = typer.Option("auc", help=", ".join(SELECT)),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    devices: int = typer.Option(1),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    compile: bool = typer.Option(False),
    minutes: float = typer.Option(0.0, help="stop cleanly after about so many minutes; 0: no limit"),
    live: bool = typer.Option(False, help="write DVCLive metrics per epoch into the cache"),
    transductive: bool = typer.Option(
        False, help="take initial weights that saw another split of the pictures; every result is marked"
    ),
) -> None:
    """Fine-tune one classifier."""
    recipe = Recipe(
        backbone=backbone,
        init=init,
        frozen=frozen,
        rotation=rotation,
        seed=seed,
        size=size,
        resize=resize,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        period=period,
        crop=crop,
        flip=flip,
        brightness=brightness,
        contrast=contrast,
        select=select,
    )
    found = covidct.load(dataset)
    result = finetune(
        found,
        recipe,
        hardware=Hardware(accelerator, devices, precision, compile),
        cache=cache,
        minutes=minutes,
        live=cache / "live" if live and cache is not None else None,
        transductive=transductive,
    )
    if not result.writes:  # another process of data parallelism does
        return
    write(out, found, result)
    chosen = result.card["metrics"]
    if chosen.get("notes"):
        log.warning("%s: epoch %d; %s", out, result.card["epoch"], "; ".join(chosen["notes"]))
    else:
        log.info("%s: epoch %d chosen, val AUC %s", out, result.card["epoch"], chosen["val"]["auc"])


if __name__ == "__main__":
    app()
