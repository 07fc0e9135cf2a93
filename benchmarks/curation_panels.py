"""Panels: F1 at IoU 0.75 on composites drawn from single CTs, and on real compound figures.

    python benchmarks/curation_panels.py --data DATA [--count 200] [--seed 0]

``--data`` holds ``covid-ct/``, ``luna/`` and ``panels/panels.json`` as the development data does.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from curation.panels import find_panels
from curation.raster import read

Box = tuple[int, int, int, int]
IOU = 0.75


def iou(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def hits(found: list[Box], truth: list[Box], least: float = IOU) -> int:
    """Boxes matched one to one, best overlap first."""
    pairs = sorted(((iou(f, t), i, j) for i, f in enumerate(found) for j, t in enumerate(truth)), reverse=True)
    used_f: set[int] = set()
    used_t: set[int] = set()
    for value, i, j in pairs:
        if value >= least and i not in used_f and j not in used_t:
            used_f.add(i)
            used_t.add(j)
    return len(used_f)


def letter(tile: np.ndarray, text: str, rng: np.random.Generator) -> None:
    """Print a panel letter into a corner, sometimes on a small plate."""
    size = max(0.4, min(tile.shape[:2]) / 300 * float(rng.uniform(0.6, 1.4)))
    thick = max(1, round(size * 2))
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    pad = int(rng.integers(2, 9))
    x = pad if rng.random() < 0.8 else tile.shape[1] - wide - pad
    y = high + pad if rng.random() < 0.8 else tile.shape[0] - pad
    dark = rng.random() < 0.25
    if rng.random() < 0.2:
        plate = (0, 0, 0) if not dark else (255, 255, 255)
        cv2.rectangle(tile, (x - 3, y - high - 3), (x + wide + 3, y + 4), plate, -1)
    cv2.putText(
        tile, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0) if dark else (255, 255, 255), thick, cv2.LINE_AA
    )


def composite(files: list[Path], rng: np.random.Generator, gutter: int, page: int) -> tuple[np.ndarray, list[Box], str]:
    """A figure of 2 to 12 panels with its boxes; the kind says how panels are laid out."""
    count = int(rng.integers(2, 13))
    kind = str(rng.choice(["grid", "grid", "ragged", "native", "outside letters"]))
    width = int(rng.integers(140, 340))
    height = int(width * rng.uniform(0.65, 1.05))
    columns = int(rng.integers(1, min(count, 5) + 1))
    rows = [list(range(i, min(i + columns, count))) for i in range(0, count, columns)]
    head = int(rng.integers(18, 30)) if kind == "outside letters" else 0
    margin = int(rng.choice([0, 0, gutter]))
    cells: list[tuple[int, int, int, int, int]] = []
    y = margin
    span = columns * width + (columns - 1) * gutter
    for row in rows:
        if kind == "ragged":  # each row fills the width with its own number of panels
            wide = (span - (len(row) - 1) * gutter) // len(row)
            high = int(np.clip(wide * height / width, height * 0.6, height * 1.6))
            sizes = [(wide, high)] * len(row)
        elif kind == "native":  # one height in a row, widths as the pictures have them
            sizes = []
            for n in row:
                h, w = np.asarray(cv2.imread(str(files[n % len(files)]))).shape[:2]
                sizes.append((int(np.clip(height * w / h, 0.6 * height, 2 * height)), height))
        else:
            sizes = [(width, height)] * len(row)
        x = margin
        for n, (w, h) in zip(row, sizes, strict=True):
            cells.append((x, y + head, w, h, n))
            x += w + gutter
        y += max(h for _, h in sizes) + head + gutter
    total_w = max(x + w for x, _, w, _, _ in cells) + margin
    total_h = max(y + h for _, y, _, h, _ in cells) + margin
    canvas = np.full((total_h, total_w, 3), page, np.uint8)
    boxes = []
    lettered = rng.random() < 0.8
    for x, y, w, h, n in cells:
        tile = cv2.resize(np.asarray(cv2.imread(str(files[n % len(files)]))), (w, h), interpolation=cv2.INTER_AREA)
        if lettered and kind != "outside letters":
            letter(tile, chr(65 + n), rng)
        canvas[y : y + h, x : x + w] = tile
        if kind == "outside letters":
            ink = (0, 0, 0) if page else (255, 255, 255)
            cv2.putText(canvas, chr(65 + n), (x + 4, y - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.55, ink, 1, cv2.LINE_AA)
        boxes.append((x, y, x + w, y + h))
    if rng.random() < 0.5:
        quality = int(rng.integers(75, 96))
        canvas = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        )
    return (canvas[..., 0] if rng.random() < 0.5 else canvas[..., ::-1].copy()), boxes, kind


def score(counts: list[tuple[int, int, int]]) -> str:
    hit, found, truth = (sum(c[i] for c in counts) for i in range(3))
    right = sum(h == f == t for h, f, t in counts)
    shown = f"{right}/{len(counts)} figures exact"
    rates = f"precision {hit / max(found, 1):.3f}  recall {hit / max(truth, 1):.3f}"
    return f"F1 {2 * hit / max(found + truth, 1):.3f}  {rates}  {shown}"


def main(
    data: Annotated[Path, typer.Option(help="folder with covid-ct, luna and panels")],
    count: Annotated[int, typer.Option(help="composites of each kind")] = 200,
    seed: int = 0,
    save: Annotated[Path | None, typer.Option(help="folder for pictures of what went wrong")] = None,
) -> None:
    """Print F1 on composites (by gutter, background, layout), on single pictures, and on the real figures."""
    rng = np.random.default_rng(seed)
    pools = {
        "covid-ct": sorted((data / "covid-ct").glob("CT_*/*")),
        "luna": sorted((data / "luna").rglob("*.png")),
    }
    if save:
        save.mkdir(parents=True, exist_ok=True)
    result: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for name, gutters in (("gutter 2-20", (2, 21)), ("no gutter", (0, 1))):
        for page in (255, 0):
            for number in range(count if name != "no gutter" else count // 2):
                pool = pools[str(rng.choice(list(pools)))] if rng.random() < 0.8 else pools["luna"] + pools["covid-ct"]
                files = [pool[i] for i in rng.choice(len(pool), 12, replace=False)]
                image, truth, kind = composite(files, rng, int(rng.integers(*gutters)), page)
                found = find_panels(image)
                counts = (hits(found, truth), len(found), len(truth))
                ground = "white" if page else "black"
                for key in (name, f"{name}, {ground}", f"{name}, {ground}, {kind}"):
                    result[key].append(counts)
                if (save and counts[0] != counts[1]) or counts[0] != counts[2]:
                    picture(save, f"{name[:2]}-{ground}-{kind.split()[0]}-{number}", image, found, truth)
    for name, pool in pools.items():
        for i in rng.choice(len(pool), min(count, len(pool)), replace=False):
            image = read(pool[i])
            found = find_panels(image)
            result[f"single {name}"].append((hits(found, [(0, 0, image.shape[1], image.shape[0])]), len(found), 1))
            if len(found) > 1:
                picture(save, f"single-{name}-{i}", image, found, [])
    for item in json.loads((data / "panels" / "panels.json").read_text()):
        image = read(data / "panels" / item["image"])
        truth = [tuple(b) for b in item["panels"]]
        found = find_panels(image)
        result["real figures"].append((hits(found, truth), len(found), len(truth)))  # type: ignore[arg-type]
        if result["real figures"][-1][0] != len(truth) or len(found) != len(truth):
            picture(save, f"real-{item['image']}", image, found, truth)  # type: ignore[arg-type]
    for key, counts_of in result.items():
        print(f"{key:34s} {score(counts_of)}")


def picture(save: Path | None, name: str, image: np.ndarray, found: list[Box], truth: list[Box]) -> None:
    """Found boxes red, truth green."""
    if save is None:
        return
    shown = np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))[..., ::-1].copy()
    for x0, y0, x1, y1 in truth:
        cv2.rectangle(shown, (x0, y0), (x1 - 1, y1 - 1), (0, 200, 0), 4)
    for x0, y0, x1, y1 in found:
        cv2.rectangle(shown, (x0, y0), (x1 - 1, y1 - 1), (0, 0, 255), 2)
    cv2.imwrite(str(save / f"{name}.png"), shown)


if __name__ == "__main__":
    typer.run(main)
