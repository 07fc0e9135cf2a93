"""Suppressions: a reviewed file with reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidct.checks import suppress
from covidct.checks.model import AuditError, Finding


def finding(*items: str) -> Finding:
    return Finding("redundant", "note", items, "evidence", "remedy")


def test_a_reviewed_finding_is_let_stand_and_says_why(tmp_path: Path) -> None:
    one, two = finding("a"), finding("b")
    path = tmp_path / "let-stand.csv"
    path.write_text(
        f"finding,reason,reviewer\n{one.key},as published,jd\nsame-picture-00000000,gone,jd\n", encoding="utf-8"
    )
    done, stale = suppress.apply([one, two], suppress.read(path))
    assert [f.suppressed for f in done] == ["as published (jd)", ""] and stale == ["same-picture-00000000"]


def test_a_decision_never_covers_a_later_picture() -> None:
    assert finding("a", "b").key == finding("b", "a").key != finding("a", "b", "c").key


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("finding,reason,reviewer\nx,,jd\n", "line 2: .*got no reason"),
        ("finding,reason\nx,because\n", "no reviewer"),
        ("finding,reason,reviewer\nx,a,b\nx,a,b\n", "stands twice"),
    ],
)
def test_a_file_without_reasons_or_reviewers_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AuditError, match=message):
        suppress.read(path)
    with pytest.raises(AuditError, match="expected a CSV"):
        suppress.read(tmp_path / "none.csv")


def test_a_draft_must_be_filled_before_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "draft.csv"
    path.write_text(suppress.draft([finding("a")]), encoding="utf-8")
    with pytest.raises(AuditError, match="no reason and no reviewer"):
        suppress.read(path)
    path.write_text(path.read_text(encoding="utf-8").replace(",,,", ",seen,jd,"), encoding="utf-8")
    assert suppress.read(path) == {finding("a").key: "seen (jd)"}
