"""From Hounsfield units to pictures as papers print them: windows, crops, panels, letters, arrows, compression.

Everything here is drawn from the figure's own random stream, which never sees a diagnosis or a source, so preprints,
articles and cases share one distribution of sizes, windows, marks and compression.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from harvest.sample.phantom import FIELD, Patient, render
from harvest.sample.rand import stream

PixelBox = tuple[int, int, int, int]
WINDOWS = {"lung": (-600.0, 1500.0), "mediastinal": (40.0, 400.0)}


@dataclass(frozen=True)
class Panel:
    """One panel of a figure with its truth; ``box`` in pixels of the figure."""

    box: PixelBox
    letter: str
    patient_id: str
    t: float
    window: str
    marks: tuple[PixelBox, ...]
    kind: str = "ct"


@dataclass(frozen=True)
class Picture:
    """A drawn figure: pixels (uint8, H×W or H×W×3 RGB), its panels, and how it is to be stored."""

    pixels: np.ndarray = field(repr=False)
    panels: tuple[Panel, ...]
    quality: int
    as_jpeg: bool
    separate: bool
    """true: the panels are separate images on the page, not one raster"""
    letters_above: tuple[str, ...] = ()
    """letters that stand over the panels, outside their boxes"""


@dataclass(frozen=True)
class Style:
    """How all panels of one figure look."""

    width: int
    margin: tuple[float, float, float, float]
    window: str
    shift: float
    stretch: float
    gutter: int
    gutter_grey: int
    letter_at: str
    letter_case: str
    letter_scale: float
    colour: bool
    marks: float
    quality: int
    as_jpeg: bool
    separate: bool
    frame: int

    @staticmethod
    def draw(rng: np.random.Generator) -> Style:
        """A style; the one place that decides what varies between figures."""
        return Style(
            width=int(rng.integers(236, 330)),
            margin=(
                float(rng.uniform(4, 18)),
                float(rng.uniform(4, 16)),
                float(rng.uniform(4, 18)),
                float(rng.uniform(6, 20)),
            ),
            window="mediastinal" if rng.random() < 0.04 else "lung",
            shift=float(rng.normal(0, 35)),
            stretch=float(rng.uniform(0.88, 1.15)),
            gutter=int(rng.choice([3, 4, 6, 8, 10])),
            gutter_grey=int(rng.choice([255, 255, 255, 0])),
            letter_at=str(rng.choice(["top-left", "top-left", "bottom-left", "top-right", "none", "above"])),
            letter_case=str(rng.choice(["upper", "upper", "lower"])),
            letter_scale=float(rng.uniform(0.55, 0.85)),
            colour=bool(rng.random() < 0.5),
            marks=float(rng.choice([0.0, 0.0, 0.3, 0.6])),
            quality=int(rng.integers(84, 96)),
            as_jpeg=bool(rng.random() < 0.6),
            separate=bool(rng.random() < 0.25),
            frame=int(rng.choice([0, 0, 0, 1, 2])),
        )


def draw_figure(
    seed: int, name: str, shows: list[tuple[Patient, float]], others: list[tuple[str, np.ndarray]] | None = None
) -> Picture:
    """A figure of one or more panels; ``name`` decides the style, ``shows`` only what is seen in the lungs.

    ``others``: kind and pixels of further panels that are no CT (an X-ray beside the scans).
    """
    rng = stream(seed, name, "style")
    style = Style.draw(rng)
    others = others or []
    count = len(shows) + len(others)
    columns = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}.get(count, 4)
    height = round(style.width * float(rng.uniform(0.70, 0.80)))
    tiles, marks, letters = [], [], []
    for number in range(count):
        letter = _letter(style, number, count, rng)
        inside = "" if style.letter_at == "above" else letter
        if number < len(shows):
            tile, found = _panel(*shows[number], style, style.window, height, inside, rng, number)
        else:
            tile, found = _fitted(others[number - len(shows)][1], style.width, height), []
            if inside:
                found = [_print(tile, inside, style.letter_at, style.letter_scale, rng)]
        tiles.append(tile)
        marks.append(found)
        letters.append(letter)
    above = tuple(letters) if style.letter_at == "above" else ()
    pixels, boxes = _arrange(tiles, columns, style, above)
    panels = []
    for n, box in enumerate(boxes):
        moved = tuple((x0 + box[0], y0 + box[1], x1 + box[0], y1 + box[1]) for x0, y0, x1, y1 in marks[n])
        if n < len(shows):
            patient, t = shows[n]
            panels.append(Panel(box, chr(65 + n), patient.patient_id, round(t, 4), style.window, moved))
        else:
            panels.append(Panel(box, chr(65 + n), "", 0.0, "", moved, others[n - len(shows)][0]))
    pixels = compress(pixels if style.colour else pixels[..., 0], style.quality)
    return Picture(pixels, tuple(panels), style.quality, style.as_jpeg, style.separate and count > 1, above)


def windowed(hu: np.ndarray, level: float, width: float) -> np.ndarray:
    """Hounsfield units as 8-bit grey: level ± width/2 becomes 0…255."""
    return np.clip((hu - (level - width / 2)) / width * 255.0 + 0.5, 0, 255).astype(np.uint8)


def compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels after one JPEG round trip, as every picture of the corpus has had."""
    return decode(jpeg(pixels, quality))


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """JPEG bytes (4:4:4) of grey or RGB pixels."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", pixels[..., ::-1] if pixels.ndim == 3 else pixels, flags)[1].tobytes()


def png(pixels: np.ndarray) -> bytes:
    """PNG bytes of grey, RGB or RGBA pixels."""
    order = pixels
    if pixels.ndim == 3:
        order = pixels[..., [2, 1, 0, 3]] if pixels.shape[2] == 4 else pixels[..., ::-1]
    return cv2.imencode(".png", order)[1].tobytes()


def decode(data: bytes) -> np.ndarray:
    """Grey or RGB pixels of encoded bytes."""
    pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"expected an encoded picture, got {len(data)} bytes that are none")
    return pixels[..., ::-1].copy() if pixels.ndim == 3 else pixels


def stored(picture: Picture) -> tuple[bytes, str]:
    """The figure's bytes and their ending, as its style has it (both have had the same compression)."""
    return (jpeg(picture.pixels, 97), "jpg") if picture.as_jpeg else (png(picture.pixels), "png")


def _letter(style: Style, number: int, count: int, rng: np.random.Generator) -> str:
    """What is printed in the panel's corner; single pictures carry marks as often as panels do."""
    if style.letter_at == "none":
        return ""
    text = chr(65 + number) if count > 1 else str(rng.choice(["A", "R", "L", "a", "B", "P"]))
    return text.lower() if style.letter_case == "lower" else text


def _panel(
    patient: Patient,
    t: float,
    style: Style,
    window: str,
    height: int,
    letter: str,
    rng: np.random.Generator,
    number: int,
) -> tuple[np.ndarray, list[PixelBox]]:
    """One panel (RGB) of the style's width, and the boxes of its marks."""
    size = 320
    hu = render(patient, t, size, take=number)
    level, width = WINDOWS[window]
    grey = windowed(hu, level + style.shift * width / 1500, width * style.stretch)
    scale = size / FIELD
    left, top, right, bottom = style.margin
    an = patient.anatomy
    x0, x1 = (int((FIELD / 2 - an.a - left) * scale), int((FIELD / 2 + an.a + right) * scale))
    y0, y1 = (int((FIELD / 2 - an.b - top) * scale), int((FIELD / 2 + an.b + bottom) * scale))
    crop = grey[max(0, y0) : y1, max(0, x0) : x1]
    method = cv2.INTER_AREA if crop.shape[1] > style.width else cv2.INTER_CUBIC
    crop = cv2.resize(crop, (style.width, height), interpolation=method)
    tile = np.repeat(crop[..., None], 3, axis=2)
    marks: list[PixelBox] = []
    if letter:
        marks.append(_print(tile, letter, style.letter_at, style.letter_scale, rng))
    # every draw below happens whether or not it is used: the stream stays in step for all contents
    wish, angle, spot = rng.random(2), float(rng.uniform(0, 2 * np.pi)), rng.uniform(0.25, 0.75, 2)
    if wish[0] < style.marks:
        marks.append(_arrow(tile, spot, angle, style.colour and wish[1] < 0.5))
    elif wish[1] < 0.08:
        text = f"Se:{int(angle * 2) + 2} Im:{int(spot[0] * 90)}"
        marks.append(_print(tile, text, "bottom-right", 0.34, rng))
    if style.frame:
        cv2.rectangle(tile, (0, 0), (style.width - 1, height - 1), (255, 255, 255), style.frame)
    return tile, marks


def _print(tile: np.ndarray, text: str, where: str, scale: float, rng: np.random.Generator) -> PixelBox:
    """Print white text in a corner; returns its box."""
    (wide, high), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1 if scale < 0.5 else 2)
    pad = int(rng.integers(4, 8))
    x = pad if where.endswith("left") else tile.shape[1] - wide - pad
    y = high + pad if where.startswith("top") else tile.shape[0] - pad - base // 2
    thick = 1 if scale < 0.5 else 2
    cv2.putText(tile, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thick, cv2.LINE_AA)
    return (x - 1, y - high - 1, x + wide + 1, y + base // 2 + 1)


def _arrow(tile: np.ndarray, spot: np.ndarray, angle: float, coloured: bool) -> PixelBox:
    """Draw an arrow whose tip is at ``spot`` (shares of width and height); returns its box."""
    tip = (int(spot[0] * tile.shape[1]), int(spot[1] * tile.shape[0]))
    tail = (int(tip[0] + 24 * np.cos(angle)), int(tip[1] + 24 * np.sin(angle)))
    cv2.arrowedLine(tile, tail, tip, (230, 40, 30) if coloured else (255, 255, 255), 2, cv2.LINE_AA, 0, 0.38)
    xs, ys = (tip[0], tail[0]), (tip[1], tail[1])
    return (min(xs) - 8, min(ys) - 8, max(xs) + 8, max(ys) + 8)


def _fitted(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Another picture at a panel's size: scaled to cover it, what stands over cut evenly."""
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    wide, high = max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale))
    big = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
    y, x = (high - height) // 2, (wide - width) // 2
    return big[y : y + height, x : x + width].copy()


def _arrange(
    tiles: list[np.ndarray], columns: int, style: Style, above: tuple[str, ...]
) -> tuple[np.ndarray, list[PixelBox]]:
    """Tiles in a grid with gutters, letters over them if there are any; the picture and each tile's box."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    gap = style.gutter if len(tiles) > 1 else 0
    strip = 24 if above else 0
    size = (rows * (height + strip) + (rows - 1) * gap, columns * width + (columns - 1) * gap, 3)
    canvas = np.full(size, style.gutter_grey, np.uint8)
    ink = (255 - style.gutter_grey,) * 3
    boxes: list[PixelBox] = []
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = column * (width + gap), row * (height + strip + gap) + strip
        canvas[y : y + height, x : x + width] = tile
        if above:
            cv2.putText(canvas, above[number], (x + 4, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, 2, cv2.LINE_AA)
        boxes.append((x, y, x + width, y + height))
    return canvas, boxes
