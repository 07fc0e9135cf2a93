"""What else papers print: charts, X-rays, flow charts, microscopy and logos; nothing here is a chest CT."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from harvest.sample.phantom import Slab, draw_anatomy
from harvest.sample.picture import compress

KINDS = ("bar", "curve", "scatter", "xray", "flow", "slide")
INK = [(31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (90, 90, 90)]


def draw_distractor(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Pixels (RGB) of a picture that is not a chest CT; ``kind`` is one of KINDS."""
    if kind == "xray":
        return xray(rng)
    if kind == "flow":
        return flow(rng)
    if kind == "slide":
        return slide(rng)
    return chart(kind, rng)


def chart(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A bar chart, curves or a scatter plot with axes and labels, as a raster."""
    width, height = int(rng.integers(420, 640)), int(rng.integers(280, 420))
    page = np.full((height, width, 3), 255, np.uint8)
    x0, y0, x1, y1 = 56, 24, width - 18, height - 44
    cv2.line(page, (x0, y0), (x0, y1), (0, 0, 0), 1)
    cv2.line(page, (x0, y1), (x1, y1), (0, 0, 0), 1)
    for step in range(5):
        y = y1 - (y1 - y0) * step // 5
        cv2.line(page, (x0 - 4, y), (x0, y), (0, 0, 0), 1)
        _text(page, str(step * 20), (x0 - 32, y + 4), 0.4)
    _text(
        page, str(rng.choice(["Days since onset", "Age group", "Date", "Score"])), ((x0 + x1) // 2 - 50, y1 + 34), 0.45
    )
    _text(page, str(rng.choice(["Cases", "Patients (%)", "Titre"])), (x0 - 48, y0 - 8), 0.45)
    count = int(rng.integers(5, 9))
    if kind == "bar":
        for n, value in enumerate(rng.uniform(0.15, 0.9, count)):
            left = x0 + 12 + (x1 - x0 - 20) * n // count
            cv2.rectangle(
                page, (left, int(y1 - value * (y1 - y0))), (left + (x1 - x0) // count - 14, y1 - 1), INK[n % 3], -1
            )
    else:
        for n in range(3):
            xs = np.linspace(x0, x1, 60)
            rise = 1 / (1 + np.exp(-np.linspace(-5, 5, 60) * rng.uniform(0.6, 1.4))) * rng.uniform(0.4, 0.95)
            ys = y1 - (rise + rng.normal(0, 0.03, 60)).clip(0, 1) * (y1 - y0)
            points = np.stack([xs, ys], 1).astype(np.int32)
            if kind == "curve":
                cv2.polylines(page, [points[:, None]], False, INK[n], 2, cv2.LINE_AA)
            else:
                for px, py in points[::2]:
                    cv2.circle(page, (int(px), int(py)), 3, INK[n], -1, cv2.LINE_AA)
    return page


def xray(rng: np.random.Generator) -> np.ndarray:
    """A frontal chest radiograph: the tissue along each ray through a drawn thorax, with ribs and shoulders."""
    anatomy = draw_anatomy(rng)
    rows = []
    for t in np.linspace(-0.1, 1.05, 40):
        slab = Slab(anatomy, float(np.clip(t, 0.02, 1)), 128)
        rows.append(np.clip(slab.draw() + 1000, 0, 1150).sum(axis=0))
    rays: np.ndarray = np.array(rows, np.float32)[:, 9:-9]
    image: np.ndarray = cv2.resize(rays, (440, 420), interpolation=cv2.INTER_CUBIC)
    image = 1.0 - np.exp(-image / np.percentile(image, 70) * 1.1)
    y, x = np.mgrid[-1:1:420j, -1:1:440j]
    for n in range(9):
        # posterior ribs fall outwards from the spine, as arcs one below the other
        arc = y - (-0.86 + 0.2 * n + 0.5 * np.abs(x) ** 1.6 - 0.12 * np.cos(3 * x))
        image += 0.05 * np.exp(-((arc / 0.028) ** 2)) * (np.abs(x) < 0.82) * (np.abs(x) > 0.09)
    image += 0.25 * np.clip(-y - 0.72 + 0.12 * np.cos(3 * x), 0, 1)
    image += cv2.GaussianBlur(rng.normal(0, 1, image.shape), (0, 0), 18) * 0.25
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 5.0), np.float64)
    low, high = (float(v) for v in np.percentile(image, [1, 99]))
    grey = np.clip((image - low) / (high - low) * 225 + 12 + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)
    _text(grey, "R", (16, 34), 0.9, (255,))
    return compress(np.repeat(grey[..., None], 3, 2), 90)


def flow(rng: np.random.Generator) -> np.ndarray:
    """A tall flow chart of patient selection."""
    width, height = int(rng.integers(260, 330)), int(rng.integers(1000, 1500))
    page = np.full((height, width, 3), 255, np.uint8)
    steps = int(rng.integers(5, 8))
    for n in range(steps):
        top = 16 + n * (height - 30) // steps
        cv2.rectangle(page, (24, top), (width - 24, top + 88), (0, 0, 0), 1)
        _text(page, str(rng.choice(["Screened", "Included", "Excluded", "Analysed"])), (44, top + 36), 0.5)
        _text(page, f"n = {int(rng.integers(12, 900))}", (44, top + 64), 0.5)
        if n + 1 < steps:
            cv2.arrowedLine(page, (width // 2, top + 88), (width // 2, top + (height - 30) // steps), (0, 0, 0), 1)
    return page


def slide(rng: np.random.Generator) -> np.ndarray:
    """A stained tissue section."""
    field = cv2.GaussianBlur(rng.normal(0, 1, (320, 420)).astype(np.float32), (0, 0), 5) * 14
    base = np.stack([225 + 8 * field, 150 + 16 * field, 190 + 9 * field], 2)
    page = np.clip(base, 0, 255).astype(np.uint8)
    for x, y, r in zip(rng.integers(0, 420, 260), rng.integers(0, 320, 260), rng.integers(2, 6, 260), strict=True):
        cv2.circle(page, (int(x), int(y)), int(r), (96, 60, 140), -1, cv2.LINE_AA)
    return compress(page, 90)


def logo(server: str) -> np.ndarray:
    """The server's mark, a small RGBA picture that stands on first pages."""
    page = np.zeros((40, 150, 4), np.uint8)
    cv2.rectangle(page, (0, 0), (149, 39), (188, 40, 50, 255) if server == "biorxiv" else (0, 94, 150, 255), -1)
    cv2.putText(page, server, (8, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255, 255), 2, cv2.LINE_AA)
    return page


def _text(page: np.ndarray, text: str, at: tuple[int, int], scale: float, ink: Sequence[float] = (0, 0, 0)) -> None:
    cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
