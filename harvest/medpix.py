"""Stage `medpix`: axial chest CTs of MedPix cases, none of them COVID-19 (paper, section III.A).

Reads     MedPix' `/rest` calls (cases, full-size pictures) and Open-i's collection `mpx` (search, pictures of at most
          512 pixels' width); or a stand-in for them.
Writes    figures.jsonl (harvest.records.Figure, pixels `given`), images/, failed.jsonl, excluded.jsonl (item, reason).
Guarantees one patient per case, whichever way its pictures came; the diagnosis as the case states it; never the
          placeholder that MedPix serves for missing pictures; no e-mail addresses; licence `link_only` (rights stay
          with the contributors).
"""

from __future__ import annotations

import json
import logging
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urljoin

import typer

from harvest import given, openi
from harvest.content import IMAGES
from harvest.errors import BlockedError, HarvestError, ItemError, SettingError, TransientError
from harvest.hosts import check_services, is_loopback, same_site
from harvest.http import Session
from harvest.openi import plain
from harvest.options import guarded, in_words, new_app, progress, split_list
from harvest.select import chest_ct, may_be_covid
from harvest.store import Store, open_store, sha256_of

log = logging.getLogger(__name__)
app = new_app()

OPENI = "https://openi.nlm.nih.gov"
MEDPIX = "https://medpix.nlm.nih.gov"
ROUTES = ("rest", "openi")
PLACEHOLDER_BYTES = 6168
"""size of the picture MedPix serves, with status 200, for one that it does not have"""
SCHEMA = (
    given.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS encounter(id TEXT PRIMARY KEY, state TEXT DEFAULT 'listed');
CREATE TABLE IF NOT EXISTS picture(name TEXT PRIMARY KEY, encounter TEXT, unit TEXT);
"""
)


@dataclass(frozen=True)
class Services:
    """The addresses asked."""

    openi: str
    medpix: str

    def public(self, text: str) -> str:
        """``text`` with a stand-in's addresses replaced by the public ones."""
        return text.replace(self.openi, OPENI).replace(self.medpix, MEDPIX)


# -- route 1: MedPix ---------------------------------------------------------------------------------------------------


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
    images = [i for i in case.get("imageList") or [] if isinstance(i, dict) and shown(i)]
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
        for image in case.get("imageList") or []:
            if isinstance(image, dict) and (name := picture_name(image)):
                db.execute("INSERT OR REPLACE INTO picture VALUES (?, ?, '')", (name, encounter))
        for image in scans:
            name = picture_name(image)
            url = urljoin(f"{services.medpix}/", str(image.get("imageURL") or "").lstrip("/"))
            caption = plain(image.get("imageCaption")) or plain(image.get("title"))
            modality, plane = str(image.get("modality") or ""), str(image.get("plane") or "")
            score, _ = chest_ct(caption, f"{words} {place}", modality, plane, place.strip())
            if not name or not score or not same_site(f"{services.medpix}/", url) or may_be_covid(caption):
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


# -- route 2: Open-i ---------------------------------------------------------------------------------------------------


def search_openi(session: Session, store: Store, services: Services, queries: list[str]) -> None:
    """Open-i's chest CTs, of cases that MedPix itself did not give: those were decided there."""
    for query in queries:
        for items in openi.search(session, services.openi, query, "mpx"):
            with store.transaction() as db:
                for item in items:
                    name = item.name.removeprefix(f"{item.unit}_")
                    db.execute(
                        "INSERT INTO picture VALUES (?, '', ?) ON CONFLICT(name) DO UPDATE SET unit = excluded.unit",
                        (name, item.unit),
                    )
                    seen = db.execute("SELECT encounter FROM picture WHERE name = ?", (name,)).fetchone()
                    if seen["encounter"]:
                        continue
                    context = f"{item.title} {item.problems}"
                    score, _ = chest_ct(item.caption, context)
                    if not score and not item.caption:
                        score, _ = chest_ct(f"CT: {item.title}", context)
                    if not score or may_be_covid(f"{context} {item.caption}"):
                        continue
                    record = {
                        "figure_id": f"medpix-{given.safe_name(name)}",
                        "source": "medpix",
                        "document_id": item.unit,
                        "patient_id": f"medpix:{item.unit}",
                        "licence": "link_only",
                        "caption": item.caption,
                        "diagnosis": item.title,
                        "document_type": "case",
                        "title": item.title,
                    }
                    given.add(store, record, score - 0.25, item.url, services.public(item.url))


def join_cases(store: Store) -> None:
    """Give pictures that came through Open-i the case they belong to at MedPix, where any picture of the unit tells."""
    query = "SELECT unit, min(encounter) AS encounter FROM picture WHERE unit <> '' AND encounter <> '' GROUP BY unit"
    cases = list(store.db.execute(query))
    with store.transaction() as db:
        for case in cases:
            for row in list(db.execute("SELECT figure_id, record FROM figure WHERE document = ?", (case["unit"],))):
                record = json.loads(row["record"])
                record |= {"document_id": case["encounter"], "patient_id": f"medpix:{case['encounter']}"}
                db.execute(
                    "UPDATE figure SET document = ?, record = ? WHERE figure_id = ?",
                    (case["encounter"], json.dumps(record, ensure_ascii=False), row["figure_id"]),
                )


# -- pictures ----------------------------------------------------------------------------------------------------------


class Placeholder:
    """Knows what MedPix serves for a missing picture: by its size, and by what comes for a name that no picture has."""

    def __init__(self, session: Session, store: Store, services: Services) -> None:
        self.sha256 = ""
        try:
            url = f"{services.medpix}/images/full/synpic0.jpg"
            self.sha256 = store.fetch(session, "placeholder", url, IMAGES, 1 << 20).sha256
        except (ItemError, BlockedError) as error:
            log.info("MedPix shows no placeholder for a missing picture (%s)", error)

    def check(self, path: Path, size: int) -> None:
        """Raise ItemError for the placeholder."""
        if size == PLACEHOLDER_BYTES or (self.sha256 and sha256_of(path) == self.sha256):
            raise ItemError(
                f"{path.name}: expected a picture, got MedPix' placeholder for a missing one ({size} bytes)"
            )


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


def run_routes(
    session: Session, store: Store, services: Services, ways: list[str], queries: list[str]
) -> Iterator[str]:
    """Fill the store, route by route; yields what a route that broke said."""
    for way in ways:
        try:
            if way == "rest":
                list_encounters(session, store, services)
                read_encounters(session, store, services)
            else:
                search_openi(session, store, services, queries)
        except (ItemError, BlockedError) as error:
            log.warning("%s: %s", way, error)
            store.fail(f"route {way}", services.public(str(error)))
            yield f"route {way}: {services.public(str(error))}"
    join_cases(store)


def announce(session: Session, store: Store, services: Services, ways: list[str]) -> None:
    """List the cases, read none, and say how long reading takes: a case and its topic are two requests."""
    if "rest" not in ways:
        log.info("Open-i is asked page by page and then for each picture; how many there are is not known before")
        return
    list_encounters(session, store, services)
    unread = store.count("SELECT count(*) FROM encounter WHERE state = 'listed'")
    seconds = unread * 2 * session.rule(services.medpix).spacing
    log.info("%d cases to read; at the spacing kept that takes at least %s", unread, in_words(seconds))


@app.command()
@guarded
def main(
    out: Annotated[Path, typer.Option(help="folder for the results")],
    routes: Annotated[
        list[str],
        typer.Option(help="rest, openi; in this order, a comma list or repeated", default_factory=lambda: list(ROUTES)),
    ],
    queries: Annotated[
        list[str],
        typer.Option(
            help="search words for Open-i; repeated or a comma list", default_factory=lambda: ["chest CT", "lung CT"]
        ),
    ],
    contact: Annotated[str, typer.Option(help="e-mail address; needed for the live services")] = "",
    openi_url: Annotated[str, typer.Option("--openi", help="Open-i")] = OPENI,
    medpix_url: Annotated[str, typer.Option("--medpix", help="MedPix")] = MEDPIX,
    spacing: Annotated[
        float, typer.Option(help="seconds between requests to hosts that are none of the services'")
    ] = 1.0,
    limit: Annotated[int, typer.Option(help="at most this many pictures, likeliest first; 0 for all")] = 0,
    max_mb: Annotated[int, typer.Option(help="largest picture, megabytes")] = 60,
    enabled: Annotated[bool, typer.Option(help="--no-enabled writes empty results")] = True,
    cache: Annotated[Path | None, typer.Option(help="folder that survives a killed run; default: <out>.cache")] = None,
    dry_run: Annotated[bool, typer.Option(help="list only, say how long the crawl will take")] = False,
    refresh: Annotated[bool, typer.Option(help="forget what the cache knows")] = False,
) -> None:
    """Read the cases, fetch their axial chest CTs."""
    if not enabled:
        given.publish_nothing(out, "medpix")
        return
    ways = split_list(routes)
    if not ways or set(ways) - set(ROUTES):
        raise SettingError(f"--routes: expected {' or '.join(ROUTES)}, got {', '.join(ways) or 'none'}")
    services = Services(openi_url.rstrip("/"), medpix_url.rstrip("/"))
    used = {"openi": services.openi} if "openi" in ways else {}
    used |= {"medpix": services.medpix} if "rest" in ways else {}
    check_services(contact, used)
    cache = cache or out.with_name(out.name + ".cache")
    with open_store(cache, "medpix", (services.openi, services.medpix), SCHEMA, refresh) as store:
        local = all(is_loopback(url) for url in used.values())
        session = Session(contact, spacing=spacing, local=local, state=cache / "hosts")
        store.note(spacing_ms=round(1000 * session.rule(services.medpix if "rest" in ways else services.openi).spacing))
        words = split_list(queries)
        given.start(store, json.dumps([ways, words]), ("encounter", "picture"))
        if dry_run:
            announce(session, store, services, ways)
            return
        broken = list(run_routes(session, store, services, ways, words))
        if len(broken) == len(ways):
            raise HarvestError(f"no route gave a listing: {'; '.join(broken)}. Run the same command again to go on")
        check = Placeholder(session, store, services).check if "rest" in ways else None
        given.gather(session, store, limit, max_mb << 20, services.public, check)
        counts = given.publish(store, out)
        given.report(store, "medpix", counts, out)
        blocked = store.count("SELECT count(*) FROM problem WHERE waiting")
    given.judge("medpix", counts, blocked, out)


if __name__ == "__main__":
    app()
