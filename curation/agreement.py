"""Do curators agree? Kappa for each question with an interval, overlap of boxes and masks, and the list to adjudicate.

Two people: Cohen's kappa; more: Fleiss' kappa, which allows different people for different items. Intervals are
bootstrapped over candidates, because the panels of one figure are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment

from curation.masks import decode_mask
from curation.records import PanelReview, Review

MATCH_IOU = 0.5
LABELS = ("COVID", "NonCOVID", "unclear")
Votes = dict[str, int]
"""one item: reviewer -> category"""


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


def mask_iou(a: Review, b: Review) -> float | None:
    """Overlap of two reviews' artifact masks; None where neither painted anything (or the sizes differ)."""
    if not a.mask and not b.mask:
        return None
    if not a.mask or not b.mask:
        return 0.0
    one, two = decode_mask(a.mask), decode_mask(b.mask)
    return float((one & two).sum() / (one | two).sum()) if one.shape == two.shape else None


# --- kappa ------------------------------------------------------------------------------------------------------------


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa of items x categories vote counts (each item at least two votes); nan if only one category occurs.

    Fleiss 1971, with the mean over items of the agreement within each: items may have different numbers of votes.
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


def cohen_kappa(table: np.ndarray) -> float:
    """Cohen's kappa of a categories x categories table of two people's answers; nan if both always say the same one."""
    table = np.asarray(table, float)
    total = table.sum()
    if total == 0:
        raise ValueError("expected at least one item that both have answered, got none")
    observed = np.trace(table) / total
    expected = float((table.sum(0) * table.sum(1)).sum() / total**2)
    return float("nan") if expected >= 1 else float((observed - expected) / (1 - expected))


def people_in(items: Iterable[Votes]) -> tuple[str, ...]:
    """Who answered."""
    return tuple(sorted({name for item in items for name in item}))


def kappa(items: Iterable[Votes], categories: int, people: tuple[str, ...] = ()) -> float:
    """Cohen's kappa where the same two people answered everything, else Fleiss'.

    ``people``: who answered all that ``items`` were drawn from; empty: who answered these.
    """
    items = list(items)
    people = people or people_in(items)
    if len(people) == 2 and all(len(item) == 2 for item in items):
        table = np.zeros((categories, categories))
        for item in items:
            table[item[people[0]], item[people[1]]] += 1
        return cohen_kappa(table)
    return fleiss_kappa(np.array([np.bincount(list(item.values()), minlength=categories) for item in items]))


def interval(groups: list[list[Votes]], categories: int, seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of kappa; ``groups``: the items of each candidate, which are drawn together.

    Not a number where there is one candidate only: drawing it again and again says nothing. Whether kappa is Cohen's
    or Fleiss' is decided once for all draws.
    """
    if len(groups) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    people = people_in(item for group in groups for item in group)
    values = []
    for _ in range(draws):
        drawn = [item for i in rng.integers(0, len(groups), len(groups)) for item in groups[i]]
        values.append(kappa(drawn, categories, people))
    finite = [v for v in values if np.isfinite(v)] or [float("nan")]
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


# --- reviews ----------------------------------------------------------------------------------------------------------


def by_candidate(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    """Reviews of each candidate by reviewer name, candidates sorted."""
    groups: dict[str, list[Review]] = {}
    for review in reviews:
        groups.setdefault(review.candidate_id, []).append(review)
    return {key: sorted(groups[key], key=lambda r: (r.reviewer, r.reviewed_at)) for key in sorted(groups)}


def differences(a: Review, b: Review) -> list[str]:
    """What two reviews of one candidate disagree on, in words for the card; [] where they agree.

    They agree with the same answer on chest CT, and the same panels: boxes matched, labels equal, same grouping by
    patient (names of patients may differ). Masks and small shifts of boxes are no disagreement.
    """
    who = f"{a.reviewer} / {b.reviewer}"
    if a.chest_ct != b.chest_ct:
        return [f"chest CT: {_yes(a)} / {_yes(b)} ({who})"]
    if not a.chest_ct:
        return []
    pairs = match_panels(a.panels, b.panels)
    told = []
    if not len(pairs) == len(a.panels) == len(b.panels):
        told.append(f"panels: {len(a.panels)} / {len(b.panels)} boxes, {len(pairs)} of them alike ({who})")
    told += [
        f"label of the box at {p.box.x0}, {p.box.y0}: {p.label} / {q.label} ({who})"
        for p, q, _ in pairs
        if p.label != q.label
    ]
    same_a = [p.patient == r.patient for (p, _, _), (r, _, _) in combinations(pairs, 2)]
    same_b = [q.patient == s.patient for (_, q, _), (_, s, _) in combinations(pairs, 2)]
    if same_a != same_b:
        told.append(f"which panels show the same patient ({who})")
    return told


def _yes(review: Review) -> str:
    return "yes" if review.chest_ct else "no"


def agree(a: Review, b: Review) -> bool:
    """True where two reviews of one candidate decide the same (see differences)."""
    return not differences(a, b)


def disagreements(reviews: Iterable[Review]) -> list[str]:
    """Candidates whose reviews differ, sorted; an adjudicated review settles its candidate."""
    return [
        key
        for key, group in by_candidate(reviews).items()
        if not any(r.adjudicated for r in group) and any(not agree(a, b) for a, b in combinations(group, 2))
    ]


def _panels(group: list[Review]) -> list[dict[str, PanelReview]]:
    """Panels of several reviews of one candidate, those of one place together: reviewer -> panel."""
    places: list[dict[str, PanelReview]] = []
    for review in group:
        first = {id(next(iter(place.values()))): place for place in places}
        matched = match_panels([next(iter(place.values())) for place in places], review.panels)
        taken = set()
        for known, panel, _ in matched:
            first[id(known)][review.reviewer] = panel
            taken.add(id(panel))
        places += [{review.reviewer: panel} for panel in review.panels if id(panel) not in taken]
    return places


def ratings(reviews: Iterable[Review]) -> dict[str, list[list[Votes]]]:
    """Answers to each question, by candidate: ``chest CT`` (no, yes), ``label`` of matched panels, ``same patient``
    (of two matched panels: no, yes). Only candidates with two or more reviews; adjudicated reviews don't count."""
    found: dict[str, list[list[Votes]]] = {"chest CT": [], "label": [], "same patient": []}
    for group in by_candidate(r for r in reviews if not r.adjudicated).values():
        if len({r.reviewer for r in group}) < 2:
            continue
        found["chest CT"].append([{r.reviewer: int(r.chest_ct) for r in group}])
        places = [place for place in _panels([r for r in group if r.chest_ct]) if len(place) >= 2]
        found["label"].append([{who: LABELS.index(panel.label) for who, panel in place.items()} for place in places])
        together = []
        for one, two in combinations(places, 2):
            both = sorted(one.keys() & two.keys())
            if len(both) >= 2:
                together.append({who: int(one[who].patient == two[who].patient) for who in both})
        found["same patient"].append(together)
    return {question: [items for items in groups if items] for question, groups in found.items()}


def summary(reviews: list[Review]) -> str:
    """A few lines a curator can read: kappa for each question, box and mask overlap, disagreements."""
    lines = []
    for question, groups in ratings(reviews).items():
        items = [item for group in groups for item in group]
        if not items:
            lines.append(f"{question}: no item with two reviews yet")
            continue
        categories = len(LABELS) if question == "label" else 2
        same = sum(len(set(item.values())) == 1 for item in items)
        low, high = interval(groups, categories)
        name = "Cohen's" if len(people_in(items)) == 2 else "Fleiss'"
        value = kappa(items, categories)
        told = "undefined (one answer only)" if np.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
        if len(groups) < 2 and not np.isnan(value):
            told = f"{value:.2f} (one candidate: no interval)"
        lines.append(f"{question}: {name} kappa {told}; all agree on {same} of {len(items)} items")
    pairs = [
        (a, b)
        for group in by_candidate(r for r in reviews if not r.adjudicated).values()
        for a, b in combinations(group, 2)
        if a.chest_ct and b.chest_ct
    ]
    if pairs:
        overlaps = [value for a, b in pairs for _, _, value in match_panels(a.panels, b.panels)]
        drawn = sum(len(a.panels) + len(b.panels) for a, b in pairs)
        if overlaps:
            alone = drawn - 2 * len(overlaps)
            lines.append(
                f"boxes: mean IoU {np.mean(overlaps):.3f} over {len(overlaps)} pairs; {alone} drawn by one only"
            )
        painted = [share for a, b in pairs if (share := mask_iou(a, b)) is not None]
        if painted:
            lines.append(f"artifacts: mean IoU {np.mean(painted):.3f} over {len(painted)} pairs of masks")
    known = by_candidate(reviews)
    single = sum(len({r.reviewer for r in group}) == 1 and not group[0].adjudicated for group in known.values())
    settled = sum(any(r.adjudicated for r in group) for group in known.values())
    lines.append(f"candidates: {len(known)} reviewed, {single} by one person only, {settled} adjudicated")
    open_items = disagreements(reviews)
    more = " …" if len(open_items) > 8 else ""
    lines.append(f"to adjudicate: {len(open_items)}" + (f" ({', '.join(open_items[:8])}{more})" if open_items else ""))
    return "\n".join(lines)
