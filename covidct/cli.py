"""``covidct``: one command for the three users. ``python -m covidct X`` is the same.

Commands that belong to other packages are imported when they run; a missing extra is said in words.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from covidct import download, splits
from covidct.files import PathError, read_json
from covidct.profiles import ProfileError, choose
from covidct.reader import DatasetError, load
from covidct.records import TableError
from covidct.registry import VersionError

log = logging.getLogger(__name__)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="COVID-19 in chest CT: the dataset.",
)
FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
ERRORS = (
    DatasetError,
    TableError,
    PathError,
    ProfileError,
    VersionError,
    download.FetchError,
    splits.SplitError,
    OSError,
)


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
def check(
    version: Annotated[str, typer.Argument(help="version or folder")],
    documents: Annotated[bool, typer.Option("--documents", help="also that no document is in two splits")] = False,
) -> None:
    """Prove that no patient and no picture is in two splits, or list the violations (exit status 1)."""
    try:
        found = load(version)
    except ERRORS as error:
        raise fail(error) from error
    records = found.records
    say().print(splits.proof(records, documents))
    for name, off in splits.deviation(records, found.info.get("ratios") or splits.RATIOS).items():
        say().print(
            f"  {name}: {off['images']:+.1%} of the images, {off['patients']:+.1%} of the patients off its share"
        )
    if splits.check(records, documents):
        raise typer.Exit(1)


@app.command()
def versions(repo: Annotated[str, typer.Option(help="clone or git URL")] = "") -> None:
    """The registered versions, oldest first."""
    try:
        names = download.versions(repo or None)
    except ERRORS as error:
        raise fail(error) from error
    for name in names:
        say().print(name)
    if not names:
        log.warning("no version is registered here; name a repository with --repo")


@app.command()
def fetch(
    version: Annotated[str, typer.Argument(help="a registered version")],
    repo: Annotated[str, typer.Option(help="clone or git URL that registers it")] = "",
    remote: Annotated[str, typer.Option(help="DVC remote: name, folder or URL")] = "",
    source: Annotated[str, typer.Option(help="folder with the pictures of a recipe")] = "",
    partial: Annotated[bool, typer.Option(help="accept a recipe without its pictures")] = False,
) -> None:
    """Download a version into the cache ($COVIDCT_HOME), verify every hash; prints the folder."""
    try:
        folder = download.fetch(version, repo or None, remote or None, source=source or None, partial=partial)
    except ERRORS as error:
        raise fail(error) from error
    say().print(str(folder))


@app.command()
def verify(
    version: Annotated[str, typer.Argument(help="version or folder")],
    repo: Annotated[str, typer.Option(help="clone or git URL that registers it")] = "",
) -> None:
    """Hash every file again; problems are listed (exit status 1). `covidct check` proves the split."""
    local = (Path(version) / "records.csv").is_file()
    try:
        problems = load(Path(version)).verify() if local else download.verify(version, repo or None)
    except ERRORS as error:
        raise fail(error) from error
    for problem in problems:
        say().print(problem)
    if problems:
        again = "fetch the version again, or restore the folder" if local else f"run `covidct fetch {version}`"
        raise fail(f"{version}: not all files are what was released; {again}")
    say().print(f"{version}: every file is what was released")


@app.command()
def release(
    folder: Annotated[Path, typer.Argument(help="a folder of stage dataset")],
    version: Annotated[str, typer.Option(help="v1, v1.2 or <line>-v1")],
    repository: Annotated[Path, typer.Option(help="folder of the clone")] = Path(),
    images: Annotated[str, typer.Option(help="pictures handed on: allowed (by licence), all, none")] = "allowed",
    audit: Annotated[Path | None, typer.Option(help="JSON of `covidct audit`, for the gate")] = None,
    waive: Annotated[str, typer.Option(help="reason to release although the gate says no")] = "",
    reasons: Annotated[Path | None, typer.Option(help="CSV image_id,reason for what leaves test")] = None,
    date: Annotated[str, typer.Option(help="YYYY-MM-DD; default today")] = "",
    track: Annotated[bool, typer.Option("--dvc/--no-dvc", help="dvc add, and artifacts: in dvc.yaml")] = True,
    commit: Annotated[bool, typer.Option(help="commit these files and tag with gto")] = False,
    push: Annotated[bool, typer.Option(help="dvc push to the remote")] = False,
    remote: Annotated[str, typer.Option(help="name of the DVC remote for --push")] = "",
) -> None:
    """Make a numbered version that never changes, registered with git and DVC.

    Writes releases/VERSION (the pictures) and covidct/releases/VERSION (for git); runs dvc add and names the version in
    dvc.yaml unless --no-dvc; --commit commits and tags.
    """
    from covidct import changes, croissant, dvctrack, page
    from covidct import release as releasing

    try:
        wish = releasing.Wish(version, images, audit, waive, releasing.read_reasons(reasons), date)
        facts = releasing.build(folder, repository, wish)
        files = dvctrack.add(repository, facts) if track else []
        tag = dvctrack.commit(repository, facts, files) if track and commit else ""
        if track and push:
            dvctrack.push(repository, facts, remote)
    except ImportError as error:
        raise fail(f"covidct release: {error.name} is missing; pip install 'covidct[release]'") from error
    except (
        *ERRORS,
        releasing.ReleaseError,
        changes.ChangeError,
        croissant.CroissantError,
        dvctrack.TrackError,
        page.PageError,
    ) as error:
        raise fail(error) from error
    say().print(f"{version}: {facts['images']} images, {facts['shipped']} handed on; gate: {facts['gate']}")
    if files and not tag:
        say().print(f"next: git add {' '.join(files)} && git commit, gto register, dvc push (or --commit --push)")


@app.command(context_settings=FORWARD)
def audit(context: typer.Context) -> None:
    """Leakage, contradictions, shortcuts, artifacts of a folder or version -> findings (covidct audit --help)."""
    delegate("covidct.audit", "audit", "audit", list(context.args))


@app.command(context_settings=FORWARD)
def clean(context: typer.Context) -> None:
    """A cleaned version of the 2020 release, every image's change explained (covidct clean --help)."""
    delegate("covidct.clean", "pipeline", "clean", list(context.args))


@app.command(context_settings=FORWARD)
def page(context: typer.Context) -> None:
    """One HTML page with every picture of a dataset, to filter and look through (covidct page --help)."""
    delegate("covidct.page", "release", "page", list(context.args))


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="sample, published or paper")],
    root: Annotated[str, typer.Option(help="folder of the 2020 release")] = "",
    luna: Annotated[str, typer.Option(help="folder of LUNA16 volumes or slices")] = "",
    contact: Annotated[str, typer.Option(help="your e-mail address, which the live services ask for")] = "",
    repository: Annotated[Path, typer.Option(help="folder of the clone")] = Path(),
) -> None:
    """Copy profiles/NAME.yaml over params.yaml, folders and address written in."""
    try:
        target = choose(repository, name, {"root": root, "luna": luna}, contact)
    except ERRORS as error:
        raise fail(error, 2) from error
    say().print(f"{target}: profile {name}; next: make repro")


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
            table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
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
            content = read_json(path)
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
    """serve, push, pull, invite, agreement: curation in Label Studio (covidct label --help)."""
    delegate("curation.label", "curation", "label", list(context.args))


@app.command(context_settings=FORWARD)
def harvest(context: typer.Context) -> None:
    """status, dry-run, recipe: how far the harvest is, what it will take, figures without pixels."""
    delegate("harvest.cli", "harvest", "harvest", list(context.args) or ["--help"])


@app.command(context_settings=FORWARD)
def predict(context: typer.Context) -> None:
    """P(COVID) of pictures by a trained model (covidct predict --help)."""
    delegate("models.predict", "models", "predict", list(context.args))


@app.command(context_settings=FORWARD)
def compare(context: typer.Context) -> None:
    """Two models on the same test patients: the difference with its interval (covidct compare --help)."""
    delegate("models.compare", "models", "compare", list(context.args))


def main() -> None:
    """Entry point of ``covidct`` and ``python -m covidct``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    app()
