"""Where weights come from: the card of what a training began with, and what pictures were seen on the way.

Every card holds under ``start`` what matters of the card before it, which holds its own ``start``, back to the first
weights. So a classifier tells whether val or test pictures of its split were seen anywhere on the way.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models import checkpoint

log = logging.getLogger(__name__)

KEPT = ("kind", "backbone", "recipe", "dataset", "licence", "training", "metrics", "git_revision", "weights_sha256")
"""fields of an encoder's card that travel with what is trained from it"""


class LineageError(ValueError):
    """Initial weights that may have seen the test pictures: says which, expected, got and the next step."""


def ancestor(init: str) -> dict[str, Any] | None:
    """What matters of the card of the initial weights: ``encoder:PATH``'s, or one beside ``file:`` or ``partial:``.

    None for weights without a card of ours. Raises CheckpointError for an encoder without a card and LineageError for
    a file beside which lies a card that cannot be read: what those weights saw would be lost.
    """
    kind, _, path = init.partition(":")
    if kind == "encoder":
        file = checkpoint.locate(path)[1]
        card = checkpoint.read_card(file)
    elif kind in ("file", "partial") and path and Path(path).with_name(checkpoint.CARD).is_file():
        file = Path(path).with_name(checkpoint.CARD)
        try:
            card = checkpoint.read_card(file)
        except checkpoint.CheckpointError as error:
            raise LineageError(
                f"init {init}: expected a readable card beside the weights, or none; got {error}; if that file is not "
                "of these weights, move them to a folder of their own"
            ) from error
    else:
        return None
    kept = {name: card[name] for name in KEPT if name in card}
    return {**kept, "history": losses(file.with_name("history.csv")), "start": card.get("start")}


def losses(path: Path) -> list[dict[str, Any]]:
    """What an encoder's training wrote per epoch (set, epoch, loss); ``[]`` where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    read: dict[str, Callable[[str], Any]] = {
        "set": str,
        "epoch": lambda text: int(float(text)),
        "loss": float,
        "train_loss": float,
    }
    return [{name: of(row[name]) for name, of in read.items() if row.get(name)} for row in rows]


def inherited(init: str, before: Mapping[str, Any] | None) -> list[str]:
    """Licences of the initial weights, to be named beside that of the training pictures; each once."""
    kind, _, path = init.partition(":")
    if before is not None:
        own, recipe = str(before.get("licence") or "not stated"), before.get("recipe", {})
        further = inherited(str(recipe.get("init", "")), before.get("start"))
        return [f"initial weights: {own}", *(licence for licence in further if licence not in own)]
    if kind == "imagenet":
        return ["initial weights: torchvision's, trained on ImageNet, whose pictures are for non-commercial research"]
    return [f"initial weights: {Path(path).name}, licence not stated"] if path else []


def way(init: str, before: Mapping[str, Any] | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What weights went through, the latest first: how each was named (``encoder:PATH``), and its card."""
    while isinstance(before, Mapping):
        yield init, before
        recipe = before.get("recipe")
        init, before = str(recipe.get("init", "")) if isinstance(recipe, Mapping) else "", before.get("start")


def strangers(init: str, before: Mapping[str, Any] | None, split_hash: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Those on the way that saw another split than ``split_hash``: their train pictures may be this split's test.

    What lies before a transductive training on this very split is left out: it was asked for by name there, and the
    mark travels along. LUNA, ImageNet and nodules have no split of ours.
    """
    found = []
    for name, card in way(init, before):
        about = card.get("dataset")
        if not isinstance(about, Mapping):
            continue
        there = about.get("split_hash") or ""
        if there == split_hash and about.get("transductive"):
            break
        if there and there != split_hash and "covidct" in about.get("sets", ("covidct",)):
            found.append((name, card))
    return found


def told(name: str, card: Mapping[str, Any]) -> str:
    """Which weights, and what they saw, in words."""
    about = card["dataset"]
    seen = "trained with the labels of" if card.get("kind") == "classifier" else "pretrained on"
    return f"{name.partition(':')[2] or name} ({seen} {about.get('version')!r}, split {about['split_hash'][:12]}…)"


def check(init: str, about: Mapping[str, Any], *, transductive: bool = False) -> dict[str, Any]:
    """What to add to a card's ``dataset`` for initial weights that saw another split of the pictures; mostly nothing.

    ``about``: ``version`` and ``split_hash`` of what is to be trained on. Without ``transductive`` such weights raise
    LineageError; with it they are taken, and marked: ``transductive`` and ``other_splits``. Raises as ``ancestor``.
    """
    found = strangers(init, ancestor(init), str(about.get("split_hash", "")))
    if not found:
        return {}
    said = " and ".join(told(name, card) for name, card in found)
    here = f"{about.get('version')!r} (split {str(about.get('split_hash'))[:12]}…)"
    if not transductive:
        raise LineageError(
            f"init {init}: expected weights that saw no other split of the pictures than {here}, got {said}: val and "
            "test pictures may be among what they saw; pretrain again on this split (dvc repro pretrain), or pass "
            "--transductive, which marks every result"
        )
    log.warning("%s: begins with %s; every result on %s is marked transductive", init, said, here)
    return {
        "transductive": True,
        "other_splits": [
            {
                "version": card["dataset"].get("version", ""),
                "split_hash": card["dataset"]["split_hash"],
                "with_labels": card.get("kind") == "classifier",
            }
            for _, card in found
        ],
    }
