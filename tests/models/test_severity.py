"""Severity words: grades of the illness, not of a symptom, not denied ones."""

from __future__ import annotations

import pytest

from models.severity import OTHER, UNSTATED, grade


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Severe", "severe"),
        ("  mild  Covid-19 ", "mild"),
        ("serious condition", "severe"),
        ("Moderate patient with opacities", "moderate"),
        ("light", "mild"),
        ("asymptomatic", "asymptomatic"),
        ("critical", "critical"),
        ("one of the mortality group", "critical"),
        ("a mild case that became severe", "severe"),
        ("severe cough and fever", OTHER),
        ("non-severe", OTHER),
        ("not critical, mild", "mild"),
        ("slightly absorbed opacities", OTHER),
        ("highlighted consolidation", OTHER),
        ("without any symptoms", "asymptomatic"),
        ("", UNSTATED),
        (" \n", UNSTATED),
    ],
)
def test_grade(text: str, expected: str) -> None:
    assert grade(text) == expected
