"""The model zoo: backbones, initial weights, self-supervised pretraining, fine-tuning, evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load"]


def load(name: str | Path, root: str | Path = "data/finetune") -> tuple[nn.Module, dict[str, Any]]:
    """A trained network in eval mode and its card: ``models.load("densenet169-self-trans-0")``.

    ``name`` is a run below ``root``, or the folder (or ``model.safetensors``) of any checkpoint. Raises
    checkpoint.CheckpointError; for an unknown name it lists those there are.
    """
    from models import checkpoint

    found = Path(root) / name
    if not Path(name).exists() and not found.exists():
        there = sorted(path.parent.name for path in Path(root).glob(f"*/{checkpoint.WEIGHTS}"))
        raise checkpoint.CheckpointError(
            f"{name}: expected a run in {root} or a checkpoint's folder, got neither; "
            + (f"there are {', '.join(there)}" if there else "train one: dvc repro finetune")
        )
    return checkpoint.load(found if found.exists() else name)
