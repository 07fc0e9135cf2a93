"""What bytes are, by their first bytes: a challenge page never becomes a PDF, an error page never an image."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gzip"),
)
IMAGES = frozenset({"png", "jpeg", "gif", "tiff"})
# Pillow's names for them. Without a list it tries all it knows by the bytes, whatever the file is called, and for
# PostScript that means running Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF")
SUFFIX = {"png": ".png", "jpeg": ".jpg", "gif": ".gif", "tiff": ".tif", "pdf": ".pdf", "zip": ".zip"}
_CHALLENGE = re.compile(
    rb"<title>\s*Just a moment|challenges\.cloudflare\.com|cf-chl-|Attention Required! \| Cloudflare", re.I
)
# Comments are matched in one way only and never given back: else a row of them takes longer than anybody waits.
_HTML = re.compile(rb"\s*(?:<!--(?:(?!-->).)*-->\s*)*+<(?:!doctype html|html|head|body)\b", re.I | re.S)


def sniff(head: bytes) -> str:
    """``pdf png jpeg gif tiff zip gzip html xml json text empty`` from the first kilobyte."""
    if not head:
        return "empty"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    # Readers accept a PDF header anywhere in the first kilobyte, and real files have blank lines before it; anything
    # that is itself markup is not taken for one, whatever it quotes further down.
    if head.startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and head.lstrip()[:1] not in (b"<", b"{")):
        return "pdf"
    if _HTML.match(head):
        return "html"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        return "xml"
    if start[:1] in (b"{", b"["):
        return "json"
    return "text"


def is_challenge(body: bytes) -> bool:
    """True for a Cloudflare challenge or block page, whatever status it came with."""
    head = body[:16_384].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and bool(_CHALLENGE.search(head))


def is_cloudflare(headers: Mapping[str, str]) -> bool:
    """True for an answer that came by way of Cloudflare, by its headers: its refusals have many wordings."""
    said = {name.lower(): value.strip().lower() for name, value in headers.items()}
    return "cf-ray" in said or "cf-mitigated" in said or said.get("server") == "cloudflare"
