"""Marks drawn on clean slices and the pixels they changed: what `curation.artifacts` learns from and is measured on.

Letters, words, scanner text, arrows, arrowheads, rings, boxes, asterisks, rulers, scale bars and plates in white,
black, grey and colours. Every function takes a random generator; the same generator gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Rng = np.random.Generator
HERSHEY = tuple(range(8))
"""OpenCV's stroke fonts"""
WORDS = ("Lung", "RUL", "LLL", "Day", "case", "Pt", "Axial", "SE", "IM", "WL", "WW", "mA", "kV", "cm", "HU", "Fig", "R")
SCANNER = (
    "Se: 3",
    "Im: 42",
    "W 1500 L -600",
    "kV 120",
    "mA 210",
    "Zoom 1.2",
    "512 x 512",
    "Tilt 0.0",
    "AXIAL",
    "5.00mm",
    "DFOV 35.0cm",
    "CHEST",
    "HOSPITAL",
    "10:42:17",
    "THORAX 1.25",
    "FFS",
    "SP -312.4",
    "LUNG",
    "A",
    "P",
    "R",
    "L",
)
SEEN = 12
"""grey levels a pixel must differ from the slice to be visibly changed"""
EDGE = 0.03
"""share of a pixel under a mark from which its soft edge belongs to it: repair must replace it, too"""


@dataclass(frozen=True)
class Marked:
    """A slice with marks (uint8, H x W or H x W x 3), the slice before, and which pixels belong to marks."""

    image: np.ndarray
    clean: np.ndarray
    change: np.ndarray
    """uint8 H x W: grey levels by which marks changed a pixel, the largest of its channels"""
    covered: np.ndarray
    """bool H x W: under a mark or its soft edge, seen or not (white on white bone)"""
    kinds: tuple[str, ...]

    @property
    def mask(self) -> np.ndarray:
        """bool H x W: visibly changed by a mark."""
        return np.asarray(self.change > SEEN)


@cache
def faces() -> tuple[str, ...]:
    """Paths of typefaces that Matplotlib carries, '' for Pillow's own; only '' where Matplotlib is absent."""
    try:
        import matplotlib
    except ImportError:
        return ("",)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol")
    return ("", "", *(str(folder / f"{name}.ttf") for name in names if (folder / f"{name}.ttf").is_file()))


def _text(rng: Rng, shape: tuple[int, int], words: str, size: float, at: tuple[int, int]) -> np.ndarray:
    """Coverage 0..1 of a text of letter height ``size`` whose left upper corner is ``at``."""
    cover = np.zeros(shape, np.uint8)
    if rng.random() < 0.45:
        font = int(rng.choice(HERSHEY))
        thick = int(max(1, round(size / rng.uniform(6, 18))))
        scale = cv2.getFontScaleFromHeight(font, max(4, int(size)), thick)
        kind = cv2.LINE_AA if rng.random() < 0.6 else cv2.LINE_8
        cv2.putText(cover, words, (at[0], at[1] + int(size)), font, scale, 255, thick, kind)
        return cover / np.float32(255)
    face = str(rng.choice(faces()))
    pixels = max(6, round(size * 1.35))
    font_ = ImageFont.truetype(face, pixels) if face else ImageFont.load_default(pixels)
    page = Image.fromarray(cover)
    ImageDraw.Draw(page).text(at, words, fill=255, font=font_)
    return np.asarray(page, dtype=np.float32) / 255


def _place(rng: Rng, shape: tuple[int, int]) -> tuple[int, int]:
    """Anywhere, or near a corner or an edge, as letters mostly are."""
    high, wide = shape
    if rng.random() < 0.5:
        return int(rng.uniform(0, 0.92) * wide), int(rng.uniform(0, 0.92) * high)
    x = int(rng.uniform(0, 0.06) * wide) if rng.random() < 0.6 else int(rng.uniform(0.75, 0.95) * wide)
    y = int(rng.uniform(0, 0.06) * high) if rng.random() < 0.6 else int(rng.uniform(0.8, 0.93) * high)
    return x, y


def letter(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A panel letter, sometimes with a number, brackets or a circle around it."""
    size = min(shape) * rng.uniform(0.03, 0.13)
    text = str(rng.choice(list("ABCDEFGHIJKLRabcdefgh123456")))
    style = rng.random()
    text = f"({text})" if style < 0.1 else f"{text}{rng.integers(1, 10)}" if style < 0.2 else text
    at = _place(rng, shape)
    cover = _text(rng, shape, text, size, at)
    if style > 0.93:
        middle = (at[0] + int(size * 0.4), at[1] + int(size * 0.6))
        ring = np.zeros(shape, np.uint8)
        cv2.circle(ring, middle, int(size * 0.95), 255, max(1, int(size / 10)), cv2.LINE_AA)
        cover = np.maximum(cover, ring / np.float32(255))
    return cover


def word(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A word or two: place, day, patient."""
    text = str(rng.choice(WORDS)) + (f" {rng.integers(1, 60)}" if rng.random() < 0.6 else "")
    return _text(rng, shape, text, min(shape) * rng.uniform(0.028, 0.08), _place(rng, shape))


def scanner(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """Lines of small text in one or two corners, as the scanner burns in."""
    cover = np.zeros(shape, np.float32)
    size = float(np.clip(min(shape) * rng.uniform(0.02, 0.04), 5, 40))
    for _ in range(int(rng.integers(1, 3))):
        left, top = rng.random() < 0.5, rng.random() < 0.5
        lines = int(rng.integers(1, 6))
        for n in range(lines):
            text = str(rng.choice(SCANNER))
            x = 2 if left else max(2, int(shape[1] - len(text) * size * 0.85))
            y = int(2 + n * size * 1.5) if top else int(shape[0] - (lines - n) * size * 1.5 - 2)
            cover = np.maximum(cover, _text(rng, shape, text, size, (x, y)))
    return cover


def arrow(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """An arrow of any direction: open or filled head, thin to fat shaft."""
    cover = np.zeros(shape, np.uint8)
    length = min(shape) * rng.uniform(0.03, 0.22)
    thick = int(rng.integers(1, 3)) if rng.random() < 0.3 else int(max(1, round(length / rng.uniform(5, 22))))
    angle = rng.uniform(0, 2 * np.pi)
    x, y = rng.uniform(0.1, 0.9) * shape[1], rng.uniform(0.1, 0.9) * shape[0]
    ahead = np.array([np.cos(angle), np.sin(angle)])
    tip = np.array([x, y]) + ahead * length
    if rng.random() < 0.4:
        ends = tuple(int(v) for v in (x, y)), tuple(int(v) for v in tip)
        kind = cv2.LINE_AA if rng.random() < 0.6 else cv2.LINE_8
        cv2.arrowedLine(cover, *ends, 255, thick, kind, 0, float(rng.uniform(0.2, 0.5)))
        return cover / np.float32(255)
    side = np.array([-ahead[1], ahead[0]])
    head, broad = length * rng.uniform(0.25, 0.5), length * rng.uniform(0.1, 0.25)
    neck = tip - ahead * head
    outline = np.array(
        [
            tip,
            neck + side * broad,
            neck + side * thick / 2,
            np.array([x, y]) + side * thick / 2,
            np.array([x, y]) - side * thick / 2,
            neck - side * thick / 2,
            neck - side * broad,
        ]
    )
    cv2.fillPoly(cover, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cover / np.float32(255)


def arrowhead(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A filled triangle, sometimes with a notch, sometimes several side by side."""
    cover = np.zeros(shape, np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 4))):
        size = min(shape) * rng.uniform(0.025, 0.07)
        centre = np.array([rng.uniform(0.1, 0.9) * shape[1], rng.uniform(0.1, 0.9) * shape[0]])
        ahead = np.array([np.cos(angle), np.sin(angle)])
        side = np.array([-ahead[1], ahead[0]])
        back = centre - ahead * size
        corners = [centre, back + side * size * rng.uniform(0.35, 0.6), back - side * size * rng.uniform(0.35, 0.6)]
        if rng.random() < 0.3:
            corners.insert(2, back + ahead * size * 0.35)
        cv2.fillPoly(cover, [np.round(np.array(corners) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cover / np.float32(255)


def ring(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A circle, an ellipse or a box around a finding; sometimes dashed."""
    cover = np.zeros(shape, np.uint8)
    centre = (int(rng.uniform(0.15, 0.85) * shape[1]), int(rng.uniform(0.15, 0.85) * shape[0]))
    axes = tuple(int(v) for v in min(shape) * rng.uniform(0.03, 0.18, 2))
    thick = int(max(1, round(min(shape) * rng.uniform(0.003, 0.014))))
    kind = cv2.LINE_AA if rng.random() < 0.6 else cv2.LINE_8
    if rng.random() < 0.3:
        corner = (centre[0] + axes[0], centre[1] + axes[1])
        cv2.rectangle(cover, (centre[0] - axes[0], centre[1] - axes[1]), corner, 255, thick, kind)
    elif rng.random() < 0.3:
        for start in range(0, 360, 24):
            cv2.ellipse(cover, centre, axes, 0, start, start + 13, 255, thick, kind)
    else:
        cv2.ellipse(cover, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, thick, kind)
    return cover / np.float32(255)


def symbol(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """Asterisk, cross, plus, dot or hash."""
    size = min(shape) * rng.uniform(0.04, 0.1)
    at = (int(rng.uniform(0.05, 0.9) * shape[1]), int(rng.uniform(0.05, 0.9) * shape[0]))
    return _text(rng, shape, str(rng.choice(list("*+x#"))), size, at)


def ruler(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A ruler with ticks along a side, or a scale bar with ends."""
    cover = np.zeros(shape, np.uint8)
    high, wide = shape
    thick = int(max(1, round(min(shape) * rng.uniform(0.002, 0.007))))
    if rng.random() < 0.4:
        x0, y = int(rng.uniform(0.05, 0.7) * wide), int(rng.uniform(0.85, 0.97) * high)
        x1, end = x0 + int(rng.uniform(0.1, 0.25) * wide), int(rng.uniform(0, 0.02) * high)
        cv2.line(cover, (x0, y), (x1, y), 255, thick * int(rng.integers(1, 4)))
        cv2.line(cover, (x0, y - end), (x0, y + end), 255, thick)
        cv2.line(cover, (x1, y - end), (x1, y + end), 255, thick)
        return cover / np.float32(255)
    x = int(wide * (rng.uniform(0.01, 0.06) if rng.random() < 0.5 else rng.uniform(0.9, 0.99)))
    y0, y1 = int(rng.uniform(0.15, 0.35) * high), int(rng.uniform(0.6, 0.9) * high)
    ticks = int(rng.integers(5, 21))
    if rng.random() < 0.7:
        cv2.line(cover, (x, y0), (x, y1), 255, thick)
    long = max(3, int(wide * rng.uniform(0.01, 0.03)))
    for n in range(ticks + 1):
        y = round(y0 + (y1 - y0) * n / ticks)
        end = x + (-1 if x > wide / 2 else 1) * (long if n % 5 == 0 else long // 2 + 1)
        cv2.line(cover, (x, y), (end, y), 255, thick)
    return cover.T / np.float32(255) if high == wide and rng.random() < 0.2 else cover / np.float32(255)


def line(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """A straight line, as of a measurement, with small ends."""
    cover = np.zeros(shape, np.uint8)
    a = rng.uniform(0.1, 0.9, 2) * shape[::-1]
    angle, length = rng.uniform(0, np.pi), min(shape) * rng.uniform(0.06, 0.35)
    b = a + length * np.array([np.cos(angle), np.sin(angle)])
    thick = int(max(1, round(min(shape) * rng.uniform(0.002, 0.009))))
    cv2.line(cover, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 255, thick, cv2.LINE_AA)
    return cover / np.float32(255)


KINDS: dict[str, Callable[[Rng, tuple[int, int]], np.ndarray]] = {
    "letter": letter,
    "word": word,
    "scanner text": scanner,
    "arrow": arrow,
    "arrowhead": arrowhead,
    "ring": ring,
    "symbol": symbol,
    "ruler": ruler,
    "line": line,
}


def tone(rng: Rng) -> np.ndarray:
    """RGB 0..255 of a mark: mostly white, then black (the hardest to see), a colour, a grey."""
    style = rng.random()
    if style < 0.46:
        return np.full(3, 255.0)
    if style < 0.68:
        return np.full(3, float(rng.choice([0, 0, 20])))
    if style < 0.74:
        return np.full(3, rng.uniform(190, 250))
    strong = [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255), (255, 128, 0), (0, 255, 255), (255, 0, 255)]
    colour = np.array(strong[int(rng.integers(len(strong)))], float)
    return np.clip(colour + rng.uniform(-60, 60, 3), 0, 255) if rng.random() < 0.5 else colour


def mark(image: np.ndarray, rng: Rng, count: int | None = None, kinds: tuple[str, ...] = ()) -> Marked:
    """Draw ``count`` marks (1 to 5) of ``kinds`` (any) on a slice: uint8, H x W or H x W x 3."""
    shape = (image.shape[0], image.shape[1])
    chosen = [str(rng.choice(kinds or tuple(KINDS))) for _ in range(count or int(rng.integers(1, 6)))]
    before = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
    shown = before.astype(np.float32)
    covered = np.zeros(shape, np.float32)
    colour = tone(rng)
    coloured = False
    for kind in chosen:
        if rng.random() < 0.5:
            colour = tone(rng)
        cover = KINDS[kind](rng, shape)
        edge = rng.random()
        if edge < 0.12:  # an outline or plate of the opposite tone, so that the mark shows on any ground
            contrast = np.full(3, 0.0 if colour.mean() > 110 else 255.0)
            solid = (cover > 0.3).astype(np.uint8)
            width = int(rng.integers(1, 3)) * 2 + 1
            around = cv2.dilate(solid, np.ones((width, width), np.uint8)).astype(np.float32)
            if edge < 0.04 and kind in ("letter", "word") and solid.any():
                x, y, w, h = cv2.boundingRect(solid)
                around[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3] = 1
            shown = (shown * (1 - around[..., None]) + contrast * around[..., None]).astype(np.float32)
            covered = np.maximum(covered, around)
        cover = np.multiply(cover, 1 if rng.random() < 0.85 else rng.uniform(0.6, 0.95), dtype=np.float32)
        shown = (shown * (1 - cover[..., None]) + colour * cover[..., None]).astype(np.float32)
        covered = np.maximum(covered, cover)
        coloured |= bool(np.ptp(colour) > 0)
    pixels = np.round(shown).astype(np.uint8)
    change = np.abs(pixels.astype(np.int16) - before).max(axis=2).astype(np.uint8)
    if image.ndim == 2 and not coloured:
        pixels = np.ascontiguousarray(pixels[..., 0])
    return Marked(pixels, image, change, (change > SEEN) | (covered > EDGE), tuple(chosen))
