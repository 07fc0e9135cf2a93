"""Findings that a person has looked at and lets stand: a reviewed file with reasons, not a flag.

One row of the CSV is one decision: ``finding`` (the id in the JSON and on the page), ``reason``, ``reviewer``. A
finding's id follows its kind, severity, pictures and what tells it from others, so a decision never covers a picture
that came later, another finding about the same pictures, or the same one grown worse.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
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
    old = Counter(finding.old_key for finding in findings)
    done, used = [], set()
    for finding in findings:
        key = finding.key
        # an id of an earlier version says neither severity nor which finding: taken where one is meant, never an error
        if key not in reasons and old[finding.old_key] == 1 and finding.severity != "error":
            key = finding.old_key
        used.add(key)
        done.append(replace(finding, suppressed=reasons[key]) if key in reasons else finding)
    return done, sorted(set(reasons) - used)


def draft(findings: list[Finding]) -> str:
    """A file for a reviewer: one row for each finding that stands, reason and reviewer empty, the evidence beside them.

    As it is `read` refuses it: rows to which nobody gives a reason must be taken out.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, "severity", "evidence"])
    standing: dict[str, Finding] = {}
    for finding in findings:
        if not finding.suppressed:
            standing.setdefault(finding.key, finding)  # one row for each id, as `read` wants it
    rows.writerows([f.key, "", "", f.severity, f.evidence] for f in standing.values())
    return text.getvalue()
