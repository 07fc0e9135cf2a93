"""Shortcut baselines: how well the class is predicted by what is not the disease, as AUC on test patients.

Each set of measures (covidct.checks.measures) trains its own small classifier: model chosen by patient-grouped
cross-validation inside train, test untouched until it is scored, interval by resampling patients. The same scores are
compared with each negative source alone, because half of the 2020 release's negatives can be told by where they came
from (frame only: AUC 0.93 against one source, 0.57 against the other). Without split lists every picture is scored by
models that saw none of its patient's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covidct import metrics
from covidct.checks import measures
from covidct.checks.model import Finding, Folder
from covidct.matching.features import Array

WARN = 0.60
"""AUC against all negatives or one source from which a shortcut is reported (audit of the 2020 release, section 7)"""
CONTAINER = 0.75
"""AUC of the container from which it is an error: re-encoding removes it, so nothing excuses it"""
FOLDS = 5
CHOICE = 3
"""folds by which a model is chosen, with fewer trees: a coarse question"""
TREES = 100
FEW_TREES = 30
LEAST = 10
"""images and 5 patients of each class that training and testing need"""
LEAST_GROUPS = 5
REPLICATES = 1000
SEED = 0


def check(
    folder: Folder,
    facts: Sequence[Mapping[str, Any]],
    groups: Array,
    seed: int = SEED,
    only: Sequence[str] = measures.SETS,
) -> list[Finding]:
    """Findings for every set that predicts the class; all AUCs go to ``folder.metrics["shortcuts"]``.

    facts: container facts of each picture; groups: patient group of each picture (int, N); only: which sets.
    """
    labels = np.array([-1 if item.label is None else item.label for item in folder.items])
    splits = np.array([item.split for item in folder.items])
    known = np.flatnonzero(labels >= 0)
    train, test = _parts(labels, splits, groups, known)
    if train is None:
        folder.not_checked["shortcut"] = (
            f"needs {LEAST} images and {LEAST_GROUPS} patients of both classes to train and to test on, got "
            f"{int((labels == 1).sum())} COVID and {int((labels == 0).sum())} NonCOVID images"
        )
        return []
    sets = tables(folder, facts)
    found: list[Finding] = []
    report: dict[str, Any] = {}
    sources = _sources(folder, labels, test)
    for name in only:
        score, model = scores(sets[name], labels, groups, train, test, seed)
        report[name] = _report(score, labels[test], groups[test], {k: v[test] for k, v in sources.items()}, model, seed)
        finding = _finding(name, report[name])
        if finding is not None:
            found.append(finding)
    folder.metrics["shortcuts"] = report
    folder.metrics["shortcuts_scored"] = {
        "how": "train -> test" if len(train) != len(test) or (train != test).any() else "cross-validation",
        "images": len(test),
        "patients": len(np.unique(groups[test])),
    }
    return found


def tables(folder: Folder, facts: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Every set as a matrix (N x D) over the folder's pictures."""
    rows = [measures.vectors(folder.grey(i), fact) for i, fact in enumerate(facts)]
    result = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    coder = DictVectorizer(sparse=False, dtype=np.float32)
    return result | {"container": coder.fit_transform([measures.container(fact) for fact in facts])}


def scores(
    table: Array, labels: Array, groups: Array, train: Array, test: Array, seed: int = SEED
) -> tuple[Array, str]:
    """P(COVID) of the test pictures and the model's name; where train and test are one set, out of fold."""
    if (table[train] == table[train[0]]).all():
        return np.full(len(test), 0.5), "constant"  # nothing differs: nothing to learn
    chosen = {
        name: metrics.auc(labels[train], _out_of_fold(model, table[train], labels[train], groups[train], CHOICE, seed))
        for name, model in _models(FEW_TREES, seed).items()
    }
    name = max(chosen, key=lambda n: chosen[n])
    model = _models(TREES, seed)[name]
    if len(train) == len(test) and (train == test).all():
        return _out_of_fold(model, table[train], labels[train], groups[train], FOLDS, seed), name
    return _predict(_fit(model, table[train], labels[train]), table[test]), name


def _models(trees: int, seed: int) -> dict[str, BaseEstimator]:
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=500)),
        "forest": RandomForestClassifier(trees, random_state=seed, n_jobs=1),
    }


def _fit(model: BaseEstimator, table: Array, labels: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline that stops early is still a baseline
        return clone(model).fit(table, labels)


def _predict(model: Any, table: Array) -> Array:
    return model.predict_proba(table)[:, 1]


def _out_of_fold(model: BaseEstimator, table: Array, labels: Array, groups: Array, most: int, seed: int) -> Array:
    """Scores of every picture by a model that saw none of its group."""
    result = np.zeros(len(labels))
    count = min(most, *(len(np.unique(groups[labels == value])) for value in (0, 1)))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for fit, left in folds.split(table, labels, groups):
        if len(np.unique(labels[fit])) < 2:
            result[left] = 0.5
            continue
        result[left] = _predict(_fit(model, table[fit], labels[fit]), table[left])
    return result


def _parts(labels: Array, splits: Array, groups: Array, known: Array) -> tuple[Array | None, Array]:
    """Positions to train and to test on: the split's own, else all (cross-validation), else None."""
    train, test = (known[splits[known] == name] for name in ("train", "test"))
    if _enough(labels, groups, train) and _enough(labels, groups, test):
        return train, test
    return (known, known) if _enough(labels, groups, known) else (None, known)


def _enough(labels: Array, groups: Array, part: Array) -> bool:
    return all(
        (labels[part] == value).sum() >= LEAST and len(np.unique(groups[part][labels[part] == value])) >= LEAST_GROUPS
        for value in (0, 1)
    )


def _sources(folder: Folder, labels: Array, test: Array) -> dict[str, Array]:
    """Negative source -> which pictures are COVID or of this source; empty where there is only one."""
    sources = np.array([item.source for item in folder.items])
    names = sorted({str(name) for name in sources[test][labels[test] == 0]} - {""})
    if len(names) < 2:
        return {}
    return {name: (labels == 1) | ((labels == 0) & (sources == name)) for name in names}


def _report(
    score: Array, labels: Array, groups: Array, sources: Mapping[str, Array], model: str, seed: int
) -> dict[str, Any]:
    row = _scored(score, labels, groups, seed) | {"model": model}
    row["by_source"] = {
        name: _scored(score[part], labels[part], groups[part], seed)
        for name, part in sources.items()
        if len(np.unique(labels[part])) == 2
    }
    return row


def _scored(score: Array, labels: Array, groups: Array, seed: int) -> dict[str, Any]:
    found = metrics.evaluate(labels, score, groups, replicates=REPLICATES, seed=seed)
    low, high = found.intervals["auc"]
    return {
        "auc": round(found.auc, 4),
        "interval": [None if np.isnan(v) else round(float(v), 4) for v in (low, high)],
        "images": len(labels),
    }


def _finding(name: str, row: Mapping[str, Any]) -> Finding | None:
    """A finding if the set beats the limit against all negatives or one source; its interval must lie above chance."""
    over = {k: v for k, v in row["by_source"].items() if v["auc"] > WARN and _above_chance(v)}
    if not (row["auc"] > WARN and _above_chance(row)) and not over:
        return None
    parts = "; ".join(f"against {_short(k)} {_told(v)}" for k, v in row["by_source"].items())
    error = name == "container" and row["auc"] >= CONTAINER
    return Finding(
        "shortcut",
        "error" if error else "warning",
        (),
        f"{name}: {measures.WORDS[name]} predicts the class with AUC {_told(row)}{'; ' + parts if parts else ''}",
        "write all pictures in one encoding without metadata"
        if name == "container"
        else "match the negatives' sources to the positives', crop to the body, and report results per source",
        {"set": name, **row},
    )


def _above_chance(row: Mapping[str, Any]) -> bool:
    low = row["interval"][0]
    return low is None or low > 0.5


def _told(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['auc']:.3f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")


def _short(source: str) -> str:
    return source.removeprefix("published-")
