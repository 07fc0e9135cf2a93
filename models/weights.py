"""Where a network's initial weights come from, and a report of what was and was not loaded.

``init`` is one of

- ``random``: Kaiming initialisation (section IV.C.1);
- ``imagenet``: torchvision's own IMAGENET1K_V1 weights, fetched by torchvision (or already in its cache);
- ``file:PATH``: a state dict (``.safetensors``, or ``.pth`` read with ``weights_only=True``) of the same network;
- ``encoder:PATH``: an encoder or classifier of ours (folder with ``model.safetensors`` and ``card.json``);
- ``partial:PATH``: as ``file``, but tensors may be absent; only this name allows it.

The classifier (the last layer) is always drawn anew: its classes are another task's. Everything else is strict.
"""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import backbones, checkpoint, data, folded
from models.errors import no_memory
from models.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise
from models.vision import torchvision

log = logging.getLogger(__name__)

KINDS = ("random", "imagenet", "file:PATH", "encoder:PATH", "partial:PATH")
MAX_FILE_BYTES = checkpoint.MAX_WEIGHTS_BYTES
# What a wrapper put before the names: DataParallel, and MoCo's published checkpoints of the query encoder.
PREFIXES = ("module.encoder_q.", "encoder_q.", "module.")
# torchvision's DenseNet files of 2017 say 'norm.1' for 'norm1'; torchvision renames them in the same way.
OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


MOST_FOLDED = 64
"""pictures from which statistics of folded batch norms are taken"""
Pictures = Tensor | Callable[[int], Tensor] | None
"""N×C×H×W, or what gives the first so many"""


class WeightsError(ValueError):
    """Initial weights cannot be had or do not fit: says what, expected, got and the next step."""


@dataclass(frozen=True)
class LoadReport:
    """What happened to each tensor of the network; goes into the card of whatever is trained from it."""

    init: str
    source: str = ""
    sha256: str = ""
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """the network has it, the file does not (only with ``partial:``); drawn anew"""
    unexpected: tuple[str, ...] = ()
    """the file has it, the network does not"""
    reinitialised: tuple[str, ...] = ()
    """drawn at random: the classifier always, everything for ``random``, what is missing for ``partial:``"""
    reestimated: tuple[str, ...] = ()
    """batch norms whose statistics were taken from a batch, because the file has them folded"""
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def summary(self) -> str:
        """One line for the log."""
        parts = [f"{self.init}: {len(self.loaded)} tensors loaded"]
        for name in ("missing", "unexpected", "reinitialised", "reestimated"):
            values = getattr(self, name)
            if values:
                parts.append(f"{len(values)} {name} ({', '.join(values[:3])}{' …' if len(values) > 3 else ''})")
        return "; ".join([*parts, *self.notes])


def initialise(
    model: nn.Module, backbone: str, init: str, *, seed: int = 0, batch: Pictures = None, progress: bool = False
) -> LoadReport:
    """Give ``model`` (``backbones.build(backbone, classes)``) its initial weights, in place, and report.

    ``seed`` draws whatever is random (no global seed is touched). ``batch`` (N×C×H×W, normalised as in training, or
    a function that gives the first so many) is asked for only by files whose batch norm is folded into the
    convolutions: their statistics are taken from it, from fewer where memory does not hold them. Raises WeightsError.
    """
    kind, _, path = init.partition(":")
    if kind not in {name.split(":")[0] for name in KINDS} or (kind in {"random", "imagenet"}) == bool(path):
        raise WeightsError(f"init: expected one of {', '.join(KINDS)}, got {init!r}")
    generator = torch.Generator().manual_seed(seed)
    if kind == "random":
        kaiming(model, generator)
        return LoadReport(init=init, reinitialised=tuple(model.state_dict()))
    if kind == "imagenet":
        state, source, digest = imagenet(backbone, progress), f"torchvision {backbone} IMAGENET1K_V1", ""
        notes: list[str] = []
    elif kind == "encoder":
        state, card = _checkpoint(Path(path))
        if card["backbone"] != backbone:
            raise WeightsError(f"init {init}: expected an encoder of {backbone}, got one of {card['backbone']}")
        source, digest, notes = path, card.get("weights_sha256", ""), []
    else:
        state, notes = read_file(Path(path))
        source, digest = Path(path).name, checkpoint.sha256(path)
    return _fill(model, backbone, init, state, generator, batch, source, digest, notes)


def imagenet(backbone: str, progress: bool = False) -> dict[str, Tensor]:
    """torchvision's IMAGENET1K_V1 state dict, from its cache or downloaded and checked; raises WeightsError."""
    if backbone == "crnet":
        raise WeightsError(
            "init imagenet: there are no ImageNet weights for CRNet (it is the paper's own network); train them with "
            "`python -m models.imagenet --images ILSVRC2012/train --out FOLDER`, then use init encoder:FOLDER"
        )
    try:
        weights = torchvision.models.get_model_weights(backbone).IMAGENET1K_V1
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"init imagenet: torchvision has no ImageNet weights for {backbone!r}") from error
    try:
        return dict(weights.get_state_dict(progress=progress, check_hash=True))
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        raise WeightsError(
            f"init imagenet: expected {weights.url}, got: {error}; without a network fetch that file elsewhere and use "
            f"init file:PATH"
        ) from error


def normalisation(init: str, backbone: str, images: Tensor) -> Normalise:
    """The input statistics the initial weights were made for: ImageNet's, those in an encoder's card, or of ``images``.

    ``images``: uint8 pictures of the set to be trained on, whose own mean and deviation serve random weights.
    """
    channels = backbones.describe(backbone).channels
    kind, _, path = init.partition(":")
    if kind == "encoder":
        preprocessing = _checkpoint(Path(path))[1]["preprocessing"]
        mean, std = tuple(preprocessing.get("mean", ())), tuple(preprocessing.get("std", ()))
        if len(mean) == len(std) == channels:
            return Normalise(mean, std)
    if kind in ("imagenet", "file", "partial") and channels == 3:
        return Normalise(IMAGENET_MEAN, IMAGENET_STD)
    one, other = data.normalisation(images)
    return Normalise((round(one, 6),) * channels, (round(other, 6),) * channels)


def read_file(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """State dict of a safetensors or torch file (``weights_only=True``: tensors, no code), and notes on its form."""
    if not path.is_file():
        raise WeightsError(f"{path}: expected a weights file (.safetensors or .pth), got no file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, got {path.stat().st_size}")
    if path.suffix == ".safetensors":
        try:
            return checkpoint.read_safetensors(path), []
        except checkpoint.CheckpointError as error:
            raise WeightsError(str(error)) from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: expected a state dict of plain tensors, got a file that weights_only=True refuses "
            f"({_refusal(path, error)}); save model.state_dict() alone"
        ) from error
    notes = []
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            notes.append(f"taken from the file's {name!r}")
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError(f"{path}: expected a state dict (names → tensors), got {type(found).__name__}")
    state = {str(key): value for key, value in found.items()}
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            notes.append(f"names without {prefix!r}")
            break
    return {OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}, notes


def _refusal(path: Path, error: Exception) -> str:
    """Why torch does not take a file, in a few words; its own begin with a page on what changed in version 2.6."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head.startswith((b"PK", b"\x80")):
        return f"it is not a torch file: it begins with {head!r}" if head else "it is empty"
    text = str(error) or type(error).__name__
    if code := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it calls {code[1]}, which is code and not a tensor"
    lines = [line.strip() for line in text.removeprefix("Weights only load failed.").splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("In PyTorch 2.6")] or lines
    return told[0].split(". ")[0][:160]


def kaiming(model: nn.Module, generator: torch.Generator, only: set[str] | None = None) -> list[str]:
    """Kaiming-normal convolutions (fan out) and linear layers (fan in), zero biases, unit batch norm (reference 57).

    ``only``: names of modules; gives the names of the tensors that were drawn.
    """
    drawn: list[str] = []
    with torch.no_grad():
        for name, module in model.named_modules():
            if only is not None and name not in only:
                continue
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan: Literal["fan_in", "fan_out"] = "fan_out" if isinstance(module, nn.Conv2d) else "fan_in"
                nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            else:
                continue
            drawn += [f"{name}.{key}" if name else key for key in module.state_dict()]
    return drawn


def _fill(
    model: nn.Module,
    backbone: str,
    init: str,
    state: dict[str, Tensor],
    generator: torch.Generator,
    batch: Pictures,
    source: str,
    digest: str,
    notes: list[str],
) -> LoadReport:
    last = backbones.describe(backbone).head
    own = model.state_dict()
    body = {key for key in own if not key.startswith(f"{last}.")}
    given = {key: value for key, value in state.items() if not key.startswith(f"{last}.")}
    # Counters of batches are absent from old files and mean nothing for momentum-based statistics.
    missing = sorted(key for key in body - set(given) if not key.endswith("num_batches_tracked"))
    unexpected = sorted(set(given) - body)
    shapes = [
        f"{key} {tuple(own[key].shape)} != {tuple(given[key].shape)}"
        for key in sorted(body & set(given))
        if own[key].shape != given[key].shape
    ]
    usable = body & set(given)
    partial = init.startswith("partial:")
    if shapes or unexpected or (missing and not partial) or not usable:
        raise WeightsError(
            f"init {init}: expected the tensors of {backbone}; {len(usable) - len(shapes)} of {len(body)} fit, missing "
            f"{len(missing)} {missing[:2]}, unexpected {len(unexpected)} {unexpected[:2]}, other shape {len(shapes)} "
            f"{shapes[:2]}; "
            + (
                "a file that lacks tensors is taken only by name: partial:PATH"
                if missing and not shapes and not unexpected and usable
                else "this is a file of another network"
            )
        )
    bad = [key for key in usable if given[key].is_floating_point() and not bool(torch.isfinite(given[key]).all())]
    if bad:
        raise WeightsError(
            f"init {init}: expected finite weights, got NaN or infinity in {bad[0]} ({len(bad)} tensors)"
        )
    absent = {key.rpartition(".")[0] for key in missing}
    drawn = kaiming(model, generator, only=absent | {last})
    loaded = sorted(usable)
    model.load_state_dict({key: given[key] for key in loaded}, strict=False)
    norms = [name for name in folded.find(model) if name not in absent]
    if norms and batch is None:
        raise WeightsError(
            f"init {init}: batch norm is folded into the convolutions ({len(norms)} layers such as {norms[0]}): its "
            f"statistics must be estimated before training; pass a batch of training pictures"
        )
    if norms and batch is not None:
        count = _reestimate(model, norms, batch)
        notes = [*notes, f"batch norm was folded: statistics taken from {count} pictures, function unchanged"]
    report = LoadReport(
        init=init,
        source=source,
        sha256=digest,
        loaded=tuple(loaded),
        missing=tuple(missing),
        unexpected=tuple(sorted(key for key in state if key.startswith(f"{last}."))),
        reinitialised=tuple(drawn),
        reestimated=tuple(norms),
        notes=tuple(notes),
    )
    log.info("initial weights of %s: %s", backbone, report.summary())
    return report


def _reestimate(model: nn.Module, norms: list[str], pictures: Tensor | Callable[[int], Tensor]) -> int:
    """Statistics of folded batch norms; gives the number of pictures that memory held. Raises WeightsError."""
    count = len(pictures) if isinstance(pictures, Tensor) else MOST_FOLDED
    while True:
        try:
            batch = pictures[:count] if isinstance(pictures, Tensor) else pictures(count)
            folded.reestimate(model, norms, batch)
            return len(batch)
        except (RuntimeError, MemoryError) as error:
            if not no_memory(error):
                raise
        if count < 2:
            raise WeightsError(
                "folded batch norm: out of memory with a single picture; take a smaller --size or backbone"
            )
        log.warning("folded batch norm: out of memory with %d pictures, taking %d", count, count // 2)
        count //= 2


def _checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return checkpoint.read(path)
    except checkpoint.CheckpointError as error:
        raise WeightsError(f"init encoder:{path}: {error}") from error
