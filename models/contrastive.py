"""Algorithm 1's self-supervised loops: momentum contrast over one or more sets of pictures, resumable to the bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from models import backbones, checkpoint, data, engine, lineage, views, weights
from models.engine import Hardware
from models.moco import MoCo, MoCoError, Processes, check_sizes
from models.objective import Clock
from models.training import Reporter, Training, card_facts, fingerprint_facts, new_network
from models.transforms import Evaluation, Normalise
from models.unlabelled import SETS, Unlabelled, UnlabelledError
from models.views import ViewRecipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SslRecipe:
    """Everything that decides a pretraining besides data and hardware; defaults are the paper's where it states them.

    Not in the paper: epochs, temperature (MoCo v2's 0.2), dimensions of the head's output (MoCo's 128).
    """

    backbone: str
    init: str = "random"
    chain: tuple[str, ...] = ("luna", "covidct")
    """sets in order: LUNA, then COVID-CT (Algorithm 1)"""
    epochs: int = 200
    """per set"""
    seed: int = 0
    size: int = 224
    resize: int = 256
    batch: int = 128
    learning_rate: float = 0.015
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4
    momentum: float = 0.999
    """of the key encoder (Eq. 2)"""
    queue: int = 512
    temperature: float = 0.2
    hidden: int = 2048
    dim: int = 128
    splits: int = 4
    """parts of a batch, over all processes, with batch norm of their own; the paper had 4 GPUs with 32 images each"""
    mask_same: bool = False
    """take older keys of a query's own image out of its negatives"""
    crop: float = 0.2
    jitter: float = 0.4
    hue: float = 0.1
    blur: float = 0.5
    grey: float = 0.2
    flip: float = 0.5

    def check(self) -> None:
        """Raise on names and numbers nothing can be trained with."""
        backbones.describe(self.backbone)
        unknown = [name for name in self.chain if name not in SETS]
        if not self.chain or unknown or len(set(self.chain)) != len(self.chain):
            raise UnlabelledError(
                f"chain: expected sets among {', '.join(SETS)}, each once; got {','.join(self.chain)!r}"
            )
        for name, low in {
            "epochs": 1,
            "size": 23,
            "resize": 23,
            "hidden": 1,
            "dim": 1,
            "splits": 1,
            "batch": 2,
        }.items():
            if getattr(self, name) < low:
                raise MoCoError(f"{name}: expected at least {low}, got {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.temperature > 0:
            raise MoCoError(
                f"learning_rate and temperature: expected more than 0, got {self.learning_rate}, {self.temperature}"
            )
        if not 0 <= self.sgd_momentum < 1:
            raise MoCoError(f"sgd_momentum: expected 0 to less than 1, got {self.sgd_momentum}; the paper uses 0.9")
        if not self.weight_decay >= 0:
            raise MoCoError(f"weight_decay: expected 0 or more, got {self.weight_decay}; the paper uses 1e-4")

    def view(self) -> ViewRecipe:
        """Parameters of the two views."""
        return ViewRecipe(
            size=self.size,
            scale=(self.crop, 1.0),
            flip=self.flip,
            jitter=(self.jitter, self.jitter, self.jitter, self.hue),
            grey=self.grey,
            blur=self.blur,
        )


@dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, its card, and one history row per epoch of each set."""

    encoder: nn.Module
    card: dict[str, Any]
    history: list[dict[str, Any]]
    writes: bool = True
    """False in the other processes of data parallelism"""


def pretrain(
    sets: Sequence[Unlabelled],
    recipe: SslRecipe,
    *,
    about: Mapping[str, Any] | None = None,
    licence: str = "",
    hardware: Hardware = Hardware(),
    cache: Path | None = None,
    minutes: float = 0.0,
    live: Path | None = None,
) -> Pretrained:
    """Algorithm 1's two self-supervised loops over ``sets`` (in the order of ``recipe.chain``).

    ``about`` (dataset version, split hash, transductive) and ``licence`` go into the card. ``cache``: folder of the
    resumable states. ``minutes`` > 0: stop cleanly within about that time with engine.Unfinished. ``live``: folder of
    DVCLive's metrics, one below it for each set (needs dvclive). Raises MoCoError, EngineError, WeightsError, and
    LineageError for initial weights that saw another split of the pictures, unless ``about`` says transductive.
    """
    recipe.check()
    about, marks = dict(about or {}), {}
    if "covidct" in recipe.chain and about.get("split_hash"):
        marks = lineage.check(recipe.init, about, transductive=bool(about.get("transductive")))
    before = lineage.ancestor(recipe.init)
    for part in sets:
        check_sizes(len(part), recipe.batch, recipe.queue)
    fabric = engine.open_fabric(hardware, recipe.backbone)
    if recipe.batch % fabric.world_size:
        raise MoCoError(f"batch: expected a multiple of the {fabric.world_size} processes, got {recipe.batch}")
    normalise = weights.normalisation(recipe.init, recipe.backbone, sets[-1].images)
    plain = Evaluation(recipe.size, normalise)
    network, report = new_network(
        recipe.backbone, None, recipe.size, recipe.init, recipe.seed, lambda count: plain(sets[0].images[:count])
    )
    moco = build_moco(*backbones.features(network, recipe.backbone), recipe, fabric)
    started, clock, seen = time.monotonic(), Clock(), [report.sha256]
    history: list[dict[str, Any]] = []
    for number, part in enumerate(sets):
        seen.append(part.digest)
        left = max(minutes - (time.monotonic() - started) / 60, 0.02) if minutes > 0 else 0.0
        rows = _contrast(
            fabric,
            hardware,
            moco,
            part,
            recipe,
            normalise,
            clock,
            # Pictures of different sets never count as the same
            first_id=sum(len(before) for before in sets[:number]),
            folder=cache / f"{number + 1}-{part.name}" if cache is not None else None,
            fingerprint={
                # What comes later in the chain changes nothing here: chains with the same beginning may share a cache
                "recipe": asdict(replace(recipe, chain=recipe.chain[: number + 1])),
                "seen": list(seen),
                "normalise": asdict(normalise),
                **fingerprint_facts(fabric),
            },
            seed=recipe.seed * len(SETS) + number,
            minutes=left,
            live=live / part.name if live is not None else None,
        )
        history += [{"set": part.name, **row} for row in rows]
    card = checkpoint.make_card(
        kind="encoder",
        backbone=recipe.backbone,
        class_names=(),
        preprocessing=plain.to_card(),
        recipe={
            **asdict(recipe),
            "chain": list(recipe.chain),
            "method": "momentum contrast (MoCo v2), InfoNCE with the temperature in every term",
            "optimizer": "SGD, cosine over each set's epochs",
        },
        dataset={**about, **marks, "sets": {part.name: part.facts for part in sets}},
        metrics={"final_loss": {row["set"]: round(row["loss"], 4) for row in history}},
        licence="; ".join([*([licence] if licence else []), *lineage.inherited(recipe.init, before)]),
        initial_weights=report.as_dict(),
        training=card_facts(fabric, clock),
        start=before,
    )
    return Pretrained(moco.encoder.to("cpu"), card, history, fabric.is_global_zero)


def build_moco(encoder: nn.Module, width: int, recipe: SslRecipe, fabric: engine.Fabric | None = None) -> MoCo:
    """Both encoders, heads and queue of a recipe; the heads are drawn from its seed.

    Several processes share the parts of batch norm: splits is of the whole batch, as if one device had it all.
    """
    world = fabric.world_size if fabric is not None else 1
    if world > 1 and recipe.splits % world:
        log.warning(
            "splits: expected a multiple of the %d processes, got %d: batch norm sees %d parts of a batch",
            world, recipe.splits, world * max(1, recipe.splits // world),
        )  # fmt: skip
    processes = None
    if fabric is not None and world > 1:
        processes = Processes(cast(Callable[[Tensor], Tensor], fabric.all_gather), fabric.global_rank, world)
    with engine.seeded(recipe.seed, 4095):
        return MoCo(
            encoder,
            width,
            queue=recipe.queue,
            momentum=recipe.momentum,
            temperature=recipe.temperature,
            hidden=recipe.hidden,
            dim=recipe.dim,
            splits=max(1, recipe.splits // world),
            mask_same=recipe.mask_same,
            generator=torch.Generator().manual_seed(recipe.seed),
            processes=processes,
        )


def _contrast(
    fabric: engine.Fabric,
    hardware: Hardware,
    moco: MoCo,
    part: Unlabelled,
    recipe: SslRecipe,
    normalise: Normalise,
    clock: Clock,
    *,
    first_id: int,
    folder: Path | None,
    fingerprint: dict[str, Any],
    seed: int,
    minutes: float,
    live: Path | None,
) -> list[dict[str, float]]:
    """One set's loop. The encoders and the queue go on from the set before, optimiser and schedule start anew."""
    optimizer = torch.optim.SGD(
        moco.query.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.sgd_momentum,
        weight_decay=recipe.weight_decay,
    )
    training = Training(fabric, hardware, moco, optimizer, recipe.epochs)
    images, aspect, view = part.images.to(fabric.device), part.aspect.to(fabric.device), recipe.view()
    last: dict[str, Tensor] = {}

    def step_done() -> None:
        moco.step_done(last["keys"], last["ids"])

    def one_epoch(epoch: int) -> dict[str, float]:
        numbers = views.random_numbers(len(part), seed, epoch).to(fabric.device)
        # The engine seeded this epoch's generator, of each process differently: the order of all is the first's
        shared = engine.generator(seed, epoch) if fabric.world_size > 1 else None

        def loss_of(index: Tensor) -> Tensor:
            query, key = views.two_views(images[index], aspect[index], numbers[index], view, normalise)
            order = torch.randperm(len(index) * fabric.world_size, generator=shared).to(fabric.device)
            query, key = (v.contiguous(memory_format=torch.channels_last) for v in (query, key))
            loss, keys = training.step(query, key, index + first_id, order)
            last.update(keys=keys, ids=index + first_id)
            return loss

        full = data.epoch_order(len(part), seed, epoch).to(fabric.device)
        steps = [index for index in full.split(recipe.batch) if len(index) == recipe.batch]
        title = f"{recipe.backbone} {part.name} epoch {epoch + 1}/{recipe.epochs}"
        rate, loss = training.epoch(steps, loss_of, title=title, after_step=step_done)
        return {"lr": rate, "loss": loss}

    parts = {"moco": moco, "optimizer": optimizer, "scheduler": training.scheduler, "clock": clock}
    return engine.run(
        fabric,
        parts,
        recipe.epochs,
        clock.counted(one_epoch, len(part) // recipe.batch * recipe.batch),
        folder=folder,
        fingerprint=fingerprint,
        seed=seed,
        minutes=minutes,
        on_epoch=Reporter(f"{recipe.backbone} {part.name}", recipe.epochs, {"loss": "loss"}, live),
    )
