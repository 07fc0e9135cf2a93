"""What travels with weights: the encoder they began with, its licence, and that it saw test pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import backbones, cards, checkpoint, reading


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    network, _ = backbones.features(backbones.build("crnet", 2, size=32), "crnet")
    card = checkpoint.make_card(
        kind="encoder",
        backbone="crnet",
        class_names=(),
        preprocessing={"size": 32, "channels": 1, "mean": [0.5], "std": [0.3]},
        recipe={"init": "imagenet", "chain": ["luna"], "epochs": 2},
        dataset={"transductive": True},
        licence="LUNA slices: CC-BY-3.0",
        training={"hours": 1.5},
    )
    folder = checkpoint.save(tmp_path / "encoder", network, card)
    (folder / "history.csv").write_text("set,epoch,lr,loss\nluna,0,0.1,2.5\nluna,1,0.05,2.25\n")
    return folder


def test_the_encoder_s_card_travels_along(encoder: Path) -> None:
    before = cards.ancestor(f"encoder:{encoder}")
    assert before is not None
    assert before["recipe"]["chain"] == ["luna"]
    assert before["training"] == {"hours": 1.5}
    assert before["history"] == [{"set": "luna", "epoch": 0, "loss": 2.5}, {"set": "luna", "epoch": 1, "loss": 2.25}]
    assert before["weights_sha256"] == checkpoint.sha256(encoder / "model.safetensors")


def test_licences_of_the_initial_weights_are_named(encoder: Path) -> None:
    said = cards.inherited(f"encoder:{encoder}", cards.ancestor(f"encoder:{encoder}"))
    assert said[0] == "initial weights: LUNA slices: CC-BY-3.0"
    assert "ImageNet" in said[1]
    assert cards.inherited("random", None) == []
    assert cards.inherited("file:/secret/place/net.pth", None) == ["initial weights: net.pth, licence not stated"]


def test_transductive_pretraining_is_seen_in_what_is_trained_from_it(encoder: Path) -> None:
    assert reading.transductive({"dataset": {}, "start": cards.ancestor(f"encoder:{encoder}")})


def test_an_encoder_without_history_has_none(tmp_path: Path) -> None:
    assert cards.losses(tmp_path / "history.csv") == []
