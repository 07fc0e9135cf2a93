"""Drawn CT volumes in LUNA16's form (.mhd/.raw, int16 HU), with annotated nodules and readers' ratings."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from harvest.sample.lesions import Disease, Lesion, apply_lesions
from harvest.sample.phantom import FIELD, HEIGHT, Patient, Slab, draw_patient
from harvest.sample.rand import stream

SIZE = 144


def write_volumes(seed: int, count: int, folder: Path) -> None:
    """Write ``count`` volumes, ``annotations.csv`` (LUNA16's columns) and ``malignancy.csv`` (one row per reader)."""
    folder.mkdir(parents=True, exist_ok=True)
    nodules: list[list[object]] = []
    ratings: list[list[object]] = []
    for n in range(count):
        rng = stream(seed, "volume", n)
        uid = f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{10**29 + int(rng.integers(1, 9 * 10**15)) * 10**13}"
        found = _write_volume(seed, n, uid, folder, rng)
        for number, (world, diameter, malignant) in enumerate(found):
            nodules.append([uid, *(f"{v:.6f}" for v in world), f"{diameter:.6f}"])
            for reader in range(int(rng.integers(2, 5))):
                shift = int(rng.choice([-1, 0, 0, 0, 1]))
                rating = int(np.clip((4 if malignant else 2) + shift, 1, 5))
                ratings.append([uid, f"{uid[-6:]}-{number}", reader + 1, *(f"{v:.6f}" for v in world), rating])
    (folder / "annotations.csv").write_text(_table(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"], nodules))
    head = ["seriesuid", "nodule_id", "reader", "coordX", "coordY", "coordZ", "malignancy"]
    (folder / "malignancy.csv").write_text(_table(head, ratings))


def _write_volume(
    seed: int, n: int, uid: str, folder: Path, rng: np.random.Generator
) -> list[tuple[np.ndarray, float, bool]]:
    """Write one volume; returns its nodules: world position (mm), diameter (mm), whether drawn as malignant."""
    patient = draw_patient(seed, f"L{n:03d}", "normal")
    depth = int(rng.integers(12, 19))
    spacing = np.array([FIELD / SIZE, FIELD / SIZE, HEIGHT / depth])
    flipped = n % 12 == 3
    turn = np.diag([-1.0, -1.0, 1.0]) if flipped else np.eye(3)
    offset = np.array([200.0, 200.0, -300.0 - 20 * n]) if flipped else np.array([-200.0, -200.0, -300.0 - 20 * n])
    lesions, found = [], []
    for _ in range(0 if n % 5 == 4 else int(rng.integers(1, 3))):
        malignant = bool(rng.random() < 0.45)
        side = int(rng.choice([-1, 1]))
        radius = float(rng.uniform(7, 12) if malignant else rng.uniform(3.5, 7))
        index = int(rng.integers(depth // 3, depth * 2 // 3 + 1))
        x, y = side * patient.anatomy.cage[0] * rng.uniform(0.45, 0.7), patient.anatomy.cage[1] * rng.uniform(-0.4, 0.4)
        t = _level(index, depth)
        thick = max(radius / HEIGHT, 0.6 / depth)
        # malignant nodules are ragged, benign ones smooth and denser
        lesions.append(
            Lesion(
                x,
                y,
                t,
                radius,
                radius * 0.92,
                thick,
                0.0,
                820.0 if malignant else 900.0,
                1.0,
                0.45 if malignant else 0.05,
            )
        )
        voxel = np.array([(x + FIELD / 2) / spacing[0] - 0.5, (y + FIELD / 2) / spacing[1] - 0.5, index])
        found.append((turn @ (voxel * spacing) + offset, 2 * radius, malignant))
    disease = Disease("nodule", tuple(lesions), (0.3, 0.7), 1, 1.0)
    volume = np.stack([_slice(patient, disease, _level(k, depth), stream(seed, uid, k)) for k in range(depth)])
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(f"{v:g}" for v in turn.T.ravel() + 0.0),
        "Offset": " ".join(f"{v:g}" for v in offset),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(repr(float(v)) for v in spacing),
        "DimSize": f"{SIZE} {SIZE} {depth}",
        "ElementType": "MET_SHORT",
        "ElementDataFile": f"{uid}.raw",
    }
    (folder / f"{uid}.mhd").write_text("".join(f"{k} = {v}\n" for k, v in header.items()))
    (folder / f"{uid}.raw").write_bytes(volume.astype("<i2").tobytes())
    return found


def _level(index: int, depth: int) -> float:
    """Slices run from the feet up, as LUNA16's do: index 0 is the base."""
    return 1.0 - (index + 0.5) / depth


def _slice(patient: Patient, disease: Disease, t: float, rng: np.random.Generator) -> np.ndarray:
    slab = Slab(patient.anatomy, t, SIZE)
    image = apply_lesions(slab.draw(), slab.lungs, slab.x, slab.y, t, disease, stream(patient.seed, patient.patient_id))
    image = image + rng.normal(0, patient.anatomy.noise, image.shape)
    outside = (slab.x / 199) ** 2 + (slab.y / 199) ** 2 > 1
    return np.where(outside, -2048, np.clip(np.round(image), -1024, 3000))


def _table(head: list[str], rows: list[list[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()
