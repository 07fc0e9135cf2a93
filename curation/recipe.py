"""Curated images without their pixels: the panel's box and the repaired mask, on top of a recipe of figures.

    python -m curation.recipe export --images data/images --figures recipe.jsonl --out images.jsonl
    python -m curation.recipe restore --recipe images.jsonl --figures restored --out DIR

With `harvest.recipe` a second machine that harvests for itself ends in the same images, checked pixel by pixel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from covidct.files import inside, sha256_bytes, write_bytes
from covidct.pictures import PictureError, encode, open_picture, to_grey
from covidct.records import read_records
from curation import artifacts
from curation.tasks import TaskError, decode_mask, encode_mask
from harvest.errors import HarvestError
from harvest.options import guarded, new_app
from harvest.recipe import Line
from harvest.records import Failure, Figure, Record, read_jsonl, write_jsonl

log = logging.getLogger(__name__)
app = new_app()


class ImageLine(Record):
    """One image of a recipe."""

    image_id: str
    figure_id: str
    box: tuple[int, int, int, int]
    """of the panel in the figure's picture, pixels"""
    mask: str = ""
    """what was repaired, as run lengths in the panel; '' for nothing"""
    label_name: str
    patient_id: str
    split: str = ""
    licence: str = ""
    sha256: str
    """of the image's file"""


def export(images: Path, figures: Path) -> Iterator[ImageLine]:
    """The recipe of the images stage's results, for the figures that have a recipe themselves."""
    known = {line.figure_id for line in read_jsonl(figures, Line)}
    for row in read_records(images / "records.csv").itertuples():
        figure = next((name for name in (row.image_id, str(row.image_id).rpartition("%")[0]) if name in known), "")
        if not figure:
            log.warning("%s: its figure is not in %s; it cannot be part of a recipe", row.image_id, figures)
            continue
        mask = ""
        path = inside(images, f"masks/{row.image_id}.png")
        if path.is_file():
            with Image.open(path) as picture:
                mask = encode_mask(np.asarray(picture.convert("L")) > 127)
        x0, y0, x1, y1 = (int(part) for part in str(row.box).split())
        yield ImageLine(
            image_id=str(row.image_id),
            figure_id=str(figure),
            box=(x0, y0, x1, y1),
            mask=mask,
            label_name=str(row.label_name),
            patient_id=str(row.patient_id),
            split=str(row.split),
            licence=str(row.licence),
            sha256=str(row.sha256),
        )


def restore(line: ImageLine, picture: Path) -> bytes:
    """The image's file, made from its figure's picture. Raises HarvestError if it is not the recipe's."""
    grey = to_grey(open_picture(picture))
    x0, y0, x1, y1 = line.box
    if not (0 <= x0 < x1 <= grey.shape[1] and 0 <= y0 < y1 <= grey.shape[0]):
        raise HarvestError(f"expected a picture that holds the box {line.box}, got {grey.shape[1]}×{grey.shape[0]}")
    part = np.ascontiguousarray(grey[y0:y1, x0:x1])
    content = encode(artifacts.repair(part, decode_mask(line.mask, (part.shape[0], part.shape[1]))))
    if sha256_bytes(content) != line.sha256:
        raise HarvestError(f"expected SHA-256 {line.sha256[:12]}…, got {sha256_bytes(content)[:12]}…")
    return content


@app.command("export")
@guarded
def export_command(
    images: Annotated[Path, typer.Option(help="folder of the images stage")],
    figures: Annotated[Path, typer.Option(help="recipe of the figures, by harvest.recipe export")],
    out: Annotated[Path, typer.Option(help="recipe to write (.jsonl)")],
) -> None:
    """Write the recipe of curated images: no pixels."""
    log.info("%d images in %s", write_jsonl(out, export(images, figures)), out)


@app.command("restore")
@guarded
def restore_command(
    recipe: Annotated[Path, typer.Option(help="recipe of the images (.jsonl)")],
    figures: Annotated[Path, typer.Option(help="folder that harvest.recipe restore wrote")],
    out: Annotated[Path, typer.Option(help="folder for images/ and failed.jsonl")],
) -> None:
    """Make the recipe's images of restored figures."""
    files = {figure.figure_id: figure.file for figure in read_jsonl(figures / "figures.jsonl", Figure)}
    done, failed = 0, []
    for line in read_jsonl(recipe, ImageLine):
        try:
            if line.figure_id not in files:
                raise HarvestError(f"figure {line.figure_id}: not among the restored ones")
            content = restore(line, inside(figures, files[line.figure_id]))
            write_bytes(inside(out, f"images/{line.image_id}.png"), content)
            done += 1
        except (HarvestError, PictureError, TaskError) as error:
            failed.append(Failure(item=line.image_id, reason=str(error)))
    write_jsonl(out / "failed.jsonl", failed)
    log.info("%d images restored, %d failed -> %s", done, len(failed), out)
    if failed and not done:
        raise HarvestError(f"none of {len(failed)} images could be restored; first: {failed[0].reason}")


if __name__ == "__main__":
    app()
