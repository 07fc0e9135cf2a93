"""ONNX: the same logits as torch for any batch, the card inside, nothing written when they differ."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models import backbones, checkpoint, export

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def made(name, size):
    channels = backbones.describe(name).channels
    torch.manual_seed(0)
    card = checkpoint.make_card(
        backbone=name,
        class_names=["NonCOVID", "COVID"],
        preprocessing={"size": size, "channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels},
        recipe={},
    )
    return backbones.build(name, 2, size=size).to(memory_format=torch.channels_last).eval(), card


@pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("crnet", 32)])
def test_onnx_computes_what_torch_computes(tmp_path, name, size):
    model, card = made(name, size)
    path = tmp_path / "sub" / "model.onnx"
    assert export.to_onnx(model, card, path) < 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    properties = {item.key: item.value for item in onnx.load(str(path)).metadata_props}
    assert json.loads(properties["card"]) == card
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).normal(size=(5, backbones.describe(name).channels, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, rtol=1e-3, atol=1e-4)


def test_a_difference_is_an_error_and_nothing_is_written(tmp_path, monkeypatch):
    model, card = made("crnet", 32)
    monkeypatch.setattr(export, "difference", lambda *_: 0.5)
    with pytest.raises(export.ExportError, match=r"agree with torch to 0\.001, got a difference of 0\.5"):
        export.to_onnx(model, card, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_command(tmp_path, caplog):
    checkpoint.save(tmp_path / "run", *made("crnet", 32))
    arguments = ["--model", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx")]
    assert CliRunner().invoke(export.app, arguments).exit_code == 0
    assert (tmp_path / "m.onnx").is_file()
    arguments[1] = str(tmp_path / "none")
    assert CliRunner().invoke(export.app, arguments).exit_code == 1 and "got nothing there" in caplog.text
