"""Figures without their pixels: where each came from, so that a second machine gets the same pictures.

A recipe names document (DOI, version, address, SHA-256), page, xrefs, box and the SHA-256 of the picture's pixels. Most
of the harvest may not be handed on; a recipe may.

    python -m harvest.recipe export --figures data/figures --preprints data/preprints --out recipe.jsonl
    python -m harvest.recipe restore --recipe recipe.jsonl --out restored --contact you@university.edu
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from harvest import europepmc, packages
from harvest import figures as figures_stage
from harvest.content import FORMATS, IMAGES
from harvest.cut import samples_hash
from harvest.document import Settings
from harvest.errors import BlockedError, HarvestError, ItemError, SettingError
from harvest.given import picture_size, safe_name
from harvest.hosts import check_services, is_loopback, is_public
from harvest.http import Session
from harvest.options import CacheFolder, Contact, cache_of, guarded, new_app, progress
from harvest.records import Box, Failure, Figure, Preprint, Record, read_jsonl, write_jsonl
from harvest.store import Store, open_store, place
from harvest.window import PUBLIC_SITE
from harvest.workers import Limits, run_one

log = logging.getLogger(__name__)
app = new_app()

SCHEMA = """
CREATE TABLE IF NOT EXISTS line(figure_id TEXT PRIMARY KEY, url TEXT, value TEXT, done INTEGER DEFAULT 0);
"""
ORIGIN = ("figure_id", "source", "document_id", "doi", "version", "licence")
PLACE = ("page", "xrefs", "box", "pixels", "dpi", "width", "height")
"""what a figure and its line in a recipe have in common: what it is of, and how it is cut out"""


class Line(Record):
    """One figure of a recipe."""

    figure_id: str
    source: str
    document_id: str
    doi: str = ""
    version: int | None = None
    licence: str = ""
    url: str
    """public address of the PDF, or of the picture itself (``given``)"""
    document_sha256: str = ""
    """of the PDF"""
    page: int | None = None
    xrefs: tuple[int, ...] = ()
    box: Box | None = None
    pixels: str
    dpi: float | None = None
    width: int
    height: int
    sha256: str
    """of height, width, channels and pixels: any encoding of the same picture fits"""


def pixel_hash(path: Path) -> str:
    """SHA-256 of a picture's size and decoded samples. Raises ItemError for what does not decode."""
    picture_size(path)
    with Image.open(path, formats=FORMATS) as image:
        samples = np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
    return samples_hash(samples)


def export(folders: list[Path], preprints: Path | None) -> Iterator[Line]:
    """The recipe of the figures in the given stage folders; ``preprints`` is the folder with the PDFs' records."""
    papers = {}
    if preprints is not None:
        records = read_jsonl(preprints / "preprints.jsonl", Preprint)
        papers = {Path(p.pdf).name: (_address_of(p), p.sha256) for p in records}
    for folder in folders:
        for figure in read_jsonl(folder / "figures.jsonl", Figure):
            if not figure.file:
                continue
            given = figure.pixels == "given"
            url, sha256 = (_picture_of(figure), "") if given else papers.get(figure.pdf, ("", ""))
            if not url:
                log.warning("%s: no public address is known; it cannot be part of a recipe", figure.figure_id)
                continue
            yield Line(
                **_fields(figure, ORIGIN + PLACE),
                url=url,
                document_sha256=sha256,
                sha256=pixel_hash(folder / figure.file),
            )


def _address_of(paper: Preprint) -> str:
    """Where anybody finds the PDF: an archive of the one who harvested is nobody else's."""
    if paper.url.startswith("https://"):
        return paper.url
    return f"{PUBLIC_SITE.replace('{server}', paper.server)}/content/{paper.doi}v{paper.version}.full.pdf"


def _picture_of(figure: Figure) -> str:
    if not figure.url.startswith(packages.SCHEME):
        return figure.url
    member = packages.parts(figure.url)[1]
    return europepmc.figure_url(europepmc.PUBLIC, figure.document_id, PurePosixPath(member).name)


def restore_given(session: Session, store: Store, line: Line, url: str, out: Path, max_bytes: int) -> Figure:
    """Fetch one picture that a service gives as a file, and check its pixels."""
    name = safe_name(line.figure_id)
    store.fetch(session, name, url, IMAGES, max_bytes, canonical=line.url)
    return _placed(line, store.files / name, out, None)


def restore_document(
    session: Session, store: Store, lines: list[Line], url: str, out: Path, max_bytes: int, dpi: float
) -> Iterator[Figure | Failure]:
    """Fetch one PDF, take its figures out as the pipeline does, and give those whose pixels are the recipe's."""
    first = lines[0]
    name = f"{safe_name(first.document_id)}v{first.version or 1}.pdf"
    saved = store.fetch(session, name, url, frozenset({"pdf"}), max_bytes, canonical=first.url)
    if first.document_sha256 and saved.sha256 != first.document_sha256:
        log.warning("%s: the site serves other bytes than the recipe was made from; the pixels decide", name)
    with tempfile.TemporaryDirectory(dir=store.folder) as folder:
        work = Path(folder)
        (work / "pdf").mkdir()
        shutil.copyfile(store.files / name, work / "pdf" / name)
        paper = Preprint(
            doi=first.doi or f"10.0/{first.document_id}",
            version=first.version or 1,
            server=first.source,
            date="",
            title="",
            licence=first.licence,
            pdf=f"pdf/{name}",
            sha256=saved.sha256,
            bytes=saved.bytes,
        )
        write_jsonl(work / "preprints.jsonl", [paper])
        sources, failures = figures_stage.sources_in(work / "pdf", work / "preprints.jsonl")
        found, _ = figures_stage.harvest(sources, failures, work / "out", Settings(dpi=dpi), Limits())
        by_pixels = {pixel_hash(work / "out" / f.file): f for f in found if f.file}
        missing = [line for line in lines if line.sha256 not in by_pixels]
        by_place = cut_out(work / "pdf" / name, missing, work, Settings(dpi=dpi)) if missing else {}
        for line in lines:
            figure, path = by_pixels.get(line.sha256), by_place.get(line.sha256)
            if figure is not None:
                yield _placed(line, work / "out" / figure.file, out, figure)
            elif path is not None:
                yield _placed(line, path, out, None)
            else:
                yield Failure(
                    item=line.figure_id, reason=f"page {line.page} of {line.url}: no figure with these pixels"
                )


def cut_out(pdf: Path, lines: list[Line], work: Path, settings: Settings) -> dict[str, Path]:
    """Pictures by page, xref and box alone, where the figures of today's code are not those of the recipe."""
    fields = {"page", "xrefs", "box", "dpi", "sha256"}
    cuts = [line.model_dump(mode="json", include=fields) for line in lines]
    request = {"path": str(pdf.resolve()), "settings": asdict(settings), "cuts": cuts}
    outcome = run_one("harvest.cut:run", request, Limits())
    if outcome.answer is None:
        log.warning("%s: %s", pdf.name, outcome.reason)
        return {}
    found = {}
    for sha256, data in zip(outcome.answer["found"], outcome.blobs, strict=True):
        found[sha256] = work / f"{sha256}.png"
        found[sha256].write_bytes(data)
    return found


def _placed(line: Line, path: Path, out: Path, figure: Figure | None) -> Figure:
    got = pixel_hash(path)
    if got != line.sha256:
        raise ItemError(f"{line.url}: expected pixels {line.sha256[:12]}…, got {got[:12]}…: the picture has changed")
    with Image.open(path, formats=FORMATS) as image:
        ending = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "TIFF": ".tif"}.get(image.format or "", ".png")
    file = f"images/{safe_name(line.figure_id)}{ending}"
    (out / "images").mkdir(parents=True, exist_ok=True)
    place(path, out / file)
    if figure is None:
        return Figure(**_fields(line, ORIGIN + PLACE), file=file, url=line.url if line.pixels == "given" else "")
    return figure.model_copy(update=_fields(line, ORIGIN) | {"file": file})


def _fields(record: Record, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


@app.command("export")
@guarded
def export_command(
    figures: Annotated[list[Path], typer.Option(help="folders with figures.jsonl and images/; repeated")],
    out: Annotated[Path, typer.Option(help="recipe to write (.jsonl)")],
    preprints: Annotated[str, typer.Option(help="folder of the preprints stage; needed for figures of PDFs")] = "",
) -> None:
    """Write the recipe of harvested figures: no pixels."""
    log.info("%d figures in %s", write_jsonl(out, export(figures, Path(preprints) if preprints else None)), out)


@app.command("restore")
@guarded
def restore_command(
    recipe: Annotated[Path, typer.Option(help="recipe (.jsonl)")],
    out: Annotated[Path, typer.Option(help="folder for figures.jsonl, images/, failed.jsonl")],
    mirror: Annotated[
        list[str], typer.Option(help="FROM=TO: ask TO where an address begins with FROM", default_factory=list)
    ],
    contact: Contact = "",
    spacing: Annotated[float, typer.Option(help="seconds between requests to a site")] = 10.0,
    dpi: Annotated[float, typer.Option(help="of renderings, as when the recipe was made")] = 300,
    max_mb: Annotated[int, typer.Option(help="largest file, megabytes")] = 300,
    cache: CacheFolder = None,
) -> None:
    """Fetch what a recipe names and make the same pictures of it."""
    ways = []
    for word in mirror:
        here, sign, there = word.partition("=")
        if not sign:
            raise SettingError(f"--mirror: expected FROM=TO, got {word!r}")
        ways.append((here, there))

    def address(url: str) -> str:
        return next((there + url.removeprefix(here) for here, there in ways if url.startswith(here)), url)

    cache = cache_of(out, cache)
    services = tuple(there for _, there in ways)
    with open_store(cache, "recipe", (str(recipe.resolve()), *services), SCHEMA) as store:
        with store.transaction() as db:
            db.execute("DELETE FROM line")
            db.execute("DELETE FROM problem")
            for line in read_jsonl(recipe, Line):
                value = json.dumps(line.model_dump(mode="json"))
                db.execute(
                    "INSERT OR REPLACE INTO line(figure_id, url, value) VALUES (?, ?, ?)",
                    (line.figure_id, line.url, value),
                )
        urls = [row["url"] for row in store.db.execute("SELECT DISTINCT url FROM line ORDER BY url")]
        refused = [url for url in urls if not any(url.startswith(here) for here, _ in ways) and not is_public(url)]
        for url in refused:
            _refuse(store, url)
        urls = [url for url in urls if url not in set(refused)]
        asked = {f"mirror of {url}": address(url) for url in urls}
        check_services(contact, asked)
        local = all(is_loopback(url) for url in asked.values())
        session = Session(contact, spacing=spacing, state=cache / "hosts", local=local)
        done = list(_restored(session, store, urls, address, out, max_mb << 20, dpi))
        done.sort(key=lambda figure: figure.figure_id)
        write_jsonl(out / "figures.jsonl", done)
        failed = write_jsonl(out / "failed.jsonl", store.problems())
    log.info("%d of %d figures restored, %d failed", len(done), len(done) + failed, failed)
    if failed and not done:
        raise HarvestError(f"none of {failed} figures could be restored; the reasons are in {out / 'failed.jsonl'}")


def _refuse(store: Store, url: str) -> None:
    """Record why the figures of an address are not asked for: a recipe may come from anybody.

    This machine and its network answer those who stand in it, so only its user may point there, by a mirror.
    """
    reason = f"expected a public http(s) address, got {url!r:.120}; if you mean it, pass --mirror FROM=TO for it"
    for row in store.db.execute("SELECT figure_id FROM line WHERE url = ?", (url,)).fetchall():
        store.fail(row["figure_id"], reason)


def _restored(
    session: Session,
    store: Store,
    urls: list[str],
    address: Callable[[str], str],
    out: Path,
    max_bytes: int,
    dpi: float,
) -> Iterator[Figure]:
    with progress("documents", len(urls)) as advance:
        for url in urls:
            rows = store.db.execute("SELECT value FROM line WHERE url = ? ORDER BY figure_id", (url,)).fetchall()
            lines = [Line.model_validate_json(row["value"]) for row in rows]
            try:
                if lines[0].pixels == "given":
                    yield from [restore_given(session, store, line, address(url), out, max_bytes) for line in lines]
                else:
                    for result in restore_document(session, store, lines, address(url), out, max_bytes, dpi):
                        if isinstance(result, Failure):
                            store.fail(result.item, result.reason)
                        else:
                            yield result
            except (ItemError, BlockedError) as error:
                for line in lines:
                    store.fail(line.figure_id, str(error), waiting=isinstance(error, BlockedError))
            advance(1, "")


if __name__ == "__main__":
    app()
