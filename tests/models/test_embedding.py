"""Features, neighbours and maps of encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import covidct
from models import backbones, embedding
from models.transforms import Evaluation, Normalise


@pytest.mark.parametrize("name", ["crnet", "resnet18", "squeezenet1_1"])
def test_the_tap_gives_what_the_headless_network_gives(name: str) -> None:
    channels = backbones.describe(name).channels
    transform = Evaluation(64, Normalise((0.5,) * channels, (0.3,) * channels))
    images = torch.randint(0, 256, (5, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = backbones.build(name, 2, size=64).eval()
    found = embedding.features(model, name, images, transform, batch=2)
    encoder, width = backbones.features(model, name)
    with torch.no_grad():
        expected = encoder.eval()(transform(images)).numpy()
    assert found.shape == (5, width)
    assert np.allclose(found, expected, atol=1e-5)


def test_neighbours_are_other_patients_only() -> None:
    """Two pictures of each patient lie on one spot; counted are the nearest of other patients, of the other class."""
    features = np.array([[1, 0], [1, 0], [0.9, 0.1], [0.9, 0.1], [0, 1], [0, 1]], dtype=np.float32)
    labels, patients = np.array([0, 0, 1, 1, 1, 1]), np.array(["a", "a", "b", "b", "c", "c"])
    found = embedding.agreement(features, labels, patients, count=2)
    assert found.share == pytest.approx(2 / 6)  # only c's nearest (b) share its class
    assert found.chance == pytest.approx((0 + 0 + 0.5 + 0.5 + 0.5 + 0.5) / 6)
    alone = embedding.agreement(features[:2], labels[:2], patients[:2])
    assert alone.to_json() == {"share": None, "chance": None}


def test_the_map_separates_and_repeats() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (20, 30)) + 4, rng.normal(0, 1, (20, 30)) - 4]).astype(np.float32)
    points = embedding.flat_map(features, seed=1)
    assert np.array_equal(points, embedding.flat_map(features, seed=1))
    between = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert between > points[:20].std()


@pytest.mark.parametrize("count", [0, 1, 4, 12])
def test_too_few_or_equal_pictures_have_an_empty_map(count: int) -> None:
    assert (embedding.flat_map(np.ones((count, 3), np.float32)) == 0).all()


def test_large_sets_are_thinned_evenly() -> None:
    shown = embedding.spread(5000, 1000)
    assert len(shown) == 1000
    assert shown[0] == 0
    assert shown[-1] == 4999
    records = pd.DataFrame({name: [str(n % 7) for n in range(30)] for name in ("image_id", "source", "patient_id")})
    records["label"] = 0
    table, figures = embedding.look(np.random.default_rng(0).normal(size=(30, 4)), records, "start", 0)
    assert len(table) == figures["pictures"] == 30
    assert figures["label"]["share"] == 1.0


def test_the_start_is_the_network_that_training_began_with(toys: Callable[..., Path], tmp_path: Path) -> None:
    from models import weights

    dataset = covidct.load(toys(tmp_path))
    transform = Evaluation(32, Normalise((0.5,), (0.3,)))
    card = {"backbone": "crnet", "class_names": ["NonCOVID", "COVID"], "recipe": {"seed": 3, "resize": 40}}
    again = embedding.start_network(dataset, card, "random", transform)
    expected = backbones.build("crnet", 2, size=32)
    weights.initialise(expected, "crnet", "random", seed=3)
    for key, value in expected.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
