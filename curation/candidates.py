"""Stage `candidates`: figures that may hold chest CTs, with everything a curator is asked already proposed.

Reads: ``figures.jsonl`` (harvest.records.Figure) and pictures of one or more harvest folders.
Writes: ``candidates.jsonl`` (curation.records.Candidate, best first), ``images/`` (the picture as PNG), ``masks/``
(proposed
artifacts, 1-bit PNG), ``rejected.jsonl`` (figures that hold no chest CT, with their score) and ``failed.jsonl``.
Guarantees: every figure is in exactly one of the three files; same input and parameters give the same bytes; personal
data is
"not checked" where Tesseract is absent, never "none".
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import joblib
import numpy as np
import typer

from covidct.commands import new_app
from covidct.files import PathError, inside, write_bytes
from covidct.pictures import PictureError
from curation import artifacts, evidence, modality, panels, personal, raster
from curation.records import CHEST_CT, Candidate, PanelProposal, PixelBox, Suggestion
from harvest.records import Failure, Figure, RecordError, read_jsonl, write_jsonl

log = logging.getLogger(__name__)

PROPOSED_BY = f"{panels.VERSION} {modality.VERSION} {artifacts.VERSION} {evidence.VERSION}"
NAME = re.compile(r"^[\w.%+-]{1,180}$")


class CandidatesError(RuntimeError):
    """The stage as a whole cannot go on: what, expected, got, next step."""


@dataclass(frozen=True)
class Options:
    """Limits of the proposals; see params.yaml."""

    min_score: float = 0.5
    repair_limit: float = 0.01
    drop_limit: float = 0.05
    check_personal: bool = True


def propose(figure: Figure, image: np.ndarray, options: Options) -> tuple[Candidate | None, np.ndarray, float]:
    """``(candidate, mask H x W, best score)`` of one figure; None where no panel looks like a chest CT."""
    boxes = [PixelBox(*box) for box in panels.find_panels(image)]
    scores = [modality.score(image[b.y0 : b.y1, b.x0 : b.x1]) for b in boxes]
    best = max(scores)
    mask = np.zeros(image.shape[:2], bool)
    if best < options.min_score:
        return None, mask, best
    said = evidence.for_figure(figure, len(boxes))
    proposals = []
    for number, (box, value) in enumerate(zip(boxes, scores, strict=True)):
        letter, text, suggestion = said.panels[number]
        kind: artifacts.Treatment = "none"
        view: modality.View | Literal[""] = ""
        share = 0.0
        if value >= options.min_score:
            part = image[box.y0 : box.y1, box.x0 : box.x1]
            view = modality.view(part)
            marks = artifacts.find(part)
            kind, share, inner = artifacts.treat(part, marks, options.repair_limit, options.drop_limit)
            if kind == "crop":
                marks = marks[inner[1] : inner[3], inner[0] : inner[2]]
                box = PixelBox(box.x0 + inner[0], box.y0 + inner[1], box.x0 + inner[2], box.y0 + inner[3])
            mask[box.y0 : box.y1, box.x0 : box.x1] |= marks
        proposals.append(
            PanelProposal(
                box=box,
                letter=letter,
                caption=text,
                suggestion=suggestion,
                modality=round(value, 4),
                view=view,
                inpaint=kind,
                masked_lung_fraction=round(share, 5),
            )
        )
    answer = _personal(image, mask) if options.check_personal else "not checked"
    priority, reason = rank(proposals, said.whole, best, answer)
    candidate = Candidate(
        candidate_id=figure.figure_id,
        figure=figure,
        file=f"images/{figure.figure_id}.png",
        mask=f"masks/{figure.figure_id}.png" if mask.any() else "",
        modality=round(best, 4),
        modality_reason=modality.reason(best),
        panels=tuple(proposals),
        suggestion=said.whole,
        personal_data=answer,
        priority=priority,
        priority_reason=reason,
        proposed_by=PROPOSED_BY,
    )
    return candidate, mask, best


def _personal(image: np.ndarray, mask: np.ndarray) -> personal.Answer:
    """What was found of personal data; where it stands is added to the mask (for removal), its text is not kept."""
    try:
        found = personal.find(image)
    except personal.NotChecked as error:
        log.warning("%s", error)
        return "not checked"
    for x0, y0, x1, y1 in (finding.box for finding in found):
        mask[y0:y1, x0:x1] = True
    return "found" if found else "none"


def rank(proposals: list[PanelProposal], whole: Suggestion, best: float, personal_data: str) -> tuple[float, str]:
    """Priority (higher is seen first) and why: the scarce class first, then what only a person can decide."""
    panels_ct = [p for p in proposals if p.modality >= CHEST_CT]
    labels = {p.suggestion.label for p in panels_ct} or {whole.label}
    value = 1.0 if "COVID" in labels else 0.7 if "unclear" in labels else 0.5
    priority = best * value + 0.02 * min(len(panels_ct), 12) + (0.1 if personal_data == "found" else 0.0)
    said = " and ".join(sorted(labels))
    reason = (
        f"chest CT {best:.2f}; the text says {said}; {len(panels_ct)} of {len(proposals)} panels look like chest CT"
    )
    windows = Counter(p.view for p in panels_ct if p.view.endswith("window"))
    if windows:
        reason += ": " + ", ".join(f"{count} in {name}" for name, count in sorted(windows.items()))
    if personal_data == "found":
        reason += "; shows personal data, marked for removal"
    elif personal_data == "not checked":
        reason += "; personal data could not be checked"
    return round(priority, 4), reason


def one(folder: Path, out: Path, figure: Figure, options: Options) -> Candidate | Failure | tuple[str, float]:
    """Do one figure and write its picture and mask: the candidate, a failure, or ``(id, score)`` if it holds no CT."""
    try:
        if not NAME.match(figure.figure_id) or ".." in figure.figure_id:
            raise PictureError(f"figure_id {figure.figure_id[:80]!r}: expected letters, digits and . _ % + - only")
        image = raster.read(inside(folder, figure.file))
        if min(image.shape[:2]) < raster.MIN_SIDE:
            return figure.figure_id, 0.0
        height, width = image.shape[:2]
        if (figure.width, figure.height) != (width, height):
            figure = figure.model_copy(update={"width": width, "height": height})
        candidate, mask, best = propose(figure, image, options)
    except (PictureError, PathError, raster.ImageError) as error:
        return Failure(item=figure.figure_id, reason=str(error))
    if candidate is None:
        return figure.figure_id, best
    write_bytes(out / candidate.file, raster.png(image))
    if candidate.mask:
        write_bytes(out / candidate.mask, raster.png(mask))
    return candidate


def figures_in(folders: list[Path]) -> Iterator[tuple[Path, Figure]]:
    """Figures of all folders, with their folder. Raises RecordError."""
    for folder in folders:
        for figure in read_jsonl(folder / "figures.jsonl", Figure):
            yield folder, figure


def by_item(rows: list[Failure]) -> list[Failure]:
    """Rows in the order of their items, so that the file does not depend on who finished first."""
    return sorted(rows, key=lambda row: (row.item, row.reason))


def run(folders: list[Path], out: Path, options: Options, jobs: int) -> tuple[int, int, int]:
    """Do all figures; returns how many are candidates, rejected, failed. Raises CandidatesError, RecordError."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    seen: set[str] = set()
    twice: list[Failure] = []

    def fresh() -> Iterator[tuple[Path, Figure]]:
        for folder, figure in figures_in(folders):
            if figure.figure_id in seen:
                twice.append(Failure(item=figure.figure_id, reason=f"figure id met before; second in {folder.name}"))
                continue
            seen.add(figure.figure_id)
            yield folder, figure

    work = (joblib.delayed(one)(folder, out, figure, options) for folder, figure in fresh())
    candidates: list[Candidate] = []
    rejected: list[Failure] = []
    failed: list[Failure] = []
    for result in joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size="auto")(work):
        if isinstance(result, Candidate):
            candidates.append(result)
        elif isinstance(result, Failure):
            failed.append(result)
        else:
            rejected.append(Failure(item=result[0], reason=f"no panel looks like a chest CT (best {result[1]:.3f})"))
    failed += twice
    candidates.sort(key=lambda c: (-c.priority, c.candidate_id))
    write_jsonl(out / "candidates.jsonl", candidates)
    write_jsonl(out / "rejected.jsonl", by_item(rejected))
    write_jsonl(out / "failed.jsonl", by_item(failed))
    if failed and not candidates and not rejected:
        raise CandidatesError(
            f"all {len(failed)} figures failed; first: {failed[0].item}: {failed[0].reason}; see {out}/failed.jsonl"
        )
    return len(candidates), len(rejected), len(failed)


app = new_app()


@app.command()
def main(
    figures: Annotated[list[Path], typer.Option(help="folder with figures.jsonl; repeat for several")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    min_score: Annotated[float, typer.Option(min=0, max=1, help="least modality score of a chest CT panel")] = 0.5,
    repair_limit: Annotated[
        float, typer.Option(min=0, max=1, help="largest masked share of lung that is repaired")
    ] = 0.01,
    drop_limit: Annotated[float, typer.Option(min=0, max=1, help="masked share of lung beyond which to drop")] = 0.05,
    check_personal: Annotated[bool, typer.Option(help="read burned-in text with Tesseract")] = True,
    jobs: Annotated[int, typer.Option(help="processes; -1: all cores")] = 2,
) -> None:
    """Propose panels, artifacts, labels and patients for every figure that may hold a chest CT."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # figures are done side by side: one thread for each Tesseract
    options = Options(min_score, repair_limit, drop_limit, check_personal)
    if check_personal and not personal.available():
        log.warning("Tesseract is not installed: personal data is marked 'not checked', and a release is refused")
    try:
        counts = run(figures, out, options, jobs)
    except (CandidatesError, RecordError) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    log.info("%d candidates, %d figures without chest CT, %d failed -> %s", *counts, out)


if __name__ == "__main__":
    app()
