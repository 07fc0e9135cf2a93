"""Evaluation: figures of test only, threshold from the card, per source and severity, foreign splits refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import covidct
from covidct import metrics
from models import checkpoint, data, embedding, evaluate
from models.reading import evaluation


def run(dataset: Path, model: Path, out: Path, *more: str):
    options = ["--dataset", str(dataset), "--model", str(model), "--out", str(out), "--replicates", "50"]
    return CliRunner().invoke(evaluate.app, [*options, "--accelerator", "cpu", *more])


def test_predictions_and_metrics(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    assert run(folder, model, tmp_path).exit_code == 0
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert table["split"].value_counts().to_dict() == {"val": 12, "test": 12}
    summary = json.loads((tmp_path / "metrics.json").read_text())
    test = table[table["split"] == "test"]
    expected = metrics.evaluate(test["label"], test["score"], test["patient_id"], replicates=0)
    for name in ("auc", "accuracy", "precision", "recall", "f1", "f1_noncovid"):
        assert summary["test"]["at_half"][name] == pytest.approx(expected[name])
    assert summary["test"]["at_half"]["images"] == 12
    assert summary["test"]["at_half"]["groups"] == 6
    card = json.loads((model / "card.json").read_text())
    assert summary["threshold"] == card["metrics"]["threshold"]
    assert (table["called"] == (table["score"] >= summary["threshold"]).astype(int)).all()
    sources = {(row["source"], row["class"]): row for row in summary["test"]["by_source"]}
    assert set(sources) == {("medrxiv", "COVID")}  # three test images of medpix and of pmc: too few for a line
    assert summary["test"]["calibration"]["ece"] >= 0
    assert [row["severity"] for row in summary["test"]["by_severity"]] == []  # three severe, three not stated: too few
    assert summary["transductive"] is False
    short = json.loads((tmp_path / "headline.json").read_text())
    assert short["auc"] == round(summary["test"]["at_half"]["auc"], 4)
    assert short["auc_low"] <= short["auc"] <= short["auc_high"]
    assert set(short) == {*metrics.NAMES, "auc_low", "auc_high", "ece"}


def test_transductive_models_are_marked_in_every_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    shutil.copytree(model, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    start = {"dataset": {**card["dataset"], "transductive": True}}
    (tmp_path / "model" / "card.json").write_text(json.dumps({**card, "start": start}))
    result = run(folder, tmp_path / "model", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for name in ("metrics.json", "headline.json"):
        assert json.loads((tmp_path / "out" / name).read_text())["transductive"] is True
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["transductive"].all()
    assert run(folder, model, tmp_path / "plain").exit_code == 0
    assert "transductive" not in pd.read_csv(tmp_path / "plain" / "predictions.csv").columns


def test_the_encoder_is_mapped_before_and_after(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    assert run(folder, model, tmp_path, "--start", "random").exit_code == 0
    table = pd.read_csv(tmp_path / "embedding.csv")
    assert table["encoder"].value_counts().to_dict() == {"start": 12, "trained": 12}
    test = covidct.load(folder).test.records["image_id"].tolist()
    assert table.loc[table["encoder"] == "trained", "image_id"].tolist() == test
    figures = json.loads((tmp_path / "metrics.json").read_text())["embedding"]
    assert set(figures) == {"start", "trained"}
    assert 0 <= figures["trained"]["label"]["share"] <= 1


def test_the_map_is_made_of_the_test_pictures_features(
    trained: tuple[Path, Path], toys: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Val goes through the network too; here it has other pictures and fewer of them."""
    dataset = covidct.load(toys(tmp_path / "toy", {"train": 12, "val": 4, "test": 6}))
    network, card = checkpoint.load(trained[1])
    seen: list[np.ndarray] = []
    real = embedding.look
    monkeypatch.setattr(embedding, "look", lambda found, *more: seen.append(found) or real(found, *more))
    assert run(dataset.root, trained[1], tmp_path / "out", "--other-split").exit_code == 0
    transform = evaluation(card)
    images = data.load_arrays(dataset.test, transform.size)
    expected = embedding.features(network, card["backbone"], images, transform)
    assert np.allclose(seen[0], expected, atol=1e-5)


def test_the_threshold_is_the_cards(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Chosen on val: another one there is another one here, whatever would suit the test pictures."""
    folder, model = trained
    assert run(folder, model, tmp_path / "plain").exit_code == 0
    scores = pd.read_csv(tmp_path / "plain" / "predictions.csv")["score"]
    chosen = round(float((scores.nlargest(5).iloc[3:5]).mean()), 6)
    shutil.copytree(model, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    card["metrics"]["threshold"] = chosen
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    assert run(folder, tmp_path / "model", tmp_path / "out").exit_code == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert summary["threshold"] == summary["test"]["at_chosen"]["threshold"] == chosen
    assert table["called"].sum() == 4 and (table["called"] == (table["score"] >= chosen)).all()


def test_weights_that_cannot_be_had_leave_only_that_map_out(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = trained
    assert run(folder, model, tmp_path, "--start", "imagenet").exit_code == 0
    assert "no ImageNet weights for CRNet" in caplog.text
    assert set(pd.read_csv(tmp_path / "embedding.csv")["encoder"]) == {"trained"}


def test_one_class_in_test_is_said_not_hidden(
    trained: tuple[Path, Path], toys: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, model = trained
    one = toys(tmp_path / "one", {"train": 4, "val": 4, "test": 6}, (1,))
    caplog.set_level("INFO")
    assert run(one, model, tmp_path / "out", "--other-split").exit_code == 0
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert summary["test"]["at_half"]["auc"] is None
    assert summary["test"]["by_source"] == []
    assert json.loads((tmp_path / "out" / "headline.json").read_text())["auc"] is None
    assert "AUC undefined: all 6 labels are COVID" in caplog.text


def test_a_gpu_that_is_not_there_is_an_error(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(*trained, tmp_path / "out", "--accelerator", "gpu").exit_code == 1
    assert "expected a GPU, got none that torch sees; use accelerator cpu or auto" in caplog.text
    assert not (tmp_path / "out").exists()


def test_same_inputs_same_bytes(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, model = trained
    run(folder, model, tmp_path / "a")
    run(folder, model, tmp_path / "b")
    for name in ("predictions.csv", "metrics.json", "headline.json", "embedding.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_model_of_another_split_is_refused(
    trained: tuple[Path, Path], toys: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, model = trained
    other = toys(tmp_path / "other", {"train": 6, "val": 4, "test": 5})
    assert run(other, model, tmp_path / "out").exit_code == 1
    assert "test images may have been trained on" in caplog.text
    assert not (tmp_path / "out").exists()
    assert run(other, model, tmp_path / "out", "--other-split").exit_code == 0


def test_each_source_is_set_against_the_other_class() -> None:
    records = pd.DataFrame(
        {
            "label": [1] * 6 + [0] * 12,
            "source": ["medrxiv"] * 6 + ["pmc"] * 6 + ["medpix"] * 6,
            "patient_id": [str(number) for number in range(18)],
        }
    )
    scores = np.array([0.6] * 6 + [0.7, 0.7, 0.7, 0.5, 0.5, 0.5] + [0.1] * 6)
    rows = {row["source"]: row for row in evaluate.against_others(records, scores, "source", replicates=20)}
    assert rows["medpix"]["auc_against_other_class"] == 1.0
    assert rows["pmc"]["auc_against_other_class"] == 0.5
    assert rows["medrxiv"]["auc_against_other_class"] == 0.75
    assert rows["pmc"]["called_right"] == 0.0
    assert rows["medpix"]["called_right"] == 1.0
