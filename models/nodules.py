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
import time
from dataclasses import asdict
from pathlib import Path

import torch
import typer
from torch import Tensor, nn

from covidct.files import write_text
from models import backbones, checkpoint, data, engine, weights
from models.engine import Hardware
from models.finetune import table
from models.objective import Best, Clock, Objective, selection_key, trainable, validation
from models.patches import LNM_NAMES, PatchError, Patches, read_hdf5, read_luna, split
from models.recipe import Recipe
from models.transforms import Evaluation, FineTuning, random_numbers

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
) -> Outcome:
    """Train one classifier of patches; gives the network of the best epoch, its card and the history.

    ``share``: of the patches, for val. Raises PatchError, EngineError, WeightsError, FineTuneError.
    """
    train_index, val_index = split(patches, share, recipe.seed)
    recipe.check(len(train_index))
    fabric = engine.open_fabric(hardware, recipe.backbone)
    images, labels = patches.images[train_index].to(fabric.device), patches.labels[train_index].to(fabric.device)
    val_images, val_labels = patches.images[val_index], patches.labels[val_index]
    normalise = weights.normalisation(recipe.init, recipe.backbone, images)
    view = FineTuning(
        recipe.size, normalise, (recipe.crop, 1.0), flip=recipe.flip, brightness=recipe.brightness,
        contrast=recipe.contrast,
    )  # fmt: skip
    plain = Evaluation(recipe.size, normalise)
    with engine.seeded(recipe.seed, 0):
        network = backbones.build(recipe.backbone, len(LNM_NAMES), size=recipe.size)
    report = weights.initialise(network, recipe.backbone, recipe.init, seed=recipe.seed, batch=plain(images[:64].cpu()))
    network = engine.channels_last(network)
    objective = Objective(network, recipe.backbone, None)
    optimizer = torch.optim.Adam(
        trainable(objective, recipe), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.period)
    best, clock = Best(), Clock()
    wrapped, fabric_optimizer = fabric.setup(objective, optimizer)
    step = engine.step_of(fabric, wrapped, hardware)
    aspect = torch.ones(len(labels), device=fabric.device)

    def one_epoch(epoch: int) -> dict[str, float]:
        begin = time.monotonic()
        numbers = random_numbers(len(labels), recipe.seed, epoch).to(fabric.device)

        def loss_of(index: Tensor) -> Tensor:
            index = index.to(fabric.device)
            inputs = view(images[index], aspect[index], numbers[index])
            loss: Tensor = step(inputs.contiguous(memory_format=torch.channels_last), labels[index])
            return loss

        rate = float(scheduler.get_last_lr()[0])
        loss = engine.train_epoch(
            fabric,
            wrapped,
            fabric_optimizer,  # type: ignore[arg-type]
            data.batches(data.epoch_order(len(labels), recipe.seed, epoch), recipe.batch),
            loss_of,
            title=f"{recipe.backbone} LNM epoch {epoch + 1}/{recipe.epochs}",
        )
        scheduler.step()
        with fabric.autocast():
            scores = engine.probabilities(network, val_images, plain, device=fabric.device)
        row = {"lr": rate, "train_loss": loss, **validation(scores, val_labels, both=True)}
        best.offer(selection_key(row, recipe.select, True, epoch), epoch, network)
        clock.add(time.monotonic() - begin, len(labels))
        return row

    history = engine.run(
        fabric,
        {"objective": objective, "optimizer": optimizer, "scheduler": scheduler, "best": best, "clock": clock},
        recipe.epochs,
        one_epoch,
        folder=cache,
        fingerprint={
            "recipe": asdict(recipe),
            "patches": hashlib.sha256(patches.images.numpy().tobytes() + patches.labels.numpy().tobytes()).hexdigest(),
            "share": share,
            "weights": report.sha256,
            "precision": str(fabric._precision.precision),
            "device": fabric.device.type,
            "world": fabric.world_size,
        },
        seed=recipe.seed,
        minutes=minutes,
        on_epoch=lambda epoch, row: log.info(
            "%s LNM epoch %d/%d: loss %.3f, val AUC %.3f",
            recipe.backbone, epoch + 1, recipe.epochs, row["train_loss"], row["val_auc"],
        ),
    )  # fmt: skip
    network.load_state_dict(best.weights)
    chosen = history[best.epoch]
    card = checkpoint.make_card(
        backbone=recipe.backbone,
        class_names=LNM_NAMES,
        preprocessing={
            "size": recipe.size,
            "channels": len(normalise.mean),
            "mean": list(normalise.mean),
            "std": list(normalise.std),
        },
        recipe={**asdict(recipe), "method": "supervised, benign or malignant nodule", "optimizer": "Adam"},
        dataset={"sets": {"lnm": patches.facts}, "train": len(train_index), "val": len(val_index)},
        metrics={
            "positive": LNM_NAMES[1],
            "split": "val",
            "auc": round(chosen["val_auc"], 4),
            "accuracy": round(chosen["val_accuracy"], 4),
        },
        licence=licence,
        epoch=best.epoch + 1,
        initial_weights=report.as_dict(),
        training={**clock.figures(), "device": fabric.device.type, "precision": str(fabric._precision.precision)},
    )
    return network.to("cpu").eval(), card, history


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)


@app.command()
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
) -> None:
    """Pretrain one network on nodule malignancy."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    recipe = Recipe(
        backbone=backbone, init=init, seed=seed, size=size, resize=resize, epochs=epochs, batch=batch,
        learning_rate=learning_rate, weight_decay=weight_decay, period=period, crop=crop,
    )  # fmt: skip
    try:
        if hdf5 and not Path(hdf5).is_file():
            raise PatchError(f"--hdf5: expected the LNM file all_patches.hdf5, got no file at {hdf5}")
        patches = read_hdf5(Path(hdf5), resize, level, width) if hdf5 else read_luna(luna, resize)
        network, card, history = train(
            patches, recipe, share=val_share, licence=licence, hardware=Hardware(accelerator, 1, precision),
            cache=cache, minutes=minutes,
        )  # fmt: skip
        checkpoint.save(out, network, card)
        write_text(out / "history.csv", table([{**row, "epoch": int(row["epoch"]) + 1} for row in history]))
    except engine.Unfinished as stopped:
        log.warning("%s", stopped)
        raise typer.Exit(3) from stopped
    except (ValueError, RuntimeError, OSError) as error:
        if not engine.is_ours(error):
            raise
        log.error("%s", error)
        raise typer.Exit(1) from error
    log.info("%s: trained on %d patches, val AUC %s", out, len(patches), card["metrics"])


if __name__ == "__main__":
    app()
