"""The one place that imports torchvision.

A CPU build of torch beside a torchvision wheel that was linked against CUDA (what a plain package index gives for one
pair of pins) fails at import: ``operator torchvision::nms does not exist``. The wheel's own library cannot be loaded,
and its Python part then registers shapes for operators nobody defined. Defining those two operators first is enough
for everything used here (classifiers and tensor transforms); with a matching build the first import succeeds and
nothing is defined.

Everything else of ours says ``from models.vision import torchvision`` (and imports packages that themselves import
torchvision after this module), so that it holds in every process, spawned workers included.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_definitions: torch.library.Library | None = None


def load() -> ModuleType:
    """Import torchvision, repairing the one known mismatch of builds; any other failure is passed on."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    # Only after the native library failed: defined before, a matching build would register the operators a second time.
    global _definitions
    _definitions = torch.library.Library("torchvision", "DEF")  # kept alive: its end undefines the operators
    for operator in ("nms", "qnms"):
        _definitions.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")


torchvision = load()
