"""Weights for CRNet from a folder of classes: they learn, resume exactly and start a fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models import backbones, checkpoint, engine, imagenet, weights
from models.engine import Hardware
from models.imagenet import Folder, ImageNetError, ImageNetRecipe

RECIPE = ImageNetRecipe("crnet", size=32, epochs=4, batch=6, learning_rate=0.4)
CPU = Hardware("cpu", precision="32")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that a network can tell apart: bright above, bright below."""
    root = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("n01", "n02")):
        (root / name).mkdir()
        for number in range(7):
            grey = rng.integers(0, 60, (40, 48, 3)).astype(np.uint8)
            grey[20 * label : 20 * label + 20] += 150
            Image.fromarray(grey).save(root / name / f"{number}.JPEG")
        (root / name / "notes.txt").write_text("not a picture")
    return root


def test_it_learns_and_resumes_bit_for_bit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(root, 32, 1)
    assert len(folder) == 14 and folder[0][0].shape == (1, 32, 32)
    whole, card, history = imagenet.train(folder, RECIPE, hardware=CPU)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert card["kind"] == "encoder" and card["dataset"]["sets"]["imagenet"] == {"images": 14, "classes": 2}
    original, calls = engine.train_epoch, []

    def dying(*arguments: Any, **more: Any) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine, "train_epoch", dying)
        imagenet.train(folder, RECIPE, hardware=CPU, cache=tmp_path)
    resumed, _, again = imagenet.train(folder, RECIPE, hardware=CPU, cache=tmp_path)
    assert again == history
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_the_command_writes_what_fine_tuning_starts_from(root: Path, tmp_path: Path) -> None:
    arguments = ["--images", root, "--out", tmp_path / "out", "--backbone", "crnet", "--epochs", 1, "--batch", 7,
                 "--size", 32, "--workers", 0, "--accelerator", "cpu", "--precision", "32"]  # fmt: skip
    result = CliRunner().invoke(imagenet.app, [str(value) for value in arguments])
    assert result.exit_code == 0, result.output
    encoder, _ = checkpoint.load(tmp_path / "out")
    model = backbones.build("crnet", 2, size=32)
    report = weights.initialise(model, "crnet", f"encoder:{tmp_path / 'out'}")
    assert not report.missing and torch.equal(model.features[0].weight, encoder.features[0].weight)
    images = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert weights.normalisation(f"encoder:{tmp_path / 'out'}", "crnet", images) == imagenet.GREY


def test_refusals(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageNetError, match="expected a folder per class"):
        Folder(tmp_path, 32, 1)
    with pytest.raises(ImageNetError, match="expected a folder per class"):
        Folder(tmp_path / "nowhere", 32, 1)
    with pytest.raises(ImageNetError, match=r"batch: expected 2 to 14"):
        imagenet.train(Folder(root, 32, 1), ImageNetRecipe("crnet", size=32, batch=99), hardware=CPU)
