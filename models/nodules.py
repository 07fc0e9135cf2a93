"""Stage `nodules`: supervised pretraining on lung nodule malignancy, LNM (section III.B, Table IV).

Reads   ``--luna`` (nodules.csv, nodules/: rated nodules), or ``--hdf5`` (the public file of LNM patches).
Writes  ``--out``: model.safetensors, card.json (a classifier benign/malignant; fine-tuning draws its last layer anew),
        history.csv. ``--cache``: the state after each epoch, to resume from.
Guarantees  a subject's nodules are on one side of train and val, where subjects are known, else the card says so; the
        chosen epoch depends on val only; same inputs, seed, threads and hardware, same weights.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path

import torch
import typer
from torch import nn

from covidct.commands import new_app
from covidct.files import write_text
from models import backbones, checkpoint, data, engine, lineage, weights
from models.engine import Hardware
from models.errors import guarded
from models.patches import LNM_NAMES, PatchError, Patches, read_hdf5, read_luna, split
from models.recipe import Recipe
from models.supervised import fit
from models.tables import history_text
from models.training import device_facts
from models.transforms import Evaluation

log = logging.getLogger(__name__)

Outcome = tuple[nn.Module, dict[str, object], list[dict[str, float]]]


def train(
    patches: Patches,
    recipe: Recipe,
    *,
    share: float = 0.2,
    licence: str = "",
    hardware: Hardware = Hardware(),
    cache: Path | None = None,
    minutes: float = 0.0,
    live: Path | None = None,
) -> Outcome:
    """Train one classifier of patches; gives the network of the best epoch, its card and the history.

    ``share``: of the patches, for val. ``live``: folder of DVCLive's metrics (needs dvclive). Raises PatchError,
    EngineError, WeightsError, FineTuneError; what the initial weights saw travels along (lineage.ancestor).
    """
    train_index, val_index = split(patches, share, recipe.seed)
    recipe.check(len(train_index))
    before = lineage.ancestor(recipe.init)
    fabric = engine.open_fabric(hardware, recipe.backbone)
    learned, val = (
        data.Arrays(patches.images[index], torch.ones(len(index)), patches.labels[index])
        for index in (train_index, val_index)
    )
    plain = Evaluation(recipe.size, weights.normalisation(recipe.init, recipe.backbone, learned.images))
    found = fit(
        learned,
        val,
        len(LNM_NAMES),
        recipe,
        plain,
        fabric,
        hardware=hardware,
        title=f"{recipe.backbone} LNM",
        fingerprint={
            "recipe": asdict(recipe),
            "patches": hashlib.sha256(patches.images.numpy().tobytes() + patches.labels.numpy().tobytes()).hexdigest(),
            "share": share,
        },
        cache=cache,
        minutes=minutes,
        live=live,
    )
    chosen = found.history[found.epoch]
    card = checkpoint.make_card(
        backbone=recipe.backbone,
        class_names=LNM_NAMES,
        preprocessing=plain.to_card(),
        recipe={**asdict(recipe), "method": "supervised, benign or malignant nodule", "optimizer": "Adam"},
        dataset={"sets": {"lnm": patches.facts}, "train": len(train_index), "val": len(val_index)},
        metrics={
            "positive": LNM_NAMES[1],
            "split": "val",
            "auc": round(chosen["val_auc"], 4),
            "accuracy": round(chosen["val_accuracy"], 4),
        },
        licence="; ".join([*([licence] if licence else []), *lineage.inherited(recipe.init, before)]),
        epoch=found.epoch + 1,
        initial_weights=found.report.as_dict(),
        training={**found.clock.figures(), **device_facts(fabric)},
        start=before,
    )
    return found.network.to("cpu").eval(), card, found.history


app = new_app()


@app.command()
@guarded
def main(
    out: Path = typer.Option(..., help="folder of the network"),
    backbone: str = typer.Option(..., help=", ".join(backbones.BACKBONES)),
    init: str = typer.Option("random", help="random, imagenet, file:PATH, partial:PATH or encoder:PATH"),
    luna: Path = typer.Option(Path("data/luna"), help="folder of stage luna; used where --hdf5 is empty"),
    hdf5: str = typer.Option("", help="the public LNM patches (all_patches.hdf5)"),
    cache: Path | None = typer.Option(None, help="folder of the resumable state"),
    seed: int = typer.Option(0, min=0),
    size: int = typer.Option(64, help="side of the network's input, pixels"),
    resize: int = typer.Option(72, help="side of the stored patch that crops are cut from, pixels"),
    epochs: int = typer.Option(50),
    batch: int = typer.Option(16),
    learning_rate: float = typer.Option(1e-4),
    weight_decay: float = typer.Option(0.0),
    period: int = typer.Option(10, help="T_max of the cosine annealing, epochs"),
    crop: float = typer.Option(0.5, help="smallest area of a crop, as a share"),
    val_share: float = typer.Option(0.2, help="share of the patches for validation"),
    level: float = typer.Option(-600.0, help="centre of the window for hdf5 patches, HU"),
    width: float = typer.Option(1500.0, min=1, help="width of the window for hdf5 patches, HU"),
    licence: str = typer.Option("", help="licence of the patches, for the card"),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    minutes: float = typer.Option(0.0, help="stop cleanly after about so many minutes; 0: no limit"),
    live: bool = typer.Option(False, help="write DVCLive metrics per epoch into the cache"),
) -> None:
    """Pretrain one network on nodule malignancy."""
    recipe = Recipe(
        backbone=backbone, init=init, seed=seed, size=size, resize=resize, epochs=epochs, batch=batch,
        learning_rate=learning_rate, weight_decay=weight_decay, period=period, crop=crop,
    )  # fmt: skip
    if hdf5 and not Path(hdf5).is_file():
        raise PatchError(f"--hdf5: expected the LNM file all_patches.hdf5, got no file at {hdf5}")
    patches = read_hdf5(Path(hdf5), resize, level, width) if hdf5 else read_luna(luna, resize)
    network, card, history = train(
        patches, recipe, share=val_share, licence=licence, hardware=Hardware(accelerator, 1, precision),
        cache=cache, minutes=minutes, live=cache / "live" if live and cache is not None else None,
    )  # fmt: skip
    checkpoint.save(out, network, card)
    write_text(out / "history.csv", history_text(history))
    log.info("%s: trained on %d patches, val AUC %s", out, len(patches), card["metrics"])


if __name__ == "__main__":
    app()
