"""`covidct label`: serve, push, pull, invite, agreement.

Reads: ``data/candidates`` (push), a project's annotations (pull).
Writes: Label Studio tasks (push), ``curation/reviews/<project>.jsonl`` (pull).
Guarantees: every command can be repeated, and goes on where one before it was cut off.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from curation import cards, labelstudio, pulling, server
from curation.agreement import by_candidate, disagreements, summary
from curation.labelstudio import LabelStudioError
from curation.records import Review
from curation.shelf import Shelf
from curation.tasks import TaskError
from harvest.records import RecordError, read_jsonl, write_jsonl

ADJUDICATION = "-adjudication"
TITLE = re.compile(r"[\w][\w .+-]{0,79}")
log = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help="Label Studio")
Candidates = Annotated[Path, typer.Option(help="folder of the candidates stage")]
Home = Annotated[Path, typer.Option(help="folder of our own server")]
Url = Annotated[str, typer.Option(help="an existing server; its token in LABEL_STUDIO_API_KEY")]
Title = Annotated[str, typer.Option(help="title of the project")]
Reviews = Annotated[Path, typer.Option(help="folder of the versioned reviews")]
CANDIDATES, HOME, REVIEWS = Path("data/candidates"), Path("label-studio"), Path("curation/reviews")


def _client(url: str, home: Path) -> Any:
    if url:
        return labelstudio.connect(url, os.environ.get("LABEL_STUDIO_API_KEY", ""))
    found = server.running(home)
    if not found:
        raise LabelStudioError("no server of ours is running; `covidct label serve` starts one, --url names another")
    return labelstudio.connect(found.url, found.token)


def _guard(error: object) -> typer.Exit:
    log.error("%s", error)
    return typer.Exit(1)


def _title(title: str) -> str:
    """The title names a file too, so it may not name a folder."""
    if not TITLE.fullmatch(title):
        raise LabelStudioError(f"project {title!r}: expected letters, digits, space and . _ + - (up to 80)")
    return title


def _people(told: list[str]) -> dict[int, str]:
    """``1=anna@example.org`` … by number. Raises LabelStudioError."""
    found = {}
    for text in told:
        number, _, name = text.partition("=")
        if not number.strip().isdigit() or not name.strip():
            raise LabelStudioError(f"--person {text!r}: expected a number and an address, as 1=anna@example.org")
        found[int(number)] = name.strip()
    return found


def _reviews(folder: Path, project: str) -> Iterator[Review]:
    """Pulled reviews of a project and of its adjudication."""
    yield from read_jsonl(folder / f"{project}.jsonl", Review)
    judged = folder / f"{project}{ADJUDICATION}.jsonl"
    if judged.is_file():
        yield from read_jsonl(judged, Review)


@app.command()
def serve(
    candidates: Candidates = CANDIDATES,
    home: Home = HOME,
    port: Annotated[int, typer.Option(min=1, max=65535, help="on loopback")] = 18090,
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
    typer.echo("  next: covidct label push · more curators: covidct label invite · stop: covidct label serve --stop")


@app.command()
def push(
    candidates: Candidates = CANDIDATES,
    project: Title = "covidct",
    url: Url = "",
    home: Home = HOME,
    model: Annotated[str, typer.Option(help="run of finetune (name or folder): its scores order and suggest")] = "",
    adjudicate: Annotated[
        str, typer.Option(help="push only what the reviews of this project disagree on, into '<project>-adjudication'")
    ] = "",
    reviews: Reviews = REVIEWS,
    pictures: Annotated[str, typer.Option(help="URL under which the candidates folder is published")] = "",
    overlap: Annotated[int, typer.Option(min=1, help="people who are offered each candidate")] = 2,
    update_form: Annotated[bool, typer.Option("--update-form", help="put our present form into the project")] = False,
) -> None:
    """Candidates become tasks with proposals. Safe to repeat."""
    from curation.ranking import RankingError, ranker

    try:
        address = cards.elsewhere(pictures) if pictures else cards.served(candidates, candidates.absolute().parent)
        disputed = None
        title = _title(project)
        if adjudicate:
            title = f"{_title(adjudicate)}{ADJUDICATION}"
            found = list(_reviews(reviews, adjudicate))
            groups = by_candidate(found)
            disputed = {name: groups[name] for name in disagreements(found)}
            if not disputed:
                typer.echo(f"{adjudicate}: reviewers agree on everything; nothing to adjudicate")
                return
        wish = cards.Wish(candidates, address, ranker(model) if model else None, disputed)
        client = _client(url, home)
        number = labelstudio.find_project(client, title, update_form, overlap)
        number = number or labelstudio.make_project(client, title, overlap)
        if not pictures:
            labelstudio.serve_pictures(client, number, candidates.absolute())
        counts = labelstudio.push(client, number, cards.cards(wish))
    except (LabelStudioError, RecordError, RankingError) as error:
        raise _guard(error) from error
    typer.echo(f"project {title!r}: {counts['new']} new, {counts['changed']} changed, {counts['same']} already there")
    for failure in wish.missing:
        log.error("%s: %s", failure.item, failure.reason)
    if wish.missing:
        raise typer.Exit(1)


@app.command()
def pull(
    project: Title = "covidct",
    url: Url = "",
    home: Home = HOME,
    reviews: Reviews = REVIEWS,
    export: Annotated[Path | None, typer.Option(help="a JSON export saved in the browser, instead of a server")] = None,
    person: Annotated[
        list[str] | None, typer.Option(help="whom a number in the export means, as 1=anna@example.org; repeat")
    ] = None,
) -> None:
    """Submitted annotations become reviews/<project>.jsonl."""
    try:
        people = _people(person or [])
        target = reviews / f"{_title(project)}.jsonl"
        before = list(read_jsonl(target, Review)) if target.is_file() else []
        with Shelf() as found:
            adjudicated = project.endswith(ADJUDICATION)
            if export:
                failures = pulling.pull(pulling.exported(export, people), found, adjudicated)
                kept = pulling.keep(before, found)
            else:
                client = _client(url, home)
                number = labelstudio.project_id(client, project)
                failures = pulling.pull(labelstudio.annotated(client, number), found, adjudicated)
                kept = pulling.keep_lost(client, number, before, found)
            if failures and not len(found):
                raise LabelStudioError(f"none of {len(failures)} annotations is ours; first: {failures[0].reason}")
            count = write_jsonl(target, (Review.model_validate_json(text) for _, text in found.items()))
    except (LabelStudioError, RecordError) as error:
        raise _guard(error) from error
    typer.echo(f"{target}: {count} reviews, {len(failures)} unreadable annotations")
    if kept:
        log.warning(
            "%d earlier reviews were kept whose tasks are no longer there; delete their lines to drop them", kept
        )
    for failure in failures:
        log.error("%s: %s", failure.item, failure.reason)
    if failures:
        raise typer.Exit(1)


@app.command()
def invite(home: Home = HOME) -> None:
    """The address at which another curator makes an account on our server."""
    try:
        found = server.running(home)
        if not found:
            raise LabelStudioError("no server of ours is running; `covidct label serve` starts one")
        typer.echo(server.invitation(found))
    except (LabelStudioError, server.ServerError) as error:
        raise _guard(error) from error


@app.command()
def agreement(reviews: Reviews = REVIEWS, project: Title = "covidct") -> None:
    """Kappa for each question, overlap of boxes and masks, and what curators disagree on."""
    try:
        typer.echo(summary(list(_reviews(reviews, _title(project)))))
    except (LabelStudioError, RecordError, TaskError) as error:
        raise _guard(error) from error


def main() -> None:
    """`python -m curation.label`."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    app()


# The client logs every request at level INFO
logging.getLogger("httpx").setLevel(logging.WARNING)

if __name__ == "__main__":
    main()
