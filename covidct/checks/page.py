"""One self-contained HTML page of an audit: every finding with its evidence side by side; needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from covidct.checks import measures
from covidct.checks.model import KINDS, SEVERITIES, Finding, Folder
from covidct.matching.features import Array

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
SIDE = 240
"""longest side of a picture on the page, pixels"""
SHOWN = 8
"""pictures per finding; the rest are listed"""
MOST = 800
"""pictures on the page: beyond, findings are listed without"""
QUALITY = 80
TITLES = {
    "opposite-label": "One picture, both labels",
    "same-picture": "The same picture twice",
    "patient-across-splits": "One patient in several splits",
    "patient-identity": "Patient ids that cannot be right",
    "document-across-splits": "One document in several splits",
    "label-in-doubt": "Labels that the text contradicts or weakens",
    "personal-data": "Burned-in personal data and labels",
    "retouched": "Pixels painted over",
    "shortcut": "Shortcuts: the class predicted without the disease",
    "encoding": "More than one encoding",
    "split-imbalance": "Splits unlike each other",
    "not-a-lung-view": "Not one upright lung-window slice",
    "redundant": "Nearly the same slice of one patient",
    "provenance": "Where pictures come from",
    "mismatch": "Files, tables and lists that disagree",
}


@dataclass(frozen=True)
class Tile:
    """One picture on the page."""

    source: str
    """data URI"""
    name: str
    note: str


def render(folder: Folder, findings: Sequence[Finding]) -> str:
    """The page; what ``folder.covered`` names is blacked out wherever the picture appears."""
    maker = _Tiles(folder)
    groups = []
    for kind in KINDS:
        own = [f for f in findings if f.kind == kind]
        rows = [{"finding": f, "tiles": maker.tiles(f), "anchor": f.key} for f in own]
        if rows:
            counts = {s: sum(f.severity == s and not f.suppressed for f in own) for s in SEVERITIES}
            groups.append({"kind": kind, "title": TITLES[kind], "rows": rows, "counts": counts})
    standing = [f for f in findings if not f.suppressed]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("audit.html").render(
        name=folder.root.resolve().name,
        images=len(folder.items),
        groups=groups,
        counts={s: sum(f.severity == s for f in standing) for s in SEVERITIES},
        suppressed=len(findings) - len(standing),
        not_checked=folder.not_checked,
        shortcuts=_shortcuts(folder),
        sources=_sources(folder),
        scored=folder.metrics.get("shortcuts_scored", {}),
        clean=[
            TITLES[kind] for kind in KINDS if kind not in {f.kind for f in findings} and kind not in folder.not_checked
        ],
    )


def _shortcuts(folder: Folder) -> list[dict[str, Any]]:
    rows = []
    for name, row in folder.metrics.get("shortcuts", {}).items():
        cells = [row, *(row["by_source"].get(source) for source in _sources(folder))]
        rows.append({"name": name, "words": measures.WORDS[name], "cells": cells})
    return rows


def _sources(folder: Folder) -> list[str]:
    return sorted({s for row in folder.metrics.get("shortcuts", {}).values() for s in row["by_source"]})


class _Tiles:
    """Pictures for findings, within the page's limit."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._index = {item.name: i for i, item in enumerate(folder.items)}
        self._left = MOST

    def tiles(self, finding: Finding) -> list[Tile]:
        names = [name for name in (finding.show or finding.items)[:SHOWN] if name in self._index]
        transform = finding.details.get("transform")
        if len(names) == 2 and transform is not None:
            pictures = _aligned(self._pixels(names[0]), self._pixels(names[1]), np.array(transform).reshape(2, 3))
            captions = [*zip(names, map(self._note, names), strict=True), ("difference", "white: the copies differ")]
        else:
            pictures = [self._pixels(name) for name in names]
            captions = [(name, self._note(name)) for name in names]
        if len(pictures) > self._left:
            return []
        self._left -= len(pictures)
        return [Tile(_uri(p), name, note) for p, (name, note) in zip(pictures, captions, strict=True)]

    def _pixels(self, name: str) -> Array:
        image = self._folder.grey(self._index[name])
        if name not in self._folder.covered:
            return image
        image = image.copy()
        for x0, y0, x1, y1 in self._folder.covered[name]:
            image[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = 0
        return image

    def _note(self, name: str) -> str:
        item = self._folder.items[self._index[name]]
        label = {1: "COVID", 0: "NonCOVID"}.get(item.label if item.label is not None else -1, "")
        return ", ".join(filter(None, [label, item.split, item.patient]))


def _aligned(left: Array, right: Array, matrix: Array) -> list[Array]:
    """Both pictures on the grid of the second, and their difference where both are."""
    height, width = right.shape
    moved = cv2.warpAffine(left, matrix, (width, height))
    inside = cv2.warpAffine(np.ones_like(left), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
    a, b = (cv2.GaussianBlur(x, (0, 0), 1.2).astype(np.float32) for x in (moved, right))
    if inside.sum() > 100 and float(a[inside].std()) > 0:
        slope, offset = np.polyfit(a[inside], b[inside], 1)
        a = slope * a + offset
    difference = np.clip(2.5 * np.abs(a - b), 0, 255) * inside
    return [left, right, difference.astype(np.uint8)]


def _uri(image: Array) -> str:
    scale = min(1.0, SIDE / max(image.shape))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    done, data = cv2.imencode(
        ".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not done:
        raise RuntimeError(f"expected a JPEG of a {size} picture, OpenCV gave none")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
