"""Sections of the report about the models beyond the paper's tables: curves, thresholds, sources, pairs, encoders."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import data, plots, results
from models.page import Figure, Section, Table
from models.results import Group, Result, number

MOST_CURVES = 10
"""runs drawn into one figure"""
MOST_MAPS = 4
"""runs whose encoders are mapped"""


def best(groups: dict[str, Group], most: int) -> dict[str, Group]:
    """Up to ``most`` runs with the highest AUC, by name."""
    ordered = sorted(groups, key=lambda run: (-np.nan_to_num(groups[run].mean("auc"), nan=-1.0), run))
    return {run: groups[run] for run in sorted(ordered[:most])}


def curves(groups: dict[str, Group]) -> Section | None:
    """ROC, precision-recall, reliability and learning curves of the middle seed of each run."""
    shown = best(groups, MOST_CURVES)
    if not shown:
        return None
    scores, bins = {}, {}
    for found in shown.values():
        test, measured = found.middle.test, found.middle.summary["test"]
        if test["label"].nunique() == 2:
            scores[found.title] = (test["label"].to_numpy(), test["score"].to_numpy())
        bins[f"{found.title} (ECE {measured['calibration']['ece']:.2f})"] = measured["calibration"]["bins"]
    figures = []
    if scores:
        figures += [
            Figure("roc", "ROC curves on test", plots.roc(scores)),
            Figure(
                "precision-recall", "Precision-recall curves on test; dotted: chance", plots.precision_recall(scores)
            ),
        ]
    figures.append(
        Figure("reliability", "Calibration on test; a dot's area is its share of images", plots.reliability(bins))
    )
    histories = {found.title: found.middle.history for found in shown.values() if found.middle.history}
    chosen = {found.title: int(found.middle.card["epoch"]) for found in shown.values()}
    figures.append(
        Figure(
            "learning",
            "Learning curves; the dot is the epoch chosen on val",
            plots.learning(histories, chosen),
            wide=True,
        )
    )
    text = ["Of each run the seed with the middle AUC."]
    if len(groups) > MOST_CURVES:
        text.append(f"The {MOST_CURVES} runs with the highest AUC of {len(groups)}.")
    return Section("Curves", text, figures=figures)


def encoders(groups: dict[str, Group]) -> Section | None:
    """What encoders make of the test pictures: t-SNE before training and after, neighbours, SSL losses."""
    rows, panels = [], []
    shown = best(groups, MOST_MAPS)
    for run, found in groups.items():
        figures = found.middle.summary.get("embedding", {})
        if figures:
            cells = [_share(figures, stage, what) for stage in ("start", "trained") for what in ("label", "source")]
            rows.append([found.title, *cells])
        table = found.middle.embedding
        if run in shown and not table.empty:
            for stage, title in (("start", "before"), ("trained", "after")):
                part = table[table["encoder"] == stage]
                if len(part):
                    panels.append((run, title, part))
    pretraining = _pretraining(groups)
    if not rows and not pretraining:
        return None
    drawn = [
        Figure(
            f"encoders-{run}",
            f"{groups[run].title}: test pictures by the encoder's features (t-SNE), before fine-tuning and after",
            plots.maps(
                [(title, part[["x", "y"]].to_numpy(), part["label"].to_numpy(), part["source"].tolist())
                 for name, title, part in panels if name == run],
                data.CLASS_NAMES,
            ),
        )
        for run in dict.fromkeys(name for name, _, _ in panels)
    ]  # fmt: skip
    if pretraining:
        caption = "Loss of self-supervised pretraining; dotted: where the next set of the chain begins"
        drawn.append(Figure("pretraining", caption, plots.losses(pretraining)))
    header = ["run", "same class", "same source", "same class", "same source"]
    note = (
        "Share of the 5 nearest pictures of other patients (cosine) with the same class or source; in brackets what "
        "chance would give. A rise of the source with the class says that sources, not diseases, may be told apart."
    )
    groups_of = [("", 1), ("before fine-tuning", 2), ("after", 2)]
    tables = [Table(header, rows, "Neighbours on test", note, groups_of)] if rows else []
    return Section("Encoders", tables=tables, figures=drawn)


def _share(figures: dict[str, Any], stage: str, what: str) -> str:
    row = figures.get(stage, {}).get(what, {})
    return "–" if row.get("share") is None else f"{row['share']:.2f} ({row['chance']:.2f})"


def _pretraining(groups: dict[str, Group]) -> dict[str, list[tuple[float, float, str]]]:
    """Loss per epoch of every encoder that a run began with, from the cards."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for group in groups.values():
        before = group.middle.card.get("start")
        if not isinstance(before, dict) or not before.get("recipe", {}).get("chain"):
            continue
        recipe = before["recipe"]
        name = "-".join([before["backbone"], str(recipe["init"]), *recipe["chain"]])
        rows = [row for row in before.get("history", []) if "loss" in row]
        if rows:
            found[name] = [(at, float(row["loss"]), str(row.get("set", ""))) for at, row in enumerate(rows, 1)]
    return found


def beyond(groups: dict[str, Group]) -> Section | None:
    """What the paper's tables leave out: threshold chosen on val, calibration, sources, severity, cost."""
    if not groups:
        return None
    chosen, sources, severity, cost = [], [], [], []
    for found in groups.values():
        result, run = found.middle, found.title
        test = result.summary["test"]
        chosen.append(
            [run, f"{result.summary['threshold']:.3f}"]
            + [_at_chosen(result, name) for name in ("accuracy", "recall", "specificity", "f1", "f1_noncovid")]
            + [f"{test['calibration']['ece']:.3f}", f"{test['calibration']['brier']:.3f}"]
        )
        sources += [_against(run, row, "source") for row in test["by_source"]]
        severity += [_against(run, row, "severity") for row in test["by_severity"]]
        cost.append(_cost(run, result))
    header = ["run", "threshold", "accuracy", "recall", "specificity", "F1 (COVID)", "F1 (non-COVID)", "ECE", "Brier"]
    title = (
        "At the threshold with the highest Youden index on val; calibration (expected error over ten bins, Brier score)"
    )
    tables = [Table(header, chosen, title)]
    header = ["run", "class", "", "images", "patients", "AUC against the other class", "called right at 0.5"]
    if sources:
        note = "A model that tells sources apart, not diseases, differs between the sources."
        tables.append(Table(header, sources, "By source", note))
    if severity:
        note = (
            "COVID images, each group against all non-COVID images; graded by the document's words (models.severity)."
        )
        tables.append(Table(header, severity, "By severity", note))
    header = ["run", "seed", "epochs", "chosen", "hours", "training images/s", "hardware"]
    tables.append(Table(header, cost, "Cost", "Of one seed, validation included; pretraining is not."))
    text = ["Of each run the seed with the middle AUC."]
    return Section("Beyond the paper's tables", text, tables)


def _against(run: str, row: dict[str, Any], column: str) -> list[str]:
    low, high = row["interval"]
    interval = "" if low is None else f" ({low:.2f}–{high:.2f})"
    value = row["auc_against_other_class"]
    shown = f"{number(float('nan') if value is None else value)}{interval}"
    images, patients = str(row["images"]), str(row["patients"])
    return [run, row["class"], row[column], images, patients, shown, f"{row['called_right']:.2f}"]


def _cost(run: str, result: Result) -> list[str]:
    training = result.card.get("training", {})
    return [
        run,
        str(result.seed),
        str(result.card["recipe"]["epochs"]),
        str(result.card["epoch"]),
        f"{training.get('hours', 0):.2f}",
        f"{training.get('images_per_second', 0):.1f}",
        f"{training.get('device', '')} {training.get('precision', '')}".strip(),
    ]


def compared(groups: dict[str, Group]) -> Section | None:
    """Paired comparisons on the same test images."""
    pairs = results.comparisons(groups)
    if not pairs:
        return None
    rows = []
    for pair in pairs:
        names = [groups[pair[side]].title for side in "ab"]
        auc, accuracy = pair["bootstrap"]["auc"], pair["bootstrap"]["accuracy"]
        low, high = auc["interval"]
        if np.isnan(low):
            rows.append([*names, "undefined", "", "", "", ""])
            continue
        told = "yes" if low > 0 or high < 0 else "no"
        numbers = [f"{auc['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{pair['delong']['p']:.3f}"]
        rows.append([*names, *numbers, told, f"{accuracy['difference']:+.3f}"])
    header = ["a", "b", "AUC a − b", "95 % interval", "p (DeLong, by patient)", "told apart", "accuracy a − b"]
    note = (
        "Patients are resampled, the same ones for both models, and seeds where there are several. DeLong's p takes "
        f"the trainings as given. p values are not corrected for their number ({len(rows)})."
    )
    text = [
        "Runs of one network, and the best run with every other. By hand: `covidct compare A B`.",
        *(said for pair in pairs if (said := pretraining_helps(pair, groups))),
    ]
    return Section("Are the models different?", text, [Table(header, rows, "Paired comparisons on test", note)])


def pretraining_helps(pair: dict[str, Any], groups: dict[str, Group]) -> str:
    """A sentence on a pair that differs by self-supervised pretraining: same network, same weights before it."""
    names = [pair["a"], pair["b"]]
    cards = [groups[name].middle.card for name in names]
    before = [(card.get("start") or {}).get("recipe") or {} for card in cards]
    if cards[0]["backbone"] != cards[1]["backbone"] or sum("chain" in recipe for recipe in before) != 1:
        return ""
    with_ssl = 0 if "chain" in before[0] else 1
    init = str(before[with_ssl].get("init", "random"))
    same = all(cards[0]["recipe"].get(name) == cards[1]["recipe"].get(name) for name in ("frozen", "rotation"))
    if cards[1 - with_ssl]["recipe"].get("init") != init or not same:
        return ""
    sign = 1 if with_ssl == 0 else -1
    auc = pair["bootstrap"]["auc"]
    low, high = sorted(sign * value for value in auc["interval"])
    means = [number(groups[names[at]].mean("auc")) for at in (with_ssl, 1 - with_ssl)]
    if np.isnan(low):
        verdict = "undefined"
    elif low > 0:
        verdict = "it helps on this test split"
    elif high < 0:
        verdict = "it does harm on this test split"
    else:
        verdict = "no difference can be told on this test split"
    seeds = " and ".join(str(len(groups[names[at]].results)) for at in (with_ssl, 1 - with_ssl))
    titles = [groups[name].title for name in names]
    return (
        f"Self-supervised pretraining ({titles[with_ssl]}) against the same weights without it "
        f"({titles[1 - with_ssl]}): mean AUC {means[0]} against {means[1]} over {seeds} seeds, "
        f"difference {sign * auc['difference']:+.3f} ({low:+.3f} to {high:+.3f}): {verdict}."
    )


def _at_chosen(result: Result, name: str) -> str:
    low, high = result.interval(name, "at_chosen")
    interval = "" if np.isnan(low) else f"\n({low:.2f}–{high:.2f})"
    return f"{number(result.figure(name, 'at_chosen'))}{interval}"
