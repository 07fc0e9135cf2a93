"""Licence codes: one spelling for what the services write, and what each code lets a dataset do.

The codes are those of the bioRxiv/medRxiv API (``cc_by``, ``cc_by_nc_nd``, ``cc_no`` …), ``""`` where
nothing is stated. This is not legal advice.
"""

from __future__ import annotations

import re
from functools import lru_cache
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
# Prose is read from the general to the restriction: a word that narrows counts wherever it stands, because to take a
# licence for a narrower one costs a picture, for a wider one a right.
_ZERO = re.compile(r"public domain dedication|\bCC[\s-]?0\b", re.IGNORECASE)
_BY = re.compile(r"creative commons attribution|\bCC[\s-]?BY\b", re.IGNORECASE)
_NARROWER = (
    ("nc", re.compile(r"non[\s-]*commercial|\bBY[\s-]+(?:ND[\s-]+|SA[\s-]+)?NC\b", re.IGNORECASE)),
    ("nd", re.compile(r"\bno[\s-]*deriv|\bBY[\s-]+(?:NC[\s-]+)?ND\b", re.IGNORECASE)),
    ("sa", re.compile(r"share[\s-]*alike|\bBY[\s-]+(?:NC[\s-]+)?SA\b", re.IGNORECASE)),
)
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u00ad"), "-")
"""for ``str.translate``: every dash as a hyphen"""
# Here too the narrow reading is the safe one: a picture that is credited to somebody is not the article's to license.
_OTHERS = re.compile(
    r"\b(?:reprinted|republished|courtesy)\b|\b(?:image|picture|photo(?:graph)?|figure)\s+credits?\b"
    r"|\b(?:reproduced|redrawn|adapted|borrowed)\b.{0,40}?\b(?:from|after|by|with\s+permission)\b"
    r"|\b(?:used|taken|modified)\b.{0,60}?\b(?:permission|from\s+(?:ref|\[|\w+\s+(?:et\s+al|and\s+[A-Z])))"
    r"|\b(?:with|by)\s+(?:the\s+)?(?:kind\s+|written\s+)?permission\b|\bpermission\s+(?:of|from|granted\s+by)\b"
    r"|(?:^|[.;(]\s*)from\s+(?:ref(?:s|erences?)?\b|\[\s*\d)"
    r"|(?:\u00a9|\bcopyright\b|\(c\)\s*(?=RSNA|(?:19|20)\d\d))(?!\s*(?:(?:19|20)\d\d\s+)?the\s+authors?\b)",
    re.IGNORECASE | re.DOTALL,
)


@lru_cache(maxsize=1024)
def code_of(text: str | None) -> str:
    """The code for what a service wrote: ``CC BY-NC``, ``cc by``, ``bync``, a Creative Commons URL, or prose.

    ``""`` for nothing, ``none`` or what is not understood: unknown never becomes a permission.
    """
    value = " ".join((text or "").translate(DASHES).split())
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
    if _BY.search(value):
        parts = [part for part, pattern in _NARROWER if pattern.search(value)]
        if "nd" in parts:
            parts = [part for part in parts if part != "sa"]
        return "_".join(["cc_by", *parts])
    return "cc0" if _ZERO.search(value) else ""


def of_others(text: str) -> bool:
    """True if a caption credits its picture to somebody else: reprinted, adapted from, by permission, courtesy, (c)."""
    return bool(_OTHERS.search(text))


def rights(code: str) -> Rights:
    """What ``code`` allows; unknown codes allow nothing."""
    return RIGHTS.get(code, _NO)
