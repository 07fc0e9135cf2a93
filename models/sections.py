"""Sections of the report that follow the paper: results, Table I, Table II, Tables III–VII, Figure 5, failures."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import covidct
from covidct import summary
from models import backbones, experiments, results
from models.page import Figure, Section, Table
from models.results import Group, Result

log = logging.getLogger(__name__)

NUMERALS = {"table3": "III", "table4": "IV", "table5": "V", "table6": "VI", "table7": "VII"}
TITLES = {
    "table3": "random (Rand.) and ImageNet (Trans.) initial weights",
    "table4": "DenseNet-169 with different initial weights",
    "table5": "Self-Trans and transfer from ImageNet",
    "table6": "Self-Trans and its ablations",
    "table7": "frozen and unfrozen feature extractor (its unfrozen rows are Method 2 of Table VI)",
}
RELEASE = 349 + 397
"""images of the 2020 release (Table I)"""
LONGEST = 12
"""reasons of failures that are listed before the rest is counted"""


def headline(dataset: covidct.Dataset, groups: dict[str, Group]) -> Section:
    """What was measured, and how to read it."""
    test = dataset.test.records
    lines = [
        f"Dataset {dataset.version}: {len(dataset)} images of {dataset.records['patient_id'].nunique()} patients; "
        f"the test split has {len(test)} images of {test['patient_id'].nunique()} patients.",
        "COVID is the positive class of every figure. Ranges in brackets are 95 % bootstrap intervals over patients, "
        "not images. The test split was read once per model, after everything was chosen on val.",
        "This is research software on pictures from publications; none of these models is a medical device.",
    ]
    unreviewed = int((~dataset.records["reviewed"]).sum())
    if unreviewed:
        lines.append(f"{unreviewed} labels are proposals no person has reviewed.")
    rows = [
        [
            run,
            *(found.show(name) for name in ("auc", "accuracy", "precision", "recall", "f1")),
            found.show("f1_noncovid"),
        ]
        for run, found in groups.items()
    ]
    header = ["run", "AUC", "accuracy", "precision", "recall", "F1 (COVID)", "F1 (non-COVID)"]
    note = (
        "At threshold 0.5. The scripts of 2020 counted non-COVID as positive, so the paper's F1 may be of either class."
    )
    tables = [Table(header, rows, "Test split", note)] if rows else []
    if not rows:
        lines.append("No model has been evaluated on this split yet: run `dvc repro evaluate`.")
    return Section("Results", lines, tables)


def table_one(dataset: covidct.Dataset) -> Section:
    """Table I and section III.A for this dataset, beside the paper's where it is the 2020 release."""
    records = dataset.records
    published = int(records["source"].str.startswith("published-").sum()) == RELEASE
    rows = []
    for row in summary.table_one(records).itertuples():
        paper = summary.PAPER_TABLE.get(str(row.label_name), {}).get(str(row.split))
        shown = f"{paper[0]} / {paper[1]}" if paper and published else "–"
        rows.append([str(row.label_name), str(row.split), str(row.images), str(row.patients), shown])
    first = Table(["class", "split", "images", "patients", "paper (images / patients)"], rows, "Table I")
    rows = []
    for name, values in summary.sizes(records).items():
        for what, value in values.items():
            paper_size = summary.PAPER_SIZES.get(what) if name == "COVID" else None
            rows.append(
                [
                    name,
                    what,
                    f"{value['average']:.1f}",
                    f"{value['maximum']:g}",
                    f"{value['minimum']:g}",
                    " / ".join(f"{number:g}" for number in paper_size) if paper_size else "–",
                ]
            )
    header = ["class", "", "average", "maximum", "minimum", "paper (avg / max / min)"]
    second = Table(header, rows, "Section III.A: images per patient, and size in pixels")
    text = []
    disagreements = dataset.info.get("paper_disagrees", [])
    if disagreements and published:  # a drawn release disagrees everywhere, which says nothing about the paper
        text.append(
            "Where the release and the paper disagree: "
            + "; ".join(
                f"{row['where']}, {row['what']}: paper {row['paper']}, here {row['here']}" for row in disagreements
            )
            + "."
        )
    counts = records[["source", "label_name"]].value_counts().sort_index().reset_index()
    third = Table(
        ["source", "class", "images"],
        [[str(row.source), str(row.label_name), str(row.count)] for row in counts.itertuples(index=False)],
        "Sources",
    )
    return Section("The dataset (Table I, section III.A)", text, [first, second, third])


def table_two() -> Section:
    """Parameters of the eight networks, counted here."""
    rows = []
    for name in backbones.TABLE_2:
        with torch.device("meta"):  # shapes only
            counted = backbones.count(backbones.build(name))
        entry = backbones.describe(name)
        rows.append(
            [entry.title, f"{entry.parameters:,}", f"{counted:,}", "yes" if counted == entry.parameters else "NO"]
        )
    note = "1000 classes, as the paper counts; CRNet with 2."
    return Section(
        "Networks (Table II)", tables=[Table(["network", "paper", "here", "equal"], rows, "Parameters", note)]
    )


def paper_tables(groups: dict[str, Group]) -> list[Section]:
    """Tables III–VII, ours beside the paper's; what was not run says so."""
    found = []
    header = ["", "accuracy, paper", "ours", "F1, paper", "ours", "AUC, paper", "ours", "what differs"]
    for table, numeral in NUMERALS.items():
        rows = experiments.choose(table)
        missing = [row.run.name for row in rows if row.run.name not in groups and experiments.runnable(row.run)]
        text = []
        if len(missing) == len(rows):
            text.append(
                f"None of its rows was run here. To run them: `python -m models.experiments run --table {table}`."
            )
        found.append(
            Section(
                f"Table {numeral}: {TITLES[table]}",
                text,
                [Table(header, results.table(rows, groups), f"Table {numeral}")],
            )
        )
    note = (
        "The paper gives single figures without intervals and does not say for which class F1 is. On its 203 test "
        "images of 95 patients the 95 % interval of an AUC near 0.9 is about ±0.05: smaller differences are not told."
    )
    found[0].text.insert(0, note)
    return found


def audited(path: Path | None) -> Section | None:
    """Findings of the audit, counted by kind."""
    if path is None or not path.is_file():
        return None
    findings = json.loads(path.read_text(encoding="utf-8")).get("findings", [])
    counts = Counter((str(row["kind"]), str(row["severity"])) for row in findings)
    rows = [[kind, severity, str(count)] for (kind, severity), count in sorted(counts.items())]
    text = [] if rows else ["Nothing found."]
    return Section(
        "Audit of the dataset", text, [Table(["kind", "severity", "findings"], rows, "Findings")] if rows else []
    )


def figure_five(folder: Path | None) -> Section | None:
    """Heat maps, as the stage `gradcam` drew them."""
    if folder is None or not folder.is_dir():
        return None
    figures = []
    for path in sorted(folder.glob("*.png")):
        address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        figures.append(Figure(path.stem, path.stem.replace("-", " ").replace("_", " "), address=address))
    return Section("Where the networks look (Figure 5)", figures=figures) if figures else None


def failures(folders: list[Path], left: list[dict[str, str]]) -> Section:
    """What each stage could not use, with reasons; nothing disappears silently."""
    rows = []
    for folder in folders:
        path = folder / "failed.jsonl"
        if not path.is_file():
            continue
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines:
            rows.append([folder.name, "0", ""])
        reasons = Counter(str(line.get("reason", "")) for line in lines).most_common()
        rows += [[folder.name, str(count), reason] for reason, count in reasons[:LONGEST]]
        if len(reasons) > LONGEST:
            rest = sum(count for _, count in reasons[LONGEST:])
            rows.append(
                [folder.name, str(rest), f"{len(reasons) - LONGEST} further reasons; see {folder.name}/failed.jsonl"]
            )
    rows += [["evaluate", "1", f"{row['item']}: {row['reason']}"] for row in left]
    return Section("What could not be used", tables=[Table(["stage", "items", "reason"], rows, "Failures by stage")])


def flat(found: list[Result]) -> str:
    """results.csv: one row per run and seed, figures of test at 0.5 with intervals."""
    rows = []
    for result in found:
        row: dict[str, Any] = {"run": result.run, "seed": result.seed}
        for name in ("auc", "accuracy", "precision", "recall", "f1", "f1_noncovid"):
            low, high = result.interval(name)
            row |= {name: result.figure(name), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    out = io.StringIO()
    pd.DataFrame(rows).to_csv(out, index=False, lineterminator="\n", float_format="%.4f")
    return out.getvalue()
