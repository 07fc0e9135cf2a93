"""Artifact masks as text: our own row-major runs, and Label Studio's run-length code of an RGBA picture; both exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_PIXELS = 400_000_000


class TaskError(ValueError):
    """A task or annotation is not one of ours: names task, field, expected and got."""


def encode_mask(mask: np.ndarray) -> str:
    """Bool mask (H x W) -> ``"HxW: start+length ..."`` (row-major); an empty mask gives ``""``."""
    mask = np.asarray(mask, bool)
    if not mask.any():
        return ""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(np.int8), [0]])))
    runs = " ".join(f"{a}+{b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))
    return f"{mask.shape[0]}x{mask.shape[1]}: {runs}"


def decode_mask(text: str, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Inverse of encode_mask; ``""`` needs ``shape``. Raises TaskError on anything malformed or another size."""
    if not text:
        if shape is None:
            raise TaskError("empty mask: expected the picture's shape beside it")
        return np.zeros(shape, bool)
    try:
        head, _, runs = text.partition(": ")
        height, width = (int(part) for part in head.split("x"))
        if height * width > MAX_PIXELS:
            raise ValueError(f"{height} x {width} pixels")
        mask = np.zeros(height * width, bool)
        for run in runs.split():
            start, length = (int(part) for part in run.split("+"))
            if start < 0 or length < 1 or start + length > mask.size:
                raise ValueError(f"run {run} outside the picture")
            mask[start : start + length] = True
    except ValueError as error:
        raise TaskError(f"mask {text[:40]!r}: expected 'HxW: start+length ...' ({error})") from error
    if shape is not None and (height, width) != tuple(shape):
        raise TaskError(f"mask is {height} x {width}: expected {shape[0]} x {shape[1]}, the picture's size")
    return mask.reshape(height, width)


def mask_to_rle(mask: np.ndarray) -> list[int]:
    """Bool mask (H x W) -> Label Studio's brush code."""
    from label_studio_sdk.converter.brush import mask2rle

    return [int(v) for v in mask2rle(np.asarray(mask, bool).astype(np.uint8) * 255)]


def rle_to_mask(rle: Sequence[int], width: int, height: int) -> np.ndarray:
    """Label Studio's brush code -> bool mask (H x W); strokes are antialiased, alpha above 127 counts.

    Raises TaskError on a code of another size (its first 32 bits say how much it unpacks to) or one cut short.
    """
    from label_studio_sdk.converter.brush import decode_rle

    expected = width * height * 4
    try:
        code = np.asarray(rle, np.int64)
        if code.ndim != 1 or len(code) < 4 or code.min() < 0 or code.max() > 255:
            raise ValueError("not a list of bytes")
        says = int.from_bytes(bytes(code[:4].astype(np.uint8)), "big")
        if not 0 < width * height <= MAX_PIXELS or says != expected:
            raise ValueError(f"unpacks to {says} values")
        flat = np.asarray(decode_rle(code.tolist()))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise TaskError(
            f"brush code: expected {width} x {height} x 4 values for this picture ({error}); paint it anew"
        ) from error
    return np.asarray(flat.reshape(height, width, 4)[:, :, 3] > 127)
