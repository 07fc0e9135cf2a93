"""The rules of the cleaning: each finding leads to one explained action, and nothing more is done than it states."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from covidct import cleaning

ROWS = [
    # image, label, patient, split, caption, width
    ("a", 1, "P1", "test", "Figure 1. CT of COVID-19 pneumonia", 90),
    ("b", 0, "N1", "train", "", 100),
    ("b2", 0, "N1", "train", "", 100),
    ("c", 1, "P2", "val", "Figure 2. case 8", 100),
    ("d", 1, "P3", "test", "Figure 2. case 8", 80),
    ("e", 1, "P4", "train", "COVID-19", 100),
    ("f", 1, "P4", "train", "COVID-19", 100),
    ("g", 1, "P4", "train", "COVID-19", 100),
    ("h", 1, "P5", "train", "CT images of the control", 100),
]


@pytest.fixture
def records() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, columns=["image_id", "label", "patient_id", "split", "caption", "width"])
    frame = frame.assign(
        height=50, label_name=["NonCOVID", "COVID"][0], document_id="", reviewed=True, reviewers="2020 release"
    )
    frame["label_name"] = frame["label"].map({0: "NonCOVID", 1: "COVID"})
    return frame.set_index("image_id", drop=False).rename_axis(None)


def finding(sort: str, *items: str, severity: str = "error", **details: Any) -> dict[str, Any]:
    return {"id": f"{sort}-1", "kind": sort, "severity": severity, "items": list(items), "evidence": f"because {sort}",
            "remedy": "x", "details": details}  # fmt: skip


def fates(plan: cleaning.Plan) -> dict[str, str]:
    return plan.fate


def test_no_finding_no_change(records: pd.DataFrame) -> None:
    made = cleaning.plan(records, [])
    assert made.actions == []
    table = cleaning.table(made, records)
    assert table["action"].tolist() == ["kept"] * len(records)


def test_a_contradiction_is_decided_by_the_text_or_by_nobody(records: pd.DataFrame) -> None:
    """The COVID copy stays where its own text names COVID-19 and the other copy is silent; else both wait."""
    pair = [finding("opposite-label", "b", "a"), finding("same-picture", "a", "b")]
    made = cleaning.plan(records, pair)
    assert fates(made) == {"b": "removed"}
    assert "same picture as a, whose text names COVID-19" in made.actions[0].reason
    assert made.records.loc["b2", "patient_id"] == made.records.loc["a", "patient_id"]  # grouped with whom it showed
    records.loc["b", "caption"] = "Bacterial pneumonia"
    assert fates(cleaning.plan(records, pair)) == {"a": "held out", "b": "held out"}
    records.loc[["a", "b"], "caption"] = ["an axial image", ""]
    assert fates(cleaning.plan(records, pair)) == {"a": "held out", "b": "held out"}
    records.loc["a", "caption"] = "COVID-19"
    doubt = finding("label-in-doubt", "a", severity="warning", sure=False)
    assert fates(cleaning.plan(records, [*pair, doubt])) == {"a": "held out", "b": "held out"}


def test_labels_in_doubt_wait_or_are_relabelled_on_demand(records: pd.DataFrame) -> None:
    rows = [finding("label-in-doubt", "h", sure=True), finding("label-in-doubt", "e", severity="warning", sure=False)]
    assert fates(cleaning.plan(records, rows)) == {"h": "held out", "e": "held out"}
    made = cleaning.plan(records, rows, wrong="relabel")
    assert fates(made) == {"e": "held out"}
    assert made.records.loc["h", ["label", "label_name", "reviewed", "reviewers"]].tolist() == [
        0, "NonCOVID", False, "rule: caption",
    ]  # fmt: skip
    assert records.loc["h", "label"] == 1  # the input is not touched
    with pytest.raises(cleaning.CleanError, match="expected hold or relabel"):
        cleaning.plan(records, rows, wrong="guess")


def test_of_copies_the_best_stays(records: pd.DataFrame) -> None:
    """Test before val although smaller; unmarked before marked; a chain loses no more than it must."""
    made = cleaning.plan(records, [finding("same-picture", "c", "d")])
    assert fates(made) == {"c": "removed"}
    assert made.records.loc["d", "patient_id"] == "P2"
    marked = cleaning.plan(records, [finding("same-picture", "c", "d")], marks=lambda name: float(name == "d"))
    assert fates(marked) == {"d": "removed"}
    chain = finding(
        "redundant", "e", "f", "g", severity="note",
        pairs=[{"items": ["e", "f"], "same": False, "correlation": 0.96},
               {"items": ["g", "f"], "same": False, "correlation": 0.97}],
    )  # fmt: skip
    made = cleaning.plan(records, [chain])
    assert fates(made) == {"f": "removed"}  # e and g are not near each other
    assert "nearly the same slice (0.96) as e" in made.actions[0].reason


def test_retouched_pictures_are_flagged(records: pd.DataFrame) -> None:
    """Of two copies pixels do not tell which was painted: the one that stays is shown to a person."""
    both = [finding("retouched", "d", "c", severity="warning"), finding("same-picture", "c", "d")]
    made = cleaning.plan(records, both)
    assert fates(made) == {"c": "removed"}
    assert [(row.image_id, row.reason) for row in made.actions if row.action == "flagged"] == [
        ("d", "perhaps retouched: because retouched")
    ]


def test_personal_data_is_masked_where_it_is_known_to_be(records: pd.DataFrame) -> None:
    rows = [finding("personal-data", "e", "f", boxes={"e": [[1, 2, 3, 4]]}, kind="birth date")]
    made = cleaning.plan(records, rows)
    assert made.boxes == {"e": [(1, 2, 3, 4)]}
    assert fates(made) == {"f": "held out"}
    assert {(row.image_id, row.action, row.after) for row in made.actions} == {
        ("e", "masked", "1 2 3 4"),
        ("f", "held out", ""),
    }


def test_suspected_personal_data_is_flagged(records: pd.DataFrame) -> None:
    suspicion = finding("personal-data", "e", severity="warning", boxes={}, kind="date of birth, same document")
    made = cleaning.plan(records, [suspicion])
    assert fates(made) == {} and [(row.image_id, row.action) for row in made.actions] == [("e", "flagged")]


def test_views(records: pd.DataFrame) -> None:
    rows = [finding("not-a-lung-view", "e", severity="warning", what="body part"),
            finding("not-a-lung-view", "f", severity="note", what="panels")]  # fmt: skip
    made = cleaning.plan(records, rows)
    assert fates(made) == {"e": "held out"}
    assert [row.action for row in made.actions] == ["held out", "flagged"]


def test_one_person_one_id(records: pd.DataFrame) -> None:
    """Ids that a case ties are joined, through a chain too; one id for several people stays one group."""
    rows = [finding("patient-identity", "c", "d", ids=["P2", "P3"]),
            finding("patient-across-splits", "d", "e", ids=["P3", "P4"]),
            finding("patient-identity", "a", people=["30 F", "60 M"])]  # fmt: skip
    made = cleaning.plan(records, rows)
    assert set(made.records.loc[["c", "d", "e", "f", "g"], "patient_id"]) == {"P2"}
    assert made.records.loc["a", "patient_id"] == "P1"
    two = cleaning.plan(records, [finding("patient-identity", "c", "d", ids=["P2", "P3"], conflict="30 F, 60 M")])
    assert two.actions == []
    assert [row.image_id for row in made.actions if row.action == "regrouped"] == ["d", "e", "f", "g"]


def test_a_person_overrules(records: pd.DataFrame) -> None:
    rows = [finding("label-in-doubt", "h", sure=True), finding("same-picture", "c", "d")]
    said = {"h": ("NonCOVID", "read the paper"), "c": ("keep", "other slice"), "e": ("remove", "no lung")}
    made = cleaning.plan(records, rows, said)
    assert fates(made) == {"e": "removed"}
    assert made.records.loc["h", "label"] == 0
    with pytest.raises(cleaning.CleanError, match="image 'x' is not in the release"):
        cleaning.plan(records, rows, {"x": ("keep", "")})
    with pytest.raises(cleaning.CleanError, match="expected one of keep, hold"):
        cleaning.plan(records, rows, {"a": ("maybe", "")})


def test_moves_are_explained(records: pd.DataFrame) -> None:
    made = cleaning.plan(records, [finding("patient-identity", "c", "d", ids=["P2", "P3"])])
    after = records.assign(split=records["split"].where(records.index != "c", "test"))
    table = cleaning.table(made, after).set_index(["image_id", "action"])
    assert table.loc[("c", "moved"), "reason"] == "shares its patient (P2) with d, which was in test"
