"""Write into dvc.yaml which files of ours each stage imports, so that a change of code re-runs what it touches.

Reads: dvc.yaml and the sources (parsed, never imported). Writes: the ``.py`` dependencies of each stage, after
its other dependencies. `make wire` runs it; tests/test_pipeline.py fails where the file says something else.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harvest", "curation", "covidct", "models")
CUT = {"covidct/cli.py", "models/vision.py"}
"""followed no further: the command line reaches everything, and the other holds no behaviour of ours but an import"""


def module_of(command: str) -> str:
    """The module a stage runs: the last ``python -m`` of its command that is not the stand-in server."""
    return [name for name in re.findall(r"python -m ([\w.]+)", command) if name != "harvest.sample.serve"][-1]


def files_of(module: str) -> list[str]:
    """Files of ours that importing ``module`` executes last: the module, or the package's ``__init__``."""
    path = module.replace(".", "/")
    if path.split("/")[0] not in PACKAGES:
        return []
    return [name for name in (f"{path}.py", f"{path}/__init__.py") if (ROOT / name).is_file()]


@cache
def imports(file: str) -> frozenset[str]:
    """Files of ours that one file imports, at its top or inside functions; what only types need is left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    found.update(files_of(alias.name))
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                found.update(files_of(child.module))
                for alias in child.names:
                    found.update(files_of(f"{child.module}.{alias.name}"))
            visit(child)

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    return frozenset(found)


def closure(files: Iterable[str]) -> list[str]:
    """``files`` and everything of ours they import, directly or not, sorted."""
    done: set[str] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file in done:
            continue
        done.add(file)
        if file not in CUT:
            waiting += imports(file)
    return sorted(file for file in done if (ROOT / file).stat().st_size)


def needed(command: str) -> list[str]:
    """Source files that a stage's command executes."""
    own = files_of(module_of(command))
    if own and own[0].endswith("__init__.py"):
        own.append(own[0].replace("__init__", "__main__"))
    return closure(own)


def covered(path: str, deps: Iterable[str]) -> bool:
    """Whether a dependency names this file or a folder above it."""
    return any(path == dep or path.startswith(dep.rstrip("/") + "/") for dep in deps)


def name_of(dependency: Any) -> str:
    """The path of an entry of ``deps`` or ``outs``, which may carry flags."""
    return str(next(iter(dependency))) if isinstance(dependency, dict) else str(dependency)


def wired(deps: list[Any], command: str) -> list[Any]:
    """``deps`` with the code dependencies replaced by what the command really imports."""
    kept = [dep for dep in deps if not name_of(dep).endswith(".py") or "${" in name_of(dep)]
    folders = [name_of(dep) for dep in kept]
    return kept + [file for file in needed(command) if not covered(file, folders)]


def main() -> int:
    from ruamel.yaml import YAML  # DVC's own: keeps comments and order

    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    text = yaml.load(path.read_text(encoding="utf-8"))
    changed = []
    for name, stage in text["stages"].items():
        body = stage.get("do", stage)
        new = wired(list(body["deps"]), body["cmd"])
        if [name_of(dep) for dep in new] != [name_of(dep) for dep in body["deps"]]:
            body["deps"][:] = new
            changed.append(name)
    if changed:
        with path.open("w", encoding="utf-8") as stream:
            yaml.dump(text, stream)
    sys.stdout.write(f"dvc.yaml: {', '.join(changed) or 'nothing'} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
