"""Who is shown: keys of curators and captions meet under one name, the unknown stays together."""

from __future__ import annotations

import pytest

from curation.identity import Shown, assign


def shown(number: int, **more: object) -> Shown:
    return Shown(
        **{"image_id": f"i{number}", "source": "medrxiv", "document_id": "d", "figure_id": f"f{number}", **more}
    )


@pytest.mark.parametrize("key", ["P1", "p 1", "pt. 1", "Pat 1", "1", "patient 1", "Patient 1", "case 1"])
def test_a_curators_shorthand_is_the_patient_that_a_caption_names(key: str) -> None:
    found = assign([shown(1, curator=key), shown(2, named=("patient 1",)), shown(3, named=("patient 2",))])
    assert found["i1"][0] == found["i2"][0] != found["i3"][0]
    assert found["i1"][1] == "curator" and found["i2"][1] == "caption"


def test_other_keys_of_curators_stay_what_they_are() -> None:
    found = assign([shown(1, curator="Anna"), shown(2, curator=" anna "), shown(3, curator="p1b")])
    assert found["i1"] == found["i2"] != found["i3"] and found["i1"][1] == "curator"


def test_who_is_not_named_is_grouped_by_figure_or_document() -> None:
    assert assign([shown(1)])["i1"] == ("f1", "figure")
    found = assign([shown(1), shown(2)])
    assert found["i1"] == found["i2"] == ("d", "document")
