"""Candidate <-> Label Studio JSON, and the only place where pixels become percent and percent becomes pixels.

Label Studio stores a rectangle in percent of the picture's size and a brush stroke as its own run-length code of an
RGBA picture; our records hold pixel boxes (``x1``, ``y1`` exclusive) and row-major runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from curation.masks import MAX_PIXELS, TaskError, decode_mask, encode_mask, mask_to_rle, rle_to_mask
from curation.panels import reading_order
from curation.records import CHEST_CT, ArtifactKind, Candidate, PanelReview, PixelBox, Review

__all__ = ["TaskError", "decode_mask", "digest", "encode_mask", "mask_to_rle", "review_result", "rle_to_mask"]
__all__ += ["to_percent", "to_pixels", "to_prediction", "to_review"]

PANEL_LABELS = ("COVID", "NonCOVID", "unclear")
ARTIFACT_KINDS: tuple[ArtifactKind, ...] = ("text", "arrow", "mark")


# --- boxes ------------------------------------------------------------------------------------------------------------


def to_percent(box: Sequence[int], width: int, height: int) -> dict[str, float]:
    """Pixel box -> ``{x, y, width, height}`` in percent of a ``width`` x ``height`` picture."""
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise TaskError(f"panel box {tuple(box)}: expected 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}")
    return {
        "x": 100.0 * x0 / width,
        "y": 100.0 * y0 / height,
        "width": 100.0 * (x1 - x0) / width,
        "height": 100.0 * (y1 - y0) / height,
    }


def to_pixels(value: Mapping[str, Any], width: int, height: int) -> PixelBox:
    """Percent rectangle -> pixel box, clipped to the picture.

    Label Studio exports rectangles drawn backwards with negative sizes and rectangles that reach outside the picture;
    the first are turned round, the second clipped. Raises TaskError if nothing is left or the box is rotated.
    """
    try:
        turned = float(value.get("rotation", 0) or 0) % 360
        xs = sorted((float(value["x"]), float(value["x"]) + float(value["width"])))
        ys = sorted((float(value["y"]), float(value["y"]) + float(value["height"])))
        if not np.isfinite([*xs, *ys]).all():
            raise ValueError("not finite")
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"rectangle {dict(value)!r}: expected numbers x, y, width, height in percent") from error
    if turned:
        raise TaskError(f"rectangle rotated by {value['rotation']} degrees: expected an upright box; redraw it")
    x0, x1 = (min(max(round(v * width / 100), 0), width) for v in xs)
    y0, y1 = (min(max(round(v * height / 100), 0), height) for v in ys)
    if x0 >= x1 or y0 >= y1:
        raise TaskError(f"rectangle {dict(value)!r}: expected a box inside the {width} x {height} picture; redraw it")
    return PixelBox(x0, y0, x1, y1)


# --- regions ----------------------------------------------------------------------------------------------------------


def _chest_ct(answer: bool) -> dict[str, Any]:
    value = {"choices": ["yes" if answer else "no"]}
    return {"id": "chest-ct", "from_name": "chest_ct", "to_name": "image", "type": "choices", "value": value}


def _regions(
    panels: Iterable[tuple[PixelBox, str, str, float | None]], mask: np.ndarray | None, kind: str, candidate: Candidate
) -> list[dict[str, Any]]:
    """Boxes ``(box, label, patient, score)`` and a mask as Label Studio's regions."""
    width, height = candidate.figure.width, candidate.figure.height
    common = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
    found: list[dict[str, Any]] = []
    for number, (box, label, patient, score) in enumerate(panels):
        place = {**to_percent(box, width, height), "rotation": 0}
        region = {**common, "id": f"panel-{number}"}
        value: dict[str, Any] = {**place, "rectanglelabels": [label]}
        scored = {} if score is None else {"score": score}
        found.append({**region, "from_name": "panel", "type": "rectanglelabels", **scored, "value": value})
        if patient:
            value = {**place, "text": [patient]}
            found.append({**region, "from_name": "patient", "type": "textarea", "value": value})
    if mask is not None and mask.any():
        if mask.shape != (height, width):
            raise TaskError(
                f"{candidate.candidate_id}: mask {mask.shape}, expected {(height, width)}; re-run candidates"
            )
        value = {"format": "rle", "rle": mask_to_rle(mask), "brushlabels": [kind]}
        found.append({**common, "id": "artifacts", "from_name": "artifact", "type": "brushlabels", "value": value})
    return found


def to_prediction(
    candidate: Candidate, mask: np.ndarray | None, score: float | None = None, labels: Sequence[str] = ()
) -> dict[str, Any]:
    """The proposals as a Label Studio prediction; ``mask`` is H x W bool of the whole picture or None.

    Only panels worth accepting get a box (`offered`): whoever presses one key must not take an X-ray, or lung that
    would be invented, into the data. ``labels``: other labels for the panels, in their order, where a model knows
    better than the text.
    """
    said = labels or [panel.suggestion.label for panel in candidate.panels]
    boxed = offered(candidate)
    panels = [
        (panel.box, label, panel.suggestion.patients[0] if len(panel.suggestion.patients) == 1 else "", panel.modality)
        for number, (panel, label) in enumerate(zip(candidate.panels, said, strict=True))
        if number in boxed
    ]
    return {
        "model_version": candidate.proposed_by,
        "score": float(candidate.modality if score is None else score),
        "result": [_chest_ct(candidate.modality >= CHEST_CT), *_regions(panels, mask, "text", candidate)],
    }


def offered(candidate: Candidate) -> list[int]:
    """Numbers of the panels that are proposed with a box: chest CTs whose marks can be repaired or cropped off."""
    return [n for n, p in enumerate(candidate.panels) if p.modality >= CHEST_CT and p.inpaint != "drop"]


def review_result(candidate: Candidate, review: Review) -> list[dict[str, Any]]:
    """A review as Label Studio's regions, so that whoever adjudicates can start from it. Raises TaskError."""
    size = (candidate.figure.height, candidate.figure.width)
    mask = decode_mask(review.mask, size) if review.mask else None
    panels = [(panel.box, panel.label, panel.patient, None) for panel in review.panels]
    return [_chest_ct(review.chest_ct), *_regions(panels, mask, "mark", candidate)]


def digest(data: Mapping[str, Any], predictions: object) -> str:
    """Short hash of a task's content: tells a changed proposal from one already pushed."""
    content = json.dumps([dict(data), predictions], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


# --- annotation -> review ---------------------------------------------------------------------------------------------


def _side(item: Mapping[str, Any], name: str, candidate_id: str) -> int:
    try:
        side = int(item.get(name) or 0)
    except (TypeError, ValueError):
        side = 0
    if not 0 < side <= MAX_PIXELS:
        raise TaskError(f"{candidate_id}: region's {name} {item.get(name)!r}: expected the picture's size in pixels")
    return side


def _text(value: Mapping[str, Any]) -> str:
    said = value.get("text") or []
    return " ".join([said] if isinstance(said, str) else map(str, said)).strip()


def _one(value: Mapping[str, Any], field: str, allowed: Sequence[str], where: str) -> str:
    """The single choice of a region; raises TaskError if there is none, several or another."""
    found = value.get(field)
    if not isinstance(found, list) or len(found) != 1 or found[0] not in allowed:
        raise TaskError(f"{where} {found!r}: expected one of {', '.join(allowed)}; was the form changed?")
    return str(found[0])


class _Answers:
    """What one annotation says, region by region."""

    def __init__(self, candidate_id: str, size: tuple[int, int] | None) -> None:
        self.candidate_id, self.size = candidate_id, size
        self.chest_ct: bool | None = None
        self.comment = ""
        self.boxes: dict[str, tuple[PixelBox, str]] = {}
        self.patients: dict[str, str] = {}
        self.mask: np.ndarray | None = None
        self.kinds: set[str] = set()

    def add(self, item: object) -> None:
        """Take in one region; raises TaskError if the form can't have made it."""
        value = item.get("value") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(value, Mapping):
            raise TaskError(f"{self.candidate_id}: region {str(item)[:60]!r}: expected an object with a value")
        asked = (item.get("type"), item.get("from_name"))
        if asked == ("choices", "chest_ct"):
            self.chest_ct = _one(value, "choices", ("yes", "no"), f"{self.candidate_id}: chest CT") == "yes"
        elif asked == ("rectanglelabels", "panel"):
            label = _one(value, "rectanglelabels", PANEL_LABELS, f"{self.candidate_id}: panel label")
            self.boxes[str(item.get("id"))] = (to_pixels(value, *self._sides(item)), label)
        elif asked == ("textarea", "patient"):
            self.patients[str(item.get("id"))] = _text(value)
        elif asked == ("textarea", "comment"):
            self.comment = _text(value)
        elif asked == ("brushlabels", "artifact"):
            self.kinds.add(_one(value, "brushlabels", ARTIFACT_KINDS, f"{self.candidate_id}: artifact"))
            stroke = rle_to_mask(value.get("rle") or [], *self._sides(item))
            self.mask = stroke if self.mask is None else self.mask | stroke
        else:
            raise TaskError(
                f"{self.candidate_id}: region {asked[0]!r}/{asked[1]!r} is not of our form; was it changed?"
            )

    def _sides(self, item: Mapping[str, Any]) -> tuple[int, int]:
        sides = (_side(item, "original_width", self.candidate_id), _side(item, "original_height", self.candidate_id))
        self.size = self.size or sides
        if sides != self.size:
            raise TaskError(
                f"{self.candidate_id}: region on a picture of {sides[0]} x {sides[1]} pixels, expected "
                f"{self.size[0]} x {self.size[1]}; was the picture exchanged? push again and redo this one"
            )
        return sides


def _size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """``(width, height)`` of the task's picture, as pushed."""
    width, _, height = str(data.get("size") or "").partition("x")
    return (int(width), int(height)) if width.isdigit() and height.isdigit() else None


def _time(record: Mapping[str, Any]) -> float:
    """When it was made, in seconds; 0 where that is not said."""
    try:
        return datetime.fromisoformat(str(record.get("created_at"))).timestamp()
    except ValueError:
        return 0.0


def _started_from(task: Mapping[str, Any], annotation: Mapping[str, Any]) -> str:
    """Version of the proposal that the annotation started from, ``""`` if from none.

    Label Studio forgets the tie when a curator comes back to a draft; the regions then still say that they come from a
    proposal, and it was the newest there was.
    """
    predictions = [p for p in task.get("predictions") or [] if isinstance(p, Mapping)]
    parent = annotation.get("parent_prediction")
    found = [p for p in predictions if p.get("id") == parent]
    if not found and any(
        str(item.get("origin", "")).startswith("prediction") for item in annotation.get("result") or []
    ):
        found = sorted((p for p in predictions if _time(p) <= _time(annotation)), key=_time)
    return str(found[-1].get("model_version") or "") if found else ""


def to_review(
    task: Mapping[str, Any], annotation: Mapping[str, Any], reviewer: str, adjudicated: bool = False
) -> Review:
    """One annotation of one of our tasks -> Review.

    Raises TaskError if the task has no candidate id (somebody else's project), the form's answers are missing, or a
    region is not one the form can make.
    """
    data = task.get("data")
    candidate_id = str(data.get("candidate_id") or "") if isinstance(data, Mapping) else ""
    if not isinstance(data, Mapping) or not candidate_id:
        raise TaskError(f"task {task.get('id')}: expected data.candidate_id, got none; is this one of our projects?")
    answers = _Answers(candidate_id, _size(data))
    for item in annotation.get("result") or []:
        answers.add(item)
    if answers.chest_ct is None:
        raise TaskError(f"{candidate_id}: the question 'Is it a chest CT?' has no answer; open the task and answer it")
    # the order of the proposals: a proposal accepted as it is keeps the numbers of its images
    boxes = [(box.x0, box.y0, box.x1, box.y1) for box, _ in answers.boxes.values()]
    places: dict[tuple[int, ...], int] = {box: number for number, box in enumerate(reading_order(boxes))}
    in_order = sorted(answers.boxes.items(), key=lambda pair: (places[tuple(pair[1][0])], pair[1], pair[0]))
    panels = tuple(
        PanelReview.model_validate({"box": box, "label": label, "patient": answers.patients.get(region, "")})
        for region, (box, label) in in_order
    )
    lead = annotation.get("lead_time")
    return Review(
        candidate_id=candidate_id,
        reviewer=reviewer,
        reviewed_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        seconds=round(float(lead), 1) if isinstance(lead, int | float) else None,
        chest_ct=answers.chest_ct,
        panels=panels,
        mask="" if answers.mask is None else encode_mask(answers.mask),
        mask_kinds=tuple(kind for kind in ARTIFACT_KINDS if kind in answers.kinds),
        comment=answers.comment,
        proposed_by=_started_from(task, annotation),
        adjudicated=adjudicated,
    )
