"""The table of benchmarks.paper_tables: a mean over seeds stands beside the interval of that mean, not of another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import covidct
from benchmarks import paper_results
from covidct import pairs

RUNS = {"resnet18-random": (0.8, 3), paper_results.BASE: (0.5, 3), "crnet-random": (0.5, 1)}
"""name → noise of its scores, seeds"""


@pytest.fixture
def work(
    tmp_path: Path, toys: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, np.ndarray], covidct.Subset]:
    """Results on a toy dataset, their scores S×N by name, and its test split."""
    dataset = covidct.load(toys(tmp_path / "toy"))
    monkeypatch.setattr(paper_results, "dataset_of", lambda pack, scheme: dataset)
    test, rng = dataset.test, np.random.default_rng(0)
    found = {}
    for name, (noise, seeds) in RUNS.items():
        found[name] = np.round(np.clip(0.3 + 0.4 * test.labels + rng.normal(0, noise, (seeds, len(test))), 0, 1), 6)
        for seed, score in enumerate(found[name]):
            folder = tmp_path / "work" / "runs" / f"{name}-{seed}"
            folder.mkdir(parents=True)
            job = {"name": name, "scheme": "published", "chain": ["covidct"] if "random" in name else []}
            card = {"job": job, "metrics": {"threshold": 0.5}, "training": {"hours": 0.1}}
            (folder / "card.json").write_text(json.dumps(card))
            table = test.records[["image_id", "patient_id", "split", "label"]].assign(score=score)
            table.to_csv(folder / "predictions.csv", index=False)
    return tmp_path / "work", found, test


def cells(text: str, name: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(rf"^\| {re.escape(name)} \|.*$", text, flags=re.MULTILINE)
    ]


def test_the_mean_over_seeds_has_the_interval_of_the_mean(
    work: tuple[Path, dict[str, np.ndarray], covidct.Subset],
) -> None:
    folder, scores, test = work
    text = paper_results.markdown(folder, folder)
    assert "mean AUC (95 %, patients and seeds) | AUC of the mean score (95 %, patients)" in text
    for name in ("resnet18-random", "crnet-random"):
        row = cells(text, name)[0]
        mean = pairs.over_seeds(test.labels, scores[name], test.patients)["auc"]
        low, high = mean["interval"]
        assert row[3] == f"{mean['mean']:.3f} ({low:.3f}–{high:.3f})"
        whole = test.evaluate(scores[name].mean(axis=0), replicates=2000, seed=0)
        low, high = whole.intervals["auc"]
        assert row[4] == f"{whole.auc:.3f} ({low:.3f}–{high:.3f})"
    assert cells(text, "crnet-random")[0][3] == cells(text, "crnet-random")[0][4]  # one seed: the same thing
    assert "share its encoder" in text


def test_differences_are_of_the_means_over_seeds(work: tuple[Path, dict[str, np.ndarray], covidct.Subset]) -> None:
    folder, scores, test = work
    row = cells(paper_results.markdown(folder, folder), "resnet18-random")[1]
    found = pairs.compare(test.labels, scores["resnet18-random"], scores[paper_results.BASE], test.patients)
    auc = found["bootstrap"]["auc"]
    low, high = auc["interval"]
    assert row[1:4] == [f"{auc['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{auc['p']:.3f}"]
