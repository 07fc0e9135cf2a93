"""What the corpus consists of: patients, their diagnoses, and how they spread over preprints, articles and cases.

Sizes follow the paper's proportions in small: as many COVID as non-COVID patients, one to a few images each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harvest.sample import prose
from harvest.sample.papers import LICENCES, Paper, Plate, Version
from harvest.sample.phantom import Patient, draw_patient
from harvest.sample.rand import stream

PREPRINT_PANELS = (1, 1, 1, 1, 1, 2, 4, 4, 3)
ARTICLE_PANELS = (2, 3, 4, 2, 6, 2)
"""panels of a figure; articles have fewer single pictures because MedPix has nothing else, so the classes match"""
NEGATIVES = ("nodule", "normal", "emphysema", "lobar", "effusion", "fibrosis", "normal")
CONTROLS = ("normal", "normal", "lobar", "nodule", "normal", "effusion")
LEVEL = (0.42, 0.70)
MIXED = 0.18
"""share of compound figures with an X-ray among the scans"""


@dataclass(frozen=True)
class Size:
    """How many of each; the defaults are the sample profile's."""

    ct_preprints: int = 22
    other_preprints: int = 6
    rows: int = 36
    """further listing rows, without COVID or without a picture"""
    articles: int = 14
    cases: int = 16
    volumes: int = 24
    release: int = 20
    """patients of the small 2020-style release, half of each class"""


class Cast:
    """Hands out patients of one source and the levels of their slices, so that no slice is drawn twice by accident."""

    def __init__(self, seed: int, prefix: str) -> None:
        self.seed, self.prefix, self.made = seed, prefix, 0
        self._taken: dict[str, int] = {}

    def patient(self, kind: str) -> Patient:
        self.made += 1
        return draw_patient(self.seed, f"{self.prefix}{self.made:03d}", kind)

    def level(self, patient: Patient) -> float:
        count = self._taken.get(patient.patient_id, 0)
        self._taken[patient.patient_id] = count + 1
        first = float(stream(self.seed, patient.patient_id, "level").random())
        return LEVEL[0] + (LEVEL[1] - LEVEL[0]) * ((first + 0.381966 * count) % 1.0)


def ct_plate(
    name: str, cast: Cast, patients: list[Patient], panels: int, vague: bool = False, also: tuple[str, ...] = ()
) -> Plate:
    """A CT figure of ``panels`` CT panels that shows ``patients`` in turn, each in neighbouring panels."""
    patients = patients[:panels]
    share = [panels // len(patients) + (n < panels % len(patients)) for n in range(len(patients))]
    shows = [(p, cast.level(p)) for p, count in zip(patients, share, strict=True) for _ in range(count)]
    return Plate(name, "ct", tuple(shows), vague, also)


def plan_papers(seed: int, size: Size) -> list[Paper]:
    """The preprints that have PDFs: CT papers first, then papers with other pictures only."""
    rng = stream(seed, "papers")
    sick, controls = Cast(seed, "C"), Cast(seed, "H")
    papers: list[Paper] = []
    for n in range(size.ct_preprints):
        server = "biorxiv" if n % 3 == 2 else "medrxiv"
        ident, date = _identify(rng, server, n)
        virus = str(rng.choice(prose.NAMES))
        plates: list[Plate] = []
        figures = 1 + int(rng.random() < 0.8) + int(rng.random() < 0.6)
        for f in range(figures):
            panels = int(rng.choice(PREPRINT_PANELS))
            people = [sick.patient("covid") for _ in range(1 + int(panels >= 3 and rng.random() < 0.3))]
            if panels >= 2 and (n + f) % 3 == 0:
                people.append(controls.patient(CONTROLS[controls.made % len(CONTROLS)]))
            vague = bool(rng.random() < 0.15) and all(p.covid for p in people)
            also = ("xray",) if panels >= 2 and rng.random() < MIXED else ()
            plates.append(ct_plate(f"{ident}-ct{f}", sick, people, max(panels, len(people)), vague, also))
        plates += [
            Plate(f"{ident}-x{k}", str(rng.choice(["bar", "curve", "scatter", "xray", "flow", "slide", "vector"])))
            for k in range(int(rng.integers(0, 3)))
        ]
        order = rng.permutation(len(plates))
        papers.append(_paper(rng, ident, server, virus, tuple(plates[i] for i in order), _versions(n, date), True))
    if len(papers) > 5:
        papers[5] = _borrow(papers[5], papers[4])
    for n in range(size.other_preprints):
        server = "medrxiv" if n % 2 else "biorxiv"
        ident, date = _identify(rng, server, 100 + n)
        kinds = rng.choice(["bar", "curve", "scatter", "xray", "flow", "vector"], size=2, replace=False)
        plates_ = tuple(Plate(f"{ident}-x{k}", str(kind)) for k, kind in enumerate(kinds))
        versions = _versions(n, date)
        if n == 0:
            versions = (Version(1, date), Version(2, "2020-03-12", "WITHDRAWN"))
        elif n == 1:
            versions = (Version(1, date), Version(2, "2020-05-04", "WITHDRAWN"))
        papers.append(_paper(rng, ident, server, str(rng.choice(prose.NAMES)), plates_, versions, n != 2))
    return papers


def _borrow(paper: Paper, other: Paper) -> Paper:
    """A paper that also shows another paper's first CT figure, as reports of one hospital do: a duplicate to find."""
    shared = next(p for p in other.plates if p.kind == "ct")
    return replace(paper, plates=(*paper.plates, shared))


def _paper(
    rng: np.random.Generator,
    ident: str,
    server: str,
    virus: str,
    plates: tuple[Plate, ...],
    versions: tuple[Version, ...],
    has_pdf: bool,
) -> Paper:
    ct = any(p.kind == "ct" for p in plates)
    place = str(rng.choice(["Wuhan", "Shanghai", "Wenzhou", "Zhejiang", "Lombardy", "Chongqing"]))
    subject = str(rng.choice(["Chest CT findings", "Clinical and CT features", "Imaging and clinical course"]))
    other = str(
        rng.choice(["Epidemiology", "Transmission dynamics", "Serological response", "Clinical characteristics"])
    )
    title = f"{subject if ct else other} of {virus} {'pneumonia' if ct else 'infection'} in {place}"
    findings = (
        "Chest computed tomography showed ground-glass opacities in most patients."
        if ct
        else "We fit a model to case counts."
    )
    abstract = (
        f"Background: {virus} emerged in Wuhan, China. Methods: We studied patients in {place}. Results: {findings} "
        + prose.paragraph(rng, length=3)
    )
    if server == "biorxiv":
        category = str(rng.choice(["microbiology", "bioinformatics", "immunology"]))
    else:
        category = str(
            rng.choice(["infectious diseases", "radiology and imaging", "epidemiology", "respiratory medicine"])
        )
    return Paper(
        ident,
        server,
        title,
        abstract,
        category,
        prose.authors(rng),
        str(rng.choice(LICENCES)),
        virus,
        plates,
        versions,
        has_pdf,
    )


def _identify(rng: np.random.Generator, server: str, n: int) -> tuple[str, str]:
    """A preprint id in the server's form and the date of posting, a few days after the submission in the id."""
    day = np.datetime64("2020-01-20") + int(rng.integers(0, 58))
    posted = day + int(rng.integers(1, 5))
    tail = (
        20020000 + n * 37 + int(rng.integers(0, 30))
        if server == "medrxiv"
        else 918000 + n * 211 + int(rng.integers(0, 99))
    )
    return f"{str(day).replace('-', '.')}.{tail}", str(posted)


def _versions(n: int, date: str) -> tuple[Version, ...]:
    """Mostly one version; also two, a third after the window, ten, and a first before the window."""
    first = np.datetime64(date)
    last = np.datetime64("2020-03-25")
    if n % 22 == 1:
        return (Version(1, date), Version(2, str(min(first + 6, last))))
    if n % 22 == 4:
        return (Version(1, date), Version(2, str(min(first + 4, last))), Version(3, "2020-04-17"))
    if n % 22 == 7:
        return tuple(Version(k, str(min(first + k - 1, last))) for k in range(1, 11))
    if n % 22 == 10:
        return (Version(1, "2020-01-15"), Version(2, date))
    return (Version(1, date),)


def plan_rows(seed: int, count: int) -> list[Paper]:
    """Listing rows that the selection must pass over: other subjects."""
    rng = stream(seed, "rows")
    subjects = [
        "Sleep and memory in mice",
        "A survey of malaria vectors",
        "Deep sequencing of barley",
        "Gut flora of infants",
        "Chest CT of patients with tuberculosis",
        "Knee CT after fracture",
        "Genome of a marine alga",
        "Cost of diabetes care",
        "Influenza vaccination in schools",
        "Cryo-EM of an ion channel",
    ]
    papers = []
    for n in range(count):
        server = "biorxiv" if n % 2 else "medrxiv"
        ident, date = _identify(rng, server, 300 + n)
        title = f"{subjects[n % len(subjects)]} {n // len(subjects) + 1}".strip()
        papers.append(
            Paper(
                ident,
                server,
                title,
                prose.paragraph(rng, length=3),
                "genetics",
                prose.authors(rng),
                str(rng.choice(LICENCES)),
                "",
                (),
                (Version(1, date),),
                False,
            )
        )
    return papers
