"""Splits: nothing shared, shares close, deterministic, and check() sees every kind of leak."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covidct import splits
from covidct.groups import groups


def table(patients: int = 300, seed: int = 0, largest: int = 6) -> pd.DataFrame:
    """Patients with 1 to ``largest`` images, three sources, some pictures shared between patients."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(patients):
        source = ("medrxiv", "pmc", "medpix")[person % 3]
        for number in range(int(rng.integers(1, largest + 1))):
            same = f"d{rng.integers(0, 30)}" if rng.random() < 0.03 else ""
            rows.append((f"{source}-{person}-{number}", int(source == "medrxiv"), f"{source}:{person}", source, same))
    return pd.DataFrame(rows, columns=["image_id", "label", "patient_id", "source", "duplicate_group"])


def test_disjoint_and_close() -> None:
    """No violation; images and patients within 1 % of 0.6/0.15/0.25, each class and source within 4 %."""
    result = splits.split(table())
    assert splits.check(result) == []
    for name in ("train", "val", "test"):
        assert abs(splits.deviation(result)[name]["images"]) < 0.01
        assert abs(splits.deviation(result)[name]["patients"]) < 0.01
    for column in ("label", "source"):
        for _, part in result.groupby(column):
            share = part["split"].value_counts(normalize=True)
            assert abs(share["train"] - 0.6) < 0.04
            assert abs(share["test"] - 0.25) < 0.04


def test_deterministic_and_blind_to_row_order() -> None:
    records = table()
    first = splits.split(records, seed=3)
    mixed = splits.split(records.sample(frac=1, random_state=1), seed=3)
    assert splits.split_hash(first) == splits.split_hash(mixed)
    assert splits.split_hash(first) != splits.split_hash(splits.split(records, seed=4))
    assert first["image_id"].tolist() == records["image_id"].tolist()
    assert "split" not in records


def test_only_the_columns_it_needs() -> None:
    """image_id, label, patient_id suffice; other columns pass through; a missing one is named."""
    small = table()[["image_id", "label", "patient_id"]].assign(extra=1, score=np.nan)
    assert splits.check(splits.split(small)) == []
    with pytest.raises(splits.SplitError, match="missing: patient_id"):
        splits.split(small.drop(columns="patient_id"))
    assert splits.check(small) == ["column split: missing, so nothing is proven"]


def test_groups_are_components_not_a_lookup() -> None:
    """a-b share a patient, b-c a picture, c-d a patient: one group; missing values tie nothing."""
    records = pd.DataFrame(
        {"image_id": list("abcde"), "label": 1, "patient_id": ["p", "p", "q", "q", "r"],
         "duplicate_group": [None, "x", "x", np.nan, ""]}
    )  # fmt: skip
    assert groups(records).tolist() == [0, 0, 0, 0, 1]


def test_unknown_patients_stay_with_their_document() -> None:
    """Without a patient the document is the group; an unknown row ties the known ones of its document too."""
    records = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "label": [1, 1, 1, 0, 0, 0],
            "patient_id": ["", "", "known", "p1", "p2", "doc2"],
            "patient_basis": ["", "", "case", "case", "case", "document"],
            "document_id": ["one", "one", "one", "two", "three", "two"],
        }
    )
    assert groups(records).tolist() == [0, 0, 0, 1, 2, 1]
    assert groups(records.drop(columns=["document_id", "patient_basis"]))[:2].tolist() == [0, 0]


def test_check_sees_every_kind_of_leak() -> None:
    good = splits.split(table(60))
    assert splits.check(good) == []

    def broken(**change: object) -> str:
        bad = good.copy().astype(object)
        for column, value in change.items():
            bad.loc[0, column] = value
        return " | ".join(splits.check(bad))

    other = "test" if good.loc[0, "split"] != "test" else "train"
    first = good[good["patient_id"] == good.loc[0, "patient_id"]]
    assert len(first) > 1
    assert f"patient {good.loc[0, 'patient_id']} is in 2 splits" in broken(split=other)
    assert "split 'Train', expected train, val or test" in broken(split="Train")
    assert "label 2, expected 0 or 1" in broken(label=2)
    assert "in the table more than once" in broken(image_id=good.loc[1, "image_id"])
    far = good[good["split"] != good.loc[0, "split"]].index[0]
    twin = good.copy()
    twin.loc[[0, far], "duplicate_group"] = "same"
    assert any(line.startswith("duplicate same") for line in splits.check(twin))
    assert "NOT disjoint" in splits.proof(twin)
    equal = good.assign(sha256=good["image_id"])
    equal.loc[[0, far], "sha256"] = "f00"
    assert any(line.startswith("sha256 f00") for line in splits.check(equal))
    assert "0 patients" in splits.proof(good)


def test_held_out_rows_take_no_part() -> None:
    good = splits.split(table(60))
    held = good["patient_id"] == good.loc[0, "patient_id"]
    good.loc[held[held].index[:1], "split"] = ""
    assert splits.check(good) == []


def test_test_stays_test() -> None:
    """What was in test stays there, also through a new duplicate of a train picture or a new image of its patient."""
    before = splits.split(table(120))
    tested = before[before["split"] == "test"]
    trained = before[before["split"] == "train"]
    grown = pd.concat([table(120), table(200, seed=9).assign(patient_id=lambda f: "new:" + f["patient_id"],
                                                              image_id=lambda f: "new-" + f["image_id"])])  # fmt: skip
    grown = grown.reset_index(drop=True)
    grown.loc[len(grown)] = ["late", 1, tested["patient_id"].iloc[0], "medrxiv", ""]
    grown.loc[grown["image_id"].isin([tested["image_id"].iloc[1], trained["image_id"].iloc[0]]), "duplicate_group"] = (
        "now"
    )
    after = splits.split(grown, seed=5, earlier=before).set_index("image_id")["split"]
    assert splits.check(grown.assign(split=grown["image_id"].map(after))) == []
    assert (after[tested["image_id"]] == "test").all()
    assert after["late"] == "test"
    assert after[trained["image_id"].iloc[0]] == "test"
    assert splits.moved_from_test(before, grown.assign(split=grown["image_id"].map(after))) == []
    for name in ("train", "val"):
        assert splits.moved_from_test(before, before.assign(split=name)) == sorted(tested["image_id"])


def test_a_tested_picture_under_another_name_stays_test() -> None:
    """Renamed, and of a patient that is not stated: its bytes tell."""
    old = pd.DataFrame({"image_id": ["gone"], "split": ["test"], "patient_id": [""], "sha256": ["f00"]})
    records = table(30).assign(sha256="")
    for row in (0, 20, 40):
        known = records.copy()
        known.loc[row, "sha256"] = "f00"
        assert splits.split(known, earlier=old).loc[row, "split"] == "test"


def test_one_giant_patient() -> None:
    """80 % of the images in one group: still disjoint, both classes everywhere, the deviation stated."""
    records = table(100, largest=2)
    giant = pd.DataFrame(
        {"image_id": [f"g{i}" for i in range(4 * len(records))], "label": 1, "patient_id": "giant", "source": "medrxiv"}
    )
    result = splits.split(pd.concat([records, giant], ignore_index=True))
    assert splits.check(result) == []
    assert set(result.groupby("split")["label"].nunique()) == {2}
    assert splits.deviation(result)["train"]["images"] > 0.1


def test_odd_tables() -> None:
    """An empty class, a patient with both labels, one image, no image: a split, not a crash."""
    assert splits.check(splits.split(table().query("label == 0"))) == []
    both = table().assign(label=lambda f: np.arange(len(f)) % 2)
    assert splits.check(splits.split(both)) == []
    assert splits.split(table().head(1))["split"].isin(["train", "val", "test"]).all()
    assert len(splits.split(table().head(0))) == 0


def test_bad_input_is_named() -> None:
    records = table(10)
    with pytest.raises(splits.SplitError, match="three shares"):
        splits.split(records, (0.5, 0.5))
    with pytest.raises(splits.SplitError, match="label 7"):
        splits.split(records.assign(label=7))
    with pytest.raises(splits.SplitError, match="occurs twice"):
        splits.split(pd.concat([records, records]))


def test_folds_and_sources() -> None:
    """Five equal folds of whole groups; leaving a source out tests on it alone."""
    records = table()
    fold = splits.folds(records, 5)
    assert fold.groupby("patient_id")["fold"].nunique().max() == 1
    assert fold["fold"].value_counts(normalize=True).between(0.18, 0.22).all()
    part = splits.leave_source_out(records.assign(duplicate_group=""), "pmc")
    assert set(part.loc[part["split"] == "test", "source"]) == {"pmc"}
    assert splits.check(part) == []
    with pytest.raises(splits.SplitError, match="expected one of medpix"):
        splits.leave_source_out(records, "nowhere")


def test_folds_and_sources_keep_groups_whole() -> None:
    """A picture shown twice is in one fold, a document too where asked; a test source takes its duplicates along."""
    records = table()
    assert (records["duplicate_group"] != "").sum() > 10
    shared = splits.folds(records, 5).query("duplicate_group != ''")
    assert shared.groupby("duplicate_group")["fold"].nunique().max() == 1
    papers = records.assign(document_id=[f"d{n // 4}" for n in range(len(records))])
    assert splits.folds(papers, 5).groupby("document_id")["fold"].nunique().max() > 1
    assert splits.folds(papers, 5, documents=True).groupby("document_id")["fold"].nunique().max() == 1
    alone = records.assign(duplicate_group="")
    pair = [alone.index[alone["source"] == source][0] for source in ("pmc", "medpix")]
    alone.loc[pair, "duplicate_group"] = "same"
    left = splits.leave_source_out(alone, "pmc")
    assert splits.check(left) == []
    person = left.loc[pair[1], "patient_id"]
    assert set(left.loc[left["source"] != "pmc"].query("split == 'test'")["patient_id"]) == {person}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 6), st.sampled_from(["a", "b", ""])), max_size=40
    ),
    st.integers(0, 5),
)
def test_always_disjoint(rows: list[tuple[int, int, int, str]], seed: int) -> None:
    """Whatever the table: the result is disjoint and complete."""
    records = pd.DataFrame(
        [(f"i{n}", y, f"p{p}", f"d{d}" if d < 3 else "", s) for n, (y, p, d, s) in enumerate(rows)],
        columns=["image_id", "label", "patient_id", "duplicate_group", "source"],
    )
    result = splits.split(records, seed=seed)
    assert splits.check(result) == []
    assert len(result) == len(rows)


def test_two_tables_put_together() -> None:
    """An index that repeats (pd.concat) changes nothing: the same splits and folds as with a fresh one."""
    one = table()
    half = len(one) // 2
    both = pd.concat([one.iloc[:half].reset_index(drop=True), one.iloc[half:].reset_index(drop=True)])
    assert both.index.has_duplicates
    for make in (splits.split, splits.folds, lambda r: splits.leave_source_out(r, "pmc")):
        made = make(both)
        column = made.columns[-1]
        assert made.index.equals(both.index)
        assert made[column].tolist() == make(one)[column].tolist()
    assert splits.check(splits.split(both)) == []


def test_one_name_in_two_spellings_and_words_for_nobody() -> None:
    """Composed and decomposed letters are one patient; nan, N/A and the like are nobody, as an empty cell is."""
    records = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(40)],
            "label": [n % 2 for n in range(40)],
            "patient_id": [
                unicodedata.normalize("NFC" if n < 20 else "NFD", f"M\u00fcller {n % 20}") for n in range(40)
            ],
        }
    )
    made = splits.split(records)
    assert made["split"].iloc[:20].tolist() == made["split"].iloc[20:].tolist()
    crossing = records.assign(split=["train"] * 20 + ["test"] * 20)
    assert len([line for line in splits.check(crossing) if "patient" in line]) == 20
    blank = records.assign(patient_id="", document_id=[f"d{n // 4}" for n in range(40)])
    for word in ("nan", "NaN", "N/A", "None", "unknown", "-"):
        assert (groups(blank.assign(patient_id=word)) == groups(blank)).all()
    assert len(set(groups(blank))) == 10
    # nor is it what an earlier version had in test
    earlier = pd.DataFrame({"image_id": ["x"], "split": ["test"], "patient_id": ["nan"]})
    again = splits.split(blank.assign(patient_id="nan"), earlier=earlier)
    assert again["split"].tolist() == splits.split(blank.assign(patient_id="nan"))["split"].tolist()
