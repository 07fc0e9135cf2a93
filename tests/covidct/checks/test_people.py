"""One person by every name: ids, cases in captions and pictures, same pictures."""

from __future__ import annotations

import numpy as np
import pytest

from covidct.checks import people


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Chest CT images of case 8.", ("8",)),
        ("Pt 1, day 3", ("1",)),
        ("Patient ID 55: ground glass", ("55",)),
        ("Patient No. 07 and follow-up of patient 7", ("7",)),
        ("Patients 3 and 4", ()),
        ("cases 2 to 5", ()),
        ("In 85 % of patients", ()),
        ("case A showed", ("A",)),
    ],
)
def test_numbered_cases(text: str, named: tuple[str, ...]) -> None:
    assert people.cases(text) == named


def test_one_case_under_several_ids_is_found_and_crosses_splits(folder_of) -> None:
    rows = [
        {"patient": f"p{n}", "document": "d", "caption": "CT of case 8", "split": s, "label": 1}
        for n, s in enumerate(("train", "val", "val"))
    ]
    found, who = people.check(folder_of(rows), [])
    kinds = {(f.kind, f.severity) for f in found}
    assert ("patient-identity", "error") in kinds and ("patient-across-splits", "error") in kinds
    assert len(set(who.tolist())) == 1


def test_a_case_of_another_document_is_another_person(folder_of) -> None:
    rows = [
        {"patient": f"p{n}", "document": f"d{n}", "caption": "case 8", "split": s}
        for n, s in ((0, "train"), (1, "test"))
    ]
    found, who = people.check(folder_of(rows), [])
    assert found == [] and len(set(who.tolist())) == 2


def test_a_case_read_in_the_picture_goes_before_the_caption(folder_of) -> None:
    rows = [{"patient": f"p{n}", "document": "d", "split": s} for n, s in enumerate(("train", "train", "test"))]
    found, _ = people.check(folder_of(rows), [], {0: ["1"], 1: ["2"], 2: ["1"]})
    (across,) = [f for f in found if f.kind == "patient-across-splits"]
    assert across.items == ("0.png", "2.png")


def test_same_pictures_tie_people_and_scans_alike_only_warn(folder_of) -> None:
    rows = [{"patient": f"p{n}", "split": s} for n, s in enumerate(("train", "test", "train", "test"))]
    found, who = people.check(folder_of(rows), [(0, 1)], None, [(2, 3)])
    assert [(f.severity, f.items) for f in found] == [("error", ("0.png", "1.png")), ("warning", ("2.png", "3.png"))]
    assert who[0] == who[1] and who[2] != who[3]


def test_one_id_of_several_ages_is_several_people(folder_of) -> None:
    rows = [{"patient": "p", "age": a, "sex": s} for a, s in (("73", "F"), ("70 years", "F"), ("76", "M"))]
    found, _ = people.check(folder_of(rows), [])
    assert found[0].kind == "patient-identity" and found[0].severity == "error" and "3 people" in found[0].evidence
    birthday, _ = people.check(folder_of([{"patient": "p", "age": "73"}, {"patient": "p", "age": "74"}]), [])
    vague, _ = people.check(folder_of([{"patient": "p", "age": "40+"}, {"patient": "p", "age": "Young Child"}]), [])
    assert birthday == vague == []


def test_a_document_cut_through_a_figure_is_said(folder_of) -> None:
    rows = [
        {"patient": f"p{n}", "document": "d", "caption": "Figure 2. CT", "split": s}
        for n, s in enumerate(("train", "test"))
    ]
    found, _ = people.check(folder_of(rows), [])
    assert [f.kind for f in found] == ["document-across-splits"] and "cut through" in found[0].evidence


def test_both_labels_of_one_patient_are_allowed_but_said(folder_of) -> None:
    found, _ = people.check(folder_of([{"patient": "p", "label": 0}, {"patient": "p", "label": 1}]), [])
    assert [(f.kind, f.severity) for f in found] == [("patient-identity", "warning")]


def test_components_of_nothing_known_are_single_pictures() -> None:
    assert people.components(3, [["", "", ""]], []).tolist() == [0, 1, 2]
    assert len(people.components(0, [[]], [])) == 0
    assert np.ptp(people.components(4, [["a", "", "b", "a"], ["", "x", "x", ""]], [(2, 3)])) == 0
