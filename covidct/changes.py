"""What changed between two versions, one row per image: added, removed, relabelled, moved, regrouped, re-encoded."""

from __future__ import annotations

from typing import Any

import pandas as pd

from covidct.groups import patients, text

FIELDS = {"relabelled": "label", "moved": "split", "regrouped": "patient_id", "re-encoded": "sha256"}
COLUMNS = ["change", "image_id", "before", "after", "reason"]


class ChangeError(ValueError):
    """A change that a version must not make, or not without a stated reason."""


def compare(before: pd.DataFrame, after: pd.DataFrame, reasons: dict[str, str] | None = None) -> pd.DataFrame:
    """Rows of COLUMNS for every difference between two tables with image_id, label, split, patient_id, sha256.

    reasons: image_id -> why. Raises ChangeError where an image leaves test without a reason; what enters train or val
    after it was in test, in this version before or an older one, is refused by `refuse_once_in_test`.
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


def refuse_once_in_test(earlier: dict[str, pd.DataFrame], records: pd.DataFrame, published: bool = False) -> None:
    """Raise ChangeError if anything that any earlier version had in test is in train or val: the image by its id, the
    same picture under another id (sha256), or another picture of the same patient.

    earlier: the splits of each version before, by name; columns as in ``compare``. published: the split is the source's
    own, whose leaks are stated, not mended: an image whose id an earlier version had in train or val already is not
    held against the picture and the patient it shares with test.
    """
    now = _indexed(records)
    now = now[now["split"].isin(["train", "val"])]
    for version, table in earlier.items():
        old = _indexed(table)
        tested = old[old["split"] == "test"]
        hits = {"their id": pd.Series(now.index.isin(tested.index), index=now.index)}
        for word, column in (("the picture (sha256)", "sha256"), ("the patient", "patient_id")):
            hits[word] = now[column].isin(set(tested[column]) - {""})
            if published:
                hits[word] &= ~now.index.isin(old.index[old["split"].isin(["train", "val"])])
        for word, hit in hits.items():
            if not hit.any():
                continue
            first = now[hit].iloc[0]
            raise ChangeError(
                f"{int(hit.sum())} images once in test would be in train or val, known by {word} in {version}: "
                f"e.g. {first.name} (patient {first['patient_id'] or 'unknown'}, now {first['split']}); build the "
                "dataset with --earlier covidct/releases, so that test stays test, or hold them out"
            )


def _indexed(records: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({name: text(records, name) for name in ("image_id", *FIELDS.values())})
    frame["patient_id"] = patients(records)
    return frame.set_index("image_id").sort_index()


def _refuse(table: pd.DataFrame) -> None:
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
