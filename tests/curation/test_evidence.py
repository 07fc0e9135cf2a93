"""Evidence: labels, supporting sentences and patients out of captions and mentions, with denial and doubt."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from curation.evidence import early, for_figure, suggest, suggest_panels
from harvest.records import Figure, Mention

COVID = (
    "Figure 1. Chest CT of a 45-year-old man with confirmed COVID-19 pneumonia showing ground-glass opacities.",
    "Axial CT of a patient with laboratory-confirmed 2019-nCoV infection.",
    "Fig 2: Follow-up CT of case 8 (RT-PCR positive for SARS-CoV-2).",
    "NCP in a 38-year-old male. CT on day 4 shows bilateral GGO.",
    "Coronavirus disease 2019 in a 29-year-old man from Wuhan. (a) axial (b) coronal.",
    "Patient 12 with severe coronavirus pneumonia in Wuhan.",
    "CT of a 63-year-old woman with COVID-19 and a history of emphysema.",
    "CT of a COVID-19 patient who was negative for influenza A and B.",
    "Chest CT in COVID-19: ground glass opacity. Influenza and other respiratory viruses were excluded.",
    "Chest CT of a patient with initial negative RT-PCR results but later confirmed COVID-19.",
    "Typical CT of COVID-19 pneumonia: ground glass opacity, with no pleural effusion and no lymphadenopathy.",
    "CT image of the SARS-CoV-2-positive patient.",
    "(A) Patient 1 with COVID-19, day 3. (B) Patient 1 with COVID-19, day 9.",
    "Deceased patient with COVID-19, complicated by pulmonary embolism.",
)
OTHER = (
    "CT of a healthy control.",
    "Chest CT of a patient with influenza pneumonia, negative for SARS-CoV-2.",
    "COVID-19 was excluded by repeated RT-PCR; final diagnosis was organizing pneumonia.",
    "CT images of non-COVID-19 pneumonia.",
    "Figure 3. CT of community-acquired pneumonia compared with COVID-19.",
    "CT shows lesions that mimic COVID-19 in a patient with pulmonary edema.",
    "No evidence of COVID-19; CT shows pulmonary embolism.",
    "SARS patient in 2003: CT shows consolidation.",
    "MERS-CoV pneumonia in a 51-year-old man.",
    "Middle East respiratory syndrome coronavirus infection in a 60-year-old man.",
    "Images acquired in March 2018 showing ground glass opacities.",
    "CT scan of tuberculosis patient with cavity during the COVID-19 pandemic.",
    "COVID-19 negative patient with ground-glass opacity",
    "CT image of the SARS-CoV-2-negative patient.",
    "Control: viral pneumonia other than COVID-19.",
)
UNCLEAR = (
    "",
    "Ground-glass opacities in both lower lobes (arrows).",
    "Chest CT of a patient with suspected COVID-19.",
    "CT image of a patient under investigation for COVID-19.",
    "Probable COVID-19: CT shows crazy paving.",
    "COVID-19 could not be excluded.",
    "COVID-19 was not ruled out",
    "RT-PCR for SARS-CoV-2 pending.",
    "A: COVID-19 pneumonia. B: H1N1 influenza pneumonia.",
    "Comparison of CT from COVID-19 patients and healthy controls.",
)


@pytest.mark.parametrize("caption", COVID)
def test_what_states_the_disease_is_covid(caption: str) -> None:
    said = suggest(caption)
    assert said.label == "COVID" and said.sentence and said.sentence in caption


@pytest.mark.parametrize("caption", OTHER)
def test_denial_controls_other_diseases_and_early_years_are_not_covid(caption: str) -> None:
    said = suggest(caption)
    assert said.label == "NonCOVID" and said.sentence


@pytest.mark.parametrize("caption", UNCLEAR)
def test_silence_doubt_and_contradiction_are_left_to_the_curator(caption: str) -> None:
    assert suggest(caption).label == "unclear"


@pytest.mark.parametrize(
    ("text", "patients"),
    [
        ("CT of patient 3 and patient 5", ("patient 3", "patient 5")),
        ("cases 02, 07 and 13 with COVID-19", ("patient 2", "patient 7", "patient 13")),
        ("Patients 1-3", ("patient 1", "patient 2", "patient 3")),
        ("Pt 4, 33 y/o male", ("patient 4",)),
        ("case #7", ("patient 7",)),
        ("A 63-year-old woman with COVID-19", ("63-year-old woman",)),
        ("Two patients aged over 60, day 12", ()),
    ],
)
def test_patients_are_spelled_one_way(text: str, patients: tuple[str, ...]) -> None:
    assert suggest(text).patients == patients


def test_mentions_speak_where_the_caption_is_silent_and_only_there() -> None:
    mention = {"page": 3, "offset": 10, "text": "Figure 2 shows a patient with confirmed COVID-19."}
    said = suggest("Figure 2. Axial chest CT.", [mention])
    assert said.label == "COVID" and "confirmed COVID-19" in said.sentence
    assert suggest("Figure 2. Chest CT of a healthy control.", [mention]).label == "NonCOVID"
    assert suggest("Chest CT.", ["(Figure 2) of a control subject", mention]).label == "NonCOVID"


def test_each_panel_has_its_own_label_and_patient() -> None:
    caption = (
        "CT of two patients. (A) Patient 1 with COVID-19. (B) Patient 2 with influenza pneumonia. (C) Axial slice."
    )
    said = suggest_panels(caption, ["A", "B", "C"], {})
    assert [said[x].label for x in "AB"] == ["COVID", "NonCOVID"]
    assert said["A"].patients == ("patient 1",) and said["B"].patients == ("patient 2",)


def figure(**fields: object) -> Figure:
    known: dict[str, object] = {
        "figure_id": "f",
        "source": "pmc",
        "document_id": "d",
        "file": "f.png",
        "pixels": "given",
        "width": 9,
        "height": 9,
    }
    return Figure.model_validate({**known, **fields})


def test_letters_are_given_only_if_there_are_as_many_panels() -> None:
    made = figure(caption="(A) COVID-19 pneumonia. (B) Healthy control.")
    assert [p[2].label for p in for_figure(made, 2).panels] == ["COVID", "NonCOVID"]
    assert [p[0] for p in for_figure(made, 2).panels] == ["A", "B"]
    assert {p[0] for p in for_figure(made, 3).panels} == {""}


def test_diagnosis_and_date_of_the_document_speak_last() -> None:
    assert for_figure(figure(caption="Axial CT.", diagnosis="Sarcoidosis"), 1).whole.label == "NonCOVID"
    assert for_figure(figure(caption="Axial CT.", date="2017-04-02"), 1).whole.label == "NonCOVID"
    assert for_figure(figure(caption="Axial CT.", date="2020-02-11"), 1).whole.label == "unclear"


def test_dates() -> None:
    assert early("obtained in May 2016") and early("2018-03-04")
    assert not early("December 2019") and not early("2015 patients") and not early("in 2014 and in 2020")


def test_hostile_texts_end_soon_and_do_not_break() -> None:
    for text in ("(" * 30_000, "patient " * 5_000, "COVID-19 not " * 4_000, "A. " * 9_000, "\x00\ud800 A\u202e(B)"):
        assert suggest(text, [text, None, 7, {"text": text}]).label in ("COVID", "NonCOVID", "unclear")


@pytest.mark.real
def test_captions_of_the_2020_release(real_data: Path) -> None:
    path = real_data / "covid-ct" / "COVID-CT-MetaInfo.csv"
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        captions = [row["Captions"] for row in csv.DictReader(stream) if row["Captions"]]
    labels = [suggest(caption).label for caption in captions]
    assert len(labels) - labels.count("NonCOVID") >= 0.9 * len(labels)
    assert labels.count("COVID") >= 0.45 * len(labels)


def test_mentions_are_taken_as_records_too() -> None:
    mention = Mention(page=2, offset=0, text="Figure 1 is from a patient with SARS-CoV-2 infection.")
    assert suggest("Chest CT.", [mention]).label == "COVID"
