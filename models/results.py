"""What was trained and evaluated, read back: one result per run and seed, grouped over seeds, matched to the tables."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covidct import metrics, pairs
from models import compare
from models.backbones import describe
from models.experiments import Row, runnable, why_not

log = logging.getLogger(__name__)


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
    embedding: pd.DataFrame = field(default_factory=pd.DataFrame)
    """t-SNE of the test images, before training and after; empty where it was not made"""

    @property
    def run(self) -> str:
        """The key without its seed."""
        return re.sub(r"-\d+$", "", self.key)

    @property
    def seed(self) -> int:
        return int(self.summary["model"].get("seed") or 0)

    @property
    def transductive(self) -> bool:
        """True if pictures of val or test were seen on the way to its first weights: no figure stands without it."""
        return bool(self.summary.get("transductive"))

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

    @property
    def title(self) -> str:
        """The run's name, marked if any of its seeds is transductive."""
        return f"{self.run} (transductive)" if any(result.transductive for result in self.results) else self.run

    @cached_property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Test figures at 0.5: mean over seeds, deviation between them, 95 % interval of the mean (covidct.pairs)."""
        first = self.results[0]
        if len(self.results) == 1:
            return {
                name: {"mean": first.figure(name), "deviation": float("nan"), "interval": first.interval(name)}
                for name in metrics.NAMES
            }
        tables = [result.test.sort_values("image_id") for result in self.results]
        scores = np.stack([table["score"].to_numpy(float) for table in tables])
        at_half = first.summary["test"]["at_half"]
        replicates, seed = int(at_half["replicates"]), int(at_half["seed"])
        patients = tables[0]["patient_id"].astype(str).to_numpy()
        return pairs.over_seeds(tables[0]["label"], scores, patients, replicates=replicates, seed=seed)

    def mean(self, name: str) -> float:
        """Mean over seeds of a test figure."""
        return float(self.figures[name]["mean"])

    def spread(self, name: str) -> float:
        """Standard deviation over seeds; NaN for one seed."""
        return float(self.figures[name]["deviation"])

    def interval(self, name: str) -> tuple[float, float]:
        """95 % interval of the mean over patients and, for several, seeds; NaN where undefined."""
        low, high = self.figures[name]["interval"]
        return float(low), float(high)

    @property
    def middle(self) -> Result:
        """The seed with the middle AUC: its curves and maps stand for the run."""
        ordered = sorted(self.results, key=lambda result: (result.figure("auc"), result.key))
        return ordered[(len(ordered) - 1) // 2]

    def show(self, name: str) -> str:
        """``0.78`` and on a second line ``(0.68–0.87)``; for several seeds mean and deviation, ``0.77 ± 0.02``."""
        low, high = self.interval(name)
        interval = "" if np.isnan(low) else f"\n({low:.2f}–{high:.2f})"
        deviation = "" if np.isnan(self.spread(name)) else f" ± {self.spread(name):.2f}"
        return f"{number(self.mean(name))}{deviation}{interval}"


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
            history = read_history(finetune / folder.name / "history.csv")
            points = folder / "embedding.csv"
            embedding = pd.read_csv(points, keep_default_na=False) if points.is_file() else pd.DataFrame()
            result = Result(folder.name, summary, card, predictions, history, embedding)
            check(result)
            found.append(result)
        except (OSError, ValueError, KeyError, TypeError) as error:
            left.append({"item": folder.name, "reason": f"cannot be read: {error}"})
            log.warning("%s: expected metrics.json, predictions.csv and the model's card, got: %s", folder, error)
    return found, left


def check(result: Result) -> None:
    """Raise KeyError, TypeError or ValueError if a result lacks what the report shows."""
    if missing := [name for name in compare.COLUMNS if name not in result.predictions]:
        raise KeyError(f"predictions.csv: no column {', '.join(missing)}")
    if result.test.empty:
        raise ValueError("predictions.csv: no test image")
    for at in ("at_half", "at_chosen"):
        for name in metrics.NAMES:
            result.figure(name, at)
            result.interval(name, at)
    for name in ("calibration", "by_source", "by_severity"):
        result.summary["test"][name]
    float(result.summary["threshold"])
    describe(str(result.card["recipe"]["backbone"]))
    int(result.card["recipe"]["epochs"]), int(result.card["epoch"])


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


HEADER = ["", "paper", "ours", "paper", "ours, COVID", "ours, non-COVID", "paper", "ours", "seeds", "what differs"]
GROUPS = [("", 1), ("accuracy", 2), ("F1", 3), ("AUC", 2), ("", 2)]
OWN = (2, 4, 5, 7)
"""columns of HEADER with our figures"""


def table(rows: Iterable[Row], groups: dict[str, Group]) -> list[list[str]]:
    """Lines of one of Tables III–VII under HEADER: the paper's accuracy, F1 and AUC beside ours, and what differs."""
    lines = []
    for row in rows:
        accuracy, f1, auc = (f"{value:.2f}" for value in (row.accuracy, row.f1, row.auc))
        found = groups.get(row.run.name)
        if found is None:
            note = "not run" if runnable(row.run) else why_not(row.run)
            lines.append([row.title, accuracy, "–", f1, "–", "–", auc, "–", "–", note])
        else:
            ours = [found.show(name) for name in ("accuracy", "f1", "f1_noncovid", "auc")]
            seeds = str(len(found.results))
            lines.append([row.title, accuracy, ours[0], f1, ours[1], ours[2], auc, ours[3], seeds, differs(found)])
    return lines


FINETUNING = {"size": 224, "epochs": 50, "batch": 16, "learning_rate": 1e-4, "period": 10, "crop": 0.5}
"""sections IV.A to IV.C.1"""
PRETRAINING = {"size": 224, "batch": 128, "learning_rate": 0.015, "momentum": 0.999, "queue": 512, "hidden": 2048}
"""sections III.C and IV.E.2; epochs and temperature are not in the paper"""
UNSTATED = ("epochs", "temperature")
WORDS = {"learning_rate": "rate", "period": "cosine period"}


def differs(found: Group) -> str:
    """What of a run is not as in the paper: settings, the kind of initial weights, what SSL did and saw.

    All seeds are looked at; what holds for some of them names them.
    """
    told = [(result.seed, _differs(result)) for result in found.results]
    lines = []
    for note in dict.fromkeys(note for _, notes in told for note in notes):
        seeds = [str(seed) for seed, notes in told if note in notes]
        lines.append(note if len(seeds) == len(told) else f"{note} [seed {', '.join(seeds)}]")
    return "; ".join(lines)


def _differs(result: Result) -> list[str]:
    recipe = result.card["recipe"]
    notes = _unlike(recipe, FINETUNING)
    before = result.card.get("start")
    first = before.get("recipe", {}) if isinstance(before, dict) else recipe
    init = str(first.get("init", ""))
    if init.startswith("file:"):
        notes.append("weights from a file")
    if init.startswith("partial:"):
        notes.append("weights from an incomplete file")
    if isinstance(before, dict) and before.get("recipe", {}).get("chain"):
        ssl = before["recipe"]
        stated = [f"{WORDS.get(name, name)} {_plain(ssl[name])}" for name in UNSTATED if name in ssl]
        notes.append("SSL: " + ", ".join(_unlike(ssl, PRETRAINING) + stated))
    if result.transductive:
        notes.append("pictures of val or test were seen on the way to its first weights (transductive)")
    return notes + [str(note) for note in result.card.get("metrics", {}).get("notes", [])]


def weights_in_words(init: str) -> str:
    """``random (Kaiming)``, ``ImageNet``, or a file's name without its folder."""
    kind, _, path = init.partition(":")
    if not path:
        return {"random": "random (Kaiming)", "imagenet": "ImageNet"}.get(init, init)
    return f"{Path(path).name}{' (incomplete)' if kind == 'partial' else ''}"


def _unlike(recipe: dict[str, Any], paper: dict[str, float]) -> list[str]:
    return [
        f"{WORDS.get(name, name)} {_plain(recipe[name])} ({_plain(value)})"
        for name, value in paper.items()
        if name in recipe and recipe[name] != value
    ]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def comparisons(groups: dict[str, Group]) -> list[dict[str, Any]]:
    """Two runs on the same test images, all their seeds: covidct.pairs.compare with both names.

    Those are compared that share a network, and the run with the highest AUC with every other.
    """
    found = []
    names = list(groups)
    best = max(names, key=lambda run: np.nan_to_num(groups[run].mean("auc"), nan=-1.0), default="")
    backbone = {run: group.middle.card["backbone"] for run, group in groups.items()}
    tables = {
        run: [result.test.assign(patient_id=result.test["patient_id"].astype(str)).set_index("image_id").sort_index()
              for result in group.results]
        for run, group in groups.items()
    }  # fmt: skip
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if backbone[first] != backbone[second] and best not in (first, second):
                continue
            try:
                found.append({"a": first, "b": second, **compare.compare(tables[first], tables[second])})
            except compare.CompareError as error:
                log.warning("%s and %s are not compared: %s", first, second, error)
    return found
