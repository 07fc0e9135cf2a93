"""LNM pretraining: labels and subjects as stated, subjects on one side, exact resuming, an encoder that transfers."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models import backbones, checkpoint, engine, nodules, weights
from models.engine import Hardware
from models.nodules import train
from models.patches import PatchError, Patches, read_hdf5, read_luna, split
from models.recipe import Recipe

TINY = Recipe(backbone="crnet", size=32, resize=36, epochs=3, batch=4)
CPU = Hardware("cpu", precision="32")


def patch(malignant: bool, seed: int) -> np.ndarray:
    """A bright disc; malignant ones are large."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 32 + rng.normal(0, 2, 2)[:, None, None]
    disc = np.hypot(x, y) < (18 if malignant else 7)
    return np.clip(60 + 120 * disc + rng.normal(0, 8, (64, 64)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def luna(tmp_path_factory):
    """30 nodules of 15 subjects; the last two have no rating."""
    root = tmp_path_factory.mktemp("luna")
    (root / "nodules").mkdir()
    with (root / "nodules.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["nodule_id", "file", "subject_id", "malignancy", "label"])
        for number in range(30):
            malignant = number % 3 == 0
            Image.fromarray(patch(malignant, number)).save(root / "nodules" / f"n{number:02d}.png")
            label = "" if number >= 28 else int(malignant)
            table.writerow([f"n{number:02d}", f"nodules/n{number:02d}.png", f"s{number // 2:02d}", 3, label])
    return root


def hdf5(path, pixels, labels, names=("ct_slices", "slice_class")):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file[names[0]], file[names[1]] = pixels, labels
    return path


def test_read_luna(luna):
    patches = read_luna(luna, 36)
    assert patches.images.shape == (28, 1, 36, 36) and patches.images.dtype == torch.uint8
    assert patches.labels.tolist() == [int(n % 3 == 0) for n in range(28)]
    assert patches.groups[:3] == ("s00", "s00", "s01")
    assert patches.facts == {"patches": 28, "subjects": 14, "without_label": 2, "grouped_by": "subject"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "dvc repro luna"),
        ("nodule_id,file,label\n", "missing subject_id"),
        ("nodule_id,file,subject_id,label\na,nodules/a.png,s,\n", r"got 1 without; give stage luna volumes"),
        ("nodule_id,file,subject_id,label\na,nodules/a.png,s,2\n", "nodule a: expected label 0, 1 or empty, got '2'"),
        ("nodule_id,file,subject_id,label\na,nodules/a.png,s,1\n", r"a\.png: expected"),
        ("nodule_id,file,subject_id,label\na,../a.png,s,1\n", r"\.\./a\.png"),
    ],
)
def test_read_luna_refuses(tmp_path, text, message):
    if text is not None:
        (tmp_path / "nodules.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_luna(tmp_path, 36)


def test_read_hdf5_windows_hounsfield_units(tmp_path):
    """The public file: N×64×64 Hounsfield units, N×1 labels."""
    pixels = np.full((130, 64, 64), -2000, dtype=np.float32)
    pixels[:, :, 20:40], pixels[:, :, 40:] = -600, 3000
    labels = (np.arange(130) % 2).reshape(-1, 1).astype(bool)
    patches = read_hdf5(hdf5(tmp_path / "all_patches.hdf5", pixels, labels), 64, -600, 1500)
    assert [int(patches.images[5, 0, 9, x]) for x in (0, 30, 63)] == [0, 128, 255]
    assert patches.labels.tolist() == [n % 2 for n in range(130)]
    assert len(set(patches.groups)) == 3 and patches.groups[63] != patches.groups[64]
    assert "names no subjects" in patches.facts["grouped_by"]
    grey = np.arange(64 * 64 * 2, dtype=np.uint8).reshape(2, 64, 64)
    same = read_hdf5(hdf5(tmp_path / "grey.hdf5", grey, np.array([0, 1])), 64, -600, 1500)
    assert np.array_equal(same.images[:, 0].numpy(), grey)


def test_read_hdf5_refuses(tmp_path):
    pytest.importorskip("h5py")
    good, labels = np.zeros((4, 8, 8), np.int16), np.array([0, 1, 0, 1])
    cases = [
        (good, labels, ("x", "y"), "expected datasets ct_slices and slice_class, got x, y"),
        (good[0], labels, ("ct_slices", "slice_class"), r"N×H×W of at most .* got \(8, 8\)"),
        (good, labels[:3], ("ct_slices", "slice_class"), "expected 4 values"),
        (good, labels + 1, ("ct_slices", "slice_class"), r"such as \[1, 2, 1\]"),
        (np.full((4, 8, 8), np.nan), labels, ("ct_slices", "slice_class"), "finite"),
    ]
    for number, (pixels, values, names, message) in enumerate(cases):
        with pytest.raises(PatchError, match=message):
            read_hdf5(hdf5(tmp_path / f"{number}.hdf5", pixels, values, names), 8, 0, 1)
    (tmp_path / "text.hdf5").write_text("not hdf5")
    with pytest.raises(PatchError, match="expected an hdf5 file"):
        read_hdf5(tmp_path / "text.hdf5", 8, 0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_subjects_are_on_one_side(luna, seed):
    patches = read_luna(luna, 36)
    first, second = split(patches, 0.25, seed)
    names = [{patches.groups[i] for i in index.tolist()} for index in (first, second)]
    assert not names[0] & names[1] and sorted([*first.tolist(), *second.tolist()]) == list(range(28))
    assert 0.2 < len(second) / 28 < 0.45
    assert all(len(set(patches.labels[index].tolist())) == 2 for index in (first, second))
    assert torch.equal(split(patches, 0.25, seed)[1], second)


def test_split_refuses():
    def made(labels, groups):
        return Patches(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.tensor(labels), groups, {})

    with pytest.raises(PatchError, match="both classes on both sides"):
        split(made([1, 0, 0, 0], ("a", "b", "c", "d")), 0.3, 0)
    with pytest.raises(PatchError, match="two subjects"):
        split(made([1, 0], ("a", "a")), 0.3, 0)


def test_training_learns_and_resumes_bit_for_bit(luna, tmp_path, monkeypatch):
    patches = read_luna(luna, 36)
    recipe = Recipe(**(vars(TINY) | {"epochs": 6, "learning_rate": 1e-3, "crop": 0.8}))
    network, card, history = train(patches, recipe, hardware=CPU, cache=tmp_path / "a")
    assert card["class_names"] == ["benign", "malignant"] and card["metrics"]["auc"] > 0.8
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    original, calls = engine.train_epoch, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch_, pytest.raises(KeyboardInterrupt):
        patch_.setattr(engine, "train_epoch", dying)
        train(patches, recipe, hardware=CPU, cache=tmp_path / "b")
    again, _, rows = train(patches, recipe, hardware=CPU, cache=tmp_path / "b")
    assert rows == history
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())


def options(luna, out, *more):
    return ["--out", out, "--luna", luna, "--backbone=crnet", "--size=32", "--resize=36", "--epochs=1", "--batch=4",
            "--accelerator=cpu", "--precision=32", *more]  # fmt: skip


def cli(*arguments):
    return CliRunner().invoke(nodules.app, [str(a) for a in arguments])


def test_command_writes_what_fine_tuning_starts_from(luna, tmp_path):
    result = cli(*options(luna, tmp_path / "lnm", "--val_share", 0.3, "--licence", "CC-BY-3.0"))
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "lnm" / checkpoint.CARD).read_text())
    assert card["dataset"]["sets"]["lnm"]["grouped_by"] == "subject" and card["licence"] == "CC-BY-3.0"
    model = backbones.build("crnet", 2, size=32)
    report = weights.initialise(model, "crnet", f"encoder:{tmp_path / 'lnm'}")
    assert set(report.reinitialised) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--hdf5=nowhere.hdf5"], "got no file at nowhere.hdf5"),
        (["--batch=100"], "at most the"),
        (["--luna=nowhere"], "dvc repro luna"),
        (["--val-share=2"], "share in 0…1"),
    ],
)
def test_refusals(luna, tmp_path, caplog, more, message):
    assert cli(*options(luna, tmp_path / "out", *more)).exit_code == 1
    assert message in caplog.text and not (tmp_path / "out").exists()
