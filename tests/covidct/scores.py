"""Scores of a made-up model, for the tests of metrics and of comparisons."""

from __future__ import annotations

import numpy as np


def sample(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties and patients of ``count`` images; a patient's scores are shifted together."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, count // 3, count)
    label = (group % 2).astype(int)
    shift = rng.normal(0, 0.2, count // 3)
    score = np.clip(np.round(0.3 + 0.3 * label + shift[group] + rng.normal(0, 0.2, count), 2), 0, 1)
    return label, score, group
