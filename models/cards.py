"""The card of a classifier: what is needed to use it rightly and to tell where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

import covidct
from covidct import metrics
from models import checkpoint, data, weights
from models.lineage import ancestor, inherited
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
    marks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of a classifier; ``val`` and ``scores`` (P(COVID), N) of the chosen ``epoch`` give its metrics.

    What the training began with travels along: ``start`` holds the encoder's own card, and its licence joins this one.
    ``marks`` (lineage.check) join ``dataset``.
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
        dataset={**data.describe(dataset), **(marks or {})},
        metrics={"split": "val", "threshold": threshold, "val": found, **one_class(labels, recipe.select)},
        licence="; ".join([f"training pictures: {', '.join(licences)}", *inherited(recipe.init, before)]),
        epoch=epoch + 1,
        initial_weights=report.as_dict(),
        training=dict(training),
        start=before,
    )


def one_class(labels: np.ndarray, select: str) -> dict[str, list[str]]:
    """``notes`` on what a val split of one class could not choose; nothing where it has both."""
    if labels.min() != labels.max():
        return {}
    chose = "the last epoch was taken" if select == "last" else "the lowest val loss chose the epoch"
    name = data.CLASS_NAMES[int(labels[0])]
    return {"notes": [f"val holds {name} only: AUC undefined, {chose}, threshold 0.5 was not chosen"]}


def seen_hash(dataset: covidct.Dataset) -> str:
    """Names what training sees: SHA-256 over id, split, label and file hash of train and val."""
    seen = dataset.records[dataset.records["split"].isin(["train", "val"])]
    lines = (f"{row.image_id},{row.split},{row.label},{row.sha256}" for row in seen.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
