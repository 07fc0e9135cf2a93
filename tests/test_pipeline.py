"""dvc.yaml, params.yaml and the profiles tell the truth about each other and about the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harvest", "curation", "covidct", "models")
FREE = {"encoders", "lnm", "runs"}
"""maps that stages iterate over: their names are data and differ between profiles"""
PLUMBING = {"covidct/__init__.py", "harvest/__init__.py", "curation/__init__.py", "models/__init__.py"}
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
    return yaml.safe_load(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def module_of(stage: str) -> str:
    found = re.findall(r"python -m ([\w.]+)", STAGES[stage]["cmd"])
    return [name for name in found if name != "harvest.sample.serve"][-1]


def files_of(module: str) -> list[str]:
    path = module.replace(".", "/")
    return [name for name in (f"{path}.py", f"{path}/__init__.py") if (ROOT / name).is_file()]


@cache
def imports(file: str) -> frozenset[str]:
    """Project files that a file imports when it is imported (module level, not in functions)."""
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    found.update(files_of(alias.name))
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                found.update(files_of(child.module))
                for alias in child.names:
                    found.update(files_of(f"{child.module}.{alias.name}"))
            visit(child)

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    return frozenset(name for name in found if name.split("/")[0] in PACKAGES and name not in PLUMBING)


def covered(path: str, deps: list[str]) -> bool:
    return any(path == dep or path.startswith(dep.rstrip("/") + "/") for dep in deps)


def written(entry: Any) -> str:
    return next(iter(entry)) if isinstance(entry, dict) else entry


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
    assert any(written(out).split("/")[:2] == ["data", stage] for out in outs(stage))
    assert stage in load(ROOT / "params.yaml")
    assert stage in STAGES[stage]["params"]
    assert f"${{{stage}}}" in STAGES[stage]["cmd"]


def outs(stage: str) -> list[str]:
    return [written(out) for kind in ("outs", "metrics", "plots") for out in STAGES[stage].get(kind, [])]


def test_every_section_belongs_to_a_stage() -> None:
    assert set(load(ROOT / "params.yaml")) - FREE == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_code(stage: str) -> None:
    """The stage's module and what it imports at module level are dependencies, so that a change re-runs it."""
    deps = [written(dep) for dep in STAGES[stage]["deps"]]
    for dep in deps:
        if dep.split("/")[0] in PACKAGES:
            assert (ROOT / dep).exists(), f"{stage} depends on {dep}, which does not exist"
    own = files_of(module_of(stage))
    assert own, module_of(stage)
    own += [f"{own[0].removesuffix('__init__.py')}__main__.py"] if own[0].endswith("__init__.py") else []
    needed = set(own).union(*(imports(file) for file in own))
    missing = sorted(file for file in needed if not covered(file, deps))
    assert missing == [], f"stage {stage} imports these, dvc.yaml does not say so"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_data(stage: str) -> None:
    """Every data/ path in the command is the stage's own output or a dependency that an earlier stage writes."""
    deps = [written(dep) for dep in STAGES[stage]["deps"]]
    order = list(STAGES)
    earlier = [out for name in order[: order.index(stage)] for out in outs(name)]
    for option, path in re.findall(r"(--[\w-]+) (data/\S+)", STAGES[stage]["cmd"]):
        if option == "--out":
            assert any(covered(out, [path]) or covered(path, [out]) for out in outs(stage)), f"{stage}: {path}"
            continue
        assert covered(path, deps) or any(covered(dep, [path]) for dep in deps), f"{stage}: reads {path}"
        assert any(covered(path, [out]) or covered(out, [path]) for out in earlier), f"{stage}: {path} comes later"
    for dep in deps:
        if dep.startswith("data/"):
            assert any(covered(dep, [out]) or covered(out, [dep]) for out in earlier), f"{stage}: nobody writes {dep}"


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
