"""Stage `evaluate`: a classifier + the test split → predictions and metrics with intervals over patients.

Reads   ``--dataset`` (val and test), ``--model`` (model.safetensors, card.json); with ``--start`` the weights its
        training began with.
Writes  ``--out``: predictions.csv (one row per val and test image), metrics.json (everything), headline.json (the few
        figures that `dvc metrics` shows), embedding.csv (t-SNE of the test images by the network's features, before
        training and after).
Guarantees  nothing is fitted here: the threshold comes from the card, chosen on val; COVID = 1 is the positive class
        of every figure; a model of another split of the data is refused, because it may have seen the test images.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import typer
from torch import nn

import covidct
from covidct import metrics
from covidct.commands import new_app
from covidct.files import write_json, write_text
from covidct.reader import Subset
from models import checkpoint, data, embedding, engine
from models.engine import Hardware
from models.errors import guarded
from models.reading import check_split, chosen_threshold, covid_index, evaluation, transductive
from models.severity import grade
from models.weights import WeightsError

log = logging.getLogger(__name__)

SMALLEST = 5
"""images a source or severity needs to get its own line"""


def predict(
    model: nn.Module, card: dict[str, Any], subset: Subset, *, batch: int = 32, device: str = "cpu"
) -> np.ndarray:
    """P(COVID) of each image of the subset, float64 N, in the order of its records (32-bit arithmetic)."""
    transform, covid = evaluation(card), covid_index(card)
    images = data.load_arrays(subset, transform.size)
    network = engine.channels_last(model).to(device)
    scores = engine.probabilities(network, images, transform, batch=batch, device=device)
    return scores[:, covid].numpy().astype(np.float64)


def report(
    subset: Subset, scores: np.ndarray, threshold: float, *, replicates: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """All figures of one split: at 0.5, at the chosen threshold, calibration, by source and by severity."""
    options: dict[str, Any] = {"replicates": replicates, "seed": seed}
    graded = subset.records.assign(severity=subset.records["severity"].astype(str).map(grade))
    return {
        "at_half": subset.evaluate(scores, 0.5, **options).to_json(),
        "at_chosen": subset.evaluate(scores, threshold, **options).to_json(),
        "calibration": metrics.calibration(subset.labels, scores),
        "by_source": against_others(subset.records, scores, "source", **options),
        "by_severity": [
            row for row in against_others(graded, scores, "severity", **options) if row["class"] == "COVID"
        ],
    }


def against_others(
    records: pd.DataFrame,
    scores: np.ndarray,
    column: str,
    threshold: float = 0.5,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """For each value of ``column`` and class: its images against all of the other class.

    A source usually has one class only, so its own AUC does not exist; COVID against one negative source does, and
    shows whether a model tells diseases or sources apart. Values with fewer than SMALLEST images are left out.
    """
    rows = []
    names = records[column].str.strip().str.lower().replace("", "not stated")
    labels = records["label"].to_numpy()
    for label, title in enumerate(data.CLASS_NAMES):
        others = labels != label
        for name in sorted(names[~others].unique()):
            own = ((names == name) & ~others).to_numpy()
            if own.sum() < SMALLEST or not others.any():
                continue
            part = records[own | others]
            found = metrics.evaluate(
                part["label"],
                scores[own | others],
                part["patient_id"],
                threshold,
                replicates=replicates,
                seed=seed,
            )
            rows.append(
                {
                    column: name,
                    "class": title,
                    "images": int(own.sum()),
                    "patients": int(records.loc[own, "patient_id"].nunique()),
                    "auc_against_other_class": found.auc,
                    "interval": list(found.intervals["auc"]),
                    "called_right": float(((scores[own] >= threshold) == bool(label)).mean()),
                }
            )
    return rows


def predictions(subset: Subset, scores: np.ndarray, threshold: float, *, seen: bool = False) -> pd.DataFrame:
    """One row per image: who, where from, truth, P(COVID) and what is called at the chosen threshold.

    ``seen``: the network saw pictures of val or test in training; a column `transductive` says so.
    """
    records = subset.records
    table = pd.DataFrame(
        {
            "image_id": records["image_id"],
            "patient_id": records["patient_id"],
            "split": records["split"],
            "source": records["source"],
            "severity": records["severity"],
            "label": records["label"],
            "score": np.round(scores, 6),
            "called": (scores >= threshold).astype(int),
        }
    )
    return table.assign(transductive="true") if seen else table


def evaluate(
    dataset: covidct.Dataset,
    model: nn.Module,
    card: dict[str, Any],
    *,
    replicates: int = 2000,
    seed: int = 0,
    batch: int = 32,
    device: str = "cpu",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predictions of val and test, and the metrics of test. Raises DataError for an empty split."""
    scores = {
        name: predict(model, card, getattr(dataset, name), batch=batch, device=device) for name in ("val", "test")
    }
    return summarise(dataset, card, scores, replicates=replicates, seed=seed)


def summarise(
    dataset: covidct.Dataset,
    card: dict[str, Any],
    scores: dict[str, np.ndarray],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predictions table and metrics of P(COVID) for ``val`` and ``test``, in the order of their records."""
    threshold = chosen_threshold(card)
    seen = transductive(card)
    tables = [predictions(getattr(dataset, name), values, threshold, seen=seen) for name, values in scores.items()]
    data.check_classes(torch.from_numpy(dataset.test.labels.copy()), "test")
    recipe = card["recipe"]
    summary: dict[str, Any] = {
        "positive": "COVID",
        "model": {name: recipe.get(name) for name in ("backbone", "init", "frozen", "rotation", "seed", "epochs")},
        "transductive": seen,
        "dataset": data.describe(dataset),
        "threshold": threshold,
        "test": report(dataset.test, scores["test"], threshold, replicates=replicates, seed=seed),
        "training": card.get("training", {}),
    }
    return pd.concat(tables, ignore_index=True), summary


def encoders(
    dataset: covidct.Dataset,
    card: dict[str, Any],
    trained: np.ndarray,
    start: str,
    *,
    seed: int = 0,
    batch: int = 32,
    device: str = "cpu",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Map and figures of the test images by the features the training began with (``start``) and ended with.

    ``trained``: features of the test images, N×D. Where the initial weights cannot be had (no network) the first part
    is left out with a warning: nothing else hangs on it.
    """
    transform, test = evaluation(card), dataset.test
    tables, figures = [], {}
    if start:
        try:
            network = embedding.start_network(dataset, card, start, transform)
            images = data.load_arrays(test, transform.size)
            found = embedding.features(network, card["backbone"], images, transform, batch=batch, device=device)
            table, figures["start"] = embedding.look(found, test.records, "start", seed)
            tables.append(table)
        except WeightsError as error:
            log.warning("the features before training are left out: %s", error)
    table, figures["trained"] = embedding.look(trained, test.records, "trained", seed)
    return pd.concat([*tables, table], ignore_index=True), figures


app = new_app()


@app.command()
@guarded
def main(
    dataset: Path = typer.Option(..., help="folder with records.csv"),
    model: Path = typer.Option(..., help="folder of the classifier"),
    out: Path = typer.Option(..., help="folder of predictions.csv and metrics.json"),
    replicates: int = typer.Option(2000, min=0, help="bootstrap resamples of patients"),
    seed: int = typer.Option(0, min=0, help="of the bootstrap"),
    batch: int = typer.Option(32, min=1, help="images per forward pass"),
    accelerator: str = typer.Option("auto", help="auto, cpu or gpu"),
    start: str = typer.Option(
        "", help="what the training began with, as its --init; for the map of features before it"
    ),
    other_split: bool = typer.Option(False, help="evaluate although the model was trained on another split"),
) -> None:
    """Evaluate one classifier on the test split."""
    found = covidct.load(dataset)
    network, card = checkpoint.load(model)
    if not other_split:
        check_split(found, card)
    device = str(engine.open_fabric(Hardware(accelerator, 1, "32")).device)
    with embedding.Tap(network, card["backbone"]) as tap:
        table, summary = evaluate(found, network, card, replicates=replicates, seed=seed, batch=batch, device=device)
    trained = tap.features[-len(found.test) :]  # val goes through the network before test
    points, summary["embedding"] = encoders(found, card, trained, start, seed=seed, batch=batch, device=device)
    write_text(out / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "embedding.csv", points.to_csv(index=False, lineterminator="\n"))
    write_json(out / "metrics.json", metrics.Metrics(summary).to_json())
    write_json(out / "headline.json", headline(summary["test"], summary["transductive"]))
    log.info("%s: %s", out, "; ".join(described(summary["test"]["at_half"])))


def headline(test: dict[str, Any], transductive: bool = False) -> dict[str, float | bool | None]:
    """Test figures at 0.5, the AUC's interval and the calibration error: one short line per model in `dvc metrics`.

    ``transductive`` stands beside them where it is so: figures without it are of unseen pictures.
    """
    at_half = test["at_half"]
    low, high = at_half["intervals"]["auc"]
    found = {"auc": at_half["auc"], "auc_low": low, "auc_high": high}
    found |= {name: at_half[name] for name in metrics.NAMES if name != "auc"} | {"ece": test["calibration"]["ece"]}
    short = {name: None if value is None else round(float(value), 4) for name, value in found.items()}
    return {**short, "transductive": True} if transductive else short


def described(test: dict[str, Any]) -> list[str]:
    """``AUC 0.812 (0.701 to 0.902)`` and so on; what is undefined says so, with the reason."""
    parts = []
    for name, title in (("auc", "AUC"), ("accuracy", "accuracy"), ("f1", "F1")):
        value, (low, high) = test[name], test["intervals"][name]
        interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
        parts.append(f"{title} undefined" if value is None else f"{title} {value:.3f}{interval}")
    return [*parts, *test["notes"]]


if __name__ == "__main__":
    app()
