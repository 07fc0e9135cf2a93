"""What a classifier's card says about using it: preprocessing, classes, threshold, split, and what its weights saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import covidct
from models import data, lineage
from models.transforms import Evaluation, Normalise


class EvaluateError(ValueError):
    """A model and a dataset that do not go together: says what, expected, got and the next step."""


def evaluation(card: dict[str, Any]) -> Evaluation:
    """The transform a classifier was validated with, from its card."""
    preprocessing = card["preprocessing"]
    try:
        normalise = Normalise(tuple(preprocessing["mean"]), tuple(preprocessing["std"]))
        return Evaluation(int(preprocessing["size"]), normalise)
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluateError(f"card field preprocessing: expected size, mean and std, got {preprocessing}") from error


def covid_index(card: dict[str, Any]) -> int:
    """Which logit of a classifier is COVID's; raises EvaluateError for an encoder or a network of other classes."""
    names = card["class_names"]
    if card["kind"] != "classifier" or sorted(map(str, names)) != sorted(data.CLASS_NAMES):
        raise EvaluateError(
            f"model: expected a classifier of {' and '.join(data.CLASS_NAMES)}, got {card['kind']} with "
            f"{'classes ' + ', '.join(map(str, names)) if names else 'no classes'}; fine-tune it first "
            "(models.finetune --init encoder:FOLDER)"
        )
    return int(names.index("COVID"))


def chosen_threshold(card: dict[str, Any]) -> float:
    """The score from which this model calls COVID, chosen on its validation split; 0.5 where the card has none."""
    found = card["metrics"].get("threshold", 0.5)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise EvaluateError(f"card field metrics.threshold: expected a probability, got {found!r}")
    return float(found)


def check_split(dataset: covidct.Dataset, card: dict[str, Any]) -> None:
    """Raise EvaluateError if the card names another split than the dataset's, or weights that saw one on the way.

    Those that were asked for by name (``--transductive``) pass: their mark is in the card.
    """
    trained, here = card["dataset"], data.describe(dataset)
    if trained.get("split_hash") != here["split_hash"]:
        raise EvaluateError(
            f"dataset {here['version']}: expected the split the model was trained on ({trained.get('version')!r}, hash "
            f"{str(trained.get('split_hash'))[:12]}…), got hash {here['split_hash'][:12]}…: test images may have been "
            "trained on; train again (dvc repro finetune), or pass --other-split if you know the sets are disjoint"
        )
    found = [] if trained.get("transductive") else strangers(card)
    if found:
        raise EvaluateError(
            f"dataset {here['version']}: expected a model whose weights saw no other split, got one that began with "
            f"{' and '.join(lineage.told(name, before) for name, before in found)}: test images may be among what "
            "those saw; pretrain and train again on this split (dvc repro pretrain finetune), or pass --other-split: "
            "the result is marked transductive"
        )


def strangers(card: dict[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What a model began with that saw another split than the model's own (lineage.strangers)."""
    here = card["dataset"].get("split_hash") or ""
    return lineage.strangers(str(card.get("recipe", {}).get("init", "")), card.get("start"), here) if here else []


def transductive(card: dict[str, Any]) -> bool:
    """True if val or test pictures were seen on the way to these weights, or another split of the pictures was."""
    along = lineage.way("", card)
    marked = any(isinstance(about := found.get("dataset"), dict) and about.get("transductive") for _, found in along)
    return marked or bool(strangers(card))
