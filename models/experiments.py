"""Experiments as data: every row of Tables III–VII, the run that produces it, and the paper's figures for it.

A *row* is a line of a table (``table6/densenet169/self-trans``), a *run* is what is trained for it
(``densenet169-self-trans``). Several rows may show one run: DenseNet-169 from ImageNet stands in Tables III, IV and V.
A stage key is a run and a seed: ``dvc repro finetune@densenet169-self-trans-0``.

    python -m models.experiments list --table table6
    python -m models.experiments params --table table6 --seeds 0,1,2    # the blocks for params.yaml
    python -m models.experiments run --table table6 --seeds 0           # dvc repro of the stages that params.yaml has
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from models.backbones import TABLE_2, describe

log = logging.getLogger(__name__)

NO_IMAGENET = {"crnet"}
"""networks for which nobody published ImageNet weights; the rows say 'not run' unless such a file is given"""


class ExperimentError(ValueError):
    """An unknown table, row or run: lists what there is."""


@dataclass(frozen=True)
class Encoder:
    """Weights that a run starts from, made by `pretrain` (chain of SSL sets) or `nodules` (LNM)."""

    name: str
    backbone: str
    init: str
    """where the chain starts: random or imagenet"""
    chain: tuple[str, ...] = ()
    """unlabelled sets in order: luna, covidct (the dataset's train split)"""
    stage: str = "pretrain"

    @property
    def folder(self) -> str:
        """Where its stage writes it."""
        return f"data/{self.stage}/{self.name}"


@dataclass(frozen=True)
class Run:
    """One training recipe; what it does not say is the section `finetune` of params.yaml."""

    name: str
    backbone: str
    init: str = "random"
    """random or imagenet, where no encoder is named"""
    encoder: Encoder | None = None
    frozen: bool = False
    rotation: bool = False

    @property
    def start(self) -> str:
        """What DVC watches besides code and data: the encoder, or the module that makes initial weights."""
        return self.encoder.folder if self.encoder else "models/weights.py"

    def options(self, seed: int) -> dict[str, Any]:
        """Options of `python -m models.finetune` that differ between runs."""
        return {
            "backbone": self.backbone,
            "init": f"encoder:{self.encoder.folder}" if self.encoder else self.init,
            "frozen": self.frozen,
            "rotation": self.rotation,
            "seed": seed,
        }


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, its title there, the paper's accuracy, F1 and AUC, and the run behind it."""

    name: str
    title: str
    accuracy: float
    f1: float
    auc: float
    run: Run

    @property
    def table(self) -> str:
        return self.name.split("/")[0]


def _run(backbone: str, kind: str) -> Run:
    """The run ``<backbone>-<kind>``."""
    name = f"{backbone}-{kind}"

    def encoder(init: str, *chain: str) -> Encoder:
        return Encoder("-".join((backbone, init, *chain)), backbone, init, chain)

    makers = {
        "random": lambda: Run(name, backbone),
        "imagenet": lambda: Run(name, backbone, "imagenet"),
        "rotation": lambda: Run(name, backbone, "imagenet", rotation=True),
        "lnm": lambda: Run(name, backbone, encoder=Encoder(f"{backbone}-random", backbone, "random", (), "nodules")),
        "imagenet-lnm": lambda: Run(
            name, backbone, encoder=Encoder(f"{backbone}-imagenet", backbone, "imagenet", (), "nodules")
        ),
        "ssl-random-covidct": lambda: Run(name, backbone, encoder=encoder("random", "covidct")),
        "ssl-covidct": lambda: Run(name, backbone, encoder=encoder("imagenet", "covidct")),
        "ssl-covidct-frozen": lambda: Run(name, backbone, encoder=encoder("imagenet", "covidct"), frozen=True),
        "ssl-luna": lambda: Run(name, backbone, encoder=encoder("imagenet", "luna")),
        "self-trans": lambda: Run(name, backbone, encoder=encoder("imagenet", "luna", "covidct")),
    }
    return makers[kind]()


# Table III: accuracy, F1, AUC for random and for ImageNet weights
_TABLE_3 = {
    "vgg16": ((0.66, 0.58, 0.74), (0.76, 0.76, 0.82)),
    "resnet18": ((0.67, 0.66, 0.76), (0.74, 0.73, 0.82)),
    "resnet50": ((0.69, 0.72, 0.76), (0.80, 0.81, 0.88)),
    "densenet121": ((0.76, 0.77, 0.82), (0.79, 0.79, 0.88)),
    "densenet169": ((0.80, 0.79, 0.86), (0.83, 0.81, 0.87)),
    "efficientnet_b0": ((0.72, 0.71, 0.76), (0.77, 0.78, 0.89)),
    "efficientnet_b1": ((0.70, 0.62, 0.77), (0.79, 0.79, 0.84)),
    "crnet": ((0.72, 0.76, 0.77), (0.73, 0.76, 0.79)),
}
# Tables IV–VII: (row, title, run, accuracy, F1, AUC) by backbone
_TABLE_4 = (
    ("random", "Random Initialization", "random", 0.80, 0.79, 0.86),
    ("imagenet", "Pretrain on ImageNet", "imagenet", 0.83, 0.81, 0.87),
    ("lnm", "Pretrain on LNM", "lnm", 0.80, 0.82, 0.87),
    ("imagenet-lnm", "Pretrain first on ImageNet, then on LNM", "imagenet-lnm", 0.81, 0.82, 0.89),
)
_TABLE_5 = {
    "resnet50": (
        ("trans", "Trans", "imagenet", 0.80, 0.81, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.84, 0.83, 0.91),
    ),
    "densenet169": (
        ("trans", "Trans", "imagenet", 0.83, 0.81, 0.87),
        ("self-trans", "Self-Trans", "self-trans", 0.86, 0.85, 0.94),
    ),
}
_TABLE_6 = {
    "resnet50": (
        ("method1", "Method 1", "ssl-random-covidct", 0.69, 0.63, 0.66),
        ("method2", "Method 2", "ssl-covidct", 0.83, 0.83, 0.91),
        ("method3", "Method 3", "ssl-luna", 0.75, 0.78, 0.85),
        ("method4", "Method 4", "rotation", 0.81, 0.81, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.84, 0.83, 0.91),
    ),
    "densenet169": (
        ("method1", "Method 1", "ssl-random-covidct", 0.70, 0.63, 0.77),
        ("method2", "Method 2", "ssl-covidct", 0.86, 0.85, 0.91),
        ("method3", "Method 3", "ssl-luna", 0.74, 0.76, 0.86),
        ("method4", "Method 4", "rotation", 0.83, 0.82, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.86, 0.85, 0.94),
    ),
}
# Its unfrozen rows are Method 2 of Table VI (SSL without LUNA), not Self-Trans
_TABLE_7 = {
    "resnet50": (
        ("frozen", "Frozen", "ssl-covidct-frozen", 0.70, 0.63, 0.77),
        ("unfrozen", "Unfrozen", "ssl-covidct", 0.83, 0.83, 0.91),
    ),
    "densenet169": (
        ("frozen", "Frozen", "ssl-covidct-frozen", 0.79, 0.77, 0.83),
        ("unfrozen", "Unfrozen", "ssl-covidct", 0.86, 0.85, 0.91),
    ),
}


def rows() -> list[Row]:
    """All rows of Tables III–VII, in the paper's order."""
    found = []
    for backbone in TABLE_2:
        for (kind, title), figures in zip(
            (("random", "Rand."), ("imagenet", "Trans.")), _TABLE_3[backbone], strict=True
        ):
            found.append(
                Row(f"table3/{backbone}/{kind}", f"{describe(backbone).title} {title}", *figures, _run(backbone, kind))
            )
    for name, title, kind, accuracy, f1, auc in _TABLE_4:
        found.append(Row(f"table4/densenet169/{name}", title, accuracy, f1, auc, _run("densenet169", kind)))
    for table, content in (("table5", _TABLE_5), ("table6", _TABLE_6), ("table7", _TABLE_7)):
        for backbone, lines in content.items():
            for name, title, kind, accuracy, f1, auc in lines:
                shown = f"{describe(backbone).title} ({title})"
                found.append(Row(f"{table}/{backbone}/{name}", shown, accuracy, f1, auc, _run(backbone, kind)))
    return found


def choose(pattern: str = "") -> list[Row]:
    """Rows whose name is ``pattern`` or starts with it (``table6``, ``table6/resnet50``); raises ExperimentError."""
    found = [row for row in rows() if not pattern or row.name == pattern or row.name.startswith(f"{pattern}/")]
    if not found:
        raise ExperimentError(f"{pattern!r}: expected a table or row, one of {', '.join(row.name for row in rows())}")
    return found


def runs(chosen: Iterable[Row]) -> list[Run]:
    """The runs behind rows, each once; those without initial weights to be had are left out."""
    unique = {row.run.name: row.run for row in chosen if runnable(row.run)}
    return list(unique.values())


def runnable(run: Run) -> bool:
    """False for CRNet from ImageNet: there are no such weights to download (see `why_not`)."""
    return not (run.backbone in NO_IMAGENET and run.init == "imagenet" and run.encoder is None)


def why_not(run: Run) -> str:
    """What a table says of a run that cannot be made from downloads alone."""
    title, folder = describe(run.backbone).title, f"data/imagenet/{run.backbone}"
    return (
        f"not run: there are no ImageNet weights for {title}; train them: python -m models.imagenet --images "
        f"ILSVRC2012/train --out {folder} --backbone {run.backbone}, then: python -m models.finetune --dataset "
        f"data/dataset --out data/finetune/{run.name}-0 --backbone {run.backbone} --init encoder:{folder}"
    )


def params(chosen: Iterable[Run], seeds: Iterable[int]) -> dict[str, dict[str, Any]]:
    """The section ``runs`` of params.yaml: stage key → start and options."""
    return {
        f"{run.name}-{seed}": {"start": run.start, "options": run.options(seed)} for run in chosen for seed in seeds
    }


def encoders(chosen: Iterable[Run]) -> list[Encoder]:
    """The encoders that runs start from, each once."""
    return list({run.encoder.folder: run.encoder for run in chosen if run.encoder}.values())


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
TABLE = typer.Option("", help="a table (table3 … table7) or the beginning of a row's name; empty: all")
SEEDS = typer.Option("0", help="comma-separated")


@app.command("list")
def list_rows(table: str = TABLE) -> None:
    """Rows, their runs and the paper's figures."""
    for row in _chosen(table):
        typer.echo(
            f"{row.name:34} {row.run.name:32} paper: accuracy {row.accuracy:.2f}  F1 {row.f1:.2f}  AUC {row.auc:.2f}"
        )


@app.command("params")
def print_params(table: str = TABLE, seeds: str = SEEDS) -> None:
    """The block `runs` for params.yaml, and the encoders it needs from `pretrain` and `nodules`."""
    chosen = runs(_chosen(table))
    typer.echo("runs:")
    for key, item in params(chosen, _seeds(seeds)).items():
        values = ", ".join(f"{name}: {_plain(value)}" for name, value in item["options"].items())
        typer.echo(f"  {key}: {{start: {item['start']}, options: {{{values}}}}}")
    for encoder in encoders(chosen):
        typer.echo(
            f"# needs {encoder.folder}: {encoder.backbone} from {encoder.init}, {' → '.join(encoder.chain) or 'LNM'}"
        )


@app.command("run")
def run_stages(table: str = TABLE, seeds: str = SEEDS) -> None:
    """`dvc repro` of finetune and evaluate for the rows; they must be in params.yaml (section runs)."""
    keys = params(runs(_chosen(table)), _seeds(seeds))
    targets = [f"{stage}@{key}" for key in keys for stage in ("finetune", "evaluate")]
    dvc = Path(sys.executable).with_name("dvc")
    command = [str(dvc) if dvc.is_file() else "dvc", "repro", "--keep-going", *targets]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _chosen(table: str) -> list[Row]:
    try:
        return choose(table)
    except ExperimentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _seeds(text: str) -> list[int]:
    try:
        return [int(value) for value in text.split(",")]
    except ValueError as error:
        typer.echo(f"seeds: expected whole numbers such as 0,1,2, got {text!r}", err=True)
        raise typer.Exit(2) from error


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if ":" in str(value) else str(value)


if __name__ == "__main__":
    app()
