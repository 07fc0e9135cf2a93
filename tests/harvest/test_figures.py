"""The stage `figures`: a folder of PDFs → records, pictures, failures; the same whatever the number of workers."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import pymupdf
import pytest
from typer.testing import CliRunner

from harvest.debug import contact_sheet
from harvest.figures import app, safe_stem
from harvest.records import Failure, Figure, Preprint, write_jsonl
from tests.harvest import drawn
from tests.harvest.drawn import Draft, prose

RUN = CliRunner()


def paper(path: Path, figures: int = 1, tag: str = "") -> Path:
    draft = drawn.paper(figures, tag)
    if not figures:
        draft.page()
        draft.text(prose(200))
    return draft.save(path)


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good papers among the ugly."""
    folder = tmp_path_factory.mktemp("pdfs")
    paper(folder / "a.pdf", 2)
    paper(folder / "none.pdf", 0)
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "page.pdf").write_bytes(b"<html>Just a moment...</html>")
    with pymupdf.open(paper(folder / "locked.pdf")) as pdf:
        locked = pdf.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret", owner_pw="owner")
    (folder / "locked.pdf").write_bytes(locked)
    scan = Draft()
    scan.page()
    scan.image((0, 0, 612, 792), seed=4)
    scan.save(folder / "scan.pdf")
    paper(folder / "Z &é x.PDF", 1, " <script>alert(1)</script>")
    (folder / "notes.txt").write_text("no PDF")
    return folder


def stage(pdfs: Path, out: Path, *options: str) -> tuple[int, str]:
    result = RUN.invoke(app, ["--pdfs", str(pdfs), "--out", str(out), "--dpi", "72", "--max-failed", "1", *options])
    return result.exit_code, result.stderr


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_every_pdf_has_a_row_and_every_row_its_picture(pdfs: Path, tmp_path: Path) -> None:
    code, _ = stage(pdfs, tmp_path / "out", "--workers", "2")
    assert code == 0
    read = {row["pdf"]: row for row in rows(tmp_path / "out" / "documents.jsonl")}
    failed = {row["item"]: row["reason"] for row in rows(tmp_path / "out" / "failed.jsonl")}
    assert set(read) | set(failed) == {p.name for p in pdfs.iterdir()} - {"notes.txt"}
    assert set(read) & set(failed) == set()
    assert read["none.pdf"]["figures"] == 0 and read["a.pdf"]["figures"] == 2
    assert "empty file" in failed["empty.pdf"] and "password" in failed["locked.pdf"]
    assert "no text layer" in failed["scan.pdf"] and "starts with" in failed["page.pdf"]
    figures = [Figure(**row) for row in rows(tmp_path / "out" / "figures.jsonl")]
    assert [figure.pdf for figure in figures] == ["Z &é x.PDF", "a.pdf", "a.pdf"]
    for figure in figures:
        picture = pymupdf.Pixmap(str(tmp_path / "out" / figure.file))
        assert (picture.width, picture.height) == (figure.width, figure.height) == (160, 120)
        assert figure.file == f"images/{figure.figure_id}.png" and figure.panel_captions["B"] == "Day 5."
    assert figures[1].figure_id == f"a-p1-{figures[1].xrefs[0]}", "file names join the 2020 release's"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "figures.jsonl",
        "documents.jsonl",
        "failed.jsonl",
        "images",
    }


def test_the_same_bytes_whatever_the_number_of_workers_and_again(pdfs: Path, tmp_path: Path) -> None:
    for name, workers in (("one", "1"), ("two", "2")):
        assert stage(pdfs, tmp_path / name, "--workers", workers)[0] == 0
    assert stage(pdfs, tmp_path / "two", "--workers", "2")[0] == 0
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_drawings_and_a_contact_sheet_where_wanted(pdfs: Path, tmp_path: Path) -> None:
    assert stage(pdfs, tmp_path / "out", "--debug", str(tmp_path / "debug"), "--workers", "1")[0] == 0
    names = {p.name for p in (tmp_path / "debug").iterdir()}
    assert {"index.html", "a-p1.png", "a-p2.png"} <= names
    page = (tmp_path / "debug" / "index.html").read_text(encoding="utf-8")
    sources: list[str] = []
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            sources.extend(value or "" for name, value in attrs if name == "src")

    Reader().feed(page)
    assert "script" not in tags and "&lt;script&gt;alert(1)" in page
    assert len(sources) == 3 and all((tmp_path / "debug" / source).is_file() for source in sources)
    assert "no text layer" in page


def test_a_contact_sheet_of_figures_without_files() -> None:
    figure = Figure(figure_id="x", source="pdf", document_id="x", pixels="rendered", file="", width=0, height=0)
    assert "1 figures, 1 failures" in contact_sheet([figure], [Failure(item="a & b", reason="<none>")], ".")


def test_without_pixels_no_picture_is_written(pdfs: Path, tmp_path: Path) -> None:
    assert stage(pdfs, tmp_path, "--no-pixels")[0] == 0
    assert {row["file"] for row in rows(tmp_path / "figures.jsonl")} == {""}
    assert list((tmp_path / "images").iterdir()) == []


def preprint(name: str, version: int = 1) -> Preprint:
    return Preprint(
        server="medrxiv",
        doi=f"10.1101/{name}",
        version=version,
        licence="CC-BY 4.0",
        date="2020-02-11",
        title="A title",
        pdf=f"pdf/{name}v{version}.pdf",
        sha256="0" * 64,
        bytes=1000,
        url="https://www.medrxiv.org/content/x",
    )


def test_the_records_of_the_preprints_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "pdf"
    for name in ("2020.02.11.1v1", "2020.02.11.2v1", "2020.02.11.2v2", "stranger"):
        paper(folder / f"{name}.pdf")
    listed = [
        preprint("2020.02.11.1"),
        preprint("2020.02.11.2", 1),
        preprint("2020.02.11.2", 2),
        preprint("2020.02.11.9"),
    ]
    write_jsonl(tmp_path / "preprints.jsonl", listed)
    code, _ = stage(folder, tmp_path / "out", "--preprints", str(tmp_path / "preprints.jsonl"))
    assert code == 0
    figures = rows(tmp_path / "out" / "figures.jsonl")
    assert [row["figure_id"].split("-p1-")[0] for row in figures] == [
        "2020.02.11.1",
        "2020.02.11.2v1",
        "2020.02.11.2v2",
    ]
    assert {row["document_id"] for row in figures} == {"2020.02.11.1", "2020.02.11.2"}
    assert {(row["source"], row["licence"], row["document_type"]) for row in figures} == {
        ("medrxiv", "CC-BY 4.0", "preprint")
    }
    failed = {row["item"]: row["reason"] for row in rows(tmp_path / "out" / "failed.jsonl")}
    assert "no such file" in failed["2020.02.11.9v1.pdf"] and "licence is not known" in failed["stranger.pdf"]


def test_a_run_ends_red_when_all_or_too_many_fail(tmp_path: Path) -> None:
    folder = tmp_path / "pdf"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"")
    code, said = stage(folder, tmp_path / "out")
    assert code == 1 and "all 1 PDFs failed" in said
    paper(folder / "b.pdf")
    (folder / "c.pdf").write_bytes(b"")
    code, said = stage(folder, tmp_path / "out", "--max-failed", "0.5")
    assert code == 1 and "2 of 3 PDFs failed" in said
    assert len(rows(tmp_path / "out" / "figures.jsonl")) == 1


def test_no_folder_no_pdfs_and_switched_off(tmp_path: Path) -> None:
    code, said = stage(tmp_path / "absent", tmp_path / "out")
    assert code == 2 and "expected a folder of PDFs" in said
    code, said = stage(tmp_path, tmp_path / "out")
    assert code == 2 and "*.pdf" in said
    assert stage(tmp_path, tmp_path / "out", "--no-enabled")[0] == 0
    assert rows(tmp_path / "out" / "figures.jsonl") == []


def test_a_pdf_over_the_limits_is_a_failure_and_the_others_are_read(tmp_path: Path) -> None:
    """Forms that call forms, sixty times each, six deep: the page would take years."""
    folder = tmp_path / "pdf"
    slow = Draft()
    page = slow.page()
    slow.put(72, 72, "Figure 1. Chest CT", 9)
    inner = 0
    for _ in range(6):
        xref = slow.pdf.get_new_xref()
        resources = f"/Resources<</XObject<</X {inner} 0 R>>>>" if inner else ""
        slow.pdf.update_object(xref, f"<</Type/XObject/Subtype/Form/BBox[0 0 612 792]{resources}>>")
        slow.pdf.update_stream(xref, b"/X Do " * 60 if inner else b"q Q")
        inner = xref
    slow.pdf.xref_set_key(page.xref, "Resources", f"<</XObject<</X {inner} 0 R>>>>")
    slow.pdf.update_stream(page.get_contents()[0], b"/X Do")
    slow.save(folder / "slow.pdf")
    paper(folder / "z.pdf")
    code, _ = stage(folder, tmp_path / "out", "--seconds", "5")
    assert code == 0
    (failure,) = rows(tmp_path / "out" / "failed.jsonl")
    assert failure["item"] == "slow.pdf" and "over the limit of 5 s" in failure["reason"]
    assert [row["pdf"] for row in rows(tmp_path / "out" / "figures.jsonl")] == ["z.pdf"]


def test_names_of_files_are_safe_and_stay_apart() -> None:
    names = ["a b", "a_b", "a/b", "../x", "…", "", "x" * 300, "x" * 301, "2020.02.11.1v1"]
    stems = [safe_stem(name) for name in names]
    assert stems[-1] == names[-1]
    assert len(set(stems)) == len(set(names))
    assert all(len(stem) <= 120 and "/" not in stem and not stem.startswith(".") for stem in stems)


@pytest.mark.real
def test_real_chest_ct_figures_are_found_with_their_rasters(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pdf"
    folder.mkdir()
    for name in ("ct_piotrgrabysz_report.pdf", "ct_junma_arxiv_COVID_CT_Seg_arxiv.pdf"):
        (folder / name).symlink_to(real_data / "preprints" / "pdf" / name)
    assert stage(folder, tmp_path / "out", "--no-pixels")[0] == 0
    found = {(row["pdf"], row["number"]): row for row in rows(tmp_path / "out" / "figures.jsonl")}
    first = found["ct_junma_arxiv_COVID_CT_Seg_arxiv.pdf", "1"]
    assert (first["page"], first["xrefs"]) == (3, [170])
    assert found["ct_piotrgrabysz_report.pdf", "1"]["xrefs"] == [4]
    assert [number for pdf, number in found if pdf.startswith("ct_piotr")] == [str(n) for n in range(1, 10)]
