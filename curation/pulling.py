"""Annotated tasks, of a server or of an export, become reviews on a shelf; earlier reviews that were lost are kept.

The same reviews give the same bytes; memory does not grow with the number of tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curation.labelstudio import LabelStudioError, known_tasks, signed
from curation.records import Review
from curation.shelf import Shelf
from curation.tasks import TaskError, to_review
from harvest.records import Failure

MAX_EXPORT_BYTES = 2 * 1024**3


def exported(path: Path, people: Mapping[int, str] | None = None) -> Iterator[dict[str, Any]]:
    """Tasks of a JSON export that somebody saved in the browser, ``completed_by`` an e-mail address.

    ``people``: addresses by the server's number, which is all that an export holds. Raises LabelStudioError if it is no
    such export, or a number has no address: one person would count as two beside what was pulled by API.
    """
    if not path.is_file():
        raise LabelStudioError(f"{path}: expected a JSON export of Label Studio, got no file")
    if path.stat().st_size > MAX_EXPORT_BYTES:
        raise LabelStudioError(f"{path}: {path.stat().st_size} bytes; expected at most {MAX_EXPORT_BYTES}; pull by API")
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LabelStudioError(f"{path}: expected a JSON export of Label Studio ({error}); export as JSON") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise LabelStudioError(f"{path}: expected a list of tasks; export as JSON (not JSON-MIN, CSV …)")
    if not all(isinstance(task.get("data"), dict) and isinstance(task.get("annotations"), list) for task in tasks):
        raise LabelStudioError(
            f"{path}: expected tasks with data and annotations; export as JSON (not JSON-MIN, CSV …)"
        )
    if tasks and not any(task["data"].get("candidate_id") for task in tasks):
        raise LabelStudioError(f"{path}: none of {len(tasks)} tasks has a candidate_id; is this one of our projects?")
    unknown: set[str] = set()
    read = []
    for task in tasks:
        annotations = [signed(a, dict(people or {})) for a in task["annotations"] if isinstance(a, dict)]
        unknown |= {a["completed_by"] for a in annotations if a["completed_by"].startswith("user ")}
        read.append({**task, "annotations": annotations})
    if unknown:
        numbers = ", ".join(sorted(name.removeprefix("user ") for name in unknown))
        raise LabelStudioError(
            f"{path}: names people by number only ({numbers}); say who they are (--person 1=anna@example.org) "
            "or pull from the server"
        )
    yield from read


def pull(tasks: Iterable[dict[str, Any]], reviews: Shelf, adjudicated: bool = False) -> list[Failure]:
    """Put the submitted annotations of ``tasks`` into ``reviews`` (``key(review)`` -> JSON); returns unreadable ones.

    A curator who submitted twice for one candidate counts with the last. Skipped (cancelled) annotations don't count.
    """
    failures: list[Failure] = []
    for task in tasks:
        for annotation in task.get("annotations") or []:
            if annotation.get("was_cancelled"):
                continue
            try:
                review = to_review(task, annotation, str(annotation.get("completed_by")), adjudicated)
            except (TaskError, ValidationError) as error:
                item = f"task {task.get('id')} annotation {annotation.get('id')}"
                failures.append(Failure(item=item, reason=str(error)))
                continue
            before = reviews.get(key(review))
            if before is None or Review.model_validate_json(before).reviewed_at <= review.reviewed_at:
                reviews[key(review)] = review.model_dump_json()
    return failures


def key(review: Review) -> str:
    """What orders reviews and tells them apart: candidate, then reviewer."""
    return f"{review.candidate_id}\t{review.reviewer}"


def keep(before: Iterable[Review], reviews: Shelf) -> int:
    """Add earlier reviews that ``reviews`` lacks; returns how many."""
    missing = [review for review in before if key(review) not in reviews]
    for review in missing:
        reviews[key(review)] = review.model_dump_json()
    return len(missing)


def keep_lost(client: Any, project: int, before: Iterable[Review], reviews: Shelf) -> int:
    """Add earlier reviews whose task is no longer on the server (deleted by hand, project made anew).

    A review whose task is there but whose annotation is gone was withdrawn, and goes; a task made after the review is
    not the one that was reviewed. Returns how many were kept.
    """
    missing = [review for review in before if key(review) not in reviews]
    if not missing:
        return 0
    with Shelf() as known:
        known_tasks(client, project, known)
        return keep((review for review in missing if _lost(review, known.get(review.candidate_id))), reviews)


def _lost(review: Review, task: str | None) -> bool:
    if task is None:
        return True
    try:
        since = datetime.fromisoformat(task.split(" ", 3)[3])
        return since > datetime.fromisoformat(review.reviewed_at)
    except (ValueError, TypeError):  # no times that could be compared: rather keep too much
        return True
