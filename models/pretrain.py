"""Stage `pretrain`: unlabelled CT → encoder, by momentum contrast (section III.C, Algorithm 1; settings of IV.E.2).

Reads   ``--luna`` (slices.csv, images/) and ``--dataset`` (training pictures only, labels unused), in the order of
        ``--chain``; ``--init`` for the weights to start from.
Writes  ``--out``: model.safetensors (the query encoder without head, stock torchvision names), card.json, history.csv.
        ``--cache``: the state after each epoch of each set (encoders, queue, optimiser), to resume from.
Guarantees  pictures of val and test patients are seen only with ``--transductive``, which the card then says; the same
        inputs, seed, threads and hardware give the same weights, interrupted or not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import typer

import covidct
from covidct.commands import new_app
from covidct.files import write_text
from models import backbones, checkpoint, data, engine
from models.contrastive import Pretrained, SslRecipe, pretrain
from models.engine import Hardware
from models.errors import guarded
from models.tables import history_text
from models.unlabelled import Unlabelled, UnlabelledError, read_covid, read_luna

log = logging.getLogger(__name__)


def write(out: Path, result: Pretrained) -> None:
    """Write the stage's files."""
    checkpoint.save(out, result.encoder, result.card)
    write_text(out / "history.csv", history_text(result.history))


def read_sets(
    chain: Sequence[str], luna: Path | None, dataset: covidct.Dataset | None, resize: int, *,
    little_lung: bool = False, transductive: bool = False,
) -> list[Unlabelled]:  # fmt: skip
    """The sets a chain names, decoded. Raises UnlabelledError where one is named and not given."""
    found = []
    for name in chain:
        if name == "luna" and luna is not None:
            found.append(read_luna(luna, resize, little_lung=little_lung))
        elif name == "covidct" and dataset is not None:
            found.append(read_covid(dataset, resize, transductive=transductive))
        else:
            option = {"luna": "--luna data/luna", "covidct": "--dataset data/dataset"}.get(name, "a known set")
            raise UnlabelledError(f"chain: {name!r} needs {option}, got none")
    return found


app = new_app()


@app.command()
@guarded
def main(
    out: Path = typer.Option(..., help="folder of the encoder"),
    backbone: str = typer.Option(..., help=", ".join(backbones.BACKBONES)),
    luna: Path | None = typer.Option(None, help="folder of stage luna"),
    dataset: str = typer.Option("", help="folder with records.csv, or a released version"),
    chain: str = typer.Option("luna,covidct", help="sets in order, separated by commas"),
    init: str = typer.Option("random", help="random, imagenet, file:PATH, partial:PATH or encoder:PATH"),
    cache: Path | None = typer.Option(None, help="folder of the resumable state"),
    epochs: int = typer.Option(200, help="per set"),
    seed: int = typer.Option(0, min=0),
    size: int = typer.Option(224, help="side of a view, pixels"),
    resize: int = typer.Option(256, help="side of the stored picture that crops are cut from, pixels"),
    batch: int = typer.Option(128, help="images per step, over all processes"),
    learning_rate: float = typer.Option(0.015),
    sgd_momentum: float = typer.Option(0.9),
    weight_decay: float = typer.Option(1e-4),
    momentum: float = typer.Option(0.999, help="of the key encoder"),
    queue: int = typer.Option(512, help="keys"),
    temperature: float = typer.Option(0.2),
    hidden: int = typer.Option(2048, help="units of the head"),
    dim: int = typer.Option(128, help="length of queries and keys"),
    splits: int = typer.Option(4, help="parts of a batch, over all processes, with batch-norm statistics of their own"),
    mask_same: bool = typer.Option(False, help="no older keys of the same image among the negatives"),
    crop: float = typer.Option(0.2, help="smallest area of a crop, as a share"),
    flip: float = typer.Option(0.5),
    jitter: float = typer.Option(0.4, help="brightness, contrast, saturation"),
    hue: float = typer.Option(0.1),
    grey: float = typer.Option(0.2),
    blur: float = typer.Option(0.5),
    little_lung: bool = typer.Option(False, help="keep LUNA slices with hardly any lung"),
    transductive: bool = typer.Option(
        False, help="also see the pictures of val and test, and take weights that did; marked"
    ),
    luna_licence: str = typer.Option("", help="licence of the slices, for the card"),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    devices: int = typer.Option(1),
    precision: str = typer.Option("auto", help=", ".join(engine.PRECISIONS)),
    minutes: float = typer.Option(0.0, help="stop cleanly after about so many minutes; 0: no limit"),
    live: bool = typer.Option(False, help="write DVCLive metrics per epoch into the cache"),
) -> None:
    """Pretrain one encoder."""
    recipe = SslRecipe(
        backbone, init, tuple(name.strip() for name in chain.split(",") if name.strip()), epochs, seed, size, resize,
        batch, learning_rate, sgd_momentum, weight_decay, momentum, queue, temperature, hidden, dim, splits, mask_same,
        crop, jitter, hue, blur, grey, flip,
    )  # fmt: skip
    recipe.check()
    found = covidct.load(dataset) if dataset else None
    sets = read_sets(recipe.chain, luna, found, resize, little_lung=little_lung, transductive=transductive)
    used = found if "covidct" in recipe.chain else None
    result = pretrain(
        sets,
        recipe,
        about={**(data.describe(used) if used is not None else {}), "transductive": transductive},
        licence=_licence(used, luna_licence if "luna" in recipe.chain else ""),
        hardware=Hardware(accelerator, devices, precision),
        cache=cache,
        minutes=minutes,
        live=cache / "live" if live and cache is not None else None,
    )
    if not result.writes:  # another process of data parallelism does
        return
    write(out, result)
    log.info("%s: %s pretrained on %s", out, backbone, ", ".join(f"{len(part)} {part.name}" for part in sets))


def _licence(dataset: covidct.Dataset | None, luna: str) -> str:
    parts = []
    if dataset is not None:
        named = sorted({value or "not stated" for value in dataset.train.records["licence"]})
        parts.append(f"training pictures: {', '.join(named)}")
    if luna:
        parts.append(f"LUNA slices: {luna}")
    return "; ".join(parts)


if __name__ == "__main__":
    app()
