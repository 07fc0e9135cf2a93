"""How the files are written: format by the bytes, pixel mode, density, metadata blocks; one encoding for all or a
shortcut.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from covidct import pictures
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


def read(path: Path) -> dict[str, Any]:
    """Container facts of one picture: format, mode, density, which metadata blocks, which software, bytes."""
    image = pictures.open_picture(path)
    info = {str(key): value for key, value in image.info.items()}
    if "XML:com.adobe.xmp" in info or "Raw profile type xmp" in info:
        info["xmp"] = b"x"
    density = info.get("dpi") or (0.0, 0.0)
    try:
        exif = image.getexif()
    except (OSError, SyntaxError, ValueError):  # damaged metadata is a fact too
        exif = Image.Exif()
    return {
        "format": str(image.format),
        "mode": image.mode,
        "dpi": round(float(density[0]), 3) if isinstance(density, tuple) and density else 0.0,
        "software": str(exif.get(0x0131) or info.get("Software") or "")[:60],
        "blocks": [name for name in BLOCKS if info.get(name) or (name == "exif" and len(exif))],
        "progressive": bool(info.get("progressive")),
        "interlace": bool(info.get("interlace")),
        "tables": _tables(image),
        "palette": "transparency" in info,
        "gamma": "gamma" in info or "srgb" in info,
        "width": image.width,
        "height": image.height,
        "bytes": path.stat().st_size,
    }


def _tables(image: Image.Image) -> int:
    tables = getattr(image, "quantization", None)  # JPEG quality, as its tables say it
    return int(sum(tables[0])) if tables else 0


def check(folder: Folder) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Container facts of every picture, and findings: names that lie about the format, and more than one encoding."""
    facts = [read(item.path) for item in folder.items]
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
                f"{len(tagged)} files carry EXIF, XMP or other blocks",
                "write all pictures as one form: 8-bit grey PNG without metadata (covidct.pictures.encode)",
                {"by_class": by_class, "usual": usual},
            )
        )
    return facts, found


def _encoding(fact: dict[str, Any]) -> str:
    return f"{fact['format']}/{fact['mode']}" + (
        "/metadata" if fact["blocks"] or fact["software"] or fact["dpi"] else ""
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(6)) + (", ..." if len(counts) > 6 else "")
