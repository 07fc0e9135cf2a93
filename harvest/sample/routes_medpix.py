"""MedPix as its clients see it: `/rest` calls with relative addresses, images, and the placeholder for missing ones."""

from __future__ import annotations

from functools import lru_cache
from xml.sax.saxutils import escape

import cv2
import numpy as np

from harvest.sample.replies import XML, Reply, Request, as_json, not_found, page
from harvest.sample.store import Row, Store

PLACEHOLDER_BYTES = 6168


def medpix(request: Request, store: Store) -> Reply:
    """Routes of medpix.nlm.nih.gov."""
    path, query = request.path, request.query
    cases = {c["encounter"]["encounterID"]: c for c in store.cases}
    if path == "rest/encounter/diagnosis.json":
        return as_json(_by_diagnosis(store, query.get("diagnosis", "")))
    if path == "rest/caseofweek/list":
        count = int(query.get("count", 10))
        body = "".join(f"<case><encounterID>{i}</encounterID></case>" for i in list(cases)[:count])
        return Reply(f'<?xml version="1.0" encoding="UTF-8"?><cases>{body}</cases>'.encode(), 200, XML)
    if path in ("rest/encounter.json", "rest/encounter"):
        case = cases.get(query.get("encounterID", ""))
        encounter = (
            case["encounter"] if case else {"encounterID": None, "imageList": [], "error": "Encounter not found"}
        )
        if path.endswith(".json"):
            return as_json(encounter)
        fields = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in encounter.items() if not isinstance(v, list))
        return Reply(f'<?xml version="1.0"?><EncounterRest>{fields}</EncounterRest>'.encode(), 200, XML)
    if path == "rest/topic.json":
        topic = next((c["topic"] for c in store.cases if c["topic"]["topicID"] == query.get("topicID")), None)
        return as_json(topic or {"topicID": None, "error": "Topic not found"})
    if path == "rest/image.json":
        images = [i for c in store.cases for i in c["encounter"]["imageList"] if i["imageID"] == query.get("imageID")]
        return as_json(images[0] if images else {"imageID": None, "imageURL": None, "error": "Image not found"})
    if path.startswith(("images/full/", "images/cow/", "images/thumbs/")):
        data = store.medpix(path.rsplit("/", 1)[1])
        return Reply(data if data is not None else placeholder(), 200, "image/jpeg")
    if path == "case":
        return page("<!DOCTYPE html><html ng-app><head><title>MedPix Case</title></head><body></body></html>")
    return not_found(path)


def _by_diagnosis(store: Store, letters: str) -> list[Row]:
    """Cases whose diagnosis begins with the letters."""
    found = []
    for case in store.cases:
        encounter = case["encounter"]
        if encounter["diagnosis"].lower().startswith(letters.lower()):
            found.append({"encounterID": encounter["encounterID"], "diagnosis": encounter["diagnosis"]})
    return found


@lru_cache(maxsize=1)
def placeholder() -> bytes:
    """The picture MedPix serves, with status 200, for an image it does not have: 6 168 bytes."""
    canvas = np.full((200, 200, 3), 230, np.uint8)
    cv2.putText(canvas, "No image", (30, 105), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (90, 90, 90), 2)
    data: bytes = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
    # a comment segment in front of the end marker brings it to the length seen
    fill = PLACEHOLDER_BYTES - len(data) - 4
    comment = b"\xff\xfe" + (fill + 2).to_bytes(2, "big") + b" " * fill
    return data[:2] + comment + data[2:]
