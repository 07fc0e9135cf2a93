"""The `pmc-oa-opendata` bucket over anonymous HTTPS: versions, metadata, files with their MD5."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from harvest.errors import ItemError, TransientError
from harvest.http import Session

_S3 = re.compile(r"s3://[^/]+/(?P<key>[^?]+)(?:\?md5=(?P<md5>[0-9a-fA-F]{32}))?")
_PAGES = 50
# best first; thumbnails are GIF
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Object:
    """One object of the bucket: its address and the MD5 its bytes must have ('' where none is given)."""

    url: str
    md5: str
    name: str


def newest(session: Session, base: str, pmcid: str) -> str:
    """``PMC….v`` of the highest version, as a number; '' if the article is not in the bucket (not open access)."""
    versions: set[int] = set()
    # the dot keeps PMC113703600 out of PMC11370360's listing
    query: dict[str, str] = {"list-type": "2", "prefix": f"{pmcid}.", "delimiter": "/"}
    for _ in range(_PAGES):
        root = session.xml(f"{base}/", query)
        names = [e for e in root.iter() if _name(e.tag) == "Prefix"]
        for element in names:
            if found := re.fullmatch(rf"{re.escape(pmcid)}\.(\d{{1,6}})/", (element.text or "").strip()):
                versions.add(int(found[1]))
        truncated = next((e.text or "" for e in root.iter() if _name(e.tag) == "IsTruncated"), "").strip().lower()
        token = next((e.text or "" for e in root.iter() if _name(e.tag) == "NextContinuationToken"), "").strip()
        if truncated != "true" or not token:
            break
        query = {**query, "continuation-token": token}
    return f"{pmcid}.{max(versions)}" if versions else ""


def metadata(session: Session, base: str, article: str) -> dict[str, Any]:
    """The metadata of an article version (``PMC….v``)."""
    answer = session.json(f"{base}/metadata/{article}.json", check=_refuse)
    return dict(answer)


def object_of(base: str, url: Any) -> Object | None:
    """Where an ``s3://…?md5=…`` address of the metadata lies; None for null or what is no such address."""
    found = _S3.fullmatch(url) if isinstance(url, str) else None
    if found is None or ".." in PurePosixPath(found["key"]).parts:
        return None
    return Object(f"{base}/{quote(found['key'])}", (found["md5"] or "").lower(), PurePosixPath(found["key"]).name)


def picture(objects: list[Object], href: str) -> Object | None:
    """The file of a JATS graphic: its name with an ending, the fullest kind first."""
    wanted = PurePosixPath(href).name.lower()
    stems = {wanted, *(wanted.removesuffix(ending) for ending in _ENDINGS)}
    fits = [o for o in objects if _stem(o.name) in stems and o.name.lower().endswith(_ENDINGS)]
    return min(fits, key=lambda o: (_rank(o.name), o.name), default=None)


def _stem(name: str) -> str:
    low = name.lower()
    return next((low.removesuffix(ending) for ending in _ENDINGS if low.endswith(ending)), low)


def _rank(name: str) -> int:
    return next(rank for rank, ending in enumerate(_ENDINGS) if name.lower().endswith(ending))


def _refuse(answer: Any) -> None:
    if not isinstance(answer, dict):
        raise TransientError(f"expected metadata, got {answer!r:.120}", 200)
    if "pmcid" not in answer:
        raise ItemError(f"expected metadata with a pmcid, got the keys {', '.join(list(answer)[:8])}")


def _name(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
