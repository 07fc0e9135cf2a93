"""What trainings say of an epoch: a line of the log, and DVCLive's metrics that go on where a training does."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from models.training import Reporter


def steps(folder: Path, name: str) -> list[tuple[int, float]]:
    with (folder / "plots" / "metrics" / f"{name}.tsv").open(encoding="utf-8") as file:
        return [(int(row["step"]), float(row[name])) for row in csv.DictReader(file, delimiter="\t")]


def test_a_line_per_epoch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "models.training"):
        Reporter("crnet random", 5, {"train_loss": "loss"})(1, {"epoch": 1, "train_loss": 0.25, "val_auc": 0.5})
    assert caplog.messages == ["crnet random epoch 2/5: loss 0.250"]


def test_live_metrics_go_on_with_a_continued_training_and_start_anew_with_a_new_one(tmp_path: Path) -> None:
    pytest.importorskip("dvclive")
    first = Reporter("t", 4, {}, tmp_path)
    for epoch in (0, 1):
        first(epoch, {"epoch": epoch, "loss": 1.0 - epoch / 4})
    Reporter("t", 4, {}, tmp_path)(2, {"epoch": 2, "loss": 0.5})  # killed after two epochs, continued
    assert steps(tmp_path, "loss") == [(0, 1.0), (1, 0.75), (2, 0.5)]
    Reporter("t", 4, {}, tmp_path)(0, {"epoch": 0, "loss": 2.0})
    assert steps(tmp_path, "loss") == [(0, 2.0)]
