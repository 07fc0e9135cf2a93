"""What the stand-in has to serve: a drawn corpus on disk, or a synthetic listing made on the fly for benchmarks."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class StoreError(ValueError):
    """The corpus folder is not one that `python -m harvest.sample` wrote."""


class Store:
    """A drawn corpus: listing rows, PDFs, articles, cases. Files are read when asked for."""

    def __init__(self, corpus: Path) -> None:
        self._listings: dict[tuple[str, str, str], list[Row]] = {}
        self.root = Path(corpus) / "server"
        if not self.root.is_dir():
            raise StoreError(
                f"{corpus}: expected a corpus with a folder 'server', got none; "
                f"run python -m harvest.sample --out {corpus}"
            )
        self.rows: list[Row] = self._load("preprints.json")
        self.articles: list[Row] = self._load("articles.json")
        self.cases: list[Row] = self._load("cases.json")
        self.openi: list[Row] = self._load("openi_pmc.json") + self._load("openi_mpx.json")
        self.absent: set[str] = set(self._load("absent.json"))
        self.bucket = self._bucket()

    def _load(self, name: str) -> list[Any]:
        path = self.root / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def _bucket(self) -> dict[str, Path]:
        """Keys of the PMC bucket in S3's order."""
        root = self.root / "pmc"
        files = [p for p in root.rglob("*") if p.is_file()] if root.is_dir() else []
        return dict(sorted((p.relative_to(root).as_posix(), p) for p in files))

    def listing(self, name: str, first: str, last: str) -> list[Row]:
        """Rows of one server (``medRxiv``, ``bioRxiv``) posted from ``first`` to ``last``, in the listing's order."""
        key = (name, first, last)
        if key not in self._listings:
            if len(self._listings) > 200:
                self._listings.clear()
            self._listings[key] = [r for r in self.rows if r["server"] == name and first <= r["date"] <= last]
        return self._listings[key]

    @cached_property
    def by_doi(self) -> dict[str, list[Row]]:
        """All version rows of a DOI, in order of their numbers."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda r: int(r["version"])):
            found.setdefault(row["doi"], []).append(row)
        return found

    def pdf(self, preprint_id: str, version: int) -> bytes | None:
        """The PDF of one version; rows without a drawn one get a small page, ids in ``absent`` nothing."""
        path = self.root / "content" / f"{preprint_id}v{version}.pdf"
        if path.is_file():
            return path.read_bytes()
        return None if preprint_id in self.absent else small_pdf(f"{preprint_id}v{version}", 2048)

    def medpix(self, name: str) -> bytes | None:
        path = self.root / "medpix" / name
        return path.read_bytes() if "/" not in name and path.is_file() else None

    def twin(self, name: str) -> bytes | None:
        """Open-i's PNG of a MedPix picture (``mod/id/file``)."""
        path = (self.root / "openi" / name).resolve()
        return path.read_bytes() if path.is_relative_to((self.root / "openi").resolve()) and path.is_file() else None


class Synthetic(Store):
    """A listing of any size with small PDFs made when asked for: ``pdfs`` COVID preprints in ``rows`` version rows."""

    def __init__(self, rows: int = 2000, pdfs: int = 760, pdf_bytes: int = 20000) -> None:
        if pdfs > rows:
            raise StoreError(
                f"synthetic listing: expected at most as many PDFs as rows, got {pdfs} PDFs in {rows} rows"
            )
        self._listings = {}
        self.root = Path("/nonexistent")
        self.articles, self.cases, self.openi, self.absent, self.bucket = [], [], [], set(), {}
        self.pdf_bytes = pdf_bytes
        self.rows = [self._row(n, n * pdfs // rows != (n + 1) * pdfs // rows) for n in range(rows)]
        self.rows.sort(key=lambda r: (r["date"], r["doi"]))

    @staticmethod
    def _row(n: int, covid: bool) -> Row:
        server = "biorxiv" if n % 4 == 3 else "medrxiv"
        tail = f"{20000000 + n}" if server == "medrxiv" else f"{900000 + n}"
        day = n * 66 // 100000 if n > 100000 else n % 66
        month, day = (1, 20 + day) if day < 12 else (2, day - 11) if day < 41 else (3, day - 40)
        date = f"2020-{month:02d}-{min(day, 29 if month == 2 else 25 if month == 3 else 31):02d}"
        title = f"{'Chest CT of COVID-19 patients' if covid else 'Sleep in mice'}, report {n}"
        site = f"www.{server}.org"
        ident = f"2020.01.19.{tail}"
        return {
            "title": title,
            "authors": "Meyer, A.; Sato, B.",
            "author_corresponding": "A. Meyer",
            "author_corresponding_institution": "Example Institute",
            "doi": f"10.1101/{ident}",
            "date": date,
            "version": "1",
            "type": "PUBLISHAHEADOFPRINT" if server == "medrxiv" else "new results",
            "license": "cc_by",
            "category": "radiology and imaging",
            "jatsxml": f"https://{site}/content/early/{date.replace('-', '/')}/{ident}.source.xml",
            "abstract": f"{title}. " + "Text. " * 60,
            "funder": "NA",
            "published": "NA",
            "server": "bioRxiv" if server == "biorxiv" else "medRxiv",
        }

    def pdf(self, preprint_id: str, version: int) -> bytes | None:
        return small_pdf(f"{preprint_id}v{version}", self.pdf_bytes)


@lru_cache(maxsize=8)
def small_pdf(name: str, size: int) -> bytes:
    """A valid one-page PDF of about ``size`` bytes; the same name gives the same bytes."""
    text = f"BT /F1 12 Tf 72 700 Td ({name}) Tj ET\n".encode()
    filler = hashlib.shake_256(name.encode()).hexdigest(max(0, size - 700) // 2).encode()
    stream = text + b"% " + filler + b"\n"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length " + str(len(stream)).encode() + b" >>\nstream\n" + stream + b"endstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += str(number).encode() + b" 0 obj\n" + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n" + str(start).encode() + b"\n%%EOF\n"
