"""What diseases do to lung tissue in the drawn CT; nothing here touches a pixel outside the lungs.

COVID-19 as the field describes it (several, bilateral, peripheral and posterior ground-glass opacities, part of them
consolidated, lower zones first); and what the negatives show: normal lungs, nodules and masses, emphysema, lobar
consolidation, effusion, fibrosis.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

KINDS = ("covid", "normal", "nodule", "emphysema", "lobar", "effusion", "fibrosis")


@dataclass(frozen=True)
class Lesion:
    """One ellipsoid in the lungs: centre and half axes in mm (z: share of the lungs' height), turned by ``angle``."""

    x: float
    y: float
    t: float
    rx: float
    ry: float
    rt: float
    angle: float
    density: float
    """Hounsfield units added to lung tissue at full strength"""
    core: float
    """share of the ellipsoid that is consolidated, 0 to 1"""
    ragged: float


@dataclass(frozen=True)
class Disease:
    """A diagnosis and where it sits; ``level`` is the range of ``t`` where a slice shows it well."""

    kind: str
    lesions: tuple[Lesion, ...]
    level: tuple[float, float]
    side: int
    strength: float

    @staticmethod
    def draw(kind: str, rng: np.random.Generator, cage: tuple[float, float]) -> Disease:
        """Disease of a kind in lungs within a chest wall of the given half axes (mm)."""
        if kind not in KINDS:
            raise ValueError(f"kind of disease: expected one of {', '.join(KINDS)}, got {kind!r}")
        side = int(rng.choice([-1, 1]))
        strength = float(rng.uniform(0.6 if kind == "covid" else 0.85, 1.0))
        level = (0.4, 0.72)
        lesions: list[Lesion] = []
        if kind == "covid":
            lesions = [_opacity(rng, cage, side if n % 3 else -side) for n in range(int(rng.integers(6, 13)))]
        elif kind == "nodule":
            for _ in range(int(rng.integers(1, 4))):
                lesions.append(_nodule(rng, cage, int(rng.choice([-1, 1])), level))
        elif kind == "lobar":
            x, y = side * cage[0] * rng.uniform(0.42, 0.58), -cage[1] * rng.uniform(0.15, 0.5)
            lesions.append(Lesion(x, y, 0.55, 40, 34, 0.5, float(rng.uniform(-0.6, 0.6)), 840, 0.95, 0.25))
        return Disease(kind, tuple(lesions), level, side, strength)


def _opacity(rng: np.random.Generator, cage: tuple[float, float], side: int) -> Lesion:
    """A peripheral opacity, along the pleura, more often at the back than in front."""
    angle = float(np.clip(rng.normal(0.62, 0.5), -0.7, 1.25))
    depth = rng.uniform(0.78, 0.95)
    x, y = side * cage[0] * depth * np.cos(angle), cage[1] * depth * np.sin(angle)
    tangent = float(np.arctan2(cage[1] * np.cos(angle), -side * cage[0] * np.sin(angle)))
    return Lesion(
        float(x),
        float(y),
        float(rng.uniform(0.36, 0.76)),
        float(rng.uniform(20, 38)),
        float(rng.uniform(11, 20)),
        float(rng.uniform(0.12, 0.3)),
        tangent,
        float(rng.uniform(330, 520)),
        float(rng.choice([0.0, 0.35, 0.6])),
        0.55,
    )


def _nodule(rng: np.random.Generator, cage: tuple[float, float], side: int, level: tuple[float, float]) -> Lesion:
    radius = float(rng.uniform(4, 15))
    x, y = side * cage[0] * rng.uniform(0.42, 0.75), cage[1] * rng.uniform(-0.5, 0.5)
    # long in z so that most slices of the level show it
    return Lesion(float(x), float(y), float(np.mean(level)), radius, radius * 0.9, 0.3, 0.0, 880, 1.0, 0.08)


def apply_lesions(
    image: np.ndarray,
    lungs: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    t: float,
    disease: Disease,
    rng: np.random.Generator,
) -> np.ndarray:
    """The slice with its disease; Hounsfield units, unchanged outside ``lungs``."""
    noise = texture(rng, image.shape[0], t)
    added = np.zeros_like(image)
    for lesion in disease.lesions:
        added = np.maximum(added, _field(lesion, x, y, t, noise) * disease.strength)
    if disease.kind == "covid":
        added *= 0.78 + 0.42 * fine(noise)
    elif disease.kind == "effusion":
        surface = y - (0.44 + 0.1 * (1 - disease.strength)) * y[lungs].max() - 0.0012 * (x - disease.side * 60) ** 2
        added = np.where((surface > 0) & (np.sign(x) == disease.side), 880.0, 0.0)
    elif disease.kind == "emphysema":
        holes = cv2.GaussianBlur(fine(noise), (0, 0), 0.8)
        added = np.where(holes > 0.72, -115.0 * disease.strength, 25.0)
    elif disease.kind == "fibrosis":
        edge = cv2.distanceTransform(lungs.astype(np.uint8), cv2.DIST_L2, 3) * (400 / image.shape[0])
        comb = np.abs(np.sin(x * 0.62 + 5 * noise)) * np.abs(np.sin(y * 0.62 - 5 * noise))
        added = np.where((edge < 13) & (comb < 0.22), 430.0 * disease.strength, np.where(edge < 13, -40.0, 0.0))
    out = image.copy()
    tissue = np.clip(image + added, -1010, 70)
    out[lungs] = np.maximum(tissue, np.minimum(image, 70))[lungs] if added.min() >= 0 else tissue[lungs]
    return out


def _field(lesion: Lesion, x: np.ndarray, y: np.ndarray, t: float, noise: np.ndarray) -> np.ndarray:
    """Hounsfield units a lesion adds, with ragged edges and a consolidated core."""
    away = ((t - lesion.t) / lesion.rt) ** 2
    if away > 1 + lesion.ragged * 4:
        return np.zeros_like(x)
    cos, sin = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    dx, dy = x - np.float32(lesion.x), y - np.float32(lesion.y)
    q = ((dx * cos + dy * sin) / lesion.rx) ** 2 + ((-dx * sin + dy * cos) / lesion.ry) ** 2
    inside = np.float32(1.0 - away) - q + np.float32(lesion.ragged) * noise
    haze = np.clip(inside / 0.45, 0, 1) * lesion.density
    if lesion.core:
        haze = np.maximum(haze, np.clip((inside - (1 - lesion.core)) / 0.25, 0, 1) * 820.0)
    return haze.astype(np.float32)


def texture(rng: np.random.Generator, size: int, t: float) -> np.ndarray:
    """Smooth noise with spread near 1 that changes slowly with ``t``; the same stream gives the same field."""
    total = np.zeros((size, size), np.float32)
    for cells, weight in ((9, 0.6), (22, 0.5), (54, 0.45)):
        grid = rng.normal(0, 1, (6, cells, cells)).astype(np.float32)
        place = t * 4.999
        low = int(place)
        part = place - low
        layer = grid[low] * np.float32(np.cos(part * np.pi / 2)) + grid[low + 1] * np.float32(np.sin(part * np.pi / 2))
        total += weight * cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC)
    return total


def fine(noise: np.ndarray) -> np.ndarray:
    """The fast part of a texture, 0 to 1."""
    quick = noise - cv2.GaussianBlur(noise, (0, 0), noise.shape[0] / 60)
    return np.clip(0.5 + quick, 0, 1).astype(np.float32)
