"""Errors of training, and how a command tells them: one message in plain words and an exit status."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import typer

P = ParamSpec("P")


class EngineError(RuntimeError):
    """Training cannot start or go on: says what, expected, got and the next step."""


class Diverged(EngineError):  # noqa: N818  read as what happened
    """The loss is no longer finite."""


class OutOfMemory(EngineError):  # noqa: N818
    """The batch does not fit; the message names one to try."""


class Unfinished(EngineError):  # noqa: N818
    """The time given is used up; the state is saved and the same command continues."""


def no_memory(error: BaseException) -> bool:
    """True for an allocation that failed, in the words of Python, NumPy, torch's CPU allocator or CUDA."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words) and not is_ours(error)


def is_ours(error: BaseException) -> bool:
    """True for errors whose message is written for the user; anything else is a fault and keeps its traceback."""
    # A module that is run with python -m is called __main__, and so are the errors it defines
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("models", "covidct", "__main__")


@contextmanager
def told(log: logging.Logger) -> Iterator[None]:
    """End the command with exit status 1 and our errors' message in the log; with 3 where it is to be run again.

    Memory that was not there is told, too; all other errors keep their traceback.
    """
    try:
        yield
    except Unfinished as stopped:
        log.warning("%s", stopped)
        raise typer.Exit(3) from stopped
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        if no_memory(error):  # somewhere else than in a batch, whose own error names one to try
            log.error(
                "out of memory: take smaller pictures, batches or networks (--size, --batch, --backbone): %s", error
            )
        elif is_ours(error):
            log.error("%s", error)
        else:
            raise
        raise typer.Exit(1) from error


def guarded(main: Callable[P, None]) -> Callable[P, None]:
    """A stage's command: starts the log, and tells errors as ``told`` does."""

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        with told(logging.getLogger(main.__module__)):
            main(*args, **kwargs)

    return wrapper
