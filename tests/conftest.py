"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the development machine's real data; tests that need it are marked ``real`` and skip elsewhere."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("COVIDCT_REAL", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set COVIDCT_REAL to a folder laid out like the development data")
    return folder
