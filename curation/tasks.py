"""Candidate <-> Label Studio JSON, and the only place where pixels become percent and percent becomes pixels.

Label Studio stores a rectangle in percent of the picture's size and a brush stroke as its own run-length code of an
RGBA picture; our records hold pixel boxes (``x1``, ``y1`` exclusive) and row-major runs.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from curation.records import Candidate, PanelReview, PixelBox, Review

PANEL_LABELS = ("COVID", "NonCOVID", "unclear")
ARTIFACT_KINDS = ("text", "arrow", "mark")
DATA_KEYS = ("candidate_id", "image", "caption", "panel_captions", "mentions", "evidence", "link", "priority_reason")


class TaskError(ValueError):
    """A task or annotation is not one of ours: names task, field, expected and got."""


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
    if float(value.get("rotation", 0) or 0) % 360:
        raise TaskError(f"rectangle rotated by {value['rotation']} degrees: expected an upright box; redraw it")
    try:
        xs = sorted((float(value["x"]), float(value["x"]) + float(value["width"])))
        ys = sorted((float(value["y"]), float(value["y"]) + float(value["height"])))
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"rectangle {dict(value)!r}: expected numbers x, y, width, height in percent") from error
    x0, x1 = (min(max(round(v * width / 100), 0), width) for v in xs)
    y0, y1 = (min(max(round(v * height / 100), 0), height) for v in ys)
    if x0 >= x1 or y0 >= y1:
        raise TaskError(f"rectangle {dict(value)!r}: expected a box inside the {width} x {height} picture; redraw it")
    return PixelBox(x0, y0, x1, y1)


# --- masks ------------------------------------------------------------------------------------------------------------


def encode_mask(mask: np.ndarray) -> str:
    """Bool mask (H x W) -> ``"HxW: start+length ..."`` (row-major); an empty mask gives ``""``."""
    mask = np.asarray(mask, bool)
    if not mask.any():
        return ""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(np.int8), [0]])))
    runs = " ".join(f"{a}+{b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))
    return f"{mask.shape[0]}x{mask.shape[1]}: {runs}"


def decode_mask(text: str, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Inverse of encode_mask; ``""`` needs ``shape``. Raises TaskError on anything malformed or another size."""
    if not text:
        if shape is None:
            raise TaskError("empty mask: expected the picture's shape beside it")
        return np.zeros(shape, bool)
    try:
        head, _, runs = text.partition(": ")
        height, width = (int(part) for part in head.split("x"))
        if height * width > 400_000_000:
            raise ValueError(f"{height} x {width} pixels")
        mask = np.zeros(height * width, bool)
        for run in runs.split():
            start, length = (int(part) for part in run.split("+"))
            if start < 0 or length < 1 or start + length > mask.size:
                raise ValueError(f"run {run} outside the picture")
            mask[start : start + length] = True
    except ValueError as error:
        raise TaskError(f"mask {text[:40]!r}: expected 'HxW: start+length ...' ({error})") from error
    if shape is not None and (height, width) != tuple(shape):
        raise TaskError(f"mask is {height} x {width}: expected {shape[0]} x {shape[1]}, the picture's size")
    return mask.reshape(height, width)


def mask_to_rle(mask: np.ndarray) -> list[int]:
    """Bool mask (H x W) -> Label Studio's brush code."""
    from label_studio_sdk.converter.brush import mask2rle

    return [int(v) for v in mask2rle(np.asarray(mask, bool).astype(np.uint8) * 255)]


def rle_to_mask(rle: Sequence[int], width: int, height: int) -> np.ndarray:
    """Label Studio's brush code -> bool mask (H x W); strokes are antialiased, alpha above 127 counts."""
    from label_studio_sdk.converter.brush import decode_rle

    flat = np.asarray(decode_rle(list(rle)))
    if flat.size != width * height * 4:
        raise TaskError(f"brush of {flat.size} values: expected {width} x {height} x 4 for this picture")
    return flat.reshape(height, width, 4)[:, :, 3] > 127


# --- candidate -> task ------------------------------------------------------------------------------------------------


def landing_page(candidate: Candidate) -> str:
    """Public page of the candidate's document, or ``""``."""
    figure = candidate.figure
    if figure.source in {"medrxiv", "biorxiv"} and figure.doi:
        version = f"v{figure.version}" if figure.version else ""
        return f"https://www.{figure.source}.org/content/{figure.doi}{version}"
    if figure.source == "pmc" and figure.document_id:
        return f"https://www.ncbi.nlm.nih.gov/pmc/articles/{figure.document_id}/"
    return f"https://doi.org/{figure.doi}" if figure.doi else ""


def to_data(candidate: Candidate, image_path: str) -> dict[str, str]:
    """The task's ``data``: what the form shows, and our key. ``image_path`` is relative to the served folder."""
    figure = candidate.figure
    page = landing_page(candidate)
    name = html.escape(f"{figure.document_id} {figure.label}".strip() or candidate.candidate_id)
    link = f'<a href="{html.escape(page, quote=True)}" target="_blank" rel="noopener">{name}</a>' if page else name
    suggestion = candidate.suggestion
    return {
        "candidate_id": candidate.candidate_id,
        "image": "/data/local-files/?d=" + quote(image_path),
        "caption": figure.caption or "(no caption found)",
        "panel_captions": "\n".join(f"({k}) {v}" for k, v in sorted(figure.panel_captions.items())) or "(none)",
        "mentions": "\n\n".join(f"p. {m.page}: {m.text}" for m in figure.mentions) or "(none found)",
        "evidence": f"{suggestion.label}: {suggestion.sentence or 'no sentence found'}",
        "link": link,
        "priority_reason": f"{candidate.priority_reason} (personal data: {candidate.personal_data})".strip(),
    }


def to_prediction(candidate: Candidate, mask: np.ndarray | None, score: float | None = None) -> dict[str, Any]:
    """The proposals as a Label Studio prediction; ``mask`` is H x W bool of the whole picture or None."""
    width, height = candidate.figure.width, candidate.figure.height
    common = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": "image"}
    result: list[dict[str, Any]] = [
        {
            "id": "chest-ct",
            "from_name": "chest_ct",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": ["yes" if candidate.modality >= 0.5 else "no"]},
        }
    ]
    for number, panel in enumerate(candidate.panels):
        box = to_percent(panel.box, width, height)
        region = {**common, "id": f"panel-{number}"}
        result.append(
            {
                **region,
                "from_name": "panel",
                "type": "rectanglelabels",
                "score": panel.modality,
                "value": {**box, "rotation": 0, "rectanglelabels": [panel.suggestion.label]},
            }
        )
        if panel.suggestion.patients:
            value = {**box, "rotation": 0, "text": [panel.suggestion.patients[0]]}
            result.append({**region, "from_name": "patient", "type": "textarea", "value": value})
    if mask is not None and mask.any():
        if mask.shape != (height, width):
            raise TaskError(
                f"{candidate.candidate_id}: mask {mask.shape}, expected {(height, width)}; re-run candidates"
            )
        value = {"format": "rle", "rle": mask_to_rle(mask), "brushlabels": ["text"]}
        result.append({**common, "id": "artifacts", "from_name": "artifact", "type": "brushlabels", "value": value})
    return {
        "model_version": candidate.proposed_by,
        "score": float(candidate.modality if score is None else score),
        "result": result,
    }


def digest(data: Mapping[str, Any], prediction: Mapping[str, Any]) -> str:
    """Short hash of a task's content: tells a changed proposal from one already pushed."""
    content = json.dumps([dict(data), dict(prediction)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


# --- annotation -> review ---------------------------------------------------------------------------------------------


def to_review(
    task: Mapping[str, Any], annotation: Mapping[str, Any], reviewer: str, adjudicated: bool = False
) -> Review:
    """One annotation of one of our tasks -> Review.

    Raises TaskError if the task has no candidate id (somebody else's project), the form's answers are missing, or a
    region is not one the form can make.
    """
    candidate_id = str((task.get("data") or {}).get("candidate_id", ""))
    if not candidate_id:
        raise TaskError(f"task {task.get('id')}: expected data.candidate_id, got none; is this one of our projects?")
    chest_ct: bool | None = None
    comment = ""
    boxes: dict[str, tuple[PixelBox, str]] = {}
    patients: dict[str, str] = {}
    mask: np.ndarray | None = None
    for item in annotation.get("result") or []:
        kind, name, value = item.get("type"), item.get("from_name"), item.get("value") or {}
        width, height = int(item.get("original_width") or 0), int(item.get("original_height") or 0)
        if (kind, name) == ("choices", "chest_ct"):
            chest_ct = (value.get("choices") or [""])[0] == "yes"
        elif (kind, name) == ("rectanglelabels", "panel"):
            label = (value.get("rectanglelabels") or [""])[0]
            if label not in PANEL_LABELS:
                raise TaskError(f"{candidate_id}: panel label {label!r}, expected one of {', '.join(PANEL_LABELS)}")
            boxes[str(item.get("id"))] = (to_pixels(value, width, height), label)
        elif (kind, name) == ("textarea", "patient"):
            patients[str(item.get("id"))] = " ".join(value.get("text") or []).strip()
        elif (kind, name) == ("textarea", "comment"):
            comment = " ".join(value.get("text") or []).strip()
        elif (kind, name) == ("brushlabels", "artifact"):
            stroke = rle_to_mask(value.get("rle") or [], width, height)
            mask = stroke if mask is None else mask | stroke
        else:
            raise TaskError(f"{candidate_id}: region {kind!r}/{name!r} is not of our form; was the form changed?")
    if chest_ct is None:
        raise TaskError(f"{candidate_id}: the question 'Is it a chest CT?' has no answer; open the task and answer it")
    panels = tuple(
        PanelReview(box=box, label=label, patient=patients.get(region, ""))  # type: ignore[arg-type]
        for region, (box, label) in sorted(boxes.items(), key=lambda pair: (pair[1][0].y0, pair[1][0].x0, pair[0]))
    )
    parent = annotation.get("parent_prediction")
    predictions = [p for p in task.get("predictions") or [] if isinstance(p, Mapping)]
    started_from = next((str(p.get("model_version") or "") for p in predictions if p.get("id") == parent), "")
    lead = annotation.get("lead_time")
    return Review(
        candidate_id=candidate_id,
        reviewer=reviewer,
        reviewed_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        seconds=None if lead is None else round(float(lead), 1),
        chest_ct=chest_ct,
        panels=panels,
        mask="" if mask is None else encode_mask(mask),
        comment=comment,
        proposed_by=started_from,
        adjudicated=adjudicated,
    )
