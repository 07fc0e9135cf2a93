"""Same pictures by label, split and patient; slices of one scan under two ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from covidct.checks import same, scans
from covidct.duplicates import Evidence, Pair

SURE = Evidence(90, 0.9, 0.4, 0.99, 0.98, 0.97, 0.95, False, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
ALIKE = replace(SURE, inliers=12, fraction=0.4, residual=1.6, correlation=0.86, detail=0.5, steady=0.1)


def kinds(found) -> list[tuple[str, str]]:
    return [(f.kind, f.severity) for f in found]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ({"label": 1}, {"label": 0}, [("opposite-label", "error"), ("same-picture", "error")]),
        ({"label": 1, "split": "val"}, {"label": 1, "split": "test"}, [("same-picture", "error")]),
        ({"label": 1, "split": "val"}, {"label": 1, "split": "val"}, [("same-picture", "warning")]),
        ({"patient": "p"}, {"patient": "p"}, [("redundant", "note")]),
        ({"patient": "p", "split": "train"}, {"patient": "p", "split": "test"}, [("same-picture", "error")]),
        ({}, {}, [("same-picture", "warning")]),
    ],
)
def test_what_a_second_copy_means(folder_of, one: dict, two: dict, expected: list) -> None:
    assert kinds(same.check(folder_of([one, two]), [Pair(0, 1, SURE)])) == expected


def test_nearly_the_same_slice_of_one_patient_is_redundant(folder_of) -> None:
    near = replace(ALIKE, correlation=0.96)
    assert kinds(same.check(folder_of([{"patient": "p"}] * 2), [Pair(0, 1, near)])) == [("redundant", "note")]
    assert same.check(folder_of([{"patient": "p"}, {"patient": "q"}]), [Pair(0, 1, near)]) == []


def test_slices_of_one_scan_under_two_ids_are_a_suspicion(folder_of) -> None:
    folder = folder_of([{"patient": "p", "age": "40"}, {"patient": "q", "age": "61"}])
    (pair,) = scans.alike(folder, [Pair(0, 1, ALIKE)])
    (finding,) = scans.check(folder, [pair])
    assert finding.severity == "warning" and "40 and 61 years" in finding.evidence


@pytest.mark.parametrize(
    "change",
    [{"correlation": 0.7}, {"overlap": 0.5}, {"mirrored": True}, {"detail": 0.99, "steady": 0.99, "inliers": 90}],
)
def test_less_than_that_is_no_suspicion(folder_of, change: dict) -> None:
    pair = Pair(0, 1, replace(ALIKE, **change) if "inliers" not in change else replace(SURE, **change))
    assert scans.alike(folder_of([{"patient": "p"}, {"patient": "q"}]), [pair]) == []


def test_sources_and_unknown_patients_are_not_compared(folder_of) -> None:
    for rows in ([{"patient": "p", "source": "a"}, {"patient": "q", "source": "b"}], [{}, {"patient": "q"}]):
        assert scans.alike(folder_of(rows), [Pair(0, 1, ALIKE)]) == []


def test_where_everybody_looks_alike_the_suspicion_is_not_checked(folder_of) -> None:
    folder = folder_of([{"patient": f"p{n}", "document": f"d{n}"} for n in range(8)])
    pairs = [Pair(n, n + 1, ALIKE) for n in range(7)]
    assert scans.alike(folder, pairs) == [] and "8 of 8 patient ids" in folder.not_checked["scans"]
    assert len(scans.alike(folder, pairs[:1])) == 1
