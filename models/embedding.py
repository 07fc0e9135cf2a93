"""What an encoder makes of pictures: its features, their neighbours, and their map in the plane (t-SNE).

Features are what the last layer is given. The map is for looking; the figure beside it is the share of the nearest
pictures *of other patients* that carry the same label, against what chance would give, and the same for the source: an
encoder that sorts by source has learned where pictures come from.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

import covidct
from covidct.reader import Subset
from models import backbones, data, engine, weights
from models.transforms import Evaluation

log = logging.getLogger(__name__)

NEIGHBOURS = 5
MOST = 1000
"""pictures in a map; of more, evenly spread ones"""
LEAST = 5
"""pictures a map needs"""


class Tap:
    """Collects the features of every picture that goes through a network while the context is open.

    ``with Tap(network, "resnet18") as tap: …; tap.features`` is float32 N×D in the order of the pictures.
    """

    def __init__(self, model: nn.Module, backbone: str) -> None:
        self._head = backbones.head(model, backbone)
        self._rows: list[np.ndarray] = []

    def __enter__(self) -> Tap:
        self._handle = self._head.register_forward_pre_hook(self._collect)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._handle.remove()

    @property
    def features(self) -> np.ndarray:
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float32)

    def _collect(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0].detach().float()
        if given.ndim == 4:  # SqueezeNet's head is a convolution: its features are the map's mean
            given = given.mean(dim=(2, 3))
        self._rows.append(given.cpu().numpy())


def start_network(dataset: covidct.Dataset, card: dict[str, Any], init: str, transform: Evaluation) -> nn.Module:
    """The network as it was before the training that ``card`` tells of: same draw, same initial weights.

    Raises weights.WeightsError where those weights cannot be had.
    """
    recipe = card["recipe"]
    network = backbones.build(card["backbone"], len(card["class_names"]), size=transform.size)
    batch = None
    if init.startswith(("file:", "partial:")):  # their batch norms may be folded: statistics come from these pictures
        first = Subset(dataset.train.root, dataset.train.records.head(64), "train")
        batch = transform(data.load_arrays(first, int(recipe.get("resize", transform.size))))
    weights.initialise(network, card["backbone"], init, seed=int(recipe.get("seed", 0)), batch=batch)
    return engine.channels_last(network)


def features(
    model: nn.Module, backbone: str, images: Tensor, transform: Evaluation, *, batch: int = 32, device: str = "cpu"
) -> np.ndarray:
    """float32 N×D of uint8 pictures N×1×S×S."""
    with Tap(model.to(device), backbone) as tap:
        engine.probabilities(model, images, transform, batch=batch, device=device)
    return tap.features


@dataclass(frozen=True)
class Agreement:
    """Share of the nearest pictures of other patients that agree in something, and what chance would give."""

    share: float
    chance: float

    def to_json(self) -> dict[str, float | None]:
        return {
            "share": None if np.isnan(self.share) else round(self.share, 4),
            "chance": None if np.isnan(self.chance) else round(self.chance, 4),
        }


def agreement(found: np.ndarray, values: np.ndarray, patients: np.ndarray, count: int = NEIGHBOURS) -> Agreement:
    """``count`` nearest by cosine among other patients' pictures. features N×D, values N, patients N.

    NaN where no picture has a picture of another patient.
    """
    shares, chances = [], []
    similar = _cosine(found)
    for index in range(len(found)):
        others = np.flatnonzero(patients != patients[index])
        if not len(others):
            continue
        near = others[np.argsort(-similar[index, others], kind="stable")[:count]]
        shares.append((values[near] == values[index]).mean())
        chances.append((values[others] == values[index]).mean())
    if not shares:
        return Agreement(float("nan"), float("nan"))
    return Agreement(float(np.mean(shares)), float(np.mean(chances)))


def spread(count: int, most: int = MOST) -> np.ndarray:
    """Rows that a map shows: all, or ``most`` evenly spread ones."""
    return np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int))


def flat_map(found: np.ndarray, seed: int = 0) -> np.ndarray:
    """t-SNE of features N×D in the plane, N×2; exact, so the same features and seed give the same map."""
    from sklearn.manifold import TSNE

    if len(found) < LEAST or np.ptp(found, axis=0).max(initial=0) == 0:
        return np.zeros((len(found), 2), np.float32)  # too few, or all alike: nothing to lay out
    scaled = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    perplexity = min(30.0, (len(found) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, init="random", random_state=seed, method="exact", learning_rate="auto")
    return np.asarray(made.fit_transform(scaled.astype(np.float64)), dtype=np.float32)


def look(found: np.ndarray, records: pd.DataFrame, stage: str, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Map (a row per picture) and figures of one encoder; ``stage``: ``start`` or ``trained``."""
    patients = records["patient_id"].to_numpy()
    shown = spread(len(found))
    points = flat_map(found[shown], seed)
    part = records.iloc[shown]
    table = pd.DataFrame(
        {
            "encoder": stage,
            "image_id": part["image_id"].to_numpy(),
            "label": part["label"].to_numpy(),
            "source": part["source"].to_numpy(),
            "x": np.round(points[:, 0], 3),
            "y": np.round(points[:, 1], 3),
        }
    )
    figures = {name: agreement(found, records[name].to_numpy(), patients).to_json() for name in ("label", "source")}
    return table, {"neighbours": NEIGHBOURS, "pictures": len(found), **figures}


def _cosine(found: np.ndarray) -> np.ndarray:
    unit = found.astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T)
