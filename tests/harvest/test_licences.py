"""Licence codes: one spelling for what services write, and never a wider licence than is written."""

from __future__ import annotations

import pytest

from harvest.licences import code_of, rights


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
