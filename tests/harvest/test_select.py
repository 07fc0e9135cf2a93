"""Words that select: COVID in the names of 2020, chest CT, and how likely."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harvest.select import chest_ct, ct_likelihood, is_covid, may_be_covid


@pytest.mark.parametrize(
    "text",
    [
        "2019-nCoV",
        "2019 nCoV",
        "nCoV-2019",
        "COVID-19",
        "Covid19",
        "SARS-CoV-2",
        "SARS CoV 2",
        "novel coronavirus",
        "HCoV-19",
        "pneumonia in Wuhan",
        "Corona Virus Disease 2019",
        "2019 novel coronavirus",
        "2019 Novel Infected Coronavirus Pneumonia",
        "the 2019 Coronavirus Disease",
        "the coronavirus epidemic",
        "new coronavirus",
        "NCP: a pneumonia",
    ],
)
def test_the_names_of_2020(text):
    assert is_covid(text)


@pytest.mark.parametrize(
    "text",
    [
        "SARS-CoV in 2003",
        "Seasonal Coronavirus",
        "Human Coronavirus",
        "MERS",
        "Covidien stapler",
        "influenza",
        "NCP inhibitors",
        "bncov",
    ],
)
def test_other_words_are_not_covid(text):
    assert not is_covid(text)


@pytest.mark.real
def test_titles_of_the_window(real_data: Path):
    """712 real version rows: what the collection called COVID by its own keywords, by the title alone."""
    with (real_data / "recorded/medrxiv_scrape_2020/window_2020-01-19_2020-03-01.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = [(is_covid(row["title"]), row["covid"] == "1") for row in rows]
    assert sum(ours for ours, _ in found) >= 300 and not any(ours and not theirs for ours, theirs in found)


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


def test_in_articles_of_any_year_the_city_alone_is_no_covid():
    older = "Patients of Tongji Hospital, Wuhan, who had sarcoidosis."
    assert is_covid(older) and not may_be_covid(older)
    for text in ("The outbreak of pneumonia in Wuhan", "Wuhan pneumonia", "2019-nCoV", "COVID-19 in Milan"):
        assert may_be_covid(text)


@pytest.mark.parametrize(
    "text",
    [
        "SARS\u2011CoV\u20112",
        "SARS\u2013CoV\u20132",
        "SARS\u2212CoV\u22122",
        "SARS-CoV\u2082",
        "SARS-\u200bCoV-\u200b2",
        "SARS\u00adCoV\u00ad2",
        "2019\u2010n\u2010CoV",
        "2019-CoV",
        "CoV-19",
        "a novel betacoronavirus",
        "the novel \u03b2-coronavirus",
        "severe acute respiratory syndrome coronavirus 2",
        "coronavirus disease\u20112019",
        "coronavirus-19",
    ],
)
def test_covid_is_known_however_it_is_typeset(text):
    assert may_be_covid(text) and is_covid(text)


@pytest.mark.parametrize("text", ["SARS coronavirus", "in 2019 covariates", "betacoronavirus", "a human coronavirus"])
def test_other_coronaviruses_are_not_taken_for_it(text):
    assert not may_be_covid(text)
