"""JSON that somebody else wrote: nested too deep or too long, it is an error of its reader, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from covidct import clean, cli, files, page, registry
from covidct.reader import DatasetError, open_folder
from covidct.records import COLUMNS, write_records

DEEP = "[" * 100_000


def test_json_nested_too_deep_or_too_long_is_a_value_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises RecursionError, which is none, for a hundred kilobytes of brackets."""
    path = tmp_path / "a.json"
    path.write_text(DEEP)
    with pytest.raises(ValueError, match="nested too deep"):
        files.read_json(path)
    files.write_json(path, {"a": [1, "ä"]})
    assert files.read_json(path) == {"a": [1, "ä"]}
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 5)
    with pytest.raises(ValueError, match="expected at most 5 bytes of JSON, got 33"):
        files.read_json(path)


def test_every_reader_of_json_says_it_in_its_own_words(tmp_path: Path) -> None:
    write_records(tmp_path / "records.csv", pd.DataFrame([], columns=list(COLUMNS)))
    for name in ("dataset.json", "audit.json", "figures.jsonl"):
        (tmp_path / name).write_text(DEEP)
    with pytest.raises(DatasetError, match=r"dataset\.json: expected a JSON object"):
        open_folder(tmp_path)
    with pytest.raises(page.PageError, match="expected the JSON of `covidct audit`"):
        page.flags(tmp_path / "audit.json", set())
    with pytest.raises(page.PageError, match=r"figures\.jsonl: expected JSON Lines"):
        page.figures([tmp_path], tmp_path)
    with pytest.raises(clean.CleanError, match="expected the JSON of `covidct audit`"):
        clean.read_findings(tmp_path / "audit.json")


@pytest.mark.parametrize("content", [DEEP, '{"order": Infinity}'])
def test_a_damaged_registration_hides_no_other(content: str, tmp_path: Path) -> None:
    """One release.json ended the list of all versions."""
    for name, text in (("v1", content), ("v2", '{"order": 2}')):
        folder = tmp_path / registry.RELEASES / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(text)
    assert registry.names(tmp_path) == ["v1", "v2"]
    with pytest.raises(registry.VersionError, match="expected the facts of a version"):
        registry.read("v1", tmp_path)


def test_damaged_metrics_are_passed(tmp_path: Path) -> None:
    (tmp_path / "evaluate" / "a").mkdir(parents=True)
    (tmp_path / "evaluate" / "a" / "metrics.json").write_text(DEEP)
    assert cli.headline(tmp_path) == []
