"""Stage `figures`: PDFs → figures with their captions, pixels and the sentences about them.

Reads a folder of PDFs (and, for their licences and dates, the `preprints` stage's records). Writes ``figures.jsonl``
(`harvest.records.Figure`), ``failed.jsonl`` (item, reason), ``documents.jsonl`` (every PDF read, with its counts) and
``images/``. Guarantees: every PDF has a row in ``documents.jsonl`` or in ``failed.jsonl``; each is read in a process of
its own with limits; the same input gives the same bytes, in the order of the PDFs' names, however many workers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from harvest.document import Settings
from harvest.errors import HarvestError, SettingError
from harvest.options import guarded, new_app, progress
from harvest.records import Box, Failure, Figure, Mention, Preprint, Record, read_jsonl, write_jsonl
from harvest.workers import Limits, Outcome, WorkerError, run_all

log = logging.getLogger(__name__)
app = new_app()
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class PdfDocument(Record):
    """One PDF that was read (``documents.jsonl``): a paper without figures has its row here and nowhere else."""

    document_id: str
    pdf: str
    pages: int
    figures: int
    captions_without_picture: tuple[str, ...] = ()
    """labels, with their pages, of captions and of lines that start like one, which no figure was found for"""


@dataclass(frozen=True)
class Source:
    """A PDF to read and what is known about it."""

    path: Path
    stem: str
    """what its figures' names start with"""
    preprint: Preprint | None = None


def sources_in(pdfs: Path, preprints: Path | None) -> tuple[list[Source], list[Failure]]:
    """The PDFs of a folder in order of their names; with preprint records, those they list (others are failures)."""
    if not pdfs.is_dir():
        raise SettingError(
            f"--pdfs {pdfs}: expected a folder of PDFs, got none; run `preprints` first, or name another"
        )
    files = {path.name: path for path in sorted(pdfs.iterdir()) if path.suffix.lower() == ".pdf" and path.is_file()}
    if preprints is None:
        if not files:
            raise SettingError(f"--pdfs {pdfs}: expected *.pdf files, got none; name another folder")
        return [Source(path, safe_stem(path.stem)) for path in files.values()], []
    listed = {Path(record.pdf).name: record for record in read_jsonl(preprints, Preprint)}
    failures = [
        Failure(item=name, reason=f"listed in {preprints.name}, but there is no such file; run `preprints` again")
        for name in sorted(listed.keys() - files.keys())
    ]
    failures += [
        Failure(item=name, reason=f"not listed in {preprints.name}: its licence is not known")
        for name in sorted(files.keys() - listed.keys())
    ]
    versions = Counter(record.preprint_id for record in listed.values())
    sources = []
    for name in sorted(listed.keys() & files.keys()):
        record = listed[name]
        several = f"v{record.version}" if versions[record.preprint_id] > 1 else ""
        sources.append(Source(files[name], safe_stem(record.preprint_id + several), record))
    return sources, failures


def safe_stem(name: str) -> str:
    """A name usable in file names; a changed name gets a hash so that two stay two."""
    safe = UNSAFE.sub("_", name).strip("._") or "document"
    if safe == name and len(safe) <= 120:
        return safe
    return f"{safe[:100]}_{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def figures_of(source: Source, outcome: Outcome, images: Path) -> Iterator[Figure]:
    """A document's figures as records, their pictures written to ``images``."""
    taken: Counter[str] = Counter()
    for found in (outcome.answer or {}).get("figures", []):
        name = f"{source.stem}-p{found['page']}-{found['xrefs'][0] if found['xrefs'] else 0}"
        taken[name] += 1
        if taken[name] > 1:
            name = f"{name}.{taken[name]}"
        file = ""
        if found["picture"] >= 0:
            file = f"{name}.png"
            (images / file).write_bytes(outcome.blobs[found["picture"]])
        yield Figure(
            figure_id=name,
            file=f"images/{file}" if file else "",
            pdf=source.path.name,
            **known_of(source),
            box=Box(*found["box"]),
            xrefs=tuple(found["xrefs"]),
            mentions=tuple(Mention(**mention) for mention in found["mentions"]),
            **{key: found[key] for key in PLAIN},
        )


PLAIN = ("page", "label", "number", "caption", "caption_page", "pixels", "dpi", "width", "height", "panel_captions")


def known_of(source: Source) -> dict[str, Any]:
    """What the preprint's record says, for every figure of it."""
    record = source.preprint
    if record is None:
        return {"source": "pdf", "document_id": source.stem}
    return {
        "source": record.server,
        "document_id": record.preprint_id,
        "doi": record.doi,
        "version": record.version,
        "licence": record.licence,
        "date": record.date,
        "title": record.title,
        "document_type": "preprint",
    }


def harvest(
    sources: Sequence[Source],
    failures: list[Failure],
    out: Path,
    settings: Settings,
    limits: Limits,
    *,
    workers: int = 1,
    scheduler: str = "",
    debug: Path | None = None,
) -> tuple[list[Figure], list[PdfDocument]]:
    """Read all PDFs and write the stage's files to ``out``; ``failures`` is added to."""
    out.mkdir(parents=True, exist_ok=True)
    requests = [{"path": str(source.path.resolve()), "settings": asdict(settings)} for source in sources]
    figures: list[Figure] = []
    documents: list[PdfDocument] = []
    with tempfile.TemporaryDirectory(dir=out, prefix=".images.") as name, progress("figures", len(sources)) as advance:
        images = Path(name) / "images"
        images.mkdir(mode=0o755)
        outcomes = run_all("harvest.document:run", requests, limits, workers=workers, scheduler=scheduler)
        for source, outcome in zip(sources, outcomes, strict=True):
            advance(1, source.path.name)
            if outcome.answer is None:
                failures.append(Failure(item=source.path.name, reason=outcome.reason))
                continue
            found = list(figures_of(source, outcome, images))
            figures += found
            failures += [
                Failure(item=f"{source.path.name}: {what}", reason=why) for what, why in outcome.answer["failures"]
            ]
            documents.append(
                PdfDocument(
                    document_id=source.preprint.preprint_id if source.preprint else source.stem,
                    pdf=source.path.name,
                    pages=outcome.answer["pages"],
                    figures=len(found),
                    captions_without_picture=tuple(outcome.answer["unmatched"]),
                )
            )
            if debug is not None:
                write_drawings(debug, source, outcome)
        publish(images, out / "images")
    write_jsonl(out / "figures.jsonl", figures)
    write_jsonl(out / "documents.jsonl", documents)
    write_jsonl(out / "failed.jsonl", failures)
    if debug is not None:
        from harvest.debug import contact_sheet

        debug.mkdir(parents=True, exist_ok=True)
        way = os.path.relpath(out, debug)
        (debug / "index.html").write_text(contact_sheet(figures, failures, way), encoding="utf-8")
    return figures, documents


def write_drawings(debug: Path, source: Source, outcome: Outcome) -> None:
    """The debug drawings of one document: ``<stem>-p<page>.png``."""
    debug.mkdir(parents=True, exist_ok=True)
    answer = outcome.answer or {}
    for page, data in zip(answer["drawings"], outcome.blobs[answer["pictures"] :], strict=True):
        (debug / f"{source.stem}-p{page}.png").write_bytes(data)


def publish(images: Path, target: Path) -> None:
    """The new folder of pictures in the old one's place."""
    if target.exists():
        shutil.rmtree(target)
    images.rename(target)


@app.command()
@guarded
def main(
    pdfs: Annotated[Path, typer.Option(help="folder of PDFs")],
    out: Annotated[Path, typer.Option(help="folder for figures.jsonl, documents.jsonl, failed.jsonl, images/")],
    preprints: Annotated[
        str, typer.Option(help="preprints.jsonl that lists the PDFs (licence, date); empty = none")
    ] = "",
    workers: Annotated[int, typer.Option(help="processes; 0 = one a core")] = 0,
    scheduler: Annotated[
        str, typer.Option(help="address of a Dask scheduler, tcp://host:8786; empty = this machine")
    ] = "",
    dpi: Annotated[float, typer.Option(min=36, max=1200, help="of renderings")] = 300,
    seconds: Annotated[float, typer.Option(min=1, help="limit for one PDF")] = 120,
    memory_mb: Annotated[int, typer.Option(min=64, help="limit for one PDF, beyond the libraries")] = 1500,
    max_pages: Annotated[int, typer.Option(min=1)] = 400,
    max_pixels: Annotated[int, typer.Option(min=10_000, help="of one picture")] = 60_000_000,
    max_megabytes: Annotated[float, typer.Option(min=0.1, help="of one PDF")] = 256,
    max_failed: Annotated[float, typer.Option(min=0, max=1, help="share of PDFs that may fail")] = 0.5,
    pixels: Annotated[bool, typer.Option(help="write pictures (off: captions, regions and matches only)")] = True,
    debug: Annotated[str, typer.Option(help="folder for drawings of the pages and a contact sheet; empty = none")] = "",
    enabled: Annotated[bool, typer.Option(help="off: write empty records")] = True,
) -> None:
    """Figures, captions and mentions from PDFs."""
    if not enabled:
        log.info("figures is switched off in this profile: empty records")
        harvest([], [], out, Settings(), Limits())
        return
    sources, failures = sources_in(pdfs, Path(preprints) if preprints else None)
    settings = Settings(dpi, max_pages, max_pixels, max_megabytes, pixels, bool(debug))
    try:
        figures, documents = harvest(
            sources,
            failures,
            out,
            settings,
            Limits(seconds, memory_mb),
            workers=workers or os.cpu_count() or 1,
            scheduler=scheduler,
            debug=Path(debug) if debug else None,
        )
    except WorkerError as error:
        raise HarvestError(str(error)) from error
    failed = len(sources) - len(documents)
    log.info(
        "%d figures in %d PDFs (%d pages); %d PDFs failed; %s",
        len(figures),
        len(documents),
        sum(document.pages for document in documents),
        failed,
        out,
    )
    if sources and not documents:
        raise HarvestError(f"all {failed} PDFs failed; the reasons are in {out / 'failed.jsonl'}")
    if failed > max_failed * len(sources):
        raise HarvestError(
            f"{failed} of {len(sources)} PDFs failed, more than --max_failed {max_failed:.0%} allows; "
            f"see {out / 'failed.jsonl'}"
        )


if __name__ == "__main__":
    app()
