"""The records of the harvest: what a stage has when it is done, one frozen type per noun, and their JSON Lines files.

Boxes are in PDF points with the origin at the top left of the page; pages count from 1.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class RecordError(ValueError):
    """A record file or one of its lines is not what its type says: names file, line, field, expected and got."""


class Box(NamedTuple):
    """A rectangle in PDF points, top-left origin, ``x0 < x1`` and ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float


class Record(BaseModel):
    """Base of all records: frozen, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Record):
    """One item a stage could not do, and why (``failed.jsonl``)."""

    item: str
    reason: str


class Preprint(Record):
    """One preprint version whose PDF was fetched (section III.A: medRxiv and bioRxiv, 2020-01-19 to 2020-03-25)."""

    doi: str
    version: Annotated[int, Field(ge=1)]
    server: str
    date: str
    title: str
    abstract: str = ""
    category: str = ""
    licence: str
    pdf: str
    """file of the PDF, relative to the folder of the records"""
    sha256: str
    bytes: int
    authors: str = ""
    """for the attribution that the licence may ask for"""
    published: str = ""
    """DOI of the journal version, if there is one: the same figures may be met there"""
    url: str = ""
    """public address the bytes came from"""

    @property
    def preprint_id(self) -> str:
        """The part of the DOI after the prefix, as the 2020 release names files (``2020.02.11.20021493``)."""
        return self.doi.split("/", 1)[-1]


class Mention(Record):
    """A sentence of the body that refers to a figure; ``offset`` counts characters into the page's text."""

    page: int
    offset: int
    text: str
    paragraph: str = ""
    """the paragraph the sentence stands in: what the paper's curators read (section III.A)"""


class Figure(Record):
    """One picture with what its document says about it; preprints, PubMed Central and MedPix all end in this record."""

    figure_id: str
    source: str
    """``medrxiv``, ``biorxiv``, ``pmc``, ``medpix`` or ``pdf`` (a PDF of unknown origin)"""
    document_id: str
    """preprint id, PMC id or MedPix case: the widest group whose figures may show one patient"""
    doi: str = ""
    version: int | None = None
    licence: str = ""
    pdf: str = ""
    page: int | None = None
    label: str = ""
    """as printed: ``Figure 2``, ``Supplementary Fig. S1``"""
    number: str = ""
    caption: str = ""
    caption_page: int | None = None
    box: Box | None = None
    xrefs: tuple[int, ...] = ()
    pixels: str
    """``native`` (one embedded raster), ``rendered`` (the page region at a stated dpi), ``given`` (a file as served)"""
    dpi: float | None = None
    file: str
    """picture, relative to the folder of the records"""
    width: int
    height: int
    mentions: tuple[Mention, ...] = ()
    panel_captions: dict[str, str] = {}
    patient_id: str = ""
    """stated by the source (a MedPix case), else empty; scoped by source, never parsed from a file name"""
    diagnosis: str = ""
    age: str = ""
    sex: str = ""
    document_type: str = ""
    """``preprint``, ``article``, ``case``"""
    date: str = ""
    title: str = ""
    url: str = ""
    """public address of the picture, where a service gives it as a file"""
    sha256: str = ""
    """of that file"""


R = TypeVar("R", bound=Record)
_HALF = re.compile("[\ud800-\udfff]")


def write_jsonl(path: Path | str, records: Iterable[BaseModel]) -> int:
    """Write records to a JSON Lines file, all or nothing (temporary file, fsync, rename); returns how many.

    Half characters (lone surrogates, which no file can hold) become U+FFFD: one bad letter must not cost the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            for record in records:
                line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, sort_keys=False)
                out.write(_HALF.sub("\ufffd", line) + "\n")
                count += 1
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count


def read_jsonl(path: Path | str, kind: type[R]) -> Iterator[R]:
    """Read a JSON Lines file as records of ``kind``, one at a time.

    Raises RecordError naming file, line, field, expected and got.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(
            f"{path}: expected a JSON Lines file of {kind.__name__} records, got no file; run its stage first"
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"])) or "(line)"
                raise RecordError(
                    f"{path}:{number}: field {field}: expected {first['msg']}, got {str(first.get('input'))[:80]!r}; "
                    f"re-run the stage that writes it, or mend the line"
                ) from error
