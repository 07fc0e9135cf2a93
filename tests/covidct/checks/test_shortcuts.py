"""Shortcut baselines: found where they were planted, absent where nothing differs, never at a patient's expense."""

from __future__ import annotations

import numpy as np
import pytest

from covidct import metrics
from covidct.checks import measures, shortcuts

FACTS = {"format": "PNG", "mode": "L", "dpi": 0.0, "software": "", "tables": 0, "blocks": [], "progressive": False}
FACTS |= {"interlace": False, "palette": False, "gamma": False, "bytes": 900}


@pytest.fixture(autouse=True)
def fewer_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "TREES", 30)
    monkeypatch.setattr(shortcuts, "FEW_TREES", 10)
    monkeypatch.setattr(shortcuts, "REPLICATES", 200)


def planted(folder_of, seed: int = 0, count: int = 60, frame: bool = True, splits: bool = True):
    """Noise pictures of two classes; the negatives of source "a" have a bright frame, those of "b" have not."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    for n in range(count):
        label, source = n % 2, "covid" if n % 2 else "ab"[(n // 2) % 2]
        image = rng.integers(60, 180, (48, 60)).astype(np.uint8)
        if frame and source == "a":
            image[:8], image[-8:], image[:, :8], image[:, -8:] = 200, 200, 200, 200
        split = ("train" if n < count * 2 // 3 else "test") if splits else ""
        rows.append({"label": label, "source": source, "split": split, "patient": f"p{n}"})
        images.append(image)
    return folder_of(rows, images)


def test_a_planted_frame_is_found_and_told_by_source(folder_of) -> None:
    folder = planted(folder_of, count=72)
    found = shortcuts.check(folder, [FACTS] * 72, np.arange(72))
    report = folder.metrics["shortcuts"]
    assert report["frame"]["by_source"]["a"]["auc"] > 0.95 > 0.75 > report["frame"]["by_source"]["b"]["auc"]
    assert {"frame", "border"} <= {f.details["set"] for f in found} and {f.severity for f in found} == {"warning"}
    blind = report["container"]
    assert (blind["auc"], blind["interval"], blind["images"], blind["model"]) == (0.5, [0.5, 0.5], 24, "constant")


def test_a_container_that_tells_the_class_is_an_error(folder_of) -> None:
    folder = planted(folder_of, frame=False)
    facts = [FACTS | {"software": "one" if item.label else "two"} for item in folder.items]
    (first, *_) = shortcuts.check(folder, facts, np.arange(60))
    assert first.details["set"] == "container" and first.severity == "error"
    assert folder.metrics["shortcuts"]["container"]["auc"] == 1.0


def test_noise_predicts_nothing_also_without_split_lists(folder_of) -> None:
    folder = planted(folder_of, frame=False, splits=False)
    shortcuts.check(folder, [FACTS] * 60, np.arange(60))
    assert folder.metrics["shortcuts_scored"] == {"how": "cross-validation", "images": 60, "patients": 60}
    assert all(row["interval"][0] < 0.6 for row in folder.metrics["shortcuts"].values())


def test_a_patient_is_never_on_both_sides_of_a_fold() -> None:
    # each patient has a colour of his own and one label: only who has seen the patient can tell the label
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 4)
    labels = rng.permutation(np.repeat([0, 1], 20))[patient]
    table = rng.normal(size=(40, 6))[patient] + 0.01 * rng.normal(size=(160, 6))
    everyone = np.arange(160)
    grouped, _ = shortcuts.scores(table, labels, patient, everyone, everyone)
    alone, _ = shortcuts.scores(table, labels, everyone, everyone, everyone)
    assert metrics.auc(labels, alone) > 0.95 > 0.75 > metrics.auc(labels, grouped)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_too_few_to_tell_is_not_checked(folder_of, count: int) -> None:
    folder = planted(folder_of, count=count)
    assert shortcuts.check(folder, [FACTS] * count, np.arange(count)) == []
    assert "shortcut" in folder.not_checked


def test_measures_of_tiny_flat_and_odd_pictures_are_finite() -> None:
    for shape in ((1, 1), (3, 900), (61, 40)):
        for value in (0, 255):
            found = measures.vectors(np.full(shape, value, np.uint8), FACTS)
            assert set(found) == set(measures.SETS) - {"container"}
            assert all(np.isfinite(v).all() for v in found.values())
    assert len(measures.vectors(np.zeros((9, 9), np.uint8), FACTS)["frame"]) == 448
