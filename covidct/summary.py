"""What a dataset is in numbers: Table I, the statistics of section III.A, and where the data and the paper disagree."""

from __future__ import annotations

from typing import Any

import pandas as pd

from covidct.records import LABEL_NAMES, SPLITS

PAPER_TABLE = {  # Table I: images and patients by class and split
    "COVID": {"train": (191, 130), "val": (60, 32), "test": (98, 54)},
    "NonCOVID": {"train": (234, 105), "val": (58, 24), "test": (105, 42)},
}
PAPER_SIZES = {  # section III.A, COVID images: average, maximum, minimum
    "height": (491, 1853, 153),
    "width": (383, 1485, 124),
    "images per patient": (1.6, 16, 1),
}


def table_one(records: pd.DataFrame) -> pd.DataFrame:
    """Table I: class, split, images, patients; the rows "all" count a patient once."""
    rows = []
    for label in (1, 0):
        of_class = records[records["label"] == label]
        for split in [*SPLITS, *(["held out"] if (records["split"] == "").any() else []), "all"]:
            part = of_class if split == "all" else of_class[of_class["split"] == ("" if split == "held out" else split)]
            rows.append(
                {
                    "label_name": LABEL_NAMES[label],
                    "split": split,
                    "images": len(part),
                    "patients": part["patient_id"].nunique(),
                }
            )
    return pd.DataFrame(rows, columns=["label_name", "split", "images", "patients"])


def sizes(records: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Section III.A by class: average, maximum and minimum of images per patient, height and width (pixels)."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for label in (1, 0):
        part = records[records["label"] == label]
        if part.empty:
            continue
        columns = {
            "images per patient": part.groupby("patient_id").size(),
            "height": part["height"],
            "width": part["width"],
        }
        result[LABEL_NAMES[label]] = {
            name: {"average": round(float(v.mean()), 3), "maximum": int(v.max()), "minimum": int(v.min())}
            for name, v in columns.items()
        }
    return result


def disagreements(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Where the 2020 release, as read, differs from what the paper prints; empty without images of that release.

    Never used to change anything: the data say what they say, and the report shows both.
    """
    records = records[records["source"].str.startswith("published-")]
    if records.empty or not (records["source"] == "published-covid").any():
        return []
    found = []

    def note(where: str, what: str, paper: float, here: float) -> None:
        if round(float(here), 1) != float(paper):
            found.append({"where": where, "what": what, "paper": paper, "here": here})

    counts = {(row["label_name"], row["split"]): row for row in table_one(records).to_dict("records")}
    for name, parts in PAPER_TABLE.items():
        for split, (images, patients) in parts.items():
            note("Table I", f"{name} {split} images", images, counts[name, split]["images"])
            note("Table I", f"{name} {split} patients", patients, counts[name, split]["patients"])
    people = int(records.loc[records["label"] == 1, "patient_id"].nunique())
    note("abstract", "COVID patients", 216, people)
    note("section III.A", "COVID patients", 143, people)
    covid = sizes(records).get("COVID", {})
    for what, (average, maximum, minimum) in PAPER_SIZES.items():
        for kind, paper in (("average", average), ("maximum", maximum), ("minimum", minimum)):
            note("section III.A", f"COVID {what}, {kind}", paper, covid[what][kind])
    types = records.loc[(records["label"] == 1) & (records["document_type"] != "preprint")]
    note("section III.A", "COVID images from elsewhere than preprints", 0, len(types))
    return found


def describe(records: pd.DataFrame, version: str, scheme: str) -> str:
    """Version, images × patients × class per split, sources and licences, as text."""
    patients = records["patient_id"].nunique()
    lines = [f"COVID-CT dataset {version}{f', split scheme {scheme}' if scheme else ''}: images / patients"]
    lines.append(f"{'':9}" + "".join(f"{LABEL_NAMES[value]:>16}" for value in (1, 0)) + f"{'all':>16}")
    held = (records["split"] == "").any()
    for name in [*SPLITS, *(["held out"] if held else []), "all"]:
        part = records if name == "all" else records[records["split"] == ("" if name == "held out" else name)]
        cells = [part[part["label"] == value] for value in (1, 0)] + [part]
        lines.append(f"{name:9}" + "".join(f"{len(cell):>8} / {cell['patient_id'].nunique():<5}" for cell in cells))
    for title, column in (("sources", "source"), ("licences", "licence")):
        counts = records[column].replace("", "not stated").value_counts()
        lines.append(f"{title}: " + (", ".join(f"{key} {count}" for key, count in counts.items()) or "none"))
    unreviewed = int((~records["reviewed"]).sum())
    lines.append(f"{len(records)} images of {patients} patients; {unreviewed} labels not reviewed by a person")
    return "\n".join(lines)
