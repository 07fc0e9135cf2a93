"""The sets of pictures that self-supervision sees: LUNA slices, and COVID-CT pictures without their labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import covidct
from covidct import pictures
from covidct.files import inside
from covidct.reader import Subset
from models import data
from models.tables import read_luna_table

SETS = ("luna", "covidct")
LITTLE_LUNG = "little-lung"
LUNA_COLUMNS = ("image_id", "file", "subject_id", "flags")


class UnlabelledError(ValueError):
    """A set that cannot be pretrained on: says what, expected, got and the next step."""


@dataclass(frozen=True)
class Unlabelled:
    """N pictures without labels, in a fixed order.

    images      uint8 N×1×S×S; the whole picture squeezed to a square
    aspect      float32 N; width / height before that
    """

    name: str
    images: Tensor
    aspect: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    """for the card: how many images and patients, what was left out, whether test pictures are among them"""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """SHA-256 over the pixels and their order."""
        return hashlib.sha256(self.images.numpy().tobytes()).hexdigest()


def read_luna(folder: Path, size: int, *, little_lung: bool = False) -> Unlabelled:
    """The slices of stage `luna` (``slices.csv``, ``images/``); with ``little_lung`` also those with hardly any."""
    table = folder / "slices.csv"
    rows = read_luna_table(table, LUNA_COLUMNS, UnlabelledError)
    kept = [row for row in rows if little_lung or LITTLE_LUNG not in row["flags"]]
    if not kept:
        raise UnlabelledError(
            f"{table}: expected slices, got {len(rows)} of which none shows lung; switch stage luna on in params.yaml, "
            f"or leave luna out of --chain"
        )
    decoded = [_decode(inside(folder, row["file"]), size) for row in kept]
    return Unlabelled(
        name="luna",
        images=torch.from_numpy(np.stack([grey for grey, _ in decoded])).unsqueeze(1),
        aspect=torch.tensor([aspect for _, aspect in decoded], dtype=torch.float32),
        facts={
            "images": len(kept),
            "subjects": len({row["subject_id"] for row in kept}),
            "left_out_little_lung": len(rows) - len(kept),
        },
    )


def read_covid(dataset: covidct.Dataset, size: int, *, transductive: bool = False) -> Unlabelled:
    """The training pictures of a dataset; with ``transductive`` those of val and test too, and the card says so."""
    records = dataset.records[dataset.records["split"] != ""]
    subset = Subset(dataset.root, records, "all splits") if transductive else dataset.train
    if not len(subset):
        raise UnlabelledError(f"{dataset.root}: expected training pictures, got none; look at data/dataset/table1.csv")
    split = data.load_split(subset, size)
    return Unlabelled(
        name="covidct",
        images=split.images,
        aspect=split.aspect,
        facts={
            "images": len(split),
            "patients": len(set(split.patient_id)),
            "splits": ["train", "val", "test"] if transductive else ["train"],
        },
    )


def _decode(path: Path, size: int) -> tuple[np.ndarray, float]:
    try:
        image = Image.fromarray(pictures.to_grey(pictures.open_picture(path)))
    except pictures.PictureError as error:
        raise UnlabelledError(f"{path.parent}: {error}; run `dvc repro luna` again") from error
    aspect = image.width / image.height
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)), aspect
