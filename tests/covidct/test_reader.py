"""load(): what a researcher holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import covidct
from covidct import cli, pictures
from covidct.files import sha256_file
from covidct.reader import DatasetError
from covidct.records import TableError, read_records, write_records


def test_three_lines(shared_dataset: Path) -> None:
    """Load, iterate (PIL image, label), evaluate."""
    ds = covidct.load(shared_dataset)
    assert [len(part) for part in (ds.train, ds.val, ds.test)] == [12, 4, 8]
    image, _ = ds.train[0]
    assert isinstance(image, Image.Image)
    assert image.mode == "L"
    assert [label for _, label in ds.test] == ds.test.labels.tolist()
    assert ds.test.evaluate(ds.test.labels).auc == 1
    assert ds.evaluate(ds.test.labels).auc == 1
    assert ds.test.evaluate(1 - ds.test.labels).auc == 0
    assert set(ds.train.records.columns) == set(covidct.reader.read_records(shared_dataset / "records.csv").columns)


def test_print_says_what_it_is(shared_dataset: Path) -> None:
    said = str(covidct.load(shared_dataset))
    for words in (
        "unreleased",
        "scheme published",
        "12 / 6",
        "published-pmc 6",
        "licences: not stated 24",
        "24 images of",
    ):
        assert words in said


def test_scores_by_image_id(shared_dataset: Path) -> None:
    """Order does not matter by id; missing, unknown and too few scores are errors that name them."""
    test = covidct.load(shared_dataset).test
    scores = dict(zip(test.records["image_id"], np.linspace(0, 1, len(test)), strict=True))
    mixed = dict(reversed(scores.items()))
    assert test.evaluate(mixed) == test.evaluate(np.linspace(0, 1, len(test)))
    assert test.evaluate(pd.Series(mixed)).auc == test.evaluate(scores).auc
    first = next(iter(scores))
    with pytest.raises(DatasetError, match="1 missing"):
        test.evaluate({k: v for k, v in scores.items() if k != first})
    with pytest.raises(DatasetError, match="'nobody'"):
        test.evaluate({**scores, "nobody": 1.0})
    with pytest.raises(DatasetError, match="expected 8 for test, got 3"):
        test.evaluate([0.1, 0.2, 0.3])


def test_a_series_goes_by_its_index(shared_dataset: Path) -> None:
    """Names that are not the image ids never fall back to the order; only the default index means it."""
    test = covidct.load(shared_dataset).test
    ids, values = test.records["image_id"].tolist(), np.linspace(0, 1, len(test))
    in_order = test.scores_in_order(values)
    assert (test.scores_in_order(pd.Series(values, index=ids)[::-1]) == in_order).all()
    assert (test.scores_in_order(pd.Series(values)) == in_order).all()
    assert (test.scores_in_order(pd.DataFrame({"p": values}).assign(n=1).iloc[::-1]["p"]) == in_order[::-1]).all()
    for index, words in (
        (["mistyped", *ids[1:]], "1 missing, e.g. '" + ids[0]),
        ([ids[1], *ids[1:]], "stands twice"),
        (pd.date_range("2020-01-01", periods=len(ids)), "8 missing"),
        (np.arange(len(ids)) / 2, "8 missing"),
    ):
        with pytest.raises(DatasetError, match=words):
            test.evaluate(pd.Series(values, index=index)[::-1])
    numbered = covidct.reader.Subset(test.root, test.records.assign(image_id=[str(n) for n in range(101, 109)]), "test")
    assert (numbered.scores_in_order(pd.Series(values, index=range(101, 109)).iloc[::-1]) == in_order).all()


def test_scores_that_are_no_numbers(shared_dataset: Path) -> None:
    test = covidct.load(shared_dataset).test
    ids = test.records["image_id"].tolist()
    for scores, words in (
        (["high"] * 8, "expected numbers, got .*high"),
        ([None] * 7 + [[1, 2]], "expected numbers"),
        (dict.fromkeys(ids, None), f"image '{ids[0]}': expected a number, got None"),
        (pd.Series("high", index=ids), "expected a number, got 'high'"),
        ({**dict.fromkeys(ids, 0.5), 3: 0.1, "x": 0.1}, "2 for images not in test: '3'"),
    ):
        with pytest.raises(DatasetError, match=words):
            test.evaluate(scores)


def test_what_is_not_there_is_said(shared_dataset: Path) -> None:
    """A combination that no image has is an error, as a value that none has; a slice is told what to write."""
    ds = covidct.load(shared_dataset)
    assert len(ds.only(label=1, split="test").only(label=["0", "1"])) > 0
    with pytest.raises(DatasetError, match=r"only\(label=1, source='published-pmc'\): no image has all of these"):
        ds.only(label=1, source="published-pmc")
    with pytest.raises(TypeError, match="expected a whole number"):
        ds.train[0:2]
    assert ds.train[np.int64(-1)][1] == ds.train.labels[-1]


def test_intervals_are_over_patients(shared_dataset: Path) -> None:
    test = covidct.load(shared_dataset).test
    found = test.evaluate(np.linspace(0, 1, len(test)))
    assert found.clustered
    assert found.groups == test.records["patient_id"].nunique() < len(test)


def test_only_and_schemes(shared_dataset: Path, tmp_path: Path) -> None:
    ds = covidct.load(shared_dataset)
    assert set(ds.only(source="published-pmc").records["source"]) == {"published-pmc"}
    with pytest.raises(DatasetError, match="values here: published-covid"):
        ds.only(source="nowhere")
    with pytest.raises(DatasetError, match="expected a column"):
        ds.only(colour="red")
    assert ds.schemes == [
        "folds-5", "published", "without-published-covid", "without-published-medpix", "without-published-pmc"
    ]  # fmt: skip
    fold = ds.scheme("folds-5", 2)
    assert fold.check() == []
    assert len(fold.train) + len(fold.val) + len(fold.test) == 24
    assert len(covidct.load(shared_dataset, scheme="folds-5").test) == len(ds.scheme("folds-5").test)
    with pytest.raises(DatasetError, match="expected one of folds-5"):
        ds.scheme("nothing")
    with pytest.raises(DatasetError, match="fold 7"):
        ds.scheme("folds-5", 7)
    shutil.copytree(shared_dataset, tmp_path / "d")
    path = tmp_path / "d" / "splits" / "published.csv"
    path.write_text(path.read_text() + "stranger,test\n")
    with pytest.raises(DatasetError, match="'stranger' is not in the dataset"):
        covidct.load(tmp_path / "d").scheme("published")


def test_a_fold_is_test_and_the_next_one_val(shared_dataset: Path) -> None:
    """After the last fold comes the first; every image is tested once."""
    ds = covidct.load(shared_dataset)
    table = pd.read_csv(shared_dataset / "splits" / "folds-5.csv", dtype=str)
    folds = [set(part["image_id"]) for _, part in table.groupby("fold")]
    assert len(folds) == 5 and min(map(len, folds)) > 0
    for number in range(5):
        parts = ds.scheme("folds-5", number)
        test, val, train = (set(part.records["image_id"]) for part in (parts.test, parts.val, parts.train))
        assert (test, val) == (folds[number], folds[(number + 1) % 5])
        assert train == set(table["image_id"]) - test - val


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,part\n", "expected columns image_id and split"),
        ("image_id,split\n0,Train\n", "split 'Train': expected train, val, test or nothing"),
        ("image_id,fold\n0,one\n", "fold 'one': expected a whole number from 0"),
        ("image_id,fold\n0,-1\n", "fold '-1': expected a whole number from 0"),
    ],
)
def test_split_files_are_checked(shared_dataset: Path, tmp_path: Path, text: str, words: str) -> None:
    shutil.copytree(shared_dataset, tmp_path / "d")
    name = covidct.load(shared_dataset).records["image_id"].iloc[0]
    path = tmp_path / "d" / "splits" / "mine.csv"
    path.write_text(text.replace("\n0,", f"\n{name},"))
    with pytest.raises(DatasetError, match=words):
        covidct.load(tmp_path / "d", scheme="mine")
    path.write_text(f"image_id,split\n{name},train\n{name},test\n")
    with pytest.raises(DatasetError, match="occurs twice"):
        covidct.load(tmp_path / "d", scheme="mine")


@pytest.mark.parametrize("spelling", ["CC-BY", "cc_by", "CC BY 4.0", "cc-by-4.0"])
def test_licences_match_in_any_spelling_but_not_others(shared_dataset: Path, spelling: str) -> None:
    ds = covidct.load(shared_dataset)
    licences = ["CC-BY-4.0", "cc_by", "CC-BY-NC-4.0", "cc_by_nd"] * 6
    mixed = covidct.Dataset(ds.root, ds.records.assign(licence=licences))
    assert set(mixed.only(licence=spelling).records["licence"]) == {"CC-BY-4.0", "cc_by"}


def test_damage_is_found(shared_dataset: Path, tmp_path: Path) -> None:
    """verify() names a changed and a missing picture; reading a damaged one says what to do."""
    shutil.copytree(shared_dataset, tmp_path / "d")
    ds = covidct.load(tmp_path / "d")
    assert ds.verify() == []
    first, second = (tmp_path / "d" / file for file in ds.train.records["file"].head(2))
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()
    problems = ds.verify()
    assert len(problems) == 2
    assert any(line.endswith("missing") for line in problems)
    with pytest.raises(DatasetError, match="covidct verify"):
        _ = ds.train[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("records.csv", b""),
        ("records.csv", "image_id,caf\u00e9\nx,\u00fc\n".encode("latin-1")),
        ("records.csv", "image_id,file\nx,y\n".encode("utf-16")),
        ("records.csv", b'image_id,file\nx,y,z,z\na,b\nc,"d'),
        ("dataset.json", b"[1]"),
        ("dataset.json", b'"text"'),
        ("dataset.json", b"\xff\xfe"),
    ],
)
def test_damaged_files_are_told_in_words(shared_dataset: Path, tmp_path: Path, name: str, content: bytes) -> None:
    """Python says which file, what it expected and what to do; the command says it without a traceback."""
    folder = tmp_path / "d"
    shutil.copytree(shared_dataset, folder)
    (folder / name).write_bytes(content)
    with pytest.raises((DatasetError, TableError), match=f"{name}: expected"):
        covidct.load(folder)
    done = CliRunner().invoke(cli.app, ["info", str(folder)])
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)


def test_a_damaged_split_file_is_told_in_words(shared_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_dataset, tmp_path / "d")
    ds = covidct.load(tmp_path / "d")
    (tmp_path / "d" / "splits" / f"{ds.schemes[0]}.csv").write_bytes(b"")
    with pytest.raises(DatasetError, match="expected a CSV in UTF-8"):
        ds.scheme(ds.schemes[0])
    for header in ("image_id,fold\n", "image_id,split\n"):  # cut to its header: no fold is the highest
        (tmp_path / "d" / "splits" / f"{ds.schemes[0]}.csv").write_text(header)
        with pytest.raises(DatasetError, match="expected a row for each image, got the header only"):
            ds.scheme(ds.schemes[0])


def test_load_without_a_version_and_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"versions: "):
        covidct.load()
    with pytest.raises(DatasetError, match="no such folder"):
        covidct.load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="got one without"):
        covidct.load(str(tmp_path))


def test_torch_dataset_decodes_once(shared_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same pixels as the PIL images, no file opened in an epoch, transforms get PIL or (with size) a tensor."""
    torch = pytest.importorskip("torch")
    train = covidct.load(shared_dataset).train
    native = train.torch()
    small = train.torch(lambda tensor: tensor.float() / 255, size=16)
    plain = train.torch(np.asarray)
    cached = train.torch(size=16, cache=tmp_path)
    pixels = [np.asarray(image) for image, _ in train]

    def refuse(*_: object) -> None:
        raise AssertionError("a picture was decoded again")

    monkeypatch.setattr("covidct.pictures.open_picture", refuse)
    for index, pixel in enumerate(pixels):
        image, label = native[index]
        assert torch.equal(image[0], torch.from_numpy(pixel.copy()))
        assert label == train.labels[index]
        assert np.array_equal(plain[index][0], pixel)
    assert small[-1][0].shape == (1, 16, 16)
    assert torch.equal(train.torch(size=16, cache=tmp_path)[3][0], cached[3][0])
    with pytest.raises(IndexError):
        native[len(native)]
    assert len(list(torch.utils.data.DataLoader(small, batch_size=5))) == 3


def test_decoded_pictures_follow_the_bytes(
    shared_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes under the same names and split are decoded anew; a version in the covidct cache is decoded once for
    all processes; a decoding that fails leaves nothing half-written."""
    pytest.importorskip("torch")
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        shutil.copytree(shared_dataset, folder)
    first = covidct.load(one).train
    victim = two / first.records["file"].iloc[0]
    victim.write_bytes(pictures.encode(255 - np.asarray(first[0][0])))
    table = read_records(two / "records.csv")
    table.loc[table["file"] == first.records["file"].iloc[0], "sha256"] = sha256_file(victim)
    write_records(two / "records.csv", table)
    before = first.torch(size=16, cache=tmp_path / "decoded").array(0).copy()
    after = covidct.load(two).train.torch(size=16, cache=tmp_path / "decoded").array(0)
    assert not np.array_equal(before, after)
    monkeypatch.setenv("COVIDCT_HOME", str(tmp_path))
    first.torch(size=8)
    files = sorted(path.name for path in (tmp_path / "decoded").iterdir())
    assert [name.split("-")[1] for name in files].count("8.u8") == 1
    victim.write_bytes(b"broken")
    with pytest.raises(pictures.PictureError):
        covidct.load(two).train.torch(size=8)
    assert sorted(path.name for path in (tmp_path / "decoded").iterdir()) == files


CORE_ONLY = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "cv2", "dvc", "pymupdf", "fitz", "requests", "pydantic",
            "mlcroissant", "gto", "pooch", "yaml", "jinja2", "faiss", "matplotlib", "lightning", "openpyxl", "joblib_",
            "label_studio_sdk", "bs4", "lxml", "skimage", "harvest", "curation", "models", "fsspec"}:
            raise ImportError(name + " is not part of the core", name=name)
sys.meta_path.insert(0, Block())
import covidct, covidct.cli, covidct.dataset, covidct.published
ds = covidct.load(sys.argv[1])
image, label = ds.test[0]
print(ds)
assert ds.test.evaluate(ds.test.labels).auc == 1
try:
    ds.train.torch()
except ImportError as error:
    assert "covidct[models]" in str(error), error
else:
    raise SystemExit("torch was not blocked")
"""


def test_the_core_needs_nothing_else(shared_dataset: Path) -> None:
    """import, load, iterate, evaluate with torch, DVC, OpenCV and the rest blocked."""
    done = subprocess.run([sys.executable, "-c", CORE_ONLY, str(shared_dataset)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
