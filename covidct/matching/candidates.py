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
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from covidct.matching.features import Array, mirrored, root

VOTERS = 3_000_000
"""most features in the voting index; with more pictures each sends fewer"""
LEAST_VOTERS = 150
"""below this many features a picture votes badly: pool instead"""
DIMENSIONS = 32
NEAREST = 7
CENTRES = 128
POOLED = 128
CHUNK = 200_000
PCA_SAMPLE = 4_000
"""pictures whose VLAD vectors teach the axes"""
VLAD_CHUNK = 2_000
TABLE = np.dtype([("i", np.int32), ("j", np.int32), ("mirror", np.bool_), ("weight", np.float32)])


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
    """Unit vectors of the pictures and of their mirror images (N x ``POOLED``): VLAD (Jégou 2010), whitened by PCA.

    The VLAD vectors themselves (64 kB each) are held only for a sample and for one chunk at a time.
    """
    sample = np.concatenate([r[:: max(1, len(raw) * len(r) // 100_000 + 1)] for r in raw])
    # not faiss.Kmeans: its centroids are a std::vector<float>, a SWIG type that PyMuPDF, where loaded, claims
    count = min(CENTRES, max(1, len(sample) // 40))
    means = MiniBatchKMeans(count, init="random", n_init=1, max_iter=15, batch_size=4096, random_state=1)
    centres: Array = means.fit(root(sample)).cluster_centers_.astype(np.float32)
    step = max(1, len(raw) // PCA_SAMPLE)
    few = np.stack([_vlad(root(r), centres) for r in raw[::step]])
    size = max(1, min(POOLED, few.shape[1], len(few) - 1))
    turn = PCA(size, svd_solver="randomized", random_state=1).fit(few)
    # a little is added to each variance: directions that the sample hardly has must not drown the others
    weigh = 1 / np.sqrt(turn.explained_variance_ + 0.01 * turn.explained_variance_[:1] + 1e-12)
    axes: Array = (turn.components_ * weigh[:, None]).T.astype(np.float32)
    plain, flipped = (np.empty((len(raw), size), np.float32) for _ in range(2))
    for begin in range(0, len(raw), VLAD_CHUNK):
        part = raw[begin : begin + VLAD_CHUNK]
        for rows, target in ((part, plain), ([mirrored(r) for r in part], flipped)):
            vectors = np.stack([_vlad(root(r), centres) for r in rows])
            target[begin : begin + len(part)] = _unit((vectors - turn.mean_) @ axes)
    return plain, flipped


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
    found = nearest_table(plain, flipped, neighbours)
    return [Candidate(int(i), int(j), bool(mirror), float(weight)) for i, j, mirror, weight in found.tolist()]


def nearest_table(plain: Array, flipped: Array | None = None, neighbours: int = 8) -> Array:
    """The same as a structured array of i, j, mirror, weight (13 bytes a candidate), for millions of pictures."""
    index = _vector_index(plain)
    parts: list[Array] = []
    for mirror, queries in ((False, plain), (True, flipped)):
        if queries is None:
            continue
        for begin in range(0, len(queries), CHUNK):
            part = queries[begin : begin + CHUNK]
            likeness, found = index.search(part, neighbours + 1)
            rows = np.repeat(np.arange(begin, begin + len(part)), found.shape[1])
            keep = (found.ravel() >= 0) & (found.ravel() != rows)
            a, b = rows[keep], found.ravel()[keep]
            table = np.empty(len(a), TABLE)
            table["i"], table["j"] = np.minimum(a, b), np.maximum(a, b)
            table["mirror"], table["weight"] = mirror, likeness.ravel()[keep]
            parts.append(table)
    joined = np.concatenate(parts) if parts else np.empty(0, TABLE)
    del parts
    code = (joined["i"].astype(np.int64) << 32) | (joined["j"].astype(np.int64) << 1) | joined["mirror"]
    order = np.lexsort((-joined["weight"], code))
    code = code[order]
    first = np.ones(len(code), bool)
    first[1:] = code[1:] != code[:-1]
    return joined[order[first]]


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
