"""Pictures of the hard cases for curation/guide.md, drawn with the phantoms of the embedded sample.

Run:  python -m benchmarks.guide_pictures            # writes curation/guide/*.png, same bytes every time
Boxes as a curator would leave them: red COVID, blue NonCOVID; no box where none is to be drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from covidct.files import write_bytes
from curation import modality_drawn as drawn
from curation.modality_scans import abdomen_ct, head_ct
from harvest.sample.distractors import xray
from harvest.sample.phantom import FIELD, Patient, draw_patient, render
from harvest.sample.picture import WINDOWS, windowed

RED, BLUE = (192, 57, 43), (36, 113, 163)
WIDE, HIGH = 220, 160
Box = tuple[int, int, int, int]


def ct(patient: Patient, t: float = 0.55, window: str = "lung", size: int = 320) -> np.ndarray:
    """One slice, cut to the body: uint8 HIGH x WIDE x 3."""
    grey = windowed(render(patient, t, size), *WINDOWS[window])
    scale, an = size / FIELD, patient.anatomy
    x0, x1 = (int((FIELD / 2 + s * (an.a + 10)) * scale) for s in (-1, 1))
    y0, y1 = (int((FIELD / 2 + s * (an.b + 12)) * scale) for s in (-1, 1))
    return fitted(grey[max(0, y0) : y1, max(0, x0) : x1])


def fitted(picture: np.ndarray, width: int = WIDE, height: int = HIGH) -> np.ndarray:
    """Any picture as RGB of one size."""
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2) if small.ndim == 2 else small


def beside(*tiles: np.ndarray, gap: int = 6) -> np.ndarray:
    """Tiles in a row on white."""
    space = np.full((tiles[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (space, tile)][1:], axis=1)


def say(picture: np.ndarray, text: str, at: tuple[int, int], scale: float = 0.5) -> np.ndarray:
    """Text burned in, white on a black edge."""
    for ink, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)
    return picture


def boxed(picture: np.ndarray, *boxes: tuple[Box, tuple[int, int, int]]) -> np.ndarray:
    """Boxes drawn 2 pixels wide."""
    for (x0, y0, x1, y1), ink in boxes:
        cv2.rectangle(picture, (x0 + 1, y0 + 1), (x1 - 2, y1 - 2), ink, 2)
    return picture


def nth(number: int) -> Box:
    """Box of the tile of that number in a row."""
    x = number * (WIDE + 6)
    return (x, 0, x + WIDE, HIGH)


def coronal(patient: Patient) -> np.ndarray:
    """A reformation: the middle row of many slices."""
    levels = np.linspace(0.95, 0.12, 80)
    rows = [windowed(render(patient, float(t), 160), *WINDOWS["lung"])[88] for t in levels]
    return fitted(np.stack(rows))


def cases() -> dict[str, np.ndarray]:
    """File name -> picture."""
    sick, well = draw_patient(7, "guide-sick", "covid"), draw_patient(7, "guide-well", "normal")
    rng = np.random.default_rng(7)
    control = beside(say(ct(sick), "A", (8, 20)), say(ct(well), "B", (8, 20)))
    plain, pointed = ct(sick, 0.5), ct(sick, 0.5)
    for tip, tail in (((60, 92), (34, 70)), ((164, 104), (192, 82))):
        cv2.arrowedLine(pointed, tail, tip, (255, 255, 255), 2, cv2.LINE_AA, 0, 0.4)
    chest = fitted(xray(rng))
    named = say(say(ct(sick, 0.6), "DOE, JANE  F 061Y", (6, 14), 0.36), "ID 0042-17", (6, HIGH - 6), 0.36)
    ruled = ct(sick, 0.6)
    for n in range(9):
        cv2.line(ruled, (WIDE - 12 + 4 * (n % 4 > 0), 40 + 9 * n), (WIDE - 4, 40 + 9 * n), (255, 255, 255), 1)
    grey = ct(sick, 0.55)[..., 0]
    return {
        "control": boxed(control, (nth(0), RED), (nth(1), BLUE)),
        "arrows": boxed(beside(plain, pointed), (nth(0), RED)),
        "radiograph": boxed(beside(ct(sick), chest), (nth(0), RED)),
        "windows": boxed(beside(ct(sick), ct(sick, window="mediastinal")), (nth(0), RED)),
        "planes": boxed(beside(ct(sick), coronal(sick)), (nth(0), RED)),
        "overlay": beside(fitted(drawn.heat_map(grey, rng)), fitted(drawn.mask_over(grey, grey < 90, rng))),
        "others": beside(fitted(head_ct(rng)), fitted(abdomen_ct(rng))),
        "personal": boxed(beside(named), ((0, 20, WIDE, HIGH - 18), RED)),
        "ruler": boxed(beside(ruled), ((0, 0, WIDE - 14, HIGH), RED)),
    }


def main() -> None:
    """Write the pictures as PNG of at most 32 colours, so that they stay small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("curation/guide"))
    from io import BytesIO

    from PIL import Image

    out = parser.parse_args().out
    for name, picture in cases().items():
        content = BytesIO()
        Image.fromarray(picture).quantize(32, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
        write_bytes(out / f"{name}.png", content.getvalue())
        print(f"{out / name}.png: {picture.shape[1]} x {picture.shape[0]}, {len(content.getvalue())} bytes")


if __name__ == "__main__":
    main()
