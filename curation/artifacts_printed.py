"""Clean slices as other papers print them: window, crop, scale, sharpening, noise, bars of the page, compression, tint.

What `curation.artifacts_fit` draws its marks on. Every function takes a random generator; the same generator gives the
same pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def printed(image: np.ndarray, rng: Rng) -> np.ndarray:
    """A clean slice (H x W) as another paper prints it: windowed, cropped, scaled, compressed, sometimes tinted."""
    high, wide = image.shape
    window = rng.random()
    if window < 0.68:
        low, top = rng.uniform(-0.15, 0.15), rng.uniform(0.5, 1.3)
    elif window < 0.82:
        low, top = 0.45, rng.uniform(0.8, 1.1)
    else:  # soft tissue: fat dark, muscle grey, ribs and shoulder blades white, and none of them a mark
        low, top = rng.uniform(0.55, 0.72), rng.uniform(0.82, 1.0)
    part: np.ndarray = np.clip((image / np.float32(255) - low) / (top - low), 0, 1) ** np.float32(rng.uniform(0.6, 1.6))
    if rng.random() < 0.6:
        share = rng.uniform(0.6, 0.97, 2)
        h, w = int(high * share[0]), int(wide * share[1])
        y, x = int(rng.integers(0, high - h + 1)), int(rng.integers(0, wide - w + 1))
        part = part[y : y + h, x : x + w]
    if rng.random() < 0.6:
        factor = float(rng.uniform(0.6, 2.2))
        rule = (
            cv2.INTER_AREA if factor < 1 else int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
        )
        part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=rule)
    style = rng.random()
    if style < 0.25:
        part = part + np.float32(rng.uniform(0.3, 1.5)) * (part - cv2.GaussianBlur(part, (0, 0), rng.uniform(0.7, 2)))
    elif style < 0.4:
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.3:
        part = part + rng.normal(0, rng.uniform(0.01, 0.06), part.shape).astype(np.float32)
    pixels = (np.clip(part, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.15:
        pad = (rng.uniform(0, 0.05, 4) * pixels.shape[0]).astype(int) * rng.integers(0, 2, 4)
        pixels = np.pad(pixels, ((pad[0], pad[1]), (pad[2], pad[3])), constant_values=int(rng.choice([0, 255, 255])))
    if rng.random() < 0.35:
        pixels = jpeg(pixels, rng)
    if rng.random() < 0.1:
        tint = 1 + rng.uniform(-0.15, 0.15, 3)
        return np.clip(pixels[..., None] * tint + rng.uniform(-8, 8, 3), 0, 255).astype(np.uint8)
    return pixels


def jpeg(image: np.ndarray, rng: Rng) -> np.ndarray:
    """The picture after a JPEG of quality 45 to 95."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))
