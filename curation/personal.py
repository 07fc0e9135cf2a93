"""Burned-in names, dates of birth and ids, read by Tesseract: found, none, or not checked where Tesseract is absent.

Scanner text is small and bright on black, so every picture is enlarged and both polarities are read. What counts as
personal is a date that is labelled as, or old enough to be, a birthday; a labelled name or id; or a name written the
scanner's way (``WANG^LI``, ``DOE, JANE``). Letters of panels, ``R``/``L``, series and slice numbers are not.
"""

from __future__ import annotations

import functools
import logging
import re
import shutil
from typing import Literal

import cv2
import numpy as np
import pytesseract

from curation.raster import grey

log = logging.getLogger(__name__)

Answer = Literal["none", "found", "not checked"]
SECONDS = 20
SIDE = 1600
"""pixels: pictures are enlarged up to three times but not beyond this side"""

DATE = r"(?:\d{1,2}[./ -](?:\d{1,2}|[A-Za-z]{3})[./ -](?:19|20)\d{2}|(?:19|20)\d{2}[./ -]?\d{2}[./ -]?\d{2})"
PATTERNS = (
    re.compile(rf"\b(?:d\.?o\.?b\.?|birth\s*(?:date|day)?|born|geb\.?)\s*[:;.]?\s*{DATE}", re.I),
    re.compile(r"\b(?:d\.?o\.?b\b\.?|birth\s*date|date of birth)", re.I),
    re.compile(rf"(?<!\d){DATE}(?!\d)"),
    re.compile(r"\b(?:patient|pat)?\.?\s*name\s*[:;]\s*[A-Z][A-Za-z]{2,}", re.I),
    re.compile(
        r"\b(?:pat(?:ient)?\.?\s*id|m\.?r\.?n\.?|accession|acc\.?\s*(?:no|#)?|hosp\w*\s*(?:no|"
        r"id))\s*[:;.#]\s*[A-Z]{0,3}\d{3,}",
        re.I,
    ),
    re.compile(r"\b[A-Z][A-Za-z]{2,}\^[A-Z][A-Za-z]+"),
    re.compile(r"\b[A-Z]{3,},\s?[A-Z]{3,}\b"),
    re.compile(r"\b\d{1,3}\s*Y(?:RS?|EARS?)?\s*[,/ ]?\s*[MF]\b|\b[MF]\s*[/,]?\s*0?\d{2}Y\b"),
)


@functools.cache
def available() -> bool:
    """True if the tesseract program is on the path."""
    return shutil.which("tesseract") is not None


def check(image: np.ndarray) -> tuple[Answer, tuple[str, ...]]:
    """``(answer, what was read)``; ``not checked`` where Tesseract is absent or gives up."""
    if not available():
        return "not checked", ()
    try:
        found = [hit for text in read(image) for hit in personal(text)]
    except (pytesseract.TesseractError, RuntimeError, OSError) as error:
        log.warning("Tesseract failed (%s): personal data not checked", str(error)[:200])
        return "not checked", ()
    return ("found" if found else "none"), tuple(dict.fromkeys(found))


def read(image: np.ndarray) -> list[str]:
    """Texts that Tesseract reads in the picture: as it is, and inverted (light letters on black)."""
    luma = grey(image)
    if min(luma.shape) < 24:
        return []
    factor = min(3.0, max(1.0, SIDE / max(luma.shape)))
    large = cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return [pytesseract.image_to_string(255 - large, config="--psm 11", timeout=SECONDS)]


def personal(text: str) -> list[str]:
    """The pieces of a text that identify a person."""
    line = re.sub(r"[ \t]+", " ", text)
    return [match.group(0).strip() for pattern in PATTERNS for match in pattern.finditer(line)]
