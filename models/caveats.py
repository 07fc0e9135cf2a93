"""Sections of the report on what limits its figures: shortcuts, the audit, where networks look, what was left out."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from models.page import Figure, Section, Table
from models.results import Group

log = logging.getLogger(__name__)

LONGEST = 12
"""reasons of failures that are listed before the rest is counted"""
ORDER = ("error", "warning", "note", "info")
CAPTION = (
    "COVID pictures of test, evenly over its patients; per run Grad-CAM for COVID, scaled to its own maximum, and over "
    "the picture. All blue: nothing speaks for COVID"
)
RECORDS = ("preprints.jsonl", "figures.jsonl", "candidates.jsonl", "slices.csv", "records.csv")
"""files of a stage whose rows are counted"""
SEEN = {
    "container": "how the file was written, no pixel",
    "size": "width, height, aspect",
    "bytes": "bytes and bytes per pixel",
    "border": "the outer 3 pixels",
    "frame": "the outer 12.5 % of the picture",
    "centre": "the inner half of the picture",
    "thumbnail-8": "the picture at 8 × 8 pixels",
    "thumbnail-16": "the picture at 16 × 16 pixels",
    "quality": "grey levels, sharpness, compression",
}
"""what the audit's baselines see (covidct.checks.measures)"""


def read_json(path: Path | None) -> dict[str, Any]:
    """The object in a JSON file; ``{}`` where there is none, or with a warning if it cannot be read."""
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        log.warning("%s: expected JSON, got %s; what it says is left out", path, error)
        return {}
    return found if isinstance(found, dict) else {}


def shortcuts(audit: dict[str, Any], groups: dict[str, Group]) -> Section:
    """What the class can be guessed from without seeing disease, beside the networks."""
    title = "Guessing without disease: shortcut baselines"
    measured = audit.get("metrics", {}).get("shortcuts", {})
    if not measured:
        reason = (
            _reason(audit, "shortcut") or "the audit was not run; dvc repro audit, or covidct audit DIR --json FILE"
        )
        return Section(title, [f"Not checked: {reason}."])
    sources = sorted({name for row in measured.values() for name in row.get("by_source", {})})
    rows = []
    for name, row in measured.items():
        by = [_auc(row["by_source"][source]) if source in row["by_source"] else "–" for source in sources]
        rows.append([name, SEEN.get(name, ""), str(row.get("model", "")), _auc(row), *by])
    rows += [[found.title, "network", "", found.show("auc"), *["–"] * len(sources)] for found in groups.values()]
    scored = audit["metrics"].get("shortcuts_scored", {})
    how = f"Scored on {scored['images']} images of {scored['patients']} patients ({scored['how']}). " if scored else ""
    note = f"{how}Each baseline is a small model of what it sees; a network is worth what it adds to them."
    header = ["", "sees", "model", "AUC", *(f"AUC against {source}" for source in sources)]
    return Section(title, tables=[Table(header, rows, "Baselines and networks on test", note, strong=(3,))])


def _auc(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{float(row['auc']):.2f}" + ("" if low is None else f"\n({low:.2f}–{high:.2f})")


def _reason(audit: dict[str, Any], check: str) -> str:
    missed = audit.get("not_checked", {})
    return str(missed.get(check, "")).rstrip(".") if isinstance(missed, dict) else ""


def audited(audit: dict[str, Any]) -> Section | None:
    """Findings of the audit by kind, with an example, and what was not checked."""
    if not audit:
        return None
    findings = [row for row in audit.get("findings", []) if isinstance(row, dict)]
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in findings:
        kinds.setdefault((str(row.get("severity", "")), str(row.get("kind", ""))), []).append(row)

    def rank(key: tuple[str, str]) -> tuple[int, str]:
        return (ORDER.index(key[0]) if key[0] in ORDER else len(ORDER), key[1])

    rows = [
        [kind, severity, str(len(kinds[severity, kind])), str(kinds[severity, kind][0].get("evidence", ""))]
        for severity, kind in sorted(kinds, key=rank)
    ]
    missed = audit.get("not_checked", {})
    reasons = missed.items() if isinstance(missed, dict) else []
    text = [f"Not checked: {name}: {reason}" for name, reason in reasons]
    if not rows:
        return Section("Audit of the dataset", [*text, "Nothing found."])
    header = ["kind", "severity", "findings", "the first of them"]
    return Section("Audit of the dataset", text, [Table(header, rows, "Findings of covidct audit")])


def figure_five(folder: Path | None) -> Section | None:
    """Heat maps as the stage `gradcam` drew them, and the share of heat inside the lungs."""
    if folder is None or not folder.is_dir():
        return None
    pictures = [Figure(path.stem, CAPTION, png=path.read_bytes(), wide=True) for path in sorted(folder.glob("*.png"))]
    rows = []
    for name, row in read_json(folder / "metrics.json").items():
        run = f"{name} (transductive)" if row.get("transductive") else name
        if not row.get("images"):
            rows.append([run, "0", "undefined", "–"])
            continue
        low, high = row["interval"]
        rows.append([run, str(row["images"]), f"{row['inside']:.2f} ({low:.2f}–{high:.2f})", f"{row['even_heat']:.2f}"])
    note = (
        "Mean over COVID test images with heat and lungs found (by threshold and shape), interval over patients. Heat "
        "spread evenly over the picture would give the last column: a run near or below it does not look at the lungs."
    )
    header = ["run", "images", "share of heat inside the lungs", "if it were even"]
    tables = [Table(header, rows, "Heat inside the lungs", note, strong=(2,))] if rows else []
    if not (pictures or tables):
        return None
    return Section("Where the networks look (Figure 5)", tables=tables, figures=pictures)


def failures(folders: list[Path], left: list[dict[str, str]]) -> Section:
    """What each stage made and what it could not use, with reasons; nothing disappears silently."""
    made, rows = [], []
    for folder in folders:
        lines, damaged = _lines(folder / "failed.jsonl")
        count = _count(folder)
        made.append([folder.name, "–" if count is None else str(count), str(len(lines))])
        reasons = Counter(str(line.get("reason", "")) for line in lines).most_common()
        rows += [[folder.name, str(number_of), reason] for reason, number_of in reasons[:LONGEST]]
        if len(reasons) > LONGEST:
            rest = sum(number_of for _, number_of in reasons[LONGEST:])
            further = f"{len(reasons) - LONGEST} further reasons; see {folder.name}/failed.jsonl"
            rows.append([folder.name, str(rest), further])
        if damaged:
            rows.append([folder.name, str(damaged), "lines of failed.jsonl that cannot be read"])
    rows += [["evaluate", "1", f"{row['item']}: {row['reason']}"] for row in left]
    tables = [Table(["stage", "records", "left out"], made, "What each stage made and left out")] if made else []
    if rows:
        tables.append(Table(["stage", "items", "reason"], rows, "Left out, by reason"))
    return Section("From preprints to images: what was made, what could not be used", tables=tables)


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows of a JSON Lines file, and how many lines could not be read."""
    if not path.is_file():
        return [], 0
    rows, damaged = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged += 1
    return rows, damaged


def _count(folder: Path) -> int | None:
    """Rows of the stage's records; None where there is no such file."""
    import pandas as pd

    for name in RECORDS:
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".jsonl":
            return len(_lines(path)[0])
        try:
            return len(pd.read_csv(path, dtype=str, keep_default_na=False))
        except (ValueError, OSError):
            return 0  # a stage that is switched off may leave a table without a header
    return None
