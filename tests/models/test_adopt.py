"""Runs from elsewhere become what the stage `evaluate` would have written; strangers are left out by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import covidct
from models import adopt, evaluate, results
from models.data import describe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toys: Callable[..., Path], small: Callable[..., None]) -> Path:
    """A dataset, a classifier evaluated by the stage, and the same run in the form of a run from elsewhere."""
    root = tmp_path_factory.mktemp("world")
    dataset = covidct.load(toys(root / "dataset"))
    small(dataset, root / "finetune" / "crnet-random-0")
    options = ["--dataset", str(root / "dataset"), "--model", str(root / "finetune" / "crnet-random-0")]
    options += ["--out", str(root / "evaluate" / "crnet-random-0"), "--replicates", "30", "--accelerator", "cpu"]
    assert CliRunner().invoke(evaluate.app, options).exit_code == 0
    run = root / "runs" / "crnet-random-0"
    shutil.copytree(root / "finetune" / "crnet-random-0", run)
    shutil.copyfile(root / "evaluate" / "crnet-random-0" / "predictions.csv", run / "predictions.csv")
    return root


def take(root: Path, runs: Path, out: Path):
    options = ["--runs", str(runs), "--dataset", str(root / "dataset"), "--out", str(out), "--replicates", "30"]
    return CliRunner().invoke(adopt.app, options)


def test_gives_what_the_stage_wrote(world: Path, tmp_path: Path) -> None:
    assert take(world, world / "runs", tmp_path).exit_code == 0
    split_hash = describe(covidct.load(world / "dataset"))["split_hash"]
    (found,), left = results.collect(tmp_path / "evaluate", tmp_path / "finetune", split_hash)
    assert not left
    (stage,), _ = results.collect(world / "evaluate", world / "finetune", split_hash)
    assert found.predictions.equals(stage.predictions)
    for name in ("auc", "accuracy", "f1", "f1_noncovid"):
        assert found.figure(name) == pytest.approx(stage.figure(name))
        assert found.interval(name) == pytest.approx(stage.interval(name))


def test_strangers_and_damaged_runs_are_left_out(world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = tmp_path / "runs"
    for name in ("good-0", "other-0", "short-0", "text-0", "label-0"):
        shutil.copytree(world / "runs" / "crnet-random-0", runs / name)
    card = json.loads((runs / "other-0" / "card.json").read_text())
    card["dataset"]["split_hash"] = "x"
    (runs / "other-0" / "card.json").write_text(json.dumps(card))
    lines = (runs / "short-0" / "predictions.csv").read_text().splitlines()
    (runs / "short-0" / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    (runs / "text-0" / "predictions.csv").write_text("hello\n")
    table = (runs / "label-0" / "predictions.csv").read_text()
    (runs / "label-0" / "predictions.csv").write_text(table.replace(",1,", ",7,"))
    assert take(world, runs, tmp_path / "out").exit_code == 0
    assert [path.name for path in sorted((tmp_path / "out" / "evaluate").iterdir())] == ["good-0"]
    for words in (
        "another split",
        "expected the 12 test images of the dataset, got 11 rows",
        "as CSV",
        "got others in",
    ):
        assert words in caplog.text


def test_nothing_to_take_fails(world: Path, tmp_path: Path) -> None:
    assert take(world, tmp_path, tmp_path / "out").exit_code == 1
