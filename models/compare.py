"""`covidct compare A B`: are two models different on the same test images?

``A`` and ``B`` are runs below ``--evaluate`` (all their seeds, or one as ``resnet18-random-0``), folders with a
predictions.csv, or such files. Paired: the same patients are resampled for both. Nothing is computed by a network here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from covidct import metrics, pairs
from covidct.commands import new_app
from covidct.files import write_json

log = logging.getLogger(__name__)

COLUMNS = ("image_id", "patient_id", "split", "label", "score")
TITLES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1 (COVID)",
    "specificity": "specificity",
    "f1_noncovid": "F1 (non-COVID)",
}


class CompareError(ValueError):
    """Two models that cannot be compared: says what, expected, got and the next step."""


def find(name: str, evaluate: Path) -> list[Path]:
    """The predictions.csv files that a name stands for; raises CompareError that lists the runs there are."""
    here = Path(name)
    for path in (here, here / "predictions.csv", evaluate / name / "predictions.csv"):
        if path.is_file():
            return [path]
    seeds = [path for path in sorted(evaluate.glob(f"{name}-*/predictions.csv")) if _seed(path, name)]
    if seeds:
        return seeds
    there = ", ".join(sorted(path.parent.name for path in evaluate.glob("*/predictions.csv"))) or "none"
    raise CompareError(
        f"{name}: expected a run in {evaluate}, a folder or a predictions.csv, got none; there are: {there}; "
        "run it in the folder of the repository, after `dvc repro evaluate`"
    )


def _seed(path: Path, run: str) -> bool:
    return path.parent.name.removeprefix(f"{run}-").isdigit()


def read(path: Path, split: str = "test") -> pd.DataFrame:
    """Predictions of one split, by image_id. Raises CompareError for a file that is none, or without that split."""
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise CompareError(f"{path}: expected predictions as CSV, got {error}") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise CompareError(f"{path}: expected the columns {', '.join(COLUMNS)}, got none named {', '.join(missing)}")
    table = table[table["split"] == split]
    if table.empty or table["image_id"].duplicated().any():
        raise CompareError(f"{path}: expected each {split} image once, got {len(table)} rows; run `dvc repro evaluate`")
    return table.set_index("image_id").sort_index()


def compare(
    a: Sequence[pd.DataFrame],
    b: Sequence[pd.DataFrame],
    *,
    threshold: float = 0.5,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """covidct.pairs.compare of the seeds' predictions (tables by image_id). CompareError if images differ."""
    first = a[0]
    for table in (*a, *b):
        if list(table.index) != list(first.index) or (table["label"] != first["label"]).any():
            both = len(first.index.intersection(table.index))
            raise CompareError(
                f"expected both models on the same images with the same labels, got {len(first)} and {len(table)} with "
                f"{both} in common: evaluate both on one dataset version"
            )
    score_a, score_b = (np.stack([table["score"].to_numpy(float) for table in tables]) for tables in (a, b))
    return pairs.compare(
        first["label"], score_a, score_b, first["patient_id"], threshold, replicates=replicates, seed=seed
    )


app = new_app()


@app.command()
def main(
    a: str = typer.Argument(..., help="a run (all its seeds), a run with its seed, a folder or a predictions.csv"),
    b: str = typer.Argument(..., help="the other"),
    evaluate: Path = typer.Option(Path("data/evaluate"), help="folder of the evaluations, one folder per run"),
    split: str = typer.Option("test", help="test or val"),
    threshold: float = typer.Option(0.5, help="score from which an image is called COVID, for both"),
    replicates: int = typer.Option(2000, min=1, help="bootstrap resamples of patients"),
    seed: int = typer.Option(0, min=0, help="of the bootstrap"),
    out: Path | None = typer.Option(None, help="also write the figures to this JSON file"),
) -> None:
    """Differences a - b on the same images, with intervals over patients."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        files = [find(name, evaluate) for name in (a, b)]
        tables = [[read(path, split) for path in paths] for paths in files]
        found = compare(tables[0], tables[1], threshold=threshold, replicates=replicates, seed=seed)
    except (CompareError, metrics.MetricError) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    if out is not None:
        write_json(out, metrics.Metrics({"a": a, "b": b, "split": split, **found}).to_json())
    show(a, b, found)


def show(a: str, b: str, found: dict[str, Any]) -> None:
    """A table on the terminal, and what it means in a sentence."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    seeds = " and ".join(f"{count} seed{'s' if count > 1 else ''}" for count in found["seeds"])
    console.print(f"a = {a}, b = {b}: {found['images']} images of {found['groups']} patients, {seeds}")
    table = Table("", "a − b", "95 %, patients", "p (bootstrap)")
    for name, title in TITLES.items():
        row = found["bootstrap"][name]
        low, high = row["interval"]
        if math.isnan(low):
            table.add_row(title, "undefined", "", "")
        else:
            table.add_row(title, f"{row['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{row['p']:.3f}")
    console.print(table)
    console.print(verdict(found))


def verdict(found: dict[str, Any]) -> str:
    """One sentence on the AUC."""
    row, delong = found["bootstrap"]["auc"], found["delong"]
    low, high = row["interval"]
    if math.isnan(low):
        return "AUC undefined: one class only, or a single patient."
    told = "a is better" if low > 0 else "b is better" if high < 0 else "these images cannot tell them apart"
    return f"AUC: {told} (DeLong by patient: p = {delong['p']:.3f}; not corrected for further comparisons)."


if __name__ == "__main__":
    app()
