"""Which slices of a volume are taken, and the pictures made of them and of annotated nodules."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np

from harvest.lungs import lung_fraction, window
from harvest.mhd import Header

_APART_MM = 10.0
"""slices of one subject are at least this far apart, where the volume allows"""


@dataclass(frozen=True)
class Plan:
    """How slices and patches are made; level, width in HU; patch_mm the side of a patch on the patient."""

    slices_per_subject: int
    level: float
    width: float
    size: int
    min_lung: float
    seed: int
    patch_mm: float
    patch_size: int


@dataclass(frozen=True)
class Nodule:
    """An annotated nodule: world position (x, y, z) and diameter, mm."""

    world: tuple[float, float, float]
    diameter: float

    @property
    def finite(self) -> bool:
        """False where the table says ``nan`` or ``inf``, which are numbers to ``float`` and no place."""
        return all(map(math.isfinite, (*self.world, self.diameter)))


def random_for(seed: int, subject: str) -> np.random.Generator:
    """The generator of one subject: what is drawn for it does not depend on the others."""
    digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def choose_slices(header: Header, nodules: list[Nodule], plan: Plan) -> list[tuple[int, float]]:
    """Slice numbers and their lung fractions: through annotated nodules first, then any with lung, well apart.

    Where the volume has too few slices with lung, those with most of it make up the number.
    """
    voxels, rng, depth = header.open(), random_for(plan.seed, header.path.stem), header.shape[0]
    apart = max(1, round(_APART_MM / float(header.spacing[2])))
    through = [round(float(header.voxel(np.array(nodule.world))[0])) for nodule in nodules]
    first = [z for z in dict.fromkeys(through) if 0 <= z < depth]
    rng.shuffle(first)
    order = first + [z for z in rng.permutation(depth).tolist() if z not in set(first)]
    fractions: dict[int, float] = {}
    chosen: list[int] = []
    for distance in (apart, 1):
        for z in order:
            if len(chosen) == plan.slices_per_subject:
                break
            if any(abs(z - other) < distance for other in chosen):
                continue
            if z not in fractions:
                fractions[z] = _fraction(voxels[z])
            if fractions[z] >= plan.min_lung:
                chosen.append(z)
    rest = sorted((z for z in fractions if z not in chosen), key=lambda z: (-fractions[z], z))
    chosen += rest[: max(0, min(plan.slices_per_subject, depth) - len(chosen))]
    return sorted((z, fractions[z]) for z in chosen)


def _fraction(slice_: np.ndarray) -> float:
    step = max(1, slice_.shape[0] // 256)
    return lung_fraction(np.maximum(slice_[::step, ::step].astype(np.float32), -1024.0))


def upright(image: np.ndarray, header: Header) -> np.ndarray:
    """A slice with x to the patient's left and y to the back, whichever way the file counts."""
    if header.direction[0, 0] < 0:
        image = image[:, ::-1]
    return image[::-1] if header.direction[1, 1] < 0 else image


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Longer side to ``size`` pixels (0: as it is)."""
    if not size or max(image.shape) == size:
        return np.ascontiguousarray(image)
    scale = size / max(image.shape)
    shape = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(
        np.ascontiguousarray(image), shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )


def patch(header: Header, voxels: np.ndarray, centre: np.ndarray, plan: Plan) -> np.ndarray:
    """``patch_size``² grey pixels showing ``patch_mm`` around a voxel (z, y, x); air beyond the volume's edge."""
    z = int(np.clip(round(float(centre[0])), 0, header.shape[0] - 1))
    # Sampled around the exact place, not around its nearest voxel: the nodule lies in the middle whichever way the file
    # counts.
    step_x, step_y = (plan.patch_mm / plan.patch_size / float(header.spacing[axis]) for axis in (0, 1))
    half = (plan.patch_size - 1) / 2
    to_slice = np.array(
        [[step_x, 0.0, float(centre[2]) - half * step_x], [0.0, step_y, float(centre[1]) - half * step_y]]
    )
    cut = cv2.warpAffine(
        np.maximum(voxels[z].astype(np.float32), -1024.0),
        to_slice,
        (plan.patch_size, plan.patch_size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1024.0,
    )
    return np.ascontiguousarray(upright(window(cut, plan.level, plan.width), header))
