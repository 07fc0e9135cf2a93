"""How a command tells errors: ours in words with an exit status, faults with their traceback."""

from __future__ import annotations

import logging

import pytest
import typer
from typer.testing import CliRunner

from models import adopt, errors


def command(error: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @errors.guarded
    def main(number: int = typer.Option(1)) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "level"),
    [
        (errors.Unfinished("stopped after epoch 2 of 9"), 3, logging.WARNING),
        (errors.Diverged("the loss became NaN"), 1, logging.ERROR),
        (OSError("no space left"), 1, logging.ERROR),
    ],
)
def test_ours_are_one_line_of_the_log(
    error: Exception, status: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert CliRunner().invoke(command(error), ["--number", "2"]).exit_code == status
    assert [(line.levelno, line.name, line.message) for line in caplog.records] == [(level, __name__, str(error))]


def test_faults_keep_their_traceback_and_exits_their_status(caplog: pytest.LogCaptureFixture) -> None:
    fault = ValueError("shapes do not fit")
    assert CliRunner().invoke(command(fault), []).exception is fault
    assert CliRunner().invoke(command(typer.Exit(7)), []).exit_code == 7
    assert not caplog.records


def test_errors_of_a_module_that_is_run_are_ours() -> None:
    """python -m models.adopt calls the module __main__: its own errors must still be told in words."""
    assert errors.is_ours(type("AdoptError", (ValueError,), {"__module__": "__main__"})())
    assert errors.is_ours(adopt.AdoptError())
    assert not errors.is_ours(ValueError())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_is_not_there_is_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    assert CliRunner().invoke(command(error), []).exit_code == 1
    assert "out of memory: take smaller pictures, batches or networks (--size, --batch" in caplog.text
    assert not errors.no_memory(errors.OutOfMemory("out of memory with batches of 8"))
