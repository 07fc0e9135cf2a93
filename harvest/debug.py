"""See it: pages with captions, regions and matches drawn on them, and all figures of a run on one HTML page.

Gives PNG drawings of pages and the HTML text of the contact sheet. Guarantees: text from documents is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import pymupdf

from harvest.document import Analysis
from harvest.pixels import png
from harvest.prose import FURNITURE, PROSE
from harvest.records import Box, Failure, Figure

ZOOM = 1.5
COLOURS = {PROSE: (170, 205, 250), FURNITURE: (205, 205, 205), "other": (250, 200, 120)}
REGION, CAPTION, MATCH = (0, 150, 0), (150, 0, 150), (220, 0, 0)
STYLE = """body{font:14px sans-serif;margin:1em}main{display:grid;gap:1em;
grid-template-columns:repeat(auto-fill,minmax(260px,1fr))}figure{margin:0;border:1px solid #ccc;padding:.5em}
img{max-width:100%;max-height:300px;display:block;margin:auto}figcaption{font-size:12px;overflow-wrap:anywhere}
b{font-size:13px}small{color:#555}summary{cursor:pointer}"""


def draw_pages(pdf: pymupdf.Document, analysis: Analysis) -> list[tuple[int, bytes]]:
    """(page, PNG) of each page with a caption or figure: text by role, regions green, captions purple, figures red."""
    wanted = {caption.page for caption in analysis.captions} | {found.page for found in analysis.matches}
    return [(number, png(draw_page(pdf[number - 1], number, analysis))) for number in sorted(wanted)]


def draw_page(page: pymupdf.Page, number: int, analysis: Analysis) -> np.ndarray:
    """One page with what was found on it, H×W×3."""
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(ZOOM, ZOOM), alpha=False)
    canvas = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, pixmap.n)[:, :, :3].copy()
    layout = analysis.document.pages[number - 1]

    def frame(box: Box, colour: tuple[int, int, int], thickness: int, text: str = "") -> None:
        x0, y0, x1, y1 = (round(value * ZOOM) for value in layout.displayed(box))
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness)
        if text:
            plain = text.encode("ascii", "replace").decode()
            cv2.putText(canvas, plain, (x0 + 3, y0 + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)

    for line, role in zip(layout.lines, analysis.document.roles[number - 1], strict=True):
        frame(line.box, COLOURS[role], 1)
    for region in analysis.plans[number - 1].regions:
        frame(region.box, REGION, 1)
    for caption in analysis.captions:
        if caption.page == number:
            frame(caption.box, CAPTION, 2)
    for found in analysis.matches:
        if found.page == number:
            where = "" if found.caption.page == number else f" (caption on page {found.caption.page})"
            frame(found.box, MATCH, 2, f"{found.caption.label.text}{where}")
    return canvas


def contact_sheet(figures: Iterable[Figure], failures: Sequence[Failure], images: str) -> str:
    """One HTML page of all figures; ``images`` is the way from it to the folder that the records' files lie in."""
    cards = []
    for figure in figures:
        source = html.escape(f"{images}/{figure.file}" if figure.file else "", quote=True)
        facts = (
            f"{figure.pdf} p.{figure.page} · {figure.width}×{figure.height} {figure.pixels} · xrefs "
            f"{', '.join(map(str, figure.xrefs)) or '–'} · {len(figure.mentions)} mentions"
        )
        panels = "".join(f"<li>{html.escape(k)}: {html.escape(v)}</li>" for k, v in figure.panel_captions.items())
        mentions = "".join(f"<li>p.{m.page}: {html.escape(m.text)}</li>" for m in figure.mentions)
        cards.append(
            f'<figure><img loading="lazy" src="{source}" alt=""><figcaption><b>{html.escape(figure.label)}</b> '
            f"{html.escape(figure.caption)}<br><small>{html.escape(facts)}</small>"
            f"<details><summary>panels, mentions</summary><ul>{panels}{mentions}</ul></details></figcaption></figure>"
        )
    rows = "".join(f"<li>{html.escape(f.item)}: {html.escape(f.reason)}</li>" for f in failures)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title><style>{STYLE}</style>'
        f"<h1>{len(cards)} figures, {len(failures)} failures</h1><main>{''.join(cards)}</main>"
        f"<h2>Failures</h2>{f'<ul>{rows}</ul>' if rows else '<p>None.</p>'}</html>\n"
    )
