"""Evidence: labels suggested for captions whose class is known.

    python benchmarks/curation_evidence.py --data DATA [--figures DIR ...]

``--data`` holds ``covid-ct/COVID-CT-MetaInfo.csv`` (captions of images labelled COVID, 11 of which contradict the
label), ``recorded/`` and ``preprints/figures_pmc.csv`` (captions of articles that are not about COVID-19).
``--figures``: folders of the harvest; figures of the sources ``pmc`` and ``medpix`` are non-COVID by their date.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from curation.evidence import for_figure, suggest
from harvest.records import Figure, read_jsonl


def captions_in(value: Any) -> list[str]:
    """Every text called caption, findings or discussion anywhere in a JSON answer."""
    if isinstance(value, list):
        return [text for item in value for text in captions_in(item)]
    if not isinstance(value, dict):
        return []
    own = [
        str(v) for k, v in value.items() if k.lower() in ("caption", "findings", "discussion") and isinstance(v, str)
    ]
    return [text for text in own if len(text) > 10] + [t for v in value.values() for t in captions_in(v)]


def show(name: str, labels: Sequence[str]) -> None:
    counts = Counter(labels)
    shares = "  ".join(f"{label} {counts[label]} ({counts[label] / max(len(labels), 1):.1%})" for label in
                       ("COVID", "unclear", "NonCOVID"))  # fmt: skip
    print(f"{name:34s} n {len(labels):4d}  {shares}")


def main(
    data: Annotated[Path, typer.Option(help="folder with covid-ct, recorded and preprints")],
    figures: Annotated[list[Path] | None, typer.Option(help="folder of the harvest; repeat")] = None,
) -> None:
    """Print the suggested labels by kind of caption, and the release's captions that contradict their label."""
    with (data / "covid-ct" / "COVID-CT-MetaInfo.csv").open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["Captions"]]
    said = [suggest(row["Captions"]) for row in rows]
    show("release, labelled COVID", [s.label for s in said])
    for row, suggestion in zip(rows, said, strict=True):
        if suggestion.label == "NonCOVID":
            print(f"  contradicts: {row['File name']}: {suggestion.sentence[:90]}")
    recorded = [
        text
        for folder in ("medpix", "openi", "europepmc")
        for path in sorted((data / "recorded" / folder).glob("*.json"))
        for text in captions_in(json.loads(path.read_text(encoding="utf-8")))
    ]
    show("recorded MedPix, Open-i, Europe PMC", [suggest(text).label for text in recorded])
    with (data / "preprints" / "figures_pmc.csv").open(encoding="utf-8", newline="") as stream:
        articles = [row["caption"] for row in csv.DictReader(stream)]
    labels = [suggest(text).label for text in articles]
    show("articles (publishers' XML)", labels)
    for text, label in zip(articles, labels, strict=True):
        if label == "COVID":
            print(f"  called COVID: {text[:110]}")
    for folder in figures or []:
        found: dict[str, list[str]] = {}
        for figure in read_jsonl(folder / "figures.jsonl", Figure):
            found.setdefault(figure.source, []).append(for_figure(figure, 1).whole.label)
        for source, names in sorted(found.items()):
            show(f"{folder.name}, {source}", names)


if __name__ == "__main__":
    typer.run(main)
