"""Experiments as data: every row of Tables III–VII, the run that produces it, and the paper's figures for it.

A *row* is a line of a table (``table6/densenet169/self-trans``), a *run* is what is trained for it
(``densenet169-self-trans``). Several rows may show one run: DenseNet-169 from ImageNet stands in Tables III, IV and V.
A stage key is a run and a seed: ``dvc repro finetune@densenet169-self-trans-0``. Seeds are an axis of encoders, too:
seed 1 of a run begins with an encoder pretrained with seed 1.

    python -m models.experiments list --table table6
    python -m models.experiments run --table table6/resnet50/self-trans     # adds it to params.yaml, then dvc repro
    python -m models.experiments run --table table6 --seeds 0,1,2 --dry-run # what that would add and run
    python -m models.experiments params --table table6 --seeds 0,1,2        # prints the blocks for params.yaml
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from models import settings
from models.backbones import TABLE_2, describe
from models.paper import TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7

PARAMS = Path("params.yaml")
"""where the entries stand that DVC reads"""
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
    seed: int = 0

    @property
    def folder(self) -> str:
        """Where its stage writes it."""
        return f"data/{self.stage}/{self.name}"

    @property
    def section(self) -> str:
        """The section of params.yaml that names it."""
        return {"pretrain": "encoders", "nodules": "lnm"}[self.stage]

    @property
    def item(self) -> dict[str, Any]:
        """Its entry there; what it does not say is the section of its stage."""
        chain = {"chain": ",".join(self.chain)} if self.chain else {}
        return {"backbone": self.backbone, "init": self.init, **chain, **({"seed": self.seed} if self.seed else {})}

    def at(self, seed: int) -> Encoder:
        """The same one made with another seed; of seed 0 the name has no number."""
        return replace(self, name=f"{self.name}-{seed}", seed=seed) if seed else self


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

    def start(self, seed: int) -> str:
        """What DVC watches besides code and data: the seed's encoder, or the module that makes initial weights."""
        return self.encoder.at(seed).folder if self.encoder else "models/weights.py"

    def options(self, seed: int) -> dict[str, Any]:
        """Options of `python -m models.finetune` that differ between runs."""
        return {
            "backbone": self.backbone,
            "init": f"encoder:{self.start(seed)}" if self.encoder else self.init,
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


def rows() -> list[Row]:
    """All rows of Tables III–VII, in the paper's order."""
    found = []
    for backbone in TABLE_2:
        for (kind, title), figures in zip(
            (("random", "Rand."), ("imagenet", "Trans.")), TABLE_3[backbone], strict=True
        ):
            found.append(
                Row(f"table3/{backbone}/{kind}", f"{describe(backbone).title} {title}", *figures, _run(backbone, kind))
            )
    for name, title, kind, accuracy, f1, auc in TABLE_4:
        found.append(Row(f"table4/densenet169/{name}", title, accuracy, f1, auc, _run("densenet169", kind)))
    for table, content in (("table5", TABLE_5), ("table6", TABLE_6), ("table7", TABLE_7)):
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


def needed(chosen: Iterable[Run], seeds: Iterable[int], there: settings.Blocks | None = None) -> settings.Blocks:
    """What params.yaml needs for runs and seeds besides what is ``there``: section → key → entry.

    A run that is there keeps its entry, and with it the encoder it names.
    """
    had = there or {}
    blocks: settings.Blocks = {section: {} for section in settings.SECTIONS}
    for run in chosen:
        for seed in seeds:
            key = f"{run.name}-{seed}"
            entry = {"start": run.start(seed), "options": run.options(seed)}
            if key in had.get("runs", {}):
                entry = had["runs"][key]
            else:
                blocks["runs"][key] = entry
            for encoder in (run.encoder.at(seed), run.encoder) if run.encoder else ():
                if encoder.folder == entry.get("start") and encoder.name not in had.get(encoder.section, {}):
                    blocks[encoder.section][encoder.name] = encoder.item
    return blocks


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
        if not runnable(row.run):
            typer.echo(f"    {why_not(row.run)}")


@app.command("params")
def print_params(table: str = TABLE, seeds: str = SEEDS) -> None:
    """The entries that params.yaml needs for the rows: `runs`, and the `encoders` and `lnm` they begin with."""
    chosen = _chosen(table)
    typer.echo(settings.shown(needed(runs(chosen), _seeds(seeds))), nl=False)
    for row in chosen:
        if not runnable(row.run):
            typer.echo(f"# {row.name}: {why_not(row.run)}")


@app.command("run")
def run_stages(
    table: str = TABLE,
    seeds: str = SEEDS,
    dry_run: bool = typer.Option(False, "--dry-run", help="only say what would be added and run"),
) -> None:
    """Add what params.yaml lacks for the rows, then `dvc repro` of their finetune and evaluate stages."""
    found, wanted = _chosen(table), _seeds(seeds)
    chosen = runs(found)
    for row in found:
        if not runnable(row.run):
            typer.echo(f"{row.name}: {why_not(row.run)}", err=True)
    if not chosen:
        raise typer.Exit(1)
    try:
        new = needed(chosen, wanted, settings.read(PARAMS)[1])
        if text := settings.shown(new):
            if not dry_run:
                settings.add(PARAMS, new)
            typer.echo(f"{PARAMS}: {'would be added' if dry_run else 'added'}\n{text}", nl=False)
    except (settings.SettingsError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    targets = [f"{stage}@{run.name}-{seed}" for run in chosen for seed in wanted for stage in ("finetune", "evaluate")]
    dvc = Path(sys.executable).with_name("dvc")
    command = [str(dvc) if dvc.is_file() else "dvc", "repro", "--keep-going", *targets]
    if dry_run:
        typer.echo(f"would run: dvc {' '.join(command[1:])}")
        return
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except FileNotFoundError as error:
        typer.echo("dvc: expected the command, got none; pip install 'covidct[pipeline]'", err=True)
        raise typer.Exit(1) from error


def _chosen(table: str) -> list[Row]:
    try:
        return choose(table)
    except ExperimentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _seeds(text: str) -> list[int]:
    values = [value.strip() for value in text.split(",")]
    if not all(value.isascii() and value.isdigit() for value in values):
        typer.echo(f"seeds: expected whole numbers such as 0,1,2, got {text!r}", err=True)
        raise typer.Exit(2)
    return list(dict.fromkeys(int(value) for value in values))


if __name__ == "__main__":
    app()
