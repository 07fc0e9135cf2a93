"""Where each picture comes from and what allows handing it on: DOI, licence, kind of document, date."""

from __future__ import annotations

import re

from covidct import licences
from covidct.checks.model import Finding, Folder

PREPRINTS = ("preprint",)
DATE = re.compile(r"^\d{4}(-\d{2}(-\d{2})?)?$")


def check(folder: Folder) -> list[Finding]:
    """Findings about missing DOIs and licences, documents outside the window, and COVID pictures not from preprints."""
    found: list[Finding] = []
    covid = [i for i, item in enumerate(folder.items) if item.label == 1]
    everyone = list(range(len(folder.items)))
    # MedPix and PMC pictures of the 2020 release carry no DOI column at all: a DOI is asked for where some have one
    with_doi = {folder.items[i].source for i in everyone if folder.items[i].doi}
    asked = [i for i in everyone if folder.items[i].source in with_doi] or covid
    no_doi = [i for i in asked if not folder.items[i].doi]
    no_licence = [i for i in everyone if not licences.plain(folder.items[i].licence)]
    low, high = folder.window
    dated = [i for i in covid if DATE.match(folder.items[i].date)]
    after = [i for i in dated if high and folder.items[i].date > high]
    before = [i for i in dated if low and folder.items[i].date < low]
    other = [i for i in covid if folder.items[i].document_type and folder.items[i].document_type not in PREPRINTS]
    typed = any(folder.items[i].document_type in PREPRINTS for i in covid)
    folder.metrics["provenance"] = {
        "images": len(everyone),
        "without_doi": len(no_doi),
        "without_licence": len(no_licence),
        "after_window": len(after),
        "before_window": len(before),
        "not_from_preprints": len(other) if typed else None,
    }
    rows = (
        (after, f"from documents dated after {high}, the end of the window", "leave them out, or state the window"),
        (before, f"from documents dated before {low}, the start of the window", "leave them out, or state the window"),
        (
            other if typed else [],
            "COVID images are from journals or books, not from preprints",
            "state it per image; the licence is the publisher's",
        ),
        (no_doi, f"of {len(asked)} images have no DOI", "record the document of every image"),
        (
            no_licence,
            f"of {len(everyone)} images have no licence stated",
            "record it; without one only a recipe is handed on",
        ),
    )
    for members, words, remedy in rows:
        if members:
            found.append(
                Finding(
                    "provenance",
                    "warning" if members in (after, before) else "note",
                    folder.names(members),
                    f"{len(members)} {words}",
                    remedy,
                    {"count": len(members)},
                )
            )
    return found
