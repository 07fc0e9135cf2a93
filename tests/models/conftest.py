"""A tiny drawn dataset on disk: COVID pictures have a bright disc, the others a dark one; patients of two pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import covidct
from covidct.files import sha256_file
from covidct.pictures import encode
from covidct.records import COLUMNS, LABEL_NAMES, write_records
from models import finetune
from models.engine import Hardware
from models.recipe import Recipe

COUNTS = {"train": 12, "val": 6, "test": 6}
"""images per class and split"""


def draw(label: int, rng: np.random.Generator, height: int = 60, width: int = 80) -> np.ndarray:
    """uint8 height×width picture of one class."""
    y, x = np.mgrid[:height, :width]
    picture = rng.normal(110, 12, (height, width))
    centre = (height / 2 + rng.integers(-5, 6), width / 2 + rng.integers(-5, 6))
    disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (height / 3) ** 2
    picture[disc] += 70 if label else -70
    return picture.clip(0, 255).astype(np.uint8)


def make_toy(
    folder: Path, counts: dict[str, int] | None = None, labels: tuple[int, ...] = (0, 1), seed: int = 0
) -> Path:
    """Write records.csv and images/; returns the folder. ``labels``: classes present."""
    rng = np.random.default_rng(seed)
    rows = []
    for split, count in (counts or COUNTS).items():
        for label in labels:
            for number in range(count):
                name = f"{split}-{label}-{number:02d}"
                file = folder / "images" / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture = draw(label, rng)
                file.write_bytes(encode(picture))
                rows.append(
                    {
                        **dict.fromkeys(COLUMNS, ""),
                        "image_id": name,
                        "file": f"images/{name}.png",
                        "label": label,
                        "label_name": LABEL_NAMES[label],
                        "patient_id": f"{split}-{label}-{number // 2}",
                        "patient_basis": "stated",
                        "source": "medrxiv" if label else ("pmc" if number % 2 else "medpix"),
                        "severity": "severe" if label and number % 2 else "",
                        "width": picture.shape[1],
                        "height": picture.shape[0],
                        "reviewed": "true",
                        "inpainted_fraction": 0,
                        "sha256": sha256_file(file),
                        "split": split,
                    }
                )
    write_records(folder / "records.csv", pd.DataFrame(rows))
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A toy dataset of its own for the test."""
    return make_toy(tmp_path / "toy")


@pytest.fixture(scope="session")
def toys() -> Callable[..., Path]:
    """The maker, for other counts, classes or seeds."""
    return make_toy


def train_small(dataset: covidct.Dataset, out: Path, seed: int = 0) -> None:
    """Train a small CRNet for two epochs and write it to ``out``."""
    recipe = Recipe("crnet", size=32, resize=40, epochs=2, batch=8, learning_rate=1e-3, seed=seed)
    finetune.write(out, dataset, finetune.finetune(dataset, recipe, hardware=Hardware("cpu", 1, "32")))


@pytest.fixture(scope="session")
def small() -> Callable[..., None]:
    """``small(dataset, out, seed=0)`` trains a small CRNet."""
    return train_small


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A toy dataset and a small classifier of it."""
    folder, out = make_toy(tmp_path_factory.mktemp("toy")), tmp_path_factory.mktemp("model")
    train_small(covidct.load(folder), out)
    return folder, out
