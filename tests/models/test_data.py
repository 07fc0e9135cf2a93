"""Splits as tensors: order, decoding once, statistics, batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import covidct
from models import data


def test_arrays_follow_the_records(toy: Path) -> None:
    train = covidct.load(toy).train
    arrays = data.load_split(train, 32)
    assert arrays.images.shape == (24, 1, 32, 32)
    assert arrays.images.dtype == torch.uint8
    assert arrays.image_id == tuple(train.records["image_id"])
    assert arrays.labels.tolist() == train.records["label"].tolist()
    assert torch.allclose(arrays.aspect, torch.full((24,), 80 / 60))
    expected = Image.open(toy / train.records["file"].iloc[3]).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(arrays.images[3, 0].numpy(), np.asarray(expected))


def test_pictures_are_decoded_once(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = Image.open

    def counting(*args, **kwargs):
        opened.append(args[0])
        return real(*args, **kwargs)

    monkeypatch.setattr(Image, "open", counting)
    data.load_split(covidct.load(toy).train, 32)
    assert len(opened) == 24


def test_an_empty_split_is_named(toys: Callable[..., Path], tmp_path: Path) -> None:
    dataset = covidct.load(toys(tmp_path / "t", {"train": 4, "test": 2}))
    with pytest.raises(data.DataError, match="split val: expected images, got none"):
        data.load_split(dataset.val, 32)


def test_normalisation_is_exact_and_refuses_uniform_pictures() -> None:
    images = torch.randint(0, 256, (5, 1, 7, 9), dtype=torch.uint8)
    mean, std = data.normalisation(images)
    assert mean == pytest.approx(float(images.double().mean()) / 255, abs=1e-12)
    assert std == pytest.approx(float(images.double().std(correction=0)) / 255, abs=1e-12)
    with pytest.raises(data.DataError, match="one grey value"):
        data.normalisation(torch.full((2, 1, 4, 4), 9, dtype=torch.uint8))


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    first = data.epoch_order(50, 1, 3)
    assert sorted(first.tolist()) == list(range(50))
    torch.manual_seed(99)
    assert torch.equal(first, data.epoch_order(50, 1, 3))
    assert not torch.equal(first, data.epoch_order(50, 1, 4))
    assert not torch.equal(first, data.epoch_order(50, 2, 3))


@pytest.mark.parametrize(("count", "sizes"), [(32, [16, 16]), (33, [16, 17]), (34, [16, 16, 2]), (1, [1]), (3, [3])])
def test_no_batch_of_one_beside_others(count: int, sizes: list[int]) -> None:
    parts = list(data.batches(torch.arange(count), 16))
    assert [len(part) for part in parts] == sizes
    assert torch.cat(parts).tolist() == list(range(count))


def test_one_class_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert data.check_classes(torch.tensor([0, 1]), "val")
    assert not data.check_classes(torch.tensor([1, 1]), "val")
    assert "val: all 2 labels are COVID" in caplog.text
