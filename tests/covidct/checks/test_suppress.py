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


def shortcut(severity: str, name: str, evidence: str = "AUC 0.61 (0.5 to 0.7)") -> Finding:
    return Finding("shortcut", severity, (), evidence, "remedy", {"set": name, "auc": 0.61})


def test_every_finding_has_an_id_of_its_own(tmp_path: Path) -> None:
    """No decision about one shortcut, split or reason excuses another; numbers that move a little keep the id."""
    found = [
        shortcut("warning", "grey"),
        shortcut("warning", "container"),
        shortcut("error", "container"),
        Finding("split-imbalance", "error", (), "val has no COVID image", "r", {"split": "val"}),
        Finding("split-imbalance", "error", (), "val has no NonCOVID image", "r", {"split": "val"}),
        Finding("mismatch", "note", (), "one file is empty", "r"),
        Finding("mismatch", "note", (), "another is missing", "r"),
        Finding("patient-identity", "error", ("a", "b"), "two people", "r", {"people": ["40 F", "60 M"]}),
        Finding("patient-identity", "error", ("a", "b"), "two ids", "r", {"ids": ["p1", "p2"]}),
        Finding("patient-identity", "warning", ("a", "b"), "both labels", "r"),
        Finding("label-in-doubt", "warning", ("a",), "e", "r", {"reason": "no lesion is described"}),
        Finding("label-in-doubt", "warning", ("a",), "e", "r", {"reason": "the test is negative"}),
    ]
    assert len({f.key for f in found}) == len(found)
    assert shortcut("warning", "grey").key == shortcut("warning", "grey", "AUC 0.655 (0.52 to 0.79)").key
    done, stale = suppress.apply(found, {found[1].key: "weak (jd)"})
    assert [f.key for f in done if f.suppressed] == [found[1].key] and not stale
    path = tmp_path / "draft.csv"
    path.write_text(suppress.draft([*found, found[0]]).replace(",,,", ",seen,jd,"), encoding="utf-8")
    assert list(suppress.read(path)) == [f.key for f in found]


def test_ids_of_an_earlier_version_are_read_where_they_mean_one_finding() -> None:
    """Not among several on the same pictures, never for an error, never without pictures: those are told as stale."""
    one, error = finding("a"), Finding("same-picture", "error", ("a", "b"), "e", "r")
    two = [Finding("patient-identity", level, ("a", "b"), "e", "r") for level in ("note", "warning")]
    old = {f.old_key: "seen (jd)" for f in (one, error, *two)} | {"shortcut-8dfea685": "weak (jd)"}
    done, stale = suppress.apply([one, error, *two, shortcut("error", "container")], old)
    assert [f.kind for f in done if f.suppressed] == ["redundant"]
    assert stale == sorted([error.old_key, two[0].old_key, "shortcut-8dfea685"])
