"""The only module that talks to Label Studio: serve, push, pull.

Reads data/candidates (push) or a project's annotations (pull).
Writes Label Studio tasks (push), ``curation/reviews/<project>.jsonl`` (pull).
Guarantees: the candidate id inside the task's data is the key, so pushing twice makes no duplicate and a push that was
cut off is finished by the next; annotations are never touched; the same reviews give the same bytes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from curation import server
from curation.records import Candidate, Review
from curation.tasks import TaskError, digest, to_data, to_prediction, to_review
from harvest.records import Failure, RecordError, read_jsonl, write_jsonl

FORM = Path(__file__).with_name("labels.xml")
PAGE = 500
log = logging.getLogger(__name__)


class LabelStudioError(RuntimeError):
    """Label Studio refused, or holds something that is not ours: says what, expected, got, next step."""


def connect(url: str, token: str) -> Any:
    """A client whose token was tried. Raises LabelStudioError for a wrong address or token."""
    import httpx
    from label_studio_sdk.client import LabelStudio
    from label_studio_sdk.core.api_error import ApiError

    if not token:
        raise LabelStudioError("no token: set LABEL_STUDIO_API_KEY to a token of the server (Account & Settings)")
    try:
        client = LabelStudio(base_url=url, api_key=token, timeout=120)
        client.users.whoami()
    except ApiError as error:
        raise LabelStudioError(
            f"{url} answered {error.status_code} to the token; expected a user of it; set LABEL_STUDIO_API_KEY anew"
        ) from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"{url}: no Label Studio answers there ({error}); `covidct label serve` starts one"
        ) from error
    return client


def project_id(client: Any, title: str, create: bool, storage: Path | None = None) -> int:
    """Id of our project; made with our form if asked. A project of that title with another form is refused."""
    form = FORM.read_text(encoding="utf-8")
    found = [p for p in client.projects.list() if p.title == title]
    if len(found) > 1:
        raise LabelStudioError(f"{len(found)} projects are called {title!r}: expected one; rename or delete the others")
    if found:
        if "".join((found[0].label_config or "").split()) != "".join(form.split()):
            raise LabelStudioError(
                f"project {title!r} has another form than curation/labels.xml; use --project with a new title, "
                "or put our form back in its settings"
            )
        number = int(found[0].id)
    elif create:
        number = int(
            client.projects.create(
                title=title,
                label_config=form,
                description="Chest-CT candidates; see curation/guide.md",
                expert_instruction=Path(__file__).with_name("guide.md").read_text(encoding="utf-8"),
                show_instruction=False,
            ).id
        )
    else:
        titles = ", ".join(sorted(str(p.title) for p in client.projects.list())) or "none"
        raise LabelStudioError(f"no project {title!r} on the server (it has: {titles}); push first")
    if storage is not None and not any(
        s.path == str(storage) for s in client.import_storage.local.list(project=number)
    ):
        # Only the record is made, so that files are served; a sync would make tasks of its own from every file.
        client.import_storage.local.create(project=number, path=str(storage), title="candidates", use_blob_urls=True)
    return number


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _task_body(candidate: Candidate, folder: Path, root: Path, score: float | None) -> dict[str, Any]:
    picture = folder / candidate.file
    if not picture.is_file():
        raise TaskError(f"picture {candidate.file} is not in {folder}; re-run the candidates stage")
    mask = None
    if candidate.mask:
        with Image.open(folder / candidate.mask) as opened:
            mask = np.asarray(opened.convert("L")) > 127
    data = to_data(candidate, picture.absolute().relative_to(root.absolute()).as_posix())
    prediction = to_prediction(candidate, mask, score)
    return {"data": {**data, "digest": digest(data, prediction)}, "predictions": [prediction]}


def push(
    client: Any,
    project: int,
    folder: Path,
    root: Path,
    only: set[str] | None = None,
    scores: dict[str, float] | None = None,
) -> tuple[dict[str, int], list[Failure]]:
    """Bring a project up to the candidates of ``folder``; returns counts (new, changed, same) and failures.

    Candidates are sent in their order (best first), ``PAGE`` at a time. Annotations are never touched.
    """
    known = {
        str(t.data.get("candidate_id", "")): (int(t.id), str(t.data.get("digest", "")))
        for t in client.tasks.list(project=project, fields="task_only", page_size=PAGE)
    }
    counts = {"new": 0, "changed": 0, "same": 0}
    failures: list[Failure] = []
    for chunk in _chunks(read_jsonl(folder / "candidates.jsonl", Candidate), PAGE):
        new = []
        for candidate in chunk:
            if only is not None and candidate.candidate_id not in only:
                continue
            try:
                body = _task_body(candidate, folder, root, (scores or {}).get(candidate.candidate_id))
            except (TaskError, OSError) as error:
                failures.append(Failure(item=candidate.candidate_id, reason=str(error)))
                continue
            task, old = known.get(candidate.candidate_id, (0, ""))
            if not task:
                new.append(body)
            elif old == body["data"]["digest"]:
                counts["same"] += 1
            else:
                _update(client, project, task, body)
                counts["changed"] += 1
        if new:
            # No retries: a repeated import would write its tasks twice; the next push lists again and sends the rest.
            client.projects.import_tasks(id=project, request=new, request_options={"max_retries": 0})
            counts["new"] += len(new)
            log.info("%d new tasks", counts["new"])
    return counts, failures


def _update(client: Any, project: int, task: int, body: dict[str, Any]) -> None:
    """Give a task its new proposals: prediction first and the digest last, so that a cut-off update is done again."""
    for old in client.predictions.list(task=task, project=project):
        client.predictions.delete(id=old.id)
    prediction = body["predictions"][0]
    client.predictions.create(
        task=task, model_version=prediction["model_version"], score=prediction["score"], result=prediction["result"]
    )
    client.tasks.update(id=str(task), data=body["data"])


def pull(client: Any, project: int, adjudicated: bool = False) -> tuple[list[Review], list[Failure]]:
    """All submitted annotations as reviews, sorted by candidate and reviewer, and what could not be read.

    A curator who submitted twice for one candidate counts with the last. Skipped (cancelled) annotations don't count.
    """
    people = {int(u.id): str(u.email or u.username) for u in client.users.list()}
    reviews: dict[tuple[str, str], Review] = {}
    failures: list[Failure] = []
    for found in client.tasks.list(project=project, fields="all", page_size=PAGE):
        task = found.model_dump() if hasattr(found, "model_dump") else dict(found)
        for annotation in task.get("annotations") or []:
            if annotation.get("was_cancelled"):
                continue
            by = annotation.get("completed_by")
            number = int(by.get("id", 0)) if isinstance(by, dict) else int(by or 0)
            try:
                review = to_review(task, annotation, people.get(number, f"user {number}"), adjudicated)
            except (TaskError, RecordError) as error:
                failures.append(
                    Failure(item=f"task {task.get('id')} annotation {annotation.get('id')}", reason=str(error))
                )
                continue
            key = (review.candidate_id, review.reviewer)
            if key not in reviews or reviews[key].reviewed_at <= review.reviewed_at:
                reviews[key] = review
    return [reviews[key] for key in sorted(reviews)], failures


# --- command line -----------------------------------------------------------------------------------------------------

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help="Label Studio")
Home = Annotated[Path, typer.Option(help="folder of our own server")]
Url = Annotated[str, typer.Option(help="an existing server; its token in LABEL_STUDIO_API_KEY")]
Title = Annotated[str, typer.Option(help="title of the project")]


def _client(url: str, home: Path) -> Any:
    if url:
        return connect(url, os.environ.get("LABEL_STUDIO_API_KEY", ""))
    found = server.running(home)
    if not found:
        raise LabelStudioError("no server of ours is running; `covidct label serve` starts one, --url names another")
    return connect(found.url, found.token)


def _guard(error: Exception) -> typer.Exit:
    log.error("%s", error)
    return typer.Exit(1)


@app.command("serve")
def serve_command(
    candidates: Annotated[Path, typer.Option(help="folder of the candidates stage")] = Path("data/candidates"),
    home: Home = Path("label-studio"),
    port: int = 18090,
    venv: Annotated[Path, typer.Option(help="the server's own environment")] = Path(".venv-labelstudio"),
    stop: Annotated[bool, typer.Option("--stop", help="stop it instead")] = False,
) -> None:
    """Install (once) and start Label Studio on loopback; prints address, user and where the password is."""
    try:
        if stop:
            typer.echo("stopped" if server.stop(home) else "no server of ours was running")
            return
        running = server.start(home, candidates.absolute().parent, port, venv)
    except server.ServerError as error:
        raise _guard(error) from error
    typer.echo(f"Label Studio: {running.url}\n  user {server.USER}, password in {home / 'password'}")
    typer.echo("  next: covidct label push · stop: covidct label serve --stop")


@app.command("push")
def push_command(
    candidates: Annotated[Path, typer.Option(help="folder of the candidates stage")] = Path("data/candidates"),
    project: Title = "covidct",
    url: Url = "",
    home: Home = Path("label-studio"),
    adjudicate: Annotated[
        str, typer.Option(help="push only what the reviews of this project disagree on, into '<project>-adjudication'")
    ] = "",
    reviews: Path = Path("curation/reviews"),
) -> None:
    """Candidates -> tasks with proposals. Safe to repeat."""
    from curation.agreement import disagreements

    try:
        client = _client(url, home)
        only, title = None, project
        if adjudicate:
            only = set(disagreements(read_jsonl(reviews / f"{adjudicate}.jsonl", Review)))
            title = f"{adjudicate}-adjudication"
        number = project_id(client, title, create=True, storage=candidates.absolute())
        counts, failures = push(client, number, candidates, candidates.absolute().parent, only)
    except (LabelStudioError, RecordError) as error:
        raise _guard(error) from error
    typer.echo(f"project {title!r}: {counts['new']} new, {counts['changed']} changed, {counts['same']} already there")
    for failure in failures:
        log.error("%s: %s", failure.item, failure.reason)
    if failures:
        raise typer.Exit(1)


@app.command("pull")
def pull_command(
    project: Title = "covidct",
    url: Url = "",
    home: Home = Path("label-studio"),
    reviews: Annotated[Path, typer.Option(help="folder of the versioned reviews")] = Path("curation/reviews"),
) -> None:
    """Submitted annotations -> reviews/<project>.jsonl."""
    try:
        client = _client(url, home)
        number = project_id(client, project, create=False)
        found, failures = pull(client, number, adjudicated=project.endswith("-adjudication"))
    except (LabelStudioError, RecordError) as error:
        raise _guard(error) from error
    target = reviews / f"{project}.jsonl"
    if not found and failures:
        raise _guard(
            LabelStudioError(f"none of {len(failures)} annotations could be read; first: {failures[0].reason}")
        )
    write_jsonl(target, found)
    typer.echo(f"{target}: {len(found)} reviews, {len(failures)} unreadable annotations")
    for failure in failures:
        log.error("%s: %s", failure.item, failure.reason)


@app.command("agreement")
def agreement_command(reviews: Path = Path("curation/reviews"), project: Title = "covidct") -> None:
    """Kappa for each question, box overlap, and what curators disagree on."""
    from curation.agreement import summary

    try:
        typer.echo(summary(list(read_jsonl(reviews / f"{project}.jsonl", Review))))
    except RecordError as error:
        raise _guard(error) from error


def main() -> None:
    """`covidct label`."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    app()


if __name__ == "__main__":
    main()
