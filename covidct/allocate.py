"""Putting groups of different sizes into parts of given shares: exact quotas for like groups, the rest by search.

Pure arrays. A group is a row of features (images, patients, both per stratum); a part should receive its share of every
feature. Groups with equal rows are interchangeable, so their bulk is dealt by largest remainders; what is left over is
placed greedily, largest first, and improved by moves and swaps until nothing helps, from several starts. Of a few
groups the most even choice may leave a part empty or without a class; then evenness yields.
"""

from __future__ import annotations

import logging

import numpy as np

log = logging.getLogger(__name__)
EMPTY = 0.05
"""penalty for each part without a class it could have, while shares are searched"""
BARE = 1e4
"""the same where some part lacks something in the end: dearer than any unevenness"""
EXHAUSTIVE = 600
"""up to so many left-over groups, every move and swap is tried; above, a sample"""


def cost(
    filled: np.ndarray,
    total: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    penalty: float = EMPTY,
) -> np.ndarray:
    """Unevenness of ``filled`` (..., parts, features): weighted squares of (filled/total - share), plus ``penalty`` per
    part that lacks a feature of ``must`` (bool, features)."""
    off = filled / total - shares[:, None]
    uneven = np.einsum("...pf,...pf,f->...", off, off, weights)
    empty = ((filled[..., must] == 0) & (shares[:, None] > 0)).sum(axis=(-1, -2))
    return uneven + penalty * empty


def allocate(
    features: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    fixed: np.ndarray,
    seed: int,
    starts: int = 24,
) -> np.ndarray:
    """Part (int, G) of each group, given ``features`` (G, F) and ``shares`` (P); ``fixed`` holds a part or -1.

    Deterministic for a seed. Never worse than its own greedy start. A part that stays empty or without a feature of
    ``must``, because too few groups hold it, is logged as a warning.
    """
    part = _search(features, shares, weights, must, fixed, seed, starts)
    return _fill(features, shares, weights, must, fixed, part, seed)


def _search(
    features: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    fixed: np.ndarray,
    seed: int,
    starts: int,
) -> np.ndarray:
    """The most even part of each group that deal, greedy starts, moves and swaps find."""
    rng = np.random.default_rng(seed)
    total = np.maximum(features.sum(axis=0), 1).astype(float)
    part = fixed.copy()
    _deal(features, shares, part, rng)
    free = np.flatnonzero(part < 0)
    if not len(free):
        return part
    parts = len(shares)
    base = np.stack([features[part == p].sum(axis=0) for p in range(parts)]).astype(float)
    loose = features[free].astype(float)
    starts = int(np.clip(200_000 // len(free) // 10, 1, starts))
    best, best_cost = np.zeros(0, dtype=int), np.inf
    for start in range(starts):
        chosen = _greedy(loose, base, total, shares, weights, rng, jitter=0.0 if start == 0 else 0.3)
        chosen, now = _improve(chosen, loose, base, total, shares, weights, must, rng)
        if now < best_cost - 1e-12:
            best, best_cost = chosen, now
    part[free] = best
    return part


def _fill(
    features: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    fixed: np.ndarray,
    part: np.ndarray,
    seed: int,
) -> np.ndarray:
    """``part``, unless a part is empty or lacks a feature of ``must`` and moving groups mends it."""
    if not len(features) or not _lacking(features, shares, must, part).any():
        return part
    features = np.column_stack([features, np.ones(len(features), dtype=int)])  # the last one: holds any group at all
    weights, must = np.append(weights, 0.0), np.append(must, True)
    before = _lacking(features, shares, must, part)
    total = np.maximum(features.sum(axis=0), 1).astype(float)
    filled = part.copy()
    while _move_to_lacking(features, shares, weights, must, fixed, filled, total):
        pass
    free = np.flatnonzero(fixed < 0)
    if 0 < len(free) <= EXHAUSTIVE:
        base = np.stack([features[(filled == p) & (fixed >= 0)].sum(axis=0) for p in range(len(shares))]).astype(float)
        loose, rng = features[free].astype(float), np.random.default_rng(seed)
        filled[free], _ = _improve(filled[free], loose, base, total, shares, weights, must, rng, penalty=BARE)
    after = _lacking(features, shares, must, filled)
    if after.sum() >= before.sum():
        filled, after = part, before
    _tell(features, must, after)
    return filled


def _lacking(features: np.ndarray, shares: np.ndarray, must: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Which part (rows) holds no group with which feature of ``must`` (columns), bool; parts without a share may."""
    holds = features[:, must] > 0
    held = np.stack([holds[part == p].any(axis=0) for p in range(len(shares))])
    return ~held & (shares[:, None] > 0)


def _move_to_lacking(
    features: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    fixed: np.ndarray,
    part: np.ndarray,
    total: np.ndarray,
) -> bool:
    """Move the one group that mends most lacks at the least unevenness, in place; False if none mends any."""
    holds = features[:, must] > 0
    lacking = _lacking(features, shares, must, part)
    last = np.stack([holds[part == p].sum(axis=0) == 1 for p in range(len(shares))]) & (shares[:, None] > 0)
    lost = (holds & last[part]).sum(axis=1)
    filled = np.stack([features[part == p].sum(axis=0) for p in range(len(shares))]).astype(float)
    best: tuple[float, int, int] | None = None
    for target in np.flatnonzero(lacking.any(axis=1)):
        gain = np.where((fixed < 0) & (part != target), (holds & lacking[target]).sum(axis=1) - lost, 0)
        movers = np.flatnonzero(gain > 0)
        # equal groups from one part are one choice, which keeps a million groups cheap
        _, first = np.unique(np.column_stack([features[movers], part[movers]]), axis=0, return_index=True)
        for group in movers[np.sort(first)][:EXHAUSTIVE]:
            after = filled.copy()
            after[part[group]] -= features[group]
            after[target] += features[group]
            now = float(cost(after, total, shares, weights, must, BARE))
            if best is None or now < best[0] - 1e-12:
                best = (now, int(group), int(target))
    if best is None:
        return False
    part[best[1]] = best[2]
    return True


def _tell(features: np.ndarray, must: np.ndarray, lacking: np.ndarray) -> None:
    names = ("train", "val", "test") if len(lacking) == 3 else tuple(f"fold {p}" for p in range(len(lacking)))
    held = (features[:, must] > 0).sum(axis=0)
    for name, lacks in zip(names, lacking, strict=True):
        if lacks[-1]:
            log.warning(
                "split: %s is empty: %d groups (patients, duplicates) for %d parts", name, held[-1], len(lacking)
            )
        elif lacks.any():
            log.warning(
                "split: %s has no image of one class: only %d of %d groups (patients, duplicates) hold it",
                *(name, held[:-1][lacks[:-1]].min(), held[-1]),
            )


def _deal(features: np.ndarray, shares: np.ndarray, part: np.ndarray, rng: np.random.Generator) -> None:
    """Deal groups with equal features by whole quotas; the fractions stay -1 for the search."""
    free = np.flatnonzero(part < 0)
    if not len(free):
        return
    _, kind = np.unique(features[free], axis=0, return_inverse=True)
    order = free[np.lexsort((rng.random(len(free)), kind.ravel()))]
    counts = np.bincount(kind.ravel())
    quota = np.floor(counts[:, None] * shares[None, :] + 1e-9).astype(int)
    quota[counts < 2 * len(shares)] = 0  # a handful is better placed by the search
    begin = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.arange(len(order)) - np.repeat(begin, counts)
    ends = np.cumsum(quota, axis=1)
    for p in range(len(shares)):
        low = np.repeat(ends[:, p] - quota[:, p], counts)
        high = np.repeat(ends[:, p], counts)
        part[order[(rank >= low) & (rank < high)]] = p


def _greedy(
    loose: np.ndarray,
    base: np.ndarray,
    total: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
    jitter: float,
) -> np.ndarray:
    """Largest group first, each to the part that is most short of what the group holds."""
    scaled = loose / total
    size = (scaled * weights).sum(axis=1)
    order = np.argsort(-(size * (1 + jitter * rng.random(len(size)))), kind="stable")
    off = base / total - shares[:, None]
    chosen = np.zeros(len(loose), dtype=int)
    allowed = np.flatnonzero(shares > 0)
    for group in order:
        gain = scaled[group] * weights
        change = (off[allowed] * 2 + scaled[group]) @ gain
        part = allowed[int(np.argmin(change))]
        chosen[group] = part
        off[part] += scaled[group]
    return chosen


def _improve(
    chosen: np.ndarray,
    loose: np.ndarray,
    base: np.ndarray,
    total: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    rng: np.random.Generator,
    rounds: int = 400,
    penalty: float = EMPTY,
) -> tuple[np.ndarray, float]:
    """Best single move or swap, again and again, until none helps."""
    chosen = chosen.copy()
    parts = len(shares)
    filled = base.copy()
    np.add.at(filled, chosen, loose)
    now = float(cost(filled, total, shares, weights, must, penalty))
    count = len(loose)
    exhaustive = count <= EXHAUSTIVE
    allowed = np.flatnonzero(shares > 0)
    for _ in range(rounds if exhaustive else 60):
        pool = np.arange(count) if exhaustive else rng.choice(count, EXHAUSTIVE, replace=False)
        step = _best_move(pool, chosen, loose, filled, total, shares, weights, must, allowed, penalty)
        swap = _best_swap(pool, chosen, loose, filled, total, shares, weights, parts)
        options = []
        if step:
            options.append((step[0], [(step[1], step[2])]))
        if swap:
            a, b = swap
            after = filled.copy()
            after[chosen[a]] += loose[b] - loose[a]
            after[chosen[b]] += loose[a] - loose[b]
            options.append(
                (float(cost(after, total, shares, weights, must, penalty)), [(a, int(chosen[b])), (b, int(chosen[a]))])
            )
        options = [option for option in options if option[0] < now - 1e-12]
        if not options:
            if exhaustive:
                break
            continue
        now, moves = min(options, key=lambda option: option[0])
        for group, target in moves:
            filled[chosen[group]] -= loose[group]
            filled[target] += loose[group]
            chosen[group] = target
    return chosen, now


def _best_move(
    pool: np.ndarray,
    chosen: np.ndarray,
    loose: np.ndarray,
    filled: np.ndarray,
    total: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    must: np.ndarray,
    allowed: np.ndarray,
    penalty: float,
) -> tuple[float, int, int] | None:
    best: tuple[float, int, int] | None = None
    for target in allowed:
        movers = pool[chosen[pool] != target]
        if not len(movers):
            continue
        after = np.repeat(filled[None], len(movers), axis=0)
        after[np.arange(len(movers)), chosen[movers]] -= loose[movers]
        after[:, target] += loose[movers]
        costs = cost(after, total, shares, weights, must, penalty)
        first = int(np.argmin(costs))
        if best is None or costs[first] < best[0]:
            best = (float(costs[first]), int(movers[first]), int(target))
    return best


def _best_swap(
    pool: np.ndarray,
    chosen: np.ndarray,
    loose: np.ndarray,
    filled: np.ndarray,
    total: np.ndarray,
    shares: np.ndarray,
    weights: np.ndarray,
    parts: int,
) -> tuple[int, int] | None:
    """The pair in different parts whose swap lowers the unevenness most. With d = difference of the two groups'
    features, the change is 2 d·W·(off_b - off_a) + 2 d·W·d, which is three matrix products for all pairs at once."""
    off = filled / total - shares[:, None]
    scaled = loose / total
    root = np.sqrt(weights)
    best, pair = -1e-12, None
    for a in range(parts):
        for b in range(a + 1, parts):
            left, right = pool[chosen[pool] == a], pool[chosen[pool] == b]
            if not len(left) or not len(right):
                continue
            slope = 2 * weights * (off[a] - off[b])
            x, y = scaled[left] * root, scaled[right] * root
            squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * x @ y.T
            change = (scaled[right] @ slope)[None, :] - (scaled[left] @ slope)[:, None] + 2 * squares
            first = int(np.argmin(change))
            i, j = divmod(first, len(right))
            if change[i, j] < best:
                best, pair = float(change[i, j]), (int(left[i]), int(right[j]))
    return pair
