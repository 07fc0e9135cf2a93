"""A finding, a picture under audit with what is known about it, and the folder as a whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covidct import pictures

KINDS = (
    "opposite-label",
    "same-picture",
    "patient-across-splits",
    "patient-identity",
    "document-across-splits",
    "label-in-doubt",
    "personal-data",
    "retouched",
    "shortcut",
    "encoding",
    "split-imbalance",
    "not-a-lung-view",
    "redundant",
    "provenance",
    "mismatch",
)
SEVERITIES = ("error", "warning", "note")
TELLING = ("set", "attribute", "split", "class", "what", "kind", "reason", "table")
"""details that say which finding of its kind one is, not how large it came out"""
CACHE_BYTES = 1_500_000_000


class AuditError(ValueError):
    """The folder, table or suppression file cannot be audited: what, expected, got, next step."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, how sure and how bad it is, and what to do about it."""

    kind: str
    severity: str
    items: tuple[str, ...]
    evidence: str
    remedy: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """numbers and texts behind the sentence, plain values"""
    show: tuple[str, ...] = ()
    """pictures to put side by side; empty: the first items"""
    suppressed: str = ""
    """reason from the reviewed suppression file; empty: the finding stands"""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.severity not in SEVERITIES:
            raise ValueError(
                f"expected a kind of {KINDS} and a severity of {SEVERITIES}, got {self.kind}, {self.severity}"
            )

    @property
    def key(self) -> str:
        """Short name for suppressions and links. It stays while kind, severity, items and what tells this finding from
        others stay (which details it has, and the ``TELLING`` ones; without items the evidence but for its numbers): a
        decision never covers another finding, nor this one once it is worse."""
        told = sorted(map(str, self.details)) + [
            f"{name}={self.details[name]}" for name in TELLING if name in self.details
        ]
        about = "" if self.items else re.sub(r"\d[\d.,]*", "#", self.evidence)
        text = "\n".join([self.kind, self.severity, *sorted(self.items), *told, about])
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def old_key(self) -> str:
        """The name that earlier versions gave, by kind and items alone: decisions filed under it are still read where
        it means one finding. Empty without items, where it never did."""
        text = "\n".join([self.kind, *sorted(self.items)])
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if self.items else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        row: dict[str, Any] = {
            "id": self.key,
            "kind": self.kind,
            "severity": self.severity,
            "items": list(self.items),
            "evidence": self.evidence,
            "remedy": self.remedy,
            "details": dict(self.details),
        }
        return row | ({"suppressed": self.suppressed} if self.suppressed else {})


@dataclass(frozen=True)
class Item:
    """One picture and what table, lists and folders say about it; empty text: not stated."""

    name: str
    """as findings call it: the file name, with its folder where two files share a name"""
    path: Path
    label: int | None = None
    """1 = COVID, 0 = the other class, None: not stated"""
    patient: str = ""
    basis: str = ""
    """how the patient is known, as in covidct.records"""
    document: str = ""
    figure: str = ""
    """document, page and raster of the figure this panel was cut from"""
    source: str = ""
    split: str = ""
    caption: str = ""
    evidence: str = ""
    """the sentence about this very panel on which the label rests"""
    age: str = ""
    sex: str = ""
    doi: str = ""
    licence: str = ""
    date: str = ""
    """of the document, ISO"""
    document_type: str = ""
    other_diseases: str = ""
    severity: str = ""
    patient_raw: str = ""
    """patient id as the table spells it"""
    inpainted: float = 0.0
    """share of repaired pixels that the table states"""


def date_of(document: str) -> str:
    """Day in a medRxiv/bioRxiv identifier (``2020.03.26.20041426``), ISO; empty for other documents."""
    match = re.search(r"(?<!\d)(20\d{2})\.(\d{2})\.(\d{2})\.\d{5,}", document)
    return "-".join(match.groups()) if match else ""


@dataclass
class Folder:
    """Everything under audit: pictures, what went wrong while reading them, and numbers."""

    root: Path
    items: list[Item]
    layout: str
    """`records` (a table of ours), `release` (the 2020 layout) or `folder`"""
    findings: list[Finding] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    not_checked: dict[str, str] = field(default_factory=dict)
    """check -> why it could not be made; never the same as passed"""
    window: tuple[str, str] = ("", "")
    """dates between which documents may lie, ISO; empty: any"""
    covered: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    """by name, boxes in pixels that must not be shown: personal data"""
    _grey: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _held: int = field(default=0, repr=False)

    def grey(self, index: int) -> NDArray[np.uint8]:
        """Grey pixels (uint8 H x W) of one picture, kept in memory up to a limit."""
        if index in self._grey:
            return self._grey[index]
        image = pictures.to_grey(pictures.open_picture(self.items[index].path))
        if self._held + image.nbytes < CACHE_BYTES:
            self._grey[index] = image
            self._held += image.nbytes
        return image

    def greys(self) -> Greys:
        """All pictures as a lazy sequence of grey arrays."""
        return Greys(self)

    def names(self, indices: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.items[i].name for i in indices)

    def group(self, attribute: str) -> dict[str, list[int]]:
        """Indices by value of an attribute, values in order of appearance, the empty one left out."""
        found: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            value = getattr(item, attribute)
            if value != "" and value is not None:
                found.setdefault(value, []).append(index)
        return found

    def splits(self, indices: Iterable[int]) -> list[str]:
        """Splits that the pictures lie in, without the empty one, in the usual order."""
        have = {self.items[i].split for i in indices}
        return [s for s in ("train", "val", "test") if s in have] + sorted(have - {"train", "val", "test", ""})

    def add(self, *findings: Finding) -> None:
        self.findings.extend(findings)


class Greys:
    """Sequence view of a folder's pictures."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __len__(self) -> int:
        return len(self._folder.items)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._folder.grey(index)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))
