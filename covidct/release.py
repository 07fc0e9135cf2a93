"""Releases: a dataset becomes a numbered version that never changes.

Reads: a folder of stage `dataset`, the audit's findings, the versions registered before.
Writes: ``releases/<version>/`` (pictures where licences allow, recipe, tables, splits, card, Croissant, changelog,
page) and ``covidct/releases/<version>/`` (facts, manifest, splits: small, for git).
Guarantees: disjoint splits (or the as-published scheme, violations stated); test of an earlier version never in train
or val; what leaves test has a reason; the same number with other bytes is refused; nothing appears half-written.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from covidct import card, changes, croissant, licences, page, recipes, registry, splits
from covidct.files import inside, read_json, sha256_file, write_json, write_text
from covidct.fingerprint import fingerprint
from covidct.reader import Dataset, load
from covidct.records import write_records

VERSION = re.compile(r"^(?:(?P<line>[a-z0-9]+(?:-[a-z0-9]+)*)-)?v(?P<number>\d+(?:\.\d+){0,2})$")
SPLIT_COLUMNS = ["image_id", "label", "patient_id", "split", "duplicate_group", "sha256"]
IMAGES = ("allowed", "all", "none")
NAME = "covid-ct"


class ReleaseError(ValueError):
    """A version that must not be made: what, expected, got, next step."""


@dataclass(frozen=True)
class Wish:
    """What to release and how; see ``covidct release --help``."""

    version: str
    images: str = "allowed"
    findings: Path | None = None
    waive: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
    date: str = ""


def read_reasons(path: Path | None) -> dict[str, str]:
    """image_id -> reason of a CSV with these columns; empty without a file. Raises ReleaseError."""
    if path is None:
        return {}
    if not path.is_file():
        raise ReleaseError(f"{path}: expected a CSV with columns image_id and reason, got no file")
    table = _table(path, "save it as plain CSV")
    if missing := {"image_id", "reason"} - set(table.columns):
        raise ReleaseError(f"{path}: expected columns image_id and reason; missing: {', '.join(sorted(missing))}")
    return dict(zip(table["image_id"], table["reason"], strict=True))


def artifact(version: str) -> tuple[str, str]:
    """Name and semantic version for DVC and gto: ``v1`` -> covid-ct, v1.0.0; ``2020-v2`` -> covid-ct-2020, v2.0.0."""
    found = VERSION.match(version)
    if not found:
        raise ReleaseError(f"version {version!r}: expected v<number>, e.g. v1, v1.2 or <line>-v1 (2020-v1)")
    numbers = [*found["number"].split("."), "0", "0"][:3]
    return f"{NAME}-{found['line']}" if found["line"] else NAME, "v" + ".".join(str(int(part)) for part in numbers)


def previous_of(version: str, repository: Path) -> str:
    """The version registered last in the same line before this one; empty for the first."""
    line, own = artifact(version)
    found = []
    for name in registry.names(repository):
        if name != version and VERSION.match(name) and artifact(name)[0] == line:
            found.append((_order(artifact(name)[1]), name))
    return max((name for name in found if name[0] < _order(own)), default=((), ""))[1]


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.removeprefix("v").split("."))


def gate(dataset: Dataset, wish: Wish) -> tuple[str, dict[str, Any] | None]:
    """What stands in the way of a release: violations, an audit of something else, its errors, checks not made.

    Returns the gate's words and the findings. Raises ReleaseError unless ``wish.waive`` states why it goes out all the
    same.
    """
    stops = []
    if dataset.info.get("scheme") != "published" and (violations := dataset.check()):
        stops.append(f"the split is not disjoint: {violations[0]} ({len(violations)} such)")
    findings = None
    if wish.findings is None:
        stops.append("the audit was not run (covidct audit DIR --json FILE, then --audit FILE)")
    else:
        findings = _findings(wish.findings)
        stops += _other_dataset(findings, dataset, wish.findings)
        rows = [row for row in findings["findings"] if not row.get("suppressed")]
        errors = [row for row in rows if row.get("severity") == "error"]
        stops += [
            f"audit error {row.get('kind')}: {', '.join(map(str, row.get('items', [])[:3]))}" for row in errors[:5]
        ]
        stops += _unchecked(findings)
    if stops and not wish.waive:
        raise ReleaseError("not released: " + "; ".join(stops) + '; mend it, or state --waive "reason"')
    if stops:
        return f"waived ({wish.waive}): " + "; ".join(stops), findings
    return "passed", findings


def _findings(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path)
        if not isinstance(found["findings"], list) or not all(isinstance(row, dict) for row in found["findings"]):
            raise TypeError("findings that are no list of objects")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{path}: expected the JSON of `covidct audit`, got {error}") from error
    return found


def _other_dataset(findings: dict[str, Any], dataset: Dataset, path: Path) -> list[str]:
    """Why these findings are not of this dataset as it is now; empty: they are."""
    again = f"run `covidct audit {dataset.root} --json {path}` again"
    stated = findings.get("dataset")
    if not isinstance(stated, dict) or not stated.get("sha256"):
        return [f"{path} does not say which files were audited (made by hand, or by an earlier covidct): {again}"]
    own = fingerprint(dataset.root, [inside(dataset.root, file) for file in dataset.records["file"]])
    if stated["sha256"] == own["sha256"]:
        return []
    return [
        f"{path} is the audit of other files ({stated.get('pictures')} pictures, hash {str(stated['sha256'])[:12]}…; "
        f"this dataset's {own['pictures']} pictures and table have {str(own['sha256'])[:12]}…): {again}"
    ]


def _unchecked(findings: dict[str, Any]) -> list[str]:
    """Checks that the audit could not make, in words."""
    stated = findings.get("not_checked") or {}
    if isinstance(stated, dict):
        return [f"audit: {name} not checked ({str(why)[:200]})" for name, why in sorted(stated.items())]
    return [f"audit: not checked: {json.dumps(stated, ensure_ascii=False)[:200]}"]


def build(folder: Path, repository: Path, wish: Wish) -> dict[str, Any]:
    """Make and register a version; returns its facts. The same version again with the same bytes changes nothing.

    Raises ReleaseError, ChangeError, CroissantError, DatasetError, VersionError; nothing is left behind then.
    """
    line, number = artifact(wish.version)
    if wish.images not in IMAGES:
        raise ReleaseError(f"images {wish.images!r}: expected one of {', '.join(IMAGES)}")
    dataset = load(folder)
    if problems := dataset.problems():  # by its table: a folder made from an old release still has that one's manifest
        raise ReleaseError(f"{folder}: {len(problems)} pictures are not what the table says, e.g. {problems[0]}")
    words, findings = gate(dataset, wish)
    _refuse_taken(wish.version, repository)
    previous = previous_of(wish.version, repository)
    registered = _registered(wish.version, repository)
    facts = {
        "version": wish.version,
        "artifact": line,
        "number": number,
        "order": registered.get("order", len(registry.names(repository)) + 1),
        "date": wish.date or registered.get("date") or date.today().isoformat(),
        "path": f"releases/{wish.version}",
        "previous": previous,
        "scheme": str(dataset.info.get("scheme", "")),
        "split_hash": splits.split_hash(dataset.records),
        "gate": words,
        "licences": dataset.records["licence"].replace("", "not stated").value_counts().sort_index().to_dict(),
    }
    target = repository / facts["path"]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{wish.version}-"))
    try:
        _write(part, dataset, facts, findings, wish, repository)
        facts["manifest_sha256"] = sha256_file(part / "manifest.csv")
        _register(part, target, repository, facts, registered, dataset.records)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return facts


def _refuse_taken(version: str, repository: Path) -> None:
    """Raise ReleaseError where another name means the same number: v1 and v1.0 are both v1.0.0 to DVC and gto."""
    there = registry.names(repository)
    for name in there if version not in there else []:
        if VERSION.match(name) and artifact(name) == artifact(version):
            line, number = artifact(version)
            raise ReleaseError(
                f"version {version}: {line} {number} is registered already, as {name}; a number is used once: take the "
                "next one"
            )


def _registered(version: str, repository: Path) -> dict[str, Any]:
    return registry.read(version, repository).facts if version in registry.names(repository) else {}


def _write(
    part: Path, dataset: Dataset, facts: dict[str, Any], findings: dict[str, Any] | None, wish: Wish, repository: Path
) -> None:
    """All files of the release into ``part``; adds counts to ``facts``."""
    part.chmod(0o755)
    records = dataset.records.sort_values("image_id", kind="stable")
    if wish.images == "all":
        shared = pd.Series(True, index=records.index)
    else:
        shared = records["licence"].map(licences.may_share) & (wish.images != "none")
    for file in records.loc[shared, "file"]:
        goal = inside(part, file)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inside(dataset.root, file), goal)
    kept_back = records[~shared]
    if len(kept_back):
        recipes.write(part, kept_back, dataset.root)
    facts |= {"images": len(records), "patients": int(records["patient_id"].nunique())}
    facts |= {"shipped": int(shared.sum()), "recipe": len(kept_back)}
    write_records(part / "records.csv", records)
    more = ("table1.csv", "cleaning.csv", "CLEANING.md")
    for name in (*more, *(f"splits/{scheme}.csv" for scheme in dataset.schemes)):
        if (dataset.root / name).is_file():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dataset.root / name, part / name)
    write_json(part / "dataset.json", {**dataset.info, "version": facts["version"]})
    earlier = _earlier(facts, repository)
    changes.refuse_once_in_test(earlier, records, facts["scheme"] == "published")
    before = _splits_of(facts["previous"], repository) if facts["previous"] else None
    table = (
        changes.compare(before, records, wish.reasons) if before is not None else pd.DataFrame(columns=changes.COLUMNS)
    )
    write_text(part / "changes.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(part / "CHANGES.md", changes.as_markdown(table, facts["version"], facts["previous"]))
    write_text(part / "README.md", card.write(records, facts, dataset.info, findings))
    description = f"Chest CT pictures with and without COVID-19, version {facts['version']}: {len(records)} images"
    croissant.write(part, facts["artifact"], facts["number"][1:], description, sorted(facts["licences"]), facts["date"])
    shown = Dataset(part, records, {**dataset.info, "version": facts["version"]})
    # pictures lie beside the page, so it holds no thumbnails of its own: the bytes depend on no JPEG encoder
    write_text(part / "index.html", page.build(shown, part / "index.html", wish.findings, embed=False))
    write_text(part / "manifest.csv", manifest(part))


def manifest(folder: Path) -> str:
    """CSV with path, bytes, sha256, md5 of every file under ``folder`` but the manifest itself, sorted."""
    lines = ["path,bytes,sha256,md5"]
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != "manifest.csv":
            content = path.read_bytes()
            quoted = '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\n') else name
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            lines.append(f"{quoted},{len(content)},{hashlib.sha256(content).hexdigest()},{digest}")
    return "\n".join(lines) + "\n"


def _splits_of(version: str, repository: Path) -> pd.DataFrame:
    return _table(repository / registry.RELEASES / version / "splits.csv", "restore it (git checkout)")


def _table(path: Path, step: str) -> pd.DataFrame:
    """A CSV as text. Raises ReleaseError where it is none."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReleaseError(f"{path}: expected a CSV in UTF-8, got {str(error).strip()}; {step}") from error


def _earlier(facts: dict[str, Any], repository: Path) -> dict[str, pd.DataFrame]:
    """The splits of every version of this line that was registered before this one, whatever its number."""
    found = {}
    for name in registry.names(repository):
        if name == facts["version"] or not VERSION.match(name) or artifact(name)[0] != facts["artifact"]:
            continue
        if int(registry.read(name, repository).facts.get("order", 0)) < facts["order"]:
            found[name] = _splits_of(name, repository)
    return found


def _register(
    part: Path, target: Path, repository: Path, facts: dict[str, Any], registered: dict[str, Any], records: pd.DataFrame
) -> None:
    """Move the release to its place and write its registration; other bytes under a known number are refused."""
    if registered and registered["manifest_sha256"] != facts["manifest_sha256"]:
        old = registry.read(facts["version"], repository).entries
        new = registry.read_manifest(part / "manifest.csv")
        differ = sorted({(e.path, e.sha256) for e in old} ^ {(e.path, e.sha256) for e in new})
        raise ReleaseError(
            f"version {facts['version']} is registered with other bytes ({differ[0][0]} and {len(differ) - 1} more "
            "differ); a version never changes: take the next number"
        )
    if not target.is_dir() or (target / "manifest.csv").read_bytes() != (part / "manifest.csv").read_bytes():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(part, target)
    if registered:
        return
    folder = repository / registry.RELEASES / facts["version"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{facts['version']}-"))
    try:
        shutil.copyfile(part / "manifest.csv", fresh / "manifest.csv")
        table = records.reindex(columns=SPLIT_COLUMNS).sort_values("image_id", kind="stable")
        write_text(fresh / "splits.csv", table.to_csv(index=False, lineterminator="\n"))
        write_json(fresh / "release.json", facts)
        fresh.chmod(0o755)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
