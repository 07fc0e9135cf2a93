"""Findings that a person has looked at and lets stand: a reviewed file with reasons, not a flag.

One row of the CSV is one decision: ``finding`` (the id in the JSON and on the page), ``reason``, ``reviewer``. A
finding's id follows its kind and its pictures, so a decision never covers a picture that came later.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from covidct.checks.model import AuditError, Finding

COLUMNS = ("finding", "reason", "reviewer")


def read(path: Path) -> dict[str, str]:
    """Finding id -> "reason (reviewer)". Raises AuditError where a column, id, reason or reviewer is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AuditError(f"{path}: expected a CSV with columns {', '.join(COLUMNS)}, got {error}") from error
    reasons: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
        if missing := [name for name, cell in cells.items() if not cell]:
            raise AuditError(
                f"{path}: line {line}: expected {', '.join(COLUMNS)}, got no {' and no '.join(missing)}; "
                "a suppression needs its reason and who reviewed it"
            )
        if cells["finding"] in reasons:
            raise AuditError(f"{path}: line {line}: {cells['finding']} stands twice; keep one decision")
        reasons[cells["finding"]] = f"{cells['reason']} ({cells['reviewer']})"
    return reasons


def apply(findings: list[Finding], reasons: dict[str, str]) -> tuple[list[Finding], list[str]]:
    """Findings with their suppressions, and the ids in the file that match nothing any more."""
    known = {finding.key for finding in findings}
    done = [replace(f, suppressed=reasons[f.key]) if f.key in reasons else f for f in findings]
    return done, sorted(set(reasons) - known)


def draft(findings: list[Finding]) -> str:
    """A file for a reviewer: one row for each finding that stands, reason and reviewer empty, the evidence beside them.

    As it is `read` refuses it: rows to which nobody gives a reason must be taken out.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, "severity", "evidence"])
    rows.writerows([f.key, "", "", f.severity, f.evidence] for f in findings if not f.suppressed)
    return text.getvalue()
