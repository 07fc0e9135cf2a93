"""Cases of MedPix by its `/rest` calls: their axial chest CTs, with diagnosis, age and sex as the case states them."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvest import given
from harvest.errors import BlockedError, ItemError, TransientError
from harvest.hosts import joined, same_site
from harvest.http import Session
from harvest.openi import plain
from harvest.options import progress
from harvest.select import chest_ct, may_be_covid
from harvest.store import Store

OPENI = "https://openi.nlm.nih.gov"
MEDPIX = "https://medpix.nlm.nih.gov"


@dataclass(frozen=True)
class Services:
    """The addresses asked."""

    openi: str
    medpix: str

    def public(self, text: str) -> str:
        """``text`` with a stand-in's addresses replaced by the public ones."""
        return text.replace(self.openi, OPENI).replace(self.medpix, MEDPIX)


def list_encounters(session: Session, store: Store, services: Services) -> None:
    """All cases: those of each first letter of the diagnosis."""
    with progress("letters", 26) as advance:
        for letter in string.ascii_lowercase:
            url = f"{services.medpix}/rest/encounter/diagnosis.json"
            answer = session.json(url, {"diagnosis": letter}, check=_refuse_list)
            ids = [str(e["encounterID"]) for e in answer if isinstance(e, dict) and e.get("encounterID")]
            with store.transaction() as db:
                db.executemany("INSERT OR IGNORE INTO encounter(id) VALUES (?)", [(i,) for i in ids])
            advance(1, "")


def read_encounters(session: Session, store: Store, services: Services) -> None:
    """Read each case and put its axial chest CTs into the store."""
    total = store.count("SELECT count(*) FROM encounter")
    with progress("cases", total) as advance:
        for position in range(total):
            row = store.db.execute("SELECT * FROM encounter ORDER BY id LIMIT 1 OFFSET ?", (position,)).fetchone()
            if row["state"] == "listed":
                try:
                    read_encounter(session, store, services, row["id"])
                except (ItemError, BlockedError) as error:
                    store.fail(row["id"], services.public(str(error)), waiting=isinstance(error, BlockedError))
            advance(1, "")


def read_encounter(session: Session, store: Store, services: Services, encounter: str) -> None:
    """One case: its wanted pictures become candidates, in one transaction with the note that it is read."""
    case = session.json(f"{services.medpix}/rest/encounter.json", {"encounterID": encounter}, check=_refuse_case)
    pictures = _pictures(case, encounter)
    images = [i for i in pictures if shown(i)]
    scans = [i for i in images if chest_ct("CT chest", "", str(i.get("modality") or ""), str(i.get("plane") or ""))[0]]
    topic: dict[str, Any] = {}
    if scans and case.get("topicID"):
        topic = session.json(f"{services.medpix}/rest/topic.json", {"topicID": case["topicID"]}, check=_refuse_object)
    words = " ".join(plain(case.get(key)) for key in ("diagnosis", "history", "findings", "discussion", "exam"))
    place = " ".join(
        plain(source.get(key)) for source in (case, topic) for key in ("location", "subLocation", "category")
    )
    with store.transaction() as db:
        db.execute("UPDATE encounter SET state = 'read' WHERE id = ?", (encounter,))
        if may_be_covid(f"{words} {plain(topic.get('title'))}"):
            given.exclude(store, encounter, "speaks of COVID-19")
            return
        for image in pictures:
            if name := picture_name(image):
                db.execute("INSERT OR REPLACE INTO picture VALUES (?, ?, '')", (name, encounter))
        for image in scans:
            name = picture_name(image)
            url = joined(f"{services.medpix}/", str(image.get("imageURL") or "").lstrip("/"))
            caption = plain(image.get("imageCaption")) or plain(image.get("title"))
            modality, plane = str(image.get("modality") or ""), str(image.get("plane") or "")
            score, _ = chest_ct(caption, f"{words} {place}", modality, plane, place.strip())
            if not score or may_be_covid(caption):
                continue
            if not name or not same_site(f"{services.medpix}/", url):
                reason = f"expected a picture at {MEDPIX}, got the address {services.public(url)[:200]!r}"
                given.exclude(store, f"medpix-{given.safe_name(name or encounter)}", reason)
                continue
            record = {
                "figure_id": f"medpix-{given.safe_name(name)}",
                "source": "medpix",
                "document_id": encounter,
                "patient_id": f"medpix:{encounter}",
                "licence": "link_only",
                "label": plain(image.get("figurePart")),
                "caption": caption,
                "diagnosis": plain(case.get("diagnosis")),
                "age": plain(case.get("age")),
                "sex": sex_of(case.get("sex")),
                "document_type": "case",
                "title": plain(topic.get("title")) or plain(case.get("diagnosis")),
            }
            given.add(store, record, score, url, services.public(url))


def _pictures(case: dict[str, Any], encounter: str) -> list[dict[str, Any]]:
    """The entries of a case's ``imageList``, which may be a single one. Raises ItemError for what is no list."""
    said = case.get("imageList") or []
    entries = [said] if isinstance(said, dict) else said
    if not isinstance(entries, list):
        raise ItemError(f"{encounter}: expected a list of pictures (imageList), got {said!r:.80}")
    return [entry for entry in entries if isinstance(entry, dict)]


def shown(image: dict[str, Any]) -> bool:
    """False for pictures that are deleted or not meant to be seen."""
    return str(image.get("deleted")).lower() not in ("true", "1") and str(image.get("show")).lower() not in (
        "false",
        "0",
    )


def picture_name(image: dict[str, Any]) -> str:
    """``synpicN``, by which MedPix and Open-i both know a picture; '' if there is none."""
    url = str(image.get("imageURL") or "")
    return Path(url).stem or plain(image.get("imageName"))


def sex_of(text: Any) -> str:
    """``F``, ``M`` or ''."""
    word = plain(text).lower()
    return "F" if word in ("f", "female", "woman", "girl") else "M" if word in ("m", "male", "man", "boy") else ""


def _refuse_list(answer: Any) -> None:
    if not isinstance(answer, list):
        raise TransientError(f"MedPix: expected a list of cases, got {answer!r:.120}", 200)


def _refuse_object(answer: Any) -> None:
    if not isinstance(answer, dict):
        raise TransientError(f"MedPix: expected an object, got {answer!r:.120}", 200)


def _refuse_case(answer: Any) -> None:
    _refuse_object(answer)
    if not answer.get("encounterID"):
        raise ItemError(f"MedPix: expected a case, got {plain(answer.get('error')) or 'none'}")
