"""A split as tensors: pictures decoded once and kept as uint8, so that no epoch waits for a decoder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from covidct.reader import Dataset, Subset
from covidct.records import LABEL_NAMES
from covidct.splits import split_hash

log = logging.getLogger(__name__)

CLASS_NAMES = tuple(LABEL_NAMES[label] for label in sorted(LABEL_NAMES))
"""by index of the logit: COVID = 1 is the last"""


class DataError(ValueError):
    """A split that cannot be trained or evaluated on: says which, expected, got and the next step."""


@dataclass(frozen=True)
class Arrays:
    """N pictures of one split in the order of its records (by image_id).

    images      uint8 N×1×S×S; the whole picture squeezed to a square
    aspect      float32 N; width / height before that, so that crops can keep the true geometry
    labels      int64 N; 1 = COVID
    """

    images: Tensor
    aspect: Tensor
    labels: Tensor
    image_id: tuple[str, ...] = ()
    patient_id: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Arrays:
        """The same on another device; on an accelerator the batches are cut and augmented there."""
        return Arrays(
            self.images.to(device), self.aspect.to(device), self.labels.to(device), self.image_id, self.patient_id
        )


def load_arrays(subset: Subset, size: int, cache: Path | str | None = None) -> Tensor:
    """uint8 N×1×size×size of a subset's pictures, each decoded and squeezed (bilinear, antialiased) once.

    ``cache``: a folder that keeps the decoded pictures in a mapped file, for sets beyond memory.
    Raises DataError for an empty subset, covidct's own errors for a damaged or missing picture.
    """
    if len(subset) == 0:
        raise DataError(
            f"{subset.root}: split {subset.name or '?'}: expected images, got none; "
            "look at data/dataset/table1.csv and the split's ratios"
        )
    pictures = subset.torch(size=size, cache=cache)
    return torch.from_numpy(np.stack([pictures.array(index) for index in range(len(pictures))])).unsqueeze(1)


def load_split(subset: Subset, size: int, cache: Path | str | None = None) -> Arrays:
    """Pictures, labels and names of a subset; raises as ``load_arrays``."""
    records = subset.records
    return Arrays(
        images=load_arrays(subset, size, cache),
        aspect=torch.tensor((records["width"] / records["height"]).to_numpy(dtype=np.float32)),
        labels=torch.from_numpy(subset.labels.copy()),
        image_id=tuple(records["image_id"]),
        patient_id=tuple(records["patient_id"]),
    )


def normalisation(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of all pixels of uint8 images, in 0…1; of the training split.

    Exact from the histogram, so it does not depend on the order of summation. Raises DataError for uniform pictures.
    """
    counts = torch.bincount(images.flatten().long().cpu(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * values).sum() / counts.sum()
    std = ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt()
    if not std > 0:
        raise DataError(f"normalisation: expected pictures with contrast, got one grey value ({float(mean) * 255:.0f})")
    return float(mean), float(std)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0…count-1 that depends on (seed, epoch) alone."""
    return torch.from_numpy(np.random.default_rng([seed, epoch, 0]).permutation(count))


def batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Consecutive index batches; a last one of a single image joins the batch before (batch norm needs two)."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def check_classes(labels: Tensor, where: str) -> bool:
    """True if both classes are present; otherwise a warning that names the split and the class."""
    found = labels.unique().tolist()
    if len(found) > 1:
        return True
    log.warning("%s: all %d labels are %s: the AUC is undefined there", where, len(labels), LABEL_NAMES[int(found[0])])
    return False


def describe(dataset: Dataset) -> dict[str, str]:
    """Version, split hash and scheme of a dataset, for the card."""
    info = dataset.info
    return {
        "version": dataset.version,
        "split_hash": split_hash(dataset.records),
        "scheme": str(info.get("scheme", "")),
    }
