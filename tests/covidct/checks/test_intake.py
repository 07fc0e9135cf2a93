"""Any folder of pictures: ours, the 2020 release, or whatever lies there; what does not fit is a finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidct.checks import intake
from covidct.checks.model import AuditError, date_of


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, (24, 30), dtype=np.uint8)
    Image.fromarray(grey).save(path, format="JPEG" if path.suffix == ".jpg" else "PNG")


def evidence(folder) -> str:
    return " | ".join(f"{f.severity} {f.kind} {f.evidence}" for f in folder.findings)


def test_class_and_split_come_from_folder_names(tmp_path: Path) -> None:
    for n, name in enumerate(
        ("train/COVID/a.png", "train/normal/b.png", "validation/covid-19/c.jpg", "test/normal/d.png")
    ):
        save(tmp_path / name, n)
    folder = intake.read_folder(tmp_path)
    told = {i.name: (i.label, i.split) for i in folder.items}
    assert told == {"a.png": (1, "train"), "b.png": (0, "train"), "c.jpg": (1, "val"), "d.png": (0, "test")}
    assert folder.findings == []


def test_tables_and_lists_join_whatever_they_are_called(tmp_path: Path) -> None:
    for n in range(4):
        save(tmp_path / f"pictures/x%1{n}.png", n)
    (tmp_path / "meta.csv").write_text(
        "Image Name,Class,Patient ID,Captions\nx%10,COVID,Patient 1 ,a\nX%11.PNG,other,P2,b\n"
        ",,,a tail\nx%19,COVID,P9,c\n",
        encoding="utf-8",
    )
    (tmp_path / "train.txt").write_text("x%10.png\r\nx%11.png\r\n", encoding="utf-8")
    (tmp_path / "testCT_COVID.txt").write_text("x%12.png\nx%10.png\nnobody.png\n", encoding="utf-8")
    folder = intake.read_folder(tmp_path)
    told = [(i.label, i.patient, i.split, i.caption) for i in folder.items]
    assert told[:2] == [(1, "Patient 1", "train", "a"), (0, "P2", "train", "b")] or told[0][2] == "test"
    text = evidence(folder)
    assert "names 2 pictures that are not there" in text and "lists 1 pictures that are not there" in text
    assert "another split lists too" in text


def test_bad_labels_one_class_and_two_files_of_one_name(tmp_path: Path) -> None:
    save(tmp_path / "one/a.png")
    save(tmp_path / "two/a.png", 1)
    save(tmp_path / "two/b.png", 2)
    (tmp_path / "t.csv").write_text("file,label\none/a.png,1\ntwo/b.png,3\ntwo/a.png,1\n", encoding="utf-8")
    folder = intake.read_folder(tmp_path)
    text = evidence(folder)
    assert "labels outside {0, 1}" in text and "only one class" in text and "several pictures of one name" in text
    assert [i.name for i in folder.items] == ["one/a.png", "two/a.png", "b.png"]


def test_damaged_files_are_an_error_and_the_rest_is_audited(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:80])
    (tmp_path / "text.jpg").write_bytes(b"<html>not found</html>")
    folder = intake.read_folder(tmp_path)
    (finding,) = folder.findings
    assert finding.severity == "error" and set(finding.items) == {"empty.png", "cut.png", "text.jpg"}
    assert [i.name for i in folder.items] == ["good.png"]


def test_a_broken_table_is_said_and_passed(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes(b"")
    (tmp_path / "u.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    folder = intake.read_folder(tmp_path)
    assert len(folder.items) == 1 and len(folder.findings) == 2


def test_our_own_table_must_fit_the_disk(shared_dataset: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "dataset"
    shutil.copytree(shared_dataset, copy)
    folder = intake.read_folder(copy)
    assert (
        folder.layout == "records"
        and len(folder.items) == 24
        and {i.split for i in folder.items} == {"train", "val", "test"}
    )
    assert all(i.patient and i.source and i.document for i in folder.items)
    save(copy / "images/stray.png", 5)
    Path(copy / folder.items[0].path.relative_to(copy)).unlink()
    text = evidence(intake.read_folder(copy))
    assert "names 1 pictures that are not there" in text and "the table does not list" in text


def test_the_release_is_known_by_its_folders(release: Path) -> None:
    folder = intake.read_folder(release)
    assert folder.layout == "release" and len(folder.items) == 24 and folder.window[0] == "2020-01-19"
    text = evidence(folder)
    assert "stray row" in text and "joined only after mending" in text
    assert {i.patient for i in folder.items if "Patient 3" in i.patient} == {"published-covid:Patient 3"}


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p])
def test_nothing_to_audit_is_said(tmp_path: Path, make) -> None:
    with pytest.raises(AuditError, match="expected"):
        intake.read_folder(make(tmp_path))
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(AuditError, match="none of 1 pictures"):
        intake.read_folder(tmp_path)


@pytest.mark.real
def test_the_real_release_joins_as_measured(real_data: Path) -> None:
    folder = intake.read_folder(real_data / "covid-ct")
    assert folder.metrics["joined"]["COVID"]["rows"] == 349 and folder.metrics["patient_ids"]["missing"] == [
        77,
        79,
        198,
    ]
    assert folder.metrics["patients_by_id"]["NonCOVID"] == {"all": 171, "train": 105, "val": 24, "test": 42}


@pytest.mark.parametrize(
    ("document", "day"),
    [
        ("published-covid:2020.03.26.20041426", "2020-03-26"),
        ("10.1101/2020.02.13.945485", "2020-02-13"),
        ("20020614", ""),
    ],
)
def test_preprints_carry_their_day(document: str, day: str) -> None:
    assert date_of(document) == day
