"""What the stages' command lines share: one kind of app, lists, logging, errors as one message, progress, tables."""

from __future__ import annotations

import functools
import logging
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harvest.errors import DiskFullError, HarvestError, SettingError, is_disk_full
from harvest.records import Failure, RecordError, read_jsonl

P = ParamSpec("P")
log = logging.getLogger(__name__)
console = Console(stderr=True)
Enabled = Annotated[bool, typer.Option(help="--no-enabled writes empty results")]
CacheFolder = Annotated[Path | None, typer.Option(help="folder that survives a killed run; default: <out>.cache")]
Refresh = Annotated[bool, typer.Option(help="forget what the cache knows")]
Contact = Annotated[str, typer.Option(help="e-mail address; needed for the live services")]
OtherSpacing = Annotated[float, typer.Option(help="seconds between requests to hosts that are none of the services'")]
MaxPicture = Annotated[int, typer.Option(help="largest picture, megabytes")]
_QUIET = 60.0
"""seconds without a terminal after which progress is told anyhow"""


def new_app() -> typer.Typer:
    """A one-command app whose options may be written with ``_`` or ``-``."""
    return typer.Typer(
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def cache_of(out: Path, cache: Path | None) -> Path:
    """The folder that survives a killed run."""
    return cache or out.with_name(out.name + ".cache")


def split_list(values: Iterable[str]) -> list[str]:
    """``a,b`` or a repeated option, or both: the values, each once, in order."""
    parts = (part.strip() for value in values for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def guarded(main: Callable[P, None]) -> Callable[P, None]:
    """Turn the harvest's errors into one clear message and exit code 1 (2 for an option that cannot work)."""

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False, show_time=console.is_terminal)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
        try:
            main(*args, **kwargs)
        except SettingError as error:
            _say(error)
            raise typer.Exit(2) from error
        except (HarvestError, RecordError) as error:
            _say(error)
            raise typer.Exit(1) from error
        except (OSError, sqlite3.Error) as error:
            if not is_disk_full(error):
                raise
            _say(DiskFullError(getattr(error, "filename", None) or "cache"))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            _say(HarvestError("interrupted; run the same command again to go on where it stopped"))
            raise typer.Exit(130) from error

    return wrapper


def _say(error: Exception) -> None:
    sys.stderr.write(f"ERROR {error}\n")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(per_time(task.speed or 0.0), style="progress.data.speed")


def per_time(speed: float) -> str:
    """A rate in words: by the second, or by the minute where that is less than one."""
    return f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min" if speed else "–/s"


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """A bar with count, rate and time left; ``advance(n, note)``. Without a terminal: a log line now and then."""
    if not console.is_terminal:
        yield _plain(what, total)
        return
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4, speed_estimate_period=300) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda n, note: bar.update(task, advance=n, note=note)


def _plain(what: str, total: int | None) -> Callable[[int, str], None]:
    done, said, begin = 0, 0, time.monotonic()
    spoken = begin

    def advance(n: int, note: str) -> None:
        nonlocal done, said, spoken
        done += n
        step, now = max(1, (total or 1000) // 10), time.monotonic()
        if done - said >= step or done == total or now - spoken >= _QUIET:
            said, spoken = done, now
            speed = done / max(now - begin, 1e-3)
            left = f", {in_words((total - done) / speed)} left" if total and 0 < done < total else ""
            log.info("%s %d%s, %s%s %s", what, done, f"/{total}" if total else "", per_time(speed), left, note)

    return advance


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table for people (standard error)."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="left" if number == 0 or column in ("licence", "may be redistributed") else "right"
        )
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def show_failures(path: Path) -> None:
    """Say why items failed, the commonest reasons first, from a ``failed.jsonl``."""
    reasons: dict[str, int] = {}
    for failure in read_jsonl(path, Failure):
        reason = re.sub(r"\S*://\S+|\d{6,}", "…", failure.reason)[:100]
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        common = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        show_table(f"why items failed ({path})", ("reason", "items"), common[:8])


def in_words(seconds: float) -> str:
    """``2 h 07 min``, ``12 min``, ``40 s``."""
    if seconds >= 5400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{int(seconds // 60)} min" if seconds >= 90 else f"{int(seconds)} s"
