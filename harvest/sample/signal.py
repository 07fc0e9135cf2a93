"""Where the class signal of a drawn corpus lies: panels straight from the plan, and baselines that must not see it.

For tests and benchmarks. The border-only and the metadata-only baseline are given every chance (patient-grouped
cross-validation, two kinds of model); a corpus whose classes they can tell apart would teach shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from harvest.sample.articles import draw_articles
from harvest.sample.cases import draw_cases
from harvest.sample.papers import Studio
from harvest.sample.picture import Picture, png
from harvest.sample.plan import Size, plan_papers

FRAME = 0.125
"""share of each side that the border-only baseline sees"""


@dataclass(frozen=True)
class Shown:
    """One panel as a dataset would have it; ``pixels`` uint8 grey."""

    pixels: np.ndarray = field(repr=False)
    label: int
    patient_id: str
    source: str
    colour: bool
    panels: int
    disease: str
    figure: str
    """the picture it was cut from: its panels share size and encoding"""


def panels(seed: int, size: Size | None = None) -> list[Shown]:
    """All CT panels of a corpus, without duplicates and without what the harvest leaves out."""
    size = size or Size()
    studio = Studio(seed)
    kinds: dict[str, str] = {}
    pictures: list[tuple[str, Picture]] = []
    for paper in plan_papers(seed, size):
        for plate in paper.plates:
            kinds |= {p.patient_id: p.disease.kind for p, _ in plate.shows}
            if plate.kind == "ct":
                pictures.append(("preprint", studio.picture(plate)))
    articles = draw_articles(seed, size, studio)
    rows: list[dict[str, Any]] = [r for a in articles if not str(a.entry["title"]).startswith("COVID") for r in a.truth]
    rows += [row for c in draw_cases(seed, size, studio) for row in c.truth]
    for row in rows:
        kinds |= {q["patient_id"]: q["disease"] for q in row["panels"]}
        if row["panels"]:
            pictures.append((str(row["source"]), studio.made[str(row["plate"])]))
    found, seen = [], set()
    for number, (source, picture) in enumerate(pictures):
        for panel in picture.panels:
            if panel.kind != "ct" or panel.window != "lung" or (panel.patient_id, panel.t) in seen:
                continue
            seen.add((panel.patient_id, panel.t))
            x0, y0, x1, y1 = panel.box
            part = picture.pixels[y0:y1, x0:x1]
            grey = part if part.ndim == 2 else cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
            kind = kinds[panel.patient_id]
            found.append(
                Shown(
                    grey,
                    int(kind == "covid"),
                    panel.patient_id,
                    source,
                    part.ndim == 3,
                    len(picture.panels),
                    kind,
                    str(number),
                )
            )
    return found


def border_features(shown: Shown, side: int = 32) -> np.ndarray:
    """The outer FRAME of the picture at side×side, flattened."""
    small = cv2.resize(shown.pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    inner = round(side * FRAME)
    mask = np.ones((side, side), bool)
    mask[inner:-inner, inner:-inner] = False
    return small[mask]


def metadata_features(shown: Shown) -> np.ndarray:
    """Width, height, aspect, area, colour, bytes and bytes per pixel of the PNG."""
    high, wide = shown.pixels.shape
    size = len(png(shown.pixels))
    return np.array([wide, high, wide / high, wide * high, shown.colour, size, size / (wide * high)], np.float32)


def grouped_auc(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int = 0) -> float:
    """Best of two models' out-of-fold AUC (COVID positive) under patient-grouped 4-fold cross-validation."""
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500)),
        RandomForestClassifier(80, min_samples_leaf=3, random_state=seed),
    ]
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
    best = 0.0
    for model in models:
        scores = np.zeros(len(labels))
        for train, test in folds.split(features, labels, groups):
            scores[test] = model.fit(features[train], labels[train]).predict_proba(features[test])[:, 1]
        best = max(best, float(roc_auc_score(labels, scores)))
    return best


def apart(shown: list[Shown]) -> np.ndarray:
    """Group of each panel: connected over patient and figure, so that no size is recognised from a neighbour panel."""
    names = {name: n for n, name in enumerate({key for s in shown for key in (("p", s.patient_id), ("f", s.figure))})}
    ends = [(names["p", s.patient_id], names["f", s.figure]) for s in shown]
    links = coo_array((np.ones(len(ends)), tuple(zip(*ends, strict=True))), shape=(len(names), len(names)))
    component = connected_components(links, directed=False)[1]
    return np.array([component[person] for person, _ in ends])


def baselines(shown: list[Shown], seed: int = 0) -> dict[str, float]:
    """AUC of the border-only and the metadata-only baseline; patients and figures stay on one side of each fold."""
    labels = np.array([s.label for s in shown])
    groups = apart(shown)
    return {
        "border": grouped_auc(np.stack([border_features(s) for s in shown]), labels, groups, seed),
        "metadata": grouped_auc(np.stack([metadata_features(s) for s in shown]), labels, groups, seed),
    }
