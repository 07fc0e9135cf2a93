"""The copies a literature corpus holds of one picture: crop, scale, JPEG, marks, tone, mirror; benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def crop(image: Picture, rng: np.random.Generator, low: float = 0.6, high: float = 1.0) -> Picture:
    """A window of 60-100 % of each side."""
    height, width = image.shape[:2]
    h, w = (max(8, round(side * rng.uniform(low, high))) for side in (height, width))
    y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return np.ascontiguousarray(image[y : y + h, x : x + w])


def scale(image: Picture, rng: np.random.Generator, low: float = 0.4, high: float = 2.0) -> Picture:
    """Another resolution, 0.4-2 times the sides (log-uniform)."""
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    size = (max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def jpeg(image: Picture, rng: np.random.Generator, low: int = 30, high: int = 95) -> Picture:
    """Re-encoding at JPEG quality 30-95."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(low, high + 1))])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def marks(image: Picture, rng: np.random.Generator) -> Picture:
    """Panel letter, arrows, a scale bar and a circle."""
    image = image.copy()
    height, width = image.shape[:2]
    side = min(height, width)
    tone = int(rng.choice([0, 255]))
    place = (int(rng.integers(0, width * 3 // 4)), int(rng.integers(side // 6, height)))
    cv2.putText(
        image, str(rng.choice(list("ABCDEF"))), place, cv2.FONT_HERSHEY_SIMPLEX, side / 200, tone, max(1, side // 90)
    )
    for _ in range(int(rng.integers(1, 5))):
        tip = rng.integers(0, [width, height])
        tail = tip + rng.integers(-side // 5, side // 5 + 1, 2)
        cv2.arrowedLine(
            image, tuple(map(int, tail)), tuple(map(int, tip)), 255 - tone, max(1, side // 110), tipLength=0.4
        )
    centre = tuple(map(int, rng.integers(0, [width, height])))
    cv2.circle(image, centre, int(rng.integers(side // 16, side // 7)), tone, max(1, side // 150))
    cv2.rectangle(image, (width // 20, height - height // 12), (width // 3, height - height // 16), 255 - tone, -1)
    return image


def tone(image: Picture, rng: np.random.Generator) -> Picture:
    """Brightness, contrast and gamma."""
    x = (image.astype(np.float32) / 255.0) ** float(rng.uniform(0.6, 1.6))
    x = (x - 0.5) * float(rng.uniform(0.6, 1.5)) + 0.5 + float(rng.uniform(-0.2, 0.2))
    return np.clip(x * 255, 0, 255).astype(np.uint8)


def mirror(image: Picture, rng: np.random.Generator) -> Picture:
    """Left and right swapped."""
    return np.ascontiguousarray(image[:, ::-1])


def everything(image: Picture, rng: np.random.Generator) -> Picture:
    """All of the above, one after the other; the mirror in half of the copies."""
    for step in (crop, scale, marks, tone, jpeg):
        image = step(image, rng)
    return mirror(image, rng) if rng.random() < 0.5 else image


TRANSFORMATIONS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    step.__name__: step for step in (crop, scale, jpeg, marks, tone, mirror, everything)
}
