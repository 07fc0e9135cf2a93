"""Stage dataset: all sources together, one encoding, groups kept, contradictions stopped."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import covidct
from covidct import dataset, splits
from covidct.files import sha256_file
from covidct.records import COLUMNS, TableError, read_records, write_records


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)


def save(path: Path, grey: np.ndarray, mode: str = "L", form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).convert(mode).save(path, format=form)


def source(folder: Path, name: str, people: int = 12, split: str = "") -> Path:
    """A source's table with two pictures for each of ``people`` patients, every other one COVID."""
    rows = []
    for person in range(people):
        for panel in range(2):
            image_id = f"{name}-{person}%{panel}"
            save(folder / "images" / f"{image_id}.png", picture(zlib.crc32(image_id.encode())))
            rows.append(
                dict.fromkeys(COLUMNS, "")
                | {
                    "image_id": image_id,
                    "file": f"images/{image_id}.png",
                    "label": person % 2,
                    "source": name,
                    "label_name": ("NonCOVID", "COVID")[person % 2],
                    "patient_id": f"{name}:{person}",
                    "width": 40,
                    "height": 30,
                    "reviewed": True,
                    "inpainted_fraction": 0.0,
                    "split": split,
                    "sha256": sha256_file(folder / "images" / f"{image_id}.png"),
                    "licence": "cc-by",
                }
            )
    write_records(folder / "records.csv", pd.DataFrame(rows))
    return folder / "records.csv"


def failures(out: Path) -> dict[str, str]:
    lines = (out / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["item"]: row["reason"] for row in map(json.loads, lines)}


def test_sources_become_one_dataset(tmp_path: Path) -> None:
    """Files, tables, schemes and numbers of two sources; disjoint; the same again byte for byte."""
    tables = [source(tmp_path / "a", "medrxiv"), source(tmp_path / "b", "pmc")]
    for name in ("one", "two"):
        records = dataset.build(tables, tmp_path / name, duplicates=False)
    assert len(records) == 48
    assert splits.check(read_records(tmp_path / "one" / "records.csv")) == []
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 48 + 4 + 4
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    info = json.loads((tmp_path / "one" / "dataset.json").read_text())
    assert info["schemes"] == ["folds-5", "grouped", "without-medrxiv", "without-pmc"]
    assert info["duplicates"]["status"] == "not checked"
    assert info["section_iii_a"]["COVID"]["height"] == {"average": 30.0, "maximum": 30, "minimum": 30}
    assert info["paper_disagrees"] == []
    assert info["violations"] == []
    table = pd.read_csv(tmp_path / "one" / "table1.csv").set_index(["label_name", "split"])
    assert table.loc[("COVID", "all")].tolist() == [24, 12]


def test_a_clash_a_damaged_and_a_foreign_picture_are_rows(tmp_path: Path) -> None:
    """An id another source has, a changed file, a missing one and one outside the folder fail alone."""
    first = source(tmp_path / "a", "x")
    second = source(tmp_path / "b", "y")
    records = read_records(second)
    records.loc[0, "image_id"] = "X-0%0"
    records.loc[1, "file"] = "../a/images/x-0%0.png"
    records.loc[2, "image_id"] = "../../evil"
    write_records(second, records)
    records = read_records(second).set_index("image_id")
    save(tmp_path / "b" / records.loc["y-2%0", "file"], picture(1))
    (tmp_path / "b" / records.loc["y-2%1", "file"]).write_bytes(b"")
    (tmp_path / "b" / records.loc["y-3%0", "file"]).unlink()
    out = tmp_path / "out"
    assert len(dataset.build([first, second], out, duplicates=False)) == 48 - 6
    reasons = failures(out)
    assert "already taken" in reasons["X-0%0"]
    assert "leaves" in reasons[records[records["file"] == "../a/images/x-0%0.png"].index[0]]
    assert "no file name" in reasons["../../evil"]
    assert "sha256 differs" in reasons["y-2%0"]
    assert "empty file" in reasons["y-2%1"]
    assert "y-3%0" in reasons
    assert not (tmp_path / "evil.png").exists()


def test_other_encodings_are_made_uniform(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    records = read_records(table)
    save(tmp_path / "a" / records.loc[0, "file"], picture(3, (50, 20)), "RGB", "JPEG")
    write_records(table, records.assign(sha256=""))
    out = dataset.build([table], tmp_path / "out", duplicates=False).set_index("image_id")
    row = out.loc[records.loc[0, "image_id"]]
    assert (row["width"], row["height"]) == (50, 20)
    assert (tmp_path / "out" / row["file"]).read_bytes().startswith(b"\x89PNG")


def stand_in(monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[int, int, str]]) -> None:
    duplicates = pytest.importorskip("covidct.duplicates")
    monkeypatch.setattr(duplicates, "find", lambda images: pairs)


def test_same_pictures_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs chain into one group that never crosses splits; two labels on one picture stop the build."""
    table = source(tmp_path / "a", "x", people=20)
    ids = read_records(table)["image_id"].tolist()
    at = {name: number for number, name in enumerate(ids)}
    stand_in(monkeypatch, [(at["x-1%0"], at["x-3%0"], "e"), (at["x-3%0"], at["x-5%1"], "e")])
    records = dataset.build([table], tmp_path / "out").set_index("image_id")
    assert set(records.loc[["x-1%0", "x-3%0", "x-5%1"], "duplicate_group"]) == {"same-x-1%0"}
    assert records.loc[["x-1%1", "x-3%1", "x-5%1"], "split"].nunique() == 1
    stand_in(monkeypatch, [(at["x-1%0"], at["x-2%0"], "e")])
    with pytest.raises(dataset.BuildError, match="1 pictures carry both labels"):
        dataset.build([table], tmp_path / "no")
    assert not (tmp_path / "no" / "records.csv").exists()
    write_records(table, read_records(table).assign(split="train"))
    dataset.build([table], tmp_path / "as-is", "published")
    assert json.loads((tmp_path / "as-is" / "dataset.json").read_text())["opposite_labels"][0]["COVID"] == ["x-1%0"]


def test_groups_that_a_source_states_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture found again elsewhere brings its stated group along; one that nothing touches keeps its name."""
    table = source(tmp_path / "a", "x", people=20)
    records = read_records(table)
    records.index = records["image_id"].rename(None)
    records.loc[["x-1%0", "x-3%0"], "duplicate_group"] = "A"
    records.loc[["x-7%0", "x-9%0"], "duplicate_group"] = "B"
    write_records(table, records)
    at = {name: number for number, name in enumerate(read_records(table)["image_id"])}
    stand_in(monkeypatch, [(at["x-3%0"], at["x-5%1"], "e")])
    made = dataset.build([table], tmp_path / "out").set_index("image_id")
    assert set(made.loc[["x-1%0", "x-3%0", "x-5%1"], "duplicate_group"]) == {"same-x-1%0"}
    assert made.loc[["x-1%0", "x-3%0", "x-5%1"], "split"].nunique() == 1
    assert made["duplicate_group"].value_counts().to_dict() == {"": 35, "same-x-1%0": 3, "B": 2}


def test_a_build_leaves_nothing_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes and pictures of an earlier build go; a refused one changes nothing and leaves nothing beside it."""
    out = tmp_path / "out"
    dataset.build([source(tmp_path / "a", "x", people=20)], out, duplicates=False)
    dataset.build([source(tmp_path / "b", "y")], out, duplicates=False, folds=3)
    assert covidct.load(out).schemes == ["folds-3", "grouped"]
    assert len(list((out / "images").iterdir())) == 24
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    table = source(tmp_path / "c", "z")
    stand_in(monkeypatch, [(0, 2, "e")])
    for folder in (out, tmp_path / "new"):
        with pytest.raises(dataset.BuildError, match="carry both labels"):
            dataset.build([table], folder)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "out"]


def test_other_peoples_pictures_are_not_replaced(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    with pytest.raises(dataset.BuildError, match=r"is the folder of the input records\.csv"):
        dataset.build([table], tmp_path / "a", duplicates=False)
    save(tmp_path / "mine" / "images" / "holiday.png", picture(1))
    with pytest.raises(dataset.BuildError, match="pictures of unknown origin"):
        dataset.build([table], tmp_path / "mine", duplicates=False)
    assert (tmp_path / "mine" / "images" / "holiday.png").is_file() and len(read_records(table)) == 24


def test_what_failed_is_where_the_message_says(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    write_records(table, read_records(table).assign(sha256="0" * 64))
    with pytest.raises(dataset.BuildError) as raised:
        dataset.build([table], tmp_path / "out", duplicates=False)
    assert str(tmp_path / "out" / "failed.jsonl") in str(raised.value)
    assert len(failures(tmp_path / "out")) == 24
    dataset.build([source(tmp_path / "b", "x")], tmp_path / "out", duplicates=False)


def test_a_damaged_table_stops_with_one_message(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    table.write_bytes(b"")
    with pytest.raises((dataset.BuildError, TableError), match=r"records\.csv: expected"):
        dataset.build([table], tmp_path / "out", duplicates=False)
    (tmp_path / "releases" / "v1").mkdir(parents=True)
    (tmp_path / "releases" / "v1" / "splits.csv").write_bytes(b"")
    with pytest.raises(dataset.BuildError, match=r"splits\.csv: expected a CSV"):
        dataset.earlier_splits(str(tmp_path / "releases"))


def test_earlier_test_stays_test(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x", people=30)
    first = dataset.build([table], tmp_path / "one", duplicates=False)
    folder = tmp_path / "releases" / "v1"
    folder.mkdir(parents=True)
    first[["image_id", "patient_id", "split"]].to_csv(folder / "splits.csv", index=False)
    second = dataset.build([table], tmp_path / "two", seed=9, duplicates=False, earlier=str(tmp_path / "releases"))
    assert splits.split_hash(first) == splits.split_hash(second)
    pd.DataFrame({"name": ["x"]}).to_csv(folder / "splits.csv", index=False)
    with pytest.raises(dataset.BuildError, match="missing: image_id, split"):
        dataset.build([table], tmp_path / "no", duplicates=False, earlier=str(tmp_path / "releases"))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: f.assign(label=3), TableError, "expected 0 .NonCOVID. or 1 .COVID., got '3'"),
        (lambda f: f.drop(columns="patient_id"), TableError, "missing: patient_id"),
        (lambda f: f.assign(split="Test"), TableError, "expected train, val, test or empty"),
        (lambda f: pd.concat([f, f.head(1)]), TableError, "a value used once"),
        (lambda f: f.head(0), dataset.BuildError, "no images in .*label them: covidct label serve"),
        (lambda f: f.assign(sha256="0" * 64), dataset.BuildError, "none of 24 images could be used"),
    ],
)
def test_bad_tables_stop_with_one_message(tmp_path: Path, change, error, words: str) -> None:
    table = source(tmp_path / "a", "x")
    change(pd.read_csv(table, dtype=str, keep_default_na=False)).to_csv(table, index=False)
    with pytest.raises(error, match=words):
        dataset.build([table], tmp_path / "out", duplicates=False)
    run = CliRunner().invoke(dataset.app, ["--records", str(table), "--out", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert not (tmp_path / "out" / "records.csv").exists()


def test_a_patient_with_both_labels_is_allowed_and_told(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    name = rows["patient_id"].iloc[0]
    rows.loc[rows["label"] != rows["label"].iloc[0], "patient_id"] = name
    rows.to_csv(table, index=False)
    dataset.build([table], tmp_path / "out", duplicates=False)
    info = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert info["patients_with_both_labels"] == [name]
    assert info["violations"] == []


def test_scheme_published_needs_a_split(tmp_path: Path) -> None:
    table = source(tmp_path / "a", "x")
    with pytest.raises(dataset.BuildError, match="no image comes with a split"):
        dataset.build([table], tmp_path / "out", "published", duplicates=False)
    with pytest.raises(dataset.BuildError, match="expected one of grouped, published"):
        dataset.build([table], tmp_path / "out", "random", duplicates=False)


@pytest.mark.real
def test_the_real_release_as_published(real_published: tuple[Path, object], tmp_path: Path) -> None:
    """Table I exact, and the disagreement with the paper's text reported."""
    dataset.build([real_published[0] / "records.csv"], tmp_path / "out", "published", duplicates=False)
    info = json.loads((tmp_path / "out" / "dataset.json").read_text())
    said = {row["what"]: (row["paper"], row["here"]) for row in info["paper_disagrees"]}
    assert said["COVID train patients"] == (130, 128)
    assert said["COVID patients"] == (143, 213)
    assert "COVID train images" not in said
    assert info["section_iii_a"]["COVID"]["images per patient"] == {"average": 1.638, "maximum": 16, "minimum": 1}
    assert np.isclose(info["section_iii_a"]["COVID"]["height"]["average"], 301.711)


def test_without_the_extra_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not looked for is never the same as not found."""
    monkeypatch.setitem(sys.modules, "covidct.duplicates", None)
    monkeypatch.delattr("covidct.duplicates", raising=False)
    table = source(tmp_path / "a", "x")
    dataset.build([table], tmp_path / "out")
    status = json.loads((tmp_path / "out" / "dataset.json").read_text())["duplicates"]
    assert status["status"] == "not checked"
    assert "audit" in status["reason"]
