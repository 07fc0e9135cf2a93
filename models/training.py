"""What every training of ours does alike: a module on a device with optimiser and cosine schedule, epoch after epoch.

Also what is reported of each epoch, and what is said of the device: in the fingerprint of a saved state, and in a card.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import backbones, engine, weights
from models.engine import Fabric, Hardware
from models.objective import Clock

log = logging.getLogger(__name__)


def new_network(
    backbone: str, classes: int | None, size: int, init: str, seed: int, batch: weights.Pictures = None
) -> tuple[nn.Module, weights.LoadReport]:
    """A network with its initial weights, channels last, and what was loaded; the caller's random state stays.

    ``batch`` (of N×C×size×size, normalised) as for ``weights.initialise``. Raises WeightsError.
    """
    with engine.seeded(seed, 0):
        network = backbones.build(backbone, classes, size=size)
    report = weights.initialise(network, backbone, init, seed=seed, batch=batch)
    return engine.channels_last(network), report


class Training:
    """A module (its call gives the loss) with optimiser and cosine schedule, set up on a device.

    ``period``: T_max of the schedule, epochs. ``step`` is what ``loss_of`` of ``epoch`` calls.
    """

    def __init__(
        self, fabric: Fabric, hardware: Hardware, module: nn.Module, optimizer: torch.optim.Optimizer, period: int
    ) -> None:
        self.fabric = fabric
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=period)
        self._module, self._optimizer = fabric.setup(module, optimizer)
        self.step = engine.step_of(fabric, self._module, hardware)

    def epoch(
        self,
        batches: Iterable[Tensor],
        loss_of: Callable[[Tensor], Tensor],
        *,
        title: str,
        after_step: Callable[[], None] | None = None,
        mode: Callable[[nn.Module], object] = nn.Module.train,
    ) -> tuple[float, float]:
        """One pass as ``engine.train_epoch``, then one of the schedule: its learning rate, and the mean loss."""
        rate = float(self.scheduler.get_last_lr()[0])
        loss = engine.train_epoch(
            self.fabric, self._module, self._optimizer, batches, loss_of, title=title, after_step=after_step, mode=mode
        )
        self.scheduler.step()
        return rate, loss


class Reporter:
    """``on_epoch`` of `engine.run`: a line of the log and, with ``live``, DVCLive's metrics (``dvc plots show`` draws
    them while the training goes on).

    ``live``: folder of the metrics (needs dvclive), continued where a training is; ``names``: of the row's numbers that
    the line says.
    """

    def __init__(self, title: str, epochs: int, names: Mapping[str, str], live: Path | None = None) -> None:
        self._title, self._epochs, self._names, self._live = title, epochs, names, live
        self._logger: Any = None

    def __call__(self, epoch: int, row: Mapping[str, float]) -> None:
        said = ", ".join(f"{name} {row[key]:.3f}" for key, name in self._names.items())
        log.info("%s epoch %d/%d: %s", self._title, epoch + 1, self._epochs, said)
        if self._live is None:
            return
        if self._logger is None:
            from dvclive import Live

            self._logger = Live(
                str(self._live), resume=epoch > 0, report=None, save_dvc_exp=False, dvcyaml=None, monitor_system=False
            )
        self._logger.step = epoch
        for name, value in row.items():
            if name != "epoch":
                self._logger.log_metric(name, value)
        self._logger.make_summary()


def device_facts(fabric: Fabric) -> dict[str, str]:
    """Device and precision that results depend on by rounding."""
    return {"device": fabric.device.type, "precision": str(fabric._precision.precision)}


def fingerprint_facts(fabric: Fabric) -> dict[str, Any]:
    """The device's part of a fingerprint: a state is continued on the like of what it was saved on."""
    return {**device_facts(fabric), "world": fabric.world_size}


def card_facts(fabric: Fabric, clock: Clock) -> dict[str, Any]:
    """A card's ``training``: hours and images per second, device, precision, processes and threads."""
    return {
        **clock.figures(),
        **device_facts(fabric),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
    }
