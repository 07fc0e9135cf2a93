"""Licence codes: one spelling for what services write, and never a wider licence than is written."""

from __future__ import annotations

import pytest

from harvest.licences import code_of, of_others, rights


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cc_by", "cc_by"),
        ("CC BY-NC", "cc_by_nc"),
        ("CC BY-NC-ND", "cc_by_nc_nd"),
        ("cc by", "cc_by"),
        ("bync", "cc_by_nc"),
        ("byncsa", "cc_by_nc_sa"),
        ("CC BY 4.0", "cc_by"),
        ("CC0", "cc0"),
        ("cc0_ng", "cc0_ng"),
        ("cc_no", "cc_no"),
        ("TDM", "tdm"),
        ("", ""),
        (None, ""),
        ("none", ""),
        ("NA", ""),
        ("open-access", ""),
        ("something new", ""),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", "cc_by_nc_nd"),
        ("http://creativecommons.org/licenses/by/2.0", "cc_by"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public_domain"),
        ("under the Creative Commons Attribution Non-Commercial Licence 4.0", "cc_by_nc"),
        ("the Creative Commons Attribution License, which permits unrestricted use", "cc_by"),
        ("CC BY-NC-SA licence", "cc_by_nc_sa"),
    ],
)
def test_one_spelling_for_what_services_write(text, code):
    assert code_of(text) == code


def test_what_is_not_a_permission_is_none():
    """Trap 9."""
    for code in ("", "cc_no", "cc_by_nd", "cc_by_nc_nd", "tdm", "link_only", "reproduced", "what is this"):
        assert not rights(code).redistribute
    assert all(rights(code).redistribute for code in ("cc0", "cc0_ng", "cc_by", "cc_by_nc", "cc_by_sa"))
    assert rights("cc_by_nc").non_commercial and rights("cc_by").attribution and not rights("cc0").attribution


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("distributed under the CC BY NC ND license", "cc_by_nc_nd"),
        ("under a CC\u2011BY\u2011NC licence", "cc_by_nc"),
        ("Creative Commons Attribution\u2010NonCommercial\u2010NoDerivatives 4.0", "cc_by_nc_nd"),
        ("Creative Commons Attribution 4.0 International, for non-commercial use only", "cc_by_nc"),
        ("Creative Commons Attribution License (CC BY-NC-SA)", "cc_by_nc_sa"),
        ("Creative Commons Attribution License, no derivatives", "cc_by_nd"),
        ("Creative Commons Attribution-ShareAlike", "cc_by_sa"),
        ("the CC0 waiver applies to the data; the article is under a Creative Commons Attribution licence", "cc_by"),
        ("dedicated by its authors under the CC0 1.0 public domain dedication", "cc0"),
        ("by kind permission of the nurses", ""),
    ],
)
def test_prose_is_never_read_as_a_wider_licence_than_it_is(text, code):
    assert code_of(text) == code


@pytest.mark.parametrize(
    "caption",
    [
        "Chest CT. Reprinted from Radiology 2010;255:12, \u00a9 RSNA.",
        "Adapted from Smith and Jones (2010).",
        "Chest CT (from reference 12, with permission)",
        "Courtesy of Dr. Smith.",
        "Reproduced from Smith et al.",
        "\u00a9 2010 Elsevier. Used with permission.",
        "Copyright RSNA 2010",
        "Axial CT. From [12]",
        "Modified from Smith et al",
        "Image credit: Dr. Smith",
    ],
)
def test_pictures_credited_to_others_are_known(caption):
    assert of_others(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "Axial CT taken from a 45-year-old man, 3 days from onset.",
        "(a) Axial, (b) coronal and (c) sagittal chest CT. The window was adapted to the lung.",
        "The finding was reproduced in all patients. Images used for training, from left to right.",
        "\u00a9 The Authors 2019",
        "Published with the patient's permission.",
    ],
)
def test_an_articles_own_pictures_are_not_taken_for_others(caption):
    assert not of_others(caption)
