"""Training on labelled pictures: augmented batches, Adam, cosine annealing; val chooses the epoch.

The loop of `finetune` (COVID or not) and of `nodules` (benign or malignant).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from models import data, engine, rotation, weights
from models.engine import Fabric, Hardware
from models.objective import Best, Clock, Objective, Row, freeze, selection_key, trainable, turn_head, validation
from models.recipe import Recipe
from models.training import Reporter, Training, fingerprint_facts, new_network
from models.transforms import Evaluation, random_numbers

log = logging.getLogger(__name__)

SAID = {"train_loss": "loss", "val_loss": "val loss", "val_auc": "AUC"}
"""what the log says of an epoch"""


@dataclass(frozen=True)
class Fit:
    """A trained network with the weights of the epoch that val chose, still on its device."""

    network: nn.Module
    epoch: int
    """the chosen one, from 0"""
    history: list[Row]
    """one row per epoch: lr, train_loss, val_loss, val_auc, val_accuracy"""
    report: weights.LoadReport
    clock: Clock


def fit(
    train: data.Arrays,
    val: data.Arrays,
    classes: int,
    recipe: Recipe,
    plain: Evaluation,
    fabric: Fabric,
    *,
    hardware: Hardware,
    title: str,
    fingerprint: Mapping[str, Any],
    cache: Path | None = None,
    minutes: float = 0.0,
    live: Path | None = None,
) -> Fit:
    """Train one network of ``classes`` classes; val decides as ``recipe.select`` says.

    ``plain`` is the transform of val, whose normalisation training shares. ``title`` names the run on the progress
    bar, ``fingerprint`` recipe and data in the saved state (the device and the initial weights are added here).
    ``cache`` and ``minutes`` as for ``engine.run``; ``live`` as for `Reporter`. Raises EngineError, WeightsError.
    """
    both = len(val.labels.unique()) > 1
    view = recipe.view(plain.normalise)
    if not both:
        chosen = "the last epoch is taken" if recipe.select == "last" else "the lowest val loss chooses the epoch"
        log.warning("%s: val holds one class, so the AUC is undefined and %s", title, chosen)
    network, report = new_network(
        recipe.backbone, classes, recipe.size, recipe.init, recipe.seed, lambda count: plain(train.images[:count])
    )
    objective = Objective(network, recipe.backbone, turn_head(recipe))
    optimizer = torch.optim.Adam(
        trainable(objective, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    compiled = cast(nn.Module, torch.compile(objective)) if hardware.compile else objective
    training = Training(fabric, hardware, compiled, optimizer, recipe.period)
    best, clock = Best(), Clock()
    train = train.to(fabric.device)

    def one_epoch(epoch: int) -> Row:
        numbers = random_numbers(len(train), recipe.seed, epoch).to(fabric.device)
        turns = _turns(recipe, len(train), epoch, fabric.device)

        def loss_of(index: Tensor) -> Tensor:
            inputs = view(train.images[index], train.aspect[index], numbers[index])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            loss: Tensor = training.step(inputs, train.labels[index], None if turns is None else turns[index])
            return loss

        order = data.epoch_order(len(train), recipe.seed, epoch).to(fabric.device)
        name = f"{title} epoch {epoch + 1}/{recipe.epochs}"
        rate, loss = training.epoch(
            data.batches(order, recipe.batch),
            loss_of,
            title=name,
            mode=(lambda _: freeze(objective, recipe.backbone)) if recipe.frozen else nn.Module.train,
        )
        with fabric.autocast():
            scores = engine.probabilities(network, val.images, plain, device=fabric.device)
        row = {"lr": rate, "train_loss": loss, **validation(scores, val.labels, both, name, rate)}
        best.offer(selection_key(row, recipe.select, both, epoch), epoch, network)
        return row

    history = engine.run(
        fabric,
        {
            "objective": objective,
            "optimizer": optimizer,
            "scheduler": training.scheduler,
            "best": best,
            "clock": clock,
        },
        recipe.epochs,
        clock.counted(one_epoch, len(train)),
        folder=cache,
        fingerprint={**fingerprint, "weights": report.sha256, **fingerprint_facts(fabric)},
        seed=recipe.seed,
        minutes=minutes,
        on_epoch=Reporter(title, recipe.epochs, SAID, live),
    )
    network.load_state_dict(best.weights)
    return Fit(network, best.epoch, history, report, clock)


def _turns(recipe: Recipe, count: int, epoch: int, device: torch.device) -> Tensor | None:
    if not recipe.rotation:
        return None
    generator = torch.Generator().manual_seed((recipe.seed << 20) + epoch)
    return rotation.random_turns(count, generator, device)
