"""Write the embedded corpus: what the stand-in server serves, volumes, a small 2020-style release, and the truth.

Layout of ``out``: ``server/`` (listings, PDFs, bucket, cases), ``luna/``, ``published/``, ``truth/``. Truth is for
tests and benchmarks; no stage reads it.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path

from harvest.sample.articles import draw_articles
from harvest.sample.cases import draw_cases
from harvest.sample.listing import listing_rows
from harvest.sample.papers import Studio, draw_paper
from harvest.sample.plan import Size, plan_papers, plan_rows
from harvest.sample.release import write_release
from harvest.sample.volumes import write_volumes

log = logging.getLogger(__name__)
Row = dict[str, object]
PARTS = ("server", "luna", "published", "truth")


def write_corpus(
    out: Path, seed: int, size: Size, parts: tuple[str, ...] = ("preprints", "pmc", "medpix", "luna", "published")
) -> None:
    """Draw the corpus into an empty or new folder; the same seed and size give the same bytes."""
    for name in PARTS:
        (out / name).mkdir(parents=True, exist_ok=True)
    studio = Studio(seed)
    images: list[Row] = []
    figures = _preprints(out, seed, size, studio, images) if "preprints" in parts else []
    others: list[Row] = []
    if "pmc" in parts:
        others += _articles(out, seed, size, studio, images)
    if "medpix" in parts:
        others += _cases(out, seed, size, studio, images)
    if "luna" in parts and size.volumes:
        write_volumes(seed, size.volumes, out / "luna")
    release = write_release(seed, size, out / "published") if "published" in parts and size.release else []
    truth = out / "truth"
    _lines(truth / "figures.jsonl", figures)
    _lines(truth / "others.jsonl", others)
    _table(truth / "images.csv", images)
    _table(truth / "published.csv", release)
    log.info("corpus in %s: %d truth images, %d figures in PDFs", out, len(images), len(figures))


def _preprints(out: Path, seed: int, size: Size, studio: Studio, images: list[Row]) -> list[Row]:
    content = out / "server" / "content"
    content.mkdir()
    papers = plan_papers(seed, size)
    figures: list[Row] = []
    for paper in papers:
        for version in paper.versions if paper.has_pdf else ():
            newest = version is paper.versions[-1]
            # earlier versions had fewer figures; drawing them again is what makes versions differ
            plates = paper.plates if newest or version.number + 1 >= len(paper.versions) else paper.plates[:1]
            drawn = draw_paper(paper, version, studio, plates)
            (content / f"{paper.preprint_id}v{version.number}.pdf").write_bytes(drawn.pdf)
            figures += drawn.figures
    for row in figures:
        if row["kind"] == "ct":
            images += _image_rows(str(row["pdf"]), "preprint", str(row["figure"]), row)
    rows = [r for paper in [*papers, *plan_rows(seed, size.rows)] for r in listing_rows(paper)]
    rows.sort(key=lambda r: (r["date"], r["doi"], int(r["version"])))
    _json(out / "server" / "preprints.json", rows)
    _json(out / "server" / "absent.json", [p.preprint_id for p in papers if not p.has_pdf])
    return figures


def _articles(out: Path, seed: int, size: Size, studio: Studio, images: list[Row]) -> list[Row]:
    bucket = out / "server" / "pmc"
    (bucket / "metadata").mkdir(parents=True)
    articles = draw_articles(seed, size, studio)
    truth: list[Row] = []
    for article in articles:
        base = f"{article.pmcid}.{article.version}"
        (bucket / base).mkdir()
        for name, data in article.files.items():
            (bucket / base / name).write_bytes(data)
        _json(bucket / base / f"{base}.json", article.metadata)
        _json(bucket / "metadata" / f"{base}.json", article.metadata)
        if article.version == 1:
            truth += article.truth
    _json(out / "server" / "articles.json", [a.entry for a in articles if a.version == 1])
    _json(out / "server" / "openi_pmc.json", [i for a in articles if a.version == 1 for i in a.openi])
    for row in truth:
        images += _image_rows(str(row["document"]), "pmc", str(row["file"]), row)
    return truth


def _cases(out: Path, seed: int, size: Size, studio: Studio, images: list[Row]) -> list[Row]:
    folder = out / "server" / "medpix"
    folder.mkdir()
    cases = draw_cases(seed, size, studio)
    truth: list[Row] = []
    for case in cases:
        for name, data in case.files.items():
            (folder / name).write_bytes(data)
        for name, data in case.twins.items():
            path = out / "server" / "openi" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        truth += case.truth
    _json(out / "server" / "cases.json", [{"encounter": c.encounter, "topic": c.topic} for c in cases])
    _json(out / "server" / "openi_mpx.json", [i for c in cases for i in c.openi])
    for row in truth:
        images += _image_rows(str(row["document"]), "medpix", str(row["file"]), row)
    return truth


def _image_rows(document: str, source: str, figure: str, row: Row) -> list[Row]:
    panels = row["panels"]
    assert isinstance(panels, list)
    return [
        {
            "source": source,
            "document": document,
            "figure": figure,
            "panel": n,
            "letter": q["letter"],
            "box": " ".join(map(str, q["box"])),
            "patient_id": q["patient_id"],
            "label": q["label"],
            "disease": q["disease"],
            "t": q["t"],
            "window": q["window"],
        }
        for n, q in enumerate(panels)
        if q["patient_id"]
    ]


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def _lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def _table(path: Path, rows: list[Row]) -> None:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8")
