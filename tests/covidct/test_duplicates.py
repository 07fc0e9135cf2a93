"""The same picture is found after the changes literature makes to it, and look-alikes are not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from covidct.duplicates import ALL_PAIRS, find, groups
from covidct.matching.candidates import nearest, pool, propose, vote
from covidct.matching.features import describe, mirrored, root


def _transformations() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "transformations.py"
    spec = importlib.util.spec_from_file_location("transformations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["transformations"] = module
    spec.loader.exec_module(module)
    return module


copies = _transformations()


def slice_of(subject: int, level: float = 0.0, side: int = 256) -> np.ndarray:
    """A drawn chest slice: one subject's outline; the vessels follow ``level``, so levels are neighbouring slices."""
    shape = np.random.default_rng(subject)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    wide, tall = 0.44 + 0.03 * shape.random(), 0.34 + 0.03 * shape.random()
    image = np.where((x / wide) ** 2 + (y / tall) ** 2 < 1, 170.0, 10.0)
    lungs = np.zeros(image.shape, bool)
    for sign in (-1, 1):
        lungs |= ((x - sign * 0.2) / (0.15 + 0.02 * shape.random())) ** 2 + (
            y / (0.23 + 0.03 * shape.random())
        ) ** 2 < 1
    image[lungs] = 60.0
    vessels = np.zeros_like(image)
    for _ in range(140):
        start, slope = shape.uniform(-0.35, 0.35, 2), shape.uniform(-0.5, 0.5, 2)
        cx, cy = start + slope * level
        size = shape.uniform(0.004, 0.014)
        vessels += shape.uniform(40, 160) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
    image[lungs] += vessels[lungs]
    noise = np.random.default_rng([subject, int(level * 1000)]).normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image + noise, (0, 0), 0.7), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    return [slice_of(subject) for subject in range(8)]


@pytest.mark.parametrize("name", ["crop", "scale", "jpeg", "marks", "tone", "mirror", "everything"])
def test_each_change_is_seen_through_and_nothing_else_is_a_pair(slices: list[np.ndarray], name: str) -> None:
    rng = np.random.default_rng(3)
    changed = [copies.TRANSFORMATIONS[name](image, rng) for image in slices]
    found = {(p.i, p.j) for p in find([*slices, *changed])}
    assert found == {(i, i + len(slices)) for i in range(len(slices))}


def test_neighbouring_slices_of_one_patient_are_not_the_same_picture() -> None:
    series = [slice_of(subject, level) for subject in (1, 2) for level in (0.0, 0.25, 0.5)]
    assert find(series) == []


def test_exact_copies_need_no_features_and_colour_does_not_matter() -> None:
    flat = np.full((40, 60), 7, np.uint8)
    (pair,) = find([flat, np.zeros((40, 60), np.uint8), np.stack([flat] * 3, axis=2)])
    assert (pair.i, pair.j, pair.evidence.exact) == (0, 2, True)


def test_evidence_says_how_the_copy_was_made() -> None:
    image = slice_of(3)
    copy = cv2.resize(np.ascontiguousarray(image[20:236, 30:250][:, ::-1]), (330, 324), interpolation=cv2.INTER_CUBIC)
    (pair,) = find([image, copy])
    evidence = pair.evidence
    assert evidence.mirrored and evidence.inliers >= 20 and evidence.correlation > 0.95 and evidence.detail > 0.8
    a, b, c, d, e, f = evidence.transform
    corners = np.array([[30, 20], [249, 20], [30, 235]])
    mapped = np.stack([a * corners[:, 0] + b * corners[:, 1] + c, d * corners[:, 0] + e * corners[:, 1] + f], axis=1)
    np.testing.assert_allclose(mapped, [[328.5, 0.5], [0, 0.5], [328.5, 322.5]], atol=3)
    assert set(evidence.as_dict()) >= {"inliers", "correlation", "transform", "mirrored", "score"}


def test_a_long_list_goes_through_the_index_and_gives_the_same_answer_twice(slices: list[np.ndarray]) -> None:
    rng = np.random.default_rng(5)
    many = [slice_of(subject, side=160) for subject in range(100, 100 + ALL_PAIRS)]
    images = [*slices[:4], *many, *(copies.everything(image, rng) for image in slices[:4])]
    pairs = find(images)
    last = len(images) - 4
    assert {(p.i, p.j) for p in pairs} == {(i, last + i) for i in range(4)}
    assert find(images, jobs=1) == pairs


def test_many_copies_of_one_picture_are_one_complete_group(slices: list[np.ndarray]) -> None:
    rng = np.random.default_rng(6)
    images = [copies.jpeg(copies.crop(slices[0], rng, 0.8), rng) for _ in range(14)] + [
        slice_of(s) for s in range(200, 215)
    ]
    pairs = find(images)
    assert groups(len(images), pairs) == [list(range(14))]
    assert len(pairs) == 14 * 13 // 2


@pytest.mark.parametrize(
    "images",
    [
        [],
        [np.zeros((5, 5), np.uint8)],
        [np.zeros((1, 900), np.uint8), np.full((3, 3), 9, np.uint8), np.full((40, 40), 255, np.uint8)],
    ],
)
def test_nothing_or_nothing_to_see_is_no_pair(images: list[np.ndarray]) -> None:
    assert find(images) == []


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4)), np.zeros((0, 3), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros(9, np.uint8)]
)
def test_what_is_no_picture_is_named_by_position(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"picture 1: expected"):
        find([np.zeros((9, 9), np.uint8), bad])


def test_mirrored_descriptors_are_those_of_the_mirror_image() -> None:
    image = slice_of(9)
    plain, flipped = describe(image), describe(np.ascontiguousarray(image[:, ::-1]))
    where = plain.points.copy()
    where[:, 0] = plain.grey.shape[1] - 1 - where[:, 0]
    gap = np.linalg.norm(where[:, None] - flipped.points[None], axis=2)
    near = gap.min(axis=1) < 0.5
    likeness = (root(mirrored(plain.raw))[near] * root(flipped.raw)[gap.argmin(axis=1)[near]]).sum(axis=1)
    assert near.sum() > 100 and np.median(likeness) > 0.99


def test_pooled_vectors_propose_copies_too(slices: list[np.ndarray]) -> None:
    rng = np.random.default_rng(8)
    images = [*slices, *(copies.mirror(copies.tone(image, rng), rng) for image in slices)]
    raw = [describe(image).raw for image in images]
    wanted = {(i, i + 8, True) for i in range(8)}
    assert wanted <= {(c.i, c.j, c.mirror) for c in nearest(*pool(raw), neighbours=2)}
    assert wanted <= {(c.i, c.j, c.mirror) for c in vote(raw, neighbours=2)} and propose([]) == []


def test_the_vector_index_finds_neighbours_among_many() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(21_000, 32)).astype(np.float32)
    vectors[1:2000:2] = vectors[0:2000:2] + 0.1 * rng.normal(size=(1000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = {(c.i, c.j) for c in nearest(vectors, neighbours=2)}
    assert np.mean([(i, i + 1) in found for i in range(0, 2000, 2)]) > 0.97


@pytest.mark.real
def test_neighbouring_luna_slices_stay_apart(real_data: Path) -> None:
    files = sorted((real_data / "luna").glob("*.png"))[:60]
    assert find([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]) == []
