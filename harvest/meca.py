"""`.meca` archives (MECA zip) of the services' text-and-data-mining buckets, as files the user has put down.

The buckets ``s3://medrxiv-src-monthly`` and ``s3://biorxiv-src-monthly`` are requester-pays: they need the user's own
AWS account (``aws s3 sync --request-payer requester …``). Each archive holds one version: a PDF and its JATS.
"""

from __future__ import annotations

import hashlib
import logging
import re
import zipfile
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from harvest.content import sniff
from harvest.download import Saved
from harvest.errors import ItemError, SettingError, TransientError
from harvest.http import CHUNK, parse_xml
from harvest.store import Store

log = logging.getLogger(__name__)
_MEMBERS = 5000
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
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MEMBERS:
                raise ItemError(f"{path.name}: expected at most {_MEMBERS} members, got {len(members)}")
            for member in members:
                _refuse_path(path, member.filename)
            pdfs = [
                m.filename for m in members if m.filename.lower().endswith(".pdf") and m.filename.startswith("content/")
            ]
            for member in members:
                if not (member.filename.startswith("content/") and member.filename.lower().endswith(".xml")):
                    continue
                if member.file_size > _XML_LIMIT:
                    raise ItemError(
                        f"{path.name}: {member.filename}: expected at most {_XML_LIMIT} bytes, got {member.file_size}"
                    )
                root = parse_xml(_bounded(archive, member, _XML_LIMIT), f"{path.name}: {member.filename}")
                if root.tag != "article":
                    continue
                doi, version = _identity(root)
                if doi and pdfs:
                    return doi, version, _best(pdfs, member.filename)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, ItemError | TransientError):
            raise
        raise ItemError(f"{path.name}: expected a zip archive, got {type(error).__name__}: {error}") from error
    raise ItemError(f"{path.name}: expected content/*.xml with a DOI and content/*.pdf, found no such pair")


def extract(store: Store, doi: str, version: int, name: str, max_bytes: int) -> bool:
    """Copy a version's PDF out of its archive into the store; False if no archive has it."""
    row = store.db.execute("SELECT path, member FROM archive WHERE doi = ? AND version = ?", (doi, version)).fetchone()
    if row is None:
        return False
    path, part = Path(row["path"]), store.files / f"{name}.part"
    digest, size, head = hashlib.sha256(), 0, b""
    with zipfile.ZipFile(path) as archive, archive.open(row["member"]) as source, part.open("wb") as out:
        while chunk := source.read(CHUNK):
            head = head or chunk[:1024]
            size += len(chunk)
            if size > max_bytes:
                raise ItemError(
                    f"{path.name}: {row['member']}: expected at most {max_bytes} bytes, got more (--max_mb)"
                )
            digest.update(chunk)
            out.write(chunk)
    if sniff(head) != "pdf":
        raise ItemError(f"{path.name}: {row['member']}: expected a PDF, got {sniff(head)}")
    part.replace(store.files / name)
    store.keep(name, f"meca:{path.name}/{row['member']}", Saved(digest.hexdigest(), size, "pdf"))
    return True


def _refuse_path(path: Path, name: str) -> None:
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", name):
        raise ItemError(
            f"{path.name}: expected members inside the archive's folder, got {name!r}; the archive is not used"
        )


def _bounded(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    with archive.open(member) as source:
        body = source.read(limit + 1)
    if len(body) > limit:
        raise ItemError(f"{member.filename}: expected at most {limit} bytes, got more than it announced")
    return body


def _identity(root: Element) -> tuple[str, int]:
    doi = next(
        (e.text or "" for e in root.iterfind("./front//article-id") if e.get("pub-id-type") == "doi"), ""
    ).strip()
    # "1.2" is the second version (bioRxiv), "2" is too
    text = next((e.text or "" for e in root.iterfind("./front//article-version")), "").strip()
    number = re.search(r"(\d+)$", text)
    return doi, int(number[1]) if number and int(number[1]) else 1


def _best(pdfs: list[str], xml: str) -> str:
    stem = PurePosixPath(xml).stem
    return next((name for name in sorted(pdfs) if PurePosixPath(name).stem == stem), sorted(pdfs)[0])
