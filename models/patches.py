"""Nodule patches with a malignancy label (LNM): from stage `luna`, or from the public file of patches (hdf5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from covidct import pictures
from covidct.files import inside
from models.tables import read_luna_table

LNM_NAMES = ("benign", "malignant")
PIXELS, LABELS = "ct_slices", "slice_class"
"""names inside the public LNM file all_patches.hdf5 (N×64×64 and N or N×1)"""
COLUMNS = ("nodule_id", "file", "subject_id", "label")
MAX_PIXELS = 2**31
BLOCK = 64
"""neighbouring patches of a file without subjects, kept on one side: cuts of one nodule tend to lie side by side"""


class PatchError(ValueError):
    """Patches that cannot be trained on: says what, expected, got and the next step."""


@dataclass(frozen=True)
class Patches:
    """N nodule patches: ``images`` uint8 N×1×S×S, ``labels`` int64 N (1 = malignant), ``groups`` (subject of each)."""

    images: Tensor
    labels: Tensor
    groups: tuple[str, ...]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.labels)


def read_luna(folder: Path, size: int) -> Patches:
    """Patches of stage `luna` (``nodules.csv``) that readers gave a label; subjects are known."""
    table = folder / "nodules.csv"
    rows = read_luna_table(table, COLUMNS, PatchError)
    rated = [row for row in rows if row["label"] != ""]
    if bad := [row for row in rated if row["label"] not in ("0", "1")]:
        raise PatchError(
            f"{table}: nodule {bad[0]['nodule_id']}: expected label 0, 1 or empty, got {bad[0]['label']!r}"
        )
    if not rated:
        raise PatchError(
            f"{table}: expected nodules with readers' malignancy, got {len(rows)} without; give stage luna volumes "
            f"with annotations.csv and ratings (LIDC XML), or stage nodules the LNM file (params nodules.hdf5)"
        )
    try:
        grey = [pictures.to_grey(pictures.open_picture(inside(folder, row["file"]))) for row in rated]
    except pictures.PictureError as error:
        raise PatchError(f"{folder}: {error}; run `dvc repro luna` again") from error
    return Patches(
        images=torch.from_numpy(np.stack([_resize(picture, size) for picture in grey])).unsqueeze(1),
        labels=torch.tensor([int(row["label"]) for row in rated]),
        groups=tuple(row["subject_id"] for row in rated),
        facts={
            "patches": len(rated),
            "subjects": len({row["subject_id"] for row in rated}),
            "without_label": len(rows) - len(rated),
            "grouped_by": "subject",
        },
    )


def read_hdf5(path: Path, size: int, level: float, width: float) -> Patches:
    """The LNM patches in an hdf5 file; Hounsfield units are windowed (``level``, ``width``), 8-bit grey is taken as is.

    The public file names no subjects: blocks of neighbouring patches stay together instead, and the facts say so.
    """
    try:
        import h5py
    except ImportError as error:
        raise PatchError("nodules: reading hdf5 needs h5py: pip install 'covidct[lnm]'") from error
    try:
        with h5py.File(path, "r") as file:
            found = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            if PIXELS not in found or LABELS not in found:
                raise PatchError(f"{path}: expected datasets {PIXELS} and {LABELS}, got {', '.join(found) or 'none'}")
            shape = found[PIXELS].shape
            if len(shape) != 3 or not shape[0] or np.prod(shape, dtype=np.int64) > MAX_PIXELS:
                raise PatchError(f"{path}: {PIXELS}: expected N×H×W of at most {MAX_PIXELS} pixels, got {shape}")
            pixels, labels = np.asarray(found[PIXELS]), np.asarray(found[LABELS]).reshape(-1)
    except OSError as error:
        raise PatchError(f"{path}: expected an hdf5 file of LNM patches, got: {error}") from error
    if len(labels) != len(pixels) or not np.isin(labels, (0, 1)).all():
        raise PatchError(
            f"{path}: {LABELS}: expected {len(pixels)} values 0 (benign) or 1 (malignant), got {len(labels)} values "
            f"such as {labels[:3].tolist()}"
        )
    if not np.isfinite(pixels).all():
        raise PatchError(f"{path}: {PIXELS}: expected finite numbers, got NaN or infinity")
    if pixels.dtype != np.uint8:
        low = level - width / 2
        pixels = np.rint(np.clip((pixels.astype(np.float32) - low) / width, 0, 1) * 255).astype(np.uint8)
    return Patches(
        images=torch.from_numpy(np.stack([_resize(picture, size) for picture in pixels])).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        groups=tuple(f"block{index // BLOCK}" for index in range(len(labels))),
        facts={
            "patches": len(labels),
            "subjects": "unknown",
            "without_label": 0,
            "grouped_by": f"blocks of {BLOCK} neighbours, because the file names no subjects: val may be too kind",
        },
    )


def split(patches: Patches, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of train and val; a subject is on one side only, and val has about ``share`` of the patches.

    Groups in a random order go to val until it is full; the first of up to 100 orders that leaves both classes on both
    sides is taken. Raises PatchError where none does.
    """
    groups = np.array(patches.groups)
    names, labels = np.unique(groups), patches.labels.numpy()
    if not 0 < share < 1 or len(names) < 2:
        raise PatchError(f"nodules: expected a share in 0…1 and two subjects to split, got {share}, {len(names)}")
    for attempt in range(100):
        order = np.random.default_rng([seed, attempt]).permutation(len(names))
        chosen: list[str] = []
        for name in names[order]:
            if np.isin(groups, chosen).sum() >= share * len(groups):
                break
            chosen.append(name)
        val = np.isin(groups, chosen)
        if len(set(labels[val])) == 2 == len(set(labels[~val])):
            return torch.from_numpy(np.flatnonzero(~val)), torch.from_numpy(np.flatnonzero(val))
    raise PatchError(
        f"nodules: expected both classes on both sides of a split by subject, got {int(labels.sum())} malignant of "
        f"{len(labels)} patches of {len(names)} subjects; more volumes are needed"
    )


def _resize(grey: np.ndarray, size: int) -> np.ndarray:
    if grey.shape == (size, size):
        return grey
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))
