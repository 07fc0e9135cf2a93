"""The same picture twice: exact copies, and copies after crop, resizing, re-encoding, marks, brightness or mirror.

Reads   pictures as numpy uint8 arrays
Writes  nothing
Guarantees  ``find`` returns pairs ``(i, j, evidence)`` with ``i < j``, sorted, the same for the same input;
        neighbouring slices of one patient and like slices of different patients are not pairs

Why hashes are not enough: on the 2020 release pHash (distance <= 6) finds 3 of the 8 pictures that stand there twice,
dHash two of them among 704 flagged pairs.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import joblib
from threadpoolctl import threadpool_limits

from covidct.matching.candidates import Candidate, propose
from covidct.matching.features import Array, Features, describe, to_grey
from covidct.matching.verify import Evidence, verify

__all__ = ["Evidence", "Pair", "find", "groups", "overlaps"]

ALL_PAIRS = 24
"""up to this many pictures every pair is checked"""
CLOSURE = 40
"""in a group of up to this many copies every pair is checked, not only the proposed ones"""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Pictures(Protocol):
    """A list of uint8 pictures, or anything that gives them by position (a folder read on demand)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Array: ...


class Pair(NamedTuple):
    """Pictures ``i < j`` of the input and why they are held to be one picture."""

    i: int
    j: int
    evidence: Evidence


def find(images: Pictures, *, neighbours: int = 8, jobs: int = -1) -> list[Pair]:
    """Pairs of the same picture among ``images`` (uint8, each H x W or H x W x 3), sorted by (i, j).

    neighbours: candidates checked per picture; jobs: threads (-1: one per core).
    Raises ValueError for something that is not such a picture, naming its position.
    """
    return [pair for pair in overlaps(images, neighbours=neighbours, jobs=jobs) if pair.evidence.same]


def overlaps(images: Pictures, *, neighbours: int = 8, jobs: int = -1) -> list[Pair]:
    """All pairs with geometric evidence, also insufficient ones (a person may want to see them); ``find`` filters."""
    first, exact = _exact(images)
    with threadpool_limits(1):  # threads of ours, each with threads of BLAS, would fight for the cores
        features = joblib.Parallel(n_jobs=jobs, prefer="threads")(joblib.delayed(describe)(images[i]) for i in first)
    found = _check(features, _propose(features, neighbours), jobs)
    found.update(_check(features, _closure(found), jobs))
    pairs = {_ordered(first[a], first[b]): e for (a, b), e in found.items()}
    pairs.update(exact)
    return [Pair(i, j, pairs[i, j]) for i, j in sorted(pairs)]


def groups(count: int, pairs: Iterable[tuple[int, int, Evidence]]) -> list[list[int]]:
    """Connected components of two or more pictures among ``count``, each sorted, in order of their first member."""
    parent = list(range(count))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in pairs:
        a, b = sorted((top(i), top(j)))
        parent[b] = a
    members: dict[int, list[int]] = {}
    for i in range(count):
        members.setdefault(top(i), []).append(i)
    return [group for group in members.values() if len(group) > 1]


def _exact(images: Pictures) -> tuple[list[int], dict[tuple[int, int], Evidence]]:
    """(positions of distinct pictures, pairs of equal ones): equal grey pixels need no geometry."""
    seen: dict[tuple[tuple[int, ...], bytes], list[int]] = {}
    for position in range(len(images)):
        try:
            grey = to_grey(images[position])
        except ValueError as error:
            raise ValueError(f"picture {position}: {error}") from error
        seen.setdefault((grey.shape, hashlib.sha256(grey.tobytes()).digest()), []).append(position)
    same = Evidence(0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, False, IDENTITY, exact=True)
    pairs = {pair: same for members in seen.values() for pair in itertools.combinations(members, 2)}
    return sorted(members[0] for members in seen.values()), pairs


def _propose(features: list[Features], neighbours: int) -> list[Candidate]:
    if len(features) <= ALL_PAIRS:
        return [
            Candidate(i, j, m, 0.0) for i, j in itertools.combinations(range(len(features)), 2) for m in (False, True)
        ]
    return propose([f.raw for f in features], neighbours)


def _check(features: list[Features], candidates: Sequence[Candidate], jobs: int) -> dict[tuple[int, int], Evidence]:
    def one(candidate: Candidate) -> Evidence | None:
        return verify(features[candidate.i], features[candidate.j], candidate.mirror)

    with threadpool_limits(1):
        evidence = joblib.Parallel(n_jobs=jobs, prefer="threads")(joblib.delayed(one)(c) for c in candidates)
    best: dict[tuple[int, int], Evidence] = {}
    for candidate, result in zip(candidates, evidence, strict=True):
        key = (candidate.i, candidate.j)
        if result is not None and (key not in best or result.score > best[key].score):
            best[key] = result
    return best


def _closure(found: dict[tuple[int, int], Evidence]) -> list[Candidate]:
    """Pairs not yet checked inside each group of copies: with many copies the proposals name only the nearest."""
    sure = [(i, j, e) for (i, j), e in found.items() if e.same]
    count = 1 + max((j for _, j, _ in sure), default=-1)
    missing = []
    for group in groups(count, sure):
        if len(group) <= CLOSURE:
            missing += [
                Candidate(i, j, m, 0.0)
                for i, j in itertools.combinations(group, 2)
                if (i, j) not in found
                for m in (False, True)
            ]
    return missing


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
