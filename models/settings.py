"""Entries of params.yaml that stages iterate over (encoders, lnm, runs): which are there, and adding some.

Only lines are added: comments and everything else stay byte for byte, and what is there already stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covidct.files import write_bytes

Blocks = dict[str, dict[str, dict[str, Any]]]
"""section → key → its values"""
SECTIONS = ("encoders", "lnm", "runs")
PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
"""texts that YAML takes for the same text without quotes"""


class SettingsError(ValueError):
    """params.yaml cannot be read or added to: says what, expected, got and the next step."""


def read(path: Path) -> tuple[str, Blocks]:
    """The file's text, line ends untouched, and its SECTIONS; raises SettingsError."""
    try:
        import yaml
    except ImportError as error:
        raise SettingsError(f"{path}: reading it needs PyYAML; pip install 'covidct[pipeline]'") from error
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: expected in the working folder, got none; run it in the folder of the repository"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected UTF-8 text, got other bytes ({error})") from error
    return text, _sections(text, str(path), yaml)


def _sections(text: str, name: str, yaml: Any) -> Blocks:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name}: expected YAML, got {error}; mend it, or `covidct profile NAME`") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{name}: expected sections, got none; `covidct profile NAME` writes a whole one")
    blocks: Blocks = {}
    for section in SECTIONS:
        entries = found.get(section) or {}
        if not isinstance(entries, dict):
            raise SettingsError(f"{name}: section {section}: expected entries by name, got {entries!r}")
        blocks[section] = entries
    return blocks


def add(path: Path, blocks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Add entries to the file, all or nothing; raises SettingsError, and nothing is written then."""
    import yaml

    text, before = read(path)
    for section, entries in blocks.items():
        if entries:
            text = with_entries(text, section, [line(key, item) for key, item in entries.items()])
    expected = {section: {**before[section], **blocks.get(section, {})} for section in SECTIONS}
    if _sections(text, str(path), yaml) != expected:  # an unusual layout: better nothing than something else
        raise SettingsError(f"{path}: its layout is not one that can be added to; add these lines:\n{shown(blocks)}")
    write_bytes(path, text.encode("utf-8"))


def with_entries(text: str, section: str, entries: list[str]) -> str:
    """YAML text with lines at the end of a section; ``{}`` becomes the first of them. Raises SettingsError."""
    lines = text.splitlines(keepends=True)
    heads = [number for number, row in enumerate(lines) if re.match(rf"{section}:(\s|$)", row)]
    head = (
        re.match(rf"({section}:)[ \t]*(\{{[ \t]*\}})?([ \t]*#[^\r\n]*|[ \t]*)(\r?\n)?$", lines[heads[0]])
        if heads
        else None
    )
    if not head:
        raise SettingsError(
            f"params: expected a section `{section}:` with an entry a line, got "
            f"{'another form of it' if heads else 'none'}; write it, with:\n" + "".join(f"  {row}\n" for row in entries)
        )
    end = head[4] or "\n"
    comment = f" {head[3].lstrip()}" if head[3].strip() else ""
    if head[2] or not head[4]:
        lines[heads[0]] = f"{head[1]}{comment}{end}"
    # the section ends with its last line that is set in; comments between it and the next section belong to that one
    last = heads[0]
    for number in range(heads[0] + 1, len(lines)):
        if lines[number].startswith((" ", "\t")) and lines[number].strip():
            last = number
        elif lines[number].strip() and not lines[number].startswith("#"):
            break
    inner = next(
        (row for row in lines[heads[0] + 1 : last + 1] if not row.strip().startswith("#") and row.strip()), "  "
    )
    indent = inner[: len(inner) - len(inner.lstrip(" "))]
    if not lines[last].endswith("\n"):
        lines[last] += end
    lines[last + 1 : last + 1] = [f"{indent}{row}{end}" for row in entries]
    return "".join(lines)


def shown(blocks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The blocks as YAML, an entry a line as in the profiles; sections without entries are left out."""
    return "".join(
        f"{section}:\n" + "".join(f"  {line(key, item)}\n" for key, item in entries.items())
        for section, entries in blocks.items()
        if entries
    )


def line(key: str, item: Mapping[str, Any]) -> str:
    """One entry: ``key: { start: …, options: { … } }``."""
    return f"{key}: {_flow(item)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name}: {_flow(part)}" for name, part in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if not isinstance(value, str) or PLAIN.fullmatch(text) else f'"{text}"'
