"""``covidct``: one command for the three users. ``python -m covidct X`` is the same.

Commands that belong to other packages are imported when they run; a missing extra is said in words.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from covidct import splits
from covidct.files import PathError
from covidct.profiles import ProfileError, choose
from covidct.reader import DatasetError, load
from covidct.records import TableError

log = logging.getLogger(__name__)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="COVID-19 in chest CT: the dataset.",
)
FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
ERRORS = (DatasetError, TableError, PathError, ProfileError, splits.SplitError, OSError)


def say() -> Console:
    """Where answers go; messages and errors go to the log on stderr."""
    return Console(soft_wrap=True, highlight=False, markup=False)


def fail(error: object, code: int = 1) -> typer.Exit:
    """One clear message on stderr and the exit status to raise."""
    log.error("%s", error)
    return typer.Exit(code)


def delegate(module: str, extra: str, name: str, args: list[str], target: str = "app") -> None:
    """Run another module's command line under the name ``covidct <name>``; a missing extra is an error in words."""
    try:
        found = getattr(importlib.import_module(module), target)
    except ImportError as error:
        missing = error.name or str(error)
        if missing == module or missing == module.split(".")[0]:
            raise fail(
                f"covidct {name}: needs {module}, which this installation lacks; install from a clone"
            ) from error
        raise fail(f"covidct {name}: {missing} is missing; pip install 'covidct[{extra}]'") from error
    found(args=args, prog_name=f"covidct {name}")


@app.command()
def info(version: Annotated[str, typer.Argument(help="version or folder")] = "") -> None:
    """Counts per split and class, sources, licences, and where data and paper disagree."""
    try:
        found = load(version or None)
    except ERRORS as error:
        raise fail(error) from error
    console = say()
    console.print(str(found))
    for row in found.info.get("paper_disagrees", []):
        console.print(f"paper, {row['where']}: {row['what']} {row['paper']}; here {row['here']}")
    if found.schemes:
        console.print(f"schemes: {', '.join(found.schemes)}")


@app.command()
def check(version: Annotated[str, typer.Argument(help="version or folder")], documents: bool = False) -> None:
    """Prove that no patient and no picture is in two splits, or list the violations (exit status 1)."""
    try:
        records = load(version).records
    except ERRORS as error:
        raise fail(error) from error
    say().print(splits.proof(records, documents))
    if splits.check(records, documents):
        raise typer.Exit(1)


@app.command(context_settings=FORWARD)
def audit(context: typer.Context) -> None:
    """Leakage, contradictions, shortcuts, artifacts of a folder or version -> findings (covidct audit --help)."""
    delegate("covidct.audit", "audit", "audit", list(context.args))


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="sample, published or paper")],
    root: Annotated[str, typer.Option(help="folder of the 2020 release")] = "",
    luna: Annotated[str, typer.Option(help="folder of LUNA16 volumes or slices")] = "",
    repository: Annotated[Path, typer.Option(help="folder of the clone")] = Path(),
) -> None:
    """Copy profiles/NAME.yaml over params.yaml, folders written in."""
    try:
        target = choose(repository, name, {"root": root, "luna": luna})
    except ERRORS as error:
        raise fail(error, 2) from error
    say().print(f"{target}: profile {name}; next: dvc repro")


@app.command()
def report(
    data: Annotated[Path, typer.Option(help="folder of the pipeline's outputs")] = Path("data"),
) -> None:
    """Where the report is, and the headline table of every evaluated model."""
    console = say()
    rows = list(headline(data))
    if rows:
        table = Table(title="test set, positive class COVID, 95 % intervals over patients", title_justify="left")
        for column in ("model", "images", "AUC", "accuracy", "F1"):
            table.add_column(column, justify="left" if column == "model" else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    page = data / "report" / "index.html"
    if not page.is_file() and not rows:
        raise fail(f"{page}: no report and no evaluated model here yet; run `make repro`")
    console.print(f"report: {page}" if page.is_file() else f"report: none yet at {page}; run `dvc repro report`")


def headline(data: Path) -> list[tuple[str, ...]]:
    """Rows model, images, AUC, accuracy, F1 of every ``evaluate/*/metrics.json``; a damaged file is said and passed."""
    rows = []
    for path in sorted((data / "evaluate").glob("*/metrics.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found: dict[str, Any] = content["test"]["at_half"]
            cells = [_cell(found, name) for name in ("auc", "accuracy", "f1")]
            rows.append((path.parent.name, str(found["images"]), *cells))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s: expected the metrics of a model, got %s; run `dvc repro evaluate`", path, error)
    return rows


def _cell(found: dict[str, Any], name: str) -> str:
    if found[name] is None:
        return "undefined"
    low, high = found["intervals"][name]
    return f"{found[name]:.2f}" + ("" if low is None else f" ({low:.2f}–{high:.2f})")


@app.command(context_settings=FORWARD)
def label(context: typer.Context) -> None:
    """serve, push, pull, agreement: curation in Label Studio (covidct label --help)."""
    delegate("curation.labelstudio", "curation", "label", list(context.args))


@app.command(context_settings=FORWARD)
def harvest(context: typer.Context) -> None:
    """status: what the harvest has fetched so far (covidct harvest status)."""
    args = list(context.args)
    if not args or args[0] != "status":
        raise fail(f"covidct harvest: expected `status`, got {' '.join(args) or 'nothing'}", 2)
    delegate("harvest.status", "harvest", "harvest status", args[1:])


@app.command(context_settings=FORWARD)
def predict(context: typer.Context) -> None:
    """P(COVID) of pictures by a trained model (covidct predict --help)."""
    delegate("models.predict", "models", "predict", list(context.args))


def main() -> None:
    """Entry point of ``covidct`` and ``python -m covidct``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    app()
