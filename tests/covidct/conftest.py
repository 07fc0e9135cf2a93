"""A small release and dataset, drawn by code, for the tests of covidct."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    """Grey noise, uint8 H×W, different for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)


def save(path: Path, grey: np.ndarray, mode: str = "L", form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(buffer, format=form)
    path.write_bytes(buffer.getvalue())


def table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)


def write_release(root: Path) -> Path:
    """A release of 12 COVID and 12 NonCOVID pictures with the oddities of the real one."""
    covid = [
        f"2020.02.{day:02}.200000{day:02}-p3-{40 + day}%{panel}" for day in (1, 2, 3, 4, 5, 6) for panel in (0, 12)
    ]
    other = [f"{number}%{panel}.jpg" for number in (1, 2, 3) for panel in (0, 1)] + [f"{n}.png" for n in range(20, 26)]
    for seed, name in enumerate(covid):
        form = "JPEG" if seed == 7 else "PNG"  # named .png, the bytes are JPEG
        save(root / "CT_COVID" / f"{name}.png", picture(seed), "RGB" if form == "JPEG" else "RGBA", form)
    for seed, name in enumerate(other, 100):
        save(root / "CT_NonCOVID" / name, picture(seed), "RGB", "JPEG" if name.endswith("jpg") else "PNG")
    rows = [["File name", "Patient ID", "Age", "Gender", "Severity", "DOI", "Captions", "", ""]]
    for index, name in enumerate(covid):
        bare = name if index % 3 == 0 else f"{name}.png"
        person = f"Patient {index // 2 + 1}" + (" " if index == 4 else "")
        rows.append([bare, person, "40", "F ", "", "10.1016/ S0140-1 ", f"['Figure 1. CT of {name}']", "", ""])
    rows.append(["", "", "", "", "", "", "a tail of a caption", "", ""])
    table(root / "COVID-CT-MetaInfo.csv", rows)
    people = [f"crawled_patient_{name.split('%')[0]}" if "%" in name else f"medpix_patient_{index // 2}"
              for index, name in enumerate(other)]  # fmt: skip
    table(
        root / "NonCOVID-CT-MetaInfo.csv",
        [
            ["", "image name", "patient id"],
            *([str(i), n, p] for i, (n, p) in enumerate(zip(other, people, strict=True))),
        ],
    )
    for label, names in (("COVID", [f"{name}.png" for name in covid]), ("NonCOVID", other)):
        for split, part in (("train", names[:6]), ("val", names[6:8]), ("test", names[8:])):
            path = root / "Data-split" / label / f"{split}CT_{label}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(part) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "release")


@pytest.fixture(scope="session")
def shared_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built dataset (scheme published) that tests only read."""
    from covidct import dataset, published
    from covidct.records import write_records

    base = tmp_path_factory.mktemp("dataset")
    records, _ = published.convert(write_release(base / "release"), base / "published")
    write_records(base / "published" / "records.csv", records)
    dataset.build([base / "published" / "records.csv"], base / "dataset", "published", duplicates=False)
    return base / "dataset"


@pytest.fixture(scope="session")
def real_published(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """The real release, converted once: folder with records.csv, and its failure rows."""
    from covidct import published
    from covidct.records import write_records

    out = tmp_path_factory.mktemp("real")
    records, failed = published.convert(real_data / "covid-ct", out)
    write_records(out / "records.csv", records)
    return out, failed
