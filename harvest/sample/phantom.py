"""Drawn chest CT in Hounsfield units: an analytic thorax with lungs, vessels, airways and bones, healthy or diseased.

Two independent parts make a patient. `Anatomy` is everything that is not disease (body, cage, heart, spine, ribs,
vessel trees, noise) and is drawn without knowing the diagnosis; `Disease` changes lung tissue only. So whatever tells
the classes apart lies inside the lungs, and a baseline that sees borders, sizes or file formats has nothing to learn.

Axes: x grows to the image's right (the patient's left), y grows backwards (image down), both in mm from the middle of
the body; ``t`` runs from 0 (apex) to 1 (base) of lungs HEIGHT mm high. Slices are seen from the feet, as in radiology.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from harvest.sample.lesions import Disease, apply_lesions
from harvest.sample.rand import stream

HEIGHT = 240.0
"""mm from the apex to the base of the lungs"""
AIR, FAT, MUSCLE, LUNG = -1000.0, -95.0, 45.0, -860.0
FIELD = 400.0
"""mm seen in a slice, side to side"""


@dataclass(frozen=True)
class Anatomy:
    """One patient's thorax without disease; lengths in mm."""

    a: float
    b: float
    power: float
    fat: float
    wobble: tuple[float, ...]
    heart: tuple[float, float, float]
    spine: float
    lung_hu: float
    noise: float
    tilt: float
    table: float
    vessels: np.ndarray = field(repr=False)
    """segments: x0 y0 z0 x1 y1 z1 radius, N×7"""

    @property
    def cage(self) -> tuple[float, float]:
        """Half axes of the inner chest wall; the margin keeps lungs out of the outer eighth of a whole-body picture."""
        return self.a * 0.765, self.b * 0.755


@dataclass(frozen=True)
class Patient:
    """A drawn patient: who, what disease, and what a caption may say."""

    patient_id: str
    anatomy: Anatomy
    disease: Disease
    age: int
    sex: str
    seed: int

    @property
    def covid(self) -> bool:
        return self.disease.kind == "covid"


def draw_patient(seed: int, patient_id: str, kind: str) -> Patient:
    """Patient with a disease of ``kind`` (a name in `lesions.KINDS`); anatomy does not depend on ``kind``."""
    anatomy = draw_anatomy(stream(seed, patient_id, "anatomy"))
    person = stream(seed, patient_id, "person")
    disease = Disease.draw(kind, stream(seed, patient_id, "disease"), anatomy.cage)
    return Patient(patient_id, anatomy, disease, int(person.integers(24, 82)), str(person.choice(["F", "M"])), seed)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Body, cage, heart, spine and vessel trees of one patient."""
    a, b = float(rng.uniform(158, 182)), float(rng.uniform(106, 124))
    return Anatomy(
        a=a,
        b=b,
        power=float(rng.uniform(2.2, 2.7)),
        fat=float(rng.uniform(5, 15)),
        wobble=tuple(rng.normal(0, 0.008, 5)),
        heart=(float(rng.uniform(14, 26)), float(rng.uniform(44, 56)), float(rng.uniform(36, 46))),
        spine=float(rng.uniform(17, 21)),
        lung_hu=LUNG + float(rng.normal(0, 18)),
        noise=float(rng.uniform(18, 42)),
        tilt=float(rng.normal(0, 0.03)),
        table=float(rng.uniform(6, 22)),
        vessels=np.concatenate([_tree(rng, side, a, b) for side in (-1.0, 1.0)]),
    )


def _tree(rng: np.random.Generator, side: float, a: float, b: float) -> np.ndarray:
    """Branching vessels of one lung, from the hilum to the periphery, as N×7 segments; a generation at a time."""
    root = np.array([side * 26.0, 4.0, 0.48 * HEIGHT])
    goals = np.stack(
        [side * rng.uniform(0.3, 0.72, 14) * a, rng.uniform(-0.62, 0.66, 14) * b, rng.uniform(0.05, 1.0, 14) * HEIGHT],
        1,
    )
    start = np.repeat(root[None], len(goals), 0)
    direction = goals - root
    radius = rng.uniform(2.0, 3.3, len(goals))
    found = []
    for depth in range(7):
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        end = start + direction * (rng.uniform(16, 30, (len(start), 1)) * 0.88**depth)
        found.append(np.concatenate([start, end, radius[:, None]], 1))
        start, direction = np.repeat(end, 2, 0), np.repeat(direction, 2, 0)
        direction = direction + rng.normal(0, 0.36, direction.shape) * np.array([1.0, 1.0, 0.9])
        radius = np.repeat(radius, 2) * rng.uniform(0.68, 0.84, 2 * len(radius))
    segments = np.concatenate(found)
    return segments[segments[:, 6] >= 0.3]


def render(patient: Patient, t: float, size: int = 320, diseased: bool = True, take: int = 0) -> np.ndarray:
    """One axial slice in Hounsfield units, float32 size×size, FIELD mm wide.

    ``take`` changes the noise only, so that two exposures of a slice differ as two scans would.
    """
    slab = Slab(patient.anatomy, t, size)
    image = slab.draw()
    lungs = slab.lungs
    if diseased:
        coarse = stream(patient.seed, patient.patient_id, "texture")
        image = apply_lesions(image, lungs, slab.x, slab.y, t, patient.disease, coarse)
    noise = stream(patient.seed, patient.patient_id, "noise", round(t, 4), take)
    grain = cv2.GaussianBlur(noise.normal(0, 1, (size, size)).astype(np.float32), (0, 0), 0.7)
    streaks = cv2.GaussianBlur(noise.normal(0, 1, (size, 1)).astype(np.float32), (0, 0), 1.0)
    image = cv2.GaussianBlur(image, (0, 0), 0.55 * size / 320)
    return (image + grain * (patient.anatomy.noise * 1.9) + streaks * 4).astype(np.float32)


class Slab:
    """The geometry of one slice; masks are bool size×size."""

    def __init__(self, anatomy: Anatomy, t: float, size: int) -> None:
        self.an, self.t, self.size = anatomy, float(t), size
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (FIELD / size) - FIELD / 2
        x, y = np.meshgrid(axis, axis)
        cos, sin = np.cos(anatomy.tilt), np.sin(anatomy.tilt)
        self.x = (x * cos + y * sin).astype(np.float32)
        self.y = (-x * sin + y * cos).astype(np.float32)
        angle = np.arctan2(self.y / anatomy.b, self.x / anatomy.a)
        self._bend = 1.0 + sum(w * np.cos((k + 2) * angle) for k, w in enumerate(anatomy.wobble)).astype(np.float32)
        self.lungs = self._lungs()

    def _radius(self, a: float, b: float) -> np.ndarray:
        """Distance from the middle in units of a super-ellipse with the patient's wobble; below 1 is inside."""
        power = np.float32(self.an.power)
        value = np.abs(self.x / np.float32(a)) ** power + np.abs(self.y / np.float32(b)) ** power
        return np.power(value, 1 / power) / self._bend

    def _ellipse(self, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2

    @property
    def swell(self) -> float:
        """How wide the lungs are at this level: narrow at the apex, full from a third down."""
        return float(np.clip(np.sin(np.pi / 2 * min(1.0, 0.16 + self.t * 2.1)), 0.2, 1.0))

    def _lungs(self) -> np.ndarray:
        an, t = self.an, self.t
        ca, cb = an.cage
        wide = self._radius(ca * (0.6 + 0.4 * self.swell), cb * (0.72 + 0.28 * self.swell)) < 1
        x, y = self.x, self.y
        middle = 17 + 9 * t + 13 * np.clip(-y / cb - 0.35, 0, 1) * (t < 0.45) + 8 * np.clip(y / cb, 0, 1)
        middle = middle + 14 * np.exp(-(((y - 4) / 22) ** 2))
        lungs = wide & (np.abs(x) > middle)
        off, rx, ry = self._heart()
        if rx > 0:
            lungs &= self._ellipse(off, -0.16 * cb, rx, ry) > 1
        lungs &= self._ellipse(0, self._spine_y(), an.spine + 9, an.spine + 10) > 1
        lungs &= self._ellipse(*self._aorta(), 14.5, 14.5) > 1
        for cx, cy, rx, ry in self._domes():
            lungs &= self._ellipse(cx, cy, rx, ry) > 1
        soft = cv2.GaussianBlur(lungs.astype(np.float32), (0, 0), 6.0 * self.size / FIELD)
        return soft > 0.5

    def _heart(self) -> tuple[float, float, float]:
        off, rx, ry = self.an.heart
        grow = float(np.clip((self.t - 0.36) / 0.22, 0, 1))
        return off * grow, rx * grow, ry * (0.75 + 0.25 * grow)

    def _spine_y(self) -> float:
        return self.an.cage[1] * 0.80

    def _aorta(self) -> tuple[float, float]:
        return self.an.spine + 6.0, self._spine_y() - self.an.spine - 6.0

    def _domes(self) -> list[tuple[float, float, float, float]]:
        """Liver and left dome of the diaphragm, from three quarters down."""
        ca, cb = self.an.cage
        rise = np.clip((self.t - 0.76) / 0.24, 0, 1) ** 0.5
        left = np.clip((self.t - 0.86) / 0.2, 0, 1) ** 0.5
        domes = []
        if rise > 0.02:
            domes.append((-ca * 0.47, -cb * 0.06, ca * 0.42 * rise, cb * 0.66 * rise))
        if left > 0.02:
            domes.append((ca * 0.5, -cb * 0.1, ca * 0.36 * left, cb * 0.5 * left))
        return domes

    def draw(self) -> np.ndarray:
        """The slice without disease and noise, Hounsfield units."""
        an, size = self.an, self.size
        image: np.ndarray = np.full((size, size), AIR, np.float32)
        self._table(image)
        body = self._radius(an.a, an.b)
        image[body < 1] = FAT
        image[body < 1 - an.fat / an.b] = MUSCLE
        stripes = np.sin(self.x * 0.22 + 3 * np.sin(self.y * 0.09)) > 0.86
        image[(body < 0.93) & (body > 0.84) & stripes] = FAT
        inside = self._radius(*an.cage) < 1.02
        image[inside] = 20
        off, rx, ry = self._heart()
        if rx > 4:
            heart = self._ellipse(off, -0.16 * an.cage[1], rx - 2, ry - 2) < 1
            image[heart] = 48
            image[self._ellipse(off + 8, -0.12 * an.cage[1], rx * 0.4, ry * 0.42) < 1] = 62
        for cx, cy, dx, dy in self._domes():
            image[self._ellipse(cx, cy, dx, dy) < 1] = 60
        self._bones(image)
        image[self._ellipse(*self._aorta(), 12, 12) < 1] = 55
        if self.t < 0.42:
            image[self._ellipse(-16, -0.2 * an.cage[1], 11, 12) < 1] = 50
            image[self._ellipse(12, -0.22 * an.cage[1], 9, 10) < 1] = 52
        lung = an.lung_hu + 55 * np.clip(self.y / an.b, -1, 1)
        image = np.where(self.lungs, lung.astype(np.float32), image)
        self._vessels(image)
        self._airways(image)
        return image

    def _table(self, image: np.ndarray) -> None:
        line = self.y - (self.an.b + self.an.table * 0.4 + 4) + (self.x / 175) ** 2 * 14
        near = np.abs(self.x) < 168
        image[(np.abs(line) < 1.6) & near] = -380
        image[(np.abs(line - 9) < 1.2) & near] = -520

    def _bones(self, image: np.ndarray) -> None:
        an = self.an
        ca, cb = an.cage
        angle = np.arctan2(self.y / cb, self.x / ca)
        ring = self._radius(ca * 1.065, cb * 1.065)
        band = np.abs(ring - 1) < 0.034
        phase = np.mod(np.abs(angle + np.pi / 2) * 6.2 / np.pi * 2.2 + self.t * 9, 2.0)
        ribs = band & (phase < 1.15)
        image[ribs] = 220
        image[ribs & ((np.abs(ring - 1) > 0.022) | (phase < 0.12) | (phase > 1.03))] = 620
        sternum = self._ellipse(0, -cb * 1.06, 21, 6.5)
        image[sternum < 1] = 520
        image[sternum < 0.6] = 180
        sy, radius = self._spine_y(), an.spine
        back = sy + radius + 9
        arch = self._ellipse(0, back, 13.5, 12)
        image[arch < 1] = 480
        image[self._ellipse(0, back + 14, 4.5, 13) < 1] = 420
        for side in (-1, 1):
            image[self._ellipse(side * 27, back - 3, 17, 5) < 1] = 400
        image[self._ellipse(0, back, 8.5, 7.5) < 1] = 25
        vertebra = self._ellipse(0, sy, radius, radius * 0.86)
        image[vertebra < 1] = 560
        image[vertebra < 0.82] = 210
        if self.t < 0.4:
            for side in (-1, 1):
                blade = np.abs((self.y - cb * 0.62) - side * (self.x - side * ca * 1.13) * 0.9)
                image[(blade < 4) & (np.abs(self.x - side * ca * 1.13) < 17) & (self._radius(an.a, an.b) < 0.95)] = 480

    def _vessels(self, image: np.ndarray) -> None:
        scale = self.size / FIELD
        z, slab = self.t * HEIGHT, 4.0
        seg = self.an.vessels
        low, high = np.minimum(seg[:, 2], seg[:, 5]), np.maximum(seg[:, 2], seg[:, 5])
        canvas = np.zeros((self.size, self.size), np.uint8)
        cos, sin = np.cos(self.an.tilt), np.sin(self.an.tilt)
        for x0, y0, z0, x1, y1, z1, radius in seg[(low < z + slab) & (high > z - slab)]:
            lo, hi = sorted(float(np.clip((v - z0) / (z1 - z0 + 1e-9), 0, 1)) for v in (z - slab, z + slab))
            ends = []
            for f in (lo, hi):
                px, py = x0 + f * (x1 - x0), y0 + f * (y1 - y0)
                px, py = px * cos - py * sin, px * sin + py * cos
                ends.append((round((px * scale + self.size / 2) * 16), round((py * scale + self.size / 2) * 16)))
            wide = 2 * radius * scale
            bright = int(255 * min(1.0, 0.2 + wide / 2.8))
            cv2.line(canvas, ends[0], ends[1], bright, max(1, round(wide)), cv2.LINE_AA, 4)
        soft = canvas.astype(np.float32) / 255
        image[self.lungs] += (soft * (40 - image))[self.lungs]

    def _airways(self, image: np.ndarray) -> None:
        t = self.t
        if t < 0.42:
            tubes = [(0.0, 0.0, 9.0)]
        elif t < 0.62:
            apart = 12 + 130 * (t - 0.42)
            tubes = [(-apart, 6.0, 7.0), (apart, 6.0, 6.5)]
        else:
            tubes = [(-46.0, 16.0, 3.2), (46.0, 18.0, 3.0)]
        for cx, cy, radius in tubes:
            q = self._ellipse(cx, cy, radius, radius * 0.92)
            image[q < 1.6] = np.where(image[q < 1.6] < -300, -150, image[q < 1.6])
            image[q < 1] = -985
