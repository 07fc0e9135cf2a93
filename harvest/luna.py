"""Stage `luna`: unlabelled lung CT slices, and annotated nodules, from LUNA16 (paper, section IV.A).

Reads     a folder of LUNA16 volumes (<seriesuid>.mhd + .raw, annotations.csv), or of ready slices
          (<seriesuid>.mhd_<slice>.png); readers' malignancy ratings where given.
Writes    slices.csv (image_id, file, subject_id, slice, lung_fraction, flags), images/*.png (8-bit grey),
          nodules.csv and nodules/*.png (patches around annotated nodules, for the LNM stage), failed.jsonl.
Guarantees the same subjects and slices for the same seed; subjects kept apart by their series id; slices with hardly
          any lung flagged `little-lung`; a volume that is not what its header says is a failure, not a picture.
"""

from __future__ import annotations

import csv
import glob
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from harvest.content import FORMATS
from harvest.errors import HarvestError, SettingError
from harvest.lidc import Rating, consensus, label_of, read_ratings, read_rows
from harvest.lungs import lung_fraction_of_grey, window
from harvest.mhd import Header, VolumeError, read_header
from harvest.options import Enabled, guarded, new_app, progress
from harvest.records import Failure, write_jsonl
from harvest.slices import Nodule, Plan, choose_slices, patch, random_for, resized, upright

log = logging.getLogger(__name__)
app = new_app()

SLICE_COLUMNS = ("image_id", "file", "subject_id", "slice", "lung_fraction", "flags")
NODULE_COLUMNS = (
    "nodule_id", "file", "subject_id", "slice", "x", "y", "diameter_mm", "readers", "malignancy", "label"
)  # fmt: skip
_ANNOTATION_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
LITTLE_LUNG = "little-lung"
_READY = re.compile(r"(?P<subject>.+)\.mhd_(?P<slice>\d{1,5})\.png")
_PIXELS = 64 << 20
Annotations = dict[str, list[Nodule]]
Ratings = dict[str, list[Rating]]
Row = dict[str, object]


def read_annotations(path: Path) -> Annotations:
    """``annotations.csv`` of LUNA16 by series. Raises HarvestError naming file, line, column."""
    found: Annotations = {}
    for number, row in read_rows(path, _ANNOTATION_COLUMNS):
        try:
            x, y, z, diameter = (float(row[name]) for name in _ANNOTATION_COLUMNS[1:])
        except (TypeError, ValueError) as error:
            raise HarvestError(
                f"{path}:{number}: expected numbers in {', '.join(_ANNOTATION_COLUMNS[1:])}, got {row!s:.300}"
            ) from error
        found.setdefault(row["seriesuid"], []).append(Nodule((x, y, z), diameter))
    return found


def save_png(path: Path, grey: np.ndarray) -> None:
    """8-bit grey PNG under a temporary name, then renamed."""
    part = path.with_name(f".{path.name}.part")
    Image.fromarray(grey, "L" if grey.ndim == 2 else None).save(part, "PNG")
    part.replace(path)


def volume_rows(
    header: Header, nodules: list[Nodule], ratings: list[Rating], plan: Plan, out: Path
) -> tuple[list[Row], list[Row], list[Failure]]:
    """Write one volume's slices and nodule patches; returns their rows, and the nodules that lie outside it."""
    subject, voxels = header.path.stem, header.open()
    slices: list[Row] = []
    for z, fraction in choose_slices(header, [nodule for nodule in nodules if nodule.finite], plan):
        image_id = f"{subject}.mhd_{z}"
        save_png(
            out / "images" / f"{image_id}.png",
            resized(upright(window(voxels[z], plan.level, plan.width), header), plan.size),
        )
        slices.append(_slice_row(image_id, subject, z, fraction, plan))
    found: list[Row] = []
    failed: list[Failure] = []
    places = [(rating, rating.world(header)) for rating in ratings]
    for number, nodule in enumerate(nodules):
        nodule_id = f"{subject}_{number}"
        if not nodule.finite:
            said = ", ".join(str(value) for value in (*nodule.world, nodule.diameter))
            failed.append(Failure(item=nodule_id, reason=f"expected a place and a diameter in mm, got ({said})"))
            continue
        centre = header.voxel(np.array(nodule.world))
        if not all(0 <= value < side for value, side in zip(centre, header.shape, strict=True)):
            at = ", ".join(f"{value:.0f}" for value in centre)
            failed.append(Failure(item=nodule_id, reason=f"expected a place inside {header.shape}, got voxel ({at})"))
            continue
        reach = max(nodule.diameter / 2, 5.0)
        near = [r for r, place in places if np.linalg.norm(place - np.array(nodule.world)) <= reach]
        rating = consensus(r.malignancy for r in near)
        save_png(out / "nodules" / f"{nodule_id}.png", patch(header, voxels, centre, plan))
        label = label_of(rating)
        found.append(
            {
                "nodule_id": nodule_id,
                "file": f"nodules/{nodule_id}.png",
                "subject_id": subject,
                "slice": round(float(centre[0])),
                "x": round(float(centre[2]), 1),
                "y": round(float(centre[1]), 1),
                "diameter_mm": round(nodule.diameter, 3),
                "readers": len(near),
                "malignancy": "" if rating is None else rating,
                "label": "" if label is None else label,
            }
        )
    return slices, found, failed


def _slice_row(image_id: str, subject: str, z: int, fraction: float, plan: Plan) -> Row:
    return {
        "image_id": image_id,
        "file": f"images/{image_id}.png",
        "subject_id": subject,
        "slice": z,
        "lung_fraction": f"{fraction:.4f}",
        "flags": LITTLE_LUNG if fraction < plan.min_lung else "",
    }


def ready_rows(paths: list[Path], subject: str, plan: Plan, out: Path) -> list[Row]:
    """Copy one subject's ready slices (any of them if there are more than wanted) as 8-bit grey; returns their rows."""
    if len(paths) > plan.slices_per_subject:
        picks = random_for(plan.seed, subject).choice(len(paths), plan.slices_per_subject, replace=False)
        paths = [paths[pick] for pick in sorted(picks.tolist())]
    rows = []
    for path in paths:
        grey = _read_grey(path)
        match = _READY.fullmatch(path.name)
        image_id = path.name.removesuffix(".png")
        save_png(out / "images" / path.name, resized(grey, plan.size))
        fraction = lung_fraction_of_grey(resized(grey, min(256, max(grey.shape))), plan.level, plan.width)
        rows.append(_slice_row(image_id, subject, int(match["slice"]) if match else 0, fraction, plan))
    return rows


def _read_grey(path: Path) -> np.ndarray:
    """A ready slice, uint8 [height, width]. Raises VolumeError for one too large or cut off."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > _PIXELS:
                raise VolumeError(f"{path}: expected at most {_PIXELS} pixels, got {image.width}×{image.height}")
            return np.asarray(image.convert("RGB").convert("L") if image.mode != "L" else image)
    except VolumeError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise VolumeError(f"{path}: expected a picture that decodes, got {type(error).__name__}: {error}") from error


def subjects_of(root: Path) -> dict[str, list[Path]]:
    """Subject → its header, or its ready slices. Raises SettingError for a folder with neither, or the same twice."""
    if not root.is_dir():
        raise SettingError(f"--root: expected a folder of LUNA16 volumes or slices, got {root}")
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.mhd")):
        if path.stem in found:
            raise SettingError(f"{path}: expected each series once, got it twice: also {found[path.stem][0]}")
        found[path.stem] = [path]
    if not found:
        for path in sorted(root.rglob("*.png"), key=_slice_order):
            if match := _READY.fullmatch(path.name):
                found.setdefault(match["subject"], []).append(path)
    if not found:
        raise SettingError(
            f"--root: expected <seriesuid>.mhd volumes or <seriesuid>.mhd_<slice>.png slices, found none in {root}"
        )
    return found


def _slice_order(path: Path) -> tuple[str, int]:
    match = _READY.fullmatch(path.name)
    return (match["subject"], int(match["slice"])) if match else (path.name, 0)


def _optional(option: str, value: str, default: Path) -> Path | None:
    """The file an option names, or its default beside the volumes if that exists."""
    if not value:
        return default if default.exists() else None
    if not Path(value).exists():
        raise SettingError(f"--{option}: expected a file or folder, got {value}")
    return Path(value)


def write_table(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    """A CSV, all or nothing."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


@app.command()
@guarded
def main(
    out: Annotated[Path, typer.Option(help="folder for the results")],
    root: Annotated[str, typer.Option(help="folder of LUNA16 volumes, or of ready slices")] = "",
    annotations: Annotated[str, typer.Option(help="annotations.csv; default: the one in --root, if there is one")] = "",
    malignancy: Annotated[str, typer.Option(help="ratings: CSV, or LIDC XML; default: malignancy.csv in --root")] = "",
    subjects: Annotated[int, typer.Option(min=0, help="random subjects; 0 for all")] = 500,
    slices_per_subject: Annotated[int, typer.Option(min=1)] = 2,
    level: Annotated[float, typer.Option(help="centre of the window, HU")] = -600.0,
    width: Annotated[float, typer.Option(min=1, help="width of the window, HU")] = 1500.0,
    size: Annotated[int, typer.Option(min=0, help="longer side of a slice, pixels; 0: as it is")] = 256,
    min_lung: Annotated[float, typer.Option(help="share of a slice that must be lung, else it is flagged")] = 0.02,
    patch_mm: Annotated[float, typer.Option(min=1, help="side of a nodule patch on the patient, mm")] = 45.0,
    patch_size: Annotated[int, typer.Option(min=8, help="side of a nodule patch, pixels")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    enabled: Enabled = True,
) -> None:
    """Choose subjects and slices, window them, cut nodule patches."""
    plan = Plan(slices_per_subject, level, width, size, min_lung, seed, patch_mm, patch_size)
    for folder in ("images", "nodules"):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for old in (out / folder).glob("*.png"):
            old.unlink()
    slices: list[Row] = []
    nodules: list[Row] = []
    failed: list[Failure] = []
    if enabled:
        source = Path(root or "(none given)")
        found = subjects_of(source)
        marks = _optional("annotations", annotations, source / "annotations.csv")
        rates = _optional("malignancy", malignancy, source / "malignancy.csv")
        marked = read_annotations(marks) if marks else {}
        ratings: Ratings = {}
        for rating in read_ratings(rates) if rates else ():
            ratings.setdefault(rating.seriesuid, []).append(rating)
        for new_slices, new_nodules, new_failed in run(found, marked, ratings, subjects, plan, out):
            slices += new_slices
            nodules += new_nodules
            failed += new_failed
    else:
        log.info("luna: switched off in params.yaml; empty results written to %s", out)
    write_table(
        out / "slices.csv", SLICE_COLUMNS, sorted(slices, key=lambda r: (str(r["subject_id"]), int(str(r["slice"]))))
    )
    write_table(out / "nodules.csv", NODULE_COLUMNS, sorted(nodules, key=lambda r: str(r["nodule_id"])))
    failed.sort(key=lambda failure: failure.item)
    write_jsonl(out / "failed.jsonl", failed)
    little = sum(row["flags"] == LITTLE_LUNG for row in slices)
    log.info("%d slices (%d with little lung), %d nodules, %d failed", len(slices), little, len(nodules), len(failed))
    if enabled and not slices:
        raise HarvestError(f"all {len(failed)} subjects failed; the reasons are in {out / 'failed.jsonl'}")


def run(
    found: dict[str, list[Path]], marked: Annotations, ratings: Ratings, wanted: int, plan: Plan, out: Path
) -> Iterator[tuple[list[Row], list[Row], list[Failure]]]:
    """Subject by subject in a random order fixed by the seed; one that fails is replaced by the next."""
    names = sorted(found)
    order = [names[i] for i in np.random.default_rng(plan.seed).permutation(len(names))]
    total = min(wanted or len(names), len(names))
    done = 0
    with progress("subjects", total) as advance:
        for subject in order:
            if done == total:
                return
            paths = found[subject]
            try:
                if paths[0].suffix == ".mhd":
                    new = volume_rows(
                        read_header(paths[0]), marked.get(subject, []), ratings.get(subject, []), plan, out
                    )
                else:
                    new = ready_rows(paths, subject, plan, out), [], []
            except VolumeError as error:
                for path in (out / "images").glob(f"{glob.escape(subject)}.mhd_*.png"):
                    path.unlink()
                yield [], [], [Failure(item=subject, reason=str(error).replace(f"{paths[0].parent}/", ""))]
                continue
            done += 1
            advance(1, "")
            yield new


if __name__ == "__main__":
    app()
