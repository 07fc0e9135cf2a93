"""Who stays together where the patient is known of a figure only."""

from __future__ import annotations

import pandas as pd

from covidct.groups import groups


def test_a_patient_known_by_figure_ties_the_whole_figure_and_no_more() -> None:
    """a and b are one object of one page; c is on another page, d another object, e of another document."""
    records = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "label": 1,
            "patient_id": list("pqrst"),
            "document_id": ["d", "d", "d", "d", "other"],
            "page": [3, 3, 4, 3, 3],
            "xref": [7, 7, 7, 8, 7],
            "patient_basis": ["figure", "case", "figure", "figure", "figure"],
        }
    )
    assert groups(records).tolist() == [0, 0, 1, 2, 3]
    assert groups(records.assign(patient_basis="case")).tolist() == [0, 1, 2, 3, 4]
    nowhere = records.assign(document_id="", page=1, xref=1)
    assert groups(nowhere).tolist() == [0, 1, 2, 3, 4]
