"""Relearn the numbers of `curation.modality` and measure them: ``python -m curation.modality_fit --help``.

Reads: folders of single chest CTs, of pictures that are something else, and drawn negatives
(`curation.modality_drawn`).
Writes: ``modality.npz`` (under 1 MB, numbers only) and prints AUC by source-disjoint validation.
Guarantees: the same pictures and seed give the same numbers; pictures of one source never are in both parts of a fold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import joblib
import numpy as np
import typer

from covidct.pictures import PictureError
from curation.artifacts import lung
from curation.modality import Parameters, features, judge, plain
from curation.modality_drawn import DRAWN, heat_map, mask_over
from curation.raster import grey, read

log = logging.getLogger(__name__)

OVERLAY = -1
"""label of chest CTs under colour: refused by their colour, so they are scored but not learned from"""


@dataclass(frozen=True)
class Sample:
    """Features of one picture, its class (1 = one chest CT), its source (never split) and its kind."""

    row: np.ndarray
    label: int
    source: str
    kind: str
    plain: float = 1.0
    """what its colours alone leave of the score"""


def varied(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same slice as another paper would print it: cropped, windowed, compressed, lettered, framed, tinted."""
    high, wide = image.shape[:2]
    cut = (rng.uniform(-0.02, 0.06, 4) * [wide, high, wide, high]).astype(int)
    x0, y0, x1, y1 = max(0, cut[0]), max(0, cut[1]), wide - max(0, cut[2]), high - max(0, cut[3])
    tone = (image[y0:y1, x0:x1] / 255.0) ** rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.25) * 255 + rng.uniform(-15, 15)
    part: np.ndarray = np.clip(tone, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        side = int(rng.integers(60, 200))
        part = cv2.resize(part, (int(side * part.shape[1] / part.shape[0]) + 1, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        pad = (rng.uniform(0, 0.06, 4) * part.shape[0]).astype(int)
        part = np.pad(part, ((pad[0], pad[1]), (pad[2], pad[3])), constant_values=int(rng.choice([0, 255])))
    if rng.random() < 0.3:
        scale = part.shape[0] / 300 * rng.uniform(0.5, 1.2)
        spot = (int(rng.uniform(0, 0.9) * part.shape[1]), int(rng.uniform(0.1, 1) * part.shape[0]))
        text, thick = str(rng.choice(list("ABCDEF12"))), max(1, int(scale * 2))
        cv2.putText(part, text, spot, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thick, cv2.LINE_AA)
    if rng.random() < 0.4:
        content = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1]
        part = np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))
    return part


def composite(images: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A compound figure of 2 to 12 of the pictures: several slices are not one slice."""
    count = int(rng.integers(2, 13))
    columns = int(rng.integers(1, min(4, count) + 1))
    side = int(rng.integers(70, 160))
    size = (side, int(side * rng.uniform(0.65, 1)))
    gap, tone = int(rng.integers(0, 12)), int(rng.choice([0, 255]))
    rows = -(-count // columns)
    page = np.full((rows * (size[1] + gap), columns * (size[0] + gap)), tone, np.uint8)
    for n in range(count):
        y, x = (n // columns) * (size[1] + gap), (n % columns) * (size[0] + gap)
        page[y : y + size[1], x : x + size[0]] = cv2.resize(
            images[int(rng.integers(len(images)))], size, interpolation=cv2.INTER_AREA
        )
    return page


def fragment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half a slice or less: what a wrong cut leaves."""
    high, wide = image.shape[:2]
    kind = int(rng.integers(0, 3))
    if kind == 0:
        half = int(wide * rng.uniform(0.3, 0.55))
        return image[:, :half] if rng.random() < 0.5 else image[:, -half:]
    if kind == 1:
        half = int(high * rng.uniform(0.3, 0.5))
        return image[:half] if rng.random() < 0.5 else image[-half:]
    a, b = int(wide * rng.uniform(0.2, 0.4)), int(high * rng.uniform(0.2, 0.4))
    x, y = int(rng.integers(0, wide - a)), int(rng.integers(0, high - b))
    return image[y : y + b, x : x + a]


def pictures(folder: Path) -> Iterator[tuple[Path, np.ndarray]]:
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".bmp"}):
        try:
            image = read(path)
        except PictureError as error:
            log.warning("%s", error)
            continue
        if min(image.shape[:2]) >= 24:
            yield path, image


def source_of(path: Path) -> str:
    """What must not be split: the document, series or case that the file's name begins with."""
    return path.stem.split("%")[0].split("-p")[0].split("_")[0].split("-page")[0]


def _positive(path: Path, copies: int, seed: int) -> list[Sample]:
    image = read(path)
    luma, source, rng = grey(image), source_of(path), np.random.default_rng([seed, sum(path.name.encode())])
    kind = path.parent.name
    found = [Sample(features(image), 1, source, kind, plain(image))]
    for copy in range(copies):
        seen = varied(luma[:, ::-1] if copy % 2 else luma, rng)
        found.append(Sample(features(seen), 1, source, f"{kind} varied"))
    found.append(Sample(features(fragment(luma, rng)), 0, source, "fragment"))
    tissue = lung(luma)
    if tissue.any():
        found.append(Sample(features(tissue.astype(np.uint8) * 255), 0, source, "mask"))
    if rng.random() < 0.3:
        over = heat_map(luma, rng) if rng.random() < 0.5 or not tissue.any() else mask_over(luma, tissue, rng)
        found.append(Sample(features(over), OVERLAY, source, "overlay", plain(over)))
    return found


def _composites(paths: list[Path], count: int, seed: int, source: str) -> list[Sample]:
    rng = np.random.default_rng([seed, 7])
    images = [grey(read(paths[int(i)])) for i in rng.choice(len(paths), min(60, len(paths)), replace=False)]
    return [Sample(features(composite(images, rng)), 0, source, "composite") for _ in range(count)]


def _drawn(kind: str, number: int, seed: int) -> Sample:
    rng = np.random.default_rng([seed, number, sum(kind.encode())])
    return Sample(features(DRAWN[kind](rng)), 0, f"drawn-{number % 5}", kind)


def _phantoms(count: int, seed: int) -> list[Sample]:
    """The sample corpus' drawn slices: they must count as chest CT, or the sample pipeline would be empty."""
    from harvest.sample.phantom import draw_patient
    from harvest.sample.picture import draw_figure

    kinds = ("covid", "normal", "nodule", "emphysema", "lobar", "effusion", "fibrosis")
    found = []
    for n in range(count):
        patient = draw_patient(seed + 1000, f"fit{n}", kinds[n % len(kinds)])
        pixels = draw_figure(seed + 1000, f"fit{n}", [(patient, 0.3 + 0.5 * (n % 10) / 10)]).pixels
        found.append(Sample(features(pixels), 1, f"phantom{n}", "phantom"))
    return found


def collect(
    positives: list[Path], negatives: list[Path], drawn: int, phantoms: int, copies: int, seed: int, jobs: int
) -> list[Sample]:
    """All samples. ``negatives``: folders whose pictures are all something else than one chest CT."""
    paths = [
        p
        for folder in positives
        for p, image in pictures(folder)
        if lung(grey(image)).mean() > 0.004 or "luna" not in str(folder)
    ]
    run = joblib.Parallel(n_jobs=jobs)
    samples = [s for found in run(joblib.delayed(_positive)(p, copies, seed) for p in paths) for s in found]
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(sum(source_of(path).encode()) % 5, []).append(path)
    for fold, members in groups.items():
        samples += _composites(members, 250, seed + fold, f"composite-{fold}")
    samples += run(joblib.delayed(_drawn)(kind, n, seed) for kind in DRAWN for n in range(drawn))
    for folder in negatives:
        for path, image in pictures(folder):
            samples.append(Sample(features(image), 0, source_of(path), f"real {folder.name}"))
    return samples + _phantoms(phantoms, seed)


def fit(rows: np.ndarray, labels: np.ndarray, components: int, cost: float, seed: int) -> Parameters:
    """Learn from feature rows (N x D) and labels (N)."""
    from sklearn.decomposition import PCA
    from sklearn.svm import SVC

    mean, scale = rows.mean(0), np.maximum(rows.std(0), 0.02)
    standard = np.clip((rows - mean) / scale, -6, 6)
    axes = PCA(components, svd_solver="randomized", random_state=seed).fit(standard).components_.T
    points = standard @ axes
    scales = np.maximum(points.std(0), 1e-3) ** 0.5  # between whitening and not: later components keep a smaller say
    axes = axes / scales
    points = points / scales
    gamma = 1.0 / (components * points.var())
    machine = SVC(C=cost, gamma=gamma, class_weight="balanced").fit(points, labels)
    return Parameters(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        axes=axes.astype(np.float16).astype(np.float32),
        vectors=machine.support_vectors_.astype(np.float16).astype(np.float32),
        weights=machine.dual_coef_[0].astype(np.float32),
        bias=float(machine.intercept_[0]),
        gamma=float(gamma),
        slope=2.5,
        shift=0.0,
    )


def save(path: Path, learned: Parameters) -> int:
    """Write the parameters (16-bit where precision allows); returns bytes."""
    numbers: dict[str, Any] = {
        k: getattr(learned, k).astype(np.float16) for k in ("axes", "vectors", "mean", "scale", "weights")
    }
    numbers |= {k: np.float64(getattr(learned, k)) for k in ("bias", "gamma", "slope", "shift")}
    np.savez_compressed(path, **numbers)
    return path.stat().st_size


def validate(samples: list[Sample], components: int, cost: float, seed: int, folds: int = 5) -> np.ndarray:
    """Scores (N) of all samples from models that never saw their source."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows, labels = np.stack([s.row for s in samples]), np.array([s.label for s in samples])
    sources = np.array([s.source for s in samples])
    scores = np.zeros(len(samples))
    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(rows, labels, sources):
        kept = train[labels[train] != OVERLAY]
        scores[test] = judge(rows[test], fit(rows[kept], labels[kept], components, cost, seed))
    return scores * np.array([s.plain for s in samples])


def report(samples: list[Sample], scores: np.ndarray) -> list[str]:
    """AUC in all, and for each kind of negative against the unvaried single CTs; shares on the right side of 0.5."""
    from sklearn.metrics import roc_auc_score

    labels, kinds = np.array([max(s.label, 0) for s in samples]), np.array([s.kind for s in samples])
    bare = (labels == 1) & ~np.char.endswith(kinds.astype(str), "varied") & (kinds != "phantom")
    lines = [f"AUC all {roc_auc_score(labels, scores):.4f}"]
    for kind in sorted(set(kinds)):
        chosen = kinds == kind
        if labels[chosen][0]:
            lines.append(f"  {kind:24s} n {chosen.sum():5d}  accepted {np.mean(scores[chosen] >= 0.5):.3f}")
        else:
            both = bare | chosen
            value = roc_auc_score(labels[both], scores[both])
            lines.append(
                f"  {kind:24s} n {chosen.sum():5d}  refused  {np.mean(scores[chosen] < 0.5):.3f}  AUC {value:.4f}"
            )
    return lines


def main(
    positives: Annotated[list[Path], typer.Option(help="folder of single chest CTs; repeat")],
    negatives: Annotated[list[Path], typer.Option(help="folder of other pictures; repeat")],
    out: Annotated[Path, typer.Option(help="file to write")] = Path("curation/modality.npz"),
    drawn: Annotated[int, typer.Option(help="drawn negatives of each kind")] = 250,
    phantoms: Annotated[int, typer.Option(help="drawn chest CTs")] = 210,
    copies: Annotated[int, typer.Option(help="variations of each chest CT")] = 1,
    components: int = 72,
    cost: float = 6.0,
    seed: int = 0,
    jobs: int = 2,
    check: Annotated[bool, typer.Option(help="validate by source before the final fit")] = True,
) -> None:
    """Learn what one chest CT looks like."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    samples = collect(positives, negatives, drawn, phantoms, copies, seed, jobs)
    log.info("%d samples, %d chest CT", len(samples), sum(s.label for s in samples))
    if check:
        for line in report(samples, validate(samples, components, cost, seed)):
            log.info("%s", line)
    kept = [s for s in samples if s.label != OVERLAY]
    learned = fit(np.stack([s.row for s in kept]), np.array([s.label for s in kept]), components, cost, seed)
    log.info("%d support vectors, %d bytes -> %s", len(learned.vectors), save(out, learned), out)


if __name__ == "__main__":
    typer.run(main)
