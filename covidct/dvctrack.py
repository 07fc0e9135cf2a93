"""Handing a release to DVC and git by their own conventions: ``dvc add``, ``artifacts:`` in dvc.yaml, a gto tag.

So ``dvc get``, ``dvc import``, ``dvc.api`` and ``dvc artifacts get`` all find it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from covidct.files import write_text
from covidct.registry import RELEASES


class TrackError(RuntimeError):
    """git, DVC or gto refused: which command, what it said, next step."""


def run(repository: Path, *command: str) -> str:
    """Run a command in the repository; its output. Raises TrackError."""
    try:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=3600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrackError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise TrackError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def git(repository: Path, *arguments: str) -> str:
    """Run git."""
    return run(repository, shutil.which("git") or "git", *arguments)


def dvc(repository: Path, *arguments: str) -> str:
    """Run this Python's DVC."""
    return run(repository, sys.executable, "-m", "dvc", *arguments)


def with_artifact(text: str, name: str, path: str, description: str, number: str) -> str:
    """dvc.yaml with ``artifacts.<name>`` set; the rest stays as it is."""
    block = [
        f"  {name}:",
        f"    path: {path}",
        "    type: dataset",
        f"    desc: {description}",
        f"    labels: [chest-ct, covid-19, {number}]",
    ]
    lines = text.splitlines()
    if not any(re.match(r"^artifacts:\s*$", line) for line in lines):
        return "\n".join([*lines, "artifacts:", *block]) + "\n"
    start = next(i for i, line in enumerate(lines) if re.match(r"^artifacts:\s*$", line)) + 1
    end = next((i for i in range(start, len(lines)) if re.match(r"^\S", lines[i])), len(lines))
    inner = lines[start:end]
    own = next((i for i, line in enumerate(inner) if line.rstrip() == f"  {name}:"), None)
    if own is not None:
        after = next((i for i in range(own + 1, len(inner)) if re.match(r"^  \S", inner[i])), len(inner))
        inner = inner[:own] + inner[after:]
    return "\n".join([*lines[:start], *inner, *block, *lines[end:]]) + "\n"


def add(repository: Path, facts: dict[str, Any]) -> list[str]:
    """``dvc add`` the release and name it in dvc.yaml; returns the files that git should record. Raises TrackError."""
    if not (repository / ".dvc").is_dir():
        raise TrackError(f"{repository}: expected a DVC repository, got none; run `dvc init` there, or --no-dvc")
    path = facts["path"]
    dvc(repository, "add", "--quiet", path)
    wiring = repository / "dvc.yaml"
    text = wiring.read_text(encoding="utf-8") if wiring.is_file() else ""
    description = f"chest CT pictures with and without COVID-19, {facts['version']}"
    write_text(wiring, with_artifact(text, facts["artifact"], path, description, facts["number"]))
    return ["dvc.yaml", f"{path}.dvc", "releases/.gitignore", (RELEASES / facts["version"]).as_posix()]


def commit(repository: Path, facts: dict[str, Any], files: list[str]) -> str:
    """Commit exactly these files and register the number with gto; returns the tag. Raises TrackError."""
    git(repository, "add", "--", *files)
    if git(repository, "diff", "--cached", "--name-only", "--", *files).strip():
        git(repository, "commit", "--quiet", "-m", f"Release {facts['version']} of {facts['artifact']}", "--", *files)
    tag = f"{facts['artifact']}@{facts['number']}"
    if tag not in git(repository, "tag", "--list", tag).split():
        _tag(repository, facts["artifact"], facts["number"])
    return tag


def _tag(repository: Path, name: str, number: str) -> None:
    # a process of its own: importing gto closes every log handler of this one (logging.config.dictConfig)
    if importlib.util.find_spec("gto") is None:
        raise TrackError("gto: is not installed; pip install 'covidct[release]'")
    run(repository, sys.executable, "-m", "gto.cli", "register", name, "HEAD", "--version", number)


def push(repository: Path, facts: dict[str, Any], remote: str) -> None:
    """``dvc push`` of the release's files. Raises TrackError."""
    dvc(repository, "push", "--quiet", *(["--remote", remote] if remote else []), f"{facts['path']}.dvc")
