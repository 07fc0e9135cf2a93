"""Pictures cut out of a PDF by page, xref and box alone, known by the SHA-256 of their pixels.

A recipe outlives the code that found its figures: where a later version finds other regions, this still gives the
picture that was meant. Runs in a worker of its own (harvest.workers), as everything that opens a PDF does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf

from harvest.document import Settings, open_pdf
from harvest.pixels import PixelError, decoded, png, rendered
from harvest.records import Box


def samples_hash(samples: np.ndarray) -> str:
    """SHA-256 of a picture's size and samples (H×W or H×W×3, uint8): any encoding of the same picture fits."""
    size = "x".join(map(str, samples.shape))
    return hashlib.sha256(f"{size}:".encode() + np.ascontiguousarray(samples).tobytes()).hexdigest()


def run(request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The worker's entry: ``{path, settings, cuts: [{page, xrefs, box, dpi, sha256}]}`` → which were found, as PNG."""
    settings = Settings(**request["settings"])
    pdf = open_pdf(Path(request["path"]), settings)
    found: list[str] = []
    pictures: list[bytes] = []
    for cut in request["cuts"]:
        if cut["sha256"] in found or not 1 <= (cut["page"] or 0) <= pdf.page_count:
            continue
        for image in candidates(pdf, cut, settings):
            if samples_hash(image) == cut["sha256"]:
                found.append(cut["sha256"])
                pictures.append(png(image))
                break
    return {"found": found}, pictures


def candidates(pdf: pymupdf.Document, cut: dict[str, Any], settings: Settings) -> Iterator[np.ndarray]:
    """The pictures that may be meant: the embedded rasters as they are and turned, then the region at its dpi."""
    for xref in cut["xrefs"]:
        try:
            image = decoded(pdf, int(xref))
        except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError):
            continue
        if image is not None and image.shape[0] * image.shape[1] <= settings.max_pixels:
            for side in (image, np.flipud(image)):
                yield from (np.ascontiguousarray(np.rot90(side, quarter)) for quarter in range(4))
    if cut["box"] is None:
        return
    box, dpi = Box(*cut["box"]), float(cut["dpi"] or settings.dpi)
    if (box.x1 - box.x0) * (box.y1 - box.y0) * (dpi / 72) ** 2 <= settings.max_pixels:
        try:
            yield rendered(pdf[cut["page"] - 1], box, dpi)
        except (PixelError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError):
            return
