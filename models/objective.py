"""The parts of a fine-tuning run: network and loss in one module, what trains, and the best epoch by validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from covidct import metrics
from models import backbones, rotation
from models.errors import Diverged
from models.recipe import Recipe

Row = dict[str, float]
"""what is kept of an epoch: its learning rate, losses and validation figures by name"""


class Objective(nn.Module):
    """Network and loss in one module, so that every forward pass of training goes through Fabric's wrapper."""

    def __init__(self, network: nn.Module, backbone: str, turn_head: nn.Module | None) -> None:
        super().__init__()
        self.network = network
        self.turn_head = turn_head
        self.backbone = backbone

    def forward(self, images: Tensor, labels: Tensor, turns: Tensor | None = None) -> Tensor:
        if self.turn_head is None or turns is None:
            return F.cross_entropy(self.network(images), labels)
        return rotation.joint_loss(self.network, self.backbone, self.turn_head, images, labels, turns).total


class Best:
    """The weights of the best epoch so far; part of the saved state."""

    def __init__(self) -> None:
        self.key: tuple[float, ...] = ()
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def offer(self, key: tuple[float, ...], epoch: int, network: nn.Module) -> None:
        """Keep the network's weights if ``key`` is higher than all before; NaN is higher than nothing."""
        if any(math.isnan(value) for value in key):
            return
        if not self.key or key > self.key:
            self.key, self.epoch = key, epoch
            self.weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"key": list(self.key), "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.key, self.epoch, self.weights = tuple(state["key"]), int(state["epoch"]), dict(state["weights"])


class Clock:
    """Time and images of all sessions of a run; part of the saved state."""

    def __init__(self) -> None:
        self.seconds, self.images = 0.0, 0

    def counted(self, one_epoch: Callable[[int], Row], images: int) -> Callable[[int], Row]:
        """The same epochs (training and validation, of so many images), counted as each ends."""

        def timed(epoch: int) -> Row:
            begin = time.monotonic()
            row = one_epoch(epoch)
            self.seconds += time.monotonic() - begin
            self.images += images
            return row

        return timed

    def figures(self) -> dict[str, float]:
        """For the card: hours, and training images per second with validation's time included."""
        return {
            "hours": round(self.seconds / 3600, 4),
            "images_per_second": round(self.images / self.seconds, 2) if self.seconds else 0.0,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seconds, self.images = float(state["seconds"]), int(state["images"])


def trainable(objective: Objective, recipe: Recipe) -> list[nn.Parameter]:
    if recipe.frozen:
        objective.network.requires_grad_(False)
        backbones.head(objective.network, recipe.backbone).requires_grad_(True)
    return [parameter for parameter in objective.parameters() if parameter.requires_grad]


def freeze(objective: Objective, backbone: str) -> None:
    """Training mode of a frozen extractor: its batch norms keep their statistics, only the last layer trains."""
    objective.eval()
    backbones.head(objective.network, backbone).train()


def turn_head(recipe: Recipe) -> nn.Module | None:
    if not recipe.rotation:
        return None
    with torch.device("meta"):
        _, width = backbones.features(backbones.build(recipe.backbone, 2, size=recipe.size), recipe.backbone)
    return rotation.RotationHead(width, torch.Generator().manual_seed(recipe.seed))


def validation(scores: Tensor, labels: Tensor, both: bool, title: str = "", rate: float = 0.0) -> dict[str, float]:
    """Loss, AUC (NaN where val has one class) and accuracy of scores N×classes; ``title`` and ``rate`` (learning rate)
    are for the message of Diverged, raised where scores are not finite: the weights are no use from here on."""
    if bad := int((~torch.isfinite(scores)).any(dim=1).sum()):
        raise Diverged(
            f"{title}: {bad} of {len(scores)} val scores are NaN or infinite after it (learning rate {rate:g}); "
            "nothing of this epoch is kept: lower the learning rate or use precision 32"
        )
    truth, score = labels.numpy(), scores[:, 1].numpy()
    chosen = scores[torch.arange(len(labels)), labels].clamp_min(1e-12)
    return {
        "val_loss": float(-chosen.log().mean()),
        "val_auc": metrics.auc(truth, score) if both else float("nan"),
        "val_accuracy": float(((score >= 0.5) == truth).mean()),
    }


def selection_key(row: Mapping[str, float], select: str, both: bool, epoch: int) -> tuple[float, ...]:
    """What the best epoch has most of."""
    if select == "last":
        return (float(epoch),)
    if select == "loss" or not both:
        return (-row["val_loss"],)
    return (row["val_auc"], -row["val_loss"])


def choose_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score at or above which an image is called COVID: highest Youden's J on val; ties go to the nearest to 0.5.

    Candidates lie midway between neighbouring scores, so the choice does not hang on one image's exact score.
    One class only: 0.5.
    """
    if labels.min() == labels.max():
        return 0.5
    values = np.unique(scores)
    candidates = np.concatenate([[0.5], (values[1:] + values[:-1]) / 2])
    called = scores[None, :] >= candidates[:, None]
    sensitivity = (called & (labels == 1)).sum(axis=1) / (labels == 1).sum()
    specificity = (~called & (labels == 0)).sum(axis=1) / (labels == 0).sum()
    gain = np.round(sensitivity + specificity - 1, 12)
    return float(min(zip(-gain, np.abs(candidates - 0.5), candidates, strict=True))[2])
