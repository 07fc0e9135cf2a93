"""Splits that can be checked: no person and no picture in two of them, shares as close as whole groups allow.

``split`` assigns, ``check`` proves, ``deviation`` says how close it came. A split is a file, not a seed: seed and code
only explain it. What was once in test never enters train or val later (``earlier``).
The paper's shares are 0.6/0.15/0.25 of images and of patients (Table I).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from covidct.allocate import allocate
from covidct.groups import groups, keys, patients, text
from covidct.records import SPLITS

RATIOS = (0.6, 0.15, 0.25)
ORDER = {"train": 0, "val": 1, "test": 2}
KEPT_SOURCES = 24
"""strata by class and source for so many of the commonest sources; the rest are one stratum per class"""


class SplitError(ValueError):
    """Records or ratios from which no split can be made: what, expected, got."""


def split(
    records: pd.DataFrame,
    ratios: Sequence[float] | Mapping[str, float] = RATIOS,
    seed: int = 0,
    *,
    earlier: pd.DataFrame | None = None,
    documents: bool = False,
) -> pd.DataFrame:
    """Copy of ``records`` with column ``split``, patient-grouped and stratified by class, source and type of document.

    records: columns image_id, label, patient_id; optional source, duplicate_group, document_id, document_type,
    patient_basis.
    ratios: shares of train, val, test. earlier: image_id, split (and patient_id, sha256) of the versions before: test
    stays test, the rest stays where it was unless its group says otherwise. documents: keep documents whole.
    Raises SplitError. Deterministic; the order of the rows does not matter.
    """
    shares = _shares(ratios)
    _require(records)
    if records["image_id"].duplicated().any():
        twice = records.loc[records["image_id"].duplicated(), "image_id"].iloc[0]
        raise SplitError(f"image_id {twice!r} occurs twice: expected one row for each image; remove or rename one")
    ordered = _ordered(records)
    group = groups(ordered, documents)
    fixed = _fixed(ordered, group, earlier)
    features, weights, must = _features(ordered, group)
    part = allocate(features, shares, weights, must, fixed, seed)
    names = np.zeros(len(ordered), dtype=object)
    names[ordered.index.to_numpy()] = np.array(SPLITS, dtype=object)[part[group]] if len(ordered) else []
    result = records.copy()
    result["split"] = names
    return result


def folds(records: pd.DataFrame, k: int = 5, seed: int = 0, *, documents: bool = False) -> pd.DataFrame:
    """Copy of ``records`` with column ``fold`` (0 … k-1): equal shares from the same groups. Raises SplitError."""
    _require(records)
    if not 2 <= k <= 100:
        raise SplitError(f"folds: expected 2 to 100, got {k}")
    ordered = _ordered(records)
    group = groups(ordered, documents)
    features, weights, must = _features(ordered, group)
    none = np.full(len(features), -1)
    part = allocate(features, np.full(k, 1 / k), weights, must, none, seed, starts=8)
    result = records.copy()
    numbers = np.zeros(len(ordered), dtype=np.int64)
    numbers[ordered.index.to_numpy()] = part[group]
    result["fold"] = numbers
    return result


def leave_source_out(
    records: pd.DataFrame,
    source: str | Sequence[str],
    ratios: Sequence[float] = (0.8, 0.2),
    seed: int = 0,
    *,
    documents: bool = False,
) -> pd.DataFrame:
    """Copy of ``records`` with ``split``: test is every group that touches ``source``, train and val share the rest."""
    _require(records)
    wanted = {source} if isinstance(source, str) else set(source)
    known = set(text(records, "source"))
    if not wanted <= known:
        raise SplitError(f"source {', '.join(sorted(wanted - known))}: expected one of {', '.join(sorted(known))}")
    group = groups(records, documents)
    touched = np.isin(group, group[text(records, "source").isin(wanted).to_numpy()])
    result = records.copy()
    result["split"] = "test"
    rest = records[~touched]
    if len(rest):
        result.loc[~touched, "split"] = split(rest, (ratios[0], ratios[1], 0.0), seed, documents=documents)[
            "split"
        ].to_numpy()
    return result


def check(records: pd.DataFrame, documents: bool = False) -> list[str]:
    """Every way in which the split is not disjoint; an empty list is the proof that it is.

    Rows without a split (held out) take no part. Looks at patient, duplicate picture, the cautious groups, equal
    sha256, repeated image ids, and values that are no label or split.
    """
    violations = [f"column {name}: missing, so nothing is proven" for name in _missing(records, ("split",))]
    if violations:
        return violations
    names = records["image_id"].astype(str)
    given = text(records, "split").to_numpy()
    known = np.isin(given, [*SPLITS, ""])
    violations += [
        f"image {name}: split {value!r}, expected train, val or test"
        for name, value in zip(names[~known].head(20), given[~known][:20], strict=True)
    ]
    labels = pd.to_numeric(records["label"], errors="coerce")
    bad = ~labels.isin([0, 1])
    violations += [
        f"image {name}: label {value}, expected 0 or 1"
        for name, value in zip(names[bad].head(20), records["label"][bad].head(20), strict=True)
    ]
    violations += [f"image {name}: in the table more than once" for name in names[names.duplicated()].unique()[:20]]
    used = given != ""
    tied = {**keys(records, documents), "sha256": text(records, "sha256")}
    for kind, values in tied.items():
        violations += _crossing(kind, values.to_numpy()[used], given[used], names.to_numpy()[used])
    return violations


def _crossing(kind: str, values: np.ndarray, given: np.ndarray, names: np.ndarray) -> list[str]:
    frame = pd.DataFrame({"value": values, "split": given, "image": names})
    frame = frame[frame["value"] != ""]
    spread = frame.groupby("value", sort=True)["split"].nunique()
    crossing = spread[spread > 1].index
    found = []
    for value, rows in frame[frame["value"].isin(crossing)].groupby("value", sort=True):
        where = "; ".join(
            f"{name}: {', '.join(part['image'].head(5))}{' …' if len(part) > 5 else ''}"
            for name, part in rows.groupby("split", sort=True)
        )
        found.append(f"{kind} {value} is in {rows['split'].nunique()} splits ({where})")
    return found


def proof(records: pd.DataFrame, documents: bool = False) -> str:
    """The result of ``check`` in words: what was compared and that nothing crosses, or the violations."""
    violations = check(records, documents)
    if violations:
        return f"NOT disjoint, {len(violations)} violations:\n" + "\n".join(f"  {line}" for line in violations)
    used = records[text(records, "split") != ""]
    count = len(np.unique(groups(used, documents))) if len(used) else 0
    parts = [
        f"  {name}: {len(rows)} images, {text(rows, 'patient_id').nunique()} patients"
        for name, rows in ((name, used[text(used, "split") == name]) for name in SPLITS)
    ]
    pairs = [
        f"  {a} ∩ {b}: "
        + ", ".join(
            f"{len((set(values[given == a]) & set(values[given == b])) - {''})} {kind}s"
            for kind, values in keys(used, documents).items()
        )
        for a, b in (("train", "val"), ("train", "test"), ("val", "test"))
        for given in [text(used, "split")]
    ]
    held = len(records) - len(used)
    return "\n".join(
        [f"Disjoint: {len(used)} images in {count} groups, {held} held out", *parts, "shared by two splits:", *pairs]
    )


def deviation(
    records: pd.DataFrame, ratios: Sequence[float] | Mapping[str, float] = RATIOS
) -> dict[str, dict[str, float]]:
    """Share of images and of patients minus the wanted share, per split: how far whole groups kept it from exact."""
    shares = _shares(ratios)
    used = records[text(records, "split") != ""]
    person = text(used, "patient_id")
    result: dict[str, dict[str, float]] = {}
    for name, share in zip(SPLITS, shares, strict=True):
        here = (text(used, "split") == name).to_numpy()
        images = float(here.mean()) if len(used) else 0.0
        people = person[here].nunique() / max(person.nunique(), 1)
        result[name] = {"images": round(images - float(share), 4), "patients": round(people - float(share), 4)}
    return result


def split_hash(records: pd.DataFrame) -> str:
    """SHA-256 over sorted ``image_id,split`` lines: two tables with the same hash have the same split."""
    lines = sorted(f"{name},{part}" for name, part in zip(records["image_id"], text(records, "split"), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def moved_from_test(earlier: pd.DataFrame, records: pd.DataFrame) -> list[str]:
    """Images once in test that are now in train or val: must be empty; the release refuses otherwise."""
    once = set(earlier.loc[text(earlier, "split") == "test", "image_id"].astype(str))
    now = records[text(records, "split").isin(["train", "val"])]
    return sorted(once & set(now["image_id"].astype(str)))


def _shares(ratios: Sequence[float] | Mapping[str, float]) -> np.ndarray:
    values = [ratios.get(name, 0.0) for name in SPLITS] if isinstance(ratios, Mapping) else list(ratios)
    shares = np.asarray(values, dtype=float)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise SplitError(f"ratios: expected three shares for train, val, test, e.g. {RATIOS}, got {ratios!r}")
    return shares / shares.sum()


def _ordered(records: pd.DataFrame) -> pd.DataFrame:
    """Rows by image id, so that their order does not matter; the index is each row's position in ``records``, whose own
    index may repeat (two tables put together)."""
    plain = records.reset_index(drop=True)
    return plain.assign(image_id=plain["image_id"].astype(str)).sort_values("image_id", kind="stable")


def _missing(records: pd.DataFrame, more: tuple[str, ...] = ()) -> list[str]:
    return [name for name in ("image_id", "label", "patient_id", *more) if name not in records]


def _require(records: pd.DataFrame) -> None:
    if missing := _missing(records):
        raise SplitError(f"records: expected columns image_id, label, patient_id; missing: {', '.join(missing)}")
    labels = pd.to_numeric(records["label"], errors="coerce")
    bad = ~labels.isin([0, 1])
    if bad.any():
        first = records.loc[bad].iloc[0]
        raise SplitError(f"image {first['image_id']}: label {first['label']}, expected 1 (COVID) or 0 (NonCOVID)")


def _features(records: pd.DataFrame, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per group: images and patients, in all, per class, per class and source, per class and type of document; their
    weights; which must be met."""
    count = int(group.max()) + 1 if len(group) else 0
    label = pd.to_numeric(records["label"]).to_numpy(dtype=int)
    source = text(records, "source")
    common = source.value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:KEPT_SOURCES]
    source = source.where(source.isin(common), "(other)")
    stratum = pd.factorize(label.astype(str) + " " + source.to_numpy(dtype=object), sort=True)[0]
    kind = text(records, "document_type")  # in 2020, 64 % of the COVID test images came from a type that train lacks
    kinds = pd.factorize(label.astype(str) + " " + kind.to_numpy(dtype=object), sort=True)[0]
    patient = pd.factorize(keys(records)["patient"].to_numpy(dtype=object))[0]
    masks: list[tuple[np.ndarray, float, bool]] = [(np.ones(len(records), dtype=bool), 4.0, False)]
    masks += [(label == value, 2.0, True) for value in (0, 1) if (label == value).any()]
    for strata in (stratum, kinds):
        if 1 < strata.max(initial=0) < 2 * (KEPT_SOURCES + 1):
            masks += [(strata == value, 0.5, False) for value in range(int(strata.max()) + 1)]
    columns, weights, must = [], [], []
    for mask, weight, needed in masks:
        people = np.unique(np.stack([group[mask], patient[mask]]), axis=1)[0]
        columns += [np.bincount(group[mask], minlength=count), np.bincount(people, minlength=count)]
        weights += [weight, weight]
        must += [needed, False]
    return np.stack(columns, axis=1), np.array(weights), np.array(must)


def _fixed(records: pd.DataFrame, group: np.ndarray, earlier: pd.DataFrame | None) -> np.ndarray:
    """Part of each group that an earlier version decides, else -1: test before val before train."""
    fixed = np.full(int(group.max()) + 1 if len(group) else 0, -1)
    if earlier is None or not len(earlier):
        return fixed
    if missing := [name for name in ("image_id", "split") if name not in earlier]:
        raise SplitError(f"earlier: expected columns image_id and split; missing: {', '.join(missing)}")
    for name, rank in sorted(ORDER.items(), key=lambda item: item[1]):
        rows = earlier[text(earlier, "split") == name]
        hit: np.ndarray = records["image_id"].isin(rows["image_id"].astype(str)).to_numpy()
        for column in {"patient_id", "sha256"} & set(rows.columns) & set(records.columns):
            once, now = ((patients(t) if column == "patient_id" else text(t, column)) for t in (rows, records))
            hit = hit | now.isin(set(once) - {""}).to_numpy()
        fixed[group[hit]] = rank  # later names are stricter and overwrite
    return fixed
