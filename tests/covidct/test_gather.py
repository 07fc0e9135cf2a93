"""Pictures gathered in one encoding: the table's size is that of the pixels written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from covidct.gather import gather
from covidct.records import COLUMNS, write_records
from tests.covidct.conftest import picture


def test_a_picture_turned_by_exif_has_the_size_it_is_written_with(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture(0, (200, 120))).save(tmp_path / "a.jpg", exif=exif)
    row = dict.fromkeys(COLUMNS, "") | {"image_id": "a", "file": "a.jpg", "label": 1, "width": 200, "height": 120}
    write_records(tmp_path / "records.csv", pd.DataFrame([row | {"reviewed": True}]))
    records, failures = gather([tmp_path / "records.csv"], tmp_path / "out")
    assert not failures
    assert tuple(records.loc[0, ["width", "height"]]) == Image.open(tmp_path / "out/images/a.png").size == (120, 200)
