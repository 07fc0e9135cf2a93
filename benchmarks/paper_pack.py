"""The data of the paper's tables in a small form that travels to a machine with a GPU and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import covidct
from covidct import pictures
from covidct.files import sha256_bytes, write_bytes, write_json, write_text
from covidct.pictures import encode
from covidct.records import write_records

SIDE = 256
"""pixels of the squeezed pictures that crops are cut from"""
LUNA_SIDE = 176
"""pixels of the longer side of a LUNA slice; views are cut from 256"""
LUNA_QUALITY = 88
"""of JPEG; the slices only teach an encoder"""


def make(release: Path, luna: Path, weights: Path, out: Path, cleaned: Path | None = None) -> int:
    """Write the pack; gives its bytes. ``luna`` may be the folder of stage luna or of slices or volumes."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run("covidct.published", "--root", release, "--out", work / "published")
        dataset = covidct.load(work / "published")
        pictures_of(dataset, out)
        table = dataset.records[["image_id", "split"]]
        write_text(out / "splits" / "published.csv", table.to_csv(index=False, lineterminator="\n"))
        if cleaned is not None:
            write_text(out / "splits" / "cleaned.csv", cleaned.read_text(encoding="utf-8"))
        slices = luna
        if not (luna / "slices.csv").is_file():
            slices = work / "luna"
            _run("harvest.luna", "--root", luna, "--subjects", "0", "--out", slices)
        luna_of(slices, out / "luna")
    (out / "weights").mkdir(parents=True, exist_ok=True)
    for path in sorted(weights.glob("*.pth")):
        shutil.copyfile(path, out / "weights" / path.name)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def pictures_of(dataset: covidct.Dataset, out: Path) -> None:
    """Records and pictures of SIDE × SIDE; widths and heights of the originals stay in the table."""
    records, hashes = dataset.records.copy(), []
    for index, (picture, _) in enumerate(dataset):
        small = encode(np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
        write_bytes(out / str(records["file"].iloc[index]), small)
        hashes.append(sha256_bytes(small))
    records["sha256"] = hashes
    write_records(out / "records.csv", records)
    write_json(out / "dataset.json", {"version": "covid-ct-2020-256", "scheme": "published"})


def luna_of(slices: Path, out: Path) -> None:
    """``slices.csv`` and JPEGs of at most LUNA_SIDE pixels."""
    text = (slices / "slices.csv").read_text(encoding="utf-8")
    write_text(out / "slices.csv", text)
    for path in sorted((slices / "images").iterdir()):
        image = Image.fromarray(pictures.to_grey(pictures.open_picture(path)))
        image.thumbnail((LUNA_SIDE, LUNA_SIDE), Image.Resampling.LANCZOS)
        target = out / "images" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, format="JPEG", quality=LUNA_QUALITY)  # named as in the table; readers go by the bytes


def _run(module: str, *options: str | Path) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, options)], check=True)
