"""Readers' malignancy ratings of nodules (LIDC-IDRI): from its XML, or from a CSV such as pylidc users write.

1 highly unlikely … 5 highly suspicious, up to four readers. A nodule's rating is the high median of its readers: above
3 malignant, below 3 benign, 3 is left out. XML gives places in pixels of the slice and millimetres along z, CSV in
world millimetres.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from harvest.answers import parse_xml
from harvest.errors import HarvestError, ItemError, TransientError
from harvest.mhd import Header

_XML_LIMIT = 64 << 20
_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "malignancy")


@dataclass(frozen=True)
class Rating:
    """One reader's rating of one nodule; ``place`` is world (x, y, z) mm, or x, y in pixels where ``in_pixels``."""

    seriesuid: str
    reader: str
    place: tuple[float, float, float]
    malignancy: int
    in_pixels: bool = False

    def world(self, header: Header) -> np.ndarray:
        """World position in mm."""
        if not self.in_pixels:
            return np.array(self.place)
        x, y, z = self.place
        at = header.world(np.array([0.0, y, x]))
        at[2] = z
        return at


def read_ratings(source: Path) -> Iterator[Rating]:
    """Ratings from a CSV file, an XML file or a folder of them. Raises HarvestError naming file, line and field."""
    if source.is_dir():
        for path in sorted(source.rglob("*.xml")):
            yield from _xml(path)
    elif source.suffix.lower() == ".xml":
        yield from _xml(source)
    elif source.is_file():
        yield from _csv(source)
    else:
        raise HarvestError(f"--malignancy: expected a CSV file, an XML file or a folder of them, got {source}")


def consensus(ratings: Iterable[int]) -> int | None:
    """High median of the readers' ratings; None without any."""
    values = sorted(ratings)
    return statistics.median_high(values) if values else None


def label_of(rating: int | None) -> int | None:
    """1 malignant (> 3), 0 benign (< 3), None for 3 and for no rating."""
    return None if rating is None or rating == 3 else int(rating > 3)


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file that has these columns, each with its number (the header is 1).

    Raises HarvestError naming the file and, of a row that cannot be read, its line.
    """
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        try:
            missing = [name for name in columns if name not in (rows.fieldnames or ())]
            if missing:
                raise HarvestError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}")
            yield from enumerate(rows, 2)
        except csv.Error as error:
            raise HarvestError(
                f"{path}:{rows.line_num + 1}: expected a row of a CSV file, got {error}; mend the line"
            ) from error
        except UnicodeDecodeError as error:  # comes for a whole block of lines, before its first
            raise HarvestError(
                f"{path}: expected UTF-8, got other bytes behind line {rows.line_num} ({error}); save it in UTF-8 again"
            ) from error


def _csv(path: Path) -> Iterator[Rating]:
    for number, row in read_rows(path, _COLUMNS):
        try:
            place = (float(row["coordX"]), float(row["coordY"]), float(row["coordZ"]))
            rating = int(float(row["malignancy"]))
        except (TypeError, ValueError, OverflowError) as error:  # int(inf) overflows
            raise HarvestError(
                f"{path}:{number}: expected numbers in {', '.join(_COLUMNS[1:])}, got {row!s:.300}"
            ) from error
        if not 1 <= rating <= 5:
            raise HarvestError(f"{path}:{number}: column malignancy: expected 1 to 5, got {rating}")
        yield Rating(row["seriesuid"], row.get("reader") or "", place, rating)


def _xml(path: Path) -> Iterator[Rating]:
    if path.stat().st_size > _XML_LIMIT:
        raise HarvestError(f"{path}: expected at most {_XML_LIMIT} bytes of XML, got {path.stat().st_size}")
    try:
        root = parse_xml(path.read_bytes(), str(path))
    except (ItemError, TransientError) as error:
        raise HarvestError(str(error)) from error
    series = next((e.text or "" for e in root.iter() if _name(e).lower() == "seriesinstanceuid"), "").strip()
    if not series:
        raise HarvestError(f"{path}: expected LIDC readings with a SeriesInstanceUid, found none")
    sessions = [e for e in root.iter() if _name(e) == "readingSession"]
    for reader, session in enumerate(sessions, 1):
        for nodule in (e for e in session.iter() if _name(e) == "unblindedReadNodule"):
            rating = next((e.text or "" for e in nodule.iter() if _name(e) == "malignancy"), "").strip()
            centre = _centre(nodule)
            # Nodules below 3 mm carry no ratings, and 0 stands for "not rated".
            if rating in ("1", "2", "3", "4", "5") and centre is not None:
                yield Rating(series, str(reader), centre, int(rating), in_pixels=True)


def _centre(nodule: Element) -> tuple[float, float, float] | None:
    points = []
    for roi in (e for e in nodule.iter() if _name(e) == "roi"):
        if (_text(roi, "inclusion") or "TRUE").upper() == "FALSE":
            continue
        for edge in (e for e in roi.iter() if _name(e) == "edgeMap"):
            try:
                points.append(
                    [float(_text(edge, "xCoord")), float(_text(edge, "yCoord")), float(_text(roi, "imageZposition"))]
                )
            except ValueError:
                continue
    if not points:
        return None
    x, y, z = np.mean(points, axis=0)
    return float(x), float(y), float(z)


def _name(element: Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


def _text(element: Element, name: str) -> str:
    return next((e.text or "" for e in element.iter() if _name(e) == name), "").strip()
