"""The only module that talks to Label Studio: connect, find or make our project, push, list tasks and annotations.

Guarantees: the candidate id inside the task's data is the key, so pushing twice makes no duplicate and a push that was
cut off is finished by the next; annotations are never touched, nor the proposal one started from; memory does not grow
with the number of tasks. What becomes of the annotations: `curation.pulling`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curation.cards import Card, guide
from curation.shelf import Shelf

FORM = Path(__file__).with_name("labels.xml")
PAGE = 500
HIDDEN_DATA = ("image", "digest", "size", "panel_captions", "mentions", "link", "evidence", "caption", "why")
HIDDEN = (
    *("id", "file_upload", "storage_filename", "completed_at", "annotations_results", "annotations_ids"),
    *("predictions_results", "predictions_score", "predictions_model_versions", "avg_lead_time", "updated_at"),
    *("created_at", "updated_by", "draft_exists", "total_predictions", "allow_skip", "comment_count", "reviewers"),
)
log = logging.getLogger(__name__)


class LabelStudioError(RuntimeError):
    """Label Studio refused, or holds something that is not ours: says what, expected, got, next step."""


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn a refusal or a lost connection into a LabelStudioError that says how to go on."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        said = " ".join(str(error.body).split())[:300]
        raise LabelStudioError(f"{what}: Label Studio answered {error.status_code}: {said}") from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"{what}: the connection broke ({error or type(error).__name__}); nothing is lost: see that the "
            "server runs (`covidct label serve`) and do the same again"
        ) from error


def connect(url: str, token: str) -> Any:
    """A client whose token was tried. Raises LabelStudioError for a wrong address or token."""
    import httpx
    from label_studio_sdk.client import LabelStudio
    from label_studio_sdk.core.api_error import ApiError

    if not token:
        raise LabelStudioError("no token: set LABEL_STUDIO_API_KEY to a token of the server (Account & Settings)")
    if not url.startswith(("http://", "https://")):
        raise LabelStudioError(f"{url}: expected an address that starts with http:// or https://")
    try:
        client = LabelStudio(base_url=url, api_key=token, timeout=300)
        client.users.whoami()
    except ApiError as error:
        if error.status_code in (401, 403):
            raise LabelStudioError(
                f"{url} does not know the token ({error.status_code}): expected one of its users' in "
                "LABEL_STUDIO_API_KEY; take a new one from Account & Settings"
            ) from error
        raise LabelStudioError(
            f"{url} answered {error.status_code}: expected a Label Studio server; is the address right?"
        ) from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"{url}: no Label Studio answers there ({error}); `covidct label serve` starts one"
        ) from error
    except (ValidationError, ValueError, AttributeError, TypeError) as error:  # a web page, or JSON of something else
        raise LabelStudioError(f"{url} answers, but not as Label Studio does; is the address right?") from error
    return client


# --- the project ------------------------------------------------------------------------------------------------------


def find_project(client: Any, title: str, update_form: bool = False, overlap: int = 0) -> int | None:
    """Id of the project of that title, or None. One with another form is refused, or given ours if asked.

    ``overlap``: change how many people are offered each candidate; 0: leave it.
    """
    form = FORM.read_text(encoding="utf-8")
    with speaking("projects"):
        found = [p for p in client.projects.list() if p.title == title]
        if len(found) > 1:
            raise LabelStudioError(
                f"{len(found)} projects are called {title!r}: expected one; rename or delete the others"
            )
        if not found:
            return None
        number = int(found[0].id)
        if "".join((found[0].label_config or "").split()) != "".join(form.split()):
            if not update_form:
                raise LabelStudioError(
                    f"project {title!r} has another form than curation/labels.xml; if it is an older form of ours, "
                    "`covidct label push --update-form` puts the new one in; else use --project with a new title"
                )
            client.projects.update(id=number, label_config=form, expert_instruction=guide())
        if overlap and found[0].maximum_annotations != overlap:
            client.projects.update(id=number, maximum_annotations=overlap)
    return number


def make_project(client: Any, title: str, overlap: int = 2) -> int:
    """A new project with our form and guide, and a tab that shows the candidates best first.

    ``overlap``: how many people are offered each candidate.
    """
    with speaking(f"making project {title!r}"):
        number = int(
            client.projects.create(
                title=title,
                label_config=FORM.read_text(encoding="utf-8"),
                description="Chest-CT candidates; see curation/guide.md",
                expert_instruction=guide(),
                show_instruction=False,
                show_skip_button=True,
                maximum_annotations=overlap,
            ).id
        )
        hidden = [f"tasks:data.{name}" for name in HIDDEN_DATA] + [f"tasks:{name}" for name in HIDDEN]
        client.views.create(
            project=number,
            data={
                "title": "Best first",
                "type": "list",
                "ordering": ["-tasks:data.priority"],
                "columnsDisplayType": {"tasks:data.priority": "Number"},
                "hiddenColumns": {"explore": hidden, "labeling": hidden},
            },
        )
    return number


def project_id(client: Any, title: str) -> int:
    """Id of a project that must be there; else LabelStudioError with the titles there are."""
    number = find_project(client, title)
    if number is None:
        with speaking("projects"):
            titles = ", ".join(sorted(str(p.title) for p in client.projects.list())) or "none"
        raise LabelStudioError(f"no project {title!r} on the server (it has: {titles}); push first")
    return number


def serve_pictures(client: Any, project: int, folder: Path) -> None:
    """Let the server hand out the pictures of ``folder``, a strict sub-folder of its document root."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        if not any(s.path == str(folder) for s in client.import_storage.local.list(project=project)):
            # Only the record is made, so that files are served; a sync would make a task of its own from every file
            client.import_storage.local.create(
                project=project, path=str(folder), title="candidates", use_blob_urls=True
            )
    except (ApiError, httpx.HTTPError) as error:
        raise LabelStudioError(
            f"the server can't hand out the pictures of {folder} ({error}); either start it with "
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to the "
            "folder above, on this machine, or publish the folder on a web server and push with --pictures URL"
        ) from error


# --- push -------------------------------------------------------------------------------------------------------------


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def known_tasks(client: Any, project: int, known: Shelf) -> None:
    """Fill ``known``: candidate id -> ``"task digest annotations since"``; a candidate's second task is told."""
    with speaking("listing tasks"):
        wanted = "id,data,created_at,total_annotations"
        for task in client.tasks.list(project=project, fields="task_only", include=wanted, page_size=PAGE):
            data = dict(task.data or {})
            name = str(data.get("candidate_id") or "")
            if not name:
                log.warning("task %s is not ours (no candidate_id in its data): left alone", task.id)
            elif name in known:
                log.warning("%s has two tasks (%s is the second): delete one by hand", name, task.id)
            else:
                known[name] = f"{task.id} {data.get('digest') or '-'} {task.total_annotations} {task.created_at or ''}"


def push(client: Any, project: int, cards: Iterable[Card]) -> dict[str, int]:
    """Bring a project up to the cards; returns counts of new, changed and same ones.

    Sent in their order (best first), ``PAGE`` at a time. Annotations are never touched. A curator who has a card open
    whose proposals change must load it again, so push when nobody works.
    """
    counts = {"new": 0, "changed": 0, "same": 0}
    version = ""
    with Shelf() as known:
        known_tasks(client, project, known)
        for chunk in _chunks(cards, PAGE):
            new: list[dict[str, Any]] = []
            changed: dict[int, Card] = {}
            for card in chunk:
                version = card.predictions[0]["model_version"] if len(card.predictions) == 1 else ""
                found = known.get(card.candidate_id)
                task, old, annotations, _ = (found or "0   ").split(" ", 3)
                if found is None:
                    new.append({"data": card.data, "predictions": card.predictions})
                    known[card.candidate_id] = f"0 {card.data['digest']} 0 "
                elif old == card.data["digest"]:
                    counts["same"] += 1
                elif annotations == "0" and task != "0":
                    changed[int(task)] = card
                elif task != "0":
                    _update_reviewed(client, project, int(task), card)
                    counts["changed"] += 1
            with speaking(f"pushing after {counts['new']} new and {counts['changed']} changed tasks"):
                if changed:
                    _update(client, project, changed)
                    counts["changed"] += len(changed)
                if new:
                    # No retries: a repeated import would write its tasks twice; the next push lists again
                    client.projects.import_tasks(id=project, request=new, request_options={"max_retries": 0})
                    counts["new"] += len(new)
            if new or changed:
                log.info("%d new tasks, %d changed", counts["new"], counts["changed"])
    if sum(counts.values()):
        # Label Studio offers only proposals of the project's current version; empty: all of them
        with speaking("setting the current version of the proposals"):
            client.projects.update(id=project, model_version=version)
    return counts


def _update(client: Any, project: int, changed: dict[int, Card]) -> None:
    """Give tasks without annotations new proposals: the digest last, so that what was cut off is done again."""
    client.actions.create(
        id="delete_tasks_predictions", project=project, selected_items={"all": False, "included": list(changed)}
    )
    client.projects.import_predictions(
        id=project, request=[{"task": task, **new} for task, card in changed.items() for new in card.predictions]
    )
    for task, card in changed.items():
        client.tasks.update(id=str(task), data=card.data)


def _update_reviewed(client: Any, project: int, task: int, card: Card) -> None:
    """The same for a task with annotations: its old proposals stay, because annotations started from them."""
    with speaking(f"updating {card.candidate_id}"):
        there = [(p.model_version, p.result) for p in client.predictions.list(task=task, project=project)]
        for new in card.predictions:
            if (new["model_version"], new["result"]) not in there:
                client.predictions.create(
                    task=task, model_version=new["model_version"], score=new["score"], result=new["result"]
                )
        client.tasks.update(id=str(task), data=card.data)


# --- pull -------------------------------------------------------------------------------------------------------------


def signed(annotation: dict[str, Any], people: dict[int, str]) -> dict[str, Any]:
    """The annotation with ``completed_by`` an e-mail address, as far as it is known (initials are not enough)."""
    by = annotation.get("completed_by")
    number, told = (by.get("id"), by.get("email")) if isinstance(by, dict) else (by, "")
    return {**annotation, "completed_by": str(told or people.get(number or 0) or f"user {number}")}


def annotated(client: Any, project: int) -> Iterator[dict[str, Any]]:
    """Tasks with annotations as plain dictionaries, ``completed_by`` an e-mail address."""
    with speaking("pulling"):
        people = {int(u.id): str(u.email or u.username) for u in client.users.list()}
        for found in client.tasks.list(project=project, fields="all", only_annotated=True, page_size=PAGE):
            task: dict[str, Any] = found.model_dump()
            yield {**task, "annotations": [signed(a, people) for a in task.get("annotations") or []]}
