"""Pictures that are not one chest CT, drawn by code: what the modality model learns to refuse beside real figures.

Each function takes a random generator and gives a uint8 picture. They are crude on purpose and vary widely: the model
has to learn what a chest CT looks like, not what these drawings look like.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator


def clouds(rng: Rng, size: int, coarse: float) -> np.ndarray:
    """Smooth random field in 0..1, size x size; ``coarse`` is the blur in pixels."""
    field: np.ndarray = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), max(0.6, coarse))
    low, high = np.percentile(field, [1, 99])
    return np.clip((field - low) / (high - low + 1e-9), 0, 1)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * 2 - 1
    return x, y


def _blob(
    x: np.ndarray, y: np.ndarray, cx: float, cy: float, a: float, b: float, turn: float = 0.0, power: float = 2.0
) -> np.ndarray:
    """Soft super-ellipse, 1 inside and 0 outside."""
    u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / a
    v = (-(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)) / b
    return np.clip((1.03 - (np.abs(u) ** power + np.abs(v) ** power)) * 12, 0, 1)


def _finish(field: np.ndarray, rng: Rng, noise: float = 0.03) -> np.ndarray:
    field = field + rng.normal(0, rng.uniform(0.2, 1) * noise, field.shape)
    field = np.clip(field, 0, 1) ** rng.uniform(0.7, 1.4)
    image = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    ratio = rng.uniform(0.75, 1.35)
    return cv2.resize(image, (int(image.shape[1] * np.sqrt(ratio)), int(image.shape[0] / np.sqrt(ratio))))


def xray(rng: Rng) -> np.ndarray:
    """Frontal or lateral chest radiograph: tall lungs, ribs as arcs, a bright spine, no outline of a cross-section."""
    size = int(rng.integers(200, 420))
    x, y = _grid(size)
    field = 0.75 + 0.15 * clouds(rng, size, size / 6) - 0.25 * np.abs(x) ** 3
    if rng.random() < 0.75:
        for side in (-1, 1):
            lung = _blob(
                x,
                y,
                side * rng.uniform(0.36, 0.46),
                rng.uniform(-0.15, 0.05),
                rng.uniform(0.27, 0.36),
                rng.uniform(0.6, 0.8),
                side * 0.08,
                2.3,
            )
            field -= lung * rng.uniform(0.4, 0.6) * (0.8 + 0.4 * clouds(rng, size, size / 20))
        field += 0.16 * _blob(x, y, 0, 0, rng.uniform(0.1, 0.16), 1.2)
        field += 0.4 * _blob(x, y, rng.uniform(0.0, 0.2), 0.35, rng.uniform(0.25, 0.36), 0.32, 0.4)
    else:
        field -= 0.5 * _blob(x, y, -0.1, -0.1, 0.5, 0.75, 0.2, 2.4)
        field += 0.3 * _blob(x, y, 0.45, 0, 0.16, 1.1, -0.2)
    for n in range(9):
        height = -0.8 + 0.2 * n
        arc = np.abs(y - height - rng.uniform(0.25, 0.4) * np.abs(x) ** 1.5 + 0.1)
        field += rng.uniform(0.05, 0.12) * np.clip(1 - arc / 0.035, 0, 1) * (np.abs(x) < 0.85)
    field += 0.15 * np.clip(1 - np.abs(y + 0.75 - 0.2 * np.abs(x)) / 0.05, 0, 1)
    image = _finish(np.clip(field, 0, 1), rng)
    return 255 - image if rng.random() < 0.1 else image


def head_ct(rng: Rng) -> np.ndarray:
    """Brain or bone window of a head: bright ring, grey brain, dark ventricles."""
    size = int(rng.integers(180, 400))
    x, y = _grid(size)
    a, b, turn = rng.uniform(0.55, 0.75), rng.uniform(0.72, 0.92), rng.normal(0, 0.1)
    skull, brain = (
        _blob(x, y, 0, 0, a, b, turn, 2.2),
        _blob(x, y, 0, 0, a - rng.uniform(0.06, 0.1), b - 0.08, turn, 2.2),
    )
    grey = rng.uniform(0.25, 0.65)
    field = skull * 1.0 - brain * (1 - grey) + brain * 0.12 * (clouds(rng, size, size / 40) - 0.5)
    if rng.random() < 0.7:
        for side in (-1, 1):
            field -= (
                0.5
                * grey
                * _blob(
                    x,
                    y,
                    side * rng.uniform(0.08, 0.16),
                    rng.uniform(-0.2, 0.0),
                    0.06,
                    rng.uniform(0.12, 0.3),
                    side * 0.35,
                )
            )
    else:  # skull base: air cells and orbits
        for _ in range(int(rng.integers(6, 14))):
            cx, cy = rng.uniform(-0.5, 0.5, 2)
            field += (
                rng.choice([-0.6, 0.5])
                * _blob(x, y, cx, cy, rng.uniform(0.04, 0.2), rng.uniform(0.03, 0.15), rng.uniform(0, 3))
                * skull
            )
    if rng.random() < 0.5:
        field += 0.25 * grey * np.clip(1 - np.abs(x) / 0.012, 0, 1) * brain
    if rng.random() < 0.5:
        field += 0.4 * np.clip(1 - np.abs(np.hypot(x * 1.2, (y + 0.1)) - 0.97) / 0.02, 0, 1) * (y > 0.4)
    return _finish(field, rng, 0.04)


def abdomen_ct(rng: Rng) -> np.ndarray:
    """Soft-tissue window below the lungs: liver, kidneys, spine, fat and gas in the bowel."""
    size = int(rng.integers(180, 400))
    x, y = _grid(size)
    a, b = rng.uniform(0.8, 0.95), rng.uniform(0.6, 0.75)
    base = rng.uniform(0.15, 0.4)
    body = _blob(x, y, 0, 0, a, b, 0, rng.uniform(2.1, 2.8))
    inner = _blob(x, y, 0, 0, a - rng.uniform(0.05, 0.16), b - rng.uniform(0.05, 0.14), 0, 2.3)
    field = body * base + inner * 0.12
    field += (
        inner * rng.uniform(0.25, 0.45) * _blob(x, y, -0.4, -0.1, rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.45), 0.3)
    )
    field += inner * 0.3 * _blob(x, y, 0.5, 0.0, 0.2, 0.25)
    for side in (-1, 1):
        field += inner * rng.uniform(0.2, 0.5) * _blob(x, y, side * 0.38, 0.25, 0.12, 0.16, side * 0.5)
    field += 0.7 * _blob(x, y, 0, 0.35, 0.14, 0.13) + 0.5 * _blob(x, y, 0, 0.55, 0.05, 0.14)
    field += 0.35 * _blob(x, y, 0.06, 0.15, 0.06, 0.06)
    for _ in range(int(rng.integers(0, 7))):
        cx, cy = rng.uniform(-0.5, 0.6), rng.uniform(-0.45, 0.2)
        field -= 0.8 * _blob(x, y, cx, cy, rng.uniform(0.03, 0.12), rng.uniform(0.02, 0.08), rng.uniform(0, 3)) * inner
    field += 0.25 * np.clip(1 - np.abs(y - 0.85 - 0.1 * (1 - x**2)) / 0.02, 0, 1) * (rng.random() < 0.6)
    return _finish(field, rng, 0.05)


def mri(rng: Rng) -> np.ndarray:
    """Brain (any plane, T1 or T2), spine or joint: folded tissue on black, no air-filled lungs."""
    size = int(rng.integers(160, 360))
    x, y = _grid(size)
    kind = rng.integers(0, 3)
    if kind == 0:
        brain = _blob(x, y, 0, 0, rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.85), rng.uniform(-0.3, 0.3), 2.2)
        folds = np.abs(clouds(rng, size, size / rng.uniform(26, 50)) - 0.5) * 2
        field = brain * (rng.uniform(0.4, 0.7) + rng.choice([-0.5, 0.4]) * folds)
        field += (
            rng.uniform(0.3, 0.8)
            * np.clip(_blob(x, y, 0, 0, 0.93, 0.93) - _blob(x, y, 0, 0, 0.88, 0.88), 0, 1)
            * (rng.random() < 0.6)
        )
        field += rng.choice([-0.5, 0.5]) * _blob(x, y, 0, 0, 0.12, 0.22)
    elif kind == 1:
        field = 0.35 * _blob(x, y, 0, 0, 0.9, 1.2) * clouds(rng, size, size / 12)
        curve = 0.15 * np.sin(y * 2)
        for n in range(8):
            field += 0.5 * _blob(x, y, float(0.15 * np.sin((n / 4 - 1) * 2)), n / 4 - 1, 0.14, 0.09, 0, 4)
        field += 0.5 * np.clip(1 - np.abs(x - curve - 0.25) / 0.06, 0, 1)
    else:
        field = 0.5 * clouds(rng, size, size / 15) * _blob(x, y, 0, 0, 0.6, 1.3, 0.1)
        field += 0.5 * _blob(x, y, 0, -0.55, 0.45, 0.5, 0, 3) + 0.5 * _blob(x, y, 0, 0.6, 0.42, 0.5, 0, 3)
    return _finish(field, rng, 0.04)


def pet(rng: Rng) -> np.ndarray:
    """PET: hot spots on faint tissue, black on white, or in a colour scale; whole body or one slice."""
    size = int(rng.integers(160, 360))
    x, y = _grid(size)
    field = 0.25 * _blob(x, y, 0, 0, rng.uniform(0.4, 0.9), rng.uniform(0.6, 0.95)) * clouds(rng, size, size / 25)
    for _ in range(int(rng.integers(2, 8))):
        cx, cy = rng.uniform(-0.4, 0.4), rng.uniform(-0.7, 0.7)
        field += rng.uniform(0.4, 1) * np.exp(
            -(((x - cx) / rng.uniform(0.04, 0.15)) ** 2) - ((y - cy) / rng.uniform(0.04, 0.2)) ** 2
        )
    image = _finish(cv2.GaussianBlur(field, (0, 0), size / 90), rng, 0.02)
    if rng.random() < 0.5:
        return 255 - image
    return _coloured(image, rng)


def _coloured(image: np.ndarray, rng: Rng) -> np.ndarray:
    maps = [
        cv2.COLORMAP_JET,
        cv2.COLORMAP_HOT,
        cv2.COLORMAP_VIRIDIS,
        cv2.COLORMAP_INFERNO,
        cv2.COLORMAP_BONE,
        cv2.COLORMAP_RAINBOW,
    ]
    return cv2.applyColorMap(image, int(rng.choice(maps[:4] + maps[5:])))[..., ::-1].copy()


def ultrasound(rng: Rng) -> np.ndarray:
    """A fan or block of speckle on black."""
    size = int(rng.integers(180, 360))
    x, y = _grid(size)
    speckle = clouds(rng, size, 1.2) * clouds(rng, size, size / 10) * 1.4
    if rng.random() < 0.7:
        angle, radius = np.arctan2(x, y + 1.3), np.hypot(x, y + 1.3)
        speckle *= (np.abs(angle) < rng.uniform(0.4, 0.8)) & (radius > 0.35) & (radius < 2.1)
    return _finish(speckle, rng)


def tissue(rng: Rng) -> np.ndarray:
    """Histology, electron micrographs, fluorescence, gels and plain noise."""
    size = int(rng.integers(120, 360))
    kind = rng.integers(0, 5)
    if kind == 0:
        base = np.stack([clouds(rng, size, rng.uniform(1, 12)) for _ in range(3)], -1)
        return (255 * np.clip(0.55 + 0.45 * base * rng.uniform(0.5, 1, 3), 0, 1)).astype(np.uint8)
    if kind == 1:
        return _finish(clouds(rng, size, rng.uniform(0.8, 20)) * rng.uniform(0.5, 1) + rng.uniform(0, 0.3), rng, 0.1)
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
        return _finish(cv2.GaussianBlur(gel, (0, 0), 2), rng)
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
    return _finish(cv2.GaussianBlur(discs, (0, 0), rng.uniform(0.5, 4)), rng)


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
    x, y = _grid(size)
    field = (
        rng.uniform(0, 1)
        + rng.uniform(-0.5, 0.5) * x * rng.integers(0, 2)
        + rng.uniform(-0.5, 0.5) * y * rng.integers(0, 2)
    )
    for _ in range(int(rng.integers(0, 4))):
        cx, cy, a, b = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
        field = field + rng.choice([-1, 1]) * rng.uniform(0.2, 1) * _blob(x, y, cx, cy, a, b, 0, rng.choice([2.0, 6.0]))
    image = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    return _coloured(image, rng) if rng.random() < 0.3 else image


def label_map(rng: Rng) -> np.ndarray:
    """A segmentation as drawn from scratch: few flat tones, smooth outlines, like lungs, lesions or organs."""
    size = int(rng.integers(120, 360))
    x, y = _grid(size)
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
        image[_blob(x + warp, y + warp, cx, cy, a, b, turn) > 0.5] = tone
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
        return _coloured(image, rng)
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
