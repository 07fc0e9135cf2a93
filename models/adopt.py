"""Runs trained elsewhere, on a GPU say, in the form that `models.report` reads.

    python -m models.adopt --runs RESULTS/runs --dataset data/dataset --out there
    python -m models.report --dataset data/dataset --evaluate there/evaluate --finetune there/finetune --out page

A run is a folder with card.json, history.csv and predictions.csv (image_id, split, label, score of val and test), as
benchmarks/paper_tables.py writes them. Metrics are computed anew from the scores; a run of another split is left out.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import typer

import covidct
from covidct import metrics
from covidct.commands import new_app
from covidct.files import write_json, write_text
from models import checkpoint, data
from models.errors import is_ours, told
from models.evaluate import headline, summarise

log = logging.getLogger(__name__)


class AdoptError(ValueError):
    """A run that does not belong to the dataset, or is damaged: says what, expected and got."""


def scores_of(path: Path, dataset: covidct.Dataset) -> dict[str, np.ndarray]:
    """P(COVID) of val and test in the order of the dataset's records; raises AdoptError if images or labels differ."""
    try:
        table = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False).set_index("image_id")
        found = {}
        for name in ("val", "test"):
            records, part = getattr(dataset, name).records, table[table["split"] == name]
            if set(part.index) != set(records["image_id"]) or part.index.has_duplicates:
                raise AdoptError(
                    f"{path}: expected the {len(records)} {name} images of the dataset, got {len(part)} rows"
                )
            part = part.loc[records["image_id"]]
            if (part["label"].to_numpy(int) != records["label"].to_numpy(int)).any():
                raise AdoptError(f"{path}: expected the dataset's labels, got others in {name}")
            found[name] = part["score"].to_numpy(float)
    except (OSError, KeyError, TypeError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise AdoptError(f"{path}: expected image_id, split, label and score as CSV, got {error}") from error
    return found


def adopt(folder: Path, dataset: covidct.Dataset, out: Path, replicates: int, seed: int) -> None:
    """Write one run's evaluation and card below ``out``; raises AdoptError or CheckpointError."""
    card_file, history = folder / "card.json", folder / "history.csv"
    if not card_file.is_file() or not history.is_file():
        raise AdoptError(f"{folder}: expected card.json, history.csv and predictions.csv")
    card = checkpoint.read_card(card_file)
    here = data.describe(dataset)["split_hash"]
    if card["dataset"].get("split_hash") != here:
        raise AdoptError(f"{folder}: trained on another split of the dataset")
    table, summary = summarise(
        dataset, card, scores_of(folder / "predictions.csv", dataset), replicates=replicates, seed=seed
    )
    evaluated, trained = out / "evaluate" / folder.name, out / "finetune" / folder.name
    write_text(evaluated / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(evaluated / "metrics.json", metrics.Metrics(summary).to_json())
    write_json(
        evaluated / "headline.json", headline(metrics.Metrics(summary).to_json()["test"], summary["transductive"])
    )
    trained.mkdir(parents=True, exist_ok=True)
    for file in (card_file, history):
        shutil.copyfile(file, trained / file.name)


app = new_app()


@app.command()
def main(
    runs: Path = typer.Option(..., help="folder with a folder per run and seed"),
    dataset: Path = typer.Option(..., help="folder with records.csv: the one they were evaluated on"),
    out: Path = typer.Option(..., help="folder of evaluate/ and finetune/"),
    replicates: int = typer.Option(2000, min=0, help="bootstrap resamples of patients"),
    seed: int = typer.Option(0, min=0, help="of the bootstrap"),
) -> None:
    """Bring runs trained elsewhere into the report's form."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    taken = 0
    with told(log):
        found = covidct.load(dataset)
        for folder in sorted(path.parent for path in runs.glob("*/predictions.csv")):
            try:
                adopt(folder, found, out, replicates, seed)
                taken += 1
            except ValueError as error:
                if not is_ours(error):
                    raise
                log.warning("left out: %s", error)
    log.info("%s: %d runs", out, taken)
    if not taken:
        log.error(
            "%s: expected folders with card.json, history.csv and predictions.csv of this dataset, got none", runs
        )
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
