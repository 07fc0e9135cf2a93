"""Sections of the report about the models beyond the paper's tables: curves, thresholds, sources, pairs, shortcuts."""

from __future__ import annotations

import covidct
from models import plots, results
from models.page import Figure, Section, Table
from models.results import Group, Result, number

MOST_CURVES = 10
"""runs drawn into one figure"""


def curves(groups: dict[str, Group]) -> Section | None:
    """ROC, precision-recall, reliability and learning curves of the middle seed of each run."""
    shown = dict(list(groups.items())[:MOST_CURVES])
    if not shown:
        return None
    scores = {}
    for run, found in shown.items():
        test = found.middle.test
        if test["label"].nunique() == 2:
            scores[run] = (test["label"].to_numpy(), test["score"].to_numpy())
    figures = []
    if scores:
        figures += [
            Figure("roc", "ROC curves on test", plots.roc(scores)),
            Figure("precision-recall", "Precision-recall curves on test", plots.precision_recall(scores)),
        ]
    bins = {run: found.middle.summary["test"]["calibration"]["bins"] for run, found in shown.items()}
    figures.append(Figure("reliability", "Calibration on test", plots.reliability(bins)))
    histories = {run: found.middle.history for run, found in shown.items()}
    chosen = {run: int(found.middle.card["epoch"]) for run, found in shown.items()}
    figures.append(
        Figure("learning", "Learning curves (val); the dot is the chosen epoch", plots.learning(histories, chosen))
    )
    text = [] if len(groups) <= MOST_CURVES else [f"The first {MOST_CURVES} of {len(groups)} runs."]
    return Section("Curves", text, figures=figures)


def beyond(groups: dict[str, Group]) -> Section | None:
    """What the paper's tables leave out: threshold chosen on val, calibration, sources, severity, cost."""
    if not groups:
        return None
    chosen: list[list[str]] = []
    sources: list[list[str]] = []
    severity: list[list[str]] = []
    cost: list[list[str]] = []
    for run, found in groups.items():
        result = found.middle
        test = result.summary["test"]
        chosen.append(
            [run, f"{result.summary['threshold']:.3f}"]
            + [_with_interval(result, name) for name in ("accuracy", "recall", "specificity", "f1")]
            + [f"{test['calibration']['ece']:.3f}", f"{test['calibration']['brier']:.3f}"]
        )
        for column, rows in (("source", sources), ("severity", severity)):
            for row in test[f"by_{column}"]:
                low, high = row["interval"]
                interval = "" if low is None else f" ({low:.2f}–{high:.2f})"
                value = row["auc_against_other_class"]
                rows.append(
                    [
                        run,
                        row["class"],
                        row[column],
                        str(row["images"]),
                        str(row["patients"]),
                        f"{number(float('nan') if value is None else value)}{interval}",
                        f"{row['called_right']:.2f}",
                    ]
                )
        training = result.card.get("training", {})
        cost.append(
            [
                run,
                str(result.card["recipe"]["epochs"]),
                str(result.card["epoch"]),
                f"{training.get('hours', 0):.2f}",
                f"{training.get('images_per_second', 0):.1f}",
                f"{training.get('device', '')} {training.get('precision', '')}",
            ]
        )
    tables = [
        Table(
            ["run", "threshold", "accuracy", "recall", "specificity", "F1", "ECE", "Brier"],
            chosen,
            "At the threshold with the highest Youden index on val; calibration",
        )
    ]
    header = ["run", "class", "", "images", "patients", "AUC against the other class", "called right at 0.5"]
    if sources:
        tables.append(
            Table(
                header,
                sources,
                "By source",
                "A model that tells sources apart, not diseases, differs between the sources.",
            )
        )
    if severity:
        tables.append(Table(header, severity, "By severity as stated in the document"))
    tables.append(
        Table(
            ["run", "epochs", "chosen", "hours", "training images/s", "hardware"], cost, "Cost", "Validation included."
        )
    )
    return Section("Beyond the paper's tables", tables=tables)


def compared(groups: dict[str, Group]) -> Section | None:
    """Paired comparisons on the same test images."""
    pairs = results.comparisons(groups)
    if not pairs:
        return None
    rows = []
    for pair in pairs:
        auc = pair["bootstrap"]["auc"]
        low, high = auc["interval"]
        rows.append(
            [
                pair["a"],
                pair["b"],
                f"{auc['difference']:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{pair['delong']['p']:.3f}",
                "yes" if low > 0 or high < 0 else "no",
            ]
        )
    header = ["a", "b", "AUC a − b", "95 % interval", "p (DeLong, by patient)", "told apart"]
    note = "Patients are resampled, the same ones for both models. p values are not corrected for their number."
    return Section("Are the models different?", tables=[Table(header, rows, "Paired comparisons on test", note)])


def shortcuts(dataset: covidct.Dataset, groups: dict[str, Group]) -> Section | None:
    """What the class can be guessed from without seeing disease (covidct.shortcuts, extra `audit`)."""
    try:
        from covidct.shortcuts import baselines
    except ImportError as error:
        return Section("Shortcut baselines", [f"Not checked: {error.name or error} is not installed (extra `audit`)."])
    rows = []
    for row in baselines(dataset):
        low, high = row["interval"]
        rows.append([str(row["name"]), str(row.get("model", "")), number(float(row["auc"])), f"{low:.2f}–{high:.2f}"])
    rows += [[f"{run} (network)", "", number(found.mean("auc")), found.show("auc")] for run, found in groups.items()]
    note = "Trained on train, scored on test, without a look at the lungs; a network is worth what it adds to them."
    header = ["what is seen", "model", "test AUC", "95 %, patients"]
    return Section("Shortcut baselines", tables=[Table(header, rows, "Guessing without disease", note)])


def _with_interval(result: Result, name: str) -> str:
    low, high = result.interval(name, "at_chosen")
    return f"{number(result.figure(name, 'at_chosen'))} ({low:.2f}–{high:.2f})"
