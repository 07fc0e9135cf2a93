"""How the files are written: format by the bytes, pixel mode, density, metadata blocks; one encoding for all or a
shortcut. The texts in the files (PNG text, EXIF, comments) are read for what names a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from covidct import pictures
from covidct.checks import measures
from covidct.checks.model import Finding, Folder

ENDINGS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
BLOCKS = ("exif", "xmp", "icc_profile", "photoshop", "comment")
KNOWN = re.compile(r"software|xml:com\.adobe\.xmp|raw profile type .*", re.I)
"""text keys that are another fact already"""
PERSON = re.compile(r"patient|subject|birth|\bdob\b|\bmrn\b|accession", re.I)
"""text keys whose value is about the person shown, whatever it says"""
SEVERE = ("date of birth", "name", "id")
DIGITS = 6
"""from which a text is a time or an id"""
LONG = 60
"""characters of a text that are compared between files"""


def read(path: Path) -> dict[str, Any]:
    """Container facts of one picture: format, mode, density, which metadata blocks, which software, bytes."""
    image = pictures.open_picture(path)
    info = {str(key): value for key, value in image.info.items()}
    if "XML:com.adobe.xmp" in info or "Raw profile type xmp" in info:
        info["xmp"] = b"x"
    exif = image.getexif()
    texts = {k: v.strip() for k, v in info.items() if isinstance(v, str) and v.strip() and not KNOWN.fullmatch(k)}
    said = _exif_texts(exif) | ({"comment": _decoded(info["comment"])} if info.get("comment") else {})
    return {
        "format": str(image.format),
        "mode": image.mode,
        "dpi": _density(info.get("dpi")),
        "software": str(exif.get(0x0131) or info.get("Software") or "")[:60],
        "blocks": [name for name in BLOCKS if info.get(name) or (name == "exif" and len(exif))]
        + [f"{measures.TEXT}{key}" for key in sorted(texts) if key not in BLOCKS],
        "texts": texts,
        "said": texts | said,
        "progressive": bool(info.get("progressive")),
        "interlace": bool(info.get("interlace")),
        "tables": _tables(image),
        "palette": "transparency" in info,
        "gamma": "gamma" in info or "srgb" in info,
        "width": image.width,
        "height": image.height,
        "bytes": path.stat().st_size,
    }


def _density(stated: object) -> float:
    """Dots per inch as the file states them; 0 where it states none, or no number (a TIFF tag of another type)."""
    first = stated[0] if isinstance(stated, tuple) and stated else 0.0
    try:
        return round(float(first), 3)
    except (TypeError, ValueError, ArithmeticError):
        return 0.0


def _exif_texts(exif: Image.Exif) -> dict[str, str]:
    """What EXIF says in words, by the name of its tag."""
    words = {
        ExifTags.TAGS.get(tag, str(tag)): _decoded(value)
        for tag, value in [*exif.items(), *exif.get_ifd(ExifTags.IFD.Exif).items()]
        if isinstance(value, str) or (isinstance(value, bytes) and tag in (0x9286, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9F))
    }
    return {name: text for name, text in words.items() if text}


def _decoded(value: object) -> str:
    """Text of a metadata value; Windows writes its own tags in UTF-16."""
    if isinstance(value, bytes):
        value = value.decode("utf-16-le" if value[1:2] == b"\0" else "utf-8", errors="ignore")
    return re.sub(r"[\0\s]+", " ", str(value).removeprefix("ASCII")).strip()


def _tables(image: Image.Image) -> int:
    tables = getattr(image, "quantization", None)  # JPEG quality, as its tables say it
    return int(sum(tables[0])) if tables else 0


def check(folder: Folder) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Container facts of every picture, and findings: names that lie about the format, and more than one encoding."""
    facts = [read(item.path) for item in folder.items]
    common = Counter((key, text[:LONG]) for fact in facts for key, text in fact["texts"].items())
    for (
        fact
    ) in facts:  # a text of one file alone tells the class of no other, and times or ids only look as if they did
        fact["texts"] = {
            k: t[:LONG]
            for k, t in fact["texts"].items()
            if common[k, t[:LONG]] > 1 and sum(c.isdigit() for c in t) < DIGITS
        }
    lies = [i for i, f in enumerate(facts) if folder.items[i].path.suffix.lower() not in ENDINGS.get(f["format"], ())]
    found = []
    if lies:
        kinds = Counter(f"{facts[i]['format']} named {folder.items[i].path.suffix.lower()}" for i in lies)
        found.append(
            Finding(
                "mismatch",
                "warning",
                folder.names(lies),
                f"the bytes are not what the name says: {_counted(kinds)}",
                "read the format from the bytes; re-encode",
                {"formats": dict(kinds)},
            )
        )
    encodings = Counter(_encoding(f) for f in facts)
    by_class: dict[str, dict[str, int]] = {}
    for item, fact in zip(folder.items, facts, strict=True):
        name = {1: "COVID", 0: "NonCOVID"}.get(item.label if item.label is not None else -1, "no label")
        by_class.setdefault(name, {}).setdefault(f"{fact['format']}/{fact['mode']}", 0)
        by_class[name][f"{fact['format']}/{fact['mode']}"] += 1
    folder.metrics["encodings"] = by_class
    tagged = [i for i, f in enumerate(facts) if f["blocks"] or f["software"]]
    folder.metrics["files_with_metadata"] = len(tagged)
    if len(encodings) > 1 or tagged:
        usual = encodings.most_common(1)[0][0]
        odd = [i for i, f in enumerate(facts) if _encoding(f) != usual] if len(encodings) > 1 else tagged
        found.append(
            Finding(
                "encoding",
                "warning",
                folder.names(odd),
                f"{len(encodings)} encodings: {_counted(encodings)}; "
                f"{len(tagged)} files carry EXIF, XMP, texts or other blocks",
                "write all pictures as one form: 8-bit grey PNG without metadata (covidct.pictures.encode)",
                {"by_class": by_class, "usual": usual},
            )
        )
    return facts, found + _persons(folder, facts)


def _persons(folder: Folder, facts: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Texts in the files that name a person, one finding for each kind; what they say is not repeated."""
    if not any(fact["said"] for fact in facts):
        return []
    find: Callable[[str], Sequence[tuple[int, int, str]]]
    try:
        from curation.personal_text import personal as find
    except ImportError as error:
        folder.not_checked["metadata-texts"] = (
            f"curation is not installed ({error.name}): of the texts in the files only the keys were looked at"
        )

        def find(text: str) -> Sequence[tuple[int, int, str]]:
            return ()

    members: dict[str, dict[int, list[str]]] = {}
    for i, fact in enumerate(facts):
        for key, text in fact["said"].items():
            kinds = {kind for _, _, kind in find(f"{key}: {text}"[:2000]) if kind in SEVERE}
            if not kinds and PERSON.search(key):
                kinds = {"date of birth" if re.search(r"birth|dob", key, re.I) else "id"}
            for kind in kinds:
                members.setdefault(kind, {}).setdefault(i, []).append(key)
    return [
        Finding(
            "personal-data",
            "error",
            folder.names(sorted(where)),
            f"{len(where)} files carry a person's {kind} in their metadata "
            f"({', '.join(sorted({key for keys in where.values() for key in keys})[:5])})",
            "write the pictures anew without metadata (covidct.pictures.encode) before anything is handed on",
            {
                "kind": f"{kind}, metadata",
                "keys": {folder.items[i].name: keys for i, keys in sorted(where.items())},
                "texts": {},
                "boxes": {},
            },
        )
        for kind, where in sorted(members.items())
    ]


def _encoding(fact: dict[str, Any]) -> str:
    return f"{fact['format']}/{fact['mode']}" + (
        "/metadata" if fact["blocks"] or fact["software"] or fact["dpi"] else ""
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(6)) + (", ..." if len(counts) > 6 else "")
