"""The 2020 release becomes records whatever is odd about it, and says what was odd."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from covidct import joins, pictures, published
from covidct.records import read_records


def run(root: Path, out: Path, *more: str) -> int:
    return CliRunner().invoke(published.app, ["--root", str(root), "--out", str(out), *more]).exit_code


def failures(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "failed.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_picture_its_split_and_its_patient(release: Path, tmp_path: Path) -> None:
    """Names without ending, a blank in a patient id and a % in names still join; the stray row is reported."""
    out = tmp_path / "out"
    assert run(release, out) == 0
    records = read_records(out / "records.csv").set_index("image_id")
    assert records.groupby(["label", "split"]).size().to_dict() == {
        (0, "test"): 4, (0, "train"): 6, (0, "val"): 2, (1, "test"): 4, (1, "train"): 6, (1, "val"): 2
    }  # fmt: skip
    assert records[records["label"] == 1]["patient_id"].nunique() == 6
    assert not records["patient_id"].str.endswith(" ").any()
    row = records.loc["2020.02.01.20000001-p3-41%12"]
    assert (row["page"], row["xref"], row["panel"], row["sex"]) == (3, 41, 12, "F")
    assert row["doi"] == "10.1016/S0140-1"
    assert row["caption"] == "Figure 1. CT of 2020.02.01.20000001-p3-41%12"
    assert set(records["source"]) == {"published-covid", "published-pmc", "published-medpix"}
    assert [row["reason"] for row in failures(out)] == ["stray row: no file name, only 'a tail of a caption'"]


def test_one_encoding_for_all(release: Path, tmp_path: Path) -> None:
    """8-bit grey PNG without metadata, the pixels those of the source; the bytes decide the format, not the name."""
    out = tmp_path / "out"
    run(release, out)
    files = sorted((out / "images").iterdir())
    assert len(files) == 24
    assert all(pictures.is_uniform(path) for path in files)
    source = np.asarray(Image.open(release / "CT_COVID" / "2020.02.01.20000001-p3-41%0.png").convert("L"))
    assert np.array_equal(np.asarray(Image.open(out / "images" / "2020.02.01.20000001-p3-41%0.png")), source)


def test_same_input_same_bytes(release: Path, tmp_path: Path) -> None:
    """Two runs write equal files, and a second run into the same folder leaves nothing stale."""
    run(release, tmp_path / "a")
    (tmp_path / "a" / "images" / "stale.png").write_bytes(b"")
    run(release, tmp_path / "a")
    run(release, tmp_path / "b")
    names = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(names) == 26
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_damaged_pictures_are_rows(release: Path, tmp_path: Path) -> None:
    """Zero bytes, truncation and text under a picture's name fail alone; the others go on."""
    folder = release / "CT_COVID"
    names = sorted(path.name for path in folder.iterdir())
    (folder / names[0]).write_bytes(b"")
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:300])
    (folder / names[2]).write_text("no picture")
    out = tmp_path / "out"
    assert run(release, out) == 0
    reasons = {row["item"]: row["reason"] for row in failures(out)}
    assert "empty file" in reasons[names[0]]
    assert "damaged" in reasons[names[1]]
    assert "unknown bytes" in reasons[names[2]]
    assert len(read_records(out / "records.csv")) == 21


def test_list_and_table_that_name_unknown_files(release: Path, tmp_path: Path) -> None:
    """A line or row without its file is reported, a picture in two lists has no split, one without row is grouped by
    document."""
    lists = release / "Data-split" / "COVID"
    names = (lists / "trainCT_COVID.txt").read_text().splitlines()
    (lists / "trainCT_COVID.txt").write_text("\ufeff" + "\r\n".join([*names, "missing.png"]), encoding="utf-8")
    (lists / "valCT_COVID.txt").write_text((lists / "valCT_COVID.txt").read_text() + names[0])
    path = release / "COVID-CT-MetaInfo.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], *lines[3:], "other.png,Patient 9"]))
    out = tmp_path / "out"
    assert run(release, out) == 0
    reasons = " | ".join(f"{row['item']}: {row['reason']}" for row in failures(out))
    assert "trainCT_COVID.txt: missing.png: listed in train: no file of this name" in reasons
    assert "other.png: no file of this name" in reasons
    assert "listed in val and in train; kept out of both" in reasons
    records = read_records(out / "records.csv").set_index("image_id")
    assert records.loc[names[0].removesuffix(".png"), "split"] == ""
    assert records.loc["2020.02.01.20000001-p3-41%12", "patient_basis"] == "document"


def test_two_names_with_one_stem(release: Path, tmp_path: Path) -> None:
    """20.png and 20.jpg, and one name in both classes, stay different pictures with different ids."""
    for target in ("CT_NonCOVID/20.jpg", "CT_COVID/21.PNG"):
        (release / target).write_bytes((release / "CT_NonCOVID" / "20.png").read_bytes())
    out = tmp_path / "out"
    assert run(release, out) == 0
    ids = set(read_records(out / "records.csv")["image_id"])
    assert {"20~NonCOVID-jpg", "20~NonCOVID-png", "21~COVID-png", "21~NonCOVID-png"} <= ids
    assert len({name.casefold() for name in ids}) == 26


def test_xlsx_is_read_and_compared(release: Path, tmp_path: Path) -> None:
    """The spreadsheet is the first source; where the csv names another patient, that is said."""
    openpyxl = pytest.importorskip("openpyxl")
    rows = joins.read_table(release / "COVID-CT-MetaInfo.csv")
    book = openpyxl.Workbook()
    book.active.append(["File name", "Patient ID", "Captions"])
    for row in rows:
        book.active.append([row["file name"] or None, row["patient id"] or None, row["captions"]])
    book.active["B2"] = "Patient 77"
    book.save(release / "COVID-CT-MetaInfo.xlsx")
    out = tmp_path / "out"
    assert run(release, out) == 0
    records = read_records(out / "records.csv").set_index("image_id")
    assert records.loc["2020.02.01.20000001-p3-41%0", "patient_id"] == "published-covid:Patient 77"
    assert records.loc["2020.02.01.20000001-p3-41%0", "sex"] == ""  # a row that disagrees fills nothing
    assert records.loc["2020.02.01.20000001-p3-41%12", "sex"] == "F"
    assert any("patient 'Patient 1' here, 'Patient 77' in the first table" in row["reason"] for row in failures(out))


def workbook(path: Path, replaced: dict[str, str]) -> Path:
    """A workbook of one cell ``File name``, with some of its parts replaced."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["File name"])
    book.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()} | replaced
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def sheet(rows: str, before: str = "") -> dict[str, str]:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    body = f'<worksheet xmlns="{space}">{before}<sheetData>{rows}</sheetData></worksheet>'
    return {"xl/worksheets/sheet1.xml": body}


def test_a_workbook_is_as_wide_as_its_cells_not_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells and a stated width of 16,384 columns filled memory with blanks, row for row."""
    rows = '<row r="1"><c r="A1" t="str"><v>Name</v></c></row><row r="800"><c r="A800"><v>7</v></c></row>'
    path = workbook(tmp_path / "a.xlsx", sheet(rows, '<dimension ref="A1:XFD800"/>'))
    monkeypatch.setattr(joins, "MAX_CELLS", 10)
    assert joins.read_table(path) == [{"name": "7", "": "800"}]


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="99999999999"><c r="A99999999999"><v>1</v></c></row>',
        '<row r="1"><c r="XFD1"><v>1</v></c></row>',
        "<row><c><v>1</v></c><c><v>1</v></c></row>" * 9,
    ],
)
def test_a_workbook_of_too_many_cells_is_refused(rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row far below would be preceded by as many blank ones."""
    monkeypatch.setattr(joins, "MAX_CELLS", 16)
    with pytest.raises(joins.JoinError, match=r"a\.xlsx: row \d+: expected at most 200000 rows, 1024 columns and 16 c"):
        joins.read_table(workbook(tmp_path / "a.xlsx", sheet(rows)))


@pytest.mark.parametrize(
    "replaced",
    [
        {"xl/worksheets/sheet1.xml": "<worksheet"},
        {"xl/workbook.xml": "<workbook/>"},
        {"xl/styles.xml": '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><odd/>'},
        {"xl/_rels/workbook.xml.rels": '<Relationships odd="1"><Relationship odd="2"/></Relationships>'},
        sheet('<row r="1"><c r="A1" t="s"><v>99</v></c></row>'),
        sheet('<row r="1"><c r="A1"><v>no number</v></c></row>'),
        sheet('<row r="one"><c r="A1"><v>1</v></c></row>'),
    ],
)
def test_a_damaged_workbook_is_a_join_error(replaced: dict[str, str], tmp_path: Path) -> None:
    """openpyxl raises what it meets where one part of a workbook is not what another says."""
    with pytest.raises(
        joins.JoinError, match=r"a\.xlsx: expected an Excel workbook, got a damaged one .* give the .csv"
    ):
        joins.read_table(workbook(tmp_path / "a.xlsx", replaced))


def test_a_workbook_whose_compressed_bytes_are_damaged_is_a_join_error(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", sheet('<row r="1"><c r="A1" t="str"><v>Name</v></c></row>' * 400))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("xl/worksheets/sheet1.xml")
    start = member.header_offset + 30 + len(member.filename)
    content[start : start + 12] = b"\xff" * 12
    path.write_bytes(bytes(content))
    with pytest.raises(joins.JoinError, match="expected an Excel workbook, got a damaged one"):
        joins.read_table(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no folder", "expected the folder of the 2020 release, got none"),
        ("no list", "expected one file valCT_COVID.txt, got none"),
        ("no column", "expected a column 'patient id'"),
        ("no table", "expected NonCOVID-CT-MetaInfo.csv or .xlsx"),
        ("no pictures", "expected pictures, got none"),
        ("all damaged", "none of the 24 pictures could be read"),
    ],
)
def test_a_release_that_cannot_be_used(
    release: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, words: str
) -> None:
    """One clear message, exit status 1, and no table left under its final name."""
    root = release
    if damage == "no folder":
        root = tmp_path / "nowhere"
    elif damage == "no list":
        (release / "Data-split/COVID/valCT_COVID.txt").unlink()
    elif damage == "no column":
        path = release / "COVID-CT-MetaInfo.csv"
        path.write_text(path.read_text().replace("Patient ID", "Who"))
    elif damage == "no table":
        (release / "NonCOVID-CT-MetaInfo.csv").unlink()
    else:
        for path in [*(release / "CT_COVID").iterdir(), *(release / "CT_NonCOVID").iterdir()]:
            path.write_bytes(b"x") if damage == "all damaged" else path.unlink()
    assert run(root, tmp_path / "out") == 1
    assert words in caplog.text
    assert not (tmp_path / "out" / "records.csv").exists()


def test_disabled_writes_an_empty_table(tmp_path: Path) -> None:
    assert run(tmp_path, tmp_path / "out", "--no-enabled") == 0
    assert read_records(tmp_path / "out" / "records.csv").empty


def test_grey_of_wide_transparent_and_rotated_pictures() -> None:
    """16 bits scale to 8, transparency shows the page, EXIF rotation is applied."""
    wide = Image.fromarray(np.array([[0, 65535], [257 * 100, 0]], dtype=np.uint16))
    assert pictures.to_grey(wide).tolist() == [[0, 255], [100, 0]]
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    assert pictures.to_grey(clear).tolist() == [[255, 255]]
    turned = Image.new("L", (3, 2))
    turned.getexif()[274] = 6
    assert pictures.to_grey(turned).shape == (3, 2)


@pytest.mark.parametrize("exif", [b"garbage!xx", b"MM\0*\0"])
def test_damaged_exif_is_one_failure_that_names_the_picture(exif: bytes, release: Path, tmp_path: Path) -> None:
    """Pillow reads EXIF when first asked for it: its errors came after the picture counted as read, and ended all."""
    name = sorted(path.name for path in (release / "CT_COVID").iterdir())[0]
    Image.fromarray(np.full((30, 40), 9, np.uint8)).save(release / "CT_COVID" / name, "PNG", exif=exif)
    with pytest.raises(pictures.PictureError, match=rf"{name}: expected EXIF data .*, got damaged ones"):
        pictures.open_picture(release / "CT_COVID" / name)
    assert run(release, tmp_path / "out") == 0
    assert any("expected EXIF data" in row["reason"] and name in row["item"] for row in failures(tmp_path / "out"))
    assert len(read_records(tmp_path / "out" / "records.csv")) == 23


def test_exif_that_cannot_be_written_anew_is_damaged_too(tmp_path: Path) -> None:
    """Turning a picture makes Pillow write its other tags again: text where a number belongs raised there."""
    entries = [(274, 3, 1, struct.pack("<HH", 6, 0)), (282, 2, 4, b"abc\0")]  # turned; resolution in letters
    tags = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    exif = b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + b"\0\0\0\0"
    Image.fromarray(np.full((30, 40), 9, np.uint8)).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(pictures.PictureError, match=r"a\.png: expected EXIF data"):
        pictures.open_picture(tmp_path / "a.png")


def test_a_picture_of_floats_that_are_no_numbers_is_refused(release: Path, tmp_path: Path) -> None:
    """One NaN made every pixel black without a word."""
    values = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    assert pictures.to_grey(Image.fromarray(values)).max() == 255
    values[3, 5], values[4, 5] = np.nan, np.inf
    path = sorted((release / "CT_COVID").iterdir())[0]
    Image.fromarray(values).save(path, "TIFF")
    with pytest.raises(pictures.PictureError, match="40 x 30 picture of floats: expected finite pixels, got 2 that"):
        pictures.to_grey(pictures.open_picture(path))
    assert run(release, tmp_path / "out") == 0
    assert any("expected finite pixels" in row["reason"] for row in failures(tmp_path / "out"))


@pytest.mark.real
def test_the_real_release(real_published: tuple[Path, list[dict[str, str]]]) -> None:
    """Table I exact, 213 patients, 34 misnamed JPEGs, one stray row; regression bars of the published audit."""
    records, failed = read_records(real_published[0] / "records.csv"), real_published[1]
    assert records.groupby(["label", "split"]).size().to_dict() == {
        (1, "train"): 191, (1, "val"): 60, (1, "test"): 98, (0, "train"): 234, (0, "val"): 58, (0, "test"): 105
    }  # fmt: skip
    people = records.groupby(["label", "split"])["patient_id"].nunique().to_dict()
    assert people == {
        (1, "train"): 128, (1, "val"): 32, (1, "test"): 53, (0, "train"): 105, (0, "val"): 24, (0, "test"): 42
    }  # fmt: skip
    assert records.groupby("source").size().to_dict() == {
        "published-covid": 349, "published-medpix": 195, "published-pmc": 202
    }  # fmt: skip
    assert [row["item"] for row in failed] == ["COVID-CT-MetaInfo.xlsx: row 351"]
    assert (records["doi"] != "").sum() == 203
    assert (records[records["label"] == 1]["document_type"] != "preprint").sum() == 63
