"""Does the sample pipeline, end to end, give a CRNet that beats chance honestly? Mean AUC over corpora of other seeds.

    python benchmarks/sample.py --seeds 1,2,3,4,5,6,7,8,9,10 --minutes 9     # repeat until "finished"
    python benchmarks/sample.py --table-only

For each seed a copy of the checkout draws its own corpus, harvests it over loopback HTTP, curates it without people,
builds the dataset, trains the networks with the sample profile and evaluates them on patients they never saw. Beside
them: what a border-only and a metadata-only baseline reach on the very same dataset (cross-validation with patients and
figures apart, the better of two models), which must not be much.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
import yaml

import covidct
from covidct.files import write_json
from harvest.sample.signal import Shown, baselines

ROOT = Path(__file__).resolve().parents[1]


def checkout(folder: Path, seed: int) -> None:
    """The tracked files as they are now, with the corpus seed written into params.yaml, and DVC without git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    params = yaml.safe_load((folder / "profiles" / "sample.yaml").read_text(encoding="utf-8"))
    params["sample"]["seed"] = seed
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")


def pipeline(folder: Path, runs: list[str]) -> None:
    """`dvc repro` of the evaluations, with this interpreter's environment."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(folder),  # this copy's code, wherever the packages are installed from
        "DVC_NO_ANALYTICS": "1",
    }
    command = [str(Path(sys.executable).with_name("dvc")), "repro", "-q", *(f"evaluate@{run}" for run in runs)]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def figure_of(row: Any) -> str:
    """What the image was cut from: panels of one figure share size and encoding."""
    return f"{row.source} {row.doi} {row.page} {row.xref}" if row.doi else f"{row.source} {row.image_id}"


def measure(folder: Path, runs: list[str]) -> dict[str, float]:
    """Test AUC of each run, and the baselines on all images of the dataset."""
    found: dict[str, float] = {}
    for run in runs:
        summary = json.loads((folder / "data" / "evaluate" / run / "metrics.json").read_text(encoding="utf-8"))
        found[run] = summary["test"]["at_half"]["auc"]
    dataset = covidct.load(folder / "data" / "dataset")
    shown = [
        Shown(np.asarray(picture.convert("L")), label, row.patient_id, row.source, False, 1, "", figure_of(row))
        for (picture, label), row in zip(dataset, dataset.records.itertuples(), strict=True)
    ]
    return {**found, **baselines(shown), "images": float(len(dataset)), "test": float(len(dataset.test))}


def markdown(work: Path) -> str:
    """A line per seed and the means."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("seed-*.json"))]
    if not rows:
        return "nothing finished yet\n"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in sorted(rows, key=lambda row: row["seed"]):
        lines.append(
            "| " + " | ".join(f"{row[name]:.3f}" if row[name] < 2 else f"{row[name]:.0f}" for name in names) + " |"
        )
    means = [f"{np.mean([row[name] for row in rows]):.3f}" for name in names[1:]]
    lines.append(f"| **mean of {len(rows)}** | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def main(
    seeds: str = typer.Option("1,2,3,4,5,6,7,8,9,10", help="of the corpus"),
    runs: str = typer.Option("crnet-random-0,resnet18-random-0", help="stage keys of params.yaml"),
    work: Path = typer.Option(Path("cache/sample"), help="folder of the results"),
    minutes: float = typer.Option(9.0, help="no seed is started after so many minutes less the longest so far"),
    table_only: bool = typer.Option(False),
) -> None:
    """Measure the seeds that are not measured yet."""
    begin, longest, finished = time.monotonic(), 0.0, True
    for seed in [] if table_only else [int(value) for value in seeds.split(",")]:
        target = work / f"seed-{seed:03d}.json"
        if target.is_file():
            continue
        started = time.monotonic()
        if started - begin + longest > 60 * minutes:
            finished = False
            break
        with tempfile.TemporaryDirectory() as name:
            checkout(Path(name), seed)
            pipeline(Path(name), runs.split(","))
            seconds = time.monotonic() - started
            write_json(target, {"seed": seed, **measure(Path(name), runs.split(",")), "seconds": round(seconds)})
        longest = max(longest, time.monotonic() - started)
    print(markdown(work))
    print("finished" if finished else "unfinished: call again to continue")
    if not finished:
        raise typer.Exit(3)


if __name__ == "__main__":
    typer.run(main)
