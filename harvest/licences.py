"""Licence codes: one spelling for what the services write, and what each code lets a dataset do.

The codes are those of the bioRxiv/medRxiv API (``cc_by``, ``cc_by_nc_nd``, ``cc_no`` …), ``""`` where
nothing is stated. This is not legal advice.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Rights(NamedTuple):
    """What a licence lets a dataset do with pictures cut out of a document."""

    redistribute: bool
    """crops and resized pictures may be handed on"""
    attribution: bool = False
    non_commercial: bool = False
    share_alike: bool = False
    text: str = ""


_NO = Rights(False, text="not stated")
RIGHTS: dict[str, Rights] = {
    "cc0": Rights(True, text="CC0, public domain"),
    "cc0_ng": Rights(True, text="work of the US government"),
    "public_domain": Rights(True, text="public domain"),
    "cc_by": Rights(True, attribution=True, text="CC BY"),
    "cc_by_sa": Rights(True, attribution=True, share_alike=True, text="CC BY-SA"),
    "cc_by_nc": Rights(True, attribution=True, non_commercial=True, text="CC BY-NC"),
    "cc_by_nc_sa": Rights(True, attribution=True, non_commercial=True, share_alike=True, text="CC BY-NC-SA"),
    # A crop is a derivative: no-derivatives licences allow only the unaltered figure.
    "cc_by_nd": Rights(False, attribution=True, text="CC BY-ND: unaltered only"),
    "cc_by_nc_nd": Rights(False, attribution=True, non_commercial=True, text="CC BY-NC-ND: unaltered only"),
    "cc_no": Rights(False, text="all rights reserved"),
    "tdm": Rights(False, text="may be mined, not handed on"),
    "reproduced": Rights(False, text="figure reproduced with a third party's permission"),
    "link_only": Rights(False, text="link only: rights stay with the contributor"),
    "": _NO,
}
_URL = re.compile(r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)|publicdomain/(zero|mark))", re.IGNORECASE)
_PROSE = (
    (r"public domain dedication|\bCC0\b", "cc0"),
    (r"attribution[\s–-]*non[\s-]*commercial[\s–-]*(no[\s-]*deriv|noderiv)|\bCC[\s-]BY-NC-ND\b", "cc_by_nc_nd"),
    (r"attribution[\s–-]*non[\s-]*commercial[\s–-]*share|\bCC[\s-]BY-NC-SA\b", "cc_by_nc_sa"),
    (r"attribution[\s–-]*non[\s-]*commercial|\bCC[\s-]BY-NC\b", "cc_by_nc"),
    (r"attribution[\s–-]*no[\s-]*deriv|\bCC[\s-]BY-ND\b", "cc_by_nd"),
    (r"attribution[\s–-]*share|\bCC[\s-]BY-SA\b", "cc_by_sa"),
    (r"creative commons attribution|\bCC[\s-]BY\b", "cc_by"),
)


def code_of(text: str | None) -> str:
    """The code for what a service wrote: ``CC BY-NC``, ``cc by``, ``bync``, a Creative Commons URL, or prose.

    ``""`` for nothing, ``none`` or what is not understood: unknown never becomes a permission.
    """
    value = (text or "").strip()
    if not value or value.lower() in ("none", "na", "n/a", "null"):
        return ""
    if found := _URL.search(value):
        return (
            "cc0" if found[2] == "zero" else "public_domain" if found[2] else "cc_" + found[1].lower().replace("-", "_")
        )
    plain = re.sub(r"[\s_-]+", "_", value.lower().removesuffix(" 4.0").removesuffix(" 3.0"))
    # Open-i writes them without separators: by, bync, byncnd, byncsa
    if short := re.fullmatch(r"(?:cc_?)?(by)_?(nc)?_?(nd|sa)?", plain):
        return "_".join(["cc", *(part for part in short.groups() if part)])
    if plain in RIGHTS:
        return plain
    for pattern, code in _PROSE:
        if re.search(pattern, value, re.IGNORECASE):
            return code
    return ""


def rights(code: str) -> Rights:
    """What ``code`` allows; unknown codes allow nothing."""
    return RIGHTS.get(code, _NO)
