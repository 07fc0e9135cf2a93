"""The suite tests the checkout that it lies in, not the package that happens to be installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import covidct
import curation
import harvest
import models
from curation import agreement

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", [agreement, covidct, curation, harvest, models], ids=lambda module: module.__name__)
def test_packages_come_from_the_checkout(module: object) -> None:
    """A folder tests/curation with an __init__.py would be the package ``curation`` to pytest's importlib mode."""
    file = Path(str(getattr(module, "__file__", "")))
    assert ROOT in file.parents and ROOT / "tests" not in file.parents
