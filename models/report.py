"""Stage `report`: everything that was built, trained and measured → one self-contained HTML page and Markdown.

Reads   ``--dataset``, ``--finetune``, ``--evaluate``; where they exist ``--failed`` folders (their records and
        failed.jsonl), ``--audit`` (findings.json), ``--gradcam`` (Figure 5, metrics.json).
Writes  ``--out``: index.html (no network, no scripts), report.md, figures/, results.csv (a row per run and seed).
Guarantees  every figure of ours stands beside its interval and, where the paper has one, beside the paper's; a row of
        the paper that was not run says so; nothing is trained or chosen here; same inputs, same bytes.
"""

from __future__ import annotations

import logging
from pathlib import Path

import typer

import covidct
from covidct.commands import new_app
from covidct.files import write_bytes, write_text
from models import caveats, data, findings, results, sections
from models.errors import guarded
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
    note: str = "",
) -> tuple[list[Section], list[results.Result]]:
    """All sections, in the paper's order, and the results behind them. ``note``: why settings are not the paper's."""
    split_hash = data.describe(dataset)["split_hash"]
    found, left = results.collect(evaluate, finetune, split_hash)
    groups = results.group(found)
    checked = caveats.read_json(audit)
    parts = [
        sections.headline(dataset, groups, checked.get("metrics", {})),
        sections.table_one(dataset),
        sections.table_two(),
        *sections.paper_tables(dataset, groups, note),
        caveats.figure_five(gradcam),
        findings.curves(groups),
        findings.compared(groups),
        findings.beyond(groups),
        findings.encoders(groups),
        caveats.shortcuts(checked, groups),
        caveats.audited(checked),
        caveats.failures(failed or [], left),
    ]
    return [part for part in parts if part is not None], found


def write(out: Path, parts: list[Section], found: list[results.Result], title: str) -> None:
    """Write the stage's files."""
    for part in parts:
        for figure in part.figures:
            write_bytes(out / "figures" / figure.file, figure.content)
    write_text(out / "results.csv", sections.flat(found))
    write_text(out / "report.md", render(parts, title, "report.md"))
    write_text(out / "index.html", render(parts, title, "report.html"))


app = new_app()


@app.command()
@guarded
def main(
    dataset: Path = typer.Option(..., help="folder with records.csv"),
    evaluate: Path = typer.Option(..., help="folder of the evaluations, one folder per run"),
    finetune: Path = typer.Option(..., help="folder of the classifiers, one folder per run"),
    out: Path = typer.Option(..., help="folder of the report"),
    failed: list[Path] = typer.Option([], help="stage folders whose failed.jsonl is counted"),
    audit: Path | None = typer.Option(None, help="findings.json of the audit"),
    gradcam: Path | None = typer.Option(None, help="folder of Figure 5"),
    title: str = typer.Option("COVID-19 in chest CT", help="heading of the page"),
    note: str = typer.Option("", help="why the settings differ from the paper's"),
) -> None:
    """Write the report."""
    parts, found = build(
        covidct.load(dataset), evaluate, finetune, failed=failed, audit=audit, gradcam=gradcam, note=note
    )
    write(out, parts, found, title)
    log.info("%s: %d runs of %d evaluated", out / "index.html", len(found), len(list(evaluate.glob("*"))))


if __name__ == "__main__":
    app()
