"""Artifacts: recall and precision of marked pixels, false mask on clean slices, error left after repair.

    python benchmarks/curation_artifacts.py --slices SLICES [--count 200] [--seed 0]
    python benchmarks/curation_artifacts.py --slices SLICES --release RELEASE --save DIR

Slices are those of the subjects that `curation.artifacts_fit` keeps out. "plain": letters and arrows drawn with OpenCV
as a reader would; "varied": everything `curation.artifacts_drawn` draws; "printed": the same on slices as papers print
them. ``--release``: how many pictures of a folder are flagged, and contact sheets of the flagged and of 50 others.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from curation.artifacts import find, lung, repair
from curation.artifacts_drawn import mark
from curation.artifacts_fit import subject_of
from curation.artifacts_printed import printed
from curation.raster import grey, read

SUFFIXES = {".png", ".jpg", ".jpeg"}


def plain(clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slice (H x W) with one to four letters and arrows, and the pixels that changed."""
    colours = [(255, 255, 255), (255, 255, 255), (0, 0, 0), (255, 0, 0), (255, 255, 0), (0, 255, 0)]
    colour = colours[int(rng.integers(len(colours)))]
    shown = np.repeat(clean[..., None], 3, 2)
    high, wide = clean.shape
    for _ in range(int(rng.integers(1, 5))):
        x, y = int(rng.uniform(0.05, 0.85) * wide), int(rng.uniform(0.12, 0.95) * high)
        thick = int(rng.integers(1, 3))
        if rng.random() < 0.5:
            text = str(rng.choice([*"ABCDEFab12", "RUL", "day 3"]))
            size = wide / 512 * float(rng.uniform(0.8, 1.8))
            cv2.putText(shown, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)
        else:
            tip = (x + int(rng.integers(-40, 41)), y + int(rng.integers(-40, 41)))
            cv2.arrowedLine(shown, (x, y), tip, colour, thick, cv2.LINE_AA, 0, 0.3)
    changed = (shown != clean[..., None]).any(2)
    return (shown[..., 0] if len(set(colour)) == 1 else shown), changed


def measure(name: str, pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Print the figures of ``(marked, clean, changed)`` triples."""
    hit = found = truth = 0
    left = drawn = 0.0
    for marked, clean, changed in pairs:
        mask = find(marked)
        hit, found, truth = hit + int((mask & changed).sum()), found + int(mask.sum()), truth + int(changed.sum())
        before, after = grey(marked).astype(float), grey(repair(marked, mask)).astype(float)
        base = grey(clean).astype(float)
        left, drawn = left + float(np.abs(after - base).sum()), drawn + float(np.abs(before - base).sum())
    rates = f"recall {hit / max(truth, 1):.3f}  precision {hit / max(found, 1):.3f}"
    print(f"{name:10s} n {len(pairs)}  {rates}  error left after repair {left / max(drawn, 1):.3f}")


def clean_slices(name: str, slices: list[np.ndarray]) -> None:
    shares = np.array([find(image).mean() for image in slices])
    some = np.mean(shares > 0)
    print(f"{name:10s} n {len(slices)}  false mask {shares.mean():.3%} of pixels, slices with any {some:.3f}")


def release(folder: Path, save: Path | None) -> None:
    """Count flagged pictures and write contact sheets with the mask in red."""
    flagged: list[tuple[Path, np.ndarray, np.ndarray]] = []
    others: list[tuple[Path, np.ndarray, np.ndarray]] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        image = read(path)
        mask = find(image)
        (flagged if mask.any() else others).append((path, image, mask))
    total = len(flagged) + len(others)
    inside = [m[lung(i)].mean() if lung(i).any() else 0.0 for _, i, m in flagged]
    print(f"release    n {total}  flagged {len(flagged)}; lung masked beyond 1 %: {sum(v > 0.01 for v in inside)}")
    for path, _, mask in flagged:
        print(f"  {mask.mean():.4%} {path.parent.name}/{path.name}")
    if save:
        save.mkdir(parents=True, exist_ok=True)
        chosen = np.random.default_rng(0).permutation(len(others))[:50]
        sheets(flagged, save, "flagged")
        sheets([others[i] for i in sorted(chosen)], save, "others")


def sheets(items: list[tuple[Path, np.ndarray, np.ndarray]], save: Path, name: str, side: int = 230) -> None:
    """Contact sheets of 40 pictures."""
    for page in range(0, len(items), 40):
        canvas = np.full((5 * (side + 4), 8 * (side + 4), 3), 70, np.uint8)
        for n, (_, image, mask) in enumerate(items[page : page + 40]):
            shown = np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
            shown = shown.copy()
            shown[mask] = (255, 0, 0)
            factor = side / max(shown.shape[:2])
            shown = cv2.resize(shown, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)[:side, :side]
            y, x = (n // 8) * (side + 4), (n % 8) * (side + 4)
            canvas[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
        cv2.imwrite(str(save / f"{name}-{page // 40}.png"), canvas[..., ::-1])


def main(
    slices: Annotated[Path, typer.Option(help="folder of clean slices (LUNA16)")],
    count: Annotated[int, typer.Option(help="slices, at most")] = 200,
    seed: int = 0,
    release_folder: Annotated[Path | None, typer.Option("--release", help="folder of published pictures")] = None,
    save: Annotated[Path | None, typer.Option(help="folder for contact sheets")] = None,
) -> None:
    """Print what `curation.artifacts` reaches."""
    rng = np.random.default_rng(seed)
    paths = [p for p in sorted(slices.rglob("*.png")) if not zlib.crc32(subject_of(p).encode()) % 5][:count]
    base = [grey(read(p)) for p in paths]
    measure("plain", [(marked, image, seen) for image in base for marked, seen in [plain(image, rng)]])
    varied = [mark(image, rng) for image in base]
    measure("varied", [(m.image, m.clean, m.change > 0) for m in varied])
    seen = [printed(image, rng) for image in base]
    drawn = [mark(image, rng) for image in seen]
    measure("printed", [(m.image, m.clean, m.change > 0) for m in drawn])
    clean_slices("clean", base)
    clean_slices("clean printed", seen)
    if release_folder:
        release(release_folder, save)


if __name__ == "__main__":
    typer.run(main)
