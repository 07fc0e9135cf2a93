"""One task of `benchmarks.paper_tables` in a process of its own: pretraining where it has any, training, prediction."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import covidct
from benchmarks.paper_plan import Job, Settings
from covidct.files import write_json, write_text
from models import checkpoint, contrastive, data, engine, finetune, pretrain
from models.contrastive import SslRecipe
from models.engine import Hardware
from models.evaluate import predict
from models.recipe import Recipe
from models.tables import csv_text

LEAST_MINUTES = 0.4
"""a run is not begun with less: loading, and recording the steps as a graph, take half of it"""


def dataset_of(pack: Path, scheme: str) -> covidct.Dataset:
    """The pack's pictures under one of its splits."""
    return covidct.load(pack, scheme)


def encoder_of(job: Job, pack: Path, work: Path, settings: Settings, minutes: float) -> Path:
    """Folder of the pretrained encoder, made if it is not there (weights do not travel); raises Unfinished."""
    out = work / "encoders" / job.encoder
    if not (out / checkpoint.WEIGHTS).is_file():
        dataset = dataset_of(pack, job.scheme)
        recipe = SslRecipe(
            job.backbone, local(job.init, pack), job.chain, job.ssl_epochs or settings.ssl_epochs, size=settings.size,
            **{"resize": settings.size * 8 // 7, **settings.ssl},
        )  # fmt: skip
        sets = pretrain.read_sets(job.chain, pack / "luna", dataset, recipe.resize)
        result = contrastive.pretrain(
            sets,
            recipe,
            about={**data.describe(dataset), "transductive": False},
            hardware=Hardware(settings.accelerator, 1, settings.precision, graphs=settings.graphs),
            # chains that begin alike share the states of their first set
            cache=work / "states" / f"{job.backbone}-{job.encoder.split('-')[1]}-{job.scheme}",
            minutes=minutes,
        )
        pretrain.write(out, result)
    return out


def local(init: str, pack: Path) -> str:
    """``init`` with its file in the pack."""
    kind, _, path = init.partition(":")
    return f"{kind}:{pack / path}" if path else init


def done(job: Job, work: Path) -> bool:
    """True if the run is there: its predictions are written last."""
    return (work / job.folder / "predictions.csv").is_file()


def work_off(jobs: list[Job], pack: Path, work: Path, settings: Settings, end: float, threads: int) -> str:
    """Run a task in this process until ``end`` (time.time()); gives a line for the log."""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    begin, count = time.time(), 0
    for job in jobs:
        if done(job, work):
            continue
        try:
            one(job, pack, work, settings, end)
        except engine.Unfinished as stopped:
            return f"{job.name}-{job.seed}: {stopped}"
        count += 1
    return f"{jobs[0].name}: {count} runs, {time.time() - begin:.0f} s"


def one(job: Job, pack: Path, work: Path, settings: Settings, end: float) -> None:
    """Train one classifier and write its card, history and predictions; raises Unfinished when the time is up."""
    minutes = (end - time.time()) / 60
    if minutes < LEAST_MINUTES:
        raise engine.Unfinished("the time is up")
    init = local(job.init, pack)
    if job.chain:
        init = f"encoder:{encoder_of(job, pack, work, settings, minutes)}"
        minutes = max((end - time.time()) / 60, 0.02)
    dataset = dataset_of(pack, job.scheme)
    if minutes * 60 < shortest(job, work, settings, len(dataset.train)):
        raise engine.Unfinished("too little time is left for it")
    recipe = Recipe(
        job.backbone, init, rotation=job.rotation, seed=job.seed, epochs=settings.epochs, size=settings.size,
        resize=settings.size * 8 // 7, batch=settings.batch,
    )  # fmt: skip
    hardware = Hardware(settings.accelerator, 1, settings.precision, graphs=settings.graphs)
    # A state is no use where nothing stays, and of VGG-16 it has 2 GB
    state = None if torch.cuda.is_available() else work / "states" / f"{job.name}-{job.seed}"
    result = finetune.finetune(dataset, recipe, hardware=hardware, cache=state, minutes=minutes)
    device = "cuda" if result.card["training"]["device"] == "cuda" else "cpu"
    rows = []
    for subset in (dataset.val, dataset.test):
        scores = predict(result.network, result.card, subset, device=device)
        rows.append(subset.records[["image_id", "patient_id", "split", "label"]].assign(score=np.round(scores, 6)))
    out = work / job.folder
    write_text(out / "history.csv", csv_text(result.history))
    write_json(out / "card.json", {**result.card, "job": asdict(job)})
    write_text(out / "predictions.csv", pd.concat(rows).to_csv(index=False, lineterminator="\n"))
    if state is not None:
        (state / engine.STATE).unlink(missing_ok=True)


def shortest(job: Job, work: Path, settings: Settings, images: int) -> float:
    """Seconds the run takes at best: at the speed measured alone, or as its quickest finished sister; 0: unknown."""
    path = work / "speed.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rates = [row["images_per_second"] for row in rows if row["backbone"] == job.backbone]
    if rates:
        return settings.epochs * images / max(rates)
    cards = [json.loads(p.read_text(encoding="utf-8")) for p in (work / "runs").glob(f"{job.backbone}-*/card.json")]
    hours = [c["training"]["hours"] / c["recipe"]["epochs"] for c in cards if c["recipe"]["rotation"] == job.rotation]
    return 3600 * settings.epochs * min(hours, default=0.0)
