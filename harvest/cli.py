"""``covidct harvest``: how far it is, what a run would take, and recipes.

covidct harvest status              listed, selected, have, failed, waiting, stage by stage; also while it runs
    covidct harvest dry-run             list and select as params.yaml says, tell how long it takes; fetch nothing
covidct harvest recipe export …     the figures without their pixels; `restore` makes the same pictures again
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from harvest.errors import HarvestError, SettingError
from harvest.options import guarded, in_words, new_app
from harvest.sample import serve
from harvest.status import Row, status

log = logging.getLogger(__name__)
STAGES = ("preprints", "pmc", "medpix")
app = new_app()
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback()
def about() -> None:
    """Harvest of preprints and negatives: status, dry-run, recipe."""


@app.command("status")
@guarded
def status_command(
    cache: Annotated[Path, typer.Option(help="cache of the harvest stages")] = Path("cache/harvest"),
    data: Annotated[Path, typer.Option(help="folder of the stages' results")] = Path("data"),
) -> None:
    """What was listed, selected, fetched; what failed; what waits."""
    Console().print(table_of(status(cache, data)))
    if not cache.is_dir():
        Console().print(f"{cache}: nothing was harvested here yet; elsewhere: --cache, or the repository's folder")


def table_of(rows: list[Row]) -> Table:
    """The state as people read it."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("stage", "listed", "selected", "have", "excluded", "failed", "waiting", "written", "time left"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for row in rows:
        numbers = (row.listed, row.selected, row.have, row.excluded, row.failed, row.waiting, row.written)
        left = f"≥ {in_words(row.seconds)}" if row.waiting and row.seconds else "–"
        table.add_row(row.stage, *map(str, numbers), left)
    return table


@app.command("dry-run")
@guarded
def dry_run(
    params: Annotated[Path, typer.Option(help="parameters, as dvc reads them")] = Path("params.yaml"),
    cache: Annotated[Path, typer.Option(help="cache of the harvest stages; the real run goes on from it")] = Path(
        "cache/harvest"
    ),
    data: Annotated[Path, typer.Option(help="folder of the stages' results")] = Path("data"),
    corpus: Annotated[Path, typer.Option(help="folder of the drawn corpus (sample profile)")] = Path("data/sample"),
    stage: Annotated[str, typer.Option(help="only this stage: preprints, pmc or medpix")] = "",
) -> None:
    """List and select as params.yaml says, tell how long the polite crawl takes, fetch nothing."""
    if stage and stage not in STAGES:
        raise SettingError(f"--stage: expected {', '.join(STAGES)}, got {stage!r}")
    sections = read_params(params)
    failed = []
    for name in [stage] if stage else STAGES:
        section = sections.get(name)
        if not isinstance(section, dict):
            raise SettingError(f"{params}: expected a section {name}, found none")
        if not section.get("enabled", True):
            log.info("%s: switched off in %s", name, params)
            continue
        command = ["python", "-m", f"harvest.{name}", "--out", str(data / name), "--cache", str(cache), "--dry-run"]
        if serve.main(["--corpus", str(corpus), "--", *command, *words_of(section)]):
            failed.append(name)
    if failed:
        raise HarvestError(f"dry run of {', '.join(failed)}: expected a listing, got the errors above")


def read_params(path: Path) -> dict[str, Any]:
    """The sections of params.yaml. Raises SettingError."""
    yaml = importlib.import_module("yaml")  # only this command reads it, and a harvest alone needs none
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SettingError(
            f"{path}: expected the parameters of the pipeline, got {error}; run it in the folder of the repository, or "
            "give --params"
        ) from error
    if not isinstance(content, dict):
        raise SettingError(f"{path}: expected sections, got {type(content).__name__}")
    return content


def words_of(section: dict[str, Any]) -> Iterator[str]:
    """A section as command-line options, as DVC writes ``${section}``: booleans as flags, lists repeated."""
    for key, value in section.items():
        if isinstance(value, bool):
            yield f"--{key}" if value else f"--no-{key}"
        else:
            for item in value if isinstance(value, list) else [value]:
                yield from (f"--{key}", str(item))


@app.command("recipe", context_settings=_PASSED_ON)
def recipe(context: typer.Context) -> None:
    """Export figures without their pixels, or restore them (covidct harvest recipe --help)."""
    importlib.import_module("harvest.recipe").app(args=list(context.args), prog_name="covidct harvest recipe")


if __name__ == "__main__":
    app()
