"""How fast networks train alone on the device, and which fraction of the card's peak that is."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paper_plan import Settings
from models import backbones, engine
from models.engine import Hardware

log = logging.getLogger("paper_tables")

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12, "V100": 125e12, "RTX 4090": 165e12}
"""dense 16-bit rate of a card, FLOP/s, from its maker's data sheet"""


def arithmetic(backbone: str, size: int = 224) -> float:
    """Floating-point operations of training on one picture: forward, and twice that for the gradients."""
    with torch.device("meta"):
        model = backbones.build(backbone, 2, size=size)
        picture = torch.empty(1, backbones.describe(backbone).channels, size, size)
    with FlopCounterMode(display=False) as counter:
        model.eval()(picture)
    return 3.0 * counter.get_total_flops()


def speed(names: list[str], settings: Settings, steps: int = 30) -> list[dict[str, Any]]:
    """Training images per second of each network alone on the device, step by step and replayed as a graph."""
    rows = []
    for name in names:
        for graphs in (False, True):
            hardware = Hardware(settings.accelerator, 1, settings.precision, graphs=graphs)
            fabric = engine.open_fabric(hardware, name)
            if graphs and fabric.device.type != "cuda":
                continue
            channels = backbones.describe(name).channels
            torch.manual_seed(0)  # the same network and pictures with and without a graph: the losses must agree
            model = engine.channels_last(backbones.build(name, 2, size=settings.size)).train()
            loss_of = _Loss(model)
            wrapped, optimizer = fabric.setup(loss_of, torch.optim.Adam(loss_of.parameters(), 1e-4, fused=True))
            step = engine.step_of(fabric, wrapped, hardware)
            pictures = torch.randn(settings.batch, channels, settings.size, settings.size).to(fabric.device)
            pictures = pictures.contiguous(memory_format=torch.channels_last)
            labels = (torch.arange(settings.batch) % 2).to(fabric.device)
            for number in range(steps + 5):
                if number == 5:
                    _wait(fabric)
                    begin = time.perf_counter()
                optimizer.zero_grad(set_to_none=True)
                loss = step(pictures, labels)
                if loss.requires_grad:
                    fabric.backward(loss)
                optimizer.step()
            _wait(fabric)
            rate = steps * settings.batch / (time.perf_counter() - begin)
            top = peak()[1]
            share = rate * arithmetic(name, settings.size) / top if top else None
            rows.append(
                {
                    "backbone": name,
                    "graph": graphs,
                    "images_per_second": round(rate, 1),
                    "of_peak": share,
                    "loss": round(float(loss.detach()), 5),
                }
            )
            log.info("%s", rows[-1])
    return rows


class _Loss(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(images), labels)


def _wait(fabric: engine.Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def peak() -> tuple[str, float | None]:
    """Name of the device, and its 16-bit peak where it is known."""
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads", None
    name = torch.cuda.get_device_name()
    return name, next((value for key, value in PEAKS.items() if key in name), None)
