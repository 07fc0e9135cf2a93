"""Readers' malignancy ratings from CSV and from LIDC's XML, and what is made of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harvest.errors import HarvestError
from harvest.lidc import consensus, label_of, read_ratings
from harvest.mhd import read_header

SPACE = ' xmlns="http://www.nih.gov"'


def xml(*nodules: str, series: str = "1.2.3") -> str:
    sessions = "".join(f"<readingSession>{nodule}</readingSession>" for nodule in nodules)
    head = f"<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>" if series else ""
    return f'<?xml version="1.0"?><LidcReadMessage{SPACE}>{head}{sessions}</LidcReadMessage>'


def nodule(rating: str, *edges: tuple[int, int, float], inclusion: str = "TRUE") -> str:
    rois = "".join(
        f"<roi><imageZposition>{z}</imageZposition><inclusion>{inclusion}</inclusion>"
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap></roi>"
        for x, y, z in edges
    )
    marks = f"<characteristics><malignancy>{rating}</malignancy></characteristics>" if rating else ""
    return f"<unblindedReadNodule><noduleID>n</noduleID>{marks}{rois}</unblindedReadNodule>"


@pytest.mark.parametrize(
    ("ratings", "middle", "label"),
    [
        ([], None, None), ([1], 1, 0), ([2, 3], 3, None), ([3], 3, None), ([3, 4], 4, 1), ([2, 2, 5], 2, 0),
        ([5, 5, 1, 4], 5, 1), ([1, 2, 3, 4], 3, None),
    ],
)  # fmt: skip
def test_the_high_median_decides_and_three_is_left_out(ratings, middle, label):
    assert consensus(ratings) == middle and label_of(middle) == label


def test_ratings_of_a_table(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "\ufeffseriesuid,coordX,coordY,coordZ,malignancy,reader\n1.2,-10,20.5,-300,4,2\n1.2,-10,20.5,-300,5.0,3\n"
    )
    first, second = read_ratings(path)
    assert (first.seriesuid, first.place, first.malignancy, first.reader) == ("1.2", (-10.0, 20.5, -300.0), 4, "2")
    assert second.malignancy == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX,coordY\n", "missing: coordZ, malignancy"),
        ("seriesuid,coordX,coordY,coordZ,malignancy\n1,0,0,x,4\n", ":2: expected numbers"),
        ("seriesuid,coordX,coordY,coordZ,malignancy\n1,0,0,0,inf\n", ":2: expected numbers"),
        ("seriesuid,coordX,coordY,coordZ,malignancy\n1,0,0,0,6\n", "expected 1 to 5, got 6"),
        ("seriesuid,coordX,coordY,coordZ,malignancy\n1,0\n", ":2"),
    ],
)
def test_a_bad_table_names_line_and_column(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(HarvestError, match=message):
        list(read_ratings(tmp_path / "m.csv"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"1,0,0,0," + b"4" * 200_000, r"m\.csv:3: expected a row"),
        (b'1,0,0,0,"' + b"4\n" * 200_000, r"m\.csv:3: expected a row"),
        (b"1,0,0,0,\xff\xfe", r"m\.csv: expected UTF-8, got other bytes behind line 0"),
    ],
)
def test_a_table_that_is_none_says_where(tmp_path, body, message):
    """A field without an end, and letters that are not UTF-8."""
    path = tmp_path / "m.csv"
    path.write_bytes(b"seriesuid,coordX,coordY,coordZ,malignancy\n1,0,0,0,4\n" + body)
    with pytest.raises(HarvestError, match=message) as caught:
        list(read_ratings(path))
    assert len(str(caught.value)) < 300 + len(str(path))


def test_ratings_of_lidc_xml(volume, tmp_path):
    """Places are pixels and millimetres of z; unrated and small nodules, and excluded regions, are passed over."""
    text = xml(
        nodule("4", (10, 20, -30.0), (14, 24, -30.0), (12, 22, -27.5)), nodule("0", (1, 1, -30.0)),
        nodule("", (1, 1, -30.0)), nodule("5", (1, 1, -30.0), inclusion="FALSE"), nodule("2", (2, 1, -27.5)),
    )  # fmt: skip
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.xml").write_text(text)
    found = list(read_ratings(tmp_path))
    assert [(r.seriesuid, r.reader, r.malignancy, r.in_pixels) for r in found] == [
        ("1.2.3", "1", 4, True),
        ("1.2.3", "5", 2, True),
    ]
    assert found[0].place == pytest.approx((12, 22, -29.1667), abs=1e-3)
    header = read_header(volume(tmp_path))
    assert found[1].world(header) == pytest.approx(np.array([-10 + 0.5 * 2, -20 + 0.5 * 1, -27.5]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xml(nodule("4", (1, 1, 0.0)), series=""), "SeriesInstanceUid"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "entity"),
        ("<a><b>", "expected XML"),
    ],
)
def test_bad_xml_is_refused(tmp_path, text, message):
    (tmp_path / "m.xml").write_text(text)
    with pytest.raises(HarvestError, match=message):
        list(read_ratings(tmp_path / "m.xml"))


def test_ratings_that_are_not_there(tmp_path: Path):
    with pytest.raises(HarvestError, match="--malignancy"):
        list(read_ratings(tmp_path / "none.csv"))
