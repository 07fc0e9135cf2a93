"""What changed between two versions, one row per image: added, removed, relabelled, moved, regrouped, re-encoded."""

from __future__ import annotations

from typing import Any

import pandas as pd

from covidct.groups import text

FIELDS = {"relabelled": "label", "moved": "split", "regrouped": "patient_id", "re-encoded": "sha256"}
COLUMNS = ["change", "image_id", "before", "after", "reason"]


class ChangeError(ValueError):
    """A change that a version must not make, or not without a stated reason."""


def compare(before: pd.DataFrame, after: pd.DataFrame, reasons: dict[str, str] | None = None) -> pd.DataFrame:
    """Rows of COLUMNS for every difference between two tables with image_id, label, split, patient_id, sha256.

    reasons: image_id -> why. Raises ChangeError where an image leaves test without a reason, or enters train or val
    after it was in test.
    """
    reasons = reasons or {}
    old, new = _indexed(before), _indexed(after)
    rows: list[tuple[Any, ...]] = [
        ("added", name, "", new.at[name, "split"] or "held out") for name in new.index.difference(old.index)
    ]
    rows += [("removed", name, old.at[name, "split"] or "held out", "") for name in old.index.difference(new.index)]
    both = old.index.intersection(new.index)
    for change, column in FIELDS.items():
        differs = both[(old.loc[both, column] != new.loc[both, column]).to_numpy()]
        rows += [(change, name, old.at[name, column], new.at[name, column]) for name in differs]
    table = pd.DataFrame(rows, columns=COLUMNS[:4]).assign(
        reason=lambda f: [reasons.get(name, "") for name in f["image_id"]]
    )
    table = table.sort_values(["change", "image_id"], kind="stable").reset_index(drop=True)
    _refuse(table)
    return table


def _indexed(records: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({name: text(records, name) for name in ("image_id", *FIELDS.values())})
    return frame.set_index("image_id").sort_index()


def _refuse(table: pd.DataFrame) -> None:
    entered = table[(table["change"] == "moved") & (table["before"] == "test") & table["after"].isin(["train", "val"])]
    if len(entered):
        raise ChangeError(
            f"{len(entered)} images once in test would be in train or val, e.g. {entered['image_id'].iloc[0]}; "
            "build the dataset with --earlier and --line, so that test stays test"
        )
    left = table[(table["before"] == "test") & table["change"].isin(["removed", "moved"]) & (table["reason"] == "")]
    if len(left):
        raise ChangeError(
            f"{len(left)} images leave test without a reason: {', '.join(left['image_id'].head(5))}; give "
            "--reasons FILE, a CSV with columns image_id and reason"
        )


def as_markdown(table: pd.DataFrame, version: str, previous: str) -> str:
    """The changelog of one version: counts first, then every image."""
    if not previous:
        return f"# {version}\n\nFirst version of its line: {'no earlier one to compare with'}.\n"
    lines = [f"# {version}, compared with {previous}", ""]
    if table.empty:
        return "\n".join([*lines, "No image differs.", ""])
    for change, part in table.groupby("change", sort=True):
        lines += [f"## {change}: {len(part)}", "", "| image | before | after | reason |", "|---|---|---|---|"]
        for row in part.itertuples():
            cells = (str(row.image_id), str(row.before)[:60], str(row.after)[:60], str(row.reason))
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)
