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

import csv
import io
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import typer
from torch import Tensor, nn

import covidct
from covidct.files import write_text
from models import backbones, checkpoint, data, engine, rotation, weights
from models.cards import classifier_card, seen_hash
from models.engine import Hardware
from models.objective import Best, Clock, Objective, freeze, selection_key, trainable, turn_head, validation
from models.recipe import SELECT, Recipe
from models.transforms import Evaluation, FineTuning, Normalise, random_numbers

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
) -> Result:
    """Train one classifier; raises FineTuneError, EngineError, WeightsError, DataError or covidct's DatasetError.

    ``cache``: folder of the resumable state. ``minutes`` > 0: stop cleanly within about that time with
    engine.Unfinished. ``live``: folder of DVCLive's metrics per epoch (needs dvclive).
    """
    recipe.check(len(dataset.train))
    fabric = engine.open_fabric(hardware, recipe.backbone)
    train = data.load_split(dataset.train, recipe.resize)
    val = data.load_split(dataset.val, recipe.size)
    data.check_classes(train.labels, "train")
    both = data.check_classes(val.labels, "val")
    normalise = weights.normalisation(recipe.init, recipe.backbone, train.images)
    view = FineTuning(
        recipe.size,
        normalise,
        scale=(recipe.crop, 1.0),
        flip=recipe.flip,
        brightness=recipe.brightness,
        contrast=recipe.contrast,
    )
    plain = Evaluation(recipe.size, normalise)
    network = backbones.build(recipe.backbone, len(data.CLASS_NAMES), size=recipe.size)
    report = weights.initialise(network, recipe.backbone, recipe.init, seed=recipe.seed, batch=plain(train.images[:64]))
    network = engine.channels_last(network)
    objective = Objective(network, recipe.backbone, turn_head(recipe))
    optimizer = torch.optim.Adam(
        trainable(objective, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.period)
    best, clock = Best(), Clock()
    parts = {"objective": objective, "optimizer": optimizer, "scheduler": scheduler, "best": best, "clock": clock}
    compiled = cast(nn.Module, torch.compile(objective)) if hardware.compile else objective
    wrapped, fabric_optimizer = fabric.setup(compiled, optimizer)
    step = engine.step_of(fabric, wrapped, hardware)
    train = train.to(fabric.device)

    def one_epoch(epoch: int) -> dict[str, float]:
        begin = time.monotonic()
        numbers = random_numbers(len(train), recipe.seed, epoch).to(fabric.device)
        turns = _turns(recipe, len(train), epoch, fabric.device)

        def loss_of(index: Tensor) -> Tensor:
            inputs = view(train.images[index], train.aspect[index], numbers[index])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            loss: Tensor = step(inputs, train.labels[index], None if turns is None else turns[index])
            return loss

        order = data.epoch_order(len(train), recipe.seed, epoch).to(fabric.device)
        rate = float(scheduler.get_last_lr()[0])
        loss = engine.train_epoch(
            fabric,
            wrapped,
            fabric_optimizer,  # type: ignore[arg-type]
            data.batches(order, recipe.batch),
            loss_of,
            title=f"{recipe.backbone} {recipe.init} epoch {epoch + 1}/{recipe.epochs}",
            mode=(lambda _: freeze(objective, recipe.backbone)) if recipe.frozen else nn.Module.train,
        )
        scheduler.step()
        with fabric.autocast():
            scores = engine.probabilities(network, val.images, plain, device=fabric.device)
        row = {"lr": rate, "train_loss": loss, **validation(scores, val.labels, both)}
        best.offer(selection_key(row, recipe.select, both, epoch), epoch, network)
        clock.add(time.monotonic() - begin, len(train))
        return row

    history = engine.run(
        fabric,
        parts,
        recipe.epochs,
        one_epoch,
        folder=cache,
        fingerprint=_fingerprint(recipe, dataset, normalise, report, fabric),
        seed=recipe.seed,
        minutes=minutes,
        on_epoch=_reporter(recipe, live),
    )
    training = {
        **clock.figures(),
        "device": fabric.device.type,
        "precision": str(fabric._precision.precision),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
    }
    network.load_state_dict(best.weights)
    scores = engine.probabilities(network, val.images, plain, device=fabric.device)[:, 1].numpy()
    network = network.to("cpu").eval()
    card = classifier_card(dataset, recipe, normalise, report, best.epoch, val, scores, training)
    return Result(network, card, history, scores, fabric.is_global_zero)


def write(out: Path, dataset: covidct.Dataset, result: Result) -> None:
    """Write the stage's files."""
    checkpoint.save(out, result.network, result.card)
    write_text(out / "history.csv", table([{**row, "epoch": int(row["epoch"]) + 1} for row in result.history]))
    records = dataset.val.records
    rows = [
        {"image_id": name, "label": int(label), "score": f"{score:.6f}"}
        for name, label, score in zip(records["image_id"], records["label"], result.val_scores, strict=True)
    ]
    write_text(out / "val.csv", table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """CSV text of rows with the same keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _turns(recipe: Recipe, count: int, epoch: int, device: torch.device) -> Tensor | None:
    if not recipe.rotation:
        return None
    generator = torch.Generator().manual_seed((recipe.seed << 20) + epoch)
    return rotation.random_turns(count, generator, device)


def _fingerprint(
    recipe: Recipe, dataset: covidct.Dataset, normalise: Normalise, report: weights.LoadReport, fabric: engine.Fabric
) -> dict[str, Any]:
    """What must agree for a saved state to be continued; more epochs of the same recipe may follow fewer."""
    settings = asdict(replace(recipe, epochs=1))
    return {
        "recipe": settings,
        "files": seen_hash(dataset),
        "normalise": asdict(normalise),
        "weights": report.sha256,
        "precision": str(fabric._precision.precision),
        "device": fabric.device.type,
        "world": fabric.world_size,
    }


def _reporter(recipe: Recipe, live: Path | None) -> Any:
    logger = None
    if live is not None:
        from dvclive import Live

        logger = Live(str(live), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)

    def on_epoch(epoch: int, row: Mapping[str, float]) -> None:
        log.info(
            "%s epoch %d/%d: loss %.3f, val loss %.3f, AUC %.3f",
            recipe.backbone,
            epoch + 1,
            recipe.epochs,
            row["train_loss"],
            row["val_loss"],
            row["val_auc"],
        )
        if logger is not None:
            for name, value in row.items():
                if name != "epoch":
                    logger.log_metric(name, value)
            logger.next_step()

    return on_epoch


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)


@app.command()
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
) -> None:
    """Fine-tune one classifier."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
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
    try:
        found = covidct.load(dataset)
        result = finetune(
            found,
            recipe,
            hardware=Hardware(accelerator, devices, precision, compile),
            cache=cache,
            minutes=minutes,
            live=cache / "live" if live and cache is not None else None,
        )
        if not result.writes:  # another process of data parallelism does
            return
        write(out, found, result)
    except engine.Unfinished as stopped:
        log.warning("%s", stopped)
        raise typer.Exit(3) from stopped
    except (ValueError, RuntimeError, OSError) as error:
        if not engine.is_ours(error):
            raise
        log.error("%s", error)
        raise typer.Exit(1) from error
    log.info("%s: epoch %d chosen, val AUC %s", out, result.card["epoch"], result.card["metrics"]["val"]["auc"])


if __name__ == "__main__":
    app()
