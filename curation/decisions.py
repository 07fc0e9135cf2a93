"""Reviews and proposals -> what is to be done with each candidate: its panels, labels and mask, and who decided.

An adjudicated review wins; reviews that agree count as one decision by several people; reviews that disagree are held
back until somebody adjudicates. Without a review the candidate is held, or its proposals are taken and marked so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from curation.agreement import MATCH_IOU, agree, iou
from curation.records import Candidate, Label, PixelBox, Review
from harvest.records import read_jsonl

State = Literal["unreviewed", "single", "agreed", "disagreed", "adjudicated"]
Policy = Literal["hold", "accept"]


@dataclass(frozen=True)
class Panel:
    """One panel to be made an image."""

    number: int
    box: PixelBox
    label: Label
    patient: str
    """curator's key; empty: none"""
    sentence: str
    caption: str
    named: tuple[str, ...]
    inpaint: str


@dataclass(frozen=True)
class Decision:
    """What happens to one candidate."""

    panels: tuple[Panel, ...]
    held: tuple[tuple[str, str], ...]
    """``(item, reason)`` of what is not made an image"""
    reviewers: tuple[str, ...] = ()
    state: State = "unreviewed"
    mask: str = ""
    """the reviewers' mask (run lengths); empty: the proposed one, or none if reviewed"""


def read_reviews(folder: Path) -> dict[str, list[Review]]:
    """All ``*.jsonl`` of the folder by candidate id; the latest of one reviewer counts. Raises RecordError."""
    found: dict[str, dict[tuple[str, bool], Review]] = {}
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        for review in read_jsonl(path, Review):
            mine = found.setdefault(review.candidate_id, {})
            key = (review.reviewer, review.adjudicated)
            if key not in mine or mine[key].reviewed_at <= review.reviewed_at:
                mine[key] = review
    return {k: sorted(v.values(), key=lambda r: (r.reviewed_at, r.reviewer)) for k, v in sorted(found.items())}


def settle(reviews: Sequence[Review]) -> tuple[Review | None, State]:
    """The review that counts and the state: None where people disagree and nobody has adjudicated."""
    judged = [r for r in reviews if r.adjudicated]
    if judged:
        return judged[-1], "adjudicated"
    if len(reviews) == 1:
        return reviews[0], "single"
    if all(agree(one, other) for one, other in combinations(reviews, 2)):
        return reviews[-1], "agreed"
    return None, "disagreed"


def decide(candidate: Candidate, reviews: Sequence[Review], unreviewed: Policy, threshold: float) -> Decision:
    """The decision on one candidate; ``threshold``: least modality score of a panel accepted without a review."""
    if reviews:
        return _reviewed(candidate, reviews)
    name = candidate.candidate_id
    if unreviewed == "hold":
        return Decision((), ((name, "not reviewed"),))
    if candidate.personal_data == "found":
        return Decision((), ((name, "personal data found: needs a review"),))
    panels, held = [], []
    for number, panel in enumerate(candidate.panels):
        item = item_name(name, number, len(candidate.panels))
        reason = ""
        if panel.modality < threshold:
            reason = f"not a chest CT by its score ({panel.modality:.2f} < {threshold:.2f})"
        elif panel.suggestion.label == "unclear":
            reason = "label unclear: needs a review"
        elif panel.inpaint == "drop":
            reason = f"marks cover {panel.masked_lung_fraction:.1%} of the lung: needs a review"
        if reason:
            held.append((item, reason))
            continue
        said = panel.suggestion
        panels.append(
            Panel(number, panel.box, said.label, "", said.sentence, panel.caption, said.patients, panel.inpaint)
        )
    return Decision(tuple(panels), tuple(held))


def _reviewed(candidate: Candidate, reviews: Sequence[Review]) -> Decision:
    name = candidate.candidate_id
    review, state = settle(reviews)
    people = tuple(dict.fromkeys(r.reviewer for r in reviews))
    if review is None:
        return Decision((), ((name, f"reviewers disagree ({', '.join(people)}): adjudicate"),), people, state)
    if not review.chest_ct:
        return Decision((), ((name, "not a chest CT, says the review"),), people, state)
    if not review.panels:
        return Decision((), ((name, "a chest CT without a box, says the review: draw the boxes"),), people, state)
    panels, held = [], []
    for number, panel in enumerate(review.panels):
        item = item_name(name, number, len(review.panels))
        twice = [n for n, other in enumerate(review.panels) if n != number and iou(other.box, panel.box) > MATCH_IOU]
        if twice:
            held.append((item, f"the review has another box over the same panel (number {twice[0]}): delete one"))
            continue
        if panel.label == "unclear":
            held.append((item, "label cannot be told, says the review"))
            continue
        near = max(candidate.panels, key=lambda p: _overlap(p.box, panel.box), default=None)
        same = near is not None and _overlap(near.box, panel.box) > 0
        said = near.suggestion if near is not None and same else candidate.suggestion
        caption = near.caption if near is not None and same else ""
        named = said.patients
        sentence = said.sentence if said.label == panel.label else review.comment
        panels.append(Panel(number, panel.box, panel.label, panel.patient, sentence, caption, named, "repair"))
    return Decision(tuple(panels), tuple(held), people, state, review.mask)


def item_name(candidate_id: str, number: int, count: int) -> str:
    """Image id by the 2020 convention: the figure's own, with ``%n`` where there are several panels."""
    return candidate_id if count == 1 else f"{candidate_id}%{number}"


def _overlap(a: Iterable[int], b: Iterable[int]) -> int:
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    return max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
