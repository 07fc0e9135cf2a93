"""What travels with weights: the encoder they began with, its licence, and that it saw test pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import covidct
from models import backbones, checkpoint, data, evaluate, finetune, lineage, nodules, pretrain, reading


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
    before = lineage.ancestor(f"encoder:{encoder}")
    assert before is not None
    assert before["recipe"]["chain"] == ["luna"]
    assert before["training"] == {"hours": 1.5}
    assert before["history"] == [{"set": "luna", "epoch": 0, "loss": 2.5}, {"set": "luna", "epoch": 1, "loss": 2.25}]
    assert before["weights_sha256"] == checkpoint.sha256(encoder / "model.safetensors")


def test_licences_of_the_initial_weights_are_named(encoder: Path) -> None:
    said = lineage.inherited(f"encoder:{encoder}", lineage.ancestor(f"encoder:{encoder}"))
    assert said[0] == "initial weights: LUNA slices: CC-BY-3.0"
    assert "ImageNet" in said[1]
    assert lineage.inherited("random", None) == []
    assert lineage.inherited("file:/secret/place/net.pth", None) == ["initial weights: net.pth, licence not stated"]


def test_transductive_pretraining_is_seen_in_what_is_trained_from_it(encoder: Path) -> None:
    assert reading.transductive({"dataset": {}, "start": lineage.ancestor(f"encoder:{encoder}")})


def test_an_encoder_without_history_has_none(tmp_path: Path) -> None:
    assert lineage.losses(tmp_path / "history.csv") == []


TINY = ["--backbone=crnet", "--size=32", "--resize=40", "--accelerator=cpu", "--precision=32", "--epochs=1"]
SSL = [*TINY, "--chain=covidct", "--batch=8", "--queue=16", "--hidden=8", "--dim=4", "--splits=2"]


def ssl(dataset: Path, out: Path, *more: str) -> int:
    """Exit status of a tiny pretraining on the dataset."""
    options = ["--dataset", str(dataset), "--out", str(out), *SSL, *more]
    return CliRunner().invoke(pretrain.app, options).exit_code


def tune(dataset: Path, out: Path, init: str, *more: str) -> int:
    options = ["--dataset", str(dataset), "--out", str(out), "--init", init, *TINY, "--batch=8", *more]
    return CliRunner().invoke(finetune.app, options).exit_code


def evaluated(dataset: Path, model: Path, out: Path, *more: str) -> dict[str, Any]:
    """metrics.json of a classifier; {} where it was refused."""
    options = ["--dataset", str(dataset), "--model", str(model), "--out", str(out), "--replicates=10", *more]
    done = CliRunner().invoke(evaluate.app, [*options, "--accelerator=cpu"])
    return json.loads((out / "metrics.json").read_text()) if done.exit_code == 0 else {}


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / checkpoint.CARD).read_text())


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, toys: Callable[..., Path]) -> Path:
    return toys(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    """The same pictures with train and test exchanged."""
    folder = tmp_path_factory.mktemp("swap") / "d"
    shutil.copytree(here, folder)
    table = pd.read_csv(folder / "records.csv", dtype=str, keep_default_na=False)
    table["split"] = table["split"].map({"train": "test", "test": "train", "val": "val"})
    table.to_csv(folder / "records.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    """Folders ``seen`` (a transductive encoder) and ``then`` (pretrained from it, of train pictures only)."""
    root = tmp_path_factory.mktemp("chain")
    assert ssl(here, root / "seen", "--transductive") == 0
    assert ssl(here, root / "then", "--init", f"encoder:{root / 'seen'}") == 0
    return root


@pytest.mark.parametrize(
    "init", ["encoder:{}/then", "file:{}/seen/model.safetensors", "partial:{}/then/model.safetensors"]
)
def test_the_transductive_mark_reaches_every_result(here: Path, chain: Path, tmp_path: Path, init: str) -> None:
    assert tune(here, tmp_path / "net", init.format(chain)) == 0
    assert evaluated(here, tmp_path / "net", tmp_path / "out")["transductive"] is True
    assert json.loads((tmp_path / "out" / "headline.json").read_text())["transductive"] is True  # for dvc metrics
    start = card_of(tmp_path / "net")["start"]
    assert start["kind"] == "encoder" and start["dataset"]["split_hash"]
    assert "training pictures" in card_of(tmp_path / "net")["licence"].partition("initial weights: ")[2]


def test_lnm_keeps_what_came_before(encoder: Path) -> None:
    import torch

    from models.engine import Hardware
    from models.patches import Patches
    from models.recipe import Recipe

    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (12, 1, 36, 36), generator=generator, dtype=torch.uint8)
    patches = Patches(pictures, torch.arange(12) % 2, tuple(f"s{number // 2}" for number in range(12)), {})
    recipe = Recipe("crnet", f"encoder:{encoder}", size=32, resize=36, epochs=1, batch=4)
    _, card, _ = nodules.train(patches, recipe, share=0.4, licence="CC-BY-3.0", hardware=Hardware("cpu", 1, "32"))
    assert reading.transductive(card) and card["start"]["recipe"]["chain"] == ["luna"]
    assert card["licence"].startswith(
        "CC-BY-3.0; initial weights: LUNA slices: CC-BY-3.0; initial weights: torchvision"
    )
    further = lineage.inherited("encoder:lnm", card)
    assert further == [f"initial weights: {card['licence']}"]  # each licence once


def test_weights_beside_an_unreadable_card_are_refused(encoder: Path, tmp_path: Path) -> None:
    shutil.copy(encoder / "model.safetensors", tmp_path / "net.safetensors")
    assert lineage.ancestor(f"file:{tmp_path / 'net.safetensors'}") is None
    (tmp_path / checkpoint.CARD).write_text("{}")
    with pytest.raises(lineage.LineageError, match=r"readable card beside the weights.*folder of their own"):
        lineage.ancestor(f"file:{tmp_path / 'net.safetensors'}")


def test_an_encoder_of_another_split_is_refused_or_marked(
    here: Path, swapped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert ssl(swapped, tmp_path / "sw") == 0
    init = f"encoder:{tmp_path / 'sw'}"
    assert tune(here, tmp_path / "net", init) == 1 and not (tmp_path / "net").exists()
    for words in (f"{tmp_path / 'sw'} (pretrained on", "dvc repro pretrain", "--transductive"):
        assert words in caplog.text
    assert ssl(here, tmp_path / "on", "--init", init) == 1
    assert tune(here, tmp_path / "net", init, "--transductive") == 0
    about = card_of(tmp_path / "net")["dataset"]
    assert about["transductive"] is True and about["other_splits"][0]["with_labels"] is False
    assert evaluated(here, tmp_path / "net", tmp_path / "out")["transductive"] is True
    assert ssl(here, tmp_path / "on", "--init", init, "--transductive") == 0
    assert tune(here, tmp_path / "next", f"encoder:{tmp_path / 'on'}") == 0  # it was asked for before
    assert evaluated(here, tmp_path / "next", tmp_path / "out2")["transductive"] is True
    assert tune(swapped, tmp_path / "own", init) == 0  # on its own split nothing is to be said
    assert evaluated(swapped, tmp_path / "own", tmp_path / "out3")["transductive"] is False


def test_a_classifier_of_another_split_is_refused(
    here: Path, swapped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert tune(swapped, tmp_path / "sw", "random") == 0
    assert tune(here, tmp_path / "net", f"file:{tmp_path / 'sw' / 'model.safetensors'}") == 1
    assert "trained with the labels of" in caplog.text
    assert tune(here, tmp_path / "net", f"encoder:{tmp_path / 'sw'}", "--transductive") == 0
    assert card_of(tmp_path / "net")["dataset"]["other_splits"][0]["with_labels"] is True


def test_a_model_trained_before_this_was_looked_at_is_refused_at_evaluation(
    here: Path, swapped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert tune(swapped, tmp_path / "sw", "random") == 0
    assert tune(here, tmp_path / "net", f"encoder:{tmp_path / 'sw'}", "--transductive") == 0
    card = card_of(tmp_path / "net")
    for name in ("transductive", "other_splits"):
        card["dataset"].pop(name)
    (tmp_path / "net" / checkpoint.CARD).write_text(json.dumps(card))
    assert evaluated(here, tmp_path / "net", tmp_path / "out") == {}
    assert f"began with {tmp_path / 'sw'} (trained with the labels of" in caplog.text
    assert evaluated(here, tmp_path / "net", tmp_path / "out", "--other-split")["transductive"] is True


@pytest.mark.parametrize(
    ("about", "found"),
    [
        ({}, 0),
        ({"version": "", "split_hash": "", "sets": {"imagenet": {}}}, 0),
        ({"split_hash": "b" * 64, "sets": {"luna": {}}}, 0),  # the dataset was named but not looked at
        ({"split_hash": "b" * 64, "sets": {"luna": {}, "covidct": {}}}, 1),
        ({"split_hash": "b" * 64}, 1),
        ({"split_hash": "a" * 64}, 0),
    ],
)
def test_what_counts_as_another_split(about: dict[str, Any], found: int) -> None:
    nearer = {
        "recipe": {"init": "encoder:far"},
        "dataset": {},
        "start": {"dataset": about, "recipe": {"init": "random"}},
    }
    assert [name for name, _ in lineage.strangers("encoder:near", nearer, "a" * 64)] == ["encoder:far"] * found


def test_luna_only_encoders_start_any_split(encoder: Path, here: Path) -> None:
    assert lineage.check(f"encoder:{encoder}", data.describe(covidct.load(here))) == {}
