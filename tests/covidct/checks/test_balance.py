"""Splits alike in sources and types of document; where pictures come from."""

from __future__ import annotations

from covidct.checks import balance, provenance


def rows(split: str, kind: str, count: int, label: int = 1, **more) -> list[dict]:
    return [{"split": split, "document_type": kind, "label": label, **more}] * count


def test_a_type_of_document_that_train_lacks_is_said(folder_of) -> None:
    folder = folder_of([*rows("train", "preprint", 20), *rows("test", "preprint", 10), *rows("test", "article", 10)])
    (finding,) = balance.check(folder)
    assert finding.kind == "split-imbalance" and "50%" in finding.evidence and len(finding.items) == 10


def test_a_shift_between_splits_is_said_and_a_small_one_is_not(folder_of) -> None:
    base = [*rows("train", "a", 10), *rows("train", "b", 10)]
    shifted = balance.check(folder_of([*base, *rows("val", "a", 18), *rows("val", "b", 2)]))
    assert len(shifted) == 1 and "10% of COVID in val, 50% in train" in shifted[0].evidence
    assert balance.check(folder_of([*base, *rows("val", "a", 12), *rows("val", "b", 8)])) == []


def test_a_split_without_a_class_is_an_error_and_loose_images_are_noted(folder_of) -> None:
    folder = folder_of(
        [{"split": "train", "label": 1}, {"split": "train", "label": 0}, {"split": "val", "label": 1}, {}]
    )
    assert [(f.severity, f.kind) for f in balance.check(folder)] == [
        ("error", "split-imbalance"),
        ("note", "split-imbalance"),
    ]
    assert balance.check(folder_of([{}, {"label": 1}])) == []


def test_window_doi_licence_and_kind_of_document(folder_of) -> None:
    folder = folder_of(
        [
            {"label": 1, "date": "2020-03-30", "document_type": "preprint", "doi": "10.1101/x", "licence": "CC-BY"},
            {"label": 1, "date": "2020-02-01", "document_type": "article"},
            {"label": 0, "date": "2015", "licence": "cc0"},
        ]
    )
    folder.window = ("2020-01-19", "2020-03-25")
    found = {f.evidence.split(" ", 1)[1]: f.items for f in provenance.check(folder)}
    assert [f.severity for f in provenance.check(folder)] == ["warning", "note", "note", "note"]
    assert list(found.values()) == [("0.png",), ("1.png",), ("1.png", "2.png"), ("1.png",)]
    numbers = folder.metrics["provenance"]
    assert (numbers["after_window"], numbers["not_from_preprints"], numbers["without_licence"]) == (1, 1, 1)
