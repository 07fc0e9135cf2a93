"""Every row of Tables III–VII has a run, and the paper's figures are the paper's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from models import experiments, settings
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


@pytest.mark.parametrize("command", ["list", "params", "run"])
def test_crnet_from_imagenet_comes_with_the_command_that_would_train_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("dvc without targets runs everything"))
    result = CliRunner().invoke(experiments.app, [command, "--table", "table3/crnet/imagenet"])
    assert "python -m models.imagenet --images ILSVRC2012/train --out data/imagenet/crnet" in result.output
    assert result.exit_code == (command == "run")
    if command == "params":
        assert yaml.safe_load(result.output) is None


def test_printed_parameters_are_what_finetune_takes() -> None:
    result = CliRunner().invoke(experiments.app, ["params", "--table", "table6", "--seeds", "0,1"])
    blocks = yaml.safe_load(result.output)
    made = blocks["encoders"]["densenet169-imagenet-luna-covidct-1"]
    assert made == {"backbone": "densenet169", "init": "imagenet", "chain": "luna,covidct", "seed": 1}
    assert "seed" not in blocks["encoders"]["densenet169-imagenet-luna-covidct"]
    assert len(blocks["encoders"]) == 16
    found = blocks["runs"]
    assert len(found) == 20
    item = found["densenet169-self-trans-1"]
    assert item["start"] == "data/pretrain/densenet169-imagenet-luna-covidct-1"
    assert item["options"]["init"] == "encoder:data/pretrain/densenet169-imagenet-luna-covidct-1"
    for each in found.values():
        Recipe(**each["options"]).check(1000)


@pytest.mark.parametrize("profile", ["sample", "published", "paper"])
def test_profiles_name_known_backbones_and_unique_runs(profile: str) -> None:
    found = yaml.safe_load((ROOT / "profiles" / f"{profile}.yaml").read_text())
    for key, item in found["runs"].items():
        assert "/" not in key
        assert item["options"]["backbone"] in BACKBONES
        assert key.endswith(f"-{item['options']['seed']}")


def test_the_paper_profile_holds_every_run() -> None:
    found = yaml.safe_load((ROOT / "profiles" / "paper.yaml").read_text())
    wanted = {f"{run.name}-0" for run in experiments.runs(experiments.rows())}
    assert wanted <= set(found["runs"])


def test_the_paper_profile_lacks_nothing_for_seed_0() -> None:
    there = settings.read(ROOT / "profiles" / "paper.yaml")[1]
    assert settings.shown(experiments.needed(experiments.runs(experiments.rows()), [0], there)) == ""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that `run` would start, in a folder with the sample profile."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "profiles" / "sample.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    found: list[list[str]] = []

    def pretend(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        found.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("subprocess.run", pretend)
    return found


def run(*options: str):
    return CliRunner().invoke(experiments.app, ["run", "--table", "table6/resnet50/self-trans", *options])


def test_one_command_runs_a_row_that_params_yaml_does_not_have(calls: list[list[str]]) -> None:
    before = Path("params.yaml").read_text()
    assert run("--dry-run").exit_code == 0
    assert Path("params.yaml").read_text() == before
    assert not calls
    result = run("--seeds", "0,1")
    assert result.exit_code == 0
    assert calls[0][-4:] == [
        f"{stage}@resnet50-self-trans-{seed}" for seed in (0, 1) for stage in ("finetune", "evaluate")
    ]
    after = Path("params.yaml").read_text()
    new = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(new) == 4
    assert [line for line in after.splitlines(keepends=True) if line.rstrip("\n") not in new] == before.splitlines(True)
    assert all(line in result.output for line in new)  # it says what it wrote
    found = yaml.safe_load(after)
    start = found["runs"]["resnet50-self-trans-1"]["start"]
    assert found["encoders"][start.removeprefix("data/pretrain/")]["seed"] == 1
    assert "added" not in run("--seeds", "0,1").output
    assert Path("params.yaml").read_text() == after


def test_a_row_that_is_there_keeps_its_entry_and_gets_the_encoder_it_names(calls: list[list[str]]) -> None:
    text = Path("params.yaml").read_text()
    own = "resnet50-self-trans-1: { start: data/pretrain/resnet50-imagenet-luna-covidct, options: { seed: 1 } }"
    Path("params.yaml").write_text(settings.with_entries(text, "runs", [own]))
    run("--seeds", "1")
    found = yaml.safe_load(Path("params.yaml").read_text())
    assert own in Path("params.yaml").read_text()
    assert "resnet50-imagenet-luna-covidct" in found["encoders"]
    assert "resnet50-imagenet-luna-covidct-1" not in found["encoders"]


@pytest.mark.parametrize("profile", ["sample", "published", "paper"])
def test_every_profile_can_be_added_to(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "profiles" / f"{profile}.yaml").read_text()
    path.write_text(before)
    blocks = experiments.needed(experiments.runs(experiments.rows()), [7], settings.read(path)[1])
    settings.add(path, blocks)
    after, found = settings.read(path)
    assert all(set(blocks[section]) <= set(found[section]) for section in settings.SECTIONS)
    for line in before.splitlines():
        assert line.replace(": {} #", ": #") in after.splitlines()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("runs: {} # none\nb: 1\n", "runs: # none\n  x: 1\nb: 1\n"),
        ("runs: {}", "runs:\n  x: 1\n"),
        ("runs:\n    a: 0 # A\n\n# of b\nb: 1\n", "runs:\n    a: 0 # A\n    x: 1\n\n# of b\nb: 1\n"),
        ("runs:\r\n  a: 0\r\nb: 1\r\n", "runs:\r\n  a: 0\r\n  x: 1\r\nb: 1\r\n"),
        ("runs:\n  a: 0", "runs:\n  a: 0\n  x: 1\n"),
        ("runs:\n  # first\n  a:\n    b: 0\nb: 1\n", "runs:\n  # first\n  a:\n    b: 0\n  x: 1\nb: 1\n"),
    ],
)
def test_only_lines_are_added(before: str, after: str) -> None:
    assert settings.with_entries(before, "runs", ["x: 1"]) == after


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "run it in the folder of the repository"),
        (b"runs: [", "expected YAML"),
        (b"\xff\xfe", "expected UTF-8"),
        (b"[1]", "expected sections"),
        (b"encoders: {}\nlnm: {}\nruns: [a]\n", "section runs: expected entries by name"),
        (b"encoders: {}\nlnm: {}\nruns: {a: {start: x}}\n", "another form of it"),
        (b"encoders: {}\nlnm: {}\n", "got none; write it, with:"),
    ],
)
def test_a_params_yaml_that_cannot_be_added_to_is_left_alone(
    calls: list[list[str]], content: bytes | None, message: str
) -> None:
    if content is None:
        Path("params.yaml").unlink()
    else:
        Path("params.yaml").write_bytes(content)
    result = run()
    assert result.exit_code == 1
    assert message in result.output
    assert not calls
    assert content is None or Path("params.yaml").read_bytes() == content


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(experiments.ExperimentError, match="table3/vgg16/random"):
        experiments.choose("table9")
    result = CliRunner().invoke(experiments.app, ["list", "--table", "tab"])
    assert result.exit_code == 1
    assert CliRunner().invoke(experiments.app, ["params", "--seeds", "a"]).exit_code == 2
    assert CliRunner().invoke(experiments.app, ["params", "--seeds", "-1"]).exit_code == 2
