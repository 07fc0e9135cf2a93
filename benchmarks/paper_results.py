"""What the runs of `benchmarks.paper_tables` gave: one small archive that travels, and a table beside the paper's."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import covidct
from benchmarks.paper_plan import plan
from benchmarks.paper_runs import dataset_of
from covidct import pairs
from models import experiments

ARCHIVE = "results.zip"
SMALL = (".json", ".csv", ".md", ".log")
BASE = "resnet18-imagenet-partial"
"""what the other runs of ResNet-18 are compared with"""


def bundle(work: Path, out: Path) -> None:
    """Everything small of ``work`` as one archive, all or nothing."""
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".{ARCHIVE}.part"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(work.rglob("*")):
            if path.is_file() and path.suffix in SMALL and "states" not in path.parts:
                archive.write(path, path.relative_to(work))
    part.replace(out / ARCHIVE)


def unbundle(archive: Path, work: Path) -> None:
    """Put the files of an archive that are not there yet into ``work``."""
    with zipfile.ZipFile(archive) as found:
        for info in found.infolist():
            target = (work / info.filename).resolve()
            if target.is_relative_to(work.resolve()) and not target.exists() and info.file_size < 16 * 1024**2:
                found.extract(info, work)


def _runs(work: Path) -> dict[str, list[tuple[dict[str, Any], pd.DataFrame]]]:
    groups: dict[str, list[tuple[dict[str, Any], pd.DataFrame]]] = {}
    for folder in sorted((work / "runs").glob("*-[0-9]*")):
        if (folder / "predictions.csv").is_file():
            card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
            table = pd.read_csv(folder / "predictions.csv", dtype={"image_id": str})
            groups.setdefault(card["job"]["name"], []).append((card, table))
    return groups


def _test_scores(test: covidct.Subset, runs: list[tuple[dict[str, Any], pd.DataFrame]]) -> list[np.ndarray]:
    names = test.records["image_id"]
    return [
        table.loc[table["split"] == "test"].set_index("image_id").loc[names, "score"].to_numpy() for _, table in runs
    ]


def _differences(pack: Path, groups: dict[str, list[tuple[dict[str, Any], pd.DataFrame]]]) -> list[str]:
    """ResNet-18's runs against plain transfer, patients drawn anew together: mean over seeds, and averaged scores."""
    if BASE not in groups:
        return []
    test = dataset_of(pack, "published").test
    base = np.stack(_test_scores(test, groups[BASE]))
    lines = [
        "",
        f"| AUC less that of {BASE} | difference of the means over seeds | 95 %, patients and seeds | p "
        "| difference of the mean scores (95 %, patients) |",
        "|---|---|---|---|---|",
    ]
    for name, runs in groups.items():
        if name != BASE and name.startswith("resnet18") and runs[0][0]["job"]["scheme"] == "published":
            scores = np.stack(_test_scores(test, runs))
            found = pairs.compare(test.labels, scores, base, test.patients)["bootstrap"]["auc"]
            whole = pairs.compare(test.labels, scores.mean(0), base.mean(0), test.patients)["bootstrap"]["auc"]
            (low, high), (least, most) = found["interval"], whole["interval"]
            lines.append(
                f"| {name} | {found['difference']:+.3f} | {low:+.3f} to {high:+.3f} | {found['p']:.3f} "
                f"| {whole['difference']:+.3f} ({least:+.3f} to {most:+.3f}) |"
            )
    return lines


def markdown(pack: Path, work: Path) -> str:
    """One line per run name: each seed's AUC, their mean with its interval, and the AUC of the averaged scores.

    The mean's interval is of the mean (covidct.pairs.over_seeds); averaged scores are another model, an ensemble, with
    an interval of its own.
    """
    paper = {row.run.name: row for row in experiments.rows()}
    lines = [
        "| run | seeds | AUC per seed | mean AUC (95 %, patients and seeds) | AUC of the mean score (95 %, patients) "
        "| paper | accuracy "
        "| at val's threshold | paper | F1 COVID | F1 non-COVID | paper | minutes a run |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(dict.fromkeys(job.name for task in plan([0]) for job in task))
    groups = _runs(work)
    for name in sorted(groups, key=lambda key: order.index(key) if key in order else len(order)):
        runs = groups[name]
        test = dataset_of(pack, runs[0][0]["job"]["scheme"]).test
        scores = _test_scores(test, runs)
        single = [test.evaluate(score, replicates=0) for score in scores]
        cuts = [float(card["metrics"]["threshold"]) for card, _ in runs]
        chosen = np.mean([((score >= cut) == test.labels).mean() for score, cut in zip(scores, cuts, strict=True)])
        whole = test.evaluate(np.mean(scores, axis=0), replicates=2000, seed=0)
        low, high = whole.intervals["auc"]
        least, most = pairs.over_seeds(test.labels, np.stack(scores), test.patients)["auc"]["interval"]
        row = paper.get(name)
        own = [f"{row.auc:.2f}", f"{row.accuracy:.2f}", f"{row.f1:.2f}"] if row else ["–"] * 3
        mean = {key: np.mean([found[key] for found in single]) for key in ("auc", "accuracy", "f1", "f1_noncovid")}
        minutes = np.mean([card["training"]["hours"] * 60 for card, _ in runs])
        lines.append(
            f"| {name} | {len(runs)} | {', '.join(f'{found.auc:.3f}' for found in single)} "
            f"| {mean['auc']:.3f} ({least:.3f}–{most:.3f}) | {whole.auc:.3f} ({low:.3f}–{high:.3f}) | {own[0]} "
            f"| {mean['accuracy']:.3f} | {chosen:.3f} | {own[1]} "
            f"| {mean['f1']:.3f} | {mean['f1_noncovid']:.3f} | {own[2]} | {minutes:.1f} |"
        )
    lines += ["", "Of one seed the interval is over patients alone."]
    if any(runs[0][0]["job"]["chain"] for runs in groups.values()):
        lines[-1] += " Seeds of a pretrained run share its encoder, whose own spread is in no interval."
    lines += _differences(pack, groups)
    if (work / "speed.json").is_file():
        found = json.loads((work / "speed.json").read_text(encoding="utf-8"))
        lines += ["", f"Alone on {found['device']}, images of training per second:", ""]
        lines += ["| network | graph | images/s | of the card's 16-bit peak |", "|---|---|---|---|"]
        for row_ in found["rows"]:
            share = f"{row_['of_peak']:.1%}" if row_["of_peak"] else "–"
            graph = "yes" if row_["graph"] else "no"
            lines.append(f"| {row_['backbone']} | {graph} | {row_['images_per_second']:.0f} | {share} |")
    return "\n".join(lines) + "\n"
