"""Scans that are no chest CT, drawn by code, and what they are drawn with (see `curation.modality_drawn`)."""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def clouds(rng: Rng, size: int, coarse: float) -> np.ndarray:
    """Smooth random field in 0..1, size x size; ``coarse`` is the blur in pixels."""
    field: np.ndarray = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), max(0.6, coarse))
    low, high = np.percentile(field, [1, 99])
    return np.clip((field - low) / (high - low + 1e-9), 0, 1)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of a square's pixels, -1..1: x and y, each size x size."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * 2 - 1
    return x, y


def blob(
    x: np.ndarray, y: np.ndarray, cx: float, cy: float, a: float, b: float, turn: float = 0.0, power: float = 2.0
) -> np.ndarray:
    """Soft super-ellipse, 1 inside and 0 outside."""
    u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / a
    v = (-(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)) / b
    return np.clip((1.03 - (np.abs(u) ** power + np.abs(v) ** power)) * 12, 0, 1)


def finish(field: np.ndarray, rng: Rng, noise: float = 0.03) -> np.ndarray:
    """A field in 0..1 as a uint8 picture with noise, some gamma and a random aspect."""
    field = field + rng.normal(0, rng.uniform(0.2, 1) * noise, field.shape)
    field = np.clip(field, 0, 1) ** rng.uniform(0.7, 1.4)
    image = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    ratio = rng.uniform(0.75, 1.35)
    return cv2.resize(image, (int(image.shape[1] * np.sqrt(ratio)), int(image.shape[0] / np.sqrt(ratio))))


def xray(rng: Rng) -> np.ndarray:
    """Frontal or lateral chest radiograph: tall lungs, ribs as arcs, a bright spine, no outline of a cross-section."""
    size = int(rng.integers(200, 420))
    x, y = grid(size)
    field = 0.75 + 0.15 * clouds(rng, size, size / 6) - 0.25 * np.abs(x) ** 3
    if rng.random() < 0.75:
        for side in (-1, 1):
            lung = blob(
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
        field += 0.16 * blob(x, y, 0, 0, rng.uniform(0.1, 0.16), 1.2)
        field += 0.4 * blob(x, y, rng.uniform(0.0, 0.2), 0.35, rng.uniform(0.25, 0.36), 0.32, 0.4)
    else:
        field -= 0.5 * blob(x, y, -0.1, -0.1, 0.5, 0.75, 0.2, 2.4)
        field += 0.3 * blob(x, y, 0.45, 0, 0.16, 1.1, -0.2)
    for n in range(9):
        height = -0.8 + 0.2 * n
        arc = np.abs(y - height - rng.uniform(0.25, 0.4) * np.abs(x) ** 1.5 + 0.1)
        field += rng.uniform(0.05, 0.12) * np.clip(1 - arc / 0.035, 0, 1) * (np.abs(x) < 0.85)
    field += 0.15 * np.clip(1 - np.abs(y + 0.75 - 0.2 * np.abs(x)) / 0.05, 0, 1)
    image = finish(np.clip(field, 0, 1), rng)
    return 255 - image if rng.random() < 0.1 else image


def head_ct(rng: Rng) -> np.ndarray:
    """Brain or bone window of a head: bright ring, grey brain, dark ventricles."""
    size = int(rng.integers(180, 400))
    x, y = grid(size)
    a, b, turn = rng.uniform(0.55, 0.75), rng.uniform(0.72, 0.92), rng.normal(0, 0.1)
    skull, brain = (
        blob(x, y, 0, 0, a, b, turn, 2.2),
        blob(x, y, 0, 0, a - rng.uniform(0.06, 0.1), b - 0.08, turn, 2.2),
    )
    grey = rng.uniform(0.25, 0.65)
    field = skull * 1.0 - brain * (1 - grey) + brain * 0.12 * (clouds(rng, size, size / 40) - 0.5)
    if rng.random() < 0.7:
        for side in (-1, 1):
            field -= (
                0.5
                * grey
                * blob(
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
                * blob(x, y, cx, cy, rng.uniform(0.04, 0.2), rng.uniform(0.03, 0.15), rng.uniform(0, 3))
                * skull
            )
    if rng.random() < 0.5:
        field += 0.25 * grey * np.clip(1 - np.abs(x) / 0.012, 0, 1) * brain
    if rng.random() < 0.5:
        field += 0.4 * np.clip(1 - np.abs(np.hypot(x * 1.2, (y + 0.1)) - 0.97) / 0.02, 0, 1) * (y > 0.4)
    return finish(field, rng, 0.04)


def abdomen_ct(rng: Rng) -> np.ndarray:
    """Soft-tissue window below the lungs: liver, kidneys, spine, fat and gas in the bowel."""
    size = int(rng.integers(180, 400))
    x, y = grid(size)
    a, b = rng.uniform(0.8, 0.95), rng.uniform(0.6, 0.75)
    base = rng.uniform(0.15, 0.4)
    body = blob(x, y, 0, 0, a, b, 0, rng.uniform(2.1, 2.8))
    inner = blob(x, y, 0, 0, a - rng.uniform(0.05, 0.16), b - rng.uniform(0.05, 0.14), 0, 2.3)
    field = body * base + inner * 0.12
    field += (
        inner * rng.uniform(0.25, 0.45) * blob(x, y, -0.4, -0.1, rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.45), 0.3)
    )
    field += inner * 0.3 * blob(x, y, 0.5, 0.0, 0.2, 0.25)
    for side in (-1, 1):
        field += inner * rng.uniform(0.2, 0.5) * blob(x, y, side * 0.38, 0.25, 0.12, 0.16, side * 0.5)
    field += 0.7 * blob(x, y, 0, 0.35, 0.14, 0.13) + 0.5 * blob(x, y, 0, 0.55, 0.05, 0.14)
    field += 0.35 * blob(x, y, 0.06, 0.15, 0.06, 0.06)
    for _ in range(int(rng.integers(0, 7))):
        cx, cy = rng.uniform(-0.5, 0.6), rng.uniform(-0.45, 0.2)
        field -= 0.8 * blob(x, y, cx, cy, rng.uniform(0.03, 0.12), rng.uniform(0.02, 0.08), rng.uniform(0, 3)) * inner
    field += 0.25 * np.clip(1 - np.abs(y - 0.85 - 0.1 * (1 - x**2)) / 0.02, 0, 1) * (rng.random() < 0.6)
    return finish(field, rng, 0.05)


def mri(rng: Rng) -> np.ndarray:
    """Brain (any plane, T1 or T2), spine or joint: folded tissue on black, no air-filled lungs."""
    size = int(rng.integers(160, 360))
    x, y = grid(size)
    kind = rng.integers(0, 3)
    if kind == 0:
        brain = blob(x, y, 0, 0, rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.85), rng.uniform(-0.3, 0.3), 2.2)
        folds = np.abs(clouds(rng, size, size / rng.uniform(26, 50)) - 0.5) * 2
        field = brain * (rng.uniform(0.4, 0.7) + rng.choice([-0.5, 0.4]) * folds)
        field += (
            rng.uniform(0.3, 0.8)
            * np.clip(blob(x, y, 0, 0, 0.93, 0.93) - blob(x, y, 0, 0, 0.88, 0.88), 0, 1)
            * (rng.random() < 0.6)
        )
        field += rng.choice([-0.5, 0.5]) * blob(x, y, 0, 0, 0.12, 0.22)
    elif kind == 1:
        field = 0.35 * blob(x, y, 0, 0, 0.9, 1.2) * clouds(rng, size, size / 12)
        curve = 0.15 * np.sin(y * 2)
        for n in range(8):
            field += 0.5 * blob(x, y, float(0.15 * np.sin((n / 4 - 1) * 2)), n / 4 - 1, 0.14, 0.09, 0, 4)
        field += 0.5 * np.clip(1 - np.abs(x - curve - 0.25) / 0.06, 0, 1)
    else:
        field = 0.5 * clouds(rng, size, size / 15) * blob(x, y, 0, 0, 0.6, 1.3, 0.1)
        field += 0.5 * blob(x, y, 0, -0.55, 0.45, 0.5, 0, 3) + 0.5 * blob(x, y, 0, 0.6, 0.42, 0.5, 0, 3)
    return finish(field, rng, 0.04)


def pet(rng: Rng) -> np.ndarray:
    """PET: hot spots on faint tissue, black on white, or in a colour scale; whole body or one slice."""
    size = int(rng.integers(160, 360))
    x, y = grid(size)
    field = 0.25 * blob(x, y, 0, 0, rng.uniform(0.4, 0.9), rng.uniform(0.6, 0.95)) * clouds(rng, size, size / 25)
    for _ in range(int(rng.integers(2, 8))):
        cx, cy = rng.uniform(-0.4, 0.4), rng.uniform(-0.7, 0.7)
        field += rng.uniform(0.4, 1) * np.exp(
            -(((x - cx) / rng.uniform(0.04, 0.15)) ** 2) - ((y - cy) / rng.uniform(0.04, 0.2)) ** 2
        )
    image = finish(cv2.GaussianBlur(field, (0, 0), size / 90), rng, 0.02)
    if rng.random() < 0.5:
        return 255 - image
    return coloured(image, rng)


def coloured(image: np.ndarray, rng: Rng) -> np.ndarray:
    """A grey picture (uint8, H x W) under a colour scale: H x W x 3."""
    maps = [
        cv2.COLORMAP_JET,
        cv2.COLORMAP_HOT,
        cv2.COLORMAP_VIRIDIS,
        cv2.COLORMAP_INFERNO,
        cv2.COLORMAP_RAINBOW,
    ]
    return cv2.applyColorMap(image, int(rng.choice(maps)))[..., ::-1].copy()


def ultrasound(rng: Rng) -> np.ndarray:
    """A fan or block of speckle on black."""
    size = int(rng.integers(180, 360))
    x, y = grid(size)
    speckle = clouds(rng, size, 1.2) * clouds(rng, size, size / 10) * 1.4
    if rng.random() < 0.7:
        angle, radius = np.arctan2(x, y + 1.3), np.hypot(x, y + 1.3)
        speckle *= (np.abs(angle) < rng.uniform(0.4, 0.8)) & (radius > 0.35) & (radius < 2.1)
    return finish(speckle, rng)
