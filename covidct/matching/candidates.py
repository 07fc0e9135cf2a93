"""Candidate pairs: which pictures are worth a geometric check.

Up to some ten thousand pictures every local feature looks up its nearest features in one index (faiss, inverted lists)
and votes for the pictures they came from, once as it is and once mirrored. The index grows with the pictures, the work
per picture hardly does. Beyond that each picture is pooled into one vector (VLAD) and the vectors look up each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np

from covidct.matching.features import Array, mirrored, root

VOTERS = 3_000_000
"""most features in the voting index; with more pictures each sends fewer"""
LEAST_VOTERS = 150
"""below this many features a picture votes badly: pool instead"""
DIMENSIONS = 32
NEAREST = 7
CENTRES = 128
POOLED = 256
CHUNK = 200_000


class Candidate(NamedTuple):
    """Pictures ``i < j``; ``mirror`` says which orientation voted; ``weight`` orders candidates, larger is likelier."""

    i: int
    j: int
    mirror: bool
    weight: float


def propose(raw: Sequence[Array], neighbours: int = 8) -> list[Candidate]:
    """Candidates from SIFT descriptors (per picture N_i x 128 uint8); ``neighbours`` per picture and orientation."""
    if len(raw) * LEAST_VOTERS > VOTERS:
        plain, flipped = pool(raw)
        return nearest(plain, flipped, neighbours)
    return vote(raw, neighbours)


def vote(raw: Sequence[Array], neighbours: int = 8) -> list[Candidate]:
    """Candidates by votes of local features."""
    each = max(LEAST_VOTERS, VOTERS // max(1, len(raw)))
    owner = np.concatenate(
        [np.full(min(len(r), each), i, np.int32) for i, r in enumerate(raw)] or [np.zeros(0, np.int32)]
    )
    if len(owner) == 0:
        return []
    features = np.concatenate([r[:each] for r in raw])
    reduce, index = _index(features)
    index.add(reduce(root(features)))
    pairs: dict[tuple[int, int, bool], float] = {}
    for mirror in (False, True):
        votes: dict[tuple[int, int], float] = {}
        for begin in range(0, len(owner), CHUNK):
            part = features[begin : begin + CHUNK]
            distance, found = index.search(reduce(root(mirrored(part) if mirror else part)), NEAREST + 1)
            for i, j, weight in _tally(owner[begin : begin + CHUNK], owner[found], distance, found >= 0):
                votes[i, j] = votes.get((i, j), 0.0) + weight
        for i, j, weight in _strongest(votes, neighbours):
            key = (min(i, j), max(i, j), mirror)
            pairs[key] = max(pairs.get(key, 0.0), weight)
    return [Candidate(i, j, mirror, weight) for (i, j, mirror), weight in sorted(pairs.items())]


def _index(features: Array) -> tuple[Callable[[Array], Array], Any]:
    """(function to the reduced space, empty trained index) for N x 128 descriptors."""
    sample = root(features[:: max(1, len(features) // 60_000)])
    if len(sample) < 5_000:
        return (lambda x: x), faiss.IndexFlatL2(128)
    turn = faiss.PCAMatrix(128, DIMENSIONS)
    turn.train(sample)
    lists = int(np.clip(len(features) ** 0.5, 64, 2048))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(DIMENSIONS), DIMENSIONS, lists, faiss.ScalarQuantizer.QT_8bit
    )
    index.train(turn.apply(sample))
    index.nprobe = 4
    return turn.apply, index


def _tally(voters: Array, owners: Array, distance: Array, valid: Array) -> Iterator[tuple[int, int, float]]:
    # A feature speaks for a picture by how much closer it is than the last of its neighbours; where many copies exist
    # even the last neighbour is close, so the usual distance of the last neighbour bounds the comparison from below.
    last = distance[:, -1:]
    usual = float(np.median(last[np.isfinite(last)])) if np.isfinite(last).any() else 1.0
    weight = np.clip(1 - distance / np.maximum(np.maximum(last, usual), 1e-6), 0, 1)
    weight[~valid | (owners == voters[:, None])] = 0
    rows, columns = np.nonzero(weight > 0.05)
    code = voters[rows].astype(np.int64) << 32 | owners[rows, columns].astype(np.int64)
    unique, place = np.unique(code, return_inverse=True)
    total = np.bincount(place, weights=weight[rows, columns])
    for pair, value in zip(unique.tolist(), total.tolist(), strict=True):
        yield pair >> 32, pair & 0xFFFFFFFF, value


def _strongest(votes: dict[tuple[int, int], float], neighbours: int) -> Iterator[tuple[int, int, float]]:
    by_voter: dict[int, list[tuple[float, int]]] = {}
    for (i, j), weight in votes.items():
        by_voter.setdefault(i, []).append((weight, j))
    for i, choices in by_voter.items():
        for weight, j in sorted(choices, key=lambda c: (-c[0], c[1]))[:neighbours]:
            yield i, j, weight


def pool(raw: Sequence[Array]) -> tuple[Array, Array]:
    """Unit vectors of the pictures and of their mirror images (N x ``POOLED``): VLAD (Jégou 2010), whitened by PCA."""
    sample = np.concatenate([r[:: max(1, len(raw) * len(r) // 100_000 + 1)] for r in raw])
    means = faiss.Kmeans(128, min(CENTRES, max(1, len(sample) // 40)), niter=15, seed=1)
    means.train(root(sample))
    centres: Array = np.asarray(means.centroids)
    vectors = np.stack([_vlad(root(r), centres) for r in raw])
    middle = vectors.mean(axis=0)
    size = min(POOLED, *vectors.shape)
    turn = faiss.PCAMatrix(vectors.shape[1], size, -0.5)
    turn.train(vectors[:: max(1, len(vectors) // 20_000)] - middle)
    flipped = np.stack([_vlad(root(mirrored(r)), centres) for r in raw])
    return _unit(turn.apply(vectors - middle)), _unit(turn.apply(flipped - middle))


def _vlad(descriptors: Array, centres: Array) -> Array:
    total = np.zeros_like(centres)
    if len(descriptors):
        home = (descriptors @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1)
        np.add.at(total, home, descriptors - centres[home])
    return _unit(_unit(total).reshape(1, -1))[0]


def _unit(x: Array) -> Array:
    return np.ascontiguousarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6), np.float32)


def nearest(plain: Array, flipped: Array | None = None, neighbours: int = 8) -> list[Candidate]:
    """Candidates by nearest pooled vectors (unit rows, N x D): near-linear in N, about D bytes per picture."""
    index = _vector_index(plain)
    pairs: dict[tuple[int, int, bool], float] = {}
    for mirror, queries in ((False, plain), (True, flipped)):
        if queries is None:
            continue
        for begin in range(0, len(queries), CHUNK):
            part = queries[begin : begin + CHUNK]
            likeness, found = index.search(part, neighbours + 1)
            rows = np.repeat(np.arange(begin, begin + len(part)), found.shape[1])
            columns, weights = found.ravel(), likeness.ravel()
            keep = (columns >= 0) & (columns != rows)
            for i, j, weight in zip(rows[keep].tolist(), columns[keep].tolist(), weights[keep].tolist(), strict=True):
                key = (min(i, j), max(i, j), mirror)
                if weight > pairs.get(key, -2.0):
                    pairs[key] = weight
    return [Candidate(i, j, mirror, weight) for (i, j, mirror), weight in sorted(pairs.items())]


def _vector_index(vectors: Array) -> Any:
    count, size = vectors.shape
    index: Any
    if count < 20_000:
        index = faiss.IndexFlatIP(size)
    else:
        lists = int(np.clip(2 * count**0.5, 256, 4096))
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(size), size, lists, faiss.ScalarQuantizer.QT_8bit, metric
        )
        index.train(np.ascontiguousarray(vectors[:: max(1, count // (40 * lists))]))
        faiss.extract_index_ivf(index).nprobe = 8
    index.add(vectors)
    return index
