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
from models.objective import choose_threshold
from models.recipe import Recipe
from models.transforms import Normalise


def classifier_card(
    dataset: covidct.Dataset,
    recipe: Recipe,
    normalise: Normalise,
    report: weights.LoadReport,
    epoch: int,
    val: data.Arrays,
    scores: np.ndarray,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    labels = val.labels.numpy()
    threshold = choose_threshold(labels, scores)
    found = metrics.evaluate(labels, scores, val.patient_id, threshold, replicates=500).to_json()
    licences = sorted({value or "not stated" for value in dataset.train.records["licence"]})
    return checkpoint.make_card(
        backbone=recipe.backbone,
        class_names=data.CLASS_NAMES,
        preprocessing={
            "size": recipe.size,
            "resize": "squeezed to size × size, bilinear, antialiased",
            "channels": len(normalise.mean),
            "mean": list(normalise.mean),
            "std": list(normalise.std),
            "grey": "8-bit, transparency over white, scaled to 0…1, repeated to the channels",
        },
        recipe={**asdict(recipe), "loss": "cross-entropy over two logits", "optimizer": "Adam"},
        dataset=data.describe(dataset),
        metrics={"split": "val", "threshold": threshold, "val": found},
        licence=f"training pictures: {', '.join(licences)}",
        epoch=epoch + 1,
        initial_weights=report.as_dict(),
        training=dict(training),
    )


def seen_hash(dataset: covidct.Dataset) -> str:
    """Names what training sees: SHA-256 over id, split, label and file hash of train and val."""
    seen = dataset.records[dataset.records["split"].isin(["train", "val"])]
    lines = (f"{row.image_id},{row.split},{row.label},{row.sha256}" for row in seen.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
