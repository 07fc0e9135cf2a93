"""Pictures by page, xref and box, known by their pixels."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pymupdf
import pytest
from PIL import Image

from harvest.cut import run, samples_hash
from harvest.document import DocumentError, Settings
from harvest.recipe import pixel_hash

RNG = np.random.default_rng(1)
PICTURE = RNG.integers(0, 255, (30, 40, 3), dtype=np.uint8)


@pytest.fixture
def pdf(tmp_path):
    """A page with a picture placed upright and one placed turned; returns its path and the first one's xref."""
    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    document = pymupdf.open()
    page = document.new_page(width=300, height=300)
    xref = page.insert_image(pymupdf.Rect(20, 20, 100, 80), filename=str(tmp_path / "p.png"))
    page.draw_rect(pymupdf.Rect(150, 150, 200, 200), fill=(1, 0, 0))
    document.save(tmp_path / "a.pdf")
    return tmp_path / "a.pdf", xref


def cut(sha256: str, page: int | None = 1, xrefs=(), box=None, dpi=None) -> dict[str, object]:
    return {"page": page, "xrefs": list(xrefs), "box": box, "dpi": dpi, "sha256": sha256}


def asked(path, *cuts, **settings):
    answer, blobs = run({"path": str(path), "settings": asdict(Settings(**settings)), "cuts": list(cuts)})
    return answer["found"], blobs


def test_rasters_as_they_are_and_turned(pdf, tmp_path):
    path, xref = pdf
    wanted = [samples_hash(side) for side in (PICTURE, np.rot90(PICTURE), PICTURE[::-1], PICTURE[:, ::-1])]
    found, blobs = asked(path, *(cut(sha256, xrefs=[xref]) for sha256 in wanted), cut("0" * 64, xrefs=[xref]))
    assert found == wanted
    (tmp_path / "out.png").write_bytes(blobs[1])
    assert pixel_hash(tmp_path / "out.png") == wanted[1]


def test_regions_at_their_resolution(pdf):
    path, _ = pdf
    with pymupdf.open(path) as document:
        clip = pymupdf.Rect(140, 140, 210, 210)
        pixmap = document[0].get_pixmap(matrix=pymupdf.Matrix(2, 2), clip=clip, alpha=False)
        shown = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)
    box = [140, 140, 210, 210]
    assert asked(path, cut(samples_hash(shown), box=box, dpi=144))[0] == [samples_hash(shown)]
    assert asked(path, cut(samples_hash(shown), box=box, dpi=150))[0] == []


def test_places_that_are_none_give_nothing(pdf):
    path, xref = pdf
    sha256 = samples_hash(PICTURE)
    for wrong in (
        cut(sha256, page=None, xrefs=[xref]), cut(sha256, page=2, xrefs=[xref]), cut(sha256, xrefs=[9999, -1, 0]),
        cut(sha256, box=[0, 0, 1e9, 1e9], dpi=300), cut(sha256, box=[900, 900, 950, 950], dpi=72),
    ):  # fmt: skip
        assert asked(path, wrong)[0] == []
    assert asked(path, cut(sha256, xrefs=[xref]), max_pixels=100)[0] == []
    (path.parent / "no.pdf").write_bytes(b"<html>")
    with pytest.raises(DocumentError):
        asked(path.parent / "no.pdf", cut(sha256))
