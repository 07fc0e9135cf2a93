"""Profiles: complete alternatives of ``params.yaml`` with the same keys; choosing one copies it over.

DVC expands no environment variables, so the folders of a profile are written into ``params.yaml`` itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from covidct.files import write_text

FOLDERS = {"root": ("published", "root"), "luna": ("luna", "root")}
"""option of `covidct profile` -> section and key of params.yaml"""
NEEDS = {"published": {"root": "the 2020 release"}, "paper": {"luna": "LUNA16's volumes or ready slices"}}
"""options without which a profile cannot run, and what the folder holds"""
ASKING = ("preprints", "pmc", "medpix")
"""sections of the services that ask for an e-mail address"""


class ProfileError(ValueError):
    """An unknown profile, or a folder that it needs and does not have: what, expected, got."""


def names(repository: Path) -> list[str]:
    """Profiles there are."""
    return sorted(path.stem for path in (repository / "profiles").glob("*.yaml"))


def choose(repository: Path, name: str, folders: dict[str, str], contact: str = "") -> Path:
    """Copy ``profiles/<name>.yaml`` over ``params.yaml`` with folders (absolute) written in; returns the file.

    ``contact``: e-mail address that the live services get, in every section that has one.

    Raises ProfileError; nothing is written then.
    """
    if name not in names(repository):
        raise ProfileError(
            f"profile {name!r}: expected one of {', '.join(names(repository)) or '(no profiles/ here)'}; "
            "run it in the folder of the repository"
        )
    for option, what in NEEDS.get(name, {}).items():
        if not folders.get(option):
            raise ProfileError(f"profile {name}: needs --{option} DIR, the folder of {what}")
    text = (repository / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    for option, value in folders.items():
        if not value:
            continue
        folder = Path(value).expanduser().resolve()
        if not folder.is_dir():
            raise ProfileError(f"--{option} {value}: expected a folder, got none")
        section, key = FOLDERS[option]
        text = with_value(text, section, key, json.dumps(folder.as_posix(), ensure_ascii=False))
        text = with_value(text, section, "enabled", "true")  # who names a folder wants it read
    for section in ASKING if contact else ():
        text = with_value(text, section, "contact", json.dumps(contact))
    target = repository / "params.yaml"
    write_text(target, text)
    return target


def with_value(text: str, section: str, key: str, value: str) -> str:
    """YAML text with ``section.key`` set to ``value``; comments and all else stay as they are. Raises ProfileError."""
    lines = text.splitlines(keepends=True)
    inside = False
    for number, line in enumerate(lines):
        if re.match(r"^\S", line) and not line.startswith("#"):
            inside = line.split(":", 1)[0] == section
        elif inside and (
            found := re.match(rf"^(  {re.escape(key)}:)(\s*)(\"[^\"]*\"|[^#\n]*?)(\s*#.*)?$", line.rstrip("\n"))
        ):
            lines[number] = f"{found[1]} {value}{found[4] or ''}\n"
            return "".join(lines)
    raise ProfileError(f"params: expected key {section}.{key}, which this profile does not have")
