"""The training loop on Lightning Fabric: device, precision, data parallelism, exact resume, errors in plain words.

A run is a sequence of epochs. Everything random in epoch e is drawn from (seed, e), and after an epoch the modules'
states are written to ``folder/last.pt`` all or nothing (after every epoch, unless that would take a tenth of the time):
an interrupted run continues with the next epoch and ends, on a CPU with the same number of threads, in the same bits as
one that was never interrupted.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from models import vision  # noqa: F401  before lightning, which imports torchvision
from models.errors import Diverged, EngineError, OutOfMemory, Unfinished, no_memory
from models.states import STATE, load_state, save_state
from models.transforms import Evaluation

from lightning.fabric import Fabric  # isort: skip
from models.graphs import Graphed  # isort: skip

log = logging.getLogger(__name__)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
_NAMES: dict[str, Precision] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
PRECISIONS = ("auto", *_NAMES)
SAVING_SHARE = 0.1
"""of the time that writing states may take: on a fast card an epoch of VGG-16 is shorter than writing its 2 GB"""
EVAL_BATCH = {"cpu": 32, "cuda": 256}
"""images per forward pass without gradients"""
CHECK_EVERY = 20
"""steps between looks at the loss on an accelerator, where each look waits for it"""


@dataclass(frozen=True)
class Hardware:
    """Where and how to compute; results differ by rounding between choices, so the card records them."""

    accelerator: str = "auto"
    """auto, cpu or gpu"""
    devices: int = 1
    """processes of data parallelism; the batch is shared among them"""
    precision: str = "auto"
    """auto: bf16 where the processor has it and the network gains by it, else 32"""
    compile: bool = False
    """torch.compile; on 2 CPU cores its compilation costs more than it gains"""
    graphs: bool = True
    """replay training steps as CUDA graphs (one CUDA device without compile; elsewhere nothing changes)"""


def open_fabric(hardware: Hardware, backbone: str = "") -> Fabric:
    """Fabric for this machine, launched. Raises EngineError if what was asked for is not there."""
    if hardware.accelerator not in ("auto", "cpu", "gpu"):
        raise EngineError(f"accelerator: expected auto, cpu or gpu, got {hardware.accelerator!r}")
    if hardware.precision not in PRECISIONS:
        raise EngineError(f"precision: expected one of {', '.join(PRECISIONS)}, got {hardware.precision!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if hardware.accelerator == "gpu" and not found:
        raise EngineError("accelerator: expected a GPU, got none that torch sees; use accelerator cpu or auto")
    on_gpu = found > 0 and hardware.accelerator != "cpu"
    if hardware.devices < 1 or (on_gpu and hardware.devices > found):
        raise EngineError(f"devices: expected 1 to {found if on_gpu else 'some processes'}, got {hardware.devices}")
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=hardware.devices,
        strategy="ddp" if hardware.devices > 1 else "auto",
        precision=choose_precision(hardware.precision, on_gpu, backbone),
    )
    fabric.launch()
    return fabric


def choose_precision(wanted: str, on_gpu: bool, backbone: str = "") -> Precision:
    """Fabric's name of the precision. bf16 doubles training here on CPUs with avx512_bf16, but not EfficientNet's."""
    if wanted != "auto":
        return _NAMES[wanted]
    if on_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if cpu_has_bf16() and not backbone.startswith("efficientnet") else "32-true"


def cpu_has_bf16() -> bool:
    """True if this CPU multiplies bf16 in hardware; where torch cannot tell, False (bf16 would be emulated, slowly)."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def step_of(fabric: Fabric, model: nn.Module, hardware: Hardware) -> Callable[..., Any]:
    """What to call for the loss in training: ``model``, or its steps replayed as a CUDA graph where that can be."""
    scaled = str(fabric._precision.precision) == "16-mixed"  # its scaler looks at every step's gradients
    if fabric.device.type != "cuda" or fabric.world_size > 1 or hardware.compile or scaled or not hardware.graphs:
        return model
    return Graphed(fabric, model)


def channels_last(model: nn.Module) -> nn.Module:
    """The same model with its convolution weights in NHWC order, which CPU and GPU kernels are fastest on."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextmanager
def seeded(seed: int, epoch: int, rank: int = 0) -> Iterator[None]:
    """Inside, torch's generators start from (seed, epoch, rank); outside they are as before."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(_mixed(seed, epoch, rank))
        yield


def generator(seed: int, epoch: int) -> torch.Generator:
    """What the first process draws from inside ``seeded(seed, epoch)``, for numbers that all processes share."""
    return torch.Generator().manual_seed(_mixed(seed, epoch, 0))


def _mixed(seed: int, epoch: int, rank: int) -> int:
    """Three small numbers in one, without collisions for fewer than 4096 epochs and 256 processes."""
    return (seed << 20) + (epoch << 8) + rank


def shard(fabric: Fabric, index: Tensor) -> tuple[Tensor, float]:
    """This process's part of a batch, and the factor for its mean loss so that averaging over processes is exact."""
    world = fabric.world_size
    if world == 1:
        return index, 1.0
    mine = index.tensor_split(world)[fabric.global_rank]
    if not len(mine):
        return index[:1], 0.0
    return mine, len(mine) * world / len(index)


def train_epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Tensor],
    loss_of: Callable[[Tensor], Tensor],
    *,
    title: str = "",
    after_step: Callable[[], None] | None = None,
    mode: Callable[[nn.Module], object] = nn.Module.train,
) -> float:
    """One pass: for each index batch ``loss_of(index)`` → backward → step. Returns the mean loss over images.

    ``loss_of`` gets this process's part of the batch and gives its mean loss; a loss that needs no gradient has been
    propagated already (models.graphs). ``after_step`` runs after each step (MoCo moves its key encoder there).
    ``mode(model)`` puts it in training mode (a frozen extractor stays in eval).
    Raises Diverged and OutOfMemory.
    """
    mode(model)
    total, seen, size = torch.zeros((), dtype=torch.float64), 0, 0
    pending: list[tuple[Tensor, int]] = []
    on_cpu = fabric.device.type == "cpu"
    listed = list(batches)
    hidden = not fabric.is_global_zero or not _is_terminal()
    try:
        for step, index in enumerate(tqdm(listed, desc=title, leave=False, disable=hidden, unit="batch")):
            size = len(index)
            mine, factor = shard(fabric, index)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(mine) * factor
            if loss.requires_grad:
                fabric.backward(loss)
            optimizer.step()
            if after_step is not None:
                after_step()
            pending.append((loss.detach(), size))
            if on_cpu or (step + 1) % CHECK_EVERY == 0 or step + 1 == len(listed):
                for value, count in pending:
                    total += value.double().cpu() * count
                    seen += count
                pending.clear()
                if not math.isfinite(float(total)):
                    rate = optimizer.param_groups[0]["lr"]
                    raise Diverged(
                        f"{title}: the loss became NaN or infinite by step {step + 1} of {len(listed)} (learning rate "
                        f"{rate:g}); nothing of this epoch is kept: lower the learning rate or use precision 32"
                    )
    except (RuntimeError, MemoryError) as error:
        if no_memory(error):
            raise out_of_memory(size, title) from error
        raise
    mean = total / max(seen, 1)
    if fabric.world_size > 1:
        mean = cast(Tensor, fabric.all_reduce(mean.float(), reduce_op="mean"))
    return float(mean)


def out_of_memory(batch: int, title: str) -> OutOfMemory:
    """The error for a batch that does not fit."""
    return OutOfMemory(
        f"{title}: out of memory with batches of {batch}; try batch {max(2, batch // 2)}"
        + (", a smaller backbone or picture size" if batch <= 4 else "")
    )


def run(
    fabric: Fabric,
    parts: Mapping[str, Any],
    epochs: int,
    one_epoch: Callable[[int], Mapping[str, float]],
    *,
    folder: Path | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    seed: int = 0,
    minutes: float = 0.0,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    stop: Callable[[list[dict[str, float]]], bool] | None = None,
) -> list[dict[str, float]]:
    """Run epochs 0…epochs-1, resuming from ``folder``; returns the history, one row per epoch.

    ``parts`` (model, optimizer, scheduler, …) have ``state_dict``/``load_state_dict``. A saved state of another
    ``fingerprint`` (settings and data) or of more epochs is not used. ``minutes`` > 0: stop cleanly when the next epoch
    would not fit, with Unfinished. ``on_epoch(epoch, row)`` reports; ``stop(history)`` ends the run early.
    """
    path = folder / STATE if folder is not None else None
    mark = json.dumps(dict(fingerprint or {}), sort_keys=True, default=str)
    history = load_state(path, parts, mark, epochs) if path is not None else []
    if history and fabric.is_global_zero:
        log.info("resumed after epoch %d of %d from %s", len(history), epochs, path)
    started = saved = time.monotonic()
    slowest, cost, kept = 0.0, 0.0, len(history)

    def keep() -> None:
        nonlocal saved, cost, kept
        if path is None or kept == len(history):
            return
        begin = time.monotonic()
        if fabric.is_global_zero:
            save_state(path, parts, mark, history)
        fabric.barrier()
        saved, kept = time.monotonic(), len(history)
        cost = saved - begin

    for epoch in range(len(history), epochs):
        if stop is not None and stop(history):
            break
        begin = time.monotonic()
        if minutes > 0 and _agreed(fabric, begin - started + slowest > minutes * 60):
            keep()
            raise Unfinished(f"stopped after epoch {epoch} of {epochs} ({minutes:g} minutes); run it again to continue")
        with seeded(seed, epoch, fabric.global_rank):
            row = {"epoch": float(epoch), **{key: float(value) for key, value in one_epoch(epoch).items()}}
        history.append(row)
        if _agreed(fabric, (time.monotonic() - saved) * SAVING_SHARE >= cost):
            keep()
        slowest = max(slowest, time.monotonic() - begin)
        if on_epoch is not None and fabric.is_global_zero:
            on_epoch(epoch, row)
    keep()
    return history


@torch.no_grad()
def probabilities(
    model: nn.Module, images: Tensor, transform: Evaluation, *, batch: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Softmax of the logits for uint8 N×1×H×W pictures: float32 N×classes on the CPU; puts the model in eval mode.

    ``batch``: images per forward pass; 0: what suits the device (EVAL_BATCH). Where so many do not fit into memory,
    half of them are tried, and so on; raises OutOfMemory where one alone does not fit.
    """
    model.eval()
    batch = batch or EVAL_BATCH.get(torch.device(device).type, 32)
    rows: list[Tensor] = []
    done = 0
    while done < len(images):
        part = images[done : done + batch]
        found = _scores(model, part, transform, device)
        if found is not None:
            rows.append(found)
            done += len(part)
        elif len(part) == 1:
            raise OutOfMemory(
                f"prediction: out of memory with a single picture of {transform.size}×{transform.size} pixels; take a "
                "smaller --size or backbone, or free memory"
            )
        else:
            batch = len(part) // 2
            log.warning("prediction: out of memory with %d pictures at a time, trying %d", len(part), batch)
            if torch.device(device).type == "cuda":
                torch.cuda.empty_cache()
    return torch.cat(rows) if rows else torch.empty(0, 2)


def _scores(model: nn.Module, part: Tensor, transform: Evaluation, device: torch.device | str) -> Tensor | None:
    """Softmax of one batch, or None where it does not fit into memory."""
    try:
        inputs = transform(part.to(device)).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, model(inputs).float().softmax(dim=1).cpu())
    except (RuntimeError, MemoryError) as error:
        if no_memory(error):
            return None
        raise


def _agreed(fabric: Fabric, decision: bool) -> bool:
    """The first process's decision for all: their clocks differ, and one that stops alone leaves the others."""
    return bool(fabric.broadcast(decision)) if fabric.world_size > 1 else decision


def _is_terminal() -> bool:
    return sys.stderr.isatty()
