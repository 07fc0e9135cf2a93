"""The card of a classifier: what is needed to use it rightly and to tell where it came from."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import covidct
from covidct import metrics
from models import checkpoint, data, weights
from models.objective import choose_threshold
from models.recipe import Recipe
from models.transforms import Evaluation


def classifier_card(
    dataset: covidct.Dataset,
    recipe: Recipe,
    plain: Evaluation,
    report: weights.LoadReport,
    epoch: int,
    val: data.Arrays,
    scores: np.ndarray,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of a classifier; ``val`` and ``scores`` (P(COVID), N) of the chosen ``epoch`` give its metrics.

    What the training began with travels along: ``start`` holds the encoder's own card, and its licence joins this one.
    """
    before = ancestor(recipe.init)
    labels = val.labels.numpy()
    threshold = choose_threshold(labels, scores)
    found = metrics.evaluate(labels, scores, val.patient_id, threshold, replicates=500).to_json()
    licences = sorted({value or "not stated" for value in dataset.train.records["licence"]})
    return checkpoint.make_card(
        backbone=recipe.backbone,
        class_names=data.CLASS_NAMES,
        preprocessing={
            **plain.to_card(),
            "resize": "squeezed to size × size, bilinear, antialiased",
            "grey": "8-bit, transparency over white, scaled to 0…1, repeated to the channels",
        },
        recipe={**asdict(recipe), "loss": "cross-entropy over two logits", "optimizer": "Adam"},
        dataset=data.describe(dataset),
        metrics={"split": "val", "threshold": threshold, "val": found},
        licence="; ".join([f"training pictures: {', '.join(licences)}", *inherited(recipe.init, before)]),
        epoch=epoch + 1,
        initial_weights=report.as_dict(),
        training=dict(training),
        start=before,
    )


KEPT = ("kind", "backbone", "recipe", "dataset", "licence", "training", "metrics", "git_revision", "weights_sha256")
"""fields of an encoder's card that travel with what is trained from it"""


def ancestor(init: str) -> dict[str, Any] | None:
    """What matters of the card of the encoder that ``encoder:PATH`` names; None for other initial weights."""
    kind, _, path = init.partition(":")
    if kind != "encoder":
        return None
    file = checkpoint.locate(path)[1]
    card = checkpoint.read_card(file)
    kept = {name: card[name] for name in KEPT if name in card}
    return {**kept, "history": losses(file.with_name("history.csv")), "start": card.get("start")}


def losses(path: Path) -> list[dict[str, Any]]:
    """What an encoder's training wrote per epoch (set, epoch, loss); ``[]`` where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    read: dict[str, Callable[[str], Any]] = {
        "set": str,
        "epoch": lambda text: int(float(text)),
        "loss": float,
        "train_loss": float,
    }
    return [{name: of(row[name]) for name, of in read.items() if row.get(name)} for row in rows]


def inherited(init: str, before: Mapping[str, Any] | None) -> list[str]:
    """Licences of the initial weights, to be named beside that of the training pictures."""
    kind, _, path = init.partition(":")
    if before is not None:
        recipe = before.get("recipe", {})
        further = inherited(str(recipe.get("init", "")), before.get("start"))
        return [f"initial weights: {before.get('licence') or 'not stated'}", *further]
    if kind == "imagenet":
        return ["initial weights: torchvision's, trained on ImageNet, whose pictures are for non-commercial research"]
    return [f"initial weights: {Path(path).name}, licence not stated"] if path else []


def seen_hash(dataset: covidct.Dataset) -> str:
    """Names what training sees: SHA-256 over id, split, label and file hash of train and val."""
    seen = dataset.records[dataset.records["split"].isin(["train", "val"])]
    lines = (f"{row.image_id},{row.split},{row.label},{row.sha256}" for row in seen.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
