"""`.meca` archives (MECA zip) of the services' text-and-data-mining buckets, as files the user has put down.

The buckets ``s3://medrxiv-src-monthly`` and ``s3://biorxiv-src-monthly`` are requester-pays: they need the user's own
AWS account (``aws s3 sync --request-payer requester …``). Each archive holds one version: a PDF and its JATS.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from harvest.answers import parse_xml
from harvest.archives import open_archive
from harvest.errors import ItemError, SettingError, TransientError
from harvest.store import Store

log = logging.getLogger(__name__)
_XML_LIMIT = 32 << 20


def index(store: Store, folder: Path) -> int:
    """Read which (doi, version) each archive of ``folder`` holds into the store's table ``archive``; returns how many.

    An archive that is hostile or broken is recorded as a problem, and nothing of it is used.
    """
    if not folder.is_dir():
        raise SettingError(f"--meca: expected a folder of .meca files, got {folder}")
    found = 0
    with store.transaction() as db:
        db.execute("DELETE FROM archive")
        for path in sorted(folder.rglob("*.meca")):
            try:
                doi, version, member = describe_archive(path)
            except (ItemError, TransientError) as error:
                log.warning("%s", error)
                db.execute("INSERT OR REPLACE INTO problem VALUES (?, ?, 0)", (path.name, str(error)))
                continue
            db.execute("INSERT OR REPLACE INTO archive VALUES (?, ?, ?, ?)", (doi, version, str(path), member))
            found += 1
    return found


def describe_archive(path: Path) -> tuple[str, int, str]:
    """DOI, version and PDF member of an archive. Raises ItemError naming what is wrong with it."""
    with open_archive(path) as archive:
        content = [name for name in archive.names if name.startswith("content/")]
        pdfs = sorted(name for name in content if name.lower().endswith(".pdf"))
        for name in content:
            if not name.lower().endswith(".xml"):
                continue
            root = parse_xml(archive.read(name, _XML_LIMIT), f"{path.name}: {name}")
            doi, version = _identity(root) if root.tag == "article" else ("", 0)
            if doi and pdfs:
                stem = PurePosixPath(name).stem
                return doi, version, next((pdf for pdf in pdfs if PurePosixPath(pdf).stem == stem), pdfs[0])
    raise ItemError(f"{path.name}: expected content/*.xml with a DOI and content/*.pdf, found no such pair")


def extract(store: Store, doi: str, version: int, name: str, max_bytes: int) -> bool:
    """Copy a version's PDF out of its archive into the store; False if no archive has it."""
    row = store.db.execute("SELECT path, member FROM archive WHERE doi = ? AND version = ?", (doi, version)).fetchone()
    if row is None:
        return False
    path = Path(row["path"])
    store.unpack(name, path, row["member"], frozenset({"pdf"}), max_bytes, f"meca:{path.name}/{row['member']}")
    return True


def _identity(root: Element) -> tuple[str, int]:
    doi = next(
        (e.text or "" for e in root.iterfind("./front//article-id") if e.get("pub-id-type") == "doi"), ""
    ).strip()
    # "1.2" is the second version (bioRxiv), "2" is too
    text = next((e.text or "" for e in root.iterfind("./front//article-version")), "").strip()
    number = re.search(r"(\d+)$", text)
    return doi, int(number[1]) if number and int(number[1]) else 1
