"""The report: the paper's rows beside ours, rows not run said, failures counted, one page without outside addresses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import covidct
from models import evaluate, experiments, finetune, report, results, sections
from models.checkpoint import load
from models.engine import Hardware
from models.recipe import Recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toys: Callable[..., Path]) -> Path:
    """data/-like folder with a dataset, two seeds of CRNet and a failed.jsonl."""
    root = tmp_path_factory.mktemp("world")
    dataset = covidct.load(toys(root / "dataset"))
    for seed in (0, 1):
        recipe = Recipe("crnet", size=32, resize=40, epochs=2, batch=8, learning_rate=1e-3, seed=seed)
        out = root / "finetune" / f"crnet-random-{seed}"
        finetune.write(out, dataset, finetune.finetune(dataset, recipe, hardware=Hardware("cpu", 1, "32")))
        options = [
            "--dataset",
            str(root / "dataset"),
            "--model",
            str(out),
            "--accelerator",
            "cpu",
            "--replicates",
            "40",
        ]
        run = CliRunner().invoke(evaluate.app, [*options, "--out", str(root / "evaluate" / out.name)])
        assert run.exit_code == 0
    (root / "figures").mkdir()
    lines = [{"item": f"{number}.pdf", "reason": "encrypted" if number else "<b>odd|reason</b>"} for number in range(3)]
    (root / "figures" / "failed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def make(world: Path, out: Path, *more: str):
    options = [f"--{name}={world / name}" for name in ("dataset", "finetune", "evaluate")]
    return CliRunner().invoke(report.app, [*options, f"--failed={world / 'figures'}", f"--out={out}", *more])


def test_page_and_markdown_hold_the_paper_s_tables_and_ours(world: Path, tmp_path: Path) -> None:
    assert make(world, tmp_path).exit_code == 0
    page, text = (tmp_path / "index.html").read_text(), (tmp_path / "report.md").read_text()
    for numeral in ("III", "IV", "V", "VI", "VII"):
        assert f"Table {numeral}" in page
        assert f"Table {numeral}" in text
    (line,) = re.findall(r"^\| CRNet Rand\. .*$", text, flags=re.MULTILINE)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert [cells[1], cells[3], cells[5]] == ["0.72", "0.76", "0.77"]
    assert "2 seeds" in cells[6]
    assert "size 32" in cells[7]
    assert "epochs 2" in cells[7]
    (line,) = re.findall(r"^\| VGG-16 Rand\. .*$", text, flags=re.MULTILINE)
    assert "not run" in line
    assert "no ImageNet weights" in re.findall(r"^\| CRNet Trans\. .*$", text, flags=re.MULTILINE)[0]
    assert "546,882" in page
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["seed"].tolist() == [0, 1]
    assert {"auc", "auc_low", "auc_high", "f1_noncovid"} <= set(table)


def test_page_is_self_contained_and_escaped(world: Path, tmp_path: Path) -> None:
    make(world, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']https?:""", page)
    assert "<script" not in page
    assert "&lt;b&gt;odd|reason&lt;/b&gt;" in page
    assert r"odd\|reason" in (tmp_path / "report.md").read_text()
    assert page.count("<svg") == 4
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {
        "roc",
        "precision-recall",
        "reliability",
        "learning",
    }


def test_same_inputs_same_bytes(world: Path, tmp_path: Path) -> None:
    make(world, tmp_path / "a")
    make(world, tmp_path / "b")
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file.name


def test_results_of_another_split_and_damaged_ones_are_left_out_by_name(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    other = copy / "evaluate" / "crnet-random-0" / "metrics.json"
    content = json.loads(other.read_text())
    content["dataset"]["split_hash"] = "another"
    other.write_text(json.dumps(content))
    (copy / "evaluate" / "crnet-random-1" / "metrics.json").write_text("{")
    assert make(copy, tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "crnet-random-0: evaluated on another split" in text
    assert "crnet-random-1: cannot be read" in text
    assert "No model has been evaluated on this split yet" in text


def test_groups_give_mean_spread_and_the_middle_interval(world: Path) -> None:
    dataset = covidct.load(world / "dataset")
    from models.data import describe

    found, left = results.collect(world / "evaluate", world / "finetune", describe(dataset)["split_hash"])
    assert not left
    (group,) = results.group(found).values()
    values = [result.figure("auc") for result in found]
    assert group.mean("auc") == pytest.approx(sum(values) / 2)
    assert group.middle.figure("auc") == min(values)
    assert len(results.table(experiments.choose("table3"), {group.run: group})) == 16
    assert results.comparisons({"a": group, "b": group})[0]["bootstrap"]["auc"]["difference"] == 0


def test_table_two_is_equal_everywhere() -> None:
    (table,) = sections.table_two().tables
    assert [row[3] for row in table.rows] == ["yes"] * 8


def test_a_missing_dataset_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert make(tmp_path, tmp_path / "out").exit_code == 1
    assert "records.csv" in caplog.text
    assert not (tmp_path / "out").exists()


def test_cards_of_the_results_load(world: Path) -> None:
    _, card = load(world / "finetune" / "crnet-random-0")
    assert card["recipe"]["seed"] == 0
