"""Prediction: the stage's scores again, no score for what is no CT, one bad file never stops the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import covidct
from models import checkpoint, evaluate, predict


def run(model: Path, *arguments: str):
    return CliRunner().invoke(predict.app, [*arguments, "--model", str(model)])


def test_gives_the_scores_of_evaluate(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    test = covidct.load(folder).test
    files = [str(folder / name) for name in test.records["file"]]
    result = run(model, *files, "--any-picture", "--out", str(tmp_path / "p.csv"))
    assert result.exit_code == 0
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    expected = evaluate.predict(*checkpoint.load(model), test)
    assert np.allclose(found["probability"].astype(float), expected, atol=2e-6)
    assert set(found["called"]) == {"COVID", "NonCOVID"}


def test_covid_is_where_the_card_says(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The same network with its classes named in the other order calls every picture the other way."""
    folder, model = trained
    shutil.copytree(model, tmp_path / "turned")
    card = json.loads((model / "card.json").read_text())
    (tmp_path / "turned" / "card.json").write_text(json.dumps({**card, "class_names": card["class_names"][::-1]}))
    file = folder / "images" / "test-1-00.png"
    found = []
    for where in (model, tmp_path / "turned"):
        assert run(where, str(file), "--any-picture", "--out", str(tmp_path / "p.csv")).exit_code == 0
        found.append(float(pd.read_csv(tmp_path / "p.csv")["probability"].iloc[0]))
    assert found[0] == pytest.approx(1 - found[1], abs=2e-6) and found[0] != pytest.approx(found[1], abs=0.01)
    scores = [evaluate.predict(*checkpoint.load(w), covidct.load(folder).test) for w in (model, tmp_path / "turned")]
    assert np.allclose(scores[0], 1 - scores[1], atol=2e-6)


def test_says_it_is_no_medical_device(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = trained
    run(model, str(folder / "images"), "--any-picture", "--out", str(tmp_path / "p.json"))
    assert "Not a medical device" in caplog.text
    content = json.loads((tmp_path / "p.json").read_text())
    assert "Not a medical device" in content["warning"]
    assert len(content["predictions"]) == 48
    assert content["model"]["weights_sha256"] == checkpoint.sha256(model / "model.safetensors")


def test_every_row_of_a_csv_says_so_too(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    run(model, str(folder / "images"), "--any-picture", "--out", str(tmp_path / "p.csv"))
    found = pd.read_csv(tmp_path / "p.csv")
    assert found["warning"].str.contains("not a medical device").all()
    assert list(found)[:2] == ["file", "probability"]


def test_the_gate_sees_what_the_network_gets(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = trained
    with Image.open(folder / "images" / "test-1-00.png") as plain:
        grey = np.asarray(plain.convert("L"))
    looked: dict[str, np.ndarray] = {}
    height, width = grey.shape
    kinds = {
        "plain.png": Image.fromarray(grey),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "hidden.png": Image.merge("LA", [Image.fromarray(grey), Image.new("L", (width, height), 255)]),
        "turned.png": Image.fromarray(np.rot90(grey)),
        "page.png": Image.new("LA", (64, 64), (0, 0)),
        "colour.png": Image.new("RGB", (64, 64), (10, 200, 90)),
    }
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter clockwise
    for name, picture in kinds.items():
        picture.save(tmp_path / name, exif=turned if name == "turned.png" else Image.Exif())
        monkeypatch.setattr(predict, "modality", lambda pixels, name=name: looked.setdefault(name, pixels).mean() * 0)
        assert run(model, str(tmp_path / name)).exit_code == 1
    for name in ("plain.png", "deep.png", "hidden.png", "turned.png"):
        assert np.array_equal(looked[name], np.repeat(grey[..., None], 3, axis=2)), name
    assert looked["page.png"].min() == 255
    assert looked["colour.png"][0, 0].tolist() == [10, 200, 90]


@pytest.mark.parametrize("name", ["stack.tif", "moving.gif", "moving.png", "moving.webp"])
def test_a_stack_is_not_scored_by_its_first_picture(trained: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    _, model = trained
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (60, 70)).astype(np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    for more, scored in ((), False), (("--any-picture",), True):
        run(model, str(tmp_path / name), *more, "--out", str(tmp_path / "p.csv"))
        (row,) = pd.read_csv(tmp_path / "p.csv", keep_default_na=False).to_dict("records")
        assert "holds 3 pictures, of which only the first was looked at" in row["problem"]
        assert (row["probability"] != "") == scored


def test_a_stack_of_one_is_a_picture(tmp_path: Path) -> None:
    picture = Image.new("L", (64, 64), 90)
    for name in ("one.gif", "one.tif", "one.jpg", "one.webp", "one.bmp"):
        picture.save(tmp_path / name)
        assert predict.count(tmp_path / name) == 1
    preview = Image.new("L", (32, 32), 90)
    picture.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[preview])
    assert predict.count(tmp_path / "phone.jpg") == 1  # the second is a preview
    assert predict.count(tmp_path / "gone.gif") == 1


def test_what_is_not_there_or_deeper_is_told(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = trained
    assert run(model, str(tmp_path / "nodir")).exit_code == 1
    assert "nodir: expected a picture or a folder of pictures, got nothing there" in caplog.text
    assert "pictures scored" not in caplog.text
    deep = tmp_path / "in" / "deep"
    deep.mkdir(parents=True)
    shutil.copyfile(folder / "images" / "test-1-00.png", deep / "a.png")
    assert run(model, str(tmp_path / "in")).exit_code == 1
    assert "expected pictures, got none" in caplog.text
    assert f"folders inside a folder are not looked into; name them: {deep}" in caplog.text
    caplog.clear()
    shutil.copyfile(folder / "images" / "test-1-00.png", tmp_path / "in" / "b.png")
    assert run(model, str(tmp_path / "in"), str(tmp_path / "nodir"), "--any-picture").exit_code == 0
    assert f"not looked into; name them: {deep}" in caplog.text
    assert "nodir: expected a picture or a folder" in caplog.text


def test_what_is_no_ct_gets_no_score(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = trained
    monkeypatch.setattr(predict, "modality", lambda pixels: 0.9 if pixels.mean() > 110 else 0.1)
    run(model, str(folder / "images"), "--out", str(tmp_path / "p.csv"))
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    refused = found[found["ct_score"] == 0.1]
    assert 0 < len(refused) < len(found)
    assert (refused["probability"] == "").all()
    assert refused["problem"].str.contains("does not look like a single-patient chest CT").all()
    assert (found.loc[found["ct_score"] == 0.9, "probability"] != "").all()
    run(model, str(folder / "images"), "--any-picture", "--out", str(tmp_path / "all.csv"))
    everything = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
    assert (everything["probability"] != "").all()
    assert everything["problem"].str.contains("does not look like").sum() == len(refused)


def test_without_the_check_it_says_not_checked(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = trained
    monkeypatch.setattr(predict, "modality", lambda pixels: None)
    assert run(model, str(next((folder / "images").iterdir())), "--out", str(tmp_path / "p.csv")).exit_code == 0
    assert "was not checked" in caplog.text
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert found["problem"].str.contains("not checked whether this is a chest CT").all()
    assert (found["probability"] != "").all()


def test_odd_pictures_are_rows_too(trained: tuple[Path, Path], tmp_path: Path) -> None:
    _, model = trained
    rng = np.random.default_rng(0)
    odd = {
        "dot.png": Image.new("L", (1, 1)),
        "line.png": Image.new("L", (4000, 1)),
        "white.png": Image.new("RGB", (300, 200), "white"),
        "deep.png": Image.fromarray(rng.integers(0, 65535, (80, 90)).astype(np.uint16)),
        "ink.jpg": Image.fromarray(rng.integers(0, 255, (60, 70, 4)).astype(np.uint8), "CMYK"),
        "two.gif": Image.fromarray(rng.integers(0, 255, (60, 70)).astype(np.uint8)),
        "[bold]x.png": Image.new("L", (64, 64), 90),
    }
    for name, picture in odd.items():
        picture.save(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    result = run(model, str(tmp_path), "--out", str(tmp_path / "p.csv"))
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert len(found) == len(odd), result.output
    assert (found["probability"] == "").all()
    assert (found["problem"] != "").all()
    assert "[bold]x.png" in run(model, str(tmp_path)).output


def test_an_encoder_and_other_classes_are_refused(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = trained
    picture = str(folder / "images" / "test-1-00.png")
    network, card = checkpoint.load(model)
    checkpoint.save(tmp_path / "other", network, {**card, "class_names": ["benign", "malignant"]})
    assert run(tmp_path / "other", picture).exit_code == 1
    assert "expected a classifier of NonCOVID and COVID, got classifier with classes benign, malignant" in caplog.text
    from models import backbones

    encoder, _ = backbones.features(network, "crnet")
    checkpoint.save(tmp_path / "encoder", encoder, {**card, "kind": "encoder", "class_names": []})
    assert run(tmp_path / "encoder", picture).exit_code == 1
    assert "got encoder with no classes" in caplog.text
    (tmp_path / "pickle").mkdir()
    torch.save(network.state_dict(), tmp_path / "pickle" / "model.safetensors")
    assert run(tmp_path / "pickle", picture).exit_code == 1
    assert "expected safetensors, got a pickle" in caplog.text


def test_heat_maps_of_the_same_name_do_not_meet() -> None:
    taken: set[str] = set()
    names = [predict.free_name(Path(name), taken) for name in ("a/x.png", "b/x.jpg", "c/x.png", "y.png")]
    assert names == ["x-heat.png", "x-2-heat.png", "x-3-heat.png", "y-heat.png"]


def test_bad_files_are_rows(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.png").write_bytes(b"")
    (tmp_path / "in" / "text.png").write_text("hello")
    whole = (folder / "images" / "test-1-00.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "good.png").write_bytes(whole)
    Image.open(folder / "images" / "test-1-00.png").convert("RGBA").save(tmp_path / "in" / "rgba.png")
    result = run(
        model, str(tmp_path / "in"), str(tmp_path / "gone.png"), "--any-picture", "--out", str(tmp_path / "p.csv")
    )
    assert result.exit_code == 0
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    names = found["file"].map(lambda name: Path(name).stem)
    scored = dict(zip(names, found["probability"], strict=True))
    assert {name for name, value in scored.items() if value == ""} == {"empty", "text", "cut", "gone"}
    assert scored["good"] == scored["rgba"]


def test_nothing_to_score_fails(trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, model = trained
    assert run(model, str(tmp_path)).exit_code == 1
    assert "expected pictures, got none" in caplog.text
    assert run(model, str(tmp_path / "gone.png"), "--any-picture").exit_code == 1
    (tmp_path / "empty.png").write_bytes(b"")
    assert run(model, str(tmp_path / "empty.png"), "--out", str(tmp_path / "p.csv")).exit_code == 1
    assert "no picture got a score; the first:" in caplog.text
    assert run(tmp_path / "nowhere", str(tmp_path / "gone.png")).exit_code == 1
    assert run(model, str(tmp_path / "gone.png"), "--out", str(tmp_path / "p.txt")).exit_code == 1
    assert "ending in .csv or .json" in caplog.text


def test_heat_map_is_written(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    picture = str(folder / "images" / "test-1-00.png")
    out = ["--out", str(tmp_path / "p.csv")]
    assert run(model, picture, "--any-picture", "--heat-maps", str(tmp_path / "heat"), *out).exit_code == 0
    with Image.open(tmp_path / "heat" / "test-1-00-heat.png") as drawn:
        assert drawn.mode == "RGB"
        assert drawn.size == Image.open(picture).size
