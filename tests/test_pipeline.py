"""dvc.yaml, params.yaml and the profiles tell the truth about each other and about the code."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
FREE = {"encoders", "lnm", "runs"}
"""maps that stages iterate over: their names are data and differ between profiles"""
SPEC = importlib.util.spec_from_file_location("wire", ROOT / "tools" / "wire.py")
assert SPEC and SPEC.loader
wire = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(wire)
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, dict[str, Any]] = {name: stage.get("do", stage) for name, stage in DVC["stages"].items()}
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def keys(value: Any, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    if prefix in FREE:
        return {prefix}
    return {key for name, item in value.items() for key in keys(item, f"{prefix}.{name}" if prefix else name)}


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def module_of(stage: str) -> str:
    return wire.module_of(STAGES[stage]["cmd"])


def meets(path: str, others: Iterable[str]) -> bool:
    """Whether one of the others is this path, above it or below it."""
    return any(wire.covered(path, [other]) or wire.covered(other, [path]) for other in others)


def test_all_profiles_have_the_same_keys() -> None:
    """A profile is a complete alternative: no key more or less, in the same order of sections."""
    assert [path.stem for path in PROFILES] == ["paper", "published", "sample"]
    first = load(ROOT / "params.yaml")
    for path in PROFILES:
        other = load(path)
        assert keys(other) == keys(first), path.name
        assert list(other) == list(first), path.name


def test_no_value_is_null() -> None:
    """DVC hands null over as the word None: an empty text or 0 says "none" here."""
    for path in PROFILES:
        assert not re.search(r":\s*(null|~|)\s*(#.*)?$\n(?!  )", path.read_text(encoding="utf-8"), re.M), path.name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_one_word_everywhere(stage: str) -> None:
    """Stage = module = section of params.yaml = folder under data/, and every section belongs to a stage."""
    assert module_of(stage).split(".")[1] == stage
    assert any(wire.name_of(out).split("/")[:2] == ["data", stage] for out in outs(stage))
    assert stage in load(ROOT / "params.yaml")
    assert stage in STAGES[stage]["params"]
    assert f"${{{stage}}}" in STAGES[stage]["cmd"]


@pytest.mark.parametrize("stage", [name for name, stage in DVC["stages"].items() if "foreach" in stage])
def test_what_an_entry_says_wins_over_the_section(stage: str) -> None:
    """Of an option given twice the last counts, so the entry's own (epochs, seed) come after the section's."""
    command = STAGES[stage]["cmd"]
    own = re.findall(r"\$\{item(?:\.options)?\}", command)
    assert not own or command.index(own[0]) > command.index(f"${{{stage}}}")


def outs(stage: str) -> list[str]:
    return [wire.name_of(out) for kind in ("outs", "metrics", "plots") for out in STAGES[stage].get(kind, [])]


def test_every_section_belongs_to_a_stage() -> None:
    assert set(load(ROOT / "params.yaml")) - FREE == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_code(stage: str) -> None:
    """What the stage's module imports, directly or not, is a dependency, so that a change re-runs it: `make wire`."""
    body = STAGES[stage]
    deps = [wire.name_of(dep) for dep in body["deps"]]
    for dep in deps:
        if dep.split("/")[0] in wire.PACKAGES:
            assert (ROOT / dep).exists(), f"{stage} depends on {dep}, which does not exist"
    assert wire.files_of(module_of(stage)), module_of(stage)
    assert [wire.name_of(dep) for dep in wire.wired(body["deps"], body["cmd"])] == deps, "run `make wire`"


def test_wiring_follows_imports_of_imports() -> None:
    """models.finetune reads a table through covidct.reader, which reads covidct.records: both are named."""
    needed = wire.needed("python -m models.finetune --dataset data/dataset")
    assert {"models/finetune.py", "covidct/reader.py", "covidct/records.py"} <= set(needed)
    assert not any(name.startswith(("harvest/", "curation/")) for name in needed)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_data(stage: str) -> None:
    """Every data/ path in the command is the stage's own output or a dependency that an earlier stage writes."""
    deps = [wire.name_of(dep) for dep in STAGES[stage]["deps"]]
    order = list(STAGES)
    earlier = [out for name in order[: order.index(stage)] for out in outs(name)]
    for option, path in re.findall(r"(--[\w-]+) (data/\S+)", STAGES[stage]["cmd"]):
        if option == "--out":
            assert meets(path, outs(stage)), f"{stage}: {path}"
        if meets(path, outs(stage)):
            continue
        assert meets(path, deps), f"{stage}: reads {path}"
        assert meets(path, earlier), f"{stage}: {path} comes later"
    for dep in deps:
        if dep.startswith("data/"):
            assert meets(dep, earlier), f"{stage}: nobody writes {dep}"


@pytest.mark.parametrize("profile", [path.stem for path in PROFILES])
def test_no_address_of_this_machine(profile: str) -> None:
    """Live services in the paper profile; the stand-in is a token, never an address."""
    text = (ROOT / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")
    if profile == "paper":
        assert "{standin}" not in text
    assert "127.0.0.1" not in text
    assert "localhost" not in text


def test_params_have_a_comment_each() -> None:
    """Unit or source of every value; a name alone is not enough."""
    bare = [
        line
        for line in (ROOT / "profiles" / "paper.yaml").read_text(encoding="utf-8").splitlines()
        if re.match(r"^  \w+: ", line) and " # " not in line
    ]
    assert len(bare) <= 12, bare
