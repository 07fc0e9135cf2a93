# ruff: noqa: E501
"""Licences, words that select, saved search pages, Europe PMC, status: the small parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest import europepmc, highwire
from harvest.errors import HarvestError, ItemError
from harvest.licences import code_of, rights
from harvest.preprints import app
from harvest.sample.serve import Fault, StandIn
from harvest.select import chest_ct, ct_likelihood, is_covid
from harvest.status import status

# -- licences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cc_by", "cc_by"), ("CC BY-NC", "cc_by_nc"), ("CC BY-NC-ND", "cc_by_nc_nd"), ("cc by", "cc_by"), ("bync", "cc_by_nc"),
        ("byncsa", "cc_by_nc_sa"), ("CC BY 4.0", "cc_by"), ("CC0", "cc0"), ("cc0_ng", "cc0_ng"), ("cc_no", "cc_no"),
        ("TDM", "tdm"), ("", ""), (None, ""), ("none", ""), ("NA", ""), ("open-access", ""), ("something new", ""),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", "cc_by_nc_nd"), ("http://creativecommons.org/licenses/by/2.0", "cc_by"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public_domain"),
        ("under the Creative Commons Attribution Non-Commercial Licence 4.0", "cc_by_nc"),
        ("the Creative Commons Attribution License, which permits unrestricted use", "cc_by"),
        ("CC BY-NC-SA licence", "cc_by_nc_sa"),
    ],
)  # fmt: skip
def test_one_spelling_for_what_services_write(text, code):
    assert code_of(text) == code


def test_what_is_not_a_permission_is_none():
    """Trap 9."""
    for code in ("", "cc_no", "cc_by_nd", "cc_by_nc_nd", "tdm", "link_only", "reproduced", "what is this"):
        assert not rights(code).redistribute
    assert all(rights(code).redistribute for code in ("cc0", "cc0_ng", "cc_by", "cc_by_nc", "cc_by_sa"))
    assert rights("cc_by_nc").non_commercial and rights("cc_by").attribution and not rights("cc0").attribution


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2019-nCoV", "2019 nCoV", "nCoV-2019", "COVID-19", "Covid19", "SARS-CoV-2", "SARS CoV 2", "novel coronavirus", "HCoV-19",
     "pneumonia in Wuhan", "Corona Virus Disease 2019", "2019 novel coronavirus", "new coronavirus", "NCP: a pneumonia"],
)  # fmt: skip
def test_the_names_of_2020(text):
    assert is_covid(text)


@pytest.mark.parametrize(
    "text", ["SARS-CoV in 2003", "MERS", "Covidien stapler", "influenza", "NCP inhibitors", "bncov"]
)
def test_other_words_are_not_covid(text):
    assert not is_covid(text)


def test_ct_in_the_title_comes_first():
    title = ct_likelihood("Chest CT findings in 100 patients", "")
    abstract = ct_likelihood("Clinical features", "Computed tomography showed ground-glass opacities.")
    neither = ct_likelihood("Transmission dynamics", "We model the spread.")
    assert title > abstract > neither == 0
    assert ct_likelihood("The CT value of RT-PCR", "") < title and ct_likelihood("we act and react", "") == 0


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("Axial chest CT shows ground-glass opacities.", True),
        ("High-resolution computed tomography (HRCT) of the lungs, lung window.", True),
        ("CT scan of a pulmonary nodule in the right upper lobe", True),
        ("Chest radiograph shows consolidation.", False),
        ("Abdominal CT shows a liver mass.", False),
        ("CT of the brain", False),
        ("ROC curve of the model", False),
        ("Flow diagram of patients who had chest CT", False),
        ("(A) Chest X-ray and (B) chest CT.", True),
        ("", False),
    ],
)
def test_captions_of_chest_cts(caption, wanted):
    assert (chest_ct(caption)[0] > 0) is wanted


def test_a_caption_that_names_only_ct_needs_a_title_about_the_chest():
    assert chest_ct("CT image of patient 1", "Sarcoidosis of the lung")[0] > 0
    assert chest_ct("CT image of patient 1", "Fractures")[0] == 0
    assert chest_ct("Axial chest CT")[0] > chest_ct("Chest CT, coronal reformat")[0]


# -- saved search pages -----------------------------------------------------------------------------------------------


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


# -- Europe PMC -----------------------------------------------------------------------------------------------------


def result(n: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"PPR{n}", "source": "PPR", "doi": f"10.1101/{n}", "title": "COVID-19", "firstPublicationDate": "2020-02-11",
        "bookOrReportDetails": {"publisher": "medRxiv"}, "license": "cc by-nc", "hasPDF": "Y",
    } | changes  # fmt: skip


@pytest.mark.parametrize("end", ["repeated", "missing", "empty"])
def test_pages_end_where_the_mark_repeats_is_missing_or_nothing_comes(service, session, answer, end):
    def route(ask):
        mark = ask.query["cursorMark"]
        number = 0 if mark == "*" else int(mark)
        if number >= 3 and end == "empty":
            return answer(b'{"resultList":{"result":[]},"nextCursorMark":"4"}')
        body: dict[str, object] = {
            "resultList": {"result": [result(number)]},
            "nextCursorMark": str(min(number + 1, 3)),
        }
        if number >= 2 and end == "missing":
            del body["nextCursorMark"]
        return answer(json.dumps(body).encode())

    service.route = route
    rows = [
        r for page in europepmc.preprints(session, service.url, "medrxiv", "2020-01-19", "2020-03-25") for r in page
    ]
    assert [r.doi for r in rows][:3] == ["10.1101/0", "10.1101/1", "10.1101/2"]
    assert len(service.asked) <= 4 and rows[0].licence == "cc_by_nc" and rows[0].version == 1


def test_errors_inside_200_of_europe_pmc(service, session, answer):
    service.route = lambda ask: answer(b'{"errCode":404,"errMsg":"Invalid page size provided."}')
    with pytest.raises(ItemError, match="Invalid page size"):
        list(europepmc.search(session, service.url, "x"))
    service.route = lambda ask: answer(b"", 404)
    with pytest.raises(ItemError, match="404"):
        europepmc.full_text(session, service.url, "PMC1")


def test_rows_of_others_are_not_taken(service, session, answer):
    rows = [
        result(1), result(2, bookOrReportDetails={"publisher": "Research Square"}), result(3, firstPublicationDate="soon"),
        result(4, doi=None), result(5, firstPublicationDate="2021-01-01"), result(6, versionNumber="3"),
        result(7, bookOrReportDetails=None),
    ]  # fmt: skip
    service.route = lambda ask: answer(json.dumps({"resultList": {"result": rows}}).encode())
    (found,) = europepmc.preprints(session, service.url, "medrxiv", "2020-01-19", "2020-03-25")
    assert [(r.doi, r.version) for r in found] == [("10.1101/1", 1), ("10.1101/6", 3)]


def test_a_pdf_of_just_this_version_and_of_the_same_site(service, session, answer):
    links = {
        "fullTextUrl": [{"documentStyle": "pdf", "site": "Europe_PMC", "url": "https://europepmc.org/api/x?pprId=PPR1"}]
    }
    entry = result(1, versionNumber=2, fullTextUrlList=links)
    service.route = lambda ask: answer(json.dumps({"resultList": {"result": [entry]}}).encode())
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 2) == f"{service.url}/api/x?pprId=PPR1"
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 1) == ""
    links["fullTextUrl"][0]["url"] = "https://evil.org/x.pdf"
    entry["hasPDF"] = "N"
    assert europepmc.preprint_pdf(session, service.url, "10.1101/1", 2) == ""


@pytest.mark.real
def test_recorded_europe_pmc_answers(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "europepmc"
    service.route = lambda ask: answer((folder / "search_ppr_lite_trimmed_2026.json").read_bytes())
    pages = europepmc.preprints(session, service.url, "biorxiv", "2026-08-01", "2026-08-31")
    assert [row.doi for row in next(pages)] == ["10.64898/2026.08.20.745440"]
    for line in (folder / "errors.jsonl").read_bytes().splitlines():
        service.route = lambda ask, line=line: answer(line)
        with pytest.raises(ItemError, match="error 404"):
            list(europepmc.search(session, service.url, "x"))


# -- status ---------------------------------------------------------------------------------------------------------


def test_status_of_a_run_that_was_stopped(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", "challenge", skip=4)]) as server:
        words = ["--api", server.url, "--site", server.url, "--spacing", "0", "--cache", str(tmp_path / "cache")]
        CliRunner().invoke(app, ["--out", str(tmp_path / "data" / "preprints"), *words])
    rows = {row.stage: row for row in status(tmp_path / "cache", tmp_path / "data")}
    row = rows["preprints"]
    assert (row.listed, row.selected, row.have, row.failed, row.waiting, row.written) == (80, 12, 4, 0, 8, 4)
    assert rows["pmc"].listed == 0 and status(tmp_path / "none", tmp_path / "none")[0].selected == 0


def test_status_of_a_broken_state(tmp_path):
    (tmp_path / "preprints-x").mkdir()
    (tmp_path / "preprints-x" / "state.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(HarvestError, match="remove its folder"):
        status(tmp_path, tmp_path)
