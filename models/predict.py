"""`covidct predict IMAGE…|DIR --model RUN`: P(COVID) for pictures, with the model's own preprocessing.

A picture that does not look like a single-patient chest CT is said to be none and gets no score, and neither does a
stack of pictures; with ``--any-picture`` it gets one, and the remark stays beside it. Not a medical device.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from PIL import Image, ImageOps
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
NOTICE = "not a medical device: not for diagnosis or treatment"
"""beside every row of a CSV file, whose rows travel alone; a comment line would break those who read it"""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"})
MANY = 20
"""pictures from which progress is shown"""
SMALLEST = 32
"""pixels: what is smaller shows nothing"""
LEAST = 0.5
"""modality score (curation.modality) from which a picture counts as a chest CT"""
STACKS = frozenset({"GIF", "TIFF", "PNG", "WEBP"})
"""formats whose further frames are pictures of their own; of a JPEG they are previews"""


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


def check(paths: Iterable[Path]) -> list[Path]:
    """The pictures that paths stand for; raises PredictError if there is none, and says where they may be.

    Folders with pictures that are not looked into, and paths that are not there beside others, are warned of.
    """
    named = list(paths)
    gone = [path for path in named if not path.exists()]
    if len(gone) == len(named):
        raise PredictError(f"{_list(gone)}: expected a picture or a folder of pictures, got nothing there")
    for path in gone:
        log.warning("%s: expected a picture or a folder of pictures, got nothing there", path)
    files, deeper = list(find(named)), [folder for path in named for folder in below(path)]
    skipped = f"folders inside a folder are not looked into; name them: {_list(deeper)}"
    if not files:
        more = f"; {skipped}" if deeper else ""
        raise PredictError(f"{_list(named)}: expected pictures, got none ({', '.join(sorted(SUFFIXES))}){more}")
    if deeper:
        log.warning("%s", skipped)
    return files


def below(path: Path) -> list[Path]:
    """Folders with pictures right inside a folder."""
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []
    return [folder for folder in folders if any(find([folder]))]


def _list(paths: list[Path], most: int = 5) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(map(str, paths[:most])) + more


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
            grey, frames = pictures.to_grey(picture), count(file)
        except pictures.PictureError as error:
            yield Prediction(str(file), problem=str(error))
            continue
        ct_score, problem = looked_at(seen(picture, grey))
        refused = bool(problem) and ct_score is not None
        if frames > 1:
            stack = f"holds {frames} pictures, of which only the first was looked at"
            problem = f"{stack}: save the one you mean by itself, or pass --any-picture{problem and '; '}{problem}"
            refused = True
        if refused and not any_picture:
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


def count(file: Path) -> int:
    """How many pictures a file holds, of the formats that hold stacks; a damaged end counts as none."""
    try:
        with Image.open(file, formats=pictures.FORMATS) as image:
            return int(getattr(image, "n_frames", 1)) if image.format in STACKS else 1
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError):
        return 1  # its first picture has been read


def seen(picture: Image.Image, grey: np.ndarray) -> np.ndarray:
    """What the network gets (``grey``, uint8 H×W), in colour where there is any: uint8 H×W×3.

    Turned as the EXIF data say, 16 bits scaled to 8, transparency over white; see covidct.pictures.to_grey.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        page = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(page, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def looked_at(pixels: np.ndarray) -> tuple[float | None, str]:
    """How much a uint8 H×W×3 picture looks like a chest CT, and what to say of it; nothing to say: ``""``."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        return 0.0, f"expected a picture of at least {SMALLEST} pixels each way, got {width}×{height}"
    score = modality(pixels)
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
    """CSV text of predictions; the last column says in each row what they must not be used for."""
    import pandas as pd

    return pd.DataFrame([asdict(row) | {"warning": NOTICE} for row in rows]).to_csv(
        index=False, lineterminator="\n", float_format="%.6f"
    )


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
        files = check(images)
        network, card = models.load(model)
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
        log.error("no picture got a score; the first: %s: %s", rows[0].file, rows[0].problem)
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
