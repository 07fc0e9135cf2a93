"""A trained network on disk: ``model.safetensors`` + ``card.json`` in one folder, never a pickle.

The state dict has the keys of the stock torchvision network (``torchvision.models.densenet169(num_classes=2)`` loads it
with ``strict=True``); the card carries what is needed to use it rightly: backbone, class names (COVID = 1 last),
preprocessing, dataset version and split hash, recipe, metrics, licence and git revision. An *encoder* (kind
``encoder``) is the same without the classifier's keys.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from covidct.files import read_json, replacing, write_text
from models import backbones

WEIGHTS = "model.safetensors"
CARD = "card.json"
FORMAT = 1
KINDS = ("classifier", "encoder")
MAX_WEIGHTS_BYTES = 4 * 1024**3
MAX_CARD_BYTES = 4 * 1024**2
MAX_HEADER_BYTES = 64 * 1024**2
MAX_SIZE = 4096
"""pixels of a network's input: CRNet's last layer grows with them"""
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "backbone": str,
    "class_names": list,
    "preprocessing": dict,
    "dataset": dict,
    "recipe": dict,
    "metrics": dict,
    "licence": str,
    "git_revision": str,
}


class CheckpointError(ValueError):
    """A checkpoint is not what it must be: says what, expected, got and the next step."""


def make_card(
    *,
    backbone: str,
    class_names: list[str] | tuple[str, ...],
    preprocessing: Mapping[str, Any],
    recipe: Mapping[str, Any],
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    kind: str = "classifier",
    licence: str = "",
    **more: Any,
) -> dict[str, Any]:
    """The card of a checkpoint as a plain dict; ``git_revision`` is filled in.

    ``preprocessing``: ``size`` (pixels), ``channels``, ``mean``, ``std``, ``resize``. ``dataset``: ``version``,
    ``split_hash``, and ``transductive`` where pictures outside train were seen. ``metrics``: figures with intervals,
    all for the positive class COVID.
    """
    card: dict[str, Any] = {
        "format": FORMAT,
        "kind": kind,
        "backbone": backbone,
        "class_names": list(class_names),
        "positive_class": "COVID" if "COVID" in class_names else "",
        "preprocessing": dict(preprocessing),
        "dataset": {"version": "", "split_hash": "", **(dataset or {})},
        "recipe": dict(recipe),
        "metrics": dict(metrics or {}),
        "licence": licence,
        "git_revision": git_revision(),
        **more,
    }
    _check_card(card, "card")
    return card


def git_revision(folder: Path | str = Path(__file__).parent) -> str:
    """Commit of the code (``-dirty`` when tracked files differ), or ``""`` outside a git checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        done = subprocess.run(
            [git, "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def save(folder: Path | str, model: nn.Module, card: Mapping[str, Any]) -> Path:
    """Write ``model.safetensors`` and ``card.json`` (with the weights' sha256) into ``folder``; returns the folder.

    Temporary file → fsync → rename; the same weights and card give the same bytes. Raises CheckpointError on a card
    without its required fields or weights that are not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().to("cpu").contiguous().clone() for key, value in model.state_dict().items()}
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{folder}: expected finite weights, got NaN or infinity in {len(bad)} tensors ({bad[0]} …); "
            f"nothing was written: lower the learning rate, or train with precision 32"
        )
    _check_card(card, str(folder))
    weights = folder / WEIGHTS
    with replacing(weights) as part:
        save_file(state, part, metadata={"format": "pt"})
    text = json.dumps({**card, "weights_sha256": sha256(weights)}, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(folder / CARD, text + "\n")
    return folder


def load(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """Read a checkpoint: the network in eval mode with its weights loaded strictly, and its card.

    ``path`` is the folder or its ``model.safetensors``. A kind ``encoder`` gives the network without its classifier
    (features). Raises CheckpointError on a pickle, a missing or altered file, other keys or shapes than the backbone's.
    """
    state, card = read(path)
    try:
        size = card["preprocessing"].get("size", 224)  # CRNet's last layer depends on it
        model = backbones.build(card["backbone"], len(card["class_names"]) or 2, size=size)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if card["kind"] == "encoder":
        model, _ = backbones.features(model, card["backbone"])
    _strict(model, state, card, str(path))
    return model.eval(), card


def read(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """State dict (CPU tensors) and card of a checkpoint, verified against the card's sha256; builds no network."""
    weights, card_file = locate(path)
    card = read_card(card_file)
    state = read_safetensors(weights)
    expected = card.get("weights_sha256", "")
    if expected and (got := sha256(weights)) != expected:
        raise CheckpointError(
            f"{weights}: expected sha256 {expected[:12]}… as {card_file.name} says, got {got[:12]}…; "
            f"weights and card are not of one run: restore both (dvc checkout) or train again"
        )
    return state, card


def locate(path: Path | str) -> tuple[Path, Path]:
    """Paths of weights and card of a checkpoint folder, or of the folder of a named weights file."""
    path = Path(path)
    weights = path / WEIGHTS if path.is_dir() else path
    if not weights.is_file():
        raise CheckpointError(
            f"{path}: expected a checkpoint folder with {WEIGHTS} and {CARD}, got nothing there; "
            f"run the stage that writes it (dvc repro finetune)"
        )
    card = weights.with_name(CARD)
    refuse_pickle(weights)
    if not card.is_file():
        raise CheckpointError(
            f"{weights}: expected {CARD} beside the weights, got none; weights without a card can only start a "
            f"training (init file:{weights})"
        )
    return weights, card


def read_safetensors(path: Path | str) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, within the size limits; raises CheckpointError."""
    path = Path(path)
    refuse_pickle(path)
    size = path.stat().st_size
    if size > MAX_WEIGHTS_BYTES:
        raise CheckpointError(f"{path}: expected at most {MAX_WEIGHTS_BYTES} bytes of weights, got {size}")
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or struct.unpack("<Q", head)[0] > min(MAX_HEADER_BYTES, size):
        raise CheckpointError(f"{path}: expected a safetensors file, got another or a cut-off one; fetch it again")
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got: {error}; fetch it again") from error


def refuse_pickle(path: Path) -> None:
    """Raise CheckpointError if the file is a pickle or a torch archive (loading one can run code)."""
    with path.open("rb") as file:
        head = file.read(4)
    pickled = head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")
    if pickled or (path.suffix in {".pth", ".pt", ".pkl", ".ckpt", ".bin"} and path.name != WEIGHTS):
        raise CheckpointError(
            f"{path}: expected safetensors, got a pickle ({path.suffix or 'no ending'}): checkpoints are never "
            f"unpickled; to start a training from it use init file:{path} (read with weights_only=True)"
        )


def sha256(path: Path | str) -> str:
    """Hex digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _strict(model: nn.Module, state: Mapping[str, torch.Tensor], card: Mapping[str, Any], where: str) -> None:
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in state.items()}
    missing = [key for key in wanted if key not in got]
    unexpected = [key for key in got if key not in wanted]
    shapes = [f"{key} {wanted[key]} != {got[key]}" for key in wanted if key in got and wanted[key] != got[key]]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"{where}: expected the tensors of {card['backbone']} with {len(card['class_names'])} classes; missing "
            f"{len(missing)} {missing[:2]}, unexpected {len(unexpected)} {unexpected[:2]}, other shape {len(shapes)} "
            f"{shapes[:2]}; the card and the weights are of different networks"
        )
    model.load_state_dict(state, strict=True)


def read_card(path: Path) -> dict[str, Any]:
    """The card in a file, with its required fields; raises CheckpointError. Reads no weights."""
    if path.stat().st_size > MAX_CARD_BYTES:
        raise CheckpointError(f"{path}: expected a card of at most {MAX_CARD_BYTES} bytes, got {path.stat().st_size}")
    try:
        card = read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path}: expected JSON, got: {error}") from error
    _check_card(card, str(path))
    return card


def _check_card(card: Any, where: str) -> None:
    if not isinstance(card, Mapping):
        raise CheckpointError(f"{where}: expected a card (an object), got {type(card).__name__}")
    for field, kind in REQUIRED.items():
        if not isinstance(card.get(field), kind):
            raise CheckpointError(
                f"{where}: card field {field}: expected {getattr(kind, '__name__', kind)}, got "
                f"{type(card.get(field)).__name__ if field in card else 'nothing'}; build it with checkpoint.make_card"
            )
    names = card["class_names"]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise CheckpointError(f"{where}: card field class_names: expected different names, got {str(names)[:120]}")
    size = card["preprocessing"].get("size", 224)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise CheckpointError(
            f"{where}: card field preprocessing.size: expected 1 to {MAX_SIZE} pixels, got {str(size)[:40]}"
        )
    if card["kind"] not in KINDS:
        raise CheckpointError(f"{where}: card field kind: expected one of {', '.join(KINDS)}, got {card['kind']!r}")
    if card.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{where}: expected card format {FORMAT}, got {card['format']!r}; update covidct")
