"""Fine-tuning: learns, never opens test, resumes exactly, freezes what it says, and its files load into torchvision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import covidct
from models import cards, checkpoint, data, engine, finetune
from models.engine import Hardware
from models.errors import Diverged
from models.objective import Best, choose_threshold
from models.recipe import FineTuneError, Recipe
from models.transforms import Evaluation
from models.vision import torchvision

SMALL = Recipe("crnet", size=32, resize=40, epochs=3, batch=8, learning_rate=1e-3)
CPU = Hardware("cpu", 1, "32")


def weights(result: finetune.Result) -> dict[str, torch.Tensor]:
    return result.network.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_learns_and_says_how(toy: Path, tmp_path: Path) -> None:
    dataset = covidct.load(toy)
    result = finetune.finetune(dataset, SMALL, hardware=CPU)
    finetune.write(tmp_path / "out", dataset, result)
    assert max(row["val_auc"] for row in result.history) == 1.0
    model, card = checkpoint.load(tmp_path / "out")
    assert same(weights(result), model.state_dict())
    assert card["class_names"] == ["NonCOVID", "COVID"]
    assert card["preprocessing"]["size"] == 32
    assert len(card["preprocessing"]["mean"]) == 1
    assert card["recipe"]["learning_rate"] == 1e-3
    assert card["metrics"]["val"]["auc"] == 1.0
    assert card["metrics"]["val"]["clustered"] and card["metrics"]["val"]["groups"] == 6  # patients of two images
    assert card["dataset"]["split_hash"]
    assert card["training"]["precision"]
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"lr", "train_loss", "val_loss", "val_auc", "val_accuracy"} <= set(history)
    scores = pd.read_csv(tmp_path / "out" / "val.csv")
    assert scores["image_id"].tolist() == dataset.val.records["image_id"].tolist()
    assert scores.loc[scores["label"] == 1, "score"].min() > scores.loc[scores["label"] == 0, "score"].max()


def test_pictures_are_normalised_by_those_of_train(toys: Callable[..., Path], tmp_path: Path) -> None:
    dataset = covidct.load(toys(tmp_path, {"train": 4, "val": 2, "test": 2}))
    result = finetune.finetune(dataset, replace(SMALL, epochs=1), hardware=CPU)
    mean, deviation = data.normalisation(data.load_split(dataset.train, SMALL.resize).images)
    shown = result.card["preprocessing"]
    assert shown["mean"] == pytest.approx([mean], abs=1e-6) and shown["std"] == pytest.approx([deviation], abs=1e-6)
    other, _ = data.normalisation(data.load_split(dataset.val, SMALL.resize).images)
    assert abs(other - mean) > 1e-4


def test_the_learning_rate_falls_along_a_cosine_epoch_by_epoch(toys: Callable[..., Path], tmp_path: Path) -> None:
    dataset = covidct.load(toys(tmp_path, {"train": 4, "val": 2, "test": 2}))
    result = finetune.finetune(dataset, replace(SMALL, period=2), hardware=CPU)
    assert [row["lr"] for row in result.history] == pytest.approx([1e-3, 5e-4, 0], abs=1e-9)


def test_the_test_split_is_never_opened(toy: Path) -> None:
    for file in (toy / "images").glob("test-*"):
        file.unlink()
    finetune.finetune(covidct.load(toy), replace(SMALL, epochs=1), hardware=CPU)


def test_same_seed_same_weights_other_seed_others(toy: Path) -> None:
    dataset = covidct.load(toy)
    recipe = replace(SMALL, epochs=1)
    first = finetune.finetune(dataset, recipe, hardware=CPU)
    torch.manual_seed(4)
    assert same(weights(first), weights(finetune.finetune(dataset, recipe, hardware=CPU)))
    assert not same(weights(first), weights(finetune.finetune(dataset, replace(recipe, seed=1), hardware=CPU)))


def test_interrupted_run_ends_in_the_same_bits(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = covidct.load(toy)
    expected = finetune.finetune(dataset, SMALL, hardware=CPU)
    real = engine.train_epoch
    calls = []

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(engine, "train_epoch", dies)
    monkeypatch.setattr(engine, "SAVING_SHARE", 1e9)  # after every epoch, however short
    with pytest.raises(KeyboardInterrupt):
        finetune.finetune(dataset, SMALL, hardware=CPU, cache=tmp_path)
    resumed = finetune.finetune(dataset, SMALL, hardware=CPU, cache=tmp_path)
    assert len(calls) == 4  # two before, the one that died, and one after
    assert same(weights(expected), weights(resumed))
    assert resumed.history == expected.history


def test_fewer_epochs_on_the_cache_of_more_are_a_run_of_their_own(toy: Path, tmp_path: Path) -> None:
    dataset, fewer = covidct.load(toy), replace(SMALL, epochs=1, select="last")
    finetune.finetune(dataset, replace(fewer, epochs=3), hardware=CPU, cache=tmp_path)
    result = finetune.finetune(dataset, fewer, hardware=CPU, cache=tmp_path)
    assert (len(result.history), result.card["epoch"], result.card["recipe"]["epochs"]) == (1, 1, 1)
    assert same(weights(result), weights(finetune.finetune(dataset, fewer, hardware=CPU)))


def test_scores_that_are_not_finite_are_told_with_their_epoch(toy: Path) -> None:
    recipe = replace(SMALL, batch=24, learning_rate=1e30)  # one step: its loss is finite, what it leaves is not
    with pytest.raises(Diverged, match=r"crnet random epoch [123]/3: .* val scores are NaN .*rate 1e\+30.* lower the"):
        finetune.finetune(covidct.load(toy), recipe, hardware=CPU)


def test_nan_is_never_the_best(toy: Path) -> None:
    best, network = Best(), torch.nn.Linear(1, 1)
    best.offer((float("nan"), -1.0), 0, network)
    best.offer((0.5, -1.0), 1, network)
    assert best.epoch == 1


def test_pictures_for_folded_weights_are_made_only_for_those(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    real = Evaluation.__call__
    monkeypatch.setattr(Evaluation, "__call__", lambda self, images: largest.append(len(images)) or real(self, images))
    finetune.finetune(covidct.load(toy), replace(SMALL, epochs=1), hardware=CPU)
    assert largest == [12, 12]  # val only: at the epoch's end and for the card


def test_a_changed_label_is_another_run(toy: Path, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=1)
    finetune.finetune(covidct.load(toy), recipe, hardware=CPU, cache=tmp_path)
    table = pd.read_csv(toy / "records.csv", dtype=str, keep_default_na=False)
    table.loc[table["image_id"] == "train-0-00", ["label", "label_name"]] = ["1", "COVID"]
    table.to_csv(toy / "records.csv", index=False)
    fresh = finetune.finetune(covidct.load(toy), recipe, hardware=CPU)
    assert same(weights(fresh), weights(finetune.finetune(covidct.load(toy), recipe, hardware=CPU, cache=tmp_path)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 encoder as pretraining leaves it."""
    from models import backbones

    torch.manual_seed(0)
    network, _ = backbones.features(backbones.build("resnet18", 2), "resnet18")
    card = checkpoint.make_card(
        kind="encoder",
        backbone="resnet18",
        class_names=[],
        preprocessing={"size": 32, "mean": [0.3] * 3, "std": [0.25] * 3},
        recipe={},
    )
    return checkpoint.save(tmp_path_factory.mktemp("encoder"), network, card)


def test_frozen_extractor_does_not_move_and_unfrozen_does(toy: Path, encoder: Path) -> None:
    dataset = covidct.load(toy)
    recipe = replace(SMALL, backbone="resnet18", init=f"encoder:{encoder}", epochs=1, select="last")
    before, _ = checkpoint.read(encoder)
    frozen = finetune.finetune(dataset, replace(recipe, frozen=True), hardware=CPU)
    after = weights(frozen)
    assert all(torch.equal(before[name], after[name]) for name in before)  # batch norms' statistics too
    moved = weights(finetune.finetune(dataset, recipe, hardware=CPU))
    assert not torch.equal(before["conv1.weight"], moved["conv1.weight"])
    assert frozen.card["preprocessing"]["mean"] == [0.3] * 3  # the encoder's own statistics
    assert frozen.card["initial_weights"]["loaded"]


def test_weights_load_strictly_into_stock_torchvision(toy: Path, encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    dataset = covidct.load(toy)
    recipe = replace(SMALL, backbone="resnet18", init=f"encoder:{encoder}", epochs=1)
    finetune.write(tmp_path, dataset, finetune.finetune(dataset, recipe, hardware=CPU))
    stock = torchvision.models.resnet18(num_classes=2)
    stock.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)


def test_rotation_trains_jointly_and_leaves_a_stock_network(toy: Path) -> None:
    dataset = covidct.load(toy)
    joint = finetune.finetune(dataset, replace(SMALL, epochs=1, rotation=True), hardware=CPU)
    alone = finetune.finetune(dataset, replace(SMALL, epochs=1), hardware=CPU)
    assert weights(joint).keys() == weights(alone).keys()
    assert not same(weights(joint), weights(alone))
    assert joint.history[0]["train_loss"] > alone.history[0]["train_loss"]  # two losses are added


def test_one_class_in_val_is_said_and_the_loss_decides(
    toys: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = toys(tmp_path / "t")
    table = pd.read_csv(folder / "records.csv", dtype=str, keep_default_na=False)
    table[~((table["split"] == "val") & (table["label"] == "0"))].to_csv(folder / "records.csv", index=False)
    result = finetune.finetune(covidct.load(folder), SMALL, hardware=CPU)
    assert "val: all 6 labels are COVID" in caplog.text
    losses = [row["val_loss"] for row in result.history]
    assert result.card["epoch"] == int(np.argmin(losses)) + 1
    assert result.card["metrics"]["val"]["auc"] is None
    assert "crnet random: val holds one class, so the AUC is undefined and the lowest val loss chooses" in caplog.text
    assert result.card["metrics"]["notes"] == [
        "val holds COVID only: AUC undefined, the lowest val loss chose the epoch, threshold 0.5 was not chosen"
    ]
    assert "the last epoch was taken" in cards.one_class(np.ones(3, int), "last")["notes"][0]
    assert cards.one_class(np.array([0, 1]), "auc") == {}


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),
        ([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9], 0.5),
        ([1, 1, 1], [0.1, 0.2, 0.3], 0.5),
        ([0, 1, 0, 1], [0.2, 0.2, 0.2, 0.2], 0.5),
    ],
)
def test_threshold_has_the_highest_youden_index(labels: list[int], scores: list[float], expected: float) -> None:
    assert choose_threshold(np.array(labels), np.array(scores)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 25}, "at most the 24 training images, got 25"),
        ({"batch": 1}, "batch: expected 2"),
        ({"epochs": 0}, "epochs: expected 1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay: expected 0 or more, got -1"),
        ({"select": "test"}, "select: expected one of auc, loss, last"),
        ({"rotation": True, "frozen": True}, "cannot be frozen"),
    ],
)
def test_impossible_recipes_are_refused(toy: Path, change: dict, message: str) -> None:
    with pytest.raises(FineTuneError, match=message):
        finetune.finetune(covidct.load(toy), replace(SMALL, **change), hardware=CPU)


def test_command_line(toy: Path, tmp_path: Path) -> None:
    options = ["--size=32", "--resize=40", "--epochs=1", "--batch=8", "--learning_rate=0.001", "--no-compile"]
    paths = ["--dataset", str(toy), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    run = CliRunner().invoke(
        finetune.app, [*paths, "--backbone", "crnet", "--init", "random", "--no-frozen", *options, "--accelerator=cpu"]
    )
    assert run.exit_code == 0, run.output
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["card.json", "history.csv", "model.safetensors", "val.csv"]
    assert json.loads((tmp_path / "out" / "card.json").read_text())["recipe"]["backbone"] == "crnet"
    assert (tmp_path / "cache" / engine.STATE).is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backbone", "resnet19"], "expected one of vgg16"),
        (["--backbone", "crnet", "--init", "imagenet"], "no ImageNet weights for CRNet"),
        (["--backbone", "crnet", "--init", "encoder:/nowhere"], "/nowhere"),
    ],
)
def test_errors_are_one_message_and_leave_nothing(
    toy: Path, tmp_path: Path, options: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = CliRunner().invoke(finetune.app, ["--dataset", str(toy), "--out", str(tmp_path / "out"), *options])
    assert run.exit_code == 1
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_missing_dataset_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--dataset", str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--backbone", "crnet"]
    assert CliRunner().invoke(finetune.app, options).exit_code == 1
    assert "records.csv" in caplog.text
