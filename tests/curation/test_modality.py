"""Modality: drawn chest CTs are accepted, everything else refused; the parameters are small and hold no pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from curation import modality
from curation.modality_drawn import DRAWN, heat_map
from curation.raster import ImageError, grey, read
from harvest.sample.distractors import KINDS, draw_distractor
from harvest.sample.phantom import draw_patient
from harvest.sample.picture import draw_figure

DISEASES = ("covid", "normal", "nodule", "emphysema", "lobar", "effusion", "fibrosis")


def slice_of(number: int) -> np.ndarray:
    patient = draw_patient(77, f"m{number}", DISEASES[number % len(DISEASES)])
    return grey(draw_figure(77, f"m{number}", [(patient, 0.4 + 0.02 * (number % 12))]).pixels)


def test_drawn_chest_cts_are_accepted() -> None:
    scores = [modality.score(slice_of(n)) for n in range(28)]
    assert np.mean(np.array(scores) >= 0.5) >= 0.95


@pytest.mark.parametrize("kind", list(DRAWN))
def test_hard_negatives_are_refused(kind: str) -> None:
    scores = [modality.score(DRAWN[kind](np.random.default_rng(5000 + n))) for n in range(20)]
    assert np.mean(np.array(scores) < 0.5) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_what_papers_also_print_is_refused(kind: str) -> None:
    assert all(modality.score(draw_distractor(kind, np.random.default_rng(n))) < 0.5 for n in range(5))


def test_a_compound_figure_a_fragment_and_a_heat_map_are_not_one_slice() -> None:
    tiles = [cv2.resize(slice_of(n), (200, 150)) for n in range(4)]
    compound = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    assert modality.score(compound) < 0.5
    refused = [modality.score(slice_of(n)[:, : slice_of(n).shape[1] // 3]) < 0.5 for n in range(6)]
    assert np.mean(refused) >= 0.8
    heat = [modality.score(heat_map(slice_of(n), np.random.default_rng(n))) < 0.5 for n in range(12)]
    assert np.mean(heat) >= 0.8


def test_odd_pictures_have_a_score_or_are_refused() -> None:
    for shape in ((1, 1), (5, 400), (24, 24), (300, 200, 3)):
        for value in (0, 255):
            assert 0 <= modality.score(np.full(shape, value, np.uint8)) < 0.5
    with pytest.raises(ImageError, match="expected uint8"):
        modality.score(np.zeros((50, 50), np.float32))


def test_the_parameters_are_under_a_megabyte_and_finite() -> None:
    path = Path(modality.__file__).with_name(modality.PARAMETERS)
    assert path.stat().st_size < 1_000_000
    learned = modality.parameters()
    assert all(np.isfinite(v).all() for v in (learned.axes, learned.vectors, learned.weights, learned.mean))


def test_the_score_comes_with_words() -> None:
    assert "0.93" in modality.reason(0.93) and "does not" in modality.reason(0.1)


@pytest.mark.real
def test_real_single_cts_are_accepted(real_data: Path) -> None:
    folders = [real_data / "covid-ct" / "CT_COVID", real_data / "covid-ct" / "CT_NonCOVID", real_data / "luna"]
    for folder in folders:
        found = sorted(p for p in folder.rglob("*") if p.suffix in {".png", ".jpg"})[::25]
        assert np.mean([modality.score(read(p)) >= 0.5 for p in found]) >= 0.9
