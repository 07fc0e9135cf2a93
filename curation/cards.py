"""Candidate -> card: the body of a Label Studio task, with what the form shows, our key and the proposals.

Everything that comes from a paper is escaped; the sentence behind the suggested label is marked in the caption.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from PIL import Image

from curation.agreement import differences
from curation.records import CHEST_CT, Candidate, Review
from curation.tasks import TaskError, digest, review_result, to_prediction
from harvest.records import Failure, read_jsonl

GUIDE = Path(__file__).with_name("guide.md")
FORM_FIELDS = frozenset({"image", "evidence", "caption", "panel_captions", "mentions", "link", "why"})
"""what labels.xml shows"""
Address = Callable[[str], str]


@dataclass(frozen=True)
class Card:
    """One task as it is to be on the server."""

    candidate_id: str
    data: dict[str, Any]
    predictions: list[dict[str, Any]]


@dataclass(frozen=True)
class Opinion:
    """What a model says about the panels of a candidate."""

    priority: float
    """larger is shown first"""
    labels: tuple[str, ...]
    """label to suggest for each panel"""
    words: str
    """for the card: what the model says and that it is no evidence"""
    version: str
    """name of the model, for the proposal's version"""


class Ranker(Protocol):
    """Something that has an opinion (curation.ranking)."""

    def opinion(self, candidate: Candidate, picture: Path) -> Opinion:
        """Order and suggestions for one candidate."""


@dataclass(frozen=True)
class Wish:
    """Which cards to make."""

    folder: Path
    """folder of the candidates stage"""
    address: Address
    """path of a picture inside the folder -> what the browser asks for"""
    ranker: Ranker | None = None
    disputed: Mapping[str, list[Review]] | None = None
    """adjudication: only these candidates, with the reviews that differ as the proposals"""
    missing: list[Failure] = field(default_factory=list)
    """candidates that can't be shown, with the reason"""


def served(folder: Path, root: Path) -> Address:
    """Addresses of a server that serves ``root`` as its local files."""
    below = folder.absolute().relative_to(root.absolute())
    return lambda file: "/data/local-files/?d=" + quote((below / file).as_posix())


def elsewhere(prefix: str) -> Address:
    """Addresses below a URL under which the candidates folder is published."""
    return lambda file: f"{prefix.rstrip('/')}/{quote(file)}"


def cards(wish: Wish) -> Iterator[Card]:
    """Cards in the order of the candidates, one at a time; what can't be shown goes to ``wish.missing``."""
    for candidate in read_jsonl(wish.folder / "candidates.jsonl", Candidate):
        reviews = None if wish.disputed is None else wish.disputed.get(candidate.candidate_id)
        if wish.disputed is not None and not reviews:
            continue
        try:
            yield card(candidate, wish, reviews)
        except (TaskError, OSError) as error:
            wish.missing.append(Failure(item=candidate.candidate_id, reason=str(error)))


def card(candidate: Candidate, wish: Wish, reviews: list[Review] | None = None) -> Card:
    """One card. Raises TaskError or OSError where the picture or its mask is missing or damaged."""
    picture = wish.folder / candidate.file
    if not picture.is_file():
        raise TaskError(f"picture {candidate.file} is not in {wish.folder}; re-run the candidates stage")
    data = to_data(candidate, wish.address(candidate.file))
    if reviews:
        predictions = [
            {"model_version": f"review of {r.reviewer}", "score": 1.0, "result": review_result(candidate, r)}
            for r in sorted(reviews, key=lambda r: r.reviewer)
        ]
        told = dict.fromkeys(text for a, b in combinations(reviews, 2) for text in differences(a, b))
        data["why"] = html.escape("; ".join(told))
    else:
        mask = None
        if candidate.mask:
            with Image.open(wish.folder / candidate.mask) as opened:
                mask = np.asarray(opened.convert("L")) > 127
        opinion = wish.ranker.opinion(candidate, picture) if wish.ranker else None
        prediction = to_prediction(candidate, mask, labels=opinion.labels if opinion else ())
        if opinion:
            prediction["model_version"] += f" {opinion.version}"
            data["priority"] = round(opinion.priority, 4)
            data["why"] = f"{html.escape(opinion.words)}<br>{data['why']}"
        predictions = [prediction]
    return Card(candidate.candidate_id, {**data, "digest": digest(data, predictions)}, predictions)


def guide(path: Path = GUIDE) -> str:
    """guide.md as HTML for the button "Instructions"; without its pictures, which Label Studio would not show."""
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark").enable("table").render(path.read_text(encoding="utf-8"))
    without = re.sub(r"<img[^>]*>", "", page)
    return without.replace("The pictures are drawn.", "Pictures of them: curation/guide.md in the repository.")


# --- what the card shows ----------------------------------------------------------------------------------------------


def landing_page(candidate: Candidate) -> str:
    """Public page of the candidate's document, or ``""``."""
    figure = candidate.figure
    if figure.source in {"medrxiv", "biorxiv"} and figure.doi:
        version = f"v{figure.version}" if figure.version else ""
        return f"https://www.{figure.source}.org/content/{quote(figure.doi)}{version}"
    if figure.source == "pmc" and figure.document_id:
        return f"https://www.ncbi.nlm.nih.gov/pmc/articles/{quote(figure.document_id)}/"
    if figure.source == "medpix" and figure.document_id:
        return f"https://medpix.nlm.nih.gov/case?id={quote(figure.document_id)}"
    return f"https://doi.org/{quote(figure.doi)}" if figure.doi else ""


def marked(text: str, sentence: str) -> str:
    """Escaped HTML of ``text`` with ``sentence`` marked where it occurs."""
    before, found, after = text.partition(sentence) if sentence else (text, "", "")
    shown = html.escape(before) + (f"<mark>{html.escape(found)}</mark>" if found else "") + html.escape(after)
    return shown.replace("\n", "<br>")


def _list(items: Iterator[tuple[str, str]], none: str, sentence: str) -> str:
    rows = "".join(f"<p><b>{html.escape(name)}</b> {marked(text, sentence)}</p>" for name, text in items)
    return rows or f"<p><i>{none}</i></p>"


def _alike(captions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each text once, with the letters of its panels."""
    letters: dict[str, list[str]] = {}
    for letter, text in sorted(captions.items()):
        letters.setdefault(text, []).append(letter)
    return ((text, ", ".join(found)) for text, found in letters.items())


def _left_out(candidate: Candidate) -> list[str]:
    """Why panels have no box, in words: what is no chest CT, and what marks cover too much of to be repaired."""
    others = sum(panel.modality < CHEST_CT for panel in candidate.panels)
    covered = [p.masked_lung_fraction for p in candidate.panels if p.modality >= CHEST_CT and p.inpaint == "drop"]
    told = []
    if others and others < len(candidate.panels):
        told.append(f"{others} of {len(candidate.panels)} panels look like no chest CT and have no box")
    if covered:
        told.append(
            f"{len(covered)} of {len(candidate.panels)} panels have no box because marks cover "
            f"{max(covered):.1%} of the lung: draw a box only where what is left can be used"
        )
    return told


def to_data(candidate: Candidate, image: str) -> dict[str, Any]:
    """The task's ``data``: what the form shows (HTML, escaped), our key, and the order. ``image``: its address."""
    figure, said = candidate.figure, candidate.suggestion
    page = landing_page(candidate)
    name = html.escape(f"{figure.document_id} {figure.label}".strip() or candidate.candidate_id)
    link = f'<a href="{html.escape(page, quote=True)}" target="_blank" rel="noopener">{name}</a>' if page else name
    sentence = html.escape(said.sentence) or "no sentence found"
    left = _left_out(candidate)
    personal = {"none": "no personal data found in the picture", "found": "<b>shows personal data</b>"}
    return {
        "candidate_id": candidate.candidate_id,
        "image": image,
        "size": f"{figure.width}x{figure.height}",
        "priority": round(float(candidate.priority), 4),
        "evidence": f"<b>{said.label}</b> {sentence}",
        "caption": marked(figure.caption, said.sentence) or "<i>no caption found</i>",
        "panel_captions": _list(((f"({k})", v) for v, k in _alike(figure.panel_captions)), "none", said.sentence),
        "mentions": _list(((f"p. {m.page}", m.text) for m in figure.mentions), "none found", said.sentence),
        "link": link,
        "why": f"{html.escape(candidate.priority_reason)}; "
        + "".join(f"<b>{html.escape(words)}</b>; " for words in left)
        + personal.get(candidate.personal_data, "<b>personal data not checked: look for names, dates and ids</b>"),
    }
