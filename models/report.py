"""Stage `report`: everything that was built, trained and measured → one self-contained HTML page and Markdown.

Reads   ``--dataset``, ``--finetune``, ``--evaluate``; where they exist ``--failed`` folders (failed.jsonl), ``--audit``
        (findings.json), ``--gradcam`` (Figure 5).
Writes  ``--out``: index.html (no network, no scripts), report.md, figures/*.svg, results.csv (a row per run and seed).
Guarantees  every figure of ours stands beside its interval and, where the paper has one, beside the paper's; a row of
        the paper that was not run says so; nothing is trained or chosen here; same inputs, same bytes.
"""

from __future__ import annotations

import logging
from pathlib import Path

import typer

import covidct
from covidct.files import write_text
from covidct.reader import DatasetError
from covidct.records import TableError
from models import data, findings, results, sections
from models.page import Section, render

log = logging.getLogger(__name__)


def build(
    dataset: covidct.Dataset,
    evaluate: Path,
    finetune: Path,
    *,
    failed: list[Path] | None = None,
    audit: Path | None = None,
    gradcam: Path | None = None,
) -> tuple[list[Section], list[results.Result]]:
    """All sections, in the paper's order, and the results behind them."""
    split_hash = data.describe(dataset)["split_hash"]
    found, left = results.collect(evaluate, finetune, split_hash)
    groups = results.group(found)
    parts = [
        sections.headline(dataset, groups),
        sections.table_one(dataset),
        sections.table_two(),
        *sections.paper_tables(groups),
        findings.curves(groups),
        findings.beyond(groups),
        findings.compared(groups),
        findings.shortcuts(dataset, groups),
        sections.audited(audit),
        sections.figure_five(gradcam),
        sections.failures(failed or [], left),
    ]
    return [part for part in parts if part is not None], found


def write(out: Path, parts: list[Section], found: list[results.Result], title: str) -> None:
    """Write the stage's files."""
    for part in parts:
        for figure in part.figures:
            if figure.svg:
                write_text(out / "figures" / f"{figure.name}.svg", figure.svg + "\n")
    write_text(out / "results.csv", sections.flat(found))
    write_text(out / "report.md", render(parts, title, "report.md"))
    write_text(out / "index.html", render(parts, title, "report.html"))


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)


@app.command()
def main(
    dataset: Path = typer.Option(..., help="folder with records.csv"),
    evaluate: Path = typer.Option(..., help="folder of the evaluations, one folder per run"),
    finetune: Path = typer.Option(..., help="folder of the classifiers, one folder per run"),
    out: Path = typer.Option(..., help="folder of the report"),
    failed: list[Path] = typer.Option([], help="stage folders whose failed.jsonl is counted"),
    audit: Path | None = typer.Option(None, help="findings.json of the audit"),
    gradcam: Path | None = typer.Option(None, help="folder of Figure 5"),
    title: str = typer.Option("COVID-19 in chest CT"),
) -> None:
    """Write the report."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        parts, found = build(covidct.load(dataset), evaluate, finetune, failed=failed, audit=audit, gradcam=gradcam)
    except (DatasetError, TableError, OSError) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    write(out, parts, found, title)
    log.info("%s: %d runs of %d evaluated", out / "index.html", len(found), len(list(evaluate.glob("*"))))


if __name__ == "__main__":
    app()
