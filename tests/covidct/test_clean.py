"""The cleaned version of a release, by the command: loadable, disjoint, pixels untouched outside masks, explained."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import covidct
from covidct import clean, pictures, registry, release, splits
from covidct.records import read_records

NAMES = {
    "test": "2020.02.05.20000005-p3-45%0",  # COVID, test
    "val": "2020.02.04.20000004-p3-44%0",
    "train": "2020.02.01.20000001-p3-41%0",
}


def findings(path: Path) -> Path:
    """What an audit of the drawn release could say: a leak, a doubt, a birth date, a redundant slice."""
    test, val, train = (f"{NAMES[key]}.png" for key in ("test", "val", "train"))
    rows: list[dict[str, Any]] = [
        {"kind": "same-picture", "severity": "error", "items": [val, test], "evidence": "one picture"},
        {"kind": "label-in-doubt", "severity": "error", "items": [train], "evidence": "the control",
         "details": {"sure": True}},
        {"kind": "personal-data", "severity": "error", "items": ["20.png"], "evidence": "born",
         "details": {"what": "birth date", "boxes": {"20.png": [[2, 3, 20, 9]]}}},
        {"kind": "redundant", "severity": "note", "items": ["1%0.jpg", "1%1.jpg"], "evidence": "near",
         "details": {"pairs": [{"items": ["1%0.jpg", "1%1.jpg"], "same": False, "correlation": 0.97}]}},
    ]  # fmt: skip
    path.write_text(json.dumps({"findings": [{"id": f"f{i}", "remedy": "", **row} for i, row in enumerate(rows)]}))
    return path


@pytest.fixture
def cleaned(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(clean, "marks_in", lambda folder, records: lambda name: 0.0)  # drawn noise has no arrows
    out = tmp_path / "cleaned"
    clean.clean(release, out, findings(tmp_path / "audit.json"))
    return out


def test_it_is_a_dataset(cleaned: Path, shared_dataset: Path) -> None:
    """Held out is in no split; test stays test; the group of the leak is in test; every image is accounted for."""
    ds, old = covidct.load(cleaned), covidct.load(shared_dataset)
    assert splits.check(ds.records, documents=True) == []
    assert ds.verify() == []
    split = ds.records.set_index("image_id")["split"]
    assert split[NAMES["train"]] == ""
    assert NAMES["val"] not in split.index
    assert split["2020.02.04.20000004-p3-44%12"] == "test"  # the person of the removed copy
    was = old.records.set_index("image_id")["split"]
    assert set(split[split.isin(["train", "val"])].index) & set(was[was == "test"].index) == set()
    assert {"cleaned", "published", "folds-5"} <= set(ds.schemes)
    assert NAMES["train"] not in set(covidct.load(cleaned, scheme="folds-5").records.query("split != ''")["image_id"])
    table = pd.read_csv(cleaned / "cleaning.csv")
    assert set(table["image_id"]) == set(was.index)
    text = (cleaned / "CLEANING.md").read_text()
    assert "24 images; " in text
    assert f"| {NAMES['val']} | val |  | the same picture as {NAMES['test']}, which stays |" in text


def test_what_the_audit_could_not_check_is_said(release: Path, tmp_path: Path, caplog: Any) -> None:
    """No Tesseract, no burned-in names found: whoever reads the cleaned version must know that they may be there."""
    audit = findings(tmp_path / "audit.json")
    stated = json.loads(audit.read_text()) | {"not_checked": {"personal-data": "tesseract is not installed"}}
    audit.write_text(json.dumps(stated))
    out = tmp_path / "cleaned"
    clean.clean(release, out, audit)
    assert "- personal-data: tesseract is not installed" in (out / "CLEANING.md").read_text()
    assert covidct.load(out).info["not_checked"] == stated["not_checked"]
    assert "not cleaned of personal-data" in caplog.text


def test_only_masked_pixels_change(cleaned: Path, shared_dataset: Path) -> None:
    new, old = (
        pictures.to_grey(pictures.open_picture(root / "images" / "20.png")) for root in (cleaned, shared_dataset)
    )
    box = np.zeros(new.shape, bool)
    box[3:9, 2:20] = True
    assert (new[~box] == old[~box]).all()
    assert len(np.unique(new[box])) == 1
    row = covidct.load(cleaned).records.set_index("image_id").loc["20"]
    assert row["inpainted_fraction"] == pytest.approx(box.mean(), abs=1e-6)
    others = [p for p in (cleaned / "images").iterdir() if p.name != "20.png"]
    assert all(p.read_bytes() == (shared_dataset / "images" / p.name).read_bytes() for p in others)


def test_boxes_outside_the_picture_are_cut() -> None:
    grey = np.full((10, 10), 7, np.uint8)
    same, share = clean.painted(grey, [(-5, -5, 3, 2), (9, 9, 99, 99), (4, 4, 4, 9), (50, 50, 60, 60)])
    assert share == pytest.approx(0.07)
    assert (same == 7).all()
    assert clean.painted(grey, [(0, 0, 10, 10)])[1] == 1.0


def test_both_versions_released_and_compared(
    cleaned: Path, shared_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As published and cleaned are versions of one line; each removal from test has the reason of the cleaning."""
    pytest.importorskip("mlcroissant")
    monkeypatch.setenv("COVIDCT_HOME", str(tmp_path / "home"))
    repository = tmp_path / "repo"
    (repository / registry.RELEASES).mkdir(parents=True)
    common: dict[str, Any] = {"images": "all", "waive": "a test", "date": "2026-01-02"}
    release.build(shared_dataset, repository, release.Wish("2020-v1", **common))
    reasons = release.read_reasons(cleaned / "reasons.csv")
    release.build(cleaned, repository, release.Wish("2020-v2", reasons=reasons, **common))
    folder = repository / "releases" / "2020-v2"
    changes = (folder / "CHANGES.md").read_text()
    assert "compared with 2020-v1" in changes
    assert "held out: label for review: the control" in changes
    assert (folder / "CLEANING.md").is_file()
    one, two = (covidct.load(name, repo=repository) for name in ("2020-v1", "2020-v2"))
    assert (len(one.records), len(two.records)) == (24, 22)
    assert one.version == "2020-v1"


def test_same_input_same_bytes(cleaned: Path, release: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    clean.clean(release, again, tmp_path / "audit.json")
    for path in sorted(cleaned.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(cleaned)).read_bytes(), path.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audit": "[]"}, "expected the JSON of `covidct audit`"),
        ({"audit": '{"findings": [{"kind": "x"}]}'}, "expected the JSON of `covidct audit`"),
        (
            {
                "audit": '{"findings": [{"kind": "redundant", "severity": "note", "items": [], "evidence": "", '
                '"details": {"pairs": [[1, 2]]}}]}'
            },
            "expected details as `covidct audit` writes them",
        ),
        ({"decisions": "image_id,decision\n"}, "missing: reason"),
        ({"decisions": "image_id,decision,reason\na,keep,x\na,hold,x\n"}, "image 'a' is decided twice"),
        ({"decisions": "image_id,decision,reason\nno-such,keep,x\n"}, "image 'no-such' is not in the release"),
    ],
)
def test_bad_input_is_said(release: Path, tmp_path: Path, change: dict[str, str], message: str, caplog: Any) -> None:
    arguments = ["--root", str(release), "--out", str(tmp_path / "out")]
    for name, text in {"audit": findings(tmp_path / "a.json").read_text(), **change}.items():
        path = tmp_path / f"{name}.file"
        path.write_text(text)
        arguments += [f"--{name}", str(path)]
    result = CliRunner().invoke(clean.app, arguments)
    assert result.exit_code == 1
    assert message in caplog.text
    assert not (tmp_path / "out" / "records.csv").exists()


@pytest.mark.real
def test_the_release_of_2020(
    real_data: Path, real_published: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents that the published split cuts through are put back together, even without a finding."""
    folder, failures = real_published

    def converted(root: Path, out: Path) -> tuple[pd.DataFrame, Any]:
        shutil.copytree(folder / "images", out / "images", copy_function=os.link)
        return read_records(folder / "records.csv"), failures

    monkeypatch.setattr(clean.published, "convert", converted)  # converted once for all tests of this session
    audit = tmp_path / "audit.json"
    audit.write_text(json.dumps({"findings": []}))
    records = clean.clean(real_data / "covid-ct", tmp_path / "out", audit)
    assert len(records) == 746
    assert splits.check(records, documents=True) == []
    table = pd.read_csv(tmp_path / "out" / "cleaning.csv")
    assert table["image_id"].nunique() == 746
    moved = table[table["action"] == "moved"]
    assert len(moved) > 0
    assert set(moved["after"]) <= {"val", "test"}
