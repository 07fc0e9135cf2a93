"""Draw a planned preprint: its PDF in each version, its listing rows in the API's form, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harvest.sample import prose
from harvest.sample.dates import spoken
from harvest.sample.distractors import draw_distractor, logo
from harvest.sample.pages import Float, Look, Mention, Raster, Setter, vector_bars
from harvest.sample.phantom import Patient
from harvest.sample.picture import Picture, draw_figure, jpeg, png, stored
from harvest.sample.rand import stream

LICENCES = ["cc_by", "cc_by_nc_nd", "cc_by_nd", "cc_by_nc", "cc_no", "cc0", "", "cc_by_nc_nd", "cc_by"]
LICENCE_WORDS = {
    "cc_by": "It is made available under a CC-BY 4.0 International license.",
    "cc_by_nc": "It is made available under a CC-BY-NC 4.0 International license.",
    "cc_by_nd": "It is made available under a CC-BY-ND 4.0 International license.",
    "cc_by_nc_nd": "It is made available under a CC-BY-NC-ND 4.0 International license.",
    "cc0": "This article is a US Government work and is made available under a CC0 license.",
    "cc_no": "All rights reserved. No reuse allowed without permission.",
    "": "All rights reserved. No reuse allowed without permission.",
}


@dataclass(frozen=True)
class Plate:
    """One planned figure: a CT figure (``shows`` = patients and levels, panel by panel) or a distractor."""

    name: str
    kind: str
    shows: tuple[tuple[Patient, float], ...] = ()
    vague: bool = False
    also: tuple[str, ...] = ()
    """kinds of further panels that are no CT"""


@dataclass(frozen=True)
class Version:
    number: int
    date: str
    kind: str = "PUBLISHAHEADOFPRINT"


@dataclass(frozen=True)
class Paper:
    """A planned preprint."""

    preprint_id: str
    server: str
    title: str
    abstract: str
    category: str
    authors: str
    licence: str
    virus: str
    plates: tuple[Plate, ...]
    versions: tuple[Version, ...]
    has_pdf: bool = True

    @property
    def doi(self) -> str:
        return f"10.1101/{self.preprint_id}"


@dataclass
class Drawn:
    """A drawn PDF and its truth rows."""

    pdf: bytes = field(repr=False)
    figures: list[dict[str, object]]


class Studio:
    """Draws each picture once, however many versions and stores show it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.made: dict[str, Picture] = {}

    def picture(self, plate: Plate) -> Picture:
        if plate.name not in self.made:
            if plate.kind == "ct":
                others = [(k, draw_distractor(k, stream(self.seed, plate.name, k))) for k in plate.also]
                made = draw_figure(self.seed, plate.name, list(plate.shows), others)
            else:
                pixels = draw_distractor(plate.kind, stream(self.seed, plate.name, "distractor"))
                made = Picture(pixels, (), 90, bool(stream(self.seed, plate.name).random() < 0.5), False)
            self.made[plate.name] = made
        return self.made[plate.name]


def groups_of(plate: Plate) -> list[tuple[Patient, list[str]]]:
    """Patients of a CT figure in turn, with the letters of their panels."""
    groups: list[tuple[Patient, list[str]]] = []
    for number, (patient, _) in enumerate(plate.shows):
        letter = chr(65 + number)
        if groups and groups[-1][0].patient_id == patient.patient_id:
            groups[-1][1].append(letter)
        else:
            groups.append((patient, [letter]))
    return groups


def rasters(picture: Picture, rng: np.random.Generator) -> list[Raster]:
    """What is put on the page: one raster, or the panels as separate images with their letters already in them."""
    alpha = bool(rng.random() < 0.12)
    if not picture.separate:
        if alpha:
            pixels = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, 2)
            full = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
            return [Raster(png(full), (0, 0, 1, 1))]
        return [Raster(stored(picture)[0], (0, 0, 1, 1))]
    high, wide = picture.pixels.shape[:2]
    found = []
    letters = picture.letters_above or ("",) * len(picture.panels)
    for panel, letter in zip(picture.panels, letters, strict=True):
        x0, y0, x1, y1 = panel.box
        part = picture.pixels[y0:y1, x0:x1]
        data = jpeg(part, 97) if picture.as_jpeg else png(part)
        found.append(Raster(data, (x0 / wide, y0 / high, x1 / wide, y1 / high), letter))
    return found


def draw_paper(paper: Paper, version: Version, studio: Studio, plates: tuple[Plate, ...] | None = None) -> Drawn:
    """The PDF of one version, and one truth row for each figure and table."""
    plates = paper.plates if plates is None else plates
    rng = stream(studio.seed, paper.preprint_id, "look")
    name = "medRxiv" if paper.server == "medrxiv" else "bioRxiv"
    day = spoken(version.date)
    look = Look(
        columns=int(rng.choice([1, 1, 2])),
        font=str(rng.choice(["tiro", "tiro", "helv"])),
        size=float(rng.choice([9.5, 10.0, 10.5])),
        label=str(rng.choice(["Figure {}.", "Fig. {}.", "Figure {}:", "FIGURE {} |", "Fig {}."])),
        at_end=bool(rng.random() < 0.3),
        above=bool(rng.random() < 0.1),
        lines=bool(rng.random() < 0.3),
        header=f"{name} preprint doi: https://doi.org/{paper.doi}; this version posted {day}. The copyright holder for "
        "this preprint (which was not certified by peer review) is the author/funder, who has granted "
        f"{name} a license to display the preprint in perpetuity. {LICENCE_WORDS[paper.licence]}",
        logo=png(logo(paper.server)),
    )
    refer = str(rng.choice(["Figure ", "Fig. "]))
    numbers: dict[str, int] = {}
    for plate in plates:
        for patient, _ in plate.shows:
            numbers.setdefault(patient.patient_id, len(numbers) + 1)
    setter = Setter(look)
    setter.heading(paper.title, 16, whole=True)
    setter.text(paper.authors.replace(";", ","), whole=True, size=9.5)
    setter.heading("Abstract", whole=look.columns == 2)
    setter.text(paper.abstract, whole=look.columns == 2)
    setter.heading("Introduction")
    setter.text(prose.paragraph(rng, [f"{paper.virus} has spread to several countries since December 2019."], 6))
    setter.text(prose.paragraph(rng, length=6))
    setter.heading("Methods")
    for _ in range(2):
        setter.text(prose.paragraph(rng, length=7))
    table = Float("1", "Characteristics of the patients.", 0.34, rows=_table(rng))
    setter.text(prose.paragraph(rng, ["Table 1 gives the characteristics of the patients."], 5))
    setter.place(table)
    setter.heading("Results")
    items: list[tuple[Plate, Float, dict[str, str]]] = []
    for number, plate in enumerate(plates, 1):
        item, panels, sentence = _float(plate, str(number), refer, numbers, paper.virus, studio, rng, look)
        items.append((plate, item, panels))
        setter.text(prose.paragraph(rng, [sentence], 5))
        if not look.at_end:
            setter.place(item)
        if rng.random() < 0.5:
            setter.text(prose.paragraph(rng, [f"The same can be seen in {refer}{number}."], 4))
    setter.heading("Discussion")
    for _ in range(3):
        setter.text(prose.paragraph(rng, length=7))
    if look.at_end:
        setter.list_then_floats([item for _, item, _ in items])
    pdf = setter.finish(paper.title, paper.authors)
    file = f"{paper.preprint_id}v{version.number}.pdf"
    rows = [
        _truth(file, paper, plate, item, panels, look.label, setter.mentions, studio) for plate, item, panels in items
    ]
    return Drawn(pdf, rows)


def _float(
    plate: Plate,
    number: str,
    refer: str,
    numbers: dict[str, int],
    virus: str,
    studio: Studio,
    rng: np.random.Generator,
    look: Look,
) -> tuple[Float, dict[str, str], str]:
    """The float of a plate, its panel captions, and a sentence that mentions it."""
    label = f"{refer}{number}"
    if plate.kind == "vector":
        item = Float(number, f"Confirmed cases of {virus} by week.", 0.55, bars=vector_bars(rng), wide=0.9)
        return item, {}, f"The number of confirmed cases rose until February ({label})."
    picture = studio.picture(plate)
    high, wide = picture.pixels.shape[:2]
    share = float(np.clip(wide / 760, 0.45, 1.0)) if look.columns == 1 else float(np.clip(wide / 420, 0.6, 1.0))
    if plate.kind == "ct":
        caption, panels = prose.ct_caption(groups_of(plate), numbers, rng, plate.vague, virus, plate.also)
        sentence = prose.ct_mention(label, groups_of(plate), numbers, virus, rng)
        return Float(number, caption, high / wide, rasters(picture, rng), wide=share), panels, sentence
    caption, sentence = _distractor_words(plate.kind, label, virus)
    return Float(number, caption, high / wide, rasters(picture, rng), wide=share), {}, sentence


def _distractor_words(kind: str, label: str, virus: str) -> tuple[str, str]:
    words = {
        "bar": (f"Age of patients with {virus}.", f"Most patients were older than fifty ({label})."),
        "curve": (f"Model of the {virus} epidemic under three scenarios.", f"{label} shows the three scenarios."),
        "scatter": ("Titre of antibodies against days since onset.", f"Antibodies rose in the second week ({label})."),
        "xray": (
            f"Chest radiograph of a patient with {virus}.",
            f"The chest X-ray showed bilateral shadows ({label}).",
        ),
        "flow": ("Selection of patients.", f"Patients were selected as in {label}."),
        "slide": ("Lung tissue, haematoxylin and eosin.", f"Histology showed alveolar damage ({label})."),
    }
    return words[kind]


def _table(rng: np.random.Generator) -> list[list[str]]:
    names = ["Age, years", "Female", "Fever", "Cough", "Dyspnoea", "Lymphocytes"]
    head = [["", "All", "Severe", "p"]]
    return head + [
        [n, str(int(rng.integers(20, 99))), str(int(rng.integers(1, 40))), f"0.{int(rng.integers(1, 99)):02d}"]
        for n in names
    ]


def _truth(
    file: str,
    paper: Paper,
    plate: Plate,
    item: Float,
    panels: dict[str, str],
    label: str,
    mentions: list[Mention],
    studio: Studio,
) -> dict[str, object]:
    picture = None if plate.kind == "vector" else studio.picture(plate)
    separate = bool(picture and picture.separate)
    return {
        "pdf": file,
        "figure": f"{file[:-4]}-f{item.number}",
        "plate": plate.name,
        "kind": plate.kind,
        "page": item.page,
        "label": label.format(item.number).rstrip(".:| "),
        "number": item.number,
        "caption": item.caption,
        "caption_page": item.caption_page,
        "box": list(item.box),
        "xrefs": list(item.xrefs),
        "width": picture.pixels.shape[1] if picture else None,
        "height": picture.pixels.shape[0] if picture else None,
        "mentions": [{"page": m.page, "text": m.sentence} for m in mentions if m.number == item.number],
        "panel_captions": panels,
        "panels": [
            row | {"xref": item.xrefs[n if separate else 0]}
            for n, row in enumerate(panel_rows(plate, picture) if picture else [])
        ],
    }


def panel_rows(plate: Plate, picture: Picture) -> list[dict[str, object]]:
    """Truth about each panel; panels that are no CT have no patient and no label."""
    people = {p.patient_id: p for p, _ in plate.shows}
    rows: list[dict[str, object]] = []
    for panel in picture.panels:
        patient = people.get(panel.patient_id)
        rows.append(
            {
                "letter": panel.letter,
                "kind": panel.kind,
                "box": list(panel.box),
                "patient_id": panel.patient_id,
                "label": int(patient.covid) if patient else None,
                "disease": patient.disease.kind if patient else "",
                "t": panel.t,
                "window": panel.window,
                "marks": [list(m) for m in panel.marks],
            }
        )
    return rows
