"""Drawn MedPix cases: encounters, topics, images in the service's own field names, and their Open-i twins."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import cv2
import numpy as np

from harvest.sample import prose
from harvest.sample.distractors import draw_distractor
from harvest.sample.papers import Plate, Studio
from harvest.sample.phantom import Patient
from harvest.sample.picture import jpeg, png
from harvest.sample.plan import NEGATIVES, Cast, Size, ct_plate
from harvest.sample.rand import stream

SEXES = {"F": ["female", "F", "Woman"], "M": ["male", "M", "Man"]}


@dataclass
class Case:
    """One encounter with its images; ``files`` are full-size JPEGs, ``twins`` Open-i's PNGs of at most 512 px width."""

    encounter: dict[str, object]
    topic: dict[str, object]
    files: dict[str, bytes] = field(repr=False)
    twins: dict[str, bytes] = field(repr=False)
    openi: list[dict[str, object]]
    truth: list[dict[str, object]]


def draw_cases(seed: int, size: Size, studio: Studio) -> list[Case]:
    """Non-COVID chest CT cases; besides axial CT they hold what a harvest must leave out."""
    cast = Cast(seed, "M")
    return [
        _draw(n, cast.patient(NEGATIVES[(n + 2) % len(NEGATIVES)]), cast, studio, stream(seed, "case", n))
        for n in range(size.cases)
    ]


def _draw(n: int, patient: Patient, cast: Cast, studio: Studio, rng: np.random.Generator) -> Case:
    unit = 1001 + n * 17
    encounter_id, topic_id = (str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(2))
    diagnosis = str(rng.choice(prose.DIAGNOSES[patient.disease.kind]))
    finding = prose.finding(patient, rng)
    sex = str(rng.choice(SEXES[patient.sex]))
    case = Case({}, {}, {}, {}, [], [])
    images: list[dict[str, object]] = []
    wanted = [("CT", "Axial")] * (1 + int(rng.random() < 0.6) + int(rng.random() < 0.2))
    wanted += [("XR - Plain Film", "PA")] if n % 3 == 0 else []
    wanted += [("CT", "Coronal")] if n % 5 == 1 else []
    for k, (modality, plane) in enumerate(wanted):
        number = 34000 + n * 97 + k
        axial = modality == "CT" and plane == "Axial"
        name = f"synpic{number}"
        if axial:
            picture = studio.picture(ct_plate(f"MPX{unit}-{k}", cast, [patient], 1))
            pixels = picture.pixels
        else:
            pixels = draw_distractor("xray", rng) if modality != "CT" else draw_distractor("slide", rng)
        modality = (
            str(rng.choice(["CT - noncontrast", "CT w/contrast (IV)", "CT - High Res"]))
            if modality == "CT"
            else modality
        )
        caption = f"<p>{plane} {'chest CT' if 'CT' in modality else 'radiograph'}: {finding}.</p>"
        shown = not (n % 7 == 3 and k == 1)
        image_id = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        images.append(
            {
                "imageID": image_id,
                "imageURL": f"/images/full/{name}.jpg",
                "thumbImageURL": f"/images/thumbs/{name}.jpg",
                "imageCaption": caption,
                "title": finding,
                "modality": modality,
                "plane": plane,
                "acrCode": "6.3",
                "preacr": "6",
                "postacr": "3",
                "figurePart": chr(97 + k) if len(wanted) > 1 else None,
                "source": "",
                "imageName": name,
                "size": None,
                "show": shown,
                "deleted": not shown,
                "added": "2009-04-02",
                "encounter": encounter_id,
                "topic": topic_id,
                "authorName": "A. Meyer",
                "error": None,
            }
        )
        case.files[f"{name}.jpg"] = jpeg(pixels, 97)
        case.openi.append(_openi(unit, name, caption if n % 6 else "Not Available.", diagnosis, modality))
        case.twins[f"{unit % 401}/{unit}/MPX{unit}_{name}.png"] = png(_within(pixels, 512))
        case.truth.append(
            _truth(f"MPX{unit}", encounter_id, name, axial, shown, patient, studio, f"MPX{unit}-{k}", pixels)
        )
    if n == 5:
        images.append(
            {
                **images[0],
                "imageID": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                "imageURL": "/images/full/synpic99999.jpg",
                "imageName": "synpic99999",
                "show": True,
                "deleted": False,
            }
        )
    case.encounter = {
        "encounterID": encounter_id,
        "topicID": topic_id,
        "mCaseID": str(unit),
        "history": f"<p>{patient.age} year old {sex}.</p>",
        "age": str(patient.age),
        "sex": sex,
        "race": None,
        "diagnosis": diagnosis,
        "dxHow": "Histology",
        "exam": "",
        "findings": f"<p>Chest CT: {finding}.</p>",
        "ddx": "",
        "txFollowup": None,
        "discussion": "",
        "authorName": "A. Meyer",
        "authorAffiliation": "Example Hospital",
        "authorEmail": "author@example.org",
        "approverName": "B. Sato",
        "location": "Chest, Pulmonary (ex. Heart)",
        "category": "Thorax",
        "imageList": images,
        "mediaList": [],
        "error": None,
    }
    case.topic = {
        "topicID": topic_id,
        "title": diagnosis,
        "factoid": f"{diagnosis}: {finding}.",
        "location": "Lung",
        "subLocation": "",
        "category": "Thorax",
        "keyword1": "lung",
        "acrCode": "6.3",
        "imageList": [],
    }
    return case


def _within(pixels: np.ndarray, width: int) -> np.ndarray:
    if pixels.shape[1] <= width:
        return pixels
    return cv2.resize(pixels, (width, round(pixels.shape[0] * width / pixels.shape[1])), interpolation=cv2.INTER_AREA)


def _openi(unit: int, name: str, caption: str, title: str, modality: str) -> dict[str, object]:
    path = f"{unit % 401}/{unit}/MPX{unit}_{name}.png"
    return {
        "uid": f"MPX{unit}",
        "docSource": "MPX",
        "articleType": "",
        "title": title,
        "authors": "A. Meyer",
        "medpixArticleId": str(unit),
        "medpixFigureId": name,
        "MeSH": {"minor": [], "major": []},
        "Problems": "",
        "image": {"id": name, "caption": caption, "modalityMajor": "c" if modality.startswith("CT") else "x"},
        "imgLarge": f"/imgs/512/{path}",
        "imgThumb": f"/imgs/100/{path}",
        "imgThumbLarge": f"/imgs/137/{path}",
        "imgGrid150": f"/imgs/150/{path}",
    }


def _truth(
    unit: str,
    encounter: str,
    name: str,
    axial: bool,
    shown: bool,
    patient: Patient,
    studio: Studio,
    plate: str,
    pixels: np.ndarray,
) -> dict[str, object]:
    row: dict[str, object] = {
        "source": "medpix",
        "document": unit,
        "encounter": encounter,
        "file": f"{name}.jpg",
        "plate": plate,
        "kind": "ct" if axial else "other",
        "shown": shown,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "panels": [],
    }
    if axial:
        q = studio.picture(Plate(plate, "ct")).panels[0]
        row["panels"] = [
            {
                "letter": "A",
                "kind": q.kind,
                "box": list(q.box),
                "patient_id": patient.patient_id,
                "label": int(patient.covid),
                "disease": patient.disease.kind,
                "t": q.t,
                "window": q.window,
                "marks": [list(m) for m in q.marks],
            }
        ]
    return row
