"""The records of the curation: a candidate with its proposals, and a curator's review of it.

Panel boxes are in pixels of the candidate's picture, ``x1`` and ``y1`` exclusive.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from harvest.records import Figure, Record

Label = Literal["COVID", "NonCOVID", "unclear"]
ArtifactKind = Literal["text", "arrow", "mark"]
CHEST_CT = 0.5
"""modality score from which a picture or panel is proposed as a chest CT"""


class PixelBox(NamedTuple):
    """A rectangle in pixels, ``x1`` and ``y1`` exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


class Suggestion(Record):
    """A suggested label, the sentence that supports it, and the patients it names."""

    label: Label
    sentence: str = ""
    patients: tuple[str, ...] = ()


class PanelProposal(Record):
    """One panel of a candidate: its box, its letter if one is known, its own caption and suggested label."""

    box: PixelBox
    letter: str = ""
    caption: str = ""
    suggestion: Suggestion
    modality: Annotated[float, Field(ge=0, le=1)]
    """score in 0..1 that this panel is a single-patient chest CT picture"""
    view: Literal["", "lung window", "soft-tissue window", "unsure"] = ""
    """window of a chest CT, where it shows; empty: no chest CT, or not asked"""
    inpaint: Literal["none", "repair", "crop", "drop"] = "none"
    """what to do about marks: nothing found, repair inside the mask, crop them off, or drop the panel"""
    masked_lung_fraction: float = 0.0


class Candidate(Record):
    """A figure that may hold chest CTs, with everything a curator is shown already proposed."""

    candidate_id: str
    """the figure id; the key of tasks and reviews (never Label Studio's own id)"""
    figure: Figure
    file: str
    """the picture, relative to the folder of the records"""
    mask: str = ""
    """1-bit PNG of proposed artifacts, same size as the picture, relative; empty: none found"""
    modality: Annotated[float, Field(ge=0, le=1)]
    modality_reason: str = ""
    panels: tuple[PanelProposal, ...]
    suggestion: Suggestion
    personal_data: Literal["none", "found", "not checked"] = "not checked"
    priority: float
    priority_reason: str = ""
    proposed_by: str
    """version of the proposers, so that an accepted proposal can be traced"""


class PanelReview(Record):
    """What a curator decided about one panel."""

    box: PixelBox
    label: Label
    patient: str = ""
    """the curator's patient key inside the document; empty: not stated"""


class Review(Record):
    """One curator's decision on one candidate."""

    candidate_id: str
    reviewer: str
    reviewed_at: str
    seconds: float | None = None
    chest_ct: bool
    panels: tuple[PanelReview, ...] = ()
    mask: str = ""
    """artifact mask as run lengths ``height x width: start+length ...`` (row-major); empty: none"""
    mask_kinds: tuple[ArtifactKind, ...] = ()
    """what the mask covers, as the curator called it"""
    comment: str = ""
    proposed_by: str = ""
    """the proposal the review started from"""
    adjudicated: bool = False


class Outcome(Record):
    """What became of one candidate, and how sure people were (``decisions.jsonl`` of the images stage)."""

    candidate_id: str
    state: Literal["unreviewed", "single", "agreed", "disagreed", "adjudicated"]
    """no review, one person's, several that agree, several that differ, somebody settled it"""
    reviewers: tuple[str, ...] = ()
    images: int
    held: int
