"""What a researcher holds: ``Dataset`` and its ``Subset``s, and ``load``, which finds a version or a folder.

Needs only the core packages; ``.torch()`` imports torch when it is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from covidct import download, licences, metrics, pictures, registry, splits
from covidct.files import inside, read_json, sha256_file
from covidct.records import SPLITS, read_records
from covidct.registry import VersionError
from covidct.summary import describe

AGAIN = "run the stage `dataset` again, or fetch the version again"


class DatasetError(ValueError):
    """A dataset, version, scheme or set of scores that cannot be used: what, expected, got, next step."""


class Subset:
    """Some images of a dataset, in the order of ``records`` (by image_id).

    Iterates ``(PIL image, label)``, label 1 = COVID; ``subset[i]`` likewise.
    """

    def __init__(self, root: Path, records: pd.DataFrame, name: str = "") -> None:
        self.root = root
        self.records = records.reset_index(drop=True)
        self.name = name

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if not isinstance(index, int | np.integer):
            raise TypeError(f"image {index!r}: expected a whole number; several: [subset[i] for i in …] or only(…)")
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {self.name or 'subset'}: expected 0 to {len(self) - 1}")
        row = self.records.iloc[index]
        return self._open(row["file"]), int(row["label"])

    @property
    def labels(self) -> np.ndarray:
        """Labels (int64, N), 1 = COVID."""
        return self.records["label"].to_numpy(dtype=np.int64)

    @property
    def patients(self) -> np.ndarray:
        """Patient of each image (N), what intervals are clustered by."""
        return self.records["patient_id"].to_numpy(dtype=object)

    def path(self, image_id: str) -> Path:
        """File of an image. Raises DatasetError for an id that is not here."""
        found = self.records.loc[self.records["image_id"] == image_id, "file"]
        if found.empty:
            raise DatasetError(f"image {image_id!r}: not in {self.name or 'this subset'} of {len(self)} images")
        return inside(self.root, found.iloc[0])

    def only(self, **columns: str | list[str]) -> Subset:
        """The images whose columns have the given values, e.g. ``only(licence="CC-BY")``, ``only(source="pmc")``."""
        return Subset(self.root, _only(self.records, columns), self.name)

    def torch(
        self,
        transform: Callable[[Any], Any] | None = None,
        size: int | None = None,
        cache: Path | str | None = None,
    ) -> Any:
        """A torch Dataset of ``(image, label)`` whose pictures are decoded once (see covidct.torchset.ImageSet).

        cache: folder for the decoded pictures, so that the next process need not decode; a version in the covidct
        cache with a ``size`` keeps them there by itself.
        """
        from covidct.torchset import ImageSet

        home = download.home_folder()
        if cache is None and size is not None and self.root.parent == home:
            cache = home / "decoded"
        return ImageSet(self.root, self.records, transform, size, cache)

    def scores_in_order(self, scores: npt.ArrayLike | Mapping[str, float]) -> np.ndarray:
        """Scores (float, N) in the order of ``records``, given in that order or by image_id. Raises DatasetError.

        A Series goes by its index, which must be the image ids; the default one (0, 1, …) means the order of records.
        """
        ids = self.records["image_id"].tolist()
        if isinstance(scores, pd.Series):
            scores = self._by_name(scores, ids)
        if not isinstance(scores, Mapping):
            try:
                values = np.asarray(scores, dtype=float).ravel()
            except (TypeError, ValueError) as error:
                raise DatasetError(f"scores: expected numbers, got {error}") from error
            if len(values) != len(ids):
                raise DatasetError(f"scores: expected {len(ids)} for {self.name or 'the subset'}, got {len(values)}")
            return values
        missing = [name for name in ids if name not in scores]
        if missing:
            raise DatasetError(
                f"scores: expected one for each of {len(ids)} images of {self.name or 'the subset'}, "
                f"{len(missing)} missing, e.g. {missing[0]!r}"
            )
        if unknown := set(scores) - set(ids):
            raise DatasetError(
                f"scores: {len(unknown)} for images not in {self.name or 'the subset'}: {min(map(str, unknown))!r}"
            )
        found = []
        for name in ids:
            try:
                found.append(float(scores[name]))
            except (TypeError, ValueError) as error:
                raise DatasetError(f"scores: image {name!r}: expected a number, got {scores[name]!r}") from error
        return np.array(found, dtype=float)

    def _by_name(self, scores: pd.Series, ids: list[str]) -> Mapping[str, float] | npt.ArrayLike:
        """A Series by its index; only one numbered by whole numbers that are no image ids is taken in its order."""
        names = [str(key) for key in scores.index]
        numbered = pd.api.types.is_integer_dtype(scores.index.dtype)
        if numbered and (scores.index.equals(pd.RangeIndex(len(names))) or not set(ids) & set(names)):
            return scores.to_numpy()
        if twice := sorted({name for name, count in Counter(names).items() if count > 1}):
            raise DatasetError(f"scores: {twice[0]!r} stands twice in the index ({len(twice)} such); keep one")
        return dict(zip(names, scores.tolist(), strict=True))

    def evaluate(
        self, scores: npt.ArrayLike | Mapping[str, float], threshold: float = 0.5, **options: Any
    ) -> metrics.Metrics:
        """Metrics of P(COVID) ``scores`` for these images, intervals over patients (covidct.metrics.evaluate)."""
        values = self.scores_in_order(scores)
        if not len(values):
            raise DatasetError(f"{self.name or 'the subset'}: has no images to evaluate")
        return metrics.evaluate(self.labels, values, self.patients, threshold, **options)

    def __repr__(self) -> str:
        return f"<covidct {self.name or 'subset'}: {len(self)} images, {self.records['patient_id'].nunique()} patients>"

    def _open(self, file: str) -> Image.Image:
        try:
            return pictures.open_picture(inside(self.root, file))
        except pictures.PictureError as error:
            raise DatasetError(f"{self.root}: {error}; run `covidct verify {self.root}`, then fetch again") from error


class Dataset(Subset):
    """One version of the dataset: ``.train``, ``.val``, ``.test`` (Subset), ``.records``, ``.info`` (dict)."""

    def __init__(self, root: Path, records: pd.DataFrame, info: dict[str, Any] | None = None) -> None:
        super().__init__(root, records.sort_values("image_id", kind="stable"), "dataset")
        self.info = info or {}

    @property
    def version(self) -> str:
        """Version, or the folder's name where it is no released version."""
        return str(self.info.get("version") or self.root.name)

    @property
    def train(self) -> Subset:
        """Training images."""
        return self._split("train")

    @property
    def val(self) -> Subset:
        """Validation images."""
        return self._split("val")

    @property
    def test(self) -> Subset:
        """Test images."""
        return self._split("test")

    @property
    def schemes(self) -> list[str]:
        """Names of the split schemes that come with this version."""
        return sorted(path.stem for path in (self.root / "splits").glob("*.csv"))

    def scheme(self, name: str, fold: int = 0) -> Dataset:
        """The same images under another split; of a k-fold scheme, ``fold`` is test and the next one val.

        Raises DatasetError for an unknown name, fold or image.
        """
        path = self.root / "splits" / f"{name}.csv"
        if name not in self.schemes:
            raise DatasetError(f"scheme {name!r}: expected one of {', '.join(self.schemes) or '(none here)'}")
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise DatasetError(f"{path}: expected a CSV in UTF-8, got {str(error).strip()}; {AGAIN}") from error
        if "image_id" not in table or not {"split", "fold"} & set(table.columns):
            raise DatasetError(f"{path}: expected columns image_id and split (or fold), got {', '.join(table.columns)}")
        if table.empty:
            raise DatasetError(f"{path}: expected a row for each image, got the header only; {AGAIN}")
        known = set(self.records["image_id"])
        if unknown := sorted(set(table["image_id"]) - known):
            raise DatasetError(f"{path}: image {unknown[0]!r} is not in the dataset ({len(unknown)} such)")
        if twice := table.loc[table["image_id"].duplicated(), "image_id"].tolist():
            raise DatasetError(f"{path}: image {twice[0]!r} occurs twice ({len(twice)} such); keep one row for each")
        if "fold" in table:
            number = pd.to_numeric(table["fold"], errors="coerce")
            if bad := table.loc[~(number >= 0) | (number % 1 > 0), "fold"].tolist():
                raise DatasetError(f"{path}: fold {bad[0]!r}: expected a whole number from 0")
            count = int(number.max()) + 1
            if not 0 <= fold < count:
                raise DatasetError(f"scheme {name}: fold {fold}: expected 0 to {count - 1}")
            table["split"] = np.select([number == fold, number == (fold + 1) % count], ["test", "val"], "train")
        if bad := table.loc[~table["split"].isin([*SPLITS, ""]), "split"].tolist():
            raise DatasetError(f"{path}: split {bad[0]!r}: expected train, val, test or nothing ({len(bad)} such)")
        part = table.set_index("image_id")["split"]
        records = self.records.assign(split=self.records["image_id"].map(part).fillna(""))
        return Dataset(self.root, records, {**self.info, "scheme": name})

    def only(self, **columns: str | list[str]) -> Dataset:
        """The dataset restricted to images whose columns have the given values (licences match in any spelling)."""
        return Dataset(self.root, _only(self.records, columns), self.info)

    def evaluate(
        self, scores: npt.ArrayLike | Mapping[str, float], threshold: float = 0.5, split: str = "test", **options: Any
    ) -> metrics.Metrics:
        """Metrics of P(COVID) for the images of ``split``, in the order of its records or by image_id."""
        if split not in SPLITS:
            raise DatasetError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        return self._split(split).evaluate(scores, threshold, **options)

    def check(self) -> list[str]:
        """Violations of the split; empty = proven disjoint (covidct.splits.check)."""
        return splits.check(self.records)

    def verify(self) -> list[str]:
        """Problems of the files on disk; empty = every file is what was released.

        A release (its folder has manifest.csv) is held against its manifest: table, splits and every other file too,
        and files that do not belong to it are told. Any other folder: `problems`. Raises VersionError.
        """
        released = registry.manifest_of(self.root)
        if released is None:
            return self.problems()
        entries, found = released
        return found + download.problems(self.root, entries)

    def problems(self) -> list[str]:
        """Pictures that are missing or have another SHA-256 than the table says."""
        problems = []
        for row in self.records.itertuples():
            path = inside(self.root, str(row.file))
            if not path.is_file():
                problems.append(f"{row.file}: missing")
            elif row.sha256 and (got := sha256_file(path)) != row.sha256:
                problems.append(f"{row.file}: expected sha256 {str(row.sha256)[:12]}…, got {got[:12]}…")
        return problems

    def __str__(self) -> str:
        return describe(self.records, self.version, str(self.info.get("scheme", "")))

    def __repr__(self) -> str:
        return str(self)

    def _split(self, name: str) -> Subset:
        return Subset(self.root, self.records[self.records["split"] == name], name)


def load(version: str | Path | None = None, scheme: str | None = None, **options: Any) -> Dataset:
    """Load a dataset: a released version (``"v1"``) or a folder that holds ``records.csv``.

    scheme: another of the version's splits (``ds.schemes``). options: ``repo``, ``remote``, ``home`` for
    covidct.fetch. Raises DatasetError; without a version the message lists those there are.
    """
    if version is None or version == "":
        names = ", ".join(download.versions()) or "none registered here"
        raise DatasetError(f"expected a version or a folder; versions: {names}. Say which, so that results can be told")
    folder = Path(version)
    if (folder / "records.csv").is_file():
        found = open_folder(folder)
    elif isinstance(version, Path) or folder.is_dir() or "/" in str(version):
        raise DatasetError(
            f"{folder}: expected a folder with records.csv (a dataset or release), "
            f"got {'one without' if folder.is_dir() else 'no such folder'}; run `dvc repro dataset` or name a version"
        )
    else:
        try:
            found = open_folder(download.fetch(str(version), **options))
        except (VersionError, download.FetchError) as error:
            raise DatasetError(str(error)) from error
    return found.scheme(scheme) if scheme else found


def open_folder(folder: Path) -> Dataset:
    """The dataset in a folder with ``records.csv`` and, where a stage or release wrote it, ``dataset.json``."""
    info: dict[str, Any] = {}
    card = folder / "dataset.json"
    if card.is_file():
        try:
            info = read_json(card)
            if not isinstance(info, dict):
                raise ValueError(f"a {type(info).__name__}")
        except ValueError as error:
            raise DatasetError(f"{card}: expected a JSON object, got {error}; {AGAIN}") from error
    return Dataset(folder, read_records(folder / "records.csv"), info)


def _only(records: pd.DataFrame, columns: Mapping[str, str | list[str]]) -> pd.DataFrame:
    kept = pd.Series(True, index=records.index)
    for name, wanted in columns.items():
        if name not in records:
            raise DatasetError(f"only({name}=…): expected a column, one of {', '.join(records.columns)}")
        values = [wanted] if isinstance(wanted, str) or not hasattr(wanted, "__iter__") else list(wanted)
        if name == "licence":
            have, values = records[name].map(licences.plain), [licences.plain(str(value)) for value in values]
        else:
            have, values = records[name].astype(str), [str(value) for value in values]
        match = have.isin(values)
        if not match.any():
            there = ", ".join(sorted(records[name].astype(str).unique())[:20])
            raise DatasetError(f"only({name}={wanted!r}): no such image; values here: {there}")
        kept &= match
    if columns and not kept.any():  # each value is there, but not on one image
        wanted = ", ".join(f"{name}={value!r}" for name, value in columns.items())
        raise DatasetError(f"only({wanted}): no image has all of these; leave one out")
    return records[kept]
