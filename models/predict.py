"""`covidct predict IMAGE…|DIR --model RUN`: P(COVID) for pictures, with the model's own preprocessing.

A picture that does not look like a single-patient chest CT is said to be none and gets no score; with
``--any-picture`` it gets one, and the remark stays beside it. Not a medical device.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn
from tqdm import tqdm

import models
from covidct import pictures
from covidct.commands import new_app
from covidct.files import write_json, write_text
from models import engine
from models.errors import told
from models.reading import chosen_threshold, covid_index, evaluation

log = logging.getLogger(__name__)

WARNING = (
    "Not a medical device: research software trained on a few hundred pictures from publications. "
    "Its output must not be used for diagnosis or treatment."
)
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"})
MANY = 20
"""pictures from which progress is shown"""
SMALLEST = 32
"""pixels: what is smaller shows nothing"""
LEAST = 0.5
"""modality score (curation.modality) from which a picture counts as a chest CT"""


class PredictError(ValueError):
    """Nothing can be predicted: says what, expected, got and the next step."""


@dataclass(frozen=True)
class Prediction:
    """One picture: its score, or why it has none."""

    file: str
    probability: float | None = None
    """P(COVID), by the network's softmax; not calibrated for any population"""
    called: str = ""
    """COVID or NonCOVID at the model's threshold, chosen on its validation split"""
    ct_score: float | None = None
    """how much this looks like a chest CT, 0…1; None: not checked"""
    problem: str = ""
    """why there is no score, or what speaks against the one there is"""
    heat_map: str = ""


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Pictures: files as named, folders searched (not below) by file ending, in order of name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            yield path


def predict(
    model: nn.Module,
    card: dict[str, Any],
    files: Iterable[Path],
    *,
    any_picture: bool = False,
    heat_maps: Path | None = None,
) -> Iterator[Prediction]:
    """Score pictures one by one (memory does not grow with their number).

    ``any_picture``: score also what does not look like a chest CT. ``heat_maps``: folder for Grad-CAM overlays.
    Raises EvaluateError for an encoder or a network of other classes.
    """
    transform, threshold, covid = evaluation(card), chosen_threshold(card), covid_index(card)
    names = card["class_names"]
    taken: set[str] = set()
    for file in files:
        try:
            picture = pictures.open_picture(file)
            grey = pictures.to_grey(picture)
        except pictures.PictureError as error:
            yield Prediction(str(file), problem=str(error))
            continue
        ct_score, problem = looked_at(picture)
        if problem and not any_picture and ct_score is not None:
            yield Prediction(str(file), ct_score=ct_score, problem=problem)
            continue
        squeezed = Image.fromarray(grey).resize((transform.size, transform.size), Image.Resampling.BILINEAR)
        images = torch.from_numpy(np.array(squeezed))[None, None]
        probability = float(engine.probabilities(model, images, transform)[0, covid])
        called = names[covid] if probability >= threshold else names[1 - covid]
        drawn = ""
        if heat_maps is not None:
            drawn = str(heat_map(model, card, images, grey, heat_maps / free_name(file, taken)))
        yield Prediction(str(file), probability, called, ct_score, problem, drawn)


def looked_at(picture: Image.Image) -> tuple[float | None, str]:
    """How much a picture looks like a chest CT, and what to say of it; nothing to say: ``""``."""
    if min(picture.size) < SMALLEST:
        return 0.0, f"expected a picture of at least {SMALLEST} pixels each way, got {picture.width}×{picture.height}"
    score = modality(np.asarray(picture.convert("RGB")))
    if score is None:
        return None, "not checked whether this is a chest CT: pip install 'covidct[curation]'"
    if score < LEAST:
        return score, (
            f"does not look like a single-patient chest CT (score {score:.2f}, expected {LEAST} or more): "
            "crop a figure to one CT picture, or pass --any-picture"
        )
    return score, ""


def free_name(file: Path, taken: set[str]) -> str:
    """``<stem>-heat.png``; of pictures that share a stem the later ones get a number."""
    name, number = f"{file.stem}-heat.png", 1
    while name in taken:
        number += 1
        name = f"{file.stem}-{number}-heat.png"
    taken.add(name)
    return name


def modality(pixels: np.ndarray) -> float | None:
    """How much a uint8 H×W×3 picture looks like a single-patient chest CT, 0…1; None without the extra `curation`."""
    try:
        from curation.modality import score
    except ImportError:
        return None
    return float(score(pixels))


def heat_map(model: nn.Module, card: dict[str, Any], images: torch.Tensor, grey: np.ndarray, out: Path) -> Path:
    """Write the Grad-CAM overlay of one picture; returns its path."""
    from models import gradcam

    return gradcam.write_overlay(model, card, images, grey, out)


def about(card: dict[str, Any]) -> dict[str, Any]:
    """Which model answered, so that a file of answers can be traced."""
    return {
        "backbone": card["backbone"],
        "dataset": card["dataset"],
        "threshold": chosen_threshold(card),
        "licence": card["licence"],
        "weights_sha256": card.get("weights_sha256", ""),
    }


def as_csv(rows: list[Prediction]) -> str:
    """CSV text of predictions."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows]).to_csv(index=False, lineterminator="\n", float_format="%.6f")


app = new_app()


@app.command()
def main(
    images: list[Path] = typer.Argument(..., help="pictures, or folders of pictures"),
    model: Path = typer.Option(..., help="a run in data/finetune, or the folder of any classifier"),
    out: Path | None = typer.Option(None, help="write the answers to this .csv or .json file"),
    heat_maps: Path | None = typer.Option(None, help="folder for Grad-CAM overlays"),
    any_picture: bool = typer.Option(False, help="score also what does not look like a chest CT"),
) -> None:
    """P(COVID) of pictures by a trained model. Not a medical device."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    log.warning("%s", WARNING)
    with told(log):
        if out is not None and out.suffix not in (".csv", ".json"):
            raise PredictError(f"--out {out}: expected a file ending in .csv or .json")
        network, card = models.load(model)
        files = list(find(images))
        if not files:
            raise PredictError(
                f"{', '.join(map(str, images))}: expected pictures, got none ({', '.join(sorted(SUFFIXES))})"
            )
        shown = tqdm(files, disable=None if len(files) >= MANY else True, unit="picture")
        rows = list(predict(network, card, shown, any_picture=any_picture, heat_maps=heat_maps))
    if any(row.ct_score is None and row.probability is not None for row in rows):
        log.warning("Whether these are chest CTs was not checked: pip install 'covidct[curation]'")
    if out is None:
        show(rows)
    elif out.suffix == ".json":
        found = {"warning": WARNING, "model": about(card), "predictions": [asdict(row) for row in rows]}
        write_json(out, found)
    else:
        write_text(out, as_csv(rows))
    scored = sum(row.probability is not None for row in rows)
    log.info(
        "%d of %d pictures scored by %s; called COVID from %.3f, chosen on its validation split",
        scored, len(rows), model, chosen_threshold(card),
    )  # fmt: skip
    if not scored:
        raise typer.Exit(1)


def show(rows: list[Prediction]) -> None:
    """A table on the terminal."""
    table = Table("picture", "P(COVID)", "called", "CT score", "")
    for row in rows:
        score, ct = ("" if value is None else f"{value:.3f}" for value in (row.probability, row.ct_score))
        table.add_row(Text(Path(row.file).name), score, row.called, ct, Text(row.problem))
    Console().print(table)


if __name__ == "__main__":
    app()
