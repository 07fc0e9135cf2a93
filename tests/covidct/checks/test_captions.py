"""What the words say against a label, panel by panel."""

from __future__ import annotations

import pytest

from covidct.checks import captions

pytest.importorskip("curation.evidence")

SURE = [
    "CT images of the control. The first image is an ordinary bacterial pneumonia.",
    "A, Heart failure with bilateral diffuse disease.",
    "CT before treatment (January 2017) and after three months (April 2017) showing mass lesions.",
]
DOUBTFUL = [
    "A 58-year-old man; findings were highly suspicious for SARS-CoV-2 infection.",
    "Patient 19 of the COVID-19 series, no obvious lesion was found in both lungs.",
    "COVID-19: Patient ID 7, the nucleic acid detection result was negative.",
    "COVID-19: some accurate and erroneous predictions of the network.",
    "Different imaging features of heart failure and COVID-19.",
]
PLAIN = [
    "Chest CT of a patient with COVID-19 pneumonia showing ground-glass opacities.",
    "COVID-19: regions were cut out to avoid false positives.",
    "CT of a COVID-19 patient with emphysema.",
]


@pytest.mark.parametrize("caption", SURE)
def test_a_text_that_contradicts_the_label_is_an_error(folder_of, caption: str) -> None:
    folder = folder_of([{"label": 1, "caption": caption, "document": "d"}])
    (finding,) = [f for f in captions.check(folder) if f.kind == "label-in-doubt"]
    assert finding.severity == "error" and finding.items == ("0.png",) and folder.metrics["labels_to_review"] == 1


@pytest.mark.parametrize("caption", DOUBTFUL)
def test_a_text_that_weakens_the_label_is_a_warning(folder_of, caption: str) -> None:
    folder = folder_of([{"label": 1, "caption": caption, "document": "d"}])
    (finding,) = [f for f in captions.check(folder) if f.kind == "label-in-doubt"]
    assert finding.severity == "warning"


@pytest.mark.parametrize("caption", PLAIN)
def test_a_plain_caption_sends_nobody_to_review(folder_of, caption: str) -> None:
    assert captions.check(folder_of([{"label": 1, "caption": caption}])) == []


def test_a_negative_whose_caption_names_the_disease_is_in_doubt(folder_of) -> None:
    folder = folder_of(
        [{"label": 0, "caption": "CT of a patient with COVID-19."}, {"label": 0, "caption": "CT of tuberculosis."}]
    )
    (finding,) = captions.check(folder)
    assert finding.items == ("0.png",)


def test_pictures_without_text_among_others_with_it_are_said(folder_of) -> None:
    folder = folder_of([{"label": 1}, {"label": 1, "caption": "COVID-19 pneumonia."}])
    (finding,) = captions.check(folder)
    assert finding.kind == "provenance" and finding.items == ("0.png",)


def test_a_cell_that_slipped_to_the_wrong_row_is_a_mismatch(folder_of) -> None:
    folder = folder_of([{"label": 1, "caption": "CT of COVID-19 pneumonia.", "other_diseases": "lung cancer"}])
    (finding,) = captions.check(folder)
    assert (finding.kind, finding.severity) == ("mismatch", "warning")


def test_nothing_known_is_nothing_doubted(folder_of) -> None:
    assert captions.check(folder_of([{}, {"label": 1}])) == []


def test_the_panels_own_sentence_goes_before_a_caption_that_speaks_of_others(folder_of) -> None:
    caption = "A: Patient 1 with COVID-19 pneumonia. B: Patient 2, lobar pneumonia, negative for the virus."
    own = "A: Patient 1 with COVID-19 pneumonia."
    assert captions.check(folder_of([{"label": 1, "caption": caption, "evidence": own}])) == []
    assert len(captions.check(folder_of([{"label": 1, "caption": caption}]))) == 1
