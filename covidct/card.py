"""The data card of a release: the questions of "Datasheets for Datasets" (Gebru et al. 2018), answered from the data.

Whatever the data cannot answer is said to be unknown; nothing is claimed that a column does not hold.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from covidct import splits
from covidct.reader import describe


def write(records: pd.DataFrame, facts: dict[str, Any], info: dict[str, Any], findings: dict[str, Any] | None) -> str:
    """Markdown of the card; ``findings`` are the audit's, None: the audit was not run."""
    version = facts["version"]
    parts = [
        f"# COVID-CT dataset {version}",
        "",
        "```",
        describe(records, version, str(info.get("scheme", ""))),
        "```",
        "",
        *_section("Motivation", _motivation()),
        *_section("Composition", _composition(records, facts, info)),
        *_section("Collection", _collection(records)),
        *_section("Labels", _labels(records)),
        *_section("Preprocessing", _preprocessing(records)),
        *_section("Splits", _splits(records, info)),
        *_section("Known problems", _problems(info, findings, facts)),
        *_section("Uses", _uses()),
        *_section("Distribution", _distribution(records, facts)),
        *_section("Maintenance", _maintenance(facts)),
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _share(count: int, whole: int) -> str:
    return f"{count} of {whole} ({count / max(whole, 1):.0%})"


def _motivation() -> list[str]:
    return [
        "Chest CT pictures of COVID-19 were scattered over preprints when models were needed. This dataset gathers",
        "them with non-COVID pictures from the open literature, so that methods can be compared on one split.",
    ]


def _composition(records: pd.DataFrame, facts: dict[str, Any], info: dict[str, Any]) -> list[str]:
    lines = [
        "- An instance is one 8-bit grey chest CT picture with label 1 (COVID) or 0 (NonCOVID):",
        f"  {len(records)} images of {records['patient_id'].nunique()} patients.",
        f"- Documents: {records['document_id'].nunique()}.",
        f"- {facts['shipped']} pictures come with the release, {facts['recipe']} as a recipe (`recipe.csv`) because",
        "  their licence does not allow handing on adapted copies.",
        f"- Patient known by: {_counts(records['patient_basis'])}.",
        f"- Age stated for {_share(int((records['age'] != '').sum()), len(records))}, sex for "
        f"{_share(int((records['sex'] != '').sum()), len(records))}, severity for "
        f"{_share(int((records['severity'] != '').sum()), len(records))}.",
        f"- Document types: {_counts(records['document_type'])}.",
    ]
    for label, values in info.get("section_iii_a", {}).items():
        said = "; ".join(f"{what} {v['average']}/{v['maximum']}/{v['minimum']}" for what, v in values.items())
        lines.append(f"- {label}, average/maximum/minimum: {said} (pixels).")
    return lines


def _collection(records: pd.DataFrame) -> list[str]:
    dois = records.loc[records["doi"] != "", "doi"].nunique()
    return [
        f"- Sources: {_counts(records['source'])}.",
        f"- DOI recorded for {_share(int((records['doi'] != '').sum()), len(records))} ({dois} different).",
        "- The pictures were published by others; consent, scanners and reconstruction are unknown to us.",
    ]


def _labels(records: pd.DataFrame) -> list[str]:
    return [
        "- COVID = 1 is the positive class everywhere. A label is what the document says of the picture, not a",
        "  diagnosis of ours; PCR confirmation is recorded only where the evidence sentence says so.",
        f"- Decided by a person: {_share(int(records['reviewed'].sum()), len(records))}.",
        f"- With a supporting sentence: {_share(int((records['evidence'] != '').sum()), len(records))}.",
    ]


def _preprocessing(records: pd.DataFrame) -> list[str]:
    repaired = records["inpainted_fraction"] > 0
    return [
        "- All pictures are 8-bit grey PNG without metadata: the container tells nothing about the class.",
        f"- Repaired pixels (letters, arrows): {_share(int(repaired.sum()), len(records))}; the largest repaired",
        f"  share of a picture is {records['inpainted_fraction'].max():.1%}.",
        "- Hounsfield units are lost; windows differ between pictures.",
    ]


def _splits(records: pd.DataFrame, info: dict[str, Any]) -> list[str]:
    return ["```", splits.proof(records), "```", "", f"Deviation from the wanted shares: {info.get('deviation', {})}."]


def _problems(info: dict[str, Any], findings: dict[str, Any] | None, facts: dict[str, Any]) -> list[str]:
    lines = [f"- Same pictures: {info.get('duplicates', {}).get('status', 'not checked')}."]
    lines += [f"- One picture under both labels: {row}." for row in info.get("opposite_labels", [])]
    lines += [f"- Patient {name} has pictures of both labels." for name in info.get("patients_with_both_labels", [])]
    lines += [
        f"- The paper says {row['what']} {row['paper']} ({row['where']}); here {row['here']}."
        for row in info.get("paper_disagrees", [])
    ]
    if findings is None:
        return [*lines, f"- Audit: not run. Gate: {facts['gate']}."]
    kinds: dict[tuple[str, str], int] = {}
    for finding in findings.get("findings", []):
        key = (str(finding.get("severity")), str(finding.get("kind")))
        kinds[key] = kinds.get(key, 0) + 1
    lines += [f"- Audit, {severity}: {count} × {kind}." for (severity, kind), count in sorted(kinds.items())]
    return [*lines, f"- Gate: {facts['gate']}."]


def _uses() -> list[str]:
    return [
        "- For comparing methods on small, heterogeneous CT data. Not for clinical use: papers show typical",
        "  pictures, windows and sizes vary, and sources differ between the classes, so a model may learn the source.",
        "- Report intervals over patients (`ds.test.evaluate`) and results per negative source.",
    ]


def _distribution(records: pd.DataFrame, facts: dict[str, Any]) -> list[str]:
    return [
        f"- Licences of the documents: {_counts(records['licence'].replace('', 'not stated'))}.",
        f"- Version {facts['version']} of line {facts['artifact']}; `manifest.csv` has every file's SHA-256.",
    ]


def _maintenance(facts: dict[str, Any]) -> list[str]:
    return [
        "- A version never changes; corrections make a new one with a changelog per image (`CHANGES.md`).",
        "- What was once in test never enters train or val later; what leaves test is listed with the reason.",
        f"- Earlier version: {facts['previous'] or 'none'}.",
    ]


def _counts(values: pd.Series) -> str:
    return ", ".join(f"{key or 'not stated'} {count}" for key, count in values.value_counts().sort_index().items())
