"""Foreign folders and tables: classes, patients and splits as people write them; what joins nothing is said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from covidct.checks import people
from covidct.checks.intake import read_folder
from covidct.checks.model import Folder
from covidct.checks.words import class_of, split_of
from tests.covidct.conftest import picture, save


def folder_of(root: Path, *names: str, **texts: str) -> Folder:
    """A folder of pictures with tables or lists, ``table_csv="..."`` being table.csv."""
    for seed, name in enumerate(names):
        save(root / name, picture(seed))
    for name, content in texts.items():
        (root / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return read_folder(root)


def told(folder: Folder) -> dict[str, tuple[int | None, str, str]]:
    return {
        item.path.relative_to(folder.root).as_posix(): (item.label, item.patient, item.split) for item in folder.items
    }


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *(
            (t, 1)
            for t in ("COVID", "CT_COVID", "COVID-19 positive", "COVID_positive", "COVID-19 pneumonia", "1", "1.0")
        ),
        *((t, 1) for t in ("SARS-CoV-2", "positive", "yes", "covid19", "2019-nCoV pneumonia", "COVID_patients")),
        *(
            (t, 0)
            for t in (
                "NonCOVID",
                "CT_NonCOVID",
                "CTNonCOVID",
                "non-covid",
                "no COVID",
                "COVID-19 negative",
                "COVID-19: negative",
                "covid=no",
                "NORMAL2",
                "0",
            )
        ),
        *((t, 0) for t in ("normal", "Healthy_Control", "bacterial pneumonia", "tuberculosis", "Lung cancer", "CAP")),
        *((t, None) for t in ("", "nan", "N/A", "p0", "A", "suspected COVID-19", "COVID or not", "series 3")),
    ],
)
def test_class_words(text: str, label: int | None) -> None:
    assert class_of(text) == label


@pytest.mark.parametrize(
    ("text", "split"),
    [
        *((t, "train") for t in ("train", "Train set", "training-data", "TrainingSet", "train_images")),
        *((t, "val") for t in ("valid", "Validation", "dev set")),
        *((t, "test") for t in ("testing", "test_data", "Testset")),
        *((t, "") for t in ("", "data", "train and test", "test patient", "contest")),
    ],
)
def test_split_words(text: str, split: str) -> None:
    assert split_of(text) == split


def test_class_split_and_patient_are_read_from_any_folder_of_the_path(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, "train/COVID/p0/a.png", "test/COVID/p0/b.png", "train/NonCOVID/12/c.png", "Test set/Normal/d.png"
    )
    assert told(folder) == {
        "train/COVID/p0/a.png": (1, "COVID/p0", "train"),
        "test/COVID/p0/b.png": (1, "COVID/p0", "test"),
        "train/NonCOVID/12/c.png": (0, "NonCOVID/12", "train"),
        "Test set/Normal/d.png": (0, "", "test"),
    }
    assert ("patient-across-splits", "error") in {(f.kind, f.severity) for f in people.check(folder, [])[0]}
    assert "1 of 4 images have no patient" in folder.not_checked["patient-across-splits"]


def test_folders_of_patients_only_give_patients_and_no_class(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "patient 1/a.png", "patient 2/b.png")
    assert told(folder) == {"patient 1/a.png": (None, "patient 1", ""), "patient 2/b.png": (None, "patient 2", "")}
    assert "2 of 2 images have no class" in folder.not_checked["opposite-label"] and not folder.findings


def test_folders_0_and_1_are_classes_unless_there_are_others(tmp_path: Path) -> None:
    assert [i.label for i in folder_of(tmp_path / "a", "0/a.png", "1/b.png").items] == [0, 1]
    assert [i.label for i in folder_of(tmp_path / "b", "0/a.png", "1/b.png", "2/c.png").items] == [None] * 3


def test_a_class_that_cannot_be_told_is_a_finding_and_no_label(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "COVID/a.png", "Group X/b.png")
    assert [item.label for item in folder.items] == [1, None]
    assert any(f.items == ("b.png",) and "'Group X'" in f.evidence for f in folder.findings)


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_any_separator_and_any_spelling_of_a_column(tmp_path: Path, mark: str) -> None:
    rows = [
        ["image_path", "Diagnosis", "PatientID", "Data-Split"],
        ["x/a.png", "COVID-19 pneumonia", "P1", "Train set"],
    ]
    rows.append(["x/b.png", "healthy", "P1", "Testing"])
    content = "\n".join(mark.join(row) for row in rows)
    folder = folder_of(tmp_path, "x/a.png", "x/b.png", **{"table_tsv" if mark == "\t" else "table_csv": content})
    assert told(folder) == {"x/a.png": (1, "P1", "train"), "x/b.png": (0, "P1", "test")}
    assert not folder.findings and not folder.not_checked


def test_a_table_per_split_and_lists_of_any_name(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "a", "a.png", "b.png", train_csv="file,label\na.png,1\n", test_csv="file,label\nb.png,0\n"
    )
    assert [item.split for item in folder.items] == ["train", "test"]
    lists = {"training_txt": "a.png", "validation_txt": "b.png", "testing_txt": "c.png", "how to test_txt": "Run it."}
    folder = folder_of(tmp_path / "b", "a.png", "b.png", "c.png", **lists)
    assert [item.split for item in folder.items] == ["train", "val", "test"] and not folder.findings


def test_a_table_that_joins_nothing_and_a_missing_patient_column_are_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "COVID/a.png", "NonCOVID/b.png", table_csv="photo no,patient_id\n1,p1\n")
    assert [f.severity for f in folder.findings if "table.csv was joined to no picture" in f.evidence] == ["warning"]
    assert "2 of 2 images have no patient" in folder.not_checked["patient-across-splits"]


def test_rows_that_contradict_each_other_are_errors_whatever_the_table_is_called(tmp_path: Path) -> None:
    rows = (
        "file,label,patient_id,split\na.png,1,p0,test\nb.png,0,p1,train\na.png,0,p9,train\nb.png,NonCOVID,p1,training\n"
    )
    folder = folder_of(tmp_path, "a.png", "b.png", list_csv=rows)
    assert told(folder)["a.png"] == (1, "p0", "test")
    errors = [f for f in folder.findings if f.severity == "error"]
    assert {f.details["field"] for f in errors} == {"label", "patient", "split"}
    assert {f.items for f in errors} == {("a.png",)}


def test_two_tables_may_complete_but_not_contradict_each_other(tmp_path: Path) -> None:
    one, two = "file,label,patient_id\na.png,COVID,\n", "file,label,patient_id\na.png,1,p0\n"
    folder = folder_of(tmp_path, "a.png", "b.png", a_csv=one, b_csv=two)
    assert told(folder)["a.png"] == (1, "p0", "")
    assert not [f for f in folder.findings if "second" in f.evidence]


def test_words_for_nothing_are_no_patient_and_spellings_of_one_id_are_one(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Jos\u00e9 1") for form in ("NFC", "NFD"))
    rows = "file,label,patient_id,split\na.png,1,nan,train\nb.png,0,NaN,test\nc.png,1,N/A,train\nd.png,1,unknown,test\n"
    rows += f"e.png,1,{composed},train\nf.png,1,{apart},test\n"
    folder = folder_of(tmp_path, *(f"{n}.png" for n in "abcdef"), table_csv=rows)
    assert [item.patient for item in folder.items] == ["", "", "", "", composed, composed]
    across = [f.items for f in people.check(folder, [])[0] if f.kind == "patient-across-splits"]
    assert across == [("e.png", "f.png")]
