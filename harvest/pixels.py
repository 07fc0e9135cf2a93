"""The pixels of a figure, as the page shows them: the embedded raster where it is the figure, else a rendering.

Reads an open page, a figure's box and the page's placed images. Gives a `Picture`. Guarantees: a native raster is only
given where its rendering on the page agrees with it, so inverted, masked, clipped or painted-over rasters are rendered;
no picture has more pixels than the limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pymupdf

from harvest.layout import Page, area, overlap
from harvest.records import Box

FILLS = 0.9
"""share of the figure's box that one raster must cover to be the figure"""
AGREES = 0.95
"""least correlation of a native raster with its rendering"""
MAX_DPI = 600.0


class PixelError(RuntimeError):
    """A figure's pixels cannot be had; the message says why."""


@dataclass(frozen=True)
class Picture:
    """``image``: uint8, H×W or H×W×3 (RGB). ``dpi`` is None for native rasters."""

    image: np.ndarray
    pixels: str
    dpi: float | None
    xrefs: tuple[int, ...]


def image_xrefs(page: pymupdf.Page, layout: Page, wanted: Sequence[int], max_pixels: int) -> dict[int, int]:
    """Placed image index → xref (0 for inline images), for the images in ``wanted``.

    The size of a picture tells most of them apart; only where it does not are the page's images decoded for their hash.
    """
    listed = page.get_images(full=True)
    found: dict[int, int] = {}
    unclear = []
    for index in wanted:
        info = layout.images[index]
        same = {row[0] for row in listed if row[2] == info["width"] and row[3] == info["height"]}
        if len(same) == 1:
            found[index] = same.pop()
        elif same:
            unclear.append(index)
        else:
            found[index] = 0
    if unclear:
        if sum(info["width"] * info["height"] for info in layout.images) > 4 * max_pixels:
            return found | dict.fromkeys(unclear, 0)
        hashed = page.get_image_info(xrefs=True)
        for index in unclear:
            found[index] = hashed[index]["xref"] if index < len(hashed) else 0
    return found


def picture(
    document: pymupdf.Document,
    page: pymupdf.Page,
    layout: Page,
    box: Box,
    images: Sequence[int],
    *,
    dpi: float,
    max_pixels: int,
) -> Picture:
    """The picture in ``box`` (of the layout's frame). Raises PixelError where it is larger than ``max_pixels``."""
    for index in images:
        info = layout.images[index]
        if info["width"] * info["height"] > max_pixels:
            raise PixelError(
                f"a raster of {info['width']}x{info['height']} pixels, expected at most {max_pixels}; raise max_pixels"
            )
    xrefs = image_xrefs(page, layout, images, max_pixels)
    order = tuple(dict.fromkeys(xrefs[index] for index in reading_order(layout, images) if xrefs[index]))
    if len(images) == 1 and xrefs[images[0]]:
        native = native_raster(document, page, layout, box, images[0], xrefs[images[0]])
        if native is not None:
            return Picture(native, "native", None, order)
    best = max((resolution(layout, index) for index in images), default=dpi)
    return render(page, layout.displayed(box), min(MAX_DPI, max(dpi, best)), max_pixels, order)


def reading_order(layout: Page, images: Sequence[int]) -> list[int]:
    boxes = {graphic.image: graphic.box for graphic in layout.graphics if graphic.image >= 0}
    return sorted(images, key=lambda index: (round(boxes[index].y0 / 10), boxes[index].x0))


def resolution(layout: Page, index: int) -> float:
    """Pixels per inch at which the page shows a raster."""
    info = layout.images[index]
    x0, y0, x1, y1 = info["bbox"]
    return 72.0 * max(info["width"], info["height"]) / max(1.0, x1 - x0, y1 - y0)


def native_raster(
    document: pymupdf.Document, page: pymupdf.Page, layout: Page, box: Box, index: int, xref: int
) -> np.ndarray | None:
    """The embedded raster, turned as on the page; None where it is not what the page shows."""
    placed = next(graphic.box for graphic in layout.graphics if graphic.image == index)
    if overlap(placed, box) < FILLS * area(box) or overlap(placed, box) < FILLS * area(
        Box(*layout.images[index]["bbox"])
    ):
        return None
    if painted_over(layout, placed, index):
        return None
    image = decoded(document, xref)
    if image is None:
        return None
    image = turned(image, layout.images[index]["transform"], page.rotation)
    if image is None:
        return None
    scale = min(1.0, 200.0 / max(placed.x1 - placed.x0, placed.y1 - placed.y0))
    shown = rendered(page, layout.displayed(placed), 72.0 * max(scale, 0.1))
    return image if agrees(image, shown) else None


def painted_over(layout: Page, placed: Box, index: int) -> bool:
    """Whether letters or drawings lie on the raster: then the page shows more than the raster."""
    lines = any(overlap(line.box, placed) > 0.5 * area(line.box) for line in layout.lines)
    marks = any(
        graphic.image != index and overlap(graphic.box, placed) > 0.5 * area(graphic.box) and area(graphic.box) > 0
        for graphic in layout.graphics
    )
    return lines or marks


def decoded(document: pymupdf.Document, xref: int) -> np.ndarray | None:
    """An embedded raster in grey or RGB, its soft mask laid on white; None where MuPDF has no plain picture of it."""
    pixmap = pymupdf.Pixmap(document, xref)
    if pixmap.colorspace is None:
        return None
    mask = document.xref_get_key(xref, "SMask")
    if mask[0] == "xref" and (number := re.match(r"\d+", mask[1])):
        over = pymupdf.Pixmap(document, int(number.group()))
        if pixmap.alpha:
            pixmap = pymupdf.Pixmap(pixmap, 0)
        if (over.width, over.height) != (pixmap.width, pixmap.height):
            return None
        pixmap = pymupdf.Pixmap(pixmap, over)
    if pixmap.colorspace.n not in (1, 3):
        pixmap = pymupdf.Pixmap(pymupdf.csRGB, pixmap)
    array: np.ndarray = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, pixmap.n)
    if pixmap.alpha:
        # MuPDF's samples are premultiplied with alpha: white shows through by what alpha leaves
        channels = [cv2.add(array[:, :, i], 255 - array[:, :, -1]) for i in range(array.shape[2] - 1)]
        array = np.stack(channels, axis=2)
    return plain(array)


def plain(array: np.ndarray) -> np.ndarray:
    """H×W where the picture is grey, else H×W×3."""
    if array.shape[2] == 1:
        return np.ascontiguousarray(array[:, :, 0])
    if np.array_equal(array[:, :, 0], array[:, :, 1]) and np.array_equal(array[:, :, 1], array[:, :, 2]):
        return np.ascontiguousarray(array[:, :, 0])
    return np.ascontiguousarray(array[:, :, :3])


def turned(image: np.ndarray, transform: Sequence[float], rotation: int) -> np.ndarray | None:
    """The raster as its placement turns and mirrors it; None where it is skewed."""
    a, b, c, d = transform[:4]
    size = max(abs(a), abs(b), abs(c), abs(d))
    if abs(b) < 0.01 * size and abs(c) < 0.01 * size:
        pass
    elif abs(a) < 0.01 * size and abs(d) < 0.01 * size:
        image, a, d = image.swapaxes(0, 1), c, b
    else:
        return None
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(np.rot90(image, -(rotation // 90) % 4))


def agrees(image: np.ndarray, shown: np.ndarray) -> bool:
    """Whether a raster and its rendering show the same picture in the same tones."""
    height, width = shown.shape[:2]
    small = cv2.resize(grey(image), (width, height), interpolation=cv2.INTER_AREA)
    one = cv2.blur(small, (3, 3)).astype(np.float32)
    two = cv2.blur(grey(shown), (3, 3)).astype(np.float32)
    if float(np.abs(one - two).mean()) > 20:
        return False
    if min(one.std(), two.std()) < 3:
        return True
    return float(np.corrcoef(one.ravel(), two.ravel())[0, 1]) >= AGREES


def grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def rendered(page: pymupdf.Page, box: Box, dpi: float) -> np.ndarray:
    """The page in ``box`` (displayed frame) at ``dpi``."""
    zoom = dpi / 72
    clip = pymupdf.Rect(box) & page.rect
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), clip=clip, alpha=False, annots=False)
    if pixmap.width < 1 or pixmap.height < 1:
        raise PixelError(f"an empty region {tuple(round(v) for v in box)}, expected one on the page")
    return plain(np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, pixmap.n))


def render(page: pymupdf.Page, box: Box, dpi: float, max_pixels: int, xrefs: tuple[int, ...]) -> Picture:
    """A rendering, at a lower resolution where the limit asks for it."""
    inches = max(area(box), 1.0) / 72**2
    dpi = min(dpi, (max_pixels / inches) ** 0.5)
    return Picture(rendered(page, box, dpi), "rendered", round(dpi, 1), xrefs)


def png(image: np.ndarray) -> bytes:
    """Deterministic PNG bytes of a grey or RGB picture."""
    array = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not ok:
        raise PixelError(f"a picture of shape {image.shape} that cannot be written as PNG")
    return bytes(data)
