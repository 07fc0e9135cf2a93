"""Personal data: how much identifying text burned into slices is found, how much harmless text is taken for it.

    python -m benchmarks.curation_personal --slices SLICES [--count 4] [--seed 0]

Every text is drawn ``count`` times on slices of the subjects that `curation.artifacts_fit` keeps out, at 256 and 512
pixels, in a corner as a scanner burns it in, white or yellow, in one of two typefaces. Prints the share found (95 %
Wilson interval), the false alarms on harmless text and on clean slices, and seconds of processor time per picture.
"""

from __future__ import annotations

import os
import resource
import time
import zlib
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from benchmarks.duplicates import wilson
from curation import personal
from curation.artifacts_drawn import faces
from curation.artifacts_fit import subject_of
from curation.raster import grey, read

PERSONAL = (
    "DOB: 12.03.1958", "1958/03/21", "21-MAR-1958", "Birth date 12/03/1958", "WANG^LI", "DOE, JANE", "Name: Smith John",
    "Patient ID: 0048213", "MRN: 884213", "063Y F",
)  # fmt: skip
HARMLESS = (
    "Se: 3 Im: 42", "W 1500 L -600", "kV 120 mA 210", "10:42:17", "SP -312.4", "DFOV 35.0cm", "CHEST, ROUTINE",
    "Zoom 1.25", "R", "Image 12/345",
)  # fmt: skip


def burned(clean: np.ndarray, text: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A slice (H x W) at ``side`` pixels with ``text`` in a corner: H x W x 3."""
    page = Image.fromarray(cv2.resize(clean, (side, side), interpolation=cv2.INTER_CUBIC)).convert("RGB")
    size = int(side * rng.uniform(0.035, 0.05)) + 4
    face = str(rng.choice(faces()))
    font = ImageFont.truetype(face, size) if face else ImageFont.load_default(size)
    draw = ImageDraw.Draw(page)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = 4 if rng.random() < 0.5 else max(0, side - int(right - left) - 6)
    y = 4 if rng.random() < 0.5 else side - int(bottom - top) - 8
    draw.text((x, y), text, fill=(255, 255, 255) if rng.random() < 0.8 else (255, 255, 0), font=font)
    return np.asarray(page)


def seconds() -> float:
    """Processor time so far, Tesseract's included."""
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def main(
    slices: Annotated[Path, typer.Option(help="folder of clean slices (LUNA16)")],
    count: Annotated[int, typer.Option(help="pictures for each text and size")] = 2,
    seed: int = 0,
) -> None:
    """Print what `curation.personal` finds."""
    os.environ.setdefault("OMP_THREAD_LIMIT", "1")
    paths = [p for p in sorted(slices.rglob("*.png")) if not zlib.crc32(subject_of(p).encode()) % 5]
    rng = np.random.default_rng(seed)
    begin, read_so_far = seconds(), 0
    for side in (256, 512):
        for name, texts in (("personal", PERSONAL), ("harmless", HARMLESS)):
            hits, missed = 0, []
            for text in texts:
                for _ in range(count):
                    found = personal.find(burned(grey(read(paths[int(rng.integers(len(paths)))])), text, side, rng))
                    hits += bool(found)
                    missed += [text] if bool(found) != (name == "personal") else []
            read_so_far += count * len(texts)
            print(
                f"{name} at {side} px: found {wilson(hits, count * len(texts))}; wrong: {', '.join(missed) or 'none'}"
            )
    chosen = [paths[int(i)] for i in rng.permutation(len(paths))[: 10 * count]]
    false = sum(bool(personal.find(grey(read(p)))) for p in chosen)
    print(f"clean slices: found {wilson(false, len(chosen))}")
    print(f"{(seconds() - begin) / (read_so_far + len(chosen)):.2f} s of processor a picture")


if __name__ == "__main__":
    typer.run(main)
