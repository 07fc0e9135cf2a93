"""Labels in their rarer forms."""

from __future__ import annotations

import pytest

from harvest.forms import read_label


@pytest.mark.parametrize(
    ("text", "kind", "number", "label", "rest"),
    [
        ("eFigure 1. Chest CT", "figure", "E1", "eFigure 1", "Chest CT"),
        ("Supplemental eFigure 2. Chest CT", "figure", "E2", "eFigure 2", "Chest CT"),
        ("Figures 1A and 1B. Chest CT", "figure", "1A,1B", "Figures 1A and 1B", "Chest CT"),
        ("S1 Fig. Chest CT", "figure", "S1", "S1 Fig", "Chest CT"),
        ("figure 1. Chest CT", "figure", "1", "figure 1", "Chest CT"),
        ("fig 2. Chest CT", "figure", "2", "fig 2", "Chest CT"),
        ("Supplementary figure 3. Chest CT", "figure", "S3", "Supplementary figure 3", "Chest CT"),
        ("Figure No. 1: Chest CT", "figure", "1", "Figure No. 1", "Chest CT"),
        ("Figure (2). Chest CT", "figure", "2", "Figure (2)", "Chest CT"),
        ("(Figure 1) Chest CT", "figure", "1", "Figure 1", "Chest CT"),
        ("[Fig. 2] Chest CT", "figure", "2", "Fig. 2", "Chest CT"),
        ("Figure 3) Chest CT", "figure", "3", "Figure 3", "Chest CT"),
        ("Figure 3, Chest CT", "figure", "3", "Figure 3", "Chest CT"),
        ("Figure 4; Chest CT", "figure", "4", "Figure 4", "Chest CT"),
        ("Figures 1 and 2. Chest CT", "figure", "1,2", "Figures 1 and 2", "Chest CT"),
        ("Figs. 3-5. Chest CT", "figure", "3-5", "Figs. 3-5", "Chest CT"),
        ("Image 1. Chest CT", "image", "1", "Image 1", "Chest CT"),
        ("Picture 2. Chest CT", "image", "2", "Picture 2", "Chest CT"),
        ("Appendix Figure 1. Chest CT", "figure", "A1", "Appendix Figure 1", "Chest CT"),
        ("Supplementary Figure 1. Chest CT", "figure", "S1", "Supplementary Figure 1", "Chest CT"),
        (
            "Figure 1 - figure supplement 2. Chest CT", "figure", "1-S2", "Figure 1 - figure supplement 2", "Chest CT",
        ),
        ("Figure 1. Chest CT", "figure", "1", "Figure 1", "Chest CT"),
    ],
)  # fmt: skip
def test_a_label_in_a_rarer_form(text: str, kind: str, number: str, label: str, rest: str) -> None:
    reading = read_label(text)
    assert reading is not None
    found = reading.label
    assert (found.kind, found.number, found.text, text[found.end :]) == (kind, number, label, rest)


@pytest.mark.parametrize(
    "text",
    ["figure 1 shows", "Figures 1 and 2 show", "eFigure 1 shows", "Image 1 was", "Picture this", "figure it out", ""],
)
def test_a_mention_is_no_label(text: str) -> None:
    assert read_label(text) is None
