"""Open-access packages of PubMed Central (``PMC….tar.gz``), as files the user has put down before the service ended."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harvest.answers import parse_xml
from harvest.archives import open_archive
from harvest.bucket import Object
from harvest.errors import ItemError, SettingError
from harvest.jats import Article, read_article

SCHEME = "package:"
_XML_LIMIT = 64 << 20


def find(folder: Path | None, pmcid: str) -> Path | None:
    """The package of an article in ``folder``, if it is there."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise SettingError(f"--packages: expected a folder of PMC….tar.gz files, got {folder}")
    path = folder / f"{pmcid}.tar.gz"
    return path if path.is_file() else None


def read(path: Path) -> tuple[Article, list[Object]]:
    """The article of a package, and its other files as objects whose address is ``package:<file>!<member>``."""
    with open_archive(path) as archive:
        texts = [name for name in archive.names if name.lower().endswith((".nxml", ".xml"))]
        if not texts:
            raise ItemError(f"{path.name}: expected an .nxml file, found none")
        article = read_article(parse_xml(archive.read(texts[0], _XML_LIMIT), f"{path.name}: {texts[0]}"))
        files = [Object(f"{SCHEME}{path.name}!{name}", "", PurePosixPath(name).name) for name in archive.names]
    return article, files


def parts(url: str) -> tuple[str, str]:
    """File and member of an address that ``read`` gave."""
    file, _, member = url.removeprefix(SCHEME).partition("!")
    return file, member
