"""Pictures and drawings of a page that can be seen, as boxes in the frame in which the page is read.

Reads an open PDF page (PyMuPDF). Guarantees: boxes lie in the page; what is white, clipped away, off the page or
the page's own ground is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pymupdf

from harvest.records import Box


@dataclass(frozen=True, slots=True)
class Graphic:
    """A picture (``image`` its index in the page's list of placed images) or a drawing (``image`` = -1)."""

    box: Box
    image: int = -1
    rule: bool = False
    """a long thin line or bar: it belongs to a figure only if other things of the figure surround it"""
    frame: bool = False
    """a drawn or filled rectangle, which may be a chart's frame as well as the box round a paragraph"""


def shared(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float, float]:
    """What two rectangles have in common; a reversed one where that is nothing."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def placed_images(images: Sequence[dict[str, Any]], turn: pymupdf.Matrix, page: pymupdf.Rect) -> list[Graphic]:
    """The pictures that can be seen: on the page, larger than a speck."""
    graphics = []
    for index, image in enumerate(images):
        box = Box(*((pymupdf.Rect(image["bbox"]) * turn) & page))
        if box.x1 - box.x0 >= 1 and box.y1 - box.y0 >= 1:  # false for NaN
            thin = min(box.x1 - box.x0, box.y1 - box.y0) < 4
            graphics.append(Graphic(box, index, rule=thin))
    return graphics


def drawings(page: pymupdf.Page, turn: pymupdf.Matrix, rect: pymupdf.Rect) -> list[Graphic]:
    """The drawn paths that can be seen: not white on white, not the whole page."""
    graphics = []
    level = turn.b == 0 and turn.a == 1
    page_area = rect.width * rect.height
    everything = (-1e6, -1e6, 1e6, 1e6)
    clips: list[tuple[float, float, float, float]] = []
    for path in page.get_cdrawings(extended=True):
        fill, kind, depth = path.get("fill"), path["type"], path["level"]
        del clips[depth:]
        if kind in ("clip", "group"):
            clips += [clips[-1] if clips else everything] * (depth - len(clips))
            clips.append(
                shared(path["scissor"], clips[-1] if clips else everything)
                if kind == "clip"
                else (clips or [everything])[-1]
            )
            continue
        if kind == "f" and fill is not None and min(fill) > 0.99:
            continue
        seen = shared(path["rect"], clips[-1]) if clips else path["rect"]
        x0, y0, x1, y1 = seen if level else pymupdf.Rect(seen) * turn
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, rect.width), min(y1, rect.height)
        if not (x1 >= x0 and y1 >= y0 and (x1 - x0) * (y1 - y0) <= 0.8 * page_area):
            continue
        width, height = x1 - x0, y1 - y0
        rule = (height < 3 and width > 40) or (width < 3 and height > 40)
        items = path["items"]
        frame = len(items) <= 2 and (items[0][0] == "re" or len(items) == 1) and not rule if items else False
        graphics.append(Graphic(Box(x0, y0, x1, y1), -1, rule, frame))
    return graphics
