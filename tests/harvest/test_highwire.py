"""Search pages of the sites, saved by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest import highwire
from harvest.preprints import app
from harvest.sample.serve import Fault, StandIn


@pytest.mark.real
def test_recorded_search_pages(real_data: Path):
    """Trap 10: the title's span is nested in another of its class."""
    folder = real_data / "recorded" / "highwire_html"
    (one,) = highwire.read_page((folder / "search_result_item_medrxiv_2021.html").read_text())
    assert (one.doi, one.version, one.server, one.date) == ("10.1101/2021.02.12.21251663", 1, "medrxiv", "2021-02-18")
    assert one.title.startswith("ClinGen Variant Curation Interface") and one.title.count("ClinGen") == 1
    rows = list(highwire.read_page((folder / "search_results_excerpt_biorxiv_2020-02.html").read_text()))
    assert [(r.doi, r.date) for r in rows] == [
        ("10.1101/2020.02.02.931162", "2020-02-04"),
        ("10.1101/819326", "2019-10-28"),
    ]
    assert rows[0].title == "Phylogenomic analysis of the 2019-nCoV coronavirus"
    assert rows[0].authors == "Ceraolo, Carmine; Giorgi, Federico M"
    text = (real_data / "recorded/ropensci_fulltext/ft_search_fails_well_biorxiv_no_results.yml").read_text()
    assert list(highwire.read_page(text)) == []


def test_search_pages_saved_by_hand_join_the_listing(tmp_path):
    import requests

    with StandIn.synthetic(60, 12, 3000, faults=[Fault(r"^/details/", "status", status=404)]) as server:
        page = requests.get(f"{server.url}/www.medrxiv.org/search/covid", timeout=10).text
        saved = tmp_path / "saved"
        saved.mkdir()
        (saved / "page1.html").write_text(page)
        words = ["--api", server.url, "--site", server.url, "--spacing", "0", "--saved-pages", str(saved)]
        result = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), *words])
    assert result.exit_code == 1 and "incomplete" in result.stderr  # the API gave nothing: said so
    rows = [json.loads(line) for line in (tmp_path / "out" / "preprints.jsonl").read_text().splitlines()]
    assert rows and all("COVID-19" in r["title"] and r["title"].count("report") == 1 for r in rows)
