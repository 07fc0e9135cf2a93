"""Learning what a mark looks like: the loss, the schedule, folding, going on from an earlier fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curation import strokes
from curation.artifacts_fit import (
    UNSEEN,
    Strokes,
    learn,
    loss_of,
    numbers,
    phantoms,
    planes,
    resume,
    rise_and_fall,
    subject_of,
    widths_of,
)

NARROW = (4, 6, 6, 8, 8)


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    return phantoms(2, 5)


def test_the_network_in_use_is_the_one_that_was_learned() -> None:
    torch.manual_seed(0)
    network = Strokes()
    network(torch.randn(4, strokes.PLANES, 64, 64))
    network.eval()
    image = np.random.default_rng(0).integers(0, 256, (61, 75, 3), dtype=np.uint8)
    padded = np.pad(strokes.planes(image), ((0, 0), (0, -61 % strokes.DOWN), (0, -75 % strokes.DOWN)), mode="edge")
    with torch.no_grad():
        expected = torch.sigmoid(network(torch.from_numpy(padded)[None]))[0].numpy()[:61, :75]
    assert np.abs(strokes.chances(image, strokes.tensors(numbers(network))) - expected).max() < 5e-3


@pytest.mark.parametrize("widths", [NARROW, strokes.WIDTHS])
def test_a_fit_goes_on_from_the_numbers_of_an_earlier_one(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    earlier, x = Strokes(widths), torch.randn(4, strokes.PLANES, 64, 64)
    earlier(x)
    earlier.eval()
    learned = numbers(earlier)
    assert widths_of(learned) == widths
    later = Strokes(widths)
    resume(later, learned, x)
    with torch.no_grad():
        assert torch.allclose(later(x), earlier(x), atol=5e-3)  # with the statistics of the batch
        assert torch.allclose(later.eval()(x), earlier(x), atol=5e-3)  # and with those kept


def test_a_fit_goes_on_from_numbers_that_did_not_know_how_flat_the_picture_is() -> None:
    torch.manual_seed(1)
    earlier, x = Strokes(NARROW), torch.randn(4, strokes.PLANES, 64, 64)
    learned = numbers(earlier)
    learned["down0a.weight"] = learned["down0a.weight"][:, :3]
    later = Strokes(NARROW)
    resume(later, learned, x)
    other = x.clone()
    other[:, 3] = 0
    with torch.no_grad():
        assert torch.equal(later(x), later(other))


def test_planes_of_a_batch_are_those_of_its_pictures() -> None:
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, 2)
    colour = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pictures = [np.dstack([image, strokes.alike(image)]) for image in (grey, colour)]
    found = planes(torch.from_numpy(np.stack(pictures))).numpy()
    assert np.allclose(found[0], strokes.planes(grey[..., 0]), atol=1e-6)
    assert np.allclose(found[1], strokes.planes(colour), atol=1e-6)


def test_a_mark_that_does_not_show_counts_little() -> None:
    covered, wrong = torch.ones(1, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), -4.0)
    hidden, shown = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), 50, dtype=torch.uint8)
    cross = 4 * float(torch.nn.functional.softplus(torch.tensor(4.0)))
    assert float(loss_of(wrong, covered, shown)) == pytest.approx(cross + 1 - (2 * 16 * 0.018 + 1) / (16.288 + 1), 1e-2)
    assert float(loss_of(wrong, covered, hidden)) < cross * UNSEEN + 1
    right = torch.full((1, 4, 4), 9.0)
    assert float(loss_of(right, covered, shown)) < 0.01 < float(loss_of(right, 0 * covered, hidden))


def test_the_rate_rises_then_falls_to_nothing() -> None:
    shares = np.linspace(0, 1, 101)
    rates = [rise_and_fall(float(share)) for share in shares]
    top = int(np.argmax(rates))
    assert rates[0] < 0.05 and max(rates) == pytest.approx(1, abs=0.02) and rates[-1] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert rise_and_fall(1.5) == pytest.approx(0, abs=1e-9)


def test_the_same_seed_learns_the_same_numbers_and_the_clock_can_end_a_fit(slices: list[np.ndarray]) -> None:
    torch.set_num_threads(1)
    start = numbers(Strokes(NARROW).eval())
    first, second = (numbers(learn(slices, 3, 2, 0.01, 7, 0, "cpu", start)) for _ in range(2))
    assert widths_of(first) == NARROW
    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != start[name]).any() for name in first)
    stopped = numbers(learn(slices, 10**9, 2, 0.01, 7, 0, "cpu", start, minutes=0.001))
    assert all(np.isfinite(value).all() for value in stopped.values())


def test_slices_of_a_subject_stay_together() -> None:
    names = ("1.3.6.1.mhd_12.png", "1.3.6.1.mhd_99.png", "subject4_001.png", "subject4_002.png")
    assert [subject_of(Path(name)) for name in names] == ["1.3.6.1", "1.3.6.1", "subject4", "subject4"]
