"""Open-i as it answers: search with 1-based inclusive ``m`` to ``n``, captions with markup, PNGs up to 512 px wide."""

from __future__ import annotations

import re
from functools import lru_cache

import cv2
import numpy as np

from harvest.sample.replies import Reply, Request, as_json, not_found, ranged
from harvest.sample.routes_pmc import newest
from harvest.sample.store import Store


def openi(request: Request, store: Store) -> Reply:
    """Open-i: search with 1-based inclusive ``m``…``n``, and its PNGs at most 512 px wide."""
    if request.path.startswith("imgs/"):
        return _openi_image(request, store)
    if request.path != "api/search":
        return not_found(request.path)
    query = request.query
    kinds = set(query.get("it", "").split(",")) - {""}
    if kinds - {"c", "g", "m", "mc", "p", "ph", "u", "x", "xg", "xm"}:
        return as_json({"Query-Error": "Invalid request type."})
    wanted = {"pmc": "PMC", "mpx": "MPX"}
    collections = {wanted.get(c, "none") for c in query.get("coll", "").split(",") if c}
    words = re.findall(r"[\w-]+", query.get("query", "").lower())
    rows = []
    for item in store.openi:
        text = f"{item['title']} {item['image']['caption']} {item['image']['modalityMajor']}".lower()
        plain = {k for k in kinds if k not in ("xg", "xm")}
        if collections and item["docSource"] not in collections:
            continue
        if plain and item["image"]["modalityMajor"] not in plain:
            continue
        if "covid" in text or not all(w in text for w in words if w not in ("and", "or", "chest", "ct", "lung")):
            continue
        rows.append(item)
    if not rows:
        return as_json({"total": 0})
    first, last = int(query.get("m", 1)), int(query.get("n", 10))
    served = rows[first - 1 : last]
    if not served:
        return as_json({"min": first, "max": last, "count": 0, "total": len(rows), "approximage": "false"})
    return as_json(
        {
            "min": first,
            "max": first + len(served) - 1,
            "count": len(served),
            "total": len(rows),
            "approximage": "false",
            "list": served,
        }
    )


def _openi_image(request: Request, store: Store) -> Reply:
    found = re.fullmatch(r"imgs/(512|100|137|150)/(\d+)/(\d+)/([^/]+)\.png", request.path)
    if not found or int(found.group(3)) % 401 != int(found.group(2)):
        return not_found(request.path)
    size, mod, ident, name = found.groups()
    data = store.twin(f"{mod}/{ident}/{name}.png")
    if data is None and name.startswith("PMC"):
        pmcid, _, href = name.partition("_")
        path = store.bucket.get(f"{newest(store, pmcid)}/{href}.jpg")
        data = path.read_bytes() if path else None
    if data is None:
        return not_found(request.path)
    return ranged(_shrunk(data, int(size)), "image/png", request.headers, '"openi"')


@lru_cache(maxsize=128)
def _shrunk(data: bytes, width: int) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return data
    if pixels.shape[1] > width:
        pixels = cv2.resize(
            pixels, (width, round(pixels.shape[0] * width / pixels.shape[1])), interpolation=cv2.INTER_AREA
        )
    return cv2.imencode(".png", pixels)[1].tobytes()
