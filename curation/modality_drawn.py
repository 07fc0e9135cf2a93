"""Pictures that are not one chest CT, drawn by code: what the modality model learns to refuse beside real figures.

Each function takes a random generator and gives a uint8 picture. They are crude on purpose and vary widely: the model
has to learn what a chest CT looks like, not what these drawings look like.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from curation.modality_scans import (
    Rng,
    abdomen_ct,
    blob,
    clouds,
    coloured,
    finish,
    grid,
    head_ct,
    mri,
    pet,
    ultrasound,
    xray,
)


def tissue(rng: Rng) -> np.ndarray:
    """Histology, electron micrographs, fluorescence, gels and plain noise."""
    size = int(rng.integers(120, 360))
    kind = rng.integers(0, 5)
    if kind == 0:
        base = np.stack([clouds(rng, size, rng.uniform(1, 12)) for _ in range(3)], -1)
        return (255 * np.clip(0.55 + 0.45 * base * rng.uniform(0.5, 1, 3), 0, 1)).astype(np.uint8)
    if kind == 1:
        return finish(clouds(rng, size, rng.uniform(0.8, 20)) * rng.uniform(0.5, 1) + rng.uniform(0, 0.3), rng, 0.1)
    if kind == 2:
        image = np.zeros((size, size, 3), np.float32)
        for _ in range(int(rng.integers(5, 60))):
            centre = tuple(int(v) for v in rng.integers(0, size, 2))
            colour = np.eye(3)[rng.integers(0, 3)] * rng.uniform(100, 255)
            cv2.circle(image, centre, int(rng.integers(3, max(5, size // 10))), colour.tolist(), -1)
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 6)).astype(np.uint8)
    if kind == 3:
        gel = np.full((size, size), rng.uniform(0.1, 0.9), np.float32)
        for lane in np.linspace(0.05, 0.9, int(rng.integers(4, 12))):
            for _ in range(int(rng.integers(1, 6))):
                top, left = int(rng.uniform(0.05, 0.95) * size), int(lane * size)
                cv2.rectangle(gel, (left, top), (left + size // 16, top + 4), float(rng.uniform(0, 1)), -1)
        return finish(cv2.GaussianBlur(gel, (0, 0), 2), rng)
    discs = np.full((size, size), rng.uniform(0, 1), np.float32)
    for _ in range(int(rng.integers(1, 20))):
        axes = tuple(int(v) for v in rng.integers(4, size // 3, 2))
        cv2.ellipse(
            discs,
            tuple(int(v) for v in rng.integers(0, size, 2)),
            axes,
            float(rng.uniform(0, 180)),
            0,
            360,
            float(rng.uniform(0, 1)),
            -1,
        )
    return finish(cv2.GaussianBlur(discs, (0, 0), rng.uniform(0.5, 4)), rng)


def page(rng: Rng) -> np.ndarray:
    """Text, tables, diagrams and charts on white (sometimes on black)."""
    wide, high = int(rng.integers(160, 600)), int(rng.integers(120, 500))
    image = np.full((high, wide, 3), 255, np.uint8)
    kind = rng.integers(0, 4)
    ink = tuple(int(v) for v in rng.integers(0, 160, 3)) if rng.random() < 0.5 else (0, 0, 0)
    if kind == 0:
        for y in range(14, high, int(rng.integers(12, 26))):
            text = "".join(rng.choice(list("abcdefghi klmno prstu vw 0123456789"), int(rng.integers(8, 60))))
            cv2.putText(image, text, (8, y), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.5), ink, 1, cv2.LINE_AA)
    elif kind == 1:
        for _ in range(int(rng.integers(3, 12))):
            a, b = (tuple(int(v) for v in rng.integers(0, [wide, high])) for _ in range(2))
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            cv2.rectangle(image, a, b, colour, int(rng.choice([-1, 1, 2])))
            cv2.putText(image, "label", a, cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)
    elif kind == 2:
        cv2.line(image, (30, 10), (30, high - 25), ink, 1)
        cv2.line(image, (30, high - 25), (wide - 8, high - 25), ink, 1)
        for n, x in enumerate(range(40, wide - 20, max(12, wide // 12))):
            top = int(rng.uniform(15, high - 30))
            cv2.rectangle(image, (x, top), (x + wide // 20, high - 25), ink if n % 2 else (150, 150, 150), -1)
    else:
        for _ in range(int(rng.integers(1, 5))):
            ys = high / 2 + np.cumsum(rng.normal(0, high / 60, wide))
            points = np.stack([np.arange(wide), ys], 1).astype(np.int32)
            cv2.polylines(
                image,
                [points],
                False,
                tuple(int(v) for v in rng.integers(0, 200, 3)),
                int(rng.integers(1, 4)),
                cv2.LINE_AA,
            )
        cv2.rectangle(image, (2, 2), (wide - 3, high - 3), ink, 1)
    return 255 - image if rng.random() < 0.15 else image


def flat(rng: Rng) -> np.ndarray:
    """One tone, a gradient, or a shape on it: logos, icons, blank panels."""
    size = int(rng.integers(40, 300))
    x, y = grid(size)
    field = (
        rng.uniform(0, 1)
        + rng.uniform(-0.5, 0.5) * x * rng.integers(0, 2)
        + rng.uniform(-0.5, 0.5) * y * rng.integers(0, 2)
    )
    for _ in range(int(rng.integers(0, 4))):
        cx, cy, a, b = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
        field = field + rng.choice([-1, 1]) * rng.uniform(0.2, 1) * blob(x, y, cx, cy, a, b, 0, rng.choice([2.0, 6.0]))
    image = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    return coloured(image, rng) if rng.random() < 0.3 else image


def label_map(rng: Rng) -> np.ndarray:
    """A segmentation as drawn from scratch: few flat tones, smooth outlines, like lungs, lesions or organs."""
    size = int(rng.integers(120, 360))
    x, y = grid(size)
    ground = rng.choice([0, 0, 255, 128])
    image = np.full((size, size, 3), ground, np.uint8)
    grey = rng.random() < 0.5
    shapes = [(-0.42, 0.0, 0.28, 0.5, 0.1), (0.42, 0.0, 0.28, 0.5, -0.1)] if rng.random() < 0.6 else []
    shapes += [
        (*rng.uniform(-0.5, 0.5, 2), *rng.uniform(0.05, 0.3, 2), rng.uniform(0, 3))
        for _ in range(int(rng.integers(1, 6)))
    ]
    warp = (clouds(rng, size, size / 14) - 0.5) * 0.25
    for cx, cy, a, b, turn in shapes:
        tone = np.repeat(rng.integers(0, 256), 3) if grey else rng.integers(0, 256, 3)
        image[blob(x + warp, y + warp, cx, cy, a, b, turn) > 0.5] = tone
    return image


DRAWN: dict[str, Callable[[Rng], np.ndarray]] = {
    "x-ray": xray,
    "head CT": head_ct,
    "abdominal CT": abdomen_ct,
    "MRI": mri,
    "PET": pet,
    "ultrasound": ultrasound,
    "tissue": tissue,
    "page": page,
    "flat": flat,
    "segmentation": label_map,
}


def heat_map(image: np.ndarray, rng: Rng) -> np.ndarray:
    """A chest CT (H x W) under a colour scale, or with hot blobs laid over it: no plain CT any more."""
    high, wide = image.shape
    if rng.random() < 0.3:
        return coloured(image, rng)
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    heat = np.zeros(image.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cx, cy, s = rng.uniform(0.15, 0.85) * wide, rng.uniform(0.15, 0.85) * high, rng.uniform(0.08, 0.3) * wide
        heat += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s * s))
    heat = np.clip(heat / max(float(heat.max()), 1e-6), 0, 1)
    colour = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1].astype(np.float32)
    alpha = rng.uniform(0.3, 0.6) * (np.ones_like(heat) if rng.random() < 0.6 else np.clip(heat * 2, 0, 1))
    return (image[..., None] * (1 - alpha[..., None]) + colour * alpha[..., None]).astype(np.uint8)


def mask_over(image: np.ndarray, lung: np.ndarray, rng: Rng) -> np.ndarray:
    """The lung mask of a CT in colour, alone or laid over the CT."""
    colour = rng.integers(0, 256, 3)
    colour[rng.integers(0, 3)] = 255
    if rng.random() < 0.5:
        return lung[..., None].astype(np.uint8) * colour.astype(np.uint8)[None, None]
    shown = np.repeat(image[..., None], 3, 2).astype(np.float32)
    shown[lung] = shown[lung] * 0.45 + colour * 0.55
    return shown.astype(np.uint8)
