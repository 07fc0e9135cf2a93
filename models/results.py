"""What was trained and evaluated, read back: one result per run and seed, grouped over seeds, matched to the tables."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covidct import pairs
from models.experiments import Row, runnable

log = logging.getLogger(__name__)

FIGURES = ("accuracy", "f1", "auc")
"""what Tables III–VII print"""


@dataclass(frozen=True)
class Result:
    """One classifier on the test split."""

    key: str
    """run and seed, the stage key"""
    summary: dict[str, Any]
    """metrics.json"""
    card: dict[str, Any]
    predictions: pd.DataFrame
    """val and test"""
    history: list[dict[str, float]]

    @property
    def run(self) -> str:
        """The key without its seed."""
        return re.sub(r"-\d+$", "", self.key)

    @property
    def seed(self) -> int:
        return int(self.summary["model"].get("seed") or 0)

    @property
    def test(self) -> pd.DataFrame:
        return self.predictions[self.predictions["split"] == "test"]

    def figure(self, name: str, at: str = "at_half") -> float:
        """A figure of the test split; NaN where it is undefined."""
        value = self.summary["test"][at][name]
        return float("nan") if value is None else float(value)

    def interval(self, name: str, at: str = "at_half") -> tuple[float, float]:
        """Its 95 % interval over patients."""
        low, high = self.summary["test"][at]["intervals"][name]
        return (float("nan"), float("nan")) if low is None else (float(low), float(high))


@dataclass(frozen=True)
class Group:
    """The seeds of one run."""

    run: str
    results: tuple[Result, ...]

    def mean(self, name: str) -> float:
        """Mean over seeds of a test figure."""
        return float(np.mean([result.figure(name) for result in self.results]))

    def spread(self, name: str) -> float:
        """Standard deviation over seeds; NaN for one seed."""
        values = [result.figure(name) for result in self.results]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    @property
    def middle(self) -> Result:
        """The seed with the middle AUC: its curves and intervals stand for the run."""
        ordered = sorted(self.results, key=lambda result: (result.figure("auc"), result.key))
        return ordered[(len(ordered) - 1) // 2]

    def show(self, name: str) -> str:
        """``0.78 (0.68–0.87)`` for one seed; for several ``0.77 ± 0.02, 3 seeds (…)``, interval of the middle one."""
        low, high = self.middle.interval(name)
        interval = "" if np.isnan(low) else f" ({low:.2f}–{high:.2f})"
        if len(self.results) == 1:
            return f"{number(self.mean(name))}{interval}"
        return f"{number(self.mean(name))} ± {self.spread(name):.2f}, {len(self.results)} seeds{interval}"


def number(value: float) -> str:
    """Two decimals, or that it is undefined."""
    return "undefined" if np.isnan(value) else f"{value:.2f}"


def collect(evaluate: Path, finetune: Path, split_hash: str) -> tuple[list[Result], list[dict[str, str]]]:
    """Results of this split, by key, and what was left out with the reason (another split, or a damaged file)."""
    found: list[Result] = []
    left: list[dict[str, str]] = []
    for folder in sorted(path for path in evaluate.glob("*") if path.is_dir()):
        try:
            summary = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            if summary["dataset"]["split_hash"] != split_hash:
                left.append({"item": folder.name, "reason": "evaluated on another split of the dataset"})
                continue
            card = json.loads((finetune / folder.name / "card.json").read_text(encoding="utf-8"))
            predictions = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
            result = Result(
                folder.name, summary, card, predictions, read_history(finetune / folder.name / "history.csv")
            )
            for name in FIGURES:
                result.figure(name)
            found.append(result)
        except (OSError, ValueError, KeyError, TypeError) as error:
            left.append({"item": folder.name, "reason": f"cannot be read: {error}"})
            log.warning("%s: expected metrics.json, predictions.csv and the model's card, got: %s", folder, error)
    return found, left


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of history.csv as numbers."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def group(results: Iterable[Result]) -> dict[str, Group]:
    """By run, seeds in order."""
    names: dict[str, list[Result]] = {}
    for result in results:
        names.setdefault(result.run, []).append(result)
    return {run: Group(run, tuple(sorted(items, key=lambda item: item.seed))) for run, items in sorted(names.items())}


def table(rows: Iterable[Row], groups: dict[str, Group]) -> list[list[str]]:
    """Lines of one of Tables III–VII: title, then paper and ours for accuracy, F1 and AUC, then what differs."""
    lines = []
    for row in rows:
        paper = [f"{value:.2f}" for value in (row.accuracy, row.f1, row.auc)]
        found = groups.get(row.run.name)
        if found is None:
            ours = ["–"] * 3
            note = "not run" if runnable(row.run) else "not run: no ImageNet weights exist for it"
        else:
            ours = [found.show(name) for name in FIGURES]
            note = differs(found)
        lines.append([row.title, *[cell for pair in zip(paper, ours, strict=True) for cell in pair], note])
    return lines


def differs(found: Group) -> str:
    """What of a run is not as in the paper: input size, epochs, rate, the kind of initial weights, what SSL saw."""
    recipe = found.middle.card["recipe"]
    paper = {"size": 224, "epochs": 50, "batch": 16, "learning_rate": 1e-4, "period": 10}
    notes = [f"{name} {recipe[name]}" for name, value in paper.items() if recipe.get(name) != value]
    if str(recipe.get("init", "")).startswith(("file:", "partial:")):
        notes.append("weights from a file" if recipe["init"].startswith("file:") else "incomplete ImageNet weights")
    if found.middle.summary.get("transductive"):
        notes.append("SSL saw val and test pictures (transductive)")
    return "; ".join(notes)


def comparisons(groups: dict[str, Group]) -> list[dict[str, Any]]:
    """Every two runs on the same test images: AUC difference with a patient-clustered interval and DeLong's p."""
    found = []
    names = list(groups)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            a, b = groups[first].middle.test, groups[second].middle.test
            both = a.merge(b, on="image_id", suffixes=("_a", "_b"))
            if len(both) != len(a) or both["label_a"].nunique() < 2:
                continue
            result = pairs.compare(both["label_a"], both["score_a"], both["score_b"], both["patient_id_a"])
            found.append({"a": first, "b": second, **result})
    return found
