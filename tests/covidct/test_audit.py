"""`covidct audit` from its command line: planted faults are found, clean folders pass, nothing unchecked counts as
passed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from covidct import audit, pictures
from covidct.checks.model import KINDS, Finding
from covidct.cli import app as cli

pytest.importorskip("curation.evidence")
COLUMNS = "file,label,patient_id,document,source,split,caption,age,sex,date,document_type,licence,doi"


@pytest.fixture(autouse=True, scope="module")
def fewer_trees() -> Iterator[None]:
    """The baselines of a few drawn pictures need no forest of a hundred trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("covidct.checks.shortcuts.TREES", 10)
        patch.setattr("covidct.checks.shortcuts.FEW_TREES", 5)
        yield


def slice_of(subject: int, side: int = 160) -> np.ndarray:
    """A drawn chest slice with vessels of its own."""
    rng = np.random.default_rng(subject)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    image = np.where((x / 0.45) ** 2 + (y / 0.38) ** 2 < 1, 170.0, 5.0)
    for sign in (-1, 1):
        lung = ((x - sign * 0.2) / (0.14 + 0.02 * rng.random())) ** 2 + (y / (0.24 + 0.03 * rng.random())) ** 2 < 1
        image[lung] = 60
        for _ in range(90):
            cx, cy, size = sign * 0.2 + rng.uniform(-0.14, 0.14), rng.uniform(-0.25, 0.25), rng.uniform(0.004, 0.013)
            image[lung] += (rng.uniform(40, 150) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2)))[lung]
    image += rng.normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.7), 0, 255).astype(np.uint8)


def write(folder: Path, rows: list[tuple[str, np.ndarray]]) -> None:
    """A folder with pictures and a table; each row is the table's line without its file name."""
    lines = [COLUMNS]
    for number, (line, image) in enumerate(rows):
        (folder / f"{number}.png").write_bytes(pictures.encode(image))
        lines.append(f"{number}.png,{line}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents with planted faults, each named in the test that looks for it."""
    folder = tmp_path_factory.mktemp("faulty")
    images = [slice_of(n) for n in range(8)]
    crop = cv2.resize(images[0][20:150, 10:150], (210, 195), interpolation=cv2.INTER_CUBIC)
    write(
        folder,
        [
            ("1,p0,d0,x,train,CT of COVID-19 pneumonia.,40,F,2020-02-01,preprint,CC-BY,10.1/a", images[0]),
            ("0,p1,d1,y,test,CT of tuberculosis.,,,2015-01-01,article,CC-BY,10.1/b", crop),  # the first again
            ("1,p2,d2,x,train,CT of COVID-19: case 8 on day 2.,,,2020-02-01,preprint,CC-BY,10.1/c", images[2]),
            ("1,p3,d2,x,test,CT of COVID-19: case 8 on day 9.,,,2020-02-01,preprint,CC-BY,10.1/c", images[3]),
            ("1,p4,d3,x,train,CT image of the control without disease.,,,2020-05-01,preprint,,10.1/d", images[4]),
            ("1,p5,d3,x,train,CT of COVID-19.,63,M,2020-02-01,preprint,CC-BY,10.1/e", images[5]),
            ("1,p5,d3,x,train,CT of COVID-19.,29,F,2020-02-01,preprint,CC-BY,10.1/e", images[6]),
            ("0,p6,d4,y,train,CT of a lung cancer.,,,2012-01-01,article,CC-BY,", images[7]),
        ],
    )
    return folder


def run(*args: object):
    return CliRunner().invoke(audit.app, [str(a) for a in args])


@pytest.fixture(scope="module")
def report(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    out = tmp_path_factory.mktemp("out")
    result = run(faulty, "--json", out / "f.json", "--html", out / "f.html", "--no-personal", "--until", "2020-03-25")
    assert result.exit_code == 0, result.output
    return json.loads((out / "f.json").read_text(encoding="utf-8")), (out / "f.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "severity", "items"),
    [
        ("opposite-label", "error", ["0.png", "1.png"]),
        ("same-picture", "error", ["0.png", "1.png"]),
        ("patient-across-splits", "error", ["0.png", "1.png"]),
        ("patient-across-splits", "error", ["2.png", "3.png"]),
        ("patient-identity", "error", ["5.png", "6.png"]),
        ("label-in-doubt", "error", ["4.png"]),
        ("provenance", "warning", ["4.png"]),
        ("document-across-splits", "warning", ["2.png", "3.png"]),
    ],
)
def test_what_was_planted_is_found(report: tuple[dict, str], kind: str, severity: str, items: list[str]) -> None:
    found = [(f["kind"], f["severity"], f["items"]) for f in report[0]["findings"]]
    assert (kind, severity, items) in found


def test_every_finding_has_evidence_and_remedy_and_what_was_not_checked_is_said(report: tuple[dict, str]) -> None:
    content = report[0]
    for finding in content["findings"]:
        assert (
            finding["kind"] in KINDS
            and finding["evidence"]
            and finding["remedy"]
            and isinstance(finding["items"], list)
        )
    assert {"personal-data", "shortcut"} <= set(content["not_checked"])
    assert content["counts"]["error"] == sum(f["severity"] == "error" for f in content["findings"])


def test_the_page_needs_nothing_but_itself(report: tuple[dict, str]) -> None:
    page = report[1]
    assert "Not checked: personal-data." in page and page.count("<article") == len(report[0]["findings"])
    assert not re.search(r"""(?:src|href)=["'](?!data:image/|#)""", page) and "http" not in page.replace(
        "http-equiv", ""
    )
    assert "difference" in page and 'src="data:image/jpeg;base64,' in page


def test_exit_status_follows_the_level_and_a_reviewed_file(
    faulty: Path, report: tuple[dict, str], tmp_path: Path
) -> None:
    assert run(faulty, "--no-personal", "--quiet", "--fail-on", "error").exit_code == 1
    rows = [f"{f['id']},as published,jd" for f in report[0]["findings"] if f["severity"] == "error"]
    path = tmp_path / "let-stand.csv"
    path.write_text("\n".join(["finding,reason,reviewer", *rows]) + "\n", encoding="utf-8")
    result = run(faulty, "--no-personal", "--fail-on", "error", "--suppressions", path, "--json", tmp_path / "f.json")
    assert result.exit_code == 0 and "let stand" in result.output
    findings = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))["findings"]
    assert [f["suppressed"] for f in findings if f["severity"] == "error"] == ["as published (jd)"] * len(rows)


def test_the_same_folder_gives_the_same_bytes(faulty: Path, report: tuple[dict, str], tmp_path: Path) -> None:
    run(faulty, "--no-personal", "--quiet", "--until", "2020-03-25", "--json", tmp_path / "f.json", "--jobs", 1)
    assert json.loads((tmp_path / "f.json").read_text(encoding="utf-8")) == report[0]


def test_a_clean_folder_has_no_error(tmp_path: Path) -> None:
    kind = "CC-BY,10.1/a"
    said = ("tuberculosis", "COVID-19")
    lines = [f"{n % 2},p{n},d{n},x,train,CT of {said[n % 2]}.,,,,,{kind}" for n in range(4)]
    write(tmp_path, [(line, slice_of(50 + n)) for n, line in enumerate(lines)])
    result = run(tmp_path, "--no-personal", "--fail-on", "error", "--json", tmp_path / "f.json")
    assert result.exit_code == 0, result.output
    assert {f["kind"] for f in json.loads((tmp_path / "f.json").read_text())["findings"]} <= {"not-a-lung-view"}


def test_the_dataset_of_the_pipeline_and_the_release_are_audited_as_they_are(
    shared_dataset: Path, release: Path, tmp_path: Path
) -> None:
    for folder, layout in ((shared_dataset, "records"), (release, "release")):
        result = run(folder, "--no-personal", "--quiet", "--json", tmp_path / "f.json")
        content = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
        assert result.exit_code == 0 and content["layout"] == layout and content["images"] == 24


def test_through_covidct_and_with_bad_words(faulty: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["audit", str(tmp_path / "none")]).exit_code == 2
    for args in (
        (tmp_path / "none",),
        (faulty, "--fail-on", "all"),
        (faulty, "--suppressions", tmp_path / "no.csv"),
        ("v999",),
    ):
        assert run(*args).exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty).exit_code == 2


def test_worst_first_and_let_stand_last() -> None:
    def finding(kind: str, severity: str, suppressed: str = "") -> Finding:
        return Finding(kind, severity, (), "e", "r", suppressed=suppressed)

    rows = [
        finding("redundant", "note"),
        finding("same-picture", "error", "seen (jd)"),
        finding("mismatch", "error"),
        finding("opposite-label", "error"),
    ]
    ordered = audit.order(rows)
    assert [f.kind for f in ordered] == ["opposite-label", "mismatch", "redundant", "same-picture"]
    assert [audit.failing(ordered, level) for level in ("error", "warning", "note", "never")] == [2, 2, 3, 0]
    with pytest.raises(ValueError, match="expected a kind"):
        finding("nonsense", "error")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the program chromium (apt-get install chromium)")
def test_the_page_works_in_a_browser(report: tuple[dict, str], tmp_path: Path) -> None:
    import subprocess

    page = tmp_path / "f.html"
    page.write_text(report[1], encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/p", "--dump-dom"]
    done = subprocess.run(["chromium", *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    count = len(report[0]["findings"])
    assert f"{count} of {count} findings" in done.stdout
