"""Stage `audit`, and `covidct audit`: what a careful reviewer would find in a folder of pictures, found by itself.

Reads: any folder of pictures, with or without a table and split lists, a dataset of ours, or a registered version.
Writes: findings (JSON: ``findings``, ``metrics``, ``not_checked``), one self-contained HTML page, a table on the
terminal. Guarantees: nothing in the folder is changed; what could not be checked is said, never counted as passed; a
finding is suppressed only by a reviewed file that gives the reason; same input and seed, same findings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from covidct.checks import (
    balance,
    captions,
    container,
    intake,
    page,
    people,
    personal,
    provenance,
    retouched,
    same,
    scans,
    shortcuts,
    suppress,
    views,
)
from covidct.checks.model import KINDS, SEVERITIES, AuditError, Finding, Folder
from covidct.commands import new_app
from covidct.files import write_json, write_text
from covidct.fingerprint import fingerprint

log = logging.getLogger(__name__)
LEVELS = ("error", "warning", "note", "never")
MAX_ITEMS_SHOWN = 2


def audit(
    folder: Folder, reasons: dict[str, str] | None = None, *, ocr: bool = True, jobs: int = -1, seed: int = 0
) -> list[Finding]:
    """All findings about a folder, worst first; numbers go to ``folder.metrics``, gaps to ``folder.not_checked``.

    reasons: finding id -> why it is let stand; ocr: read burned-in text; jobs: threads; seed: of baselines and
    intervals.
    """
    facts, found = container.check(folder)
    pairs = same.search(folder, jobs)
    found += same.check(folder, pairs)
    found += retouched.check(folder, pairs)
    readings = personal.read_all(folder, jobs) if ocr else []
    if ocr:
        private = personal.check(folder, readings)
        found += private
        folder.covered.update(personal.covered(private))
    else:
        folder.not_checked["personal-data"] = "switched off: no picture was read"
    alike = scans.alike(folder, pairs)
    found += scans.check(folder, alike)
    identity, groups = people.check(
        folder, same.same_pairs(pairs), personal.burned(readings), [(p.i, p.j) for p in alike]
    )
    found += identity
    found += captions.check(folder)
    found += views.check(folder)
    found += shortcuts.check(folder, facts, groups, seed)
    found += balance.check(folder)
    found += provenance.check(folder)
    found, stale = suppress.apply([*folder.findings, *found], reasons or {})
    if stale:
        found.append(
            Finding(
                "mismatch",
                "note",
                (),
                f"{len(stale)} suppressions match no finding any more: {', '.join(stale[:5])}",
                "remove their rows, or file them again under the finding's id of today (--draft writes it)",
            )
        )
    return order(found)


def order(findings: list[Finding]) -> list[Finding]:
    """Worst first: severity, then kind, then the order in which they were found; suppressed ones last."""
    return sorted(findings, key=lambda f: (bool(f.suppressed), SEVERITIES.index(f.severity), KINDS.index(f.kind)))


def result(folder: Folder, findings: list[Finding]) -> dict[str, Any]:
    """What the JSON holds; ``dataset`` ties it to these very files, for the gate of `covidct release`."""
    return {
        "layout": folder.layout,
        "images": len(folder.items),
        "dataset": fingerprint(folder.root, {item.path for item in folder.items}),
        "counts": count(findings),
        "findings": [finding.as_dict() for finding in findings],
        "metrics": folder.metrics,
        "not_checked": folder.not_checked,
    }


def count(findings: list[Finding]) -> dict[str, int]:
    """Findings by severity, those let stand apart."""
    standing = [f for f in findings if not f.suppressed]
    counts = {level: sum(f.severity == level for f in standing) for level in SEVERITIES}
    return counts | {"suppressed": len(findings) - len(standing)}


def failing(findings: list[Finding], level: str) -> int:
    """Number of findings that stand at or above a severity (``never``: 0)."""
    if level == "never":
        return 0
    limit = SEVERITIES.index(level)
    return sum(not f.suppressed and SEVERITIES.index(f.severity) <= limit for f in findings)


def locate(name: str) -> Path:
    """The folder meant: a path, or else a registered version, fetched if need be. Raises AuditError."""
    path = Path(name)
    if path.exists() or "/" in name:
        return path
    from covidct import download
    from covidct.registry import VersionError

    try:
        return download.fetch(name)
    except (VersionError, download.FetchError) as error:
        raise AuditError(f"{name}: expected a folder or a registered version; {error}") from error


def table(findings: list[Finding], folder: Folder) -> None:
    """The findings on the terminal, then what was not checked."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    grid = Table(show_lines=False, expand=False)
    for column, style in (("", "bold"), ("kind", ""), ("images", ""), ("evidence", ""), ("e.g.", "dim")):
        grid.add_column(column, style=style, justify="right" if column == "images" else "left", overflow="fold")
    for finding in findings:
        shown = ", ".join(finding.items[:MAX_ITEMS_SHOWN]) + (" ..." if len(finding.items) > MAX_ITEMS_SHOWN else "")
        word = "let stand" if finding.suppressed else finding.severity
        style = {"error": "red", "warning": "yellow"}.get(word, "")
        grid.add_row(word, finding.kind, str(len(finding.items) or ""), finding.evidence, shown, style=style)
    console.print(grid)
    for check, reason in folder.not_checked.items():
        console.print(f"not checked: {check}: {reason}", style="bold")


app = new_app()


@app.command()
def main(
    folder: Annotated[str, typer.Argument(help="folder of pictures, or a registered version")],
    json_file: Annotated[Path | None, typer.Option("--json", help="write findings and metrics here")] = None,
    html: Annotated[Path | None, typer.Option(help="write one self-contained page here")] = None,
    fail_on: Annotated[str, typer.Option(help="exit 1 if such findings stand: error, warning, note, never")] = "never",
    suppressions: Annotated[str, typer.Option(help="CSV finding,reason,reviewer of findings let stand")] = "",
    personal_data: Annotated[bool, typer.Option("--personal/--no-personal", help="read burned-in text")] = True,
    since: Annotated[str, typer.Option(help="first day of the documents' window, YYYY-MM-DD")] = "",
    until: Annotated[str, typer.Option(help="last day of the documents' window")] = "",
    jobs: Annotated[int, typer.Option(help="threads; -1: one per core")] = -1,
    seed: Annotated[int, typer.Option(help="of the baselines and intervals")] = 0,
    draft: Annotated[Path | None, typer.Option(help="write a suppression file to be filled by a reviewer")] = None,
    quiet: Annotated[bool, typer.Option(help="no table on the terminal")] = False,
) -> None:
    """Leakage, contradictions, shortcuts and artifacts of a folder or version -> findings."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if fail_on not in LEVELS:
            raise AuditError(f"--fail-on: expected one of {', '.join(LEVELS)}, got {fail_on!r}")
        reasons = suppress.read(Path(suppressions)) if suppressions else {}
        under = intake.read_folder(locate(folder))
        if since or until:
            under.window = (since, until)
        findings = audit(under, reasons, ocr=personal_data, jobs=jobs, seed=seed)
        if json_file:
            write_json(json_file, result(under, findings))
        if draft:
            write_text(draft, suppress.draft(findings))
        if html:
            write_text(html, page.render(under, findings))
    except (AuditError, OSError) as error:
        log.error("audit: %s", error)
        raise typer.Exit(2) from error
    if not quiet:
        table(findings, under)
    counts = count(findings)
    log.info("audit: %d images: %s", len(under.items), ", ".join(f"{number} {word}" for word, number in counts.items()))
    if number := failing(findings, fail_on):
        log.error("audit: %d findings at level %s or above stand", number, fail_on)
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
