"""Dates in digits that captions give, beside those curation's reading sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from covidct.checks.captions import read
from covidct.checks.model import Item

evidence = pytest.importorskip("curation.evidence")


@pytest.mark.parametrize(
    ("caption", "doubted"),
    [
        ("Chest CT, 12/05/2017, patchy opacity", True),
        ("CT of 14.03.2018", True),
        ("CT 20180314", True),
        ("Chest CT of a COVID-19 patient, 05.11.2019", True),
        ("Chest CT of a COVID-19 patient, 12/11/2019", False),  # December, written the American way
        ("CT of 14.03.2020 in COVID-19", False),
        ("CT of 14.03.2018 and of March 2020 in COVID-19", False),
        ("COVID-19 in a man born 14.03.1958", False),
        ("COVID-19, doi 10.1101/2020.03.10.20031003", False),
        ("COVID-19, study 201803145", False),
    ],
)
def test_a_day_in_digits_before_the_disease_is_a_doubt(caption: str, doubted: bool) -> None:
    doubt = read(Item("x", Path("x"), 1, caption=caption), evidence.suggest)
    assert (doubt is not None and "before December 2019" in doubt.reason) == doubted
