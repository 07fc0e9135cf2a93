"""What the stages' command lines share: words for times and rates, progress without a terminal, errors as messages."""

from __future__ import annotations

import errno
import logging
import sqlite3

import pytest
import typer

from harvest import options
from harvest.errors import HarvestError, SettingError
from harvest.options import guarded, in_words, per_time, progress, show_failures, split_list
from harvest.records import Failure, RecordError, write_jsonl


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "1 min"), (5399, "89 min"), (5400, "1 h 30 min"), (7600, "2 h 06 min")],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


def test_rates_in_words():
    assert [per_time(speed) for speed in (0, 0.1, 0.99, 1, 83.4)] == ["–/s", "6.0/min", "59.4/min", "1.0/s", "83.4/s"]


def test_lists():
    assert split_list(["a,b", " c ", "a", ","]) == ["a", "b", "c"]


def test_progress_without_a_terminal_is_told_now_and_then(caplog, monkeypatch):
    """Every tenth of the way, and at least once a minute: at the sites' spacing a tenth may take long."""
    now = [0.0]
    monkeypatch.setattr(options.time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO)
    with progress("PDFs", 760) as advance:
        for _ in range(30):
            now[0] += 10
            advance(1, "0 failed")
    assert caplog.messages[0] == "PDFs 6/760, 6.0/min, 2 h 05 min left 0 failed"
    assert len(caplog.messages) == 5


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingError("--x: expected y"), 2, "--x: expected y"),
        (HarvestError("broken"), 1, "broken"),
        (RecordError("f:1"), 1, "f:1"),
        (OSError(errno.ENOSPC, "No space left", "/cache/x"), 1, "/cache/x: no space left"),
        (KeyboardInterrupt(), 130, "go on where it stopped"),
    ],
)
def test_errors_become_one_message_and_a_status(capsys, error, code, message):
    @guarded
    def main() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        main()
    assert ended.value.exit_code == code and message in capsys.readouterr().err


def test_errors_nobody_foresaw_keep_their_traceback():
    for error in (OSError(errno.EACCES, "Permission denied"), sqlite3.OperationalError("x"), ZeroDivisionError()):

        @guarded
        def main(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            main()


def test_reasons_are_counted_whatever_address_they_name(tmp_path, capsys):
    path = tmp_path / "failed.jsonl"
    reasons = [f"https://www.medrxiv.org/content/10.1101/{n}: HTTP 404" for n in range(3)] + ["cut off"]
    write_jsonl(path, [Failure(item=str(n), reason=reason) for n, reason in enumerate(reasons)])
    show_failures(path)
    told = capsys.readouterr().err
    assert "… HTTP 404" in told and "3" in told and "cut off" in told
    write_jsonl(path, [])
    show_failures(path)
    assert capsys.readouterr().err == ""
