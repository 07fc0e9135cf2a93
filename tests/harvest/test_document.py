"""One PDF, whole: what it gives, and what a hostile one is answered with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pymupdf
import pytest

from harvest.document import DocumentError, Extraction, Settings, extract, run
from tests.harvest.drawn import Draft, paper, picture, prose

QUICK = Settings(dpi=72)


def saved(draft: Draft, folder: Path, **options: object) -> Path:
    path = folder / "paper.pdf"
    draft.pdf.save(path, **options)
    return path


def test_a_paper_gives_its_figures_whole(tmp_path: Path) -> None:
    result = extract(saved(paper(2), tmp_path), QUICK)
    assert [(f.number, f.page, f.caption_page, f.pixels) for f in result.figures] == [
        ("1", 1, 1, "native"),
        ("2", 2, 2, "native"),
    ]
    first = result.figures[0]
    assert (first.width, first.height) == (160, 120)
    assert first.panel_captions == {"A": "Day 1.", "B": "Day 5."}
    assert [mention.text for mention in first.mentions] == ["The man had ground-glass opacities (Figure 1)."]
    assert len(result.pictures) == 2 and all(data.startswith(b"\x89PNG") for data in result.pictures)
    assert (result.unmatched, result.failures) == ([], [])


def test_without_pixels_places_and_xrefs_are_the_same(tmp_path: Path) -> None:
    path = saved(paper(2), tmp_path)
    full, fast = extract(path, QUICK), extract(path, replace(QUICK, pixels=False))
    assert [(f.box, f.xrefs, f.caption) for f in full.figures] == [(f.box, f.xrefs, f.caption) for f in fast.figures]
    assert fast.pictures == [] and {f.picture for f in fast.figures} == {-1}


def test_the_worker_answers_what_can_be_sent(tmp_path: Path) -> None:
    answer, blobs = run({"path": str(saved(paper(), tmp_path)), "settings": {"dpi": 72, "debug": True}})
    assert answer["pages"] == 1 and answer["pictures"] == 1 and answer["drawings"] == [1]
    assert len(blobs) == 2
    assert answer["figures"][0]["mentions"][0]["page"] == 1


def refused(path: Path, settings: Settings = QUICK) -> str:
    with pytest.raises(DocumentError) as caught:
        extract(path, settings)
    return str(caught.value)


def test_what_is_no_pdf(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"")
    assert "empty file" in refused(path)
    path.write_bytes(b"<html>Just a moment...</html>")
    assert "starts with b'<html>" in refused(path)
    path.write_bytes(b"%PDF-1.7\n" + b"\x00" * 5000)
    assert "download it again" in refused(path)


def test_a_cut_pdf_gives_what_is_left_or_a_reason(tmp_path: Path) -> None:
    data = saved(paper(3), tmp_path).read_bytes()
    path = tmp_path / "cut.pdf"
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        try:
            assert isinstance(extract(path, QUICK), Extraction)
        except DocumentError as error:
            assert str(error)


def test_a_pdf_that_had_to_be_repaired_is_told(tmp_path: Path) -> None:
    path = saved(paper(3), tmp_path)
    assert extract(path, QUICK).failures == []
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"xref") - 20])
    ((what, why),) = extract(path, QUICK).failures
    assert what == "whole file" and "repaired" in why and "download it again" in why


def test_encrypted_pdfs(tmp_path: Path) -> None:
    encrypted = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "owner"}
    assert "password" in refused(saved(paper(), tmp_path, user_pw="secret", **encrypted))
    result = extract(saved(paper(), tmp_path, user_pw="", **encrypted), QUICK)
    assert [figure.number for figure in result.figures] == ["1"]


def test_a_scan_without_text_is_told_from_a_paper_without_figures(tmp_path: Path) -> None:
    draft = Draft()
    for number in range(3):
        draft.page()
        draft.image((0, 0, 612, 792), seed=number)
    reason = refused(saved(draft, tmp_path))
    assert "no text layer: 3 pages, 3 of them with pictures" in reason and "OCR" in reason
    draft = Draft()
    draft.page()
    draft.text(prose(100))
    assert extract(saved(draft, tmp_path), QUICK).figures == []


STAMP = "medRxiv preprint doi: https://doi.org/10.1101/2020.02.11.20021493; this version posted February 12, 2020."


@pytest.mark.parametrize("pages", [1, 3])
def test_a_stamp_is_no_text_layer(tmp_path: Path, pages: int) -> None:
    draft = Draft()
    for number in range(pages):
        draft.page()
        draft.image((50, 50, 500, 700), seed=number)
        draft.put(72, 30, STAMP, 7)
    reason = refused(saved(draft, tmp_path))
    assert f"no text layer: {pages} pages" in reason and "OCR" in reason


def test_scans_behind_a_typed_page_are_told(tmp_path: Path) -> None:
    draft = Draft()
    draft.page()
    draft.text(prose(100))
    for number in range(3):
        draft.page()
        draft.image((50, 50, 500, 700), seed=number)
        draft.put(72, 30, STAMP, 7)
    ((what, why),) = extract(saved(draft, tmp_path), QUICK).failures
    assert what == "3 of 4 pages" and "no text layer" in why


def test_figures_on_pages_of_their_own_are_no_scans(tmp_path: Path) -> None:
    draft = Draft()
    draft.page()
    for number in (1, 2, 3):
        draft.text("Chest CT of a patient on the first day.", size=11, lead=f"Figure {number}.")
        draft.y += 12
    for number in range(3):
        draft.page()
        draft.image((50, 50, 500, 700), seed=number)
        draft.put(72, 30, STAMP, 7)
    result = extract(saved(draft, tmp_path), QUICK)
    assert [(f.number, f.page) for f in result.figures] == [("1", 2), ("2", 3), ("3", 4)] and result.failures == []


def test_limits(tmp_path: Path) -> None:
    path = saved(paper(3), tmp_path)
    assert "at most 2 pages, got 3; raise max_pages" in refused(path, replace(QUICK, max_pages=2))
    assert "raise max_megabytes" in refused(path, replace(QUICK, max_megabytes=0.001))
    result = extract(path, replace(QUICK, max_pixels=10_000))
    assert result.figures == []
    assert [what for what, _ in result.failures] == ["page 1 Figure 1", "page 2 Figure 2", "page 3 Figure 3"]
    assert all("raise max_pixels" in why for _, why in result.failures)


def test_a_huge_page_is_rendered_small(tmp_path: Path) -> None:
    draft = Draft(14_400, 14_400)
    page = draft.page()
    draft.image((1000, 1000, 5000, 4000), seed=1)
    draft.image((5100, 1000, 9000, 4000), seed=2)
    page.insert_text((1000, 4300), "Figure 1. Chest CT of a patient", fontsize=150)
    result = extract(saved(draft, tmp_path), replace(QUICK, max_pixels=500_000))
    (figure,) = result.figures
    assert figure.pixels == "rendered" and figure.width * figure.height <= 510_000


def test_scripts_and_embedded_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = paper()
    draft.pdf.embfile_add("payload.exe", b"MZ" * 100, filename="../../payload.exe")
    xref = draft.pdf.get_new_xref()
    draft.pdf.update_object(xref, "<</S/JavaScript/JS(app.alert\\('x'\\); this.exportDataObject\\('payload.exe'\\))>>")
    draft.pdf.xref_set_key(draft.pdf.pdf_catalog(), "OpenAction", f"{xref} 0 R")
    path = saved(draft, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert [figure.number for figure in extract(path, QUICK).figures] == ["1"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["paper.pdf", "work"]


def test_forms_nested_without_end_come_to_an_end(tmp_path: Path) -> None:
    draft = paper()
    page = draft.page()
    pdf = draft.pdf
    draft.put(72, 72, "text", 11)
    xref = pdf.get_new_xref()
    pdf.update_object(xref, "<</Type/XObject/Subtype/Form/BBox[0 0 612 792]>>")
    pdf.update_stream(xref, b"q /Again Do /Again Do Q")
    pdf.xref_set_key(xref, "Resources", f"<</XObject<</Again {xref} 0 R>>>>")
    pdf.xref_set_key(page.xref, "Resources", f"<</XObject<</Again {xref} 0 R>>>>")
    pdf.update_stream(page.get_contents()[-1], b"/Again Do")
    result = extract(saved(draft, tmp_path), QUICK)
    assert [figure.number for figure in result.figures] == ["1"]


def test_a_page_tree_that_bites_its_tail(tmp_path: Path) -> None:
    draft = paper(2)
    pdf = draft.pdf
    pages = int(pdf.xref_get_key(pdf.pdf_catalog(), "Pages")[1].split()[0])
    pdf.xref_set_key(pages, "Kids", f"[{pages} 0 R]")
    data = pdf.tobytes()
    path = tmp_path / "loop.pdf"
    path.write_bytes(data)
    try:
        extract(path, QUICK)
    except DocumentError as error:
        assert "download it again" in str(error) or "readable" in str(error)


def test_one_broken_page_costs_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import harvest.document as module

    real = module.read_page

    def broken(page: pymupdf.Page, number: int) -> object:
        if number == 2:
            raise RuntimeError("code=7: object is not a stream")
        return real(page, number)

    monkeypatch.setattr(module, "read_page", broken)
    result = extract(saved(paper(3), tmp_path), QUICK)
    assert [figure.number for figure in result.figures] == ["1", "3"]
    assert result.failures == [("page 2", "not readable: RuntimeError: code=7: object is not a stream")]


def test_a_caption_whose_picture_is_missing_is_told(tmp_path: Path) -> None:
    draft = paper()
    draft.page()
    draft.text(prose(100))
    draft.y += 12
    draft.text("Chest CT of another patient.", size=9, lead="Figure 2.")
    result = extract(saved(draft, tmp_path), QUICK)
    assert [figure.number for figure in result.figures] == ["1"]
    assert result.unmatched == ["Figure 2 (page 2)"]


def test_a_label_line_that_no_caption_came_of_is_told(tmp_path: Path) -> None:
    draft = paper()
    draft.page()
    draft.text(prose(100))
    draft.y += 24
    draft.text("Figure 2, Chest CT of another patient.", size=11)
    result = extract(saved(draft, tmp_path), QUICK)
    assert [figure.number for figure in result.figures] == ["1"]
    assert result.unmatched == ["Figure 2 (page 2)"]


def test_appendix_and_supplement_keep_their_own_mentions(tmp_path: Path) -> None:
    draft = Draft()
    for name in ("Appendix Figure 1", "Supplementary Figure 1"):
        draft.page()
        draft.text(prose(40) + f" A man had an opacity ({name}). " + prose(40))
        draft.y += 10
        draft.image((150, draft.y, 450, draft.y + 150))
        draft.y += 6
        draft.text("Chest CT of a man.", size=9, lead=f"{name}.")
    result = extract(saved(draft, tmp_path), QUICK)
    assert [(f.number, len(f.mentions)) for f in result.figures] == [("A1", 1), ("S1", 1)]
    assert [f.mentions[0].page for f in result.figures] == [1, 2]


def test_a_raster_of_many_megapixels_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A picture bomb: its dictionary promises 60,000 x 60,000 pixels."""
    draft = Draft()
    page = draft.page()
    xref = draft.image((150, 100, 450, 300), picture(1))
    draft.text("Chest CT.", size=9, lead="Figure 1.")
    draft.pdf.xref_set_key(xref, "Width", "60000")
    draft.pdf.xref_set_key(xref, "Height", "60000")
    assert page.get_images()[0][2] == 60000
    result = extract(saved(draft, tmp_path), QUICK)
    assert result.figures == [] and "60000x60000" in result.failures[0][1]
