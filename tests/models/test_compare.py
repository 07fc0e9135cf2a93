"""Comparing two models from their predictions: runs with their seeds, files, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from models import compare


def write(folder: Path, noise: float, seed: int, images: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = np.arange(images) % 2
    table = pd.DataFrame(
        {
            "image_id": [f"i{number:02d}" for number in range(images)],
            "patient_id": [f"p{number // 2}" if number % 4 < 2 else f"q{number // 2}" for number in range(images)],
            "split": "test",
            "label": label,
            "score": np.clip(0.3 + 0.4 * label + rng.normal(0, noise, images), 0, 1).round(6),
        }
    )
    folder.mkdir(parents=True)
    more = table.head(4).assign(split="val", image_id=["v0", "v1", "v2", "v3"])
    pd.concat([more, table.sample(frac=1, random_state=seed)]).to_csv(folder / "predictions.csv", index=False)
    return table


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    for seed in (0, 1):
        write(tmp_path / f"good-{seed}", 0.1, seed)
    write(tmp_path / "poor-0", 0.8, 5)
    write(tmp_path / "good-frozen-0", 0.5, 6)
    return tmp_path


def run(folder: Path, *arguments: str):
    return CliRunner().invoke(compare.app, [*arguments, "--evaluate", str(folder), "--replicates", "200"])


def test_a_run_stands_for_its_seeds(evaluated: Path, tmp_path: Path) -> None:
    result = run(evaluated, "good", "poor", "--out", str(tmp_path / "c.json"))
    assert result.exit_code == 0
    assert "2 seeds and 1 seed" in result.output
    assert "a is better" in result.output
    found = json.loads((tmp_path / "c.json").read_text())
    tables = {name: compare.read(evaluated / name / "predictions.csv") for name in ("good-0", "good-1", "poor-0")}
    areas = {name: roc_auc_score(table["label"], table["score"]) for name, table in tables.items()}
    expected = (areas["good-0"] + areas["good-1"]) / 2 - areas["poor-0"]
    assert found["bootstrap"]["auc"]["difference"] == pytest.approx(expected)
    assert found["images"] == 60


def test_names_are_runs_seeds_folders_or_files(evaluated: Path) -> None:
    assert [path.parent.name for path in compare.find("good", evaluated)] == ["good-0", "good-1"]
    assert [path.parent.name for path in compare.find("good-frozen", evaluated)] == ["good-frozen-0"]
    assert len(compare.find("good-1", evaluated)) == 1
    assert compare.find(str(evaluated / "poor-0"), Path("elsewhere")) == [evaluated / "poor-0" / "predictions.csv"]
    with pytest.raises(compare.CompareError, match="there are: good-0, good-1, good-frozen-0, poor-0"):
        compare.find("densenet", evaluated)


def test_the_same_model_is_not_told_apart(evaluated: Path) -> None:
    result = run(evaluated, "good-0", "good-0")
    assert "cannot tell them apart" in result.output
    assert "+0.000" in result.output


def test_other_images_are_refused(evaluated: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(evaluated / "other-0", 0.1, 0, images=40)
    assert run(evaluated, "good", "other").exit_code == 1
    assert "60 and 40 with 40 in common" in caplog.text


def test_other_labels_of_the_same_images_are_refused(evaluated: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write(evaluated / "other-0", 0.1, 0)
    table.loc[3, "label"] = 1 - table.loc[3, "label"]
    table.to_csv(evaluated / "other-0" / "predictions.csv", index=False)
    assert run(evaluated, "good", "other").exit_code == 1
    assert "on the same images with the same labels, got 60 and 60 with 60 in common" in caplog.text


def test_damaged_predictions_are_named(evaluated: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = evaluated / "poor-0" / "predictions.csv"
    file.write_text("image_id,score\na,0.5\n")
    assert run(evaluated, "good", "poor").exit_code == 1
    assert "none named patient_id, split, label" in caplog.text
    file.write_bytes(b"")
    assert run(evaluated, "good", "poor").exit_code == 1
    assert run(evaluated, "good", "good", "--split", "train").exit_code == 1
    assert "expected each train image once, got 0 rows" in caplog.text
