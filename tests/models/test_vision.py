"""torchvision is imported in one place, and that place works where the wheels do not match."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models import vision

ROOT = Path(__file__).resolve().parents[2]


def test_torchvision_works_in_a_fresh_process() -> None:
    code = "from models.vision import torchvision as t; print(t.models.resnet18(weights=None).fc.out_features)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1000", done.stderr


def test_nothing_else_of_ours_imports_torchvision() -> None:
    direct = re.compile(r"^\s*(import torchvision|from torchvision)", re.MULTILINE)
    folders = [ROOT / name for name in ("harvest", "curation", "covidct", "models", "benchmarks")]
    offenders = [
        str(file.relative_to(ROOT))
        for folder in folders
        for file in folder.rglob("*.py")
        if direct.search(file.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_an_unknown_failure_is_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(vision.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        vision.load()


def test_a_matching_build_gets_no_second_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    module = vision.torchvision
    monkeypatch.setattr(vision.importlib, "import_module", lambda name: module)
    before = vision._definitions
    assert vision.load() is module
    assert vision._definitions is before
