"""How well covidct.duplicates tells copies from look-alikes, and what candidates cost as pictures grow.

    python -m benchmarks.duplicates detect --pictures DIR [--pictures DIR2]   recall and precision per change
    python -m benchmarks.duplicates neighbours [--volumes DIR]      neighbouring slices kept apart
    python -m benchmarks.duplicates calibrate --pictures DIR --negatives DIR   the weights of covidct.matching.verify
    python -m benchmarks.duplicates scale [--sizes 1000 10000 100000 1000000]  candidates: seconds and memory

Pictures are any folder of slices (one subject per file counts as different pictures). Without --volumes the neighbours
are slices of the drawn volumes of harvest.sample. Synthetic vectors stand for pictures in `scale`.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.transformations import TRANSFORMATIONS
from covidct.duplicates import find
from covidct.matching.candidates import nearest_table
from covidct.matching.features import describe
from covidct.matching.verify import verify

Picture = np.ndarray


def wilson(hits: int, total: int) -> str:
    """Share with its 95 % interval (Wilson 1927)."""
    if not total:
        return "n/a"
    z, p = 1.96, hits / total
    middle, half = p + z * z / (2 * total), z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    low, high = (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)
    return f"{p:.4f} ({low:.4f} to {high:.4f}; {hits}/{total})"


def pictures(folders: list[Path], count: int, seed: int) -> list[tuple[str, Picture]]:
    """``count`` pictures from each folder, at random, with their names."""
    rng = np.random.default_rng(seed)
    found = []
    for folder in folders:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg"))
        for index in sorted(rng.choice(len(files), min(count, len(files)), replace=False)):
            image = cv2.imread(str(files[index]), cv2.IMREAD_GRAYSCALE)
            if image is not None:
                found.append((files[index].name, image))
    return found


def detect(options: argparse.Namespace) -> dict[str, object]:
    """All originals and one copy of each in one search, change by change: what is found, what is found wrongly."""
    known = pictures(options.pictures, options.count, options.seed)
    images = [image for _, image in known]
    already = {(p.i, p.j) for p in find(images)}
    print(f"{len(images)} pictures, {len(already)} pairs among the originals themselves (left out of the precision)")
    rows: dict[str, object] = {}
    for name, change in TRANSFORMATIONS.items():
        rng = np.random.default_rng([options.seed, len(name)])
        copies = [change(image, rng) for image in images]
        n = len(images)
        pairs = {(p.i, p.j) for p in find([*images, *copies])}
        # two copies of pictures that already are one picture are no error
        tied = already | {(i, j + n) for i, j in already} | {(j, i + n) for i, j in already}
        tied |= {(i + n, j + n) for i, j in already}
        true = {(i, i + n) for i in range(n)}
        hits, wrong = len(pairs & true), len(pairs - true - tied)
        rows[name] = {"recall": wilson(hits, n), "precision": wilson(hits, hits + wrong), "false": wrong}
        print(f"{name:11} recall {wilson(hits, n)}  precision {wilson(hits, hits + wrong)}", flush=True)
    return rows


def drawn_volumes(count: int, depth: int) -> list[list[Picture]]:
    """Series of neighbouring drawn slices (2 % of the lung's height apart)."""
    from harvest.sample.phantom import draw_patient, render

    series = []
    for number in range(count):
        patient = draw_patient(number, f"bench-{number}", "normal")
        levels = [render(patient, 0.3 + 0.02 * level, 256) for level in range(depth)]
        series.append([np.clip((hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8) for hu in levels])
    return series


def neighbours(options: argparse.Namespace) -> dict[str, object]:
    """Neighbouring slices of one patient: how many pairs are kept apart, as they are and one of them re-encoded."""
    if options.volumes:
        series = [
            [image for _, image in pictures([folder], 60, options.seed)]
            for folder in sorted(p for p in options.volumes.iterdir() if p.is_dir())
        ]
    else:
        series = drawn_volumes(options.count, 6)
    rng = np.random.default_rng(options.seed)
    apart = total = 0
    for slices in series:
        features = [describe(image) for image in slices]
        changed = [describe(TRANSFORMATIONS["jpeg"](image, rng)) for image in slices]
        for i in range(len(slices) - 1):
            for other in (features[i + 1], changed[i + 1]):
                evidence = verify(features[i], other)
                apart += evidence is None or not evidence.same
                total += 1
    print(f"neighbours apart {wilson(apart, total)}")
    return {"apart": wilson(apart, total)}


def calibrate(options: argparse.Namespace) -> dict[str, object]:
    """Fit the logistic model of covidct.matching.verify on generated copies against pairs of different slices.

    --negatives holds one folder per patient; every pair inside one is a negative. Prints weights, bias and errors.
    """
    from sklearn.linear_model import LogisticRegression

    names = ("detail", "steady", "fraction", "residual")
    rows, truth = [], []
    rng = np.random.default_rng(options.seed)
    for _, image in pictures(options.pictures, options.count, options.seed):
        original = describe(image)
        for change in TRANSFORMATIONS.values():
            evidence = verify(original, describe(change(image, rng)))
            if evidence is not None:
                rows.append([getattr(evidence, name) for name in names])
                truth.append(1)
    for folder in sorted(p for p in options.negatives.iterdir() if p.is_dir()):
        features = [describe(image) for _, image in pictures([folder], 12, options.seed)]
        for i in range(len(features)):
            for j in range(i):
                evidence = verify(features[i], features[j])
                if evidence is not None:
                    rows.append([getattr(evidence, name) for name in names])
                    truth.append(0)
    model = LogisticRegression(C=10, class_weight="balanced").fit(rows, truth)
    called = model.predict(rows)
    weights = dict(zip(names, model.coef_[0].round(2).tolist(), strict=True))
    told = np.array(truth)
    print(f"weights {weights} bias {model.intercept_[0]:.2f}")
    print(f"copies {wilson(int(called[told == 1].sum()), int(told.sum()))}")
    print(f"others kept apart {wilson(int((called[told == 0] == 0).sum()), int((told == 0).sum()))}")
    return {"weights": weights, "bias": float(model.intercept_[0])}


def scale(options: argparse.Namespace) -> dict[str, object]:
    """Candidates among synthetic pooled vectors, one in twenty with a noisy copy: seconds, memory, copies proposed."""
    rows: dict[str, object] = {}
    for size in options.sizes:
        rng = np.random.default_rng(options.seed)
        vectors = rng.standard_normal((size, options.dimensions), dtype=np.float32)
        copies = size // 20
        vectors[1 : 2 * copies : 2] = vectors[: 2 * copies : 2] + 0.5 * rng.standard_normal(
            (copies, options.dimensions), dtype=np.float32
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        begin, processor = time.perf_counter(), time.process_time()
        table = nearest_table(vectors, None, options.neighbours)
        seconds, processor = time.perf_counter() - begin, time.process_time() - processor
        proposed = set(zip(table["i"].tolist(), table["j"].tolist(), strict=True)) if size <= 200_000 else None
        if proposed is None:  # a set of millions of tuples would be the memory that is measured
            code = table["i"].astype(np.int64) << 32 | table["j"]
            wanted = (np.arange(copies, dtype=np.int64) * 2) << 32 | (np.arange(copies, dtype=np.int64) * 2 + 1)
            found = int(np.isin(wanted, code).sum())
        else:
            found = sum((2 * k, 2 * k + 1) in proposed for k in range(copies))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        rows[str(size)] = {
            "seconds": round(seconds, 1),
            "cpu": round(processor, 1),
            "peak_gb": round(peak, 2),
            "copies": wilson(found, copies),
        }
        print(
            f"{size:>9,} pictures: {seconds:8.1f} s ({processor:.1f} s of processor), "
            f"peak {peak:.2f} GB, copies proposed {wilson(found, copies)}",
            flush=True,
        )
    return rows


def main() -> None:
    """Parse the command line and run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "neighbours", "calibrate", "scale"))
    parser.add_argument("--pictures", type=Path, action="append", default=[], help="folder of slices")
    parser.add_argument("--negatives", type=Path, help="folder with one folder of slices per patient")
    parser.add_argument("--volumes", type=Path, help="folder with one folder of neighbouring slices per patient")
    parser.add_argument("--count", type=int, default=150, help="pictures from each folder, or drawn volumes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--neighbours", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    measure = {"detect": detect, "neighbours": neighbours, "calibrate": calibrate, "scale": scale}[options.what]
    result = measure(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
