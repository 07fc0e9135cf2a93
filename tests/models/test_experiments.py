"""Every row of Tables III–VII has a run, and the paper's figures are the paper's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from models import experiments
from models.backbones import BACKBONES
from models.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"table3": 16, "table4": 4, "table5": 4, "table6": 10, "table7": 4}


def test_every_row_of_every_table() -> None:
    rows = experiments.rows()
    assert {table: sum(row.table == table for row in rows) for table in COUNTS} == COUNTS
    assert len({row.name for row in rows}) == len(rows) == 38


def test_rows_that_show_one_run_agree_on_its_figures_but_for_what_the_notes_say() -> None:
    by_run: dict[str, set[tuple[float, float, float]]] = {}
    for row in experiments.rows():
        by_run.setdefault(row.run.name, set()).add((row.accuracy, row.f1, row.auc))
    assert {name for name, figures in by_run.items() if len(figures) > 1} == set()


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("table3/crnet/random", (0.72, 0.76, 0.77)),
        ("table3/resnet18/random", (0.67, 0.66, 0.76)),
        ("table6/densenet169/self-trans", (0.86, 0.85, 0.94)),
        ("table6/resnet50/method1", (0.69, 0.63, 0.66)),
        ("table7/densenet169/frozen", (0.79, 0.77, 0.83)),
        ("table4/densenet169/imagenet-lnm", (0.81, 0.82, 0.89)),
    ],
)
def test_figures_of_the_paper(name: str, figures: tuple[float, float, float]) -> None:
    (row,) = experiments.choose(name)
    assert (row.accuracy, row.f1, row.auc) == figures


def test_methods_are_what_the_paper_says() -> None:
    runs = {row.name.split("/")[2]: row.run for row in experiments.choose("table6/resnet50")}
    chains = {name: (run.encoder.init, run.encoder.chain) for name, run in runs.items() if run.encoder}
    assert chains == {
        "method1": ("random", ("covidct",)),
        "method2": ("imagenet", ("covidct",)),
        "method3": ("imagenet", ("luna",)),
        "self-trans": ("imagenet", ("luna", "covidct")),
    }
    assert runs["method4"].rotation
    assert runs["method4"].init == "imagenet"
    (frozen,) = experiments.choose("table7/resnet50/frozen")
    assert frozen.run.frozen
    assert frozen.run.encoder == runs["method2"].encoder


def test_crnet_from_imagenet_is_named_but_not_run() -> None:
    (row,) = experiments.choose("table3/crnet/imagenet")
    assert experiments.runs([row]) == []
    assert "models.imagenet" in experiments.why_not(row.run)
    assert "--init encoder:data/imagenet/crnet" in experiments.why_not(row.run)


def test_printed_parameters_are_what_finetune_takes() -> None:
    result = CliRunner().invoke(experiments.app, ["params", "--table", "table6", "--seeds", "0,1"])
    found = yaml.safe_load(result.output)["runs"]
    assert len(found) == 20
    item = found["densenet169-self-trans-1"]
    assert item["start"] == "data/pretrain/densenet169-imagenet-luna-covidct"
    assert item["options"]["init"] == "encoder:data/pretrain/densenet169-imagenet-luna-covidct"
    for each in found.values():
        Recipe(**each["options"]).check(1000)


@pytest.mark.parametrize("profile", ["sample", "published", "paper"])
def test_profiles_name_known_backbones_and_unique_runs(profile: str) -> None:
    settings = yaml.safe_load((ROOT / "profiles" / f"{profile}.yaml").read_text())
    for key, item in settings["runs"].items():
        assert "/" not in key
        assert item["options"]["backbone"] in BACKBONES
        assert key.endswith(f"-{item['options']['seed']}")


def test_the_paper_profile_holds_every_run() -> None:
    settings = yaml.safe_load((ROOT / "profiles" / "paper.yaml").read_text())
    wanted = {f"{run.name}-0" for run in experiments.runs(experiments.rows())}
    assert wanted <= set(settings["runs"])


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(experiments.ExperimentError, match="table3/vgg16/random"):
        experiments.choose("table9")
    result = CliRunner().invoke(experiments.app, ["list", "--table", "tab"])
    assert result.exit_code == 1
    assert CliRunner().invoke(experiments.app, ["params", "--seeds", "a"]).exit_code == 2
