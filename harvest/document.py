"""One PDF → its figures: the whole extraction of one document, run inside a worker.

Reads a PDF file. Gives an `Extraction`: figures with pixels, captions without a picture, what went wrong. Guarantees:
touches no file but the PDF; runs no script and opens no embedded file; keeps to the limits on bytes, pages and pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import pymupdf

from harvest.captions import Caption, find_captions, label_lines
from harvest.forms import numbers_of
from harvest.labels import Label
from harvest.layout import Page, area, read_page
from harvest.matching import Match, match
from harvest.mentions import find_mentions
from harvest.pixels import PixelError, image_xrefs, picture, png
from harvest.prose import FURNITURE, PROSE, Document, read_document
from harvest.records import Box, Mention
from harvest.regions import Plan, plan_page
from harvest.subcaptions import split_caption

REPAIRED = (
    "damaged (cut off, or without its table of objects) and repaired for reading: pages and figures may be missing; "
    "compare it with the publisher's, or download it again"
)

SCANNED = "no text layer: pictures of pages, with no text but headers and stamps; run OCR on the PDF first"


class DocumentError(RuntimeError):
    """A PDF that gives no figures for a reason worth a row: not a PDF, encrypted, no text, over a limit."""


@dataclass(frozen=True)
class Settings:
    """What an extraction may do and how."""

    dpi: float = 300.0
    """of renderings; more where the page's rasters are finer"""
    max_pages: int = 400
    max_pixels: int = 60_000_000
    max_megabytes: float = 256.0
    pixels: bool = True
    debug: bool = False


@dataclass(frozen=True)
class Found:
    """A figure of a document, its picture apart (``picture`` = index into the extraction's pictures, or -1)."""

    page: int
    label: str
    number: str
    kind: str
    caption: str
    caption_page: int
    box: Box
    xrefs: tuple[int, ...]
    pixels: str
    dpi: float | None
    picture: int
    width: int
    height: int
    mentions: tuple[Mention, ...]
    panel_captions: dict[str, str]


@dataclass
class Extraction:
    """All a document gave. ``failures`` are (what, reason)."""

    pages: int
    figures: list[Found] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    drawings: list[tuple[int, bytes]] = field(default_factory=list)
    """(page, PNG) of the debug drawings"""


@dataclass(frozen=True)
class Analysis:
    """What is known of a document before any pixel is read."""

    document: Document
    captions: tuple[Caption, ...]
    plans: tuple[Plan, ...]
    matches: tuple[Match, ...]
    mentions: dict[tuple[str, str], list[Mention]]


def open_pdf(path: Path, settings: Settings) -> pymupdf.Document:
    """The open PDF; DocumentError where it is none, needs a password, or is over a limit."""
    size = path.stat().st_size
    if size == 0:
        raise DocumentError("expected a PDF, got an empty file; download it again")
    if size > settings.max_megabytes * 1e6:
        raise DocumentError(
            f"expected at most {settings.max_megabytes:g} MB, got {size / 1e6:.0f} MB; raise max_megabytes"
        )
    with path.open("rb") as file:
        head = file.read(1024)
    if b"%PDF-" not in head:
        raise DocumentError(f"expected a PDF, got a file that starts with {head[:12]!r}; download it again")
    try:
        pdf = pymupdf.open(filename=str(path), filetype="pdf")
    except pymupdf.FileDataError as error:
        raise DocumentError("expected a PDF that opens, got a damaged one; download it again") from error
    if pdf.needs_pass:
        raise DocumentError("expected a readable PDF, got an encrypted one that needs a password; unlock it first")
    if pdf.page_count == 0:
        raise DocumentError("expected a PDF with pages, got one with none (broken page tree); download it again")
    if pdf.page_count > settings.max_pages:
        raise DocumentError(f"expected at most {settings.max_pages} pages, got {pdf.page_count}; raise max_pages")
    return pdf


def read_pages(pdf: pymupdf.Document) -> tuple[list[Page], list[tuple[str, str]]]:
    """All pages; one that cannot be read is empty and a failure."""
    pages: list[Page] = []
    failures: list[tuple[str, str]] = []
    for number in range(1, pdf.page_count + 1):
        try:
            pages.append(read_page(pdf[number - 1], number))
        except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, IndexError) as error:
            failures.append((f"page {number}", f"not readable: {describe(error)}"))
            pages.append(Page(number, 612.0, 792.0, "", (), ()))
    if len(failures) == len(pages):
        raise DocumentError(f"expected a PDF with readable pages, got none of {len(pages)}: {failures[0][1]}")
    return pages, failures


def analyse(pages: list[Page]) -> Analysis:
    """Captions, regions, matches and mentions of a PDF's pages; DocumentError where it has no text layer."""
    if not any(page.lines for page in pages):
        seen = sum(any(graphic.image >= 0 for graphic in page.graphics) for page in pages)
        raise DocumentError(
            f"no text layer: {len(pages)} pages, {seen} of them with pictures, none with text; run OCR on it first"
        )
    document = read_document(pages)
    captions = find_captions(document)
    scanned = scanned_pages(document)
    if 2 * len(scanned) > len(pages) and not captions and not any(PROSE in roles for roles in document.roles):
        raise DocumentError(
            f"no text layer: {len(pages)} pages, {len(scanned)} of them with pictures of pages, none with text but "
            "headers and stamps; run OCR on it first"
        )
    on_page: dict[int, list[Caption]] = {}
    for caption in captions:
        for number in {number for number, _ in caption.spans}:
            on_page.setdefault(number, []).append(caption)
    plans = [plan_page(document, page, on_page.get(page.number, [])) for page in pages]
    matches = match(plans, captions)
    boxes: dict[int, list[Box]] = {}
    for found in matches:
        boxes.setdefault(found.page, []).append(found.box)
    mentions = find_mentions(document, captions, boxes)
    return Analysis(document, tuple(captions), tuple(plans), tuple(matches), mentions)


def scanned_pages(document: Document) -> list[int]:
    """Numbers of the pages that a picture covers most of, with no text on them but headers, footers and stamps.

    A single page shows no repetition to tell a stamp by: a few short lines of no caption are taken for one.
    """
    found = []
    for page, roles in zip(document.pages, document.roles, strict=True):
        covered = sum(area(graphic.box) for graphic in page.graphics if graphic.image >= 0)
        letters = sum(len(line.text) for line, role in zip(page.lines, roles, strict=True) if role != FURNITURE)
        if covered >= 0.5 * page.width * page.height and letters < 200:
            found.append(page.number)
    return found


def extract(path: Path, settings: Settings) -> Extraction:
    """All figures of one PDF."""
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    with open_pdf(path, settings) as pdf:
        pages, failures = read_pages(pdf)
        analysis = analyse(pages)
        result = Extraction(pdf.page_count, failures=failures)
        for found in analysis.matches:
            layout = analysis.document.pages[found.page - 1]
            add_figure(result, pdf, layout, found, analysis, settings)
            pymupdf.TOOLS.store_shrink(100)  # MuPDF would keep up to 256 MB of decoded pictures
        labels = [found.caption.label for found in analysis.matches]
        matched = {label.key for label in labels} | {label.whole for label in labels}
        lost = {c.label.key: c for c in analysis.captions if not c.is_table and c.label.key not in matched}
        told = [(caption.label, caption.page) for caption in lost.values()]
        told += label_lines(analysis.document, analysis.captions)
        result.unmatched = [f"{label.text} (page {page})" for label, page in told]
        shown = {found.page for found in analysis.matches}
        scanned = [number for number in scanned_pages(analysis.document) if number not in shown]
        if 2 * len(scanned) > len(pages):
            result.failures.append((f"{len(scanned)} of {len(pages)} pages", SCANNED))
        if pdf.is_repaired:
            result.failures.append(("whole file", REPAIRED))
        if settings.debug:
            from harvest.debug import draw_pages

            result.drawings = draw_pages(pdf, analysis)
    return result


def add_figure(
    result: Extraction, pdf: pymupdf.Document, layout: Page, found: Match, analysis: Analysis, settings: Settings
) -> None:
    """One match as a figure with its pixels, or as a failure that names it."""
    page = pdf[found.page - 1]
    images = sorted({index for region in found.regions for index in region.images})
    label = found.caption.label
    shown = Box(*(round(value, 2) for value in layout.displayed(found.box)))
    try:
        if settings.pixels:
            taken = picture(pdf, page, layout, found.box, images, dpi=settings.dpi, max_pixels=settings.max_pixels)
            data = png(taken.image)
            height, width = taken.image.shape[:2]
            pixels, dpi, xrefs = taken.pixels, taken.dpi, taken.xrefs
            result.pictures.append(data)
        else:
            known = image_xrefs(page, layout, images, 0)
            pixels, dpi, xrefs, width, height = "rendered", None, tuple(x for x in known.values() if x), 0, 0
    except (PixelError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, MemoryError, cv2.error) as error:
        result.failures.append((f"page {found.page} {label.text}", f"no pixels: {describe(error)}"))
        return
    result.figures.append(
        Found(
            page=found.page,
            label=label.text + (" (continued)" if label.continued else ""),
            number=label.number + (" (continued)" if label.continued else ""),
            kind=label.kind,
            caption=found.caption.text,
            caption_page=found.caption.page,
            box=shown,
            xrefs=xrefs,
            pixels=pixels,
            dpi=dpi,
            picture=len(result.pictures) - 1 if settings.pixels else -1,
            width=width,
            height=height,
            mentions=mentions_of(label, analysis.mentions),
            panel_captions=split_caption(found.caption.text),
        )
    )


def mentions_of(label: Label, mentions: Mapping[tuple[str, str], list[Mention]]) -> tuple[Mention, ...]:
    """The sentences about a figure; those about the whole where none names the part; of each where it is several."""
    found = mentions.get(label.key) or mentions.get(label.whole)
    if found is None:
        each = {m for number in numbers_of(label) for m in mentions.get((label.kind, number), ())}
        found = sorted(each, key=lambda mention: (mention.page, mention.offset))
    return tuple(found)


def describe(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, DocumentError | PixelError) else f"{type(error).__name__}: {text}"


def run(request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The worker's entry: a request ``{path, settings}`` → what can be sent between processes, and blobs."""
    result = extract(Path(request["path"]), Settings(**request["settings"]))
    answer = {
        "pages": result.pages,
        "figures": [
            {**asdict(f), "mentions": [mention.model_dump() for mention in f.mentions]} for f in result.figures
        ],
        "unmatched": result.unmatched,
        "failures": result.failures,
        "pictures": len(result.pictures),
        "drawings": [page for page, _ in result.drawings],
    }
    return answer, [*result.pictures, *(data for _, data in result.drawings)]
