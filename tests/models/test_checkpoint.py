"""Checkpoints: strict into the stock network, never a pickle, cards that say what is needed, bytes that repeat."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch

from models import backbones, checkpoint
from models.checkpoint import CheckpointError
from models.vision import torchvision

PREPROCESSING = {"size": 224, "channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def card(backbone="resnet18", names=("NonCOVID", "COVID"), **more):
    settings = {"preprocessing": PREPROCESSING, "recipe": {"epochs": 1}, "licence": "CC-BY-4.0"} | more
    return checkpoint.make_card(backbone=backbone, class_names=names, **settings)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    model = backbones.build("resnet18", 2)
    return checkpoint.save(tmp_path_factory.mktemp("model"), model, card(metrics={"auc": [0.8, 0.7, 0.9]})), model


def test_round_trip(saved):
    folder, model = saved
    for path in (folder, folder / checkpoint.WEIGHTS):
        loaded, found = checkpoint.load(path)
        assert not loaded.training
        assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())
    assert found["class_names"] == ["NonCOVID", "COVID"] and found["positive_class"] == "COVID"
    assert found["metrics"] == {"auc": [0.8, 0.7, 0.9]} and found["dataset"] == {"version": "", "split_hash": ""}
    assert found["weights_sha256"] == checkpoint.sha256(folder / checkpoint.WEIGHTS)


def test_loads_strictly_into_stock_densenet169(tmp_path):
    """The issue's own words: ``strict=True`` into ``torchvision.models.densenet169(num_classes=2)``."""
    from safetensors.torch import load_file

    model = backbones.build("densenet169", 2).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, model, card("densenet169"))
    stock = torchvision.models.densenet169(num_classes=2)
    stock.load_state_dict(load_file(tmp_path / checkpoint.WEIGHTS), strict=True)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(stock.eval()(image), model.eval()(image))


def test_same_weights_same_bytes(saved, tmp_path):
    folder, model = saved
    again = checkpoint.save(tmp_path, model, checkpoint.read(folder)[1])
    for name in (checkpoint.WEIGHTS, checkpoint.CARD):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(p.name for p in again.iterdir()) == [checkpoint.CARD, checkpoint.WEIGHTS]


def test_encoder_has_no_head(tmp_path):
    encoder, width = backbones.features(backbones.build("resnet18", 2), "resnet18")
    checkpoint.save(tmp_path, encoder, card(kind="encoder", names=()))
    loaded, found = checkpoint.load(tmp_path)
    assert found["kind"] == "encoder" and not any(key.startswith("fc") for key in loaded.state_dict())
    with torch.no_grad():
        assert loaded(torch.zeros(2, 3, 64, 64)).shape == (2, width)


def test_crnet_of_another_size(tmp_path):
    checkpoint.save(tmp_path, backbones.build("crnet", 2, size=96), card("crnet", preprocessing={"size": 96}))
    assert checkpoint.load(tmp_path)[0](torch.zeros(1, 1, 96, 96)).shape == (1, 2)


class Bomb:
    """What a hostile pickle does when it is read."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "weights.bin"])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_pickles_are_refused_whatever_they_are_called(tmp_path, name, form):
    path = tmp_path / name
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"fc.weight": torch.zeros(2)}, path)
    (tmp_path / checkpoint.CARD).write_text(json.dumps(card()))
    with pytest.raises(CheckpointError, match=r"never unpickled.*init file:"):
        checkpoint.load(path)


def copy_of(saved, tmp_path, **changes):
    folder, _ = saved
    (tmp_path / checkpoint.WEIGHTS).write_bytes((folder / checkpoint.WEIGHTS).read_bytes())
    found = json.loads((folder / checkpoint.CARD).read_text()) | changes
    (tmp_path / checkpoint.CARD).write_text(json.dumps({k: v for k, v in found.items() if v is not None}))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b", "c"]}, r"3 classes.*fc\.weight \(3, 512\) != \(2, 512\)"),
        ({"backbone": "densenet169"}, "expected the tensors of densenet169"),
        ({"backbone": "resnet19"}, "resnet18"),
        ({"weights_sha256": "0" * 64}, "not of one run"),
        ({"preprocessing": None}, "field preprocessing: expected dict, got nothing"),
        ({"metrics": [1]}, "field metrics: expected dict, got list"),
        ({"kind": "optimiser"}, "classifier, encoder"),
        ({"format": 99}, "card format 1"),
    ],
)
def test_card_and_weights_must_fit(saved, tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(copy_of(saved, tmp_path, **changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class_names", ["COVID", "COVID"], "expected different names"),
        ("class_names", [1, 2], "expected different names"),
        ("preprocessing", {"size": "big"}, r"preprocessing\.size: expected 1 to 4096 pixels, got big"),
        ("preprocessing", {"size": 10**9}, r"got 1000000000"),
        ("preprocessing", {"size": True}, r"got True"),
        ("format", 7, "update covidct"),
        ("kind", "segmenter", "got 'segmenter'"),
    ],
)
def test_a_hostile_card_is_refused_before_weights_are_read(tmp_path, field, value, message):
    (tmp_path / checkpoint.CARD).write_text(json.dumps({**card(), field: value}))
    (tmp_path / checkpoint.WEIGHTS).write_bytes(b"\0" * 64)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "length", "empty", "text"])
def test_damaged_files(saved, tmp_path, damage):
    path = copy_of(saved, tmp_path, weights_sha256="") / checkpoint.WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-100], "length": struct.pack("<Q", 2**60) + whole[8:], "empty": b"", "text": b"<html>" * 9}[
            damage
        ]
    )
    with pytest.raises(CheckpointError, match="expected a safetensors file"):
        checkpoint.load(tmp_path)


def test_missing_parts(saved, tmp_path):
    with pytest.raises(CheckpointError, match="got nothing there"):
        checkpoint.load(tmp_path / "nowhere")
    folder = copy_of(saved, tmp_path)
    for damaged in ("{not json", "[" * 100_000):  # the second: RecursionError, which is no ValueError
        (folder / checkpoint.CARD).write_text(damaged)
        with pytest.raises(CheckpointError, match="expected JSON"):
            checkpoint.load(folder)
    (folder / checkpoint.CARD).unlink()
    with pytest.raises(CheckpointError, match=r"expected card\.json beside the weights"):
        checkpoint.load(folder)


def test_nan_is_not_saved(tmp_path):
    model = backbones.build("crnet", 2)
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"1 tensors \(classifier\.weight"):
        checkpoint.save(tmp_path, model, card("crnet"))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_checkpoint(saved, tmp_path, monkeypatch):
    folder = copy_of(saved, tmp_path)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(folder, saved[1], card())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_git_revision(tmp_path):
    revision = checkpoint.git_revision()
    assert revision == "" or len(revision.removesuffix("-dirty")) == 40
    assert checkpoint.git_revision(tmp_path) == ""


def test_load_by_name_or_folder(saved, tmp_path):
    import models

    (tmp_path / "resnet18-random-0").mkdir()
    folder = copy_of(saved, tmp_path / "resnet18-random-0")
    for name in ("resnet18-random-0", folder, str(folder / checkpoint.WEIGHTS)):
        network, found = models.load(name, root=tmp_path)
        assert found["backbone"] == "resnet18" and not network.training
    with pytest.raises(CheckpointError, match=r"got neither; there are resnet18-random-0"):
        models.load("resnet19", root=tmp_path)
    with pytest.raises(CheckpointError, match="dvc repro finetune"):
        models.load("resnet19", root=tmp_path / "nowhere")
