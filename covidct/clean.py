"""A cleaned version of the 2020 release, made from the published files: `covidct clean --root DIR --out DIR`.

Reads: the folder of the release, the findings of `covidct audit` on it (run here unless given), reviewed decisions.
Writes: a dataset folder (records.csv, images/, splits/, dataset.json …), and `cleaning.csv`, `CLEANING.md` (what was
done to every image, and why), `reasons.csv` (for `covidct release --reasons`).
Guarantees: every published image appears in cleaning.csv; pixels change only inside the masked boxes; what was in test
stays test, leaves with a reason, and never enters train or val; no patient, picture or document in two splits.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from covidct import cleaning, dataset, joins, pictures, published, splits
from covidct.cleaning import CleanError
from covidct.commands import new_app
from covidct.files import clear_outputs, inside, read_json, sha256_bytes, write_bytes, write_text
from covidct.records import COLUMNS, TableError

log = logging.getLogger(__name__)

RING = 4
"""pixels around a box whose median fills it"""
SCHEME = "cleaned"


def read_findings(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All findings of an audit's JSON, and what it could not check (check -> reason). Raises CleanError.

    Suppressed findings too: a suppression lets a version stand as it is, and this command makes another; a finding
    that is wrong is overruled by a reviewed decision.
    """
    try:
        found = read_json(path)
        rows = found["findings"]
        missed = {str(check): str(reason) for check, reason in dict(found.get("not_checked") or {}).items()}
        for row in rows:
            if not {"kind", "severity", "items", "evidence"} <= set(row) or not isinstance(row["items"], list):
                raise KeyError("kind, severity, items, evidence")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CleanError(
            f"{path}: expected the JSON of `covidct audit`, got {type(error).__name__}: {error}"
        ) from error
    return list(rows), missed


def run_audit(root: Path, target: Path) -> None:
    """`covidct audit` on the release, in a process of its own. Raises CleanError."""
    command = [sys.executable, "-m", "covidct", "audit", str(root), "--json", str(target)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not target.is_file():
        said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CleanError(f"{root}: the audit gave no findings ({said[0]}); run `covidct audit` and give --audit FILE")


def read_decisions(path: Path | None) -> dict[str, tuple[str, str]]:
    """image_id -> (decision, reason) of a CSV with columns image_id, decision, reason. Raises CleanError."""
    if path is None:
        return {}
    if not path.is_file():
        raise CleanError(f"{path}: expected a CSV with columns image_id, decision, reason, got no file")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := {"image_id", "decision", "reason"} - set(rows.columns):
        raise CleanError(f"{path}: expected columns image_id, decision, reason; missing: {', '.join(sorted(missing))}")
    if twice := rows.loc[rows["image_id"].duplicated(), "image_id"].tolist():
        raise CleanError(f"{path}: image {twice[0]!r} is decided twice; keep one row")
    return {str(row.image_id): (str(row.decision), str(row.reason)) for row in rows.itertuples()}


def by_image_id(findings: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """The findings with image ids instead of file names, in items, pairs and boxes."""
    sides = [published.read_side(root, name) for name in ("COVID", "NonCOVID")]
    ids, _ = published.image_ids(sides)
    known: dict[str, str] = {}
    for side in sides:
        for name, path in side.files.items():
            image_id = ids[side.label_name, name]
            known[path.relative_to(root).as_posix()] = image_id
            known.setdefault(name, image_id)
            known.setdefault(joins.stem(name), image_id)

    def named(values: list[str]) -> list[str]:
        return [known.get(value, value) for value in values]

    changed = []
    for row in findings:
        details = dict(row.get("details", {}))
        try:
            if row["kind"] == "redundant":
                details["pairs"] = [{**pair, "items": named(pair["items"])} for pair in details["pairs"]]
            if "boxes" in details:
                details["boxes"] = {known.get(name, name): boxes for name, boxes in details["boxes"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise CleanError(
                f"finding {row.get('id', row['kind'])}: expected details as `covidct audit` writes them, got "
                f"{type(error).__name__}: {error}; audit the release again"
            ) from error
        changed.append({**row, "items": named(row["items"]), "details": details})
    return changed


def marks_in(folder: Path, records: pd.DataFrame) -> Callable[[str], float]:
    """Share of a picture that letters and arrows cover, by curation.artifacts; 0 where that is not installed."""
    try:
        from curation import artifacts
    except ImportError as error:
        log.warning("clean: of two copies the one without arrows is not sought (%s missing)", error.name)
        return lambda name: 0.0
    files = records["file"]

    def share(name: str) -> float:
        return float(artifacts.find(pictures.to_grey(pictures.open_picture(inside(folder, files[name])))).mean())

    return share


def painted(grey: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, float]:
    """The picture (uint8 H×W) with each box filled by the median around it, and the share of pixels filled."""
    result = grey.copy()
    mask = np.zeros(grey.shape, dtype=bool)
    height, width = grey.shape
    for x0, y0, x1, y1 in boxes:
        x0, x1 = max(0, min(x0, x1)), min(width, max(x0, x1))
        y0, y1 = max(0, min(y0, y1)), min(height, max(y0, y1))
        if x0 >= x1 or y0 >= y1:
            continue
        outer = np.zeros(grey.shape, dtype=bool)
        outer[max(0, y0 - RING) : y1 + RING, max(0, x0 - RING) : x1 + RING] = True
        outer[y0:y1, x0:x1] = False
        result[y0:y1, x0:x1] = int(np.median(grey[outer])) if outer.any() else 0
        mask[y0:y1, x0:x1] = True
    return result, float(mask.mean())


def apply(made: cleaning.Plan, source: Path, out: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records as they come out, pictures written to ``out/images``; and the records with the published split."""
    rows = []
    for name, row in made.records.iterrows():
        if made.fate.get(str(name)) == "removed":
            continue
        content = inside(source, row["file"]).read_bytes()
        filled = 0.0
        if boxes := made.boxes.get(str(name)):
            grey, filled = painted(pictures.to_grey(pictures.open_picture(inside(source, row["file"]))), boxes)
            content = pictures.encode(grey)
        write_bytes(inside(out, row["file"]), content)
        rows.append({**row, "image_id": name, "sha256": sha256_bytes(content), "inpainted_fraction": filled})
    records = pd.DataFrame(rows, columns=list(COLUMNS))
    active = records["image_id"].map(made.here).to_numpy(dtype=bool)
    earlier = made.records.reset_index()[["image_id", "split", "patient_id"]]
    own = records.assign(split=records["split"].where(active, ""))
    records["split"] = ""
    if active.any():
        done = splits.split(records[active], seed=seed, earlier=earlier, documents=True)
        records.loc[active, "split"] = done["split"].to_numpy()
    if moved := splits.moved_from_test(earlier, records):
        raise CleanError(f"{len(moved)} images once in test would be in train or val, e.g. {moved[0]}")
    if found := splits.check(records, documents=True):
        raise CleanError("the cleaned split is not disjoint: " + "; ".join(found[:3]))
    return records, own


def explain(table: pd.DataFrame, missed: dict[str, str]) -> str:
    """CLEANING.md: counts, what the audit could not check, then every image that was touched, by action."""
    images = table["image_id"].nunique()
    kept = int((table["action"] == "kept").sum())
    lines = ["# What was done to the 2020 release", "", f"{images} images; {kept} stay exactly as they were.", ""]
    if missed:
        lines += ["**Not checked by the audit, so not cleaned of it:**", ""]
        lines += [f"- {check}: {reason}" for check, reason in sorted(missed.items())] + [""]
    lines += ["| action | images |", "|---|---|"]
    lines += [f"| {name} | {part['image_id'].nunique()} |" for name, part in table.groupby("action", sort=True)]
    for action, part in table[table["action"] != "kept"].groupby("action", sort=True):
        lines += [
            "",
            f"## {action}: {part['image_id'].nunique()}",
            "",
            "| image | before | after | why |",
            "|---|---|---|---|",
        ]
        for row in part.itertuples():
            cells = (str(row.image_id), str(row.before), str(row.after), str(row.reason)[:400])
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def clean(
    root: Path,
    out: Path,
    audit: Path | None = None,
    decisions: Path | None = None,
    wrong: str = "hold",
    seed: int = 0,
    version: str = "2020-cleaned",
) -> pd.DataFrame:
    """The whole command; see the module. Returns the records. Raises CleanError and what published and splits raise."""
    decided = read_decisions(decisions)
    clear_outputs(out)
    out.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="covidct-clean-"))
    try:
        if audit is None:
            run_audit(root, part / "audit.json")
        stated, missed = read_findings(audit or part / "audit.json")
        findings = by_image_id(stated, root)
        records, failures = published.convert(root, part / "published")
        indexed = records.set_index("image_id", drop=False).rename_axis(None)
        made = cleaning.plan(indexed, findings, decided, wrong, marks_in(part / "published", indexed))
        made.records = made.records.drop(columns="image_id").rename_axis("image_id")
        after, own = apply(made, part / "published", out, seed)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    table = cleaning.table(made, after)
    write_text(out / "cleaning.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "CLEANING.md", explain(table, missed))
    for check, reason in sorted(missed.items()):
        log.warning("clean: not cleaned of %s, which the audit could not check: %s", check, reason)
    _reasons(table, out)
    held = [{"item": name, "reason": "held out for review"} for name in after.loc[after["split"] == "", "image_id"]]
    more = {
        "duplicates": {"status": "checked by the audit; copies removed"},
        "opposite_labels": dataset.contradictions(after[after["split"] != ""]),
        "cleaning": {str(name): int(count) for name, count in table["action"].value_counts().sort_index().items()},
        "not_checked": missed,
    }
    shares = list(splits.RATIOS)
    dataset.finish(after, own, out, SCHEME, shares, seed, True, 5, version, failures + held, more)
    return after


def _reasons(table: pd.DataFrame, out: Path) -> None:
    """One reason per image, its fate before anything else, as `covidct release --reasons` reads it."""
    order = {name: rank for rank, name in enumerate((*cleaning.OUT, "relabelled", "moved", "regrouped", "masked"))}
    touched = table[table["action"].isin(list(order))].copy()
    touched["rank"] = touched["action"].map(order)
    first = touched.sort_values(["image_id", "rank"], kind="stable").drop_duplicates("image_id")
    lines = first.assign(reason=first["action"] + ": " + first["reason"])[["image_id", "reason"]]
    write_text(out / "reasons.csv", lines.to_csv(index=False, lineterminator="\n"))


app = new_app()


@app.command()
def main(
    root: Annotated[Path, typer.Option(help="folder of the 2020 release, as published")],
    out: Annotated[Path, typer.Option(help="folder of the cleaned dataset")],
    audit: Annotated[
        Path | None, typer.Option(help="JSON of `covidct audit` on the same folder; else it is run")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="reviewed CSV image_id, decision (keep, hold, remove, COVID, NonCOVID), reason")
    ] = None,
    wrong: Annotated[str, typer.Option(help="a label its own text contradicts: hold (for review) or relabel")] = "hold",
    seed: Annotated[int, typer.Option(help="of the split")] = 0,
) -> None:
    """The 2020 release without contradictions, leaks, copies and personal data, each image's change explained.

    Writes a dataset folder (records.csv, images/, splits/, dataset.json) with cleaning.csv, CLEANING.md and
    reasons.csv; an earlier dataset in --out is replaced. What the audit cannot check (personal data
    without Tesseract) is said.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        records = clean(root, out, audit, decisions, wrong, seed)
    except (CleanError, published.ReleaseError, joins.JoinError, TableError, splits.SplitError, OSError) as error:
        log.error("clean: %s", error)
        raise typer.Exit(1) from error
    from covidct.reader import describe

    log.info("%s", describe(records, "2020-cleaned", SCHEME))
    log.info("%s", splits.proof(records, documents=True))
    log.info("what was done to every image, and why: %s", out / "CLEANING.md")


if __name__ == "__main__":
    app()
