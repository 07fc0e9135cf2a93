"""Evidence: labels, supporting sentences and patients out of captions and mentions, with denial and doubt."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from curation import terms
from curation.captions_text import early
from curation.evidence import for_figure, suggest, suggest_panels
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
    "Initial RT-PCR for SARS-CoV-2 was negative; third test was positive. CT shows GGO.",
    "The first swab for 2019-nCoV was negative, but the second was positive.",
    "SARS-CoV-2 antigen test: negative; RT-PCR two days later: positive.",
    "A COVID-19 patient with a negative RT-PCR on admission.",
    "A false negative RT-PCR in a COVID-19 patient: CT shows bilateral GGO.",
    "Discharged COVID-19 patient after two negative RT-PCR tests.",
    "A 60-year-old man with COVID-19, who had diabetes, hypertension and COPD.",
    "A 70-year-old man with COVID-19 who developed pneumothorax on day 12.",
    "Chest CT at the time of COVID-19 diagnosis.",
    "CT before treatment of COVID-19 pneumonia.",
    "CT one day before COVID-19 was confirmed by PCR: GGO.",
    "A 40-year-old man with close contact to confirmed cases, diagnosed with COVID-19.",
    "Asymptomatic family members infected with SARS-CoV-2.",
    "COVID-19 mimicking pulmonary edema in a 30-year-old man.",
    "Differences between mild and severe COVID-19: (A) mild. (B) severe.",
    "Comparison between CT at day 3 and day 9 of a COVID-19 patient.",
    "Axial (A) and coronal (B) CT of a patient with COVID-19.",
    "COVID-19 pneumonia: upper lobe (left) and lower lobe (right).",
    "Normal chest CT of a 30-year-old COVID-19 patient on day 1.",
    "SARS-CoV-2 IgG negative and IgM positive.",
    "A 31-year-old pregnant woman with COVID-19, negative for influenza A/B and RSV.",
    "COVID-19 status: positive.",
    "A patient with asymptomatic SARS-CoV-2 infection, negative chest CT.",
    "Influenza was ruled out and SARS-CoV-2 confirmed.",
    "COVID-19: peripheral opacities without lymphadenopathy, cavitation or pneumothorax.",
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
    "A patient with negative COVID-19 test.",
    "A patient with negative SARS-CoV-2 RT-PCR.",
    "Negative COVID-19 patient.",
    "RT-PCR for COVID-19: negative.",
    "SARS-CoV-2 (-)",
    "COVID-19 (-) patient with bacterial infection.",
    "SARS-CoV-2 RT-PCR came back negative.",
    "Her SARS-CoV-2 nasopharyngeal swab remained negative throughout.",
    "The SARS-CoV-2 swab, taken twice, was negative.",
    "Man with three negative SARS-CoV-2 swabs.",
    "Nasal swab negative on SARS-CoV-2 PCR.",
    "SARS-CoV-2 RNA could not be detected.",
    "No RT-PCR evidence of SARS-CoV-2 infection.",
    "Negative for coronavirus disease 2019 (COVID-19).",
    "COVID-19 -ve patient.",
    "RT-PCR for SARS-CoV-2 was negative; blood culture was positive for S. aureus.",
    "RT-PCR for SARS-CoV-2 was negative; influenza test was positive.",
    "Pulmonary tuberculosis mistaken for COVID-19.",
    "Chest CT acquired before COVID-19.",
    "Pre-COVID-19 chest CT.",
    "Lung abscess in the time of COVID-19.",
    "Lung adenocarcinoma, imaged in the wake of COVID-19.",
    "This patient denied contact with COVID-19 patients and was diagnosed with lung abscess.",
    "Suspected COVID-19, finally diagnosed with organizing pneumonia.",
    "CAP in a 40-year-old woman.",
    "None of the patients had COVID-19.",
    "COVID-19 status: negative.",
    "COVID-19 could be ruled out by PCR.",
    "COVID-19 naive subject.",
    "Neg. for SARS-CoV-2.",
    "Pulmonary fungal infection and tuberculosis, taken for COVID-19.",
    "Eosinophilic pneumonia, a pitfall in the diagnosis of COVID-19.",
    "CT obtained at a COVID-19 hospital, showing a lung tumour.",
    "Common pneumonia, axial CT.",
    "CT of a patient with empyema.",
    "Spontaneous pneumothorax.",
    "Axial (A) and coronal (B) images of a patient with influenza.",
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
    "CT findings inconsistent with COVID-19.",
    "CT atypical for COVID-19.",
    "Unusual for COVID-19: tree-in-bud pattern.",
    "PUI for COVID-19.",
    "COVID-19? CT of an emergency patient.",
    "Woman tested for COVID-19 with GGO.",
    "RT-PCR-negative COVID-19 pneumonia.",
    "Suspected COVID-19; not confirmed.",
    "Screening CT amid COVID-19.",
    "A screening CT while COVID-19 was spreading.",
    "Presumptive COVID-19.",
    "Unknown COVID-19 status.",
    "Equivocal for COVID-19.",
    "COVID-19 was in the differential.",
    "Findings that raise suspicion for COVID-19.",
    "Axial CT of COVID-19 positive (A) and negative (B) patients.",
    "COVID-19 infection has not been proven.",
    "The CT was read as COVID-19 but the RT-PCR was negative.",
    "Images of a woman with COVID-19, as opposed to a man with influenza.",
    "Samples of the three classes: (a) COVID-19 (b) pneumonia (c) normal",
    "Top row, COVID-19; bottom row, normal.",
    "A close contact of a COVID-19 patient, normal CT.",
    "Chest CT of the patient whose wife had confirmed COVID-19.",
    "Daughter of a man with confirmed COVID-19, asymptomatic, clear CT.",
    "A nurse caring for patients with COVID-19, with fever and cough.",
    "CT of a patient with COVID-19 and of a patient with influenza.",
    "Axial images of a patient with COVID-19 and of another with lung cancer.",
    "CT of patient A with COVID-19 and patient B with influenza.",
    "COVID-19 (top) vs. influenza (bottom)",
    "CT of a COVID-19 patient, compared with influenza.",
    "Upper row: COVID-19. Lower row: common pneumonia.",
    "First row: SARS-CoV-2 pneumonia; second row: bacterial pneumonia.",
    "Two patients with COVID-19 and influenza, respectively.",
    "A COVID-19 patient with emphysema. CT of a healthy control.",
    "Axial CT images of COVID-19 (A) and bacterial pneumonia (B).",
    "H1N1 (a), COVID-19 (b).",
    "CT images of COVID-19 (A) and normal lungs (B).",
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
    control = "(Figure 2) of a control subject"
    assert suggest("Chest CT.", [control]).label == "NonCOVID"
    assert suggest("Chest CT.", [control, mention]).label == suggest("Chest CT.", [mention, control]).label == "unclear"


@pytest.mark.parametrize(
    "mention",
    [
        "COVID-19 has affected radiology departments (Figure 2).",
        "COVID-19 is caused by SARS-CoV-2 and has spread widely. CT images are shown in Fig 2.",
        "We compared COVID-19 with other conditions (Figure 2).",
        "COVID-19 patients were admitted; Figure 2.",
        "Patient 7 had confirmed COVID-19 (Figure 2).",
    ],
)
def test_a_mention_that_merely_names_the_disease_says_nothing_of_the_person_shown(mention: str) -> None:
    assert suggest("Lung abscess in patient 4.", [mention]).label == "NonCOVID"
    assert suggest("Chest CT of patient 4.", [mention]).label == "unclear"


def test_a_ct_called_normal_does_not_become_covid_by_a_mention() -> None:
    assert suggest("Normal chest CT.", ["Figure 2 shows a patient with COVID-19."]).label == "unclear"


@pytest.mark.parametrize(
    "mentions",
    [
        ("Figure 2B shows the healthy control.", "Figure 2A shows a patient with COVID-19."),
        ("Figure 2A shows a patient with COVID-19, and Figure 2B a healthy control.",),
        ("A healthy control (Figure 2B) and a patient with COVID-19 (Fig. 2a) were scanned.",),
        ("Figure 2 shows a patient with COVID-19.", "Fig 2 (b) is of a healthy control."),
    ],
)
def test_a_mention_speaks_of_the_panels_it_points_at(mentions: tuple[str, ...]) -> None:
    caption = "(A) Day 1. (B) Day 5."
    said = suggest_panels(caption, "AB", {}, mentions)
    assert (said["A"].label, said["B"].label) == ("COVID", "NonCOVID")
    assert suggest(caption, mentions).label == "unclear"


def test_a_mention_of_other_panels_only_is_no_evidence() -> None:
    said = suggest_panels("(A) Day 1. (B) Day 5.", "AB", {}, ["Only panel A is of a COVID-19 patient."])
    assert (said["A"].label, said["B"].label) == ("COVID", "unclear")


def test_a_head_that_compares_hands_its_label_to_nobody() -> None:
    caption = "Differences between COVID-19 and CAP: (A) COVID-19. (B) CAP. (C) Common pneumonia. (D) Lung abscess."
    said = suggest_panels(caption, "ABCD", {})
    assert [said[x].label for x in "ABCD"] == ["COVID", "NonCOVID", "NonCOVID", "NonCOVID"]
    said = suggest_panels("Differences between COVID-19 and others: (A) COVID-19. (B) An unknown entity.", "AB", {})
    assert [said[x].label for x in "AB"] == ["COVID", "unclear"]


def test_what_may_come_with_the_disease_is_not_another_persons() -> None:
    caption = "Patient with COVID-19: (A) day 1. (B) pulmonary embolism on day 9. (C) Influenza pneumonia."
    said = suggest_panels(caption, "ABC", {})
    assert [said[x].label for x in "ABC"] == ["COVID", "unclear", "NonCOVID"]


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
    assert {(p[0], p[2].label) for p in for_figure(made, 3).panels} == {("", "unclear")}


def test_texts_of_the_panels_that_differ_leave_the_boxes_unclear_where_letters_do_not_match() -> None:
    own = {"A": "COVID-19 patient", "B": "COVID-19 patient", "C": "influenza", "D": "influenza"}
    for caption in (
        "CT images of a COVID-19 patient (A, B) and a patient with influenza (C, D).",
        "COVID-19 and others",
    ):
        made = figure(caption=caption, panel_captions=own)
        assert [p[2].label for p in for_figure(made, 4).panels] == ["COVID", "COVID", "NonCOVID", "NonCOVID"]
        assert [p[2].label for p in for_figure(made, 3).panels] == ["unclear"] * 3
    sides = figure(caption="Chest CT, COVID-19.", panel_captions={"left": "COVID-19.", "right": "healthy control."})
    assert [p[2].label for p in for_figure(sides, 2).panels] == ["unclear"] * 2


def test_two_ways_to_cut_a_caption_that_disagree_are_left_to_the_curator() -> None:
    caption = "COVID-19 pneumonia (a), tuberculosis (b), and a healthy volunteer (c)"
    made = figure(caption=caption, panel_captions={"A": "tuberculosis", "B": "a healthy volunteer"})
    assert [p[2].label for p in for_figure(made, 3).panels] == ["unclear", "NonCOVID", "NonCOVID"]


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


@pytest.mark.parametrize("row", ["-", "a-", "the-", "the a-a-", "-a -"])
def test_a_row_of_hyphens_ends(row: str) -> None:
    """Each hyphen could end a word or be in it: the sentence would not have been read within a year."""
    said = suggest("Figure 1. CT.", [f"In the {row * 3000} COVID-19 pneumonia was confirmed."])
    assert said.label == "unclear"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the COVID-19-patient", True),
        ("a 54-year-old man", True),
        ("a - previously - healthy woman", True),
        ("the first of these-male", True),
        ("an illness that may kill a", False),
        ("the disease", False),
    ],
)
def test_up_to_three_words_stand_before_the_person(text: str, shown: bool) -> None:
    assert bool(terms.SHOWN.search(text)) is shown
