"""A small drawn release in the layout of the 2020 COVID-CT data, with its warts, of patients shown nowhere else."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from harvest.sample import prose
from harvest.sample.picture import decode, draw_figure, jpeg, png
from harvest.sample.plan import NEGATIVES, Cast, Size
from harvest.sample.rand import stream

HEAD = [
    "File name",
    "Patient ID",
    "Age",
    "Gender",
    "Location",
    "Medical history",
    "Time",
    "Severity",
    "Other diseases",
    "DOI",
    "Captions",
    "",
    "",
]


def write_release(seed: int, size: Size, folder: Path) -> list[dict[str, object]]:
    """Write the release; returns truth rows (file, label, patient)."""
    for name in ("CT_COVID", "CT_NonCOVID", "Data-split/COVID", "Data-split/NonCOVID"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    truth: list[dict[str, object]] = []
    for covid in (True, False):
        truth += _write_class(seed, size.release // 2, folder, covid)
    return truth


def _write_class(seed: int, patients: int, folder: Path, covid: bool) -> list[dict[str, object]]:
    cast = Cast(seed, "RC" if covid else "RN")
    name = "COVID" if covid else "NonCOVID"
    truth: list[dict[str, object]] = []
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    rows: list[list[str]] = []
    for n in range(patients):
        patient = cast.patient("covid" if covid else NEGATIVES[n % len(NEGATIVES)])
        # the style of a patient's pictures must not follow from the class: its stream is named by the number only
        rng = stream(seed, "release", n)
        words = stream(seed, "release", name, n)
        count = int(rng.integers(1, 4))
        ident = f"2020.02.{10 + n % 15}.{20021000 + 61 * n}"
        page = int(words.integers(4, 20))
        split = "train" if n < patients * 0.6 else "val" if n < patients * 0.75 else "test"
        for k in range(count):
            as_jpeg = bool(rng.random() < 0.3)
            panel = f"%{k}" if count > 1 else ""
            ending = "jpg" if as_jpeg else "png"
            file = f"{ident}-p{page}-{60 + n}{panel}.png" if covid else f"{n}{panel}.{ending}"
            picture = draw_figure(seed, f"release-{name}-{n}-{k}", [(patient, cast.level(patient))])
            # some .png hold JPEG bytes, as 34 of the release's do
            data = jpeg(picture.pixels, 97) if as_jpeg else png(decode(jpeg(picture.pixels, 97)))
            (folder / f"CT_{name}" / file).write_bytes(data)
            lists[split].append(file)
            truth.append(
                {
                    "file": f"CT_{name}/{file}",
                    "label": int(covid),
                    "patient_id": patient.patient_id,
                    "split": split,
                    "jpeg": as_jpeg,
                    "disease": patient.disease.kind,
                }
            )
            if covid:
                caption = f"['Figure {1 + n % 4}. Chest CT of a {prose.person(patient, words)} with COVID-19.']"
                rows.append(
                    [
                        file,
                        f"Patient {n + 1}{' ' if n == 3 else ''}",
                        str(patient.age),
                        patient.sex,
                        "Wuhan, China",
                        "",
                        f"day {int(words.integers(2, 12))}",
                        "",
                        "",
                        f"10.1101/{ident}",
                        caption,
                        "",
                        "",
                    ]
                )
            else:
                rows.append([str(len(rows)), file, f"crawled_patient_{n}"])
    for split, files in lists.items():
        order = stream(seed, "release", name, split).permutation(len(files))
        text = "".join(files[i] + "\n" for i in order)
        (folder / "Data-split" / name / f"{split}CT_{name}.txt").write_text(text)
    if covid:
        (folder / "COVID-CT-MetaInfo.csv").write_text(_csv([HEAD, *rows]))
        warts = [[r[0][:-4] if i % 4 == 0 else r[0], *r[1:]] for i, r in enumerate(rows)]
        warts.append([""] * 10 + ["day 9 after onset, right lower lobe.']", "", ""])
        write_xlsx(folder / "COVID-CT-MetaInfo.xlsx", [HEAD, *warts])
    else:
        (folder / "NonCOVID-CT-MetaInfo.csv").write_text(_csv([["", "image name", "patient id"], *rows]))
    return truth


def _csv(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def write_xlsx(path: Path, rows: list[list[str]]) -> None:
    """Write one sheet of texts as an Office Open XML workbook with fixed dates (byte-identical each time)."""
    import zipfile
    from xml.sax.saxutils import escape

    cells = []
    for r, row in enumerate(rows, 1):
        line = "".join(
            f'<c r="{chr(65 + c)}{r}" t="inlineStr"><is><t xml:space="preserve">{escape(v)}</t></is></c>'
            for c, v in enumerate(row)
            if v
        )
        cells.append(f'<row r="{r}">{line}</row>')
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(cells)}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, text in parts.items():
            book.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), head + text, zipfile.ZIP_DEFLATED)
