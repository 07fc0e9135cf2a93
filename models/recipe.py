"""What a fine-tuning run is: everything that decides its result besides data and hardware. Defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass

from models import backbones
from models.transforms import FineTuning, Normalise

SELECT = ("auc", "loss", "last")


class FineTuneError(ValueError):
    """Settings that cannot be trained with: says what, expected, got and the next step."""


@dataclass(frozen=True)
class Recipe:
    """One row of the paper's tables with one seed (sections IV.B–E)."""

    backbone: str
    init: str = "random"
    frozen: bool = False
    """train the last layer only (Table VII)"""
    rotation: bool = False
    """joint rotation prediction (Method 4 of Table VI)"""
    seed: int = 0
    size: int = 224
    resize: int = 256
    epochs: int = 50
    batch: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    period: int = 10
    """T_max of CosineAnnealingLR, epochs: down for 10, up again for 10, as the scripts of 2020"""
    crop: float = 0.5
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    select: str = "auc"
    """what chooses the epoch on val: auc (ties: lower loss, then earlier), loss, or last (no choice)"""

    def check(self, images: int) -> None:
        """Raise FineTuneError on values nothing can be trained with; ``images`` is the size of the training split."""
        backbones.describe(self.backbone)
        limits: dict[str, tuple[float, float]] = {
            "size": (23, 4096),
            "resize": (23, 4096),
            "epochs": (1, 100_000),
            "batch": (2, 65_536),
            "period": (1, 100_000),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise FineTuneError(f"{name}: expected {low:g} to {high:g}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise FineTuneError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise FineTuneError(f"weight_decay: expected 0 or more, got {self.weight_decay}; the paper states none: 0")
        if self.select not in SELECT:
            raise FineTuneError(f"select: expected one of {', '.join(SELECT)}, got {self.select!r}")
        if self.batch > images:
            raise FineTuneError(f"batch: expected at most the {images} training images, got {self.batch}; lower it")
        if self.rotation and self.frozen:
            raise FineTuneError("rotation: the joint task trains the shared extractor; it cannot be frozen")

    def view(self, normalise: Normalise) -> FineTuning:
        """The augmentation of training pictures."""
        return FineTuning(
            self.size,
            normalise,
            scale=(self.crop, 1.0),
            flip=self.flip,
            brightness=self.brightness,
            contrast=self.contrast,
        )
