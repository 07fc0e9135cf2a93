"""Do curators agree? Kappa for each question with an interval, box overlap, and the list to adjudicate."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment

from curation.records import PanelReview, Review

MATCH_IOU = 0.5


def iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two pixel boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inner = width * height
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def match_panels(a: Iterable[PanelReview], b: Iterable[PanelReview]) -> list[tuple[PanelReview, PanelReview, float]]:
    """Panels of two reviews paired one to one for the largest total overlap; pairs under MATCH_IOU are left out."""
    left, right = list(a), list(b)
    if not left or not right:
        return []
    overlap = np.array([[iou(p.box, q.box) for q in right] for p in left])
    rows, columns = linear_sum_assignment(-overlap)
    return [
        (left[i], right[j], float(overlap[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if overlap[i, j] >= MATCH_IOU
    ]


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa of items x categories vote counts (each item at least two votes); nan if only one category occurs.

    With two raters for each item this is Scott's pi, close to Cohen's kappa. Items may have different numbers of votes.
    """
    counts = np.asarray(counts, float)
    votes = counts.sum(1)
    if len(counts) == 0 or (votes < 2).any():
        raise ValueError(
            f"expected items with at least two votes each, got {len(counts)} items, votes {votes.tolist()[:5]}"
        )
    observed = ((counts * (counts - 1)).sum(1) / (votes * (votes - 1))).mean()
    share = counts.sum(0) / counts.sum()
    expected = float((share**2).sum())
    return float("nan") if expected >= 1 else float((observed - expected) / (1 - expected))


def kappa_interval(counts: np.ndarray, seed: int = 0, draws: int = 1000) -> tuple[float, float, float]:
    """Kappa with its 95 % bootstrap interval over items."""
    counts = np.asarray(counts, float)
    rng = np.random.default_rng(seed)
    values = [fleiss_kappa(counts[rng.integers(0, len(counts), len(counts))]) for _ in range(draws)]
    finite = [v for v in values if np.isfinite(v)] or [float("nan")]
    low, high = np.quantile(finite, [0.025, 0.975])
    return fleiss_kappa(counts), float(low), float(high)


def by_candidate(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    """Reviews of each candidate by reviewer name, candidates sorted."""
    groups: dict[str, list[Review]] = {}
    for review in reviews:
        groups.setdefault(review.candidate_id, []).append(review)
    return {key: sorted(groups[key], key=lambda r: r.reviewer) for key in sorted(groups)}


def agree(a: Review, b: Review) -> bool:
    """Same answer on chest CT, and the same panels (boxes matched, labels equal, same grouping by patient)."""
    if a.chest_ct != b.chest_ct:
        return False
    if not a.chest_ct:
        return True
    pairs = match_panels(a.panels, b.panels)
    if not (len(pairs) == len(a.panels) == len(b.panels)) or any(p.label != q.label for p, q, _ in pairs):
        return False
    same_a = [p.patient == r.patient for (p, _, _), (r, _, _) in combinations(pairs, 2)]
    same_b = [q.patient == s.patient for (_, q, _), (_, s, _) in combinations(pairs, 2)]
    return same_a == same_b


def disagreements(reviews: Iterable[Review]) -> list[str]:
    """Candidates whose reviews differ, sorted; an adjudicated review settles its candidate."""
    return [
        key
        for key, group in by_candidate(reviews).items()
        if not any(r.adjudicated for r in group) and any(not agree(a, b) for a, b in combinations(group, 2))
    ]


def votes(reviews: Iterable[Review]) -> dict[str, np.ndarray]:
    """Vote counts for the two questions: ``chest CT`` (items x no/yes) and ``label`` (matched panels x 3 labels)."""
    chest: list[list[int]] = []
    labels: list[list[int]] = []
    names = ["COVID", "NonCOVID", "unclear"]
    for group in by_candidate(reviews).values():
        if len(group) < 2:
            continue
        chest.append([sum(not r.chest_ct for r in group), sum(r.chest_ct for r in group)])
        first, *others = group
        matches = [{id(p): q for p, q, _ in match_panels(first.panels, other.panels)} for other in others]
        for panel in first.panels:
            found = [panel.label, *(m[id(panel)].label for m in matches if id(panel) in m)]
            if len(found) >= 2:
                labels.append([found.count(name) for name in names])  # type: ignore[arg-type]
    return {"chest CT": np.array(chest).reshape(-1, 2), "label": np.array(labels).reshape(-1, 3)}


def summary(reviews: list[Review]) -> str:
    """A few lines a curator can read: kappa for each question, box overlap, disagreements."""
    lines = []
    for question, counts in votes(reviews).items():
        if len(counts) == 0:
            lines.append(f"{question}: no item with two reviews yet")
            continue
        kappa, low, high = kappa_interval(counts)
        lines.append(f"{question}: kappa {kappa:.2f} [{low:.2f}, {high:.2f}] over {len(counts)} items")
    overlaps = [
        value
        for group in by_candidate(reviews).values()
        for a, b in combinations(group, 2)
        for _, _, value in match_panels(a.panels, b.panels)
    ]
    if overlaps:
        lines.append(f"boxes: mean IoU {np.mean(overlaps):.3f} over {len(overlaps)} matched pairs")
    open_items = disagreements(reviews)
    lines.append(f"to adjudicate: {len(open_items)}" + (f" ({', '.join(open_items[:8])} …)" if open_items else ""))
    return "\n".join(lines)
