"""Stage `gradcam`: heat maps of several classifiers side by side (Figure 5), and how much heat lies inside the lungs.

Reads   ``--dataset`` (COVID images of test), ``--finetune`` with a classifier's folder per ``--runs``.
Writes  ``--out``: figure-5.png (seven columns for three runs: the picture, then heat and overlay of each), heat.csv
        (one row per image and run), metrics.json (mean share of heat inside the lungs per run, with patient intervals),
        failed.jsonl (images in which no lungs were found).
Guarantees  the images are chosen by their order, not by their looks: evenly over the COVID patients of test.

Grad-CAM (reference 58) by the library `grad-cam`, for the class COVID, at the last layer with a map.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image, ImageDraw
from torch import Tensor, nn

import covidct
from covidct import pictures
from covidct.commands import new_app
from covidct.files import write_bytes, write_json, write_lines, write_text
from covidct.reader import Subset
from models import backbones, checkpoint, data
from models import vision as _vision  # noqa: F401  the library imports torchvision
from models.errors import guarded
from models.lungmask import lung_mask, share_inside
from models.reading import check_split, covid_index, evaluation, transductive
from models.tables import csv_text

log = logging.getLogger(__name__)

CELL, GAP, LINE = 160, 4, 13
"""pixels of the figure: side of a picture, space between, height of a line of text"""
LETTERS = 26
"""letters that a column holds"""


class GradCamError(ValueError):
    """Heat maps cannot be drawn: says what, expected, got and the next step."""


def heat_maps(model: nn.Module, card: dict[str, Any], images: Tensor, batch: int = 16) -> np.ndarray:
    """Grad-CAM for COVID: float32 N×S×S in 0…1 of uint8 pictures N×1×S×S, squeezed to the network's size.

    Each map is scaled to its own maximum; a map of zeros means that nothing speaks for COVID. Raises EvaluateError for
    an encoder or a network of other classes.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    transform, covid = evaluation(card), covid_index(card)
    layer = model.get_submodule(backbones.describe(card["backbone"]).layer)
    rows = []
    with GradCAM(model=model.eval(), target_layers=[layer]) as cam:
        for part in images.split(batch):
            inputs = transform(part)
            rows.append(cam(input_tensor=inputs, targets=[ClassifierOutputTarget(covid)] * len(part)))
    return np.concatenate(rows).astype(np.float32)


def write_overlay(model: nn.Module, card: dict[str, Any], images: Tensor, grey: np.ndarray, out: Path) -> Path:
    """Write the heat over one picture as PNG: ``images`` uint8 1×1×S×S for the network, ``grey`` uint8 H×W to show."""
    heat = heat_maps(model, card, images)[0]
    write_bytes(out, png(overlay(grey, heat)))
    return out


def coloured(heat: np.ndarray) -> np.ndarray:
    """uint8 H×W×3 of heat H×W in 0…1."""
    from matplotlib import colormaps

    return (colormaps["jet"](heat)[..., :3] * 255).round().astype(np.uint8)


def overlay(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Half picture, half heat, uint8 H×W×3 in the size of ``grey``."""
    height, width = grey.shape
    wide = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    mixed = 0.5 * np.repeat(grey[..., None], 3, axis=2) + 0.5 * coloured(np.clip(wide, 0, 1))
    return mixed.round().astype(np.uint8)


def choose(subset: Subset, count: int) -> list[int]:
    """Rows of up to ``count`` COVID images, each of another patient, evenly over the table's order."""
    records = subset.records
    firsts = records[records["label"] == 1].drop_duplicates("patient_id").index.to_numpy()
    if not len(firsts) or count < 1:
        raise GradCamError(f"{subset.name}: expected COVID images, got {len(firsts)} patients with --images {count}")
    picks = np.unique(np.linspace(0, len(firsts) - 1, min(count, len(firsts))).round().astype(int))
    return [int(row) for row in firsts[picks]]


def figure(
    rows: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]], titles: Sequence[str], names: Sequence[str] = ()
) -> np.ndarray:
    """Figure 5: a row per picture (uint8 H×W and its heat per run); columns: picture, then heat and overlay per run.

    ``names``: what stands under each row, the image's id.
    """
    columns = 1 + 2 * len(titles)
    heads = [["picture"]] + [lines for title in titles for lines in (wrapped(title), ["over the picture"])]
    head = (1 + max(len(lines) for lines in heads)) * LINE + GAP
    high = CELL + GAP + (LINE if names else 0)
    canvas = Image.new("RGB", (columns * (CELL + GAP) + GAP, head + len(rows) * high + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for column, lines in enumerate(heads):
        for at, text in enumerate([f"({column + 1})", *lines]):
            draw.text((GAP + column * (CELL + GAP) + 2, 2 + at * LINE), text, fill="black")
    for line, (grey, heats) in enumerate(rows):
        cells = [np.repeat(grey[..., None], 3, axis=2)]
        for heat in heats:
            cells += [coloured(heat), overlay(grey, heat)]
        for column, cell in enumerate(cells):
            small = Image.fromarray(cell).resize((CELL, CELL), Image.Resampling.BILINEAR)
            canvas.paste(small, (GAP + column * (CELL + GAP), head + line * high))
        if names:
            draw.text((GAP + 2, head + line * high + CELL), names[line], fill="black")
    return np.asarray(canvas)


def marked(name: str, figures: Mapping[str, Any]) -> str:
    """A run's name; where pictures of val or test were seen on the way to its first weights it says so."""
    return f"{name} (transductive)" if figures.get("transductive") else name


def wrapped(title: str) -> list[str]:
    """A run's name in lines of at most LETTERS, broken after hyphens where there are any."""
    lines = [""]
    for part in re.findall(r"[^-]+-?|-", title):
        if lines[-1] and len(lines[-1]) + len(part) > LETTERS:
            lines.append("")
        lines[-1] += part
    return [line[:LETTERS] for line in lines]


def png(picture: np.ndarray) -> bytes:
    """PNG bytes of uint8 H×W×3, no metadata."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def measure(subset: Subset, greys: Sequence[np.ndarray], heats: np.ndarray) -> list[dict[str, Any]]:
    """Share of heat inside the lungs, one row per image; where no lungs are found the share is NaN."""
    rows = []
    for (_, record), grey, heat in zip(subset.records.iterrows(), greys, heats, strict=True):
        mask = lung_mask(grey)
        wide = np.asarray(Image.fromarray(heat).resize(grey.shape[::-1], Image.Resampling.BILINEAR))
        rows.append(
            {
                "image_id": record["image_id"],
                "patient_id": record["patient_id"],
                "lung_area": float("nan") if mask is None else float(mask.mean()),
                "inside": float("nan") if mask is None else share_inside(np.maximum(wide, 0), mask),
            }
        )
    return rows


def summary(rows: Sequence[dict[str, Any]], replicates: int, seed: int) -> dict[str, Any]:
    """Mean share inside over images with lungs and heat, its interval over patients, and what even heat would give."""
    used = [row for row in rows if not np.isnan(row["inside"])]
    if not used:
        return {"images": 0, "inside": None, "interval": None, "even_heat": None}
    values, patients = np.array([row["inside"] for row in used]), np.array([row["patient_id"] for row in used])
    members = [np.flatnonzero(patients == name) for name in np.unique(patients)]
    rng = np.random.default_rng(seed)
    means = [
        values[np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])].mean()
        for _ in range(replicates)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "images": len(used),
        "inside": round(float(values.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "even_heat": round(float(np.mean([row["lung_area"] for row in used])), 4),
    }


app = new_app()


@app.command()
@guarded
def main(
    dataset: Path = typer.Option(..., help="folder with records.csv"),
    finetune: Path = typer.Option(..., help="folder of the classifiers, one folder per run"),
    out: Path = typer.Option(..., help="folder of the figure and the measures"),
    runs: list[str] = typer.Option(..., help="classifiers to compare, e.g. random, ImageNet, Self-Trans; repeat"),
    images: int = typer.Option(4, help="rows of the figure"),
    replicates: int = typer.Option(2000, min=1, help="bootstrap resamples of patients"),
    seed: int = typer.Option(0, min=0, help="of the bootstrap"),
) -> None:
    """Draw Figure 5 and measure the heat inside the lungs."""
    found = covidct.load(dataset)
    run(found, [(name, *checkpoint.load(finetune / name)) for name in runs], out, images, replicates, seed)


def run(
    dataset: covidct.Dataset,
    models: Sequence[tuple[str, nn.Module, dict[str, Any]]],
    out: Path,
    images: int,
    replicates: int,
    seed: int,
) -> None:
    """The stage on loaded models; writes its files."""
    for _, _, card in models:  # before any picture is read
        check_split(dataset, card)
        covid_index(card)
    test = dataset.test
    shown = choose(test, images)
    covid = Subset(test.root, test.records[test.records["label"] == 1], "COVID images of test")
    chosen = [int(np.flatnonzero(covid.records["image_id"] == test.records["image_id"][row])[0]) for row in shown]
    greys = [pictures.to_grey(covid[index][0]) for index in range(len(covid))]
    table: list[dict[str, Any]] = []
    heats, figures = [], {}
    for name, model, card in models:
        found = heat_maps(model, card, data.load_arrays(covid, evaluation(card).size))
        heats.append(found)
        rows = measure(covid, greys, found)
        figures[name] = summary(rows, replicates, seed) | ({"transductive": True} if transductive(card) else {})
        table += [{"run": name, **row} for row in rows]
    names = [str(covid.records["image_id"][index]) for index in chosen]
    drawn = [(greys[index], [maps[index] for maps in heats]) for index in chosen]
    write_bytes(out / "figure-5.png", png(figure(drawn, [marked(name, figures[name]) for name in figures], names)))
    lines = [
        {k: "" if v != v else round(v, 4) if isinstance(v, float) else v for k, v in line.items()} for line in table
    ]
    columns = ("run", "image_id", "patient_id", "lung_area", "inside")
    write_text(out / "heat.csv", csv_text(lines, columns))
    write_json(out / "metrics.json", figures)
    lungless = sorted({line["image_id"] for line in table if np.isnan(line["lung_area"])})
    write_lines(out / "failed.jsonl", [{"item": name, "reason": "no lungs found"} for name in lungless])
    for name, values in figures.items():
        log.info("%s: %s of the heat inside the lungs (even heat: %s)", name, values["inside"], values["even_heat"])


if __name__ == "__main__":
    app()
