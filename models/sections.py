"""Sections of the report that follow the paper: results, Table I, Table II, Tables III–VII."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch

import covidct
from covidct import metrics, summary
from models import backbones, experiments, plots, results
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
HEADLINE = ("auc", "accuracy", "precision", "recall", "f1", "f1_noncovid")
NO_LUNG = {
    "border": "no lung: outer 3 pixels",
    "size": "no picture: width and height",
    "container": "no picture: file form",
}
"""shortcut baselines (covidct.checks) that stand in the headline table"""


def headline(dataset: covidct.Dataset, groups: dict[str, Group], audit: dict[str, Any]) -> Section:
    """What was measured, and how to read it; what sees no lung (``audit``: its metrics) stands in the same table."""
    shortcuts, scored = audit.get("shortcuts", {}), audit.get("shortcuts_scored", {})
    test = dataset.test.records
    lines = [
        "This is research software on pictures from publications. It is not a medical device: nothing here may be used "
        "for diagnosis.",
        f"Dataset {dataset.version}: {len(dataset)} images of {dataset.records['patient_id'].nunique()} patients; "
        f"the test split has {len(test)} images of {test['patient_id'].nunique()} patients.",
    ]
    unreviewed = int((~dataset.records["reviewed"]).sum())
    if unreviewed:
        lines.append(f"{unreviewed} labels are proposals no person has reviewed.")
    rows = [
        [found.title, str(len(found.results)), *(found.show(name) for name in HEADLINE)] for found in groups.values()
    ]
    for name, title in NO_LUNG.items():
        if rows and name in shortcuts:
            rows.append([title, "–", baseline(shortcuts[name]), *["–"] * (len(HEADLINE) - 1)])
    header = ["run", "seeds", "AUC", "accuracy", "precision", "recall", "F1 (COVID)", "F1 (non-COVID)"]
    note = (
        "Called COVID at 0.5. COVID is the positive class; the scripts of 2020 counted non-COVID as positive for F1, "
        "so both are given. In brackets 95 % bootstrap intervals over patients, not images; of several seeds the mean, "
        "its deviation, and an interval over patients and seeds. The test split was read once per model, after "
        "everything was chosen on val."
    )
    if any(found.title != found.run for found in groups.values()):
        note += (
            " Transductive: pictures of val or test were seen on the way to the first weights, as the paper's were not."
        )
    if shortcuts and scored:
        note += f" What sees no lung was scored on {scored['images']} images ({scored['how']})."
    if not rows:
        lines.append("No model has been evaluated on this split yet: run `dvc repro evaluate`.")
        return Section("Results", lines)
    lines.append(
        f'`models.load("{groups[next(iter(groups))].middle.key}")` loads a model in Python, `covidct predict` scores '
        "pictures, `covidct compare A B` compares two runs."
    )
    figures = [
        Figure("auc", "AUC on test with its interval; diamonds: the paper's figures", _forest(groups, shortcuts))
    ]
    tables = [Table(header, rows, "Test split", note, strong=(2,)), recipes(groups)]
    return Section("Results", lines, tables, figures)


def recipes(groups: dict[str, Group]) -> Table:
    """What each run is, and what of it differs from the paper's settings."""
    rows = []
    for found in groups.values():
        cards = [result.card for result in found.results]
        rows.append(
            [
                found.title,
                " / ".join(_once(backbones.describe(str(card["recipe"]["backbone"])).title for card in cards)),
                " / ".join(_once(begins(card) for card in cards)),
                " / ".join(_once(trained(card) for card in cards)),
                results.differs(found) or "nothing",
            ]
        )
    header = ["run", "network", "begins with", "trained", "differs from the paper's settings (theirs in brackets)"]
    return Table(header, rows, "The runs")


def _once(words: Iterable[str]) -> list[str]:
    """Each of the seeds' words once: they differ only where a seed was trained in another way."""
    return list(dict.fromkeys(words))


def trained(card: dict[str, Any]) -> str:
    """Which layers trained, and with what besides the class."""
    return ", ".join(word for word in ("frozen", "rotation") if card["recipe"].get(word)) or "all layers"


def begins(card: dict[str, Any]) -> str:
    """Initial weights in words."""
    before, init = card.get("start"), str(card["recipe"].get("init", ""))
    if not isinstance(before, dict):
        return results.weights_in_words(init)
    recipe = before.get("recipe", {})
    first = results.weights_in_words(str(recipe.get("init", "")))
    names = {"luna": "LUNA", "covidct": "COVID-CT train"}
    chain = [f"SSL on {names.get(name, name)}" for name in recipe.get("chain", [])] or ["LNM"]
    return " → ".join([first, *chain])


def baseline(row: dict[str, Any]) -> str:
    """AUC and interval of a shortcut baseline."""
    low, high = row["interval"]
    return f"{float(row['auc']):.2f}" + ("" if low is None else f"\n({low:.2f}–{high:.2f})")


def _forest(groups: dict[str, Group], shortcuts: dict[str, Any]) -> str:
    paper = {row.run.name: row.auc for row in experiments.rows()}
    lines = [
        plots.Line(found.title, found.mean("auc"), *found.interval("auc"), paper.get(run))
        for run, found in groups.items()
    ]
    for name, title in NO_LUNG.items():
        if name in shortcuts:
            low, high = (float("nan") if value is None else float(value) for value in shortcuts[name]["interval"])
            lines.append(plots.Line(title, float(shortcuts[name]["auc"]), low, high, None, baseline=True))
    return plots.forest(lines)


def table_one(dataset: covidct.Dataset) -> Section:
    """Table I and section III.A for this dataset, beside the paper's where it is the 2020 release."""
    records = dataset.records
    published = is_release(records)
    rows = []
    for row in summary.table_one(records).itertuples():
        paper = summary.PAPER_TABLE.get(str(row.label_name), {}).get(str(row.split))
        shown = f"{paper[0]} / {paper[1]}" if paper else "–"
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


def paper_tables(dataset: covidct.Dataset, groups: dict[str, Group], why: str = "") -> list[Section]:
    """Tables III–VII, ours beside the paper's; what was not run says so. ``why``: the reason for other settings."""
    found = []
    for table, numeral in NUMERALS.items():
        rows = experiments.choose(table)
        none = not any(row.run.name in groups for row in rows)
        text = []
        if none:
            text.append(
                f"None of its rows was run here. `python -m models.experiments run --table {table}` adds them to "
                "params.yaml and runs them; with `--dry-run` it only says what it would do."
            )
        lines = results.table(rows, groups)
        made = Table(results.HEADER, lines, f"Table {numeral}", groups=results.GROUPS, strong=results.OWN)
        found.append(Section(f"Table {numeral}: {TITLES[table]}", text, [made], closed=none))
    found[0].text[:0] = [
        "The paper gives single figures without intervals and does not say for which class F1 is. On its 203 test "
        "images of 95 patients the 95 % interval of an AUC near 0.9 is about ±0.05: smaller differences are not told.",
        differences(dataset, why),
    ]
    return found


def differences(dataset: covidct.Dataset, why: str) -> str:
    """What differs from the paper in every row, and why."""
    parts = []
    if not is_release(dataset.records):
        parts.append("the pictures are not those of the 2020 release, so no row can be expected to agree")
    scheme = str(dataset.info.get("scheme", ""))
    if scheme != "published":
        parts.append(f"the split is {scheme or 'not the release’s own'} (no patient and no picture in two splits)")
    parts.append("cross-entropy over two logits stands for binary cross-entropy")
    shared = f"What differs from the paper in every row: {'; '.join(parts)}."
    own = " What differs in one is in its last column, the paper's value in brackets."
    return shared + own + (f" Why: {why}." if why else "")


def is_release(records: pd.DataFrame) -> bool:
    """True if these are the pictures of the 2020 release."""
    return int(records["source"].str.startswith("published-").sum()) == RELEASE


def flat(found: list[Result]) -> str:
    """results.csv: one row per run and seed, figures of test at 0.5 with intervals."""
    rows = []
    for result in found:
        row: dict[str, Any] = {"run": result.run, "seed": result.seed, "transductive": str(result.transductive).lower()}
        for name in metrics.NAMES:
            low, high = result.interval(name)
            row |= {name: result.figure(name), f"{name}_low": low, f"{name}_high": high}
        row |= {"threshold": result.summary["threshold"], "ece": result.summary["test"]["calibration"]["ece"]}
        rows.append(row)
    out = io.StringIO()
    pd.DataFrame(rows).to_csv(out, index=False, lineterminator="\n", float_format="%.4f")
    return out.getvalue()
