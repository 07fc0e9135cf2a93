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
import hashlib
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
from torch.nn import functional as F

import covidct
from covidct import metrics
from covidct.files import write_text
from models import backbones, checkpoint, data, engine, rotation, weights
from models.engine import Hardware
from models.transforms import IMAGENET_MEAN, IMAGENET_STD, Evaluation, FineTuning, Normalise, random_numbers

log = logging.getLogger(__name__)

SELECT = ("auc", "loss", "last")


class FineTuneError(ValueError):
    """Settings that cannot be trained with: says what, expected, got and the next step."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result besides data and hardware; the defaults are the paper's."""

    backbone: str
    init: str = "random"
    frozen: bool = False
    """train the last layer only (Table VII)"""
    rotation: bool = False
    """joint rotation prediction (Method 4 of Table VI)"""
    seed: int = 0
    size: int = 224
    resize: int = 256
    epochs: int = 50
    batch: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    period: int = 10
    """T_max of CosineAnnealingLR, epochs: down for 10, up again for 10, as the scripts of 2020"""
    crop: float = 0.5
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    select: str = "auc"
    """what chooses the epoch on val: auc (ties: lower loss, then earlier), loss, or last (no choice)"""

    def check(self, images: int) -> None:
        """Raise FineTuneError on values nothing can be trained with; ``images`` is the size of the training split."""
        backbones.describe(self.backbone)
        limits: dict[str, tuple[float, float]] = {
            "size": (23, 4096),
            "resize": (23, 4096),
            "epochs": (1, 100_000),
            "batch": (2, 65_536),
            "period": (1, 100_000),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise FineTuneError(f"{name}: expected {low:g} to {high:g}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise FineTuneError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        if self.select not in SELECT:
            raise FineTuneError(f"select: expected one of {', '.join(SELECT)}, got {self.select!r}")
        if self.batch > images:
            raise FineTuneError(f"batch: expected at most the {images} training images, got {self.batch}; lower it")
        if self.rotation and self.frozen:
            raise FineTuneError("rotation: the joint task trains the shared extractor; it cannot be frozen")


class Objective(nn.Module):
    """Network and loss in one module, so that every forward pass of training goes through Fabric's wrapper."""

    def __init__(self, network: nn.Module, backbone: str, turn_head: nn.Module | None) -> None:
        super().__init__()
        self.network = network
        self.turn_head = turn_head
        self.backbone = backbone

    def forward(self, images: Tensor, labels: Tensor, turns: Tensor | None = None) -> Tensor:
        if self.turn_head is None or turns is None:
            return F.cross_entropy(self.network(images), labels)
        return rotation.joint_loss(self.network, self.backbone, self.turn_head, images, labels, turns).total


class Best:
    """The weights of the best epoch so far; part of the saved state."""

    def __init__(self) -> None:
        self.key: tuple[float, ...] = ()
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def offer(self, key: tuple[float, ...], epoch: int, network: nn.Module) -> None:
        """Keep the network's weights if ``key`` is higher than all before."""
        if not self.key or key > self.key:
            self.key, self.epoch = key, epoch
            self.weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"key": list(self.key), "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.key, self.epoch, self.weights = tuple(state["key"]), int(state["epoch"]), dict(state["weights"])


@dataclass(frozen=True)
class Result:
    """A trained classifier: the chosen weights, what happened per epoch, and the scores of val."""

    network: nn.Module
    card: dict[str, Any]
    history: list[dict[str, float]]
    val_scores: np.ndarray


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
    normalise = _normalisation(recipe, train.images)
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
    network, turn_head = engine.channels_last(network), _turn_head(recipe)
    objective = Objective(network, recipe.backbone, turn_head)
    optimizer = torch.optim.Adam(
        _trainable(objective, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.period)
    best = Best()
    parts = {"objective": objective, "optimizer": optimizer, "scheduler": scheduler, "best": best}
    compiled = cast(nn.Module, torch.compile(objective)) if hardware.compile else objective
    wrapped, fabric_optimizer = fabric.setup(compiled, optimizer)
    train = train.to(fabric.device)
    clock = time.monotonic()

    def one_epoch(epoch: int) -> dict[str, float]:
        numbers = random_numbers(len(train), recipe.seed, epoch).to(fabric.device)
        turns = _turns(recipe, len(train), epoch, fabric.device)

        def loss_of(index: Tensor) -> Tensor:
            index = index.to(fabric.device)
            inputs = view(train.images[index], train.aspect[index], numbers[index])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            loss: Tensor = wrapped(inputs, train.labels[index], None if turns is None else turns[index])
            return loss

        order = data.epoch_order(len(train), recipe.seed, epoch)
        rate = float(scheduler.get_last_lr()[0])
        loss = engine.train_epoch(
            fabric,
            wrapped,
            fabric_optimizer,  # type: ignore[arg-type]
            data.batches(order, recipe.batch),
            loss_of,
            title=f"{recipe.backbone} {recipe.init} epoch {epoch + 1}/{recipe.epochs}",
            mode=(lambda _: _freeze(objective, recipe.backbone)) if recipe.frozen else nn.Module.train,
        )
        scheduler.step()
        with fabric.autocast():
            scores = engine.probabilities(network, val.images, plain, device=fabric.device)
        row = {"lr": rate, "train_loss": loss, **_validation(scores, val.labels, both)}
        best.offer(_key(row, recipe.select, both, epoch), epoch, network)
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
    seconds = time.monotonic() - clock
    network.load_state_dict(best.weights)
    network = network.to("cpu").eval()
    scores = engine.probabilities(network, val.images, plain)[:, 1].numpy()
    card = _card(
        dataset, recipe, normalise, report, fabric, best.epoch, val, scores, seconds, len(train) * len(history)
    )
    return Result(network, card, history, scores)


def choose_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score at or above which an image is called COVID: highest Youden's J on val; ties go to the nearest to 0.5.

    Candidates lie midway between neighbouring scores, so the choice does not hang on one image's exact score.
    One class only: 0.5.
    """
    if labels.min() == labels.max():
        return 0.5
    values = np.unique(scores)
    candidates = np.concatenate([[0.5], (values[1:] + values[:-1]) / 2])
    called = scores[None, :] >= candidates[:, None]
    sensitivity = (called & (labels == 1)).sum(axis=1) / (labels == 1).sum()
    specificity = (~called & (labels == 0)).sum(axis=1) / (labels == 0).sum()
    gain = np.round(sensitivity + specificity - 1, 12)
    return float(min(zip(-gain, np.abs(candidates - 0.5), candidates, strict=True))[2])


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


def _normalisation(recipe: Recipe, images: Tensor) -> Normalise:
    """The statistics the initial weights were made for; for random weights the training split's own."""
    channels = backbones.describe(recipe.backbone).channels
    kind, _, path = recipe.init.partition(":")
    if kind == "encoder":
        preprocessing = checkpoint.read(path)[1]["preprocessing"]
        mean, std = tuple(preprocessing.get("mean", ())), tuple(preprocessing.get("std", ()))
        if len(mean) == len(std) == channels:
            return Normalise(mean, std)
    if kind in ("imagenet", "file", "partial") and channels == 3:
        return Normalise(IMAGENET_MEAN, IMAGENET_STD)
    one, other = data.normalisation(images)
    return Normalise((round(one, 6),) * channels, (round(other, 6),) * channels)


def _trainable(objective: Objective, recipe: Recipe) -> list[nn.Parameter]:
    if recipe.frozen:
        objective.network.requires_grad_(False)
        backbones.head(objective.network, recipe.backbone).requires_grad_(True)
    return [parameter for parameter in objective.parameters() if parameter.requires_grad]


def _freeze(objective: Objective, backbone: str) -> None:
    """Training mode of a frozen extractor: its batch norms keep their statistics, only the last layer trains."""
    objective.eval()
    backbones.head(objective.network, backbone).train()


def _turn_head(recipe: Recipe) -> nn.Module | None:
    if not recipe.rotation:
        return None
    with torch.device("meta"):
        _, width = backbones.features(backbones.build(recipe.backbone, 2, size=recipe.size), recipe.backbone)
    return rotation.RotationHead(width, torch.Generator().manual_seed(recipe.seed))


def _turns(recipe: Recipe, count: int, epoch: int, device: torch.device) -> Tensor | None:
    if not recipe.rotation:
        return None
    generator = torch.Generator().manual_seed((recipe.seed << 20) + epoch)
    return rotation.random_turns(count, generator, device)


def _validation(scores: Tensor, labels: Tensor, both: bool) -> dict[str, float]:
    truth, score = labels.numpy(), scores[:, 1].numpy()
    chosen = scores[torch.arange(len(labels)), labels].clamp_min(1e-12)
    return {
        "val_loss": float(-chosen.log().mean()),
        "val_auc": metrics.auc(truth, score) if both else float("nan"),
        "val_accuracy": float(((score >= 0.5) == truth).mean()),
    }


def _key(row: Mapping[str, float], select: str, both: bool, epoch: int) -> tuple[float, ...]:
    """What the best epoch has most of."""
    if select == "last":
        return (float(epoch),)
    if select == "loss" or not both:
        return (-row["val_loss"],)
    return (row["val_auc"], -row["val_loss"])


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


def seen_hash(dataset: covidct.Dataset) -> str:
    """Names what training sees: SHA-256 over id, split, label and file hash of train and val."""
    seen = dataset.records[dataset.records["split"].isin(["train", "val"])]
    lines = (f"{row.image_id},{row.split},{row.label},{row.sha256}" for row in seen.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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


def _card(
    dataset: covidct.Dataset,
    recipe: Recipe,
    normalise: Normalise,
    report: weights.LoadReport,
    fabric: engine.Fabric,
    epoch: int,
    val: data.Arrays,
    scores: np.ndarray,
    seconds: float,
    images: int,
) -> dict[str, Any]:
    labels = val.labels.numpy()
    threshold = choose_threshold(labels, scores)
    found = metrics.evaluate(labels, scores, val.patient_id, threshold, replicates=500).to_json()
    licences = sorted({value or "not stated" for value in dataset.train.records["licence"]})
    return checkpoint.make_card(
        backbone=recipe.backbone,
        class_names=data.CLASS_NAMES,
        preprocessing={
            "size": recipe.size,
            "resize": "squeezed to size × size, bilinear, antialiased",
            "channels": len(normalise.mean),
            "mean": list(normalise.mean),
            "std": list(normalise.std),
            "grey": "8-bit, transparency over white, scaled to 0…1, repeated to the channels",
        },
        recipe={**asdict(recipe), "loss": "cross-entropy over two logits", "optimizer": "Adam"},
        dataset=data.describe(dataset),
        metrics={"split": "val", "threshold": threshold, "val": found},
        licence=f"training pictures: {', '.join(licences)}",
        epoch=epoch + 1,
        initial_weights=report.as_dict(),
        training={
            "hours": round(seconds / 3600, 4),
            "images_per_second": round(images / max(seconds, 1e-9), 2),
            "device": fabric.device.type,
            "precision": str(fabric._precision.precision),
            "processes": fabric.world_size,
            "threads": torch.get_num_threads(),
        },
    )


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
        write(out, found, result)
    except engine.Unfinished as stopped:
        log.warning("%s", stopped)
        raise typer.Exit(3) from stopped
    except (ValueError, RuntimeError, OSError) as error:
        if not _ours(error):
            raise
        log.error("%s", error)
        raise typer.Exit(1) from error
    log.info("%s: epoch %d chosen, val AUC %s", out, result.card["epoch"], result.card["metrics"]["val"]["auc"])


def _ours(error: Exception) -> bool:
    """Errors whose message is written for the user; anything else is a fault and keeps its traceback."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("models", "covidct")


if __name__ == "__main__":
    app()
