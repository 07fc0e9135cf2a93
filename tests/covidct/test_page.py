"""The dataset page: what it says, that hostile text stays text, and that a browser opens it and loads lazily."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from covidct import page, pictures
from covidct.reader import load
from covidct.records import COLUMNS, write_records
from tests.covidct.conftest import picture

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def dataset(folder: Path, count: int) -> Path:
    """A dataset of ``count`` records whose picture files are links to a few drawn ones."""
    (folder / "images").mkdir(parents=True)
    drawn = []
    for seed in range(4):
        drawn.append(folder / f"drawn-{seed}.png")
        drawn[-1].write_bytes(pictures.encode(picture(seed, (64, 48))))
    rows = []
    for number in range(count):
        name = f"2020.02.11.20021493-p{number // 8 % 900 + 1}-{number // 8}%{number % 8}"
        os.link(drawn[number % 4], folder / "images" / f"{name}.png")
        rows.append(
            {
                **dict.fromkeys(COLUMNS, ""), "image_id": name, "file": f"images/{name}.png", "label": number % 2,
                "label_name": ("NonCOVID", "COVID")[number % 2], "patient_id": f"medrxiv:{number // 3}", "width": 64,
                "height": 48, "page": number // 8 % 900 + 1, "xref": number // 8, "panel": number % 8,
                "document_id": "medrxiv:2020.02.11.20021493", "source": ("medrxiv", "pmc")[number // 8 % 2],
                "caption": f"Figure {number // 8}. Chest CT of a patient, slice {number % 8}. COVID-19 was confirmed.",
                "evidence": "COVID-19 was confirmed.", "split": ("train", "val", "test", "")[number % 4],
                "reviewed": number % 5 > 0, "inpainted_fraction": 0.0,
            }
        )  # fmt: skip
    write_records(folder / "records.csv", pd.DataFrame(rows, columns=list(COLUMNS)))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs playwright: pip install 'covidct[test]'")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium on the PATH (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def opened(browser: Any, path: Path, messages: list[str], requested: list[str]) -> Any:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requested.append(request.url))
    tab.goto(path.as_uri())
    return tab


def says(tab: Any, start: str) -> None:
    """Wait until the count under the title starts with this (the page allows no eval, so no wait_for_function)."""
    from playwright.sync_api import expect

    expect(tab.locator("#count")).to_have_text(re.compile(f"^{re.escape(start)}"))


def write(folder: Path, **options: Any) -> Path:
    target = folder / "index.html"
    target.write_text(page.build(load(folder), target, **options), encoding="utf-8")
    return target


def test_746_images_in_a_browser(browser: Any, tmp_path: Path) -> None:
    """One file with its thumbnails; filters by split, class, source, patient and flag; every picture leads on."""
    from playwright.sync_api import expect

    folder = dataset(tmp_path / "data", 746)
    first = load(folder).records.iloc[0]
    (tmp_path / "audit.json").write_text(
        json.dumps(
            {
                "findings": [
                    {"kind": "label-in-doubt", "severity": "error", "items": [f"{first['image_id']}.png"],
                     "evidence": "the text says control", "remedy": "look again"},
                ]
            }
        )
    )  # fmt: skip
    review = {"candidate_id": page.figure_of(first["image_id"]), "reviewer": "ada", "reviewed_at": "2026-01-02T03:04",
              "panels": [{"label": "COVID"}], "comment": "clear"}  # fmt: skip
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "all.jsonl").write_text(json.dumps(review) + "\n")
    target = write(folder, audit=tmp_path / "audit.json", review_folders=[tmp_path / "reviews"])
    messages: list[str] = []
    requested: list[str] = []
    tab = opened(browser, target, messages, requested)
    says(tab, "746 of 746 images, 249 patients; COVID 373, NonCOVID 373")
    assert 10 < tab.locator(".cell").count() < 120
    assert [url for url in requested if url.startswith("file:")] == [target.as_uri()]
    expect(tab.locator(".cell img").first).to_have_js_property("naturalWidth", 64)
    tab.select_option("#f-split", "test")
    tab.select_option("#f-class", "NonCOVID")
    says(tab, "186 of 746")
    assert "split=test" in tab.url
    tab.click("#clear")
    tab.select_option("#f-flag", "label-in-doubt")
    says(tab, "1 of 746")
    tab.click(".cell")
    assert tab.get_attribute("#document", "href") == "https://doi.org/10.1101/2020.02.11.20021493"
    text = tab.inner_text("#detail")
    for part in (first["caption"], "COVID-19 was confirmed.", "7 more panels of this figure", "the text says control",
                 "ada 2026-01-02: COVID — clear", "no person has looked at this label yet"):  # fmt: skip
        assert part in text
    expect(tab.locator("img.big").first).to_have_js_property("naturalWidth", 64)
    tab.click("#close")
    tab.click("#clear")
    tab.fill("#f-patient", "medrxiv:7")
    says(tab, "3 of 746")
    tab.fill("#f-patient", "")
    tab.fill("#f-q", "slice 3")
    says(tab, "93 of 746")
    assert messages == []
    tab.close()
    again = opened(browser, Path(str(target)), messages, requested)  # a linked selection opens as it was
    again.goto(target.as_uri() + "#split=val")
    again.reload()
    assert again.inner_text("#count").startswith("187 of 746")
    again.close()


def test_20000_images_load_lazily(browser: Any, tmp_path: Path) -> None:
    """Only what is on the screen exists as elements and is read from disk, also after a jump to the end."""
    folder = dataset(tmp_path / "data", 20_000)
    target = write(folder)
    messages: list[str] = []
    requested: list[str] = []
    tab = opened(browser, target, messages, requested)
    assert tab.inner_text("#count").startswith("20000 of 20000 images")
    assert tab.locator(".cell").count() < 120
    assert len(requested) < 150
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = load(folder).records["image_id"].iloc[-1]
    tab.wait_for_selector(f'.cell[title="{last}"] img')
    assert tab.locator(".cell").count() < 200
    assert len(requested) < 400
    tab.select_option("#f-source", "pmc")
    says(tab, "10000 of 20000")
    assert messages == []
    tab.close()


def test_hostile_text_stays_text(browser: Any, tmp_path: Path) -> None:
    """Markup in a caption, patient, DOI or review neither ends the script nor becomes an element or a link."""
    folder = dataset(tmp_path / "data", 8)
    records = load(folder).records.assign(
        caption=EVIL, patient_id=EVIL, doi="javascript:alert(1)", source=EVIL, severity="\u2028" + EVIL
    )
    write_records(folder / "records.csv", records)
    target = write(folder)
    assert target.read_text(encoding="utf-8").count("<script") == 2
    messages: list[str] = []
    tab = opened(browser, target, messages, [])
    tab.click(".cell")
    assert EVIL in tab.inner_text("#caption")
    assert tab.title().startswith("COVID-CT dataset")
    assert tab.locator("#document").count() == 0
    assert messages == []
    tab.close()


def test_pictures_that_may_not_be_handed_on(tmp_path: Path) -> None:
    """Without the file there is a placeholder, not a broken picture; the same input gives the same bytes."""
    folder = dataset(tmp_path / "data", 8)
    gone = load(folder).records["file"].iloc[0]
    (folder / gone).unlink()
    first = write(folder).read_bytes()
    data = json.loads(first.decode().split('id="data">')[1].split("</script>")[0])
    assert data["here"] == [0] + [1] * 7
    assert data["thumbs"][0] == ""
    assert len({*data["thumbs"]}) == 5
    assert write(folder).read_bytes() == first


def test_the_figure_and_changes(tmp_path: Path) -> None:
    """figures.jsonl leads to the whole figure; cleaning.csv to what was done to the image."""
    folder = dataset(tmp_path / "data", 8)
    name = load(folder).records["image_id"].iloc[0]
    figure = {"figure_id": page.figure_of(name), "file": "images/a b.png", "width": 9, "height": 9, "label": "Figure 2",
              "mentions": [{"page": 1, "offset": 0, "text": "see Figure 2"}]}  # fmt: skip
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "figures.jsonl").write_text(json.dumps(figure) + "\n")
    (folder / "cleaning.csv").write_text(
        f"image_id,action,before,after,reason,finding\n{name},moved,val,test,a twin,x\nother,kept,,,,\n"
    )
    text = page.build(load(folder), folder / "index.html", figure_folders=[tmp_path / "figures"])
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["figures"][page.figure_of(name)][:4] == ["../figures/images/a%20b.png", 9, 9, "Figure 2"]
    assert data["changes"] == {name: [["moved", "val", "test", "a twin"]]}


@pytest.mark.parametrize(
    ("doi", "document", "expected"),
    [
        ("10.1101/2020.01.01.1", "x", "https://doi.org/10.1101/2020.01.01.1"),
        ("", "published-covid:2020.02.11.20021493", "https://doi.org/10.1101/2020.02.11.20021493"),
        ("", "pmc:PMC7001234", "https://pmc.ncbi.nlm.nih.gov/articles/PMC7001234/"),
        ("javascript:alert(1)", "x", ""),
        ('10.1000/"><script>', "x", ""),
        ("", "medpix_patient_3", ""),
    ],
)
def test_addresses(doi: str, document: str, expected: str) -> None:
    assert page.address(doi, document) == expected


def test_bad_inputs_are_said(tmp_path: Path) -> None:
    """An audit that is none, a figure outside its folder, a version that does not exist: one message, status 1."""
    folder = dataset(tmp_path / "data", 4)
    (tmp_path / "audit.json").write_text("[]")
    with pytest.raises(page.PageError, match="expected the JSON of `covidct audit`"):
        page.build(load(folder), folder / "index.html", audit=tmp_path / "audit.json")
    (tmp_path / "figures.jsonl").write_text('{"figure_id": "a", "file": "../../etc/passwd"}\n')
    with pytest.raises(page.PageError, match="expected a figure with its file"):
        page.build(load(folder), folder / "index.html", figure_folders=[tmp_path])
    result = CliRunner().invoke(page.app, [str(tmp_path / "nowhere" / "x")])
    assert result.exit_code == 1
    assert not (folder / "index.html").exists()
