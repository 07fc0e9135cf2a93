"""The words of the drawn documents: captions, mentions, abstracts and filler, in the vocabulary of early 2020."""

from __future__ import annotations

import numpy as np

from harvest.sample.phantom import Patient

NAMES = ["2019-nCoV", "COVID-19", "SARS-CoV-2", "novel coronavirus (2019-nCoV)", "COVID-19"]
FINDINGS = {
    "covid": [
        "multiple ground-glass opacities in both lower lobes",
        "bilateral peripheral ground-glass opacities with consolidation",
        "patchy consolidation and ground-glass opacity along the pleura",
        "subpleural ground-glass opacities, more on the right",
    ],
    "normal": ["no abnormality of the lungs", "clear lungs without nodules or opacities"],
    "nodule": ["a solid pulmonary nodule", "round pulmonary nodules without calcification"],
    "emphysema": ["centrilobular emphysema in both lungs", "diffuse emphysematous change"],
    "lobar": ["lobar consolidation with a sharp border", "dense consolidation of one lobe"],
    "effusion": ["a free pleural effusion", "a dependent pleural effusion on one side"],
    "fibrosis": ["subpleural reticulation and honeycombing", "peripheral honeycombing of both lungs"],
}
DIAGNOSES = {
    "normal": ["Normal chest CT", "Healthy volunteer"],
    "nodule": ["Bronchogenic adenocarcinoma", "Pulmonary hamartoma", "Metastatic colorectal carcinoma"],
    "emphysema": ["Centrilobular emphysema", "Chronic obstructive pulmonary disease"],
    "lobar": ["Pneumococcal pneumonia", "Lobar pneumonia, Klebsiella"],
    "effusion": ["Malignant pleural effusion", "Parapneumonic effusion"],
    "fibrosis": ["Idiopathic pulmonary fibrosis", "Usual interstitial pneumonia"],
}
FILLER = [
    "Data were collected from electronic records and checked by two physicians.",
    "Continuous variables are given as median with interquartile range, categorical variables as count and share.",
    "A two-sided p below 0.05 was taken as significant.",
    "Laboratory tests on admission included a full blood count, C-reactive protein and liver enzymes.",
    "Most patients presented with fever and dry cough; dyspnoea was less common.",
    "The incubation period could be estimated for about half of the cases.",
    "Informed consent was waived because the study was retrospective.",
    "Missing values were not imputed.",
    "All examinations were read by two radiologists who were blind to the laboratory results.",
    "Scans were taken at full inspiration with 1.25 mm sections in the supine position.",
    "Our study has limits: the sample is small and follow-up is short.",
    "These results agree with earlier reports from other provinces.",
    "Antiviral treatment was given to most inpatients, and oxygen to those with low saturation.",
    "Contacts were followed for fourteen days.",
    "The median time from onset of symptoms to admission was six days.",
    "Sensitivity analyses gave similar estimates.",
]
FAMILY = ["Wang", "Li", "Zhang", "Chen", "Rossi", "Meyer", "Silva", "Kim", "Sato", "Novak", "Haddad", "Olsen"]


def paragraph(rng: np.random.Generator, extra: list[str] | None = None, length: int = 5) -> str:
    """A paragraph of filler with the sentences of ``extra`` put in at random places, in their order."""
    sentences = [str(s) for s in rng.choice(FILLER, size=length, replace=False)]
    for number, sentence in enumerate(extra or []):
        sentences.insert(min(len(sentences), 1 + number * 2), sentence)
    return " ".join(sentences)


def authors(rng: np.random.Generator) -> str:
    """Authors as the API prints them (``Last, F.; Last, F. M.``)."""
    names = rng.choice(FAMILY, size=int(rng.integers(3, 7)), replace=False)
    return "; ".join(f"{n}, {'ABCDEFGHJKLM'[int(rng.integers(12))]}." for n in names)


def person(patient: Patient, rng: np.random.Generator) -> str:
    """``45-year-old man``."""
    word = {"F": ["woman", "female"], "M": ["man", "male"]}[patient.sex][int(rng.integers(2))]
    return f"{patient.age}-year-old {word}"


def finding(patient: Patient, rng: np.random.Generator) -> str:
    """What the panel shows."""
    return str(rng.choice(FINDINGS[patient.disease.kind]))


def span(letters: list[str]) -> str:
    """``A``, ``A, B`` or ``A-D``."""
    if len(letters) > 2:
        return f"{letters[0]}-{letters[-1]}"
    return ", ".join(letters)


def ct_caption(
    groups: list[tuple[Patient, list[str]]],
    numbers: dict[str, int],
    rng: np.random.Generator,
    vague: bool,
    virus: str,
    also: tuple[str, ...] = (),
) -> tuple[str, dict[str, str]]:
    """Caption of a figure whose panels belong to patients in turn, and the sub-caption of each panel.

    ``vague`` captions leave the diagnosis of COVID patients to the text.
    """
    lower = bool(rng.random() < 0.2)
    mark = ["({})", "({})", "{}:"][int(rng.integers(3))]
    single = sum(len(letters) for _, letters in groups) + len(also) == 1
    covid = [p for p, _ in groups if p.covid]
    head = "Axial chest CT images" if not single else "Axial chest CT image"
    if vague:
        head += "" if single else " on admission and at follow-up"
    elif covid and len(covid) == len(groups):
        head += f" of {'patients' if len(groups) > 1 else 'a patient'} with confirmed {virus} pneumonia"
    elif covid:
        head += f" of {virus} pneumonia and of other conditions for comparison"
    parts, panels = [head + "."], {}
    for patient, letters in groups:
        who = f"{person(patient, rng)}"
        name = f"Patient {numbers[patient.patient_id]}"
        if patient.covid:
            of = f"{name}" if vague else f"{name}, a {who} with {virus} infection confirmed by RT-PCR"
        elif patient.disease.kind == "normal":
            of = f"Healthy control, a {who} without pneumonia"
        else:
            of = f"{name}, a {who} with {str(rng.choice(DIAGNOSES[patient.disease.kind])).lower()}"
            of += ", negative for the virus" if covid else ""
        printed = [x.lower() if lower else x for x in letters]
        sentence = f"{of}: {finding(patient, rng)}."
        if vague:
            sentence = f"{of}, day {int(rng.integers(2, 12))} after onset."
        parts.append(sentence if single else f"{mark.format(span(printed))} {sentence}")
        panels.update(dict.fromkeys(letters, sentence))
    used = sum(len(letters) for _, letters in groups)
    for number, kind in enumerate(also):
        letter = chr(65 + used + number)
        sentence = f"{'Chest radiograph' if kind == 'xray' else 'Chart'} on the same day."
        parts.append(f"{mark.format(letter.lower() if lower else letter)} {sentence}")
        panels[letter] = sentence
    return " ".join(parts), panels


def ct_mention(
    label: str, groups: list[tuple[Patient, list[str]]], numbers: dict[str, int], virus: str, rng: np.random.Generator
) -> str:
    """A sentence of the text that refers to a CT figure and says what its patients have."""
    patient, letters = groups[0]
    where = label + (span(letters) if len(groups) > 1 else "")
    if patient.covid:
        return (
            f"Patient {numbers[patient.patient_id]}, a {person(patient, rng)}, tested positive for {virus} by RT-PCR, "
            f"and chest CT showed {finding(patient, rng)} ({where})."
        )
    return f"Chest CT of a {person(patient, rng)} showed {finding(patient, rng)} ({where})."
