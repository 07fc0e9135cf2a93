"""Splits at 10³ to 10⁶ synthetic records: seconds, peak memory, how close the shares come, violations.

    python benchmarks/splits.py                      # a Markdown table; each size and seed in a process of its own
    python benchmarks/splits.py --sizes 1000,1000000 --seeds 0,1,2

A record set is drawn from a seed: patients with 1 to 40 images (most few), six sources of unlike size, 2 % of the
pictures shared with another patient, 5 % of the patients known by their document only.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from covidct import splits
from covidct.groups import groups


def records(count: int, seed: int) -> pd.DataFrame:
    """``count`` synthetic records."""
    rng = np.random.default_rng(seed)
    images = np.minimum(rng.geometric(0.5, count), 40)
    patient = np.repeat(np.arange(count), images)[:count]
    people = patient[-1] + 1
    source = rng.choice(6, people, p=[0.35, 0.25, 0.15, 0.12, 0.08, 0.05])
    label = (source < 2) ^ (rng.random(people) < 0.05)
    document = rng.integers(0, max(people // 2, 1), people)
    known = rng.random(people) > 0.05
    shared = rng.random(count) < 0.02
    twin = rng.integers(0, max(count // 50, 1), count)
    return pd.DataFrame(
        {
            "image_id": [f"i{number:07d}" for number in range(count)],
            "label": label[patient].astype(int),
            "patient_id": np.char.add("p", patient.astype(str)),
            "source": np.char.add("s", source[patient].astype(str)),
            "document_id": np.char.add("d", document[patient].astype(str)),
            "patient_basis": np.where(known, "case", "document")[patient],
            "duplicate_group": np.where(shared, np.char.add("t", twin.astype(str)), ""),
        }
    )


def measure(count: int, seed: int) -> dict[str, float]:
    """Figures of one size and seed, in this process."""
    table = records(count, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, busy = time.perf_counter(), time.process_time()
    result = splits.split(table, seed=seed)
    split, cpu = time.perf_counter() - start, time.process_time() - busy
    start = time.perf_counter()
    violations = splits.check(result)
    check = time.perf_counter() - start
    sizes = np.bincount(groups(table))
    off = splits.deviation(result)
    return {
        "records": count,
        "groups": len(sizes),
        "largest": int(sizes.max()),
        "split_s": round(split, 2),
        "cpu_s": round(cpu, 2),
        "check_s": round(check, 2),
        "table_mb": round(before),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "images_off": max(abs(part["images"]) for part in off.values()),
        "patients_off": max(abs(part["patients"]) for part in off.values()),
        "violations": len(violations),
    }


def main(
    sizes: Annotated[str, typer.Option(help="numbers of records")] = "1000,10000,100000,1000000",
    seeds: Annotated[str, typer.Option(help="seeds of the records and of the search")] = "0,1,2",
    one: Annotated[bool, typer.Option(help="measure the first size and seed here and print JSON")] = False,
) -> None:
    """Print the table."""
    counts, numbers = ([int(part) for part in text.split(",")] for text in (sizes, seeds))
    if one:
        print(json.dumps(measure(counts[0], numbers[0])))
        return
    print("| records | groups (largest) | split, s | CPU s | check, s | MB (table) | images off | patients off | bad |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in counts:
        rows = []
        for seed in numbers:
            command = [sys.executable, __file__, "--one", "--sizes", str(count), "--seeds", str(seed)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        low = {key: min(row[key] for row in rows) for key in rows[0]}
        high = {key: max(row[key] for row in rows) for key in rows[0]}

        def span(key: str, low: dict[str, float] = low, high: dict[str, float] = high) -> str:
            return str(low[key]) if low[key] == high[key] else f"{low[key]}–{high[key]}"

        print(
            f"| {count} | {span('groups')} ({span('largest')}) | {span('split_s')} | {span('cpu_s')} | "
            f"{span('check_s')} | {span('peak_mb')} ({span('table_mb')}) | "
            f"{span('images_off')} | {span('patients_off')} | {span('violations')} |"
        )


if __name__ == "__main__":
    typer.run(main)
