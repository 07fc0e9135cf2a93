"""Rotation prediction as an auxiliary task (Method 4 of Table VI; section IV.E.1, reference 32).

Each training picture is turned by 0°, 90°, 180° or 270° at random; a 4-way rotation classifier shares the feature
extractor with the CT classifier, and the two losses are added. At test time nothing is turned and the rotation
classifier is dropped, so that the saved network is the stock one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import backbones

TURNS = 4
"""0°, 90°, 180°, 270°"""


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each picture of N×C×H×W (H = W) counter-clockwise by ``turns`` (N, whole numbers) × 90°, exactly."""
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"rotate: expected square pictures N×C×S×S, got {tuple(images.shape)}")
    if turns.shape != (len(images),):
        raise ValueError(f"rotate: expected one turn per picture ({len(images)}), got shape {tuple(turns.shape)}")
    out = images
    for turn in range(1, TURNS):
        # Chosen by value, not by index: no look at ``turns`` from outside, so that a card need not wait
        out = torch.where((turns % TURNS == turn).view(-1, 1, 1, 1), torch.rot90(images, turn, dims=(2, 3)), out)
    return out


def random_turns(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """N turns, uniform in 0…3."""
    return torch.randint(0, TURNS, (count,), generator=generator, device=generator.device).to(device)


class RotationHead(nn.Linear):
    """The 4-way classifier on the D features of the shared extractor; lives beside the network, not in it."""

    def __init__(self, features: int, generator: torch.Generator | None = None) -> None:
        super().__init__(features, TURNS)
        with torch.no_grad():
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu", generator=generator)
            self.bias.zero_()


@dataclass(frozen=True)
class JointLoss:
    """The sum that is trained, and its two parts for the log."""

    total: Tensor
    classification: Tensor
    rotation: Tensor
    logits: Tensor
    """N×classes of the CT classifier"""


def joint_loss(
    model: nn.Module,
    backbone: str,
    head: nn.Module,
    images: Tensor,
    labels: Tensor,
    turns: Tensor,
    weight: float = 1.0,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> JointLoss:
    """Classification loss + ``weight`` × rotation loss of one forward pass over the turned pictures.

    ``model``: ``backbones.build(backbone, classes)``; the input of its last layer is the shared feature. ``images``
    N×C×S×S normalised, ``labels`` N (COVID = 1), ``turns`` N in 0…3. The paper adds the two losses: ``weight`` 1.
    ``criterion`` (logits, labels) is the classification loss of the run without rotation.
    """
    logits, features = logits_and_features(model, backbone, rotate(images, turns))
    classification = criterion(logits, labels)
    rotation = F.cross_entropy(head(features), turns)
    return JointLoss(classification + weight * rotation, classification, rotation, logits)


def logits_and_features(model: nn.Module, backbone: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """One forward pass: N×classes logits, and the N×D input of the last layer (its spatial mean if it has H×W)."""
    seen: list[Tensor] = []
    last = backbones.head(model, backbone)
    handle = last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        logits = model(images)
    finally:
        handle.remove()
    features = seen[-1]
    return logits, features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)
