"""Stage `images`: candidates and reviews become single CT images, one encoding for all, and the table of them.

Reads: ``candidates.jsonl`` with its pictures and masks; reviews (``*.jsonl`` of curation.records.Review).
Writes: ``images/<figure>[%n].png`` (8-bit grey, no metadata, pixels as they were), ``masks/<same>.png`` (1-bit, what
was repaired), ``records.csv`` (covidct.records), ``held.jsonl`` (what waits for a person, and why), ``decisions.jsonl``
(each candidate: how many reviewed it and whether they agree; curation.records.Outcome), ``failed.jsonl``.
Guarantees: outside its mask every pixel is the grey of the candidate's picture inside the record's box; a review goes
before a proposal and an adjudicated review before others; the unreviewed is marked ``reviewed=false``; same input,
same bytes.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import joblib
import numpy as np
import pandas as pd
import typer
from PIL import Image

from covidct.commands import new_app
from covidct.files import PathError, inside, sha256_bytes, write_bytes
from covidct.pictures import PictureError, encode, open_picture, to_grey
from covidct.records import COLUMNS, COVID, INTEGERS, TableError, write_records
from curation import artifacts
from curation.candidates import by_item
from curation.decisions import Decision, Panel, Policy, decide, item_name, read_reviews
from curation.identity import Shown, assign
from curation.patients import aliases, person_in
from curation.raster import png
from curation.records import Candidate, Outcome, Review
from curation.tasks import TaskError, decode_mask
from harvest.records import Failure, RecordError, read_jsonl, write_jsonl

log = logging.getLogger(__name__)

SEVERITY = re.compile(r"\b(mild|moderate|severe|critical|asymptomatic|non-severe)\b", re.I)


class ImagesError(RuntimeError):
    """The stage as a whole cannot go on: what, expected, got, next step."""


@dataclass(frozen=True)
class Made:
    """What became of one candidate."""

    rows: list[dict[str, Any]]
    shown: list[Shown]
    held: list[Failure]
    failed: list[Failure]
    texts: tuple[str, str]
    """document id and the words that may tie ages to patient numbers"""


def make(candidate: Candidate, folder: Path, out: Path, decision: Decision, min_side: int) -> Made:
    """Cut, repair and write the panels of one candidate."""
    figure = candidate.figure
    held = [Failure(item=item, reason=reason) for item, reason in decision.held]
    words = " ".join([figure.caption, *(m.text for m in figure.mentions)])
    made = Made([], [], held, [], (figure.document_id, words))
    if not decision.panels:
        return made
    count = len(candidate.panels) if decision.state == "unreviewed" else _count(decision)
    try:
        picture = to_grey(open_picture(inside(folder, candidate.file)))
        mask = _mask(candidate, folder, decision, picture.shape)
    except (PictureError, PathError, TaskError, ImagesError) as error:
        made.failed.append(Failure(item=candidate.candidate_id, reason=str(error)))
        return made
    for panel in decision.panels:
        name = item_name(candidate.candidate_id, panel.number, count)
        x0, y0, x1, y1 = panel.box
        if not (0 <= x0 < x1 <= picture.shape[1] and 0 <= y0 < y1 <= picture.shape[0]):
            reason = f"panel box {tuple(panel.box)}: expected inside {picture.shape[1]} x {picture.shape[0]}; redraw it"
            made.failed.append(Failure(item=name, reason=reason))
            continue
        if min(x1 - x0, y1 - y0) < min_side:
            made.held.append(
                Failure(item=name, reason=f"panel of {x1 - x0} x {y1 - y0} pixels: smaller than {min_side}")
            )
            continue
        part = np.ascontiguousarray(picture[y0:y1, x0:x1])
        marks = mask[y0:y1, x0:x1]
        content = encode(artifacts.repair(part, marks))
        write_bytes(out / "images" / f"{name}.png", content)
        if marks.any():
            write_bytes(out / "masks" / f"{name}.png", png(marks))
        made.rows.append(
            _row(candidate, panel, decision, name, count, part.shape, float(marks.mean()), sha256_bytes(content))
        )
        made.shown.append(
            Shown(
                name, figure.source, figure.document_id, figure.figure_id, figure.patient_id, panel.patient, panel.named
            )
        )
    return made


def _count(decision: Decision) -> int:
    """Panels of a reviewed candidate, those held back included, so that numbers do not shift."""
    return max([p.number for p in decision.panels] + [0]) + 1 + sum("%" in item for item, _ in decision.held)


def _mask(candidate: Candidate, folder: Path, decision: Decision, shape: tuple[int, ...]) -> np.ndarray:
    size = (shape[0], shape[1])
    if decision.state != "unreviewed":
        return decode_mask(decision.mask, size)
    if not candidate.mask:
        return np.zeros(size, bool)
    try:
        with Image.open(inside(folder, candidate.mask)) as image:
            mask = np.asarray(image.convert("L")) > 127
    except OSError as error:  # absent, cut short, or no picture
        raise ImagesError(
            f"{candidate.mask}: expected the mask of the proposals ({error}); re-run candidates"
        ) from error
    if mask.shape != size:
        raise ImagesError(f"{candidate.mask}: expected {size}, the picture's size, got {mask.shape}; re-run candidates")
    return mask


def _row(
    candidate: Candidate,
    panel: Panel,
    decision: Decision,
    name: str,
    count: int,
    shape: tuple[int, ...],
    share: float,
    sha: str,
) -> dict[str, Any]:
    figure = candidate.figure
    text = f"{panel.caption} {panel.sentence}"
    age, sex = person_in(panel.caption) if panel.caption else person_in(figure.caption)
    severity = SEVERITY.search(text)
    caption = figure.caption if panel.caption in figure.caption else f"{figure.caption} {panel.caption}"
    return {
        "image_id": name,
        "file": f"images/{name}.png",
        "label": COVID if panel.label == "COVID" else 0,
        "label_name": panel.label,
        "source": figure.source,
        "document_id": figure.document_id,
        "doi": figure.doi,
        "version": figure.version,
        "page": figure.page,
        "xref": figure.xrefs[0] if figure.xrefs else None,
        "panel": panel.number if count > 1 else None,
        "box": " ".join(map(str, panel.box)),
        "width": shape[1],
        "height": shape[0],
        "caption": caption.strip(),
        "evidence": panel.sentence,
        "age": figure.age or age,
        "sex": figure.sex or sex,
        "severity": severity.group(1).lower() if severity else "",
        "document_type": figure.document_type,
        "reviewed": decision.state != "unreviewed",
        "reviewers": ";".join(decision.reviewers),
        "inpainted_fraction": round(share, 6),
        "licence": figure.licence,
        "sha256": sha,
        "duplicate_group": "",
        "split": "",
    }


def run(
    folder: Path,
    reviews: dict[str, list[Review]],
    out: Path,
    unreviewed: Policy,
    min_score: float,
    min_side: int,
    jobs: int,
) -> tuple[int, int, int]:
    """Do all candidates; returns how many images, held, failed. Raises ImagesError, RecordError, TableError."""
    candidates = list(read_jsonl(folder / "candidates.jsonl", Candidate))
    known = {c.candidate_id for c in candidates}
    if out.exists():
        shutil.rmtree(out)
    (out / "images").mkdir(parents=True)
    decisions = [decide(c, reviews.get(c.candidate_id, []), unreviewed, min_score) for c in candidates]
    work = (
        joblib.delayed(make)(c, folder, out, decision, min_side)
        for c, decision in zip(candidates, decisions, strict=True)
    )
    rows: list[dict[str, Any]] = []
    shown: list[Shown] = []
    held: list[Failure] = []
    failed: list[Failure] = []
    tied: dict[str, dict[str, str]] = {}
    outcomes: list[Outcome] = []
    results = joblib.Parallel(n_jobs=jobs, return_as="generator")(work)
    for candidate, decision, made in zip(candidates, decisions, results, strict=True):
        counts = {"images": len(made.rows), "held": len(made.held)}
        outcomes.append(
            Outcome(candidate_id=candidate.candidate_id, state=decision.state, reviewers=decision.reviewers, **counts)
        )
        rows += made.rows
        shown += made.shown
        held += made.held
        failed += made.failed
        tied.setdefault(made.texts[0], {}).update(aliases(made.texts[1]))
    failed += [
        Failure(item=name, reason="reviewed, but no such candidate: was its figure renamed or its source switched off?")
        for name in reviews
        if name not in known
    ]
    figures = Counter((c.figure.source, c.figure.document_id) for c in candidates)
    patients = assign(shown, tied, figures)
    for row in rows:
        row["patient_id"], row["patient_basis"] = patients[row["image_id"]]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    write_records(out / "records.csv", frame.astype(dict.fromkeys(INTEGERS, "Int64")))
    write_jsonl(out / "held.jsonl", by_item(held))
    outcomes.sort(key=lambda row: row.candidate_id)
    write_jsonl(out / "decisions.jsonl", outcomes)
    write_jsonl(out / "failed.jsonl", by_item(failed))
    if failed and not rows and not held:
        raise ImagesError(f"all {len(failed)} items failed; first: {failed[0].item}: {failed[0].reason}")
    return len(rows), len(held), len(failed)


app = new_app()


@app.command()
def main(
    candidates: Annotated[Path, typer.Option(help="folder of the candidates stage")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    reviews: Annotated[Path, typer.Option(help="folder with pulled reviews (*.jsonl)")] = Path("curation/reviews"),
    unreviewed: Annotated[str, typer.Option(help="hold, or accept and mark as not reviewed")] = "hold",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="least modality score of an unreviewed panel")] = 0.5,
    min_side: Annotated[int, typer.Option(min=1, help="pixels; smaller panels are held")] = 48,
    jobs: Annotated[int, typer.Option(help="processes; -1: all cores")] = 2,
) -> None:
    """Make single CT images of candidates, as reviewed."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    if unreviewed not in ("hold", "accept"):
        raise typer.BadParameter(f"expected hold or accept, got {unreviewed!r}", param_hint="--unreviewed")
    try:
        policy: Policy = "accept" if unreviewed == "accept" else "hold"
        counts = run(candidates, read_reviews(reviews), out, policy, min_score, min_side, jobs)
    except (ImagesError, RecordError, TableError) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    log.info("%d images, %d held for a person, %d failed -> %s", *counts, out)


if __name__ == "__main__":
    app()
