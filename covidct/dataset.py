"""Stage `dataset`: the tables of all sources become one dataset with a split that can be checked.

Reads: any number of ``records.csv`` (stages images, published) with their pictures; the splits of earlier releases.
Writes: ``records.csv``, ``images/``, ``splits/*.csv`` (schemes by name), ``table1.csv``, ``dataset.json``,
``failed.jsonl``.
Guarantees: every picture verified and in one encoding; same pictures grouped (or said not to have been looked for); no
patient, picture or cautious group in two splits under scheme `grouped`; one picture under both labels stops the build;
nothing that an earlier release had in test is in train or val; same input and seed, same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from covidct import pictures, splits, summary
from covidct.commands import new_app
from covidct.files import inside, write_json, write_lines, write_text
from covidct.gather import BuildError, gather
from covidct.groups import merged, text
from covidct.records import TableError, write_records

log = logging.getLogger(__name__)

SCHEMES = ("grouped", "published")
OUTPUTS = ("records.csv", "dataset.json", "table1.csv")


def mark_duplicates(records: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Column ``duplicate_group`` filled by covidct.duplicates, and what was done; without the extra: not checked.

    A group that the sources state stays whole: where one of its pictures is found again elsewhere, all become one.
    """
    try:
        from covidct import duplicates
    except ImportError as error:
        log.warning("dataset: same pictures not looked for (%s); pip install 'covidct[audit]'", error)
        return records, {"status": "not checked", "reason": f"extra `audit` is not installed: {error.name}"}
    images = [np.asarray(pictures.open_picture(inside(folder, file)).convert("L")) for file in records["file"]]
    pairs = duplicates.find(images)
    ids = records["image_id"].tolist()
    stated = text(records, "duplicate_group")
    together = merged([list(members) for members in duplicates.groups(len(ids), pairs)], stated.tolist())
    groups = stated.tolist()
    for members in together:
        name = "same-" + min(ids[index] for index in members)
        for index in members:
            groups[index] = name
    found = [{"images": sorted([ids[i], ids[j]]), "evidence": plain(evidence)} for i, j, evidence in pairs]
    return records.assign(duplicate_group=groups), {
        "status": "checked",
        "pairs": sorted(found, key=lambda pair: str(pair["images"])),
    }


def plain(evidence: object) -> object:
    """Evidence as JSON: fields by name, numbers to three places."""
    if dataclasses.is_dataclass(evidence) and not isinstance(evidence, type):
        return {key: round(v, 3) if isinstance(v, float) else v for key, v in dataclasses.asdict(evidence).items()}
    return str(evidence)


def contradictions(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Same pictures that carry both labels: duplicate group and its images by label."""
    tied = records[text(records, "duplicate_group") != ""]
    both = tied.groupby("duplicate_group")["label"].nunique()
    return [
        {
            "group": name,
            "COVID": sorted(part.loc[part["label"] == 1, "image_id"]),
            "NonCOVID": sorted(part.loc[part["label"] == 0, "image_id"]),
        }
        for name, part in tied[tied["duplicate_group"].isin(both[both > 1].index)].groupby("duplicate_group")
    ]


def earlier_splits(folder: str) -> pd.DataFrame:
    """The committed splits of all earlier releases, one table; empty without any. Raises BuildError."""
    frames = []
    for path in sorted(Path(folder).glob("*/splits.csv")) if folder else []:
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise BuildError(f"{path}: expected a CSV in UTF-8, got {str(error).strip()}; git checkout it") from error
        if missing := {"image_id", "split"} - set(frame.columns):
            raise BuildError(f"{path}: expected columns image_id and split; missing: {', '.join(sorted(missing))}")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["image_id", "split"])


def assign(
    records: pd.DataFrame, scheme: str, ratios: list[float], seed: int, documents: bool, earlier: pd.DataFrame
) -> pd.DataFrame:
    """Records with ``split`` under a scheme; `published` keeps the source's own. Raises BuildError, SplitError."""
    if scheme == "published":
        if len(records) and (text(records, "split") == "").all():
            raise BuildError("scheme published: no image comes with a split of its own; use scheme grouped")
        return records
    if scheme != "grouped":
        raise BuildError(f"scheme {scheme!r}: expected one of {', '.join(SCHEMES)}")
    result = splits.split(records, ratios, seed, earlier=earlier, documents=documents)
    if violations := splits.check(result, documents):
        raise BuildError("the split is not disjoint: " + "; ".join(violations[:5]))
    if moved := splits.moved_from_test(earlier, result):
        raise BuildError(f"{len(moved)} images once in test would be in train or val, e.g. {moved[0]}")
    return result


def write_schemes(
    records: pd.DataFrame, own: pd.DataFrame, scheme: str, out: Path, folds: int, seed: int, documents: bool
) -> list[str]:
    """``splits/<name>.csv`` for every scheme that these records allow; returns their names."""
    tables: dict[str, pd.DataFrame] = {scheme: records[["image_id", "split"]]}
    if (text(own, "split") != "").any():
        tables["published"] = own[["image_id", "split"]]
    used = records[text(records, "split") != ""]  # what is held out is in no scheme
    if folds >= 2 and len(used):
        tables[f"folds-{folds}"] = splits.folds(used, folds, seed, documents=documents)[["image_id", "fold"]]
    sources = sorted(set(text(used, "source")) - {""})
    for source in sources if len(sources) > 1 else []:
        part = splits.leave_source_out(used, source, seed=seed, documents=documents)
        tables[f"without-{source}"] = part[["image_id", "split"]]
    for stale in (out / "splits").glob("*.csv"):  # a scheme of an earlier build names images that may be gone
        stale.unlink()
    for name, table in tables.items():
        table = table.sort_values("image_id", kind="stable")
        write_text(out / "splits" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    return sorted(tables)


def both_labels(records: pd.DataFrame) -> list[str]:
    """Patients with pictures of both labels: possible (before and after), so allowed, but told."""
    count = records[text(records, "patient_id") != ""].groupby("patient_id")["label"].nunique()
    return sorted(count[count > 1].index)


def information(records: pd.DataFrame, version: str, scheme: str, ratios: list[float], seed: int) -> dict[str, Any]:
    """What ``dataset.json`` says of a table: counts, statistics, deviations, disagreements with the paper's text."""
    return {
        "version": version,
        "scheme": scheme,
        "positive": "COVID (label 1)",
        "images": len(records),
        "patients": int(records["patient_id"].nunique()),
        "split_hash": splits.split_hash(records),
        "ratios": list(ratios),
        "seed": seed,
        "deviation": splits.deviation(records, ratios) if len(records) else {},
        "violations": splits.check(records),
        "patients_with_both_labels": both_labels(records),
        "table1": summary.table_one(records).to_dict("records"),
        "section_iii_a": summary.sizes(records),
        "paper_disagrees": summary.disagreements(records),
        "sources": records["source"].value_counts().sort_index().to_dict(),
        "licences": records["licence"].replace("", "not stated").value_counts().sort_index().to_dict(),
        "not_reviewed": int((~records["reviewed"].astype(bool)).sum()),
    }


def build(
    tables: list[Path],
    out: Path,
    scheme: str = "grouped",
    ratios: list[float] | None = None,
    seed: int = 0,
    documents: bool = False,
    duplicates: bool = True,
    folds: int = 5,
    version: str = "unreleased",
    earlier: str = "",
) -> pd.DataFrame:
    """The whole stage; see the module. Raises TableError, BuildError, SplitError; ``out`` is then as it was, but for
    ``failed.jsonl`` where no image could be used."""
    shares = list(ratios or splits.RATIOS)
    _refuse_foreign(tables, out)
    part = out.parent / f".{out.name}.building"  # one name, so that the next build clears what a killed one left
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        records = _build(tables, part, scheme, shares, seed, documents, duplicates, folds, version, earlier)
        _replace(part, out)
    except BuildError as error:
        if (part / "failed.jsonl").is_file():
            out.mkdir(parents=True, exist_ok=True)
            (part / "failed.jsonl").replace(out / "failed.jsonl")
        raise BuildError(str(error).replace(str(part), str(out))) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return records


def _refuse_foreign(tables: list[Path], out: Path) -> None:
    """Raise BuildError where the build would replace pictures that are not an earlier build's."""
    for table in tables:
        if table.resolve().parent == out.resolve():
            raise BuildError(f"{out}: is the folder of the input {table.name}; name another folder with --out")
    if (out / "images").exists() and not any((out / name).is_file() for name in (*OUTPUTS, "failed.jsonl")):
        raise BuildError(
            f"{out / 'images'}: expected a new folder or an earlier dataset, got pictures of unknown origin; remove "
            "them or name another folder with --out"
        )


def _replace(part: Path, out: Path) -> None:
    """The finished build in place of an earlier one; records.csv goes first and comes last: no half dataset loads."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (*OUTPUTS, "failed.jsonl"):
        (out / name).unlink(missing_ok=True)
    for name in ("images", "splits"):
        shutil.rmtree(out / name, ignore_errors=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == OUTPUTS[0]):
        path.replace(out / path.name)


def _build(
    tables: list[Path],
    out: Path,
    scheme: str,
    shares: list[float],
    seed: int,
    documents: bool,
    duplicates: bool,
    folds: int,
    version: str,
    earlier: str,
) -> pd.DataFrame:
    """The stage into an empty folder."""
    records, failures = gather(tables, out)
    if records.empty:
        raise BuildError(
            f"no images in {', '.join(map(str, tables))}; enable a source in params.yaml, or, where all candidates "
            "wait for a person (images.unreviewed: hold), label them: covidct label serve, push, pull; then repeat"
        )
    status: dict[str, Any] = {"status": "not checked", "reason": "switched off in params.yaml"}
    if duplicates:
        records, status = mark_duplicates(records, out)
    both = contradictions(records)
    if both and scheme != "published":
        raise BuildError(
            f"{len(both)} pictures carry both labels: {json.dumps(both[:5], ensure_ascii=False)}; decide which label "
            "holds in curation/reviews (or build scheme published, which keeps them as they were published)"
        )
    own = records
    records = assign(records, scheme, shares, seed, documents, earlier_splits(earlier))
    unassigned = records[text(records, "split") == ""]["image_id"]
    failures += [{"item": name, "reason": "no split in its source; held out"} for name in unassigned]
    more = {"duplicates": status, "opposite_labels": both}
    return finish(records, own, out, scheme, shares, seed, documents, folds, version, failures, more)


def finish(
    records: pd.DataFrame,
    own: pd.DataFrame,
    out: Path,
    scheme: str,
    shares: list[float],
    seed: int,
    documents: bool,
    folds: int,
    version: str,
    failures: list[dict[str, str]],
    more: dict[str, Any],
) -> pd.DataFrame:
    """Write what a dataset folder holds beside its pictures. own: the records with the split of their source."""
    info = information(records, version, scheme, shares, seed) | more
    info["schemes"] = write_schemes(records, own, scheme, out, folds, seed, documents)
    write_text(out / "table1.csv", summary.table_one(records).to_csv(index=False, lineterminator="\n"))
    write_lines(out / "failed.jsonl", failures)
    write_json(out / "dataset.json", info)
    write_records(out / "records.csv", records)
    return records


app = new_app()


@app.command()
def main(
    records: Annotated[list[Path], typer.Option(help="a source's records.csv; repeat for more")],
    out: Annotated[Path, typer.Option(help="folder of the dataset")],
    scheme: Annotated[str, typer.Option(help=f"one of {', '.join(SCHEMES)}")] = "grouped",
    ratios: Annotated[list[float] | None, typer.Option(help="shares of train, val, test")] = None,
    seed: Annotated[int, typer.Option(help="of the search for the best split")] = 0,
    documents: Annotated[bool, typer.Option(help="keep whole documents together")] = False,
    duplicates: Annotated[bool, typer.Option(help="look for same pictures (extra audit)")] = True,
    folds: Annotated[int, typer.Option(help="k of the cross-validation scheme; 0: none")] = 5,
    version: Annotated[str, typer.Option(help="name in dataset.json")] = "unreleased",
    earlier: Annotated[str, typer.Option(help="folder of committed releases whose test stays test")] = "",
) -> None:
    """Tables of all sources -> one dataset with splits, Table I and the statistics of section III.A."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        table = build(records, out, scheme, ratios, seed, documents, duplicates, folds, version, earlier)
    except (TableError, BuildError, splits.SplitError, OSError) as error:
        log.error("dataset: %s", error)
        raise typer.Exit(1) from error
    log.info("%s", summary.describe(table, version, scheme))
    log.info("%s", splits.proof(table, documents))
    for name in both_labels(table):
        log.warning("patient %s has pictures of both labels: possible, but check the dates and the id", name)


if __name__ == "__main__":
    app()
