"""How many fewer pictures must be looked at to find 95 % of the COVID ones, by a model's order instead of a random one?

The pool is the test split of a dataset, which the model has never seen, neither in training nor for any choice; its
labels are what a curator would find. Random order: the expected place of the k-th positive, k (N + 1) / (P + 1).
Intervals: bootstrap over patients. In the literature COVID CTs are rarer than in the release, so pools in which only a
tenth is positive are drawn from the same split too.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import covidct
import models
from models import data, engine
from models.reading import covid_index, evaluation

SHARE = 0.95
DRAWS = 1000


def needed(labels: np.ndarray, scores: np.ndarray) -> tuple[int, float]:
    """Items looked at until SHARE of the positives are found: in order of ``scores`` (ties last), and at random."""
    positives = int(labels.sum())
    wanted = math.ceil(SHARE * positives)
    order = np.lexsort((labels, -scores))
    found = int(np.searchsorted(np.cumsum(labels[order]), wanted)) + 1
    return found, wanted * (len(labels) + 1) / (positives + 1)


def fewer(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of looks saved."""
    by_model, at_random = needed(labels, scores)
    return 1 - by_model / at_random


def main() -> None:
    """Print one line for each model and pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    test = covidct.load(arguments.data).test
    labels = np.asarray(test.records["label"], int)
    _, patients = np.unique(test.records["patient_id"], return_inverse=True)
    members = [np.flatnonzero(patients == p) for p in range(patients.max() + 1)]
    for name in arguments.model:
        model, card = models.load(name)
        transform = evaluation(card)
        images = data.load_arrays(test, transform.size)
        scores = np.asarray(engine.probabilities(model, images, transform))[:, covid_index(card)]
        rng = np.random.default_rng(arguments.seed)
        for share in (labels.mean(), 0.1):
            values, looked, chance = [], [], []
            for _ in range(DRAWS):
                chosen = np.concatenate([members[p] for p in rng.integers(0, len(members), len(members))])
                if share < labels.mean():
                    keep = round((labels[chosen] == 0).sum() * share / (1 - share))
                    drawn = rng.permutation(chosen[labels[chosen] == 1])[:keep]
                    chosen = np.concatenate([drawn, chosen[labels[chosen] == 0]])
                if not 0 < labels[chosen].sum() < len(chosen):
                    continue
                values.append(fewer(labels[chosen], scores[chosen]))
                by_model, at_random = needed(labels[chosen], scores[chosen])
                looked.append(by_model / len(chosen))
                chance.append(at_random / len(chosen))
            low, high = np.quantile(values, [0.025, 0.975])
            whole = ""
            if share == labels.mean():
                by_model, at_random = needed(labels, scores)
                whole = f"; the split itself: {by_model} of {len(labels)} instead of {at_random:.0f}"
            print(
                f"{name}: {share:.0%} positive: {np.mean(values):.1%} fewer [{low:.1%}, {high:.1%}] "
                f"({np.mean(looked):.1%} of the pool instead of {np.mean(chance):.1%}){whole}"
            )


if __name__ == "__main__":
    main()
