"""Who must stay together: connected components over patient and duplicate picture, and the cautious group where the
patient is unknown (the whole figure, else the whole document)."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

UNKNOWN = frozenset({"?", "-", "--", "nan", "none", "null", "n/a", "na", "<na>", "unknown", "not stated"})
"""words, in lower case, by which tables say that a patient is not known: never one person's name"""
WHOLE_DOCUMENT = ("document",)
WHOLE_FIGURE = ("figure",)


def text(records: pd.DataFrame, column: str) -> pd.Series:
    """A column as stripped text; absent column, None and NaN are ``""``.

    Letters are composed (NFC): two spellings of one name that look the same are one.
    """
    if column not in records:
        return pd.Series("", index=records.index, dtype=object)
    values = records[column]
    stripped = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    return stripped.map(lambda value: value if value.isascii() else unicodedata.normalize("NFC", value)).astype(object)


def patients(records: pd.DataFrame) -> pd.Series:
    """Patient of each row as text; ``""`` where the table has none, or only a word for *unknown* (``nan``, ``N/A``)."""
    found = text(records, "patient_id")
    return found.where(~found.str.lower().isin(UNKNOWN), "")


def keys(records: pd.DataFrame, documents: bool = False) -> dict[str, pd.Series]:
    """What ties rows together, by name: equal values of one key are one group; ``""`` ties nothing.

    ``documents`` also keeps each whole document together.
    """
    patient = patients(records)
    document = text(records, "document_id")
    source = text(records, "source")
    basis = text(records, "patient_basis").str.lower()
    unknown = patient == ""
    # no patient: the document; not even that: all such rows of a source, since any two may show one person
    patient = patient.where(~unknown, "?unknown " + source + " " + document)
    cautious = document.where(unknown | basis.isin(WHOLE_DOCUMENT), "")
    loose_documents = set(cautious[cautious != ""])
    found = {
        "patient": patient,
        "duplicate": text(records, "duplicate_group"),
        "document": document if documents else document.where(document.isin(loose_documents), ""),
    }
    if basis.isin(WHOLE_FIGURE).any() and {"page", "xref"} <= set(records.columns):
        figure = document + " p" + text(records, "page") + " x" + text(records, "xref")
        loose_figures = set(figure[basis.isin(WHOLE_FIGURE) & (document != "")])
        found["figure"] = figure.where(figure.isin(loose_figures), "")
    return found


def groups(records: pd.DataFrame, documents: bool = False) -> np.ndarray:
    """Group number of each row (int, N): rows that share any key, directly or through others, share the number."""
    count = len(records)
    if not count:
        return np.zeros(0, dtype=np.int64)
    rows, columns, offset = [], [], count
    for values in keys(records, documents).values():
        codes, unique = pd.factorize(values.to_numpy(dtype=object))
        tied = values.to_numpy() != ""
        rows.append(np.flatnonzero(tied))
        columns.append(codes[tied] + offset)
        offset += len(unique)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_matrix((np.ones(len(row), dtype=np.int8), (row, column)), shape=(offset, offset))
    labels = connected_components(graph, directed=False)[1][:count]
    return pd.factorize(labels)[0]


def merged(found: list[list[int]], stated: list[str]) -> list[list[int]]:
    """Rows of each found group, with all rows of the stated groups it touches; stated groups it does not are left out.

    found: rows by group; stated: group of each row, empty if alone.
    """
    links = [(row, members[0]) for members in found for row in members]
    first: dict[str, int] = {}
    links += [(row, first.setdefault(name, row)) for row, name in enumerate(stated) if name]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(len(stated),) * 2)
    number = connected_components(graph, directed=False)[1] if stated else np.zeros(0, dtype=np.int64)
    return [np.flatnonzero(number == value).tolist() for value in sorted({number[members[0]] for members in found})]
