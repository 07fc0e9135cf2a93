"""Versions stay: made once, fetched anywhere, verified, mended, and never changed."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import covidct
from covidct import audit, changes, download, licences, recipes, registry, release
from covidct.download import FetchError
from covidct.fingerprint import fingerprint
from covidct.reader import DatasetError
from covidct.records import read_records, write_records

pytest.importorskip("mlcroissant")


def wish(version: str, **more: Any) -> release.Wish:
    return release.Wish(version, **{"images": "all", "waive": "a test", "date": "2026-01-02", **more})


def changed(dataset: Path, target: Path, change) -> Path:
    """A copy of a dataset with its table changed."""
    shutil.copytree(dataset, target)
    write_records(target / "records.csv", change(read_records(target / "records.csv")))
    return target


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "repo" / registry.RELEASES).mkdir(parents=True)
    return tmp_path / "repo"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVIDCT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_version_is_made_and_loaded(repository: Path, home: Path, shared_dataset: Path) -> None:
    """Every file in the manifest, Croissant valid, the card from the data; load() verifies and returns it."""
    facts = release.build(shared_dataset, repository, wish("v1"))
    folder = repository / "releases" / "v1"
    assert {path.name for path in folder.iterdir()} >= {
        "records.csv",
        "README.md",
        "croissant.json",
        "CHANGES.md",
        "index.html",
        "images",
    }
    entries = registry.read("v1", repository).entries
    assert sorted(e.path for e in entries) == sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "manifest.csv"
    )
    assert facts["shipped"] == 24
    assert "Decided by a person: 24 of 24" in (folder / "README.md").read_text()
    ds = covidct.load("v1", repo=repository)
    assert ds.version == "v1"
    assert (len(ds.train), len(ds.test)) == (12, 8)
    assert ds.verify() == []
    assert covidct.versions(repository) == ["v1"]
    assert covidct.verify("v1", repository) == []
    assert str(home) in str(ds.root)


def test_croissant_reads_back(repository: Path, shared_dataset: Path) -> None:
    """mlcroissant yields the rows of the table."""
    import mlcroissant as mlc

    release.build(shared_dataset, repository, wish("v1"))
    dataset = mlc.Dataset(jsonld=str(repository / "releases" / "v1" / "croissant.json"))
    assert dataset.metadata.issues.errors == set()
    rows = list(dataset.records("records"))
    assert len(rows) == 24
    assert {row["records/label"] for row in rows} == {0, 1}


def test_a_number_is_used_once(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """The same bytes again change nothing; other bytes are refused and the first version stays whole."""
    release.build(shared_dataset, repository, wish("v1"))
    before = {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()}
    release.build(shared_dataset, repository, wish("v1", date=""))
    other = changed(shared_dataset, tmp_path / "other", lambda f: f.assign(age="41"))
    with pytest.raises(release.ReleaseError, match=r"registered with other bytes.*take the next number"):
        release.build(other, repository, wish("v1"))
    assert {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("lost", [False, True])
def test_pictures_that_are_not_what_the_table_says_are_not_released(
    repository: Path, shared_dataset: Path, tmp_path: Path, lost: bool
) -> None:
    shutil.copytree(shared_dataset, tmp_path / "d")
    one, two = (tmp_path / "d" / file for file in read_records(tmp_path / "d" / "records.csv")["file"].head(2))
    one.unlink() if lost else one.write_bytes(two.read_bytes())
    with pytest.raises(release.ReleaseError, match=f"1 pictures are not what the table says, e.g. images/{one.name}"):
        release.build(tmp_path / "d", repository, wish("v1"))
    assert not registry.names(repository) and not (repository / "releases").exists()


def test_old_versions_load_after_new_ones(repository: Path, home: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """Changes are told image by image; v1 still loads as it was, and both share pictures on disk."""
    release.build(shared_dataset, repository, wish("v1"))
    first = read_records(shared_dataset / "records.csv")
    trained = first.index[first["split"] == "train"]

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[trained[0], ["label", "label_name"]] = [0, "NonCOVID"]
        frame.loc[trained[1], "split"] = "val"
        return frame.drop(index=trained[2])

    release.build(changed(shared_dataset, tmp_path / "two", edit), repository, wish("v2"))
    table = pd.read_csv(repository / "releases" / "v2" / "changes.csv", dtype=str, keep_default_na=False)
    said = {(row.change, row.image_id, row.before, row.after) for row in table.itertuples()}
    ids = first["image_id"]
    assert said == {
        ("relabelled", ids[trained[0]], str(first.loc[trained[0], "label"]), "0"),
        ("moved", ids[trained[1]], "train", "val"),
        ("removed", ids[trained[2]], "train", ""),
    } - ({("relabelled", ids[trained[0]], "0", "0")})
    assert "compared with v1" in (repository / "releases" / "v2" / "CHANGES.md").read_text()
    assert covidct.versions(repository) == ["v1", "v2"]
    assert len(covidct.load("v2", repo=repository).records) == 23
    assert len(covidct.load("v1", repo=repository).records) == 24
    one, two = (covidct.load(v, repo=repository).root / first.loc[trained[3], "file"] for v in ("v1", "v2"))
    assert one.stat().st_ino == two.stat().st_ino


def test_test_is_protected(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """Leaving test needs a reason per image; entering train or val after test is refused whatever the reason."""
    release.build(shared_dataset, repository, wish("v1"))
    first = read_records(shared_dataset / "records.csv")
    name = first.loc[first["split"] == "test", "image_id"].iloc[0]
    gone = changed(shared_dataset, tmp_path / "gone", lambda f: f[f["image_id"] != name])
    with pytest.raises(changes.ChangeError, match="1 images leave test without a reason"):
        release.build(gone, repository, wish("v2"))
    held = changed(
        shared_dataset, tmp_path / "held", lambda f: f.assign(split=f["split"].where(f["image_id"] != name, ""))
    )
    with pytest.raises(changes.ChangeError, match=f"1 images leave test without a reason: {name};"):
        release.build(held, repository, wish("v2"))
    assert covidct.versions(repository) == ["v1"]
    release.build(gone, repository, wish("v2", reasons={name: "no lung"}))
    assert "no lung" in (repository / "releases" / "v2" / "CHANGES.md").read_text()
    back = changed(shared_dataset, tmp_path / "back", lambda f: f.assign(split=f["split"].replace("test", "train")))
    with pytest.raises(changes.ChangeError, match="once in test would be in train or val"):
        release.build(back, repository, wish("v3", reasons=dict.fromkeys(first["image_id"], "x")))


def test_once_in_test_is_never_trained_on(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """Every older version counts, not only the last one; by id, by the same picture renamed, and by the patient."""
    release.build(shared_dataset, repository, wish("v1"))
    first = read_records(shared_dataset / "records.csv")
    name, patient = first.loc[first["split"] == "test", ["image_id", "patient_id"]].iloc[0]
    other = first.loc[(first["split"] == "test") & (first["patient_id"] == patient), "image_id"].iloc[1]

    def without(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~frame["image_id"].isin([name, other])]

    two = changed(shared_dataset, tmp_path / "two", without)
    release.build(two, repository, wish("v2", reasons={name: "no lung", other: "no lung"}))

    def attempt(number: str, change: Any, version: str = "v3") -> None:
        again = changed(shared_dataset, tmp_path / number, change)
        release.build(again, repository, wish(version, reasons={name: "x", other: "x"}))

    def back(frame: pd.DataFrame, **new: str) -> pd.DataFrame:
        frame = frame[frame["image_id"] != other]
        return frame.assign(**{k: frame[k].where(frame["image_id"] != name, v) for k, v in new.items()})

    with pytest.raises(changes.ChangeError, match=f"1 images once in test .* by their id in v1: e.g. {name} "):
        attempt("id", lambda f: back(f, split="train", patient_id="new", sha256=""))
    with pytest.raises(changes.ChangeError, match=r"by the picture \(sha256\) in v1: e.g. renamed .*now val"):
        attempt("sha", lambda f: back(f, split="val", patient_id="new", image_id="renamed"))
    with pytest.raises(changes.ChangeError, match=r"by the patient in v1: e.g. renamed"):
        attempt("patient", lambda f: back(f, split="train", image_id="renamed", sha256=""), "v1.5")
    attempt("other line", lambda f: back(f, split="train"), "2020-v1")
    before = {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()}
    release.build(shared_dataset, repository, wish("v1"))  # what came later is not held against it
    assert {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()} == before


def test_the_published_split_may_come_again(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """Its own leaks (one patient in train and test) are stated and stay; a new image of a test patient is refused."""

    def leaky(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[frame["split"] == "train"][0], "patient_id"] = patient
        return frame

    first = read_records(shared_dataset / "records.csv")
    patient = first.loc[first["split"] == "test", "patient_id"].iloc[0]
    one = changed(shared_dataset, tmp_path / "one", leaky)
    assert json.loads((one / "dataset.json").read_text())["scheme"] == "published"
    release.build(one, repository, wish("v1"))
    release.build(changed(one, tmp_path / "two", lambda f: f.assign(age="41")), repository, wish("v2"))
    more = changed(
        one, tmp_path / "more", lambda f: f.replace({"image_id": {f["image_id"][f["split"] == "train"].iloc[0]: "n"}})
    )
    with pytest.raises(changes.ChangeError, match=r"e.g. n "):
        release.build(more, repository, wish("v3"))


def audited(folder: Path, **more: Any) -> dict[str, Any]:
    """What `covidct audit` writes about a dataset in which it found nothing."""
    pictures = [folder / file for file in read_records(folder / "records.csv")["file"]]
    return {"findings": [], "not_checked": {}, "dataset": fingerprint(folder, pictures), **more}


def test_the_gate(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """Not audited, audit errors, a check not made, patients across splits: each stops the release."""
    findings = tmp_path / "findings.json"

    def attempt(content: object, waive: str = "") -> str:
        findings.write_text(json.dumps(content))
        return str(release.build(shared_dataset, repository, wish("v1", waive=waive, findings=findings))["gate"])

    with pytest.raises(release.ReleaseError, match="the audit was not run"):
        release.build(shared_dataset, repository, wish("v1", waive=""))
    bad = {"kind": "opposite-label", "severity": "error", "items": ["a", "b"]}
    with pytest.raises(release.ReleaseError, match="audit error opposite-label: a, b"):
        attempt(audited(shared_dataset, findings=[bad]))
    for name in ("personal-data", "shortcut"):
        with pytest.raises(release.ReleaseError, match=f"audit: {name} not checked .it is missing."):
            attempt(audited(shared_dataset, not_checked={name: "it is missing"}))
    with pytest.raises(release.ReleaseError, match=r"not checked: .*no tesseract"):
        attempt(audited(shared_dataset, not_checked=[{"check": "personal-data", "reason": "no tesseract"}]))
    for wrong in ({"nothing": 1}, {"findings": [1]}, [1]):
        with pytest.raises(release.ReleaseError, match="expected the JSON of"):
            attempt(wrong)
    assert not registry.names(repository)
    assert attempt(audited(shared_dataset, findings=[{**bad, "suppressed": "as published"}])) == "passed"
    leaky = changed(
        shared_dataset, tmp_path / "leaky", lambda f: f.assign(split=np.where(np.arange(len(f)) % 2, "train", "test"))
    )
    info = json.loads((leaky / "dataset.json").read_text())
    (leaky / "dataset.json").write_text(json.dumps({**info, "scheme": "grouped"}))
    with pytest.raises(release.ReleaseError, match="the split is not disjoint"):
        release.build(leaky, repository, wish("v2", waive="", findings=findings))


def test_an_audit_counts_for_what_it_looked_at(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """The JSON of another dataset, of the same pictures with another table, or of nothing at all opens no gate."""
    findings = tmp_path / "findings.json"

    def attempt(content: object, dataset: Path) -> str:
        findings.write_text(json.dumps(content))
        return str(release.build(dataset, repository, wish("v1", waive="", findings=findings))["gate"])

    with pytest.raises(
        release.ReleaseError, match=r"does not say which files were audited.*run `covidct audit .*again"
    ):
        attempt({"findings": []}, shared_dataset)
    aged = changed(shared_dataset, tmp_path / "aged", lambda f: f.assign(age="41"))
    fewer = changed(shared_dataset, tmp_path / "fewer", lambda f: f.iloc[1:])
    for other in (aged, fewer):
        with pytest.raises(release.ReleaseError, match=r"is the audit of other files \(24 pictures.*again"):
            attempt(audited(shared_dataset), other)
        assert attempt(audited(shared_dataset), shared_dataset) == "passed"
    json_file = tmp_path / "real.json"
    done = CliRunner().invoke(
        audit.app, [str(fewer), "--json", str(json_file), "--no-personal", "--quiet"], catch_exceptions=False
    )
    assert done.exit_code == 0
    said = json.loads(json_file.read_text())
    assert said["dataset"] == audited(fewer)["dataset"]
    with pytest.raises(release.ReleaseError) as raised:
        release.gate(covidct.load(fewer), wish("v2", waive="", findings=json_file))
    assert "other files" not in str(raised.value) and "personal-data not checked" in str(raised.value)


def test_a_number_has_one_name(repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """v1 and v1.0 are one number of one artifact (and one tag): the second name is refused; another line is not."""
    release.build(shared_dataset, repository, wish("v1"))
    with pytest.raises(release.ReleaseError, match=r"v1\.0: covid-ct v1\.0\.0 is registered already, as v1;"):
        release.build(shared_dataset, repository, wish("v1.0"))
    assert registry.names(repository) == ["v1"]
    release.build(shared_dataset, repository, wish("2020-v1"))


def test_a_changed_release_is_not_certified(repository: Path, home: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """A label flipped, a split moved, a file more: told in the repository, in the cache and in a copy elsewhere; a
    manifest changed along with it too, where there is something to hold it against."""
    release.build(shared_dataset, repository, wish("v1"))
    shutil.copytree(repository / "releases" / "v1", tmp_path / "copy")
    for folder in (repository / "releases" / "v1", covidct.fetch("v1", repository), tmp_path / "copy"):
        assert covidct.load(folder).verify() == []
        path = folder / "records.csv"
        records = read_records(path)
        records.loc[0, ["label", "label_name"]] = [1 - records.loc[0, "label"], "NonCOVID"]
        path.unlink()
        write_records(path, records)
        (folder / "images" / "extra.png").write_bytes(b"x")
        (folder / ".DS_Store").write_bytes(b"x")
        said = covidct.load(folder).verify()
        assert [line.split(":")[0] for line in said] == ["records.csv", "images/extra.png"]
        assert "not part of this version" in said[1]
        manifest = release.manifest(folder)
        (folder / "manifest.csv").unlink()
        (folder / "manifest.csv").write_text(manifest)
        said = covidct.load(folder).verify()
        assert said == [] if folder.name == "copy" else said[0].startswith("manifest.csv: not the one")
    assert [line.split(":")[0] for line in covidct.verify("v1", repository)] == ["records.csv", "images/extra.png"]
    (repository / "releases" / "v1" / "manifest.csv").unlink()
    assert covidct.load(repository / "releases" / "v1").verify()[0] == "manifest.csv: missing"


def test_pictures_of_a_recipe_are_verified(repository: Path, home: Path, shared_dataset: Path) -> None:
    """One that was filled in and later swapped or lost is told, and refused by load; another encoding of it is not."""
    closed = shared_dataset
    release.build(closed, repository, wish("v9", images="none"))
    folder = covidct.fetch("v9", repository, source=closed)
    one, two = sorted((folder / "images").iterdir())[:2]
    assert covidct.verify("v9", repository) == []
    good = one.read_bytes()
    Image.open(io.BytesIO(good)).save(one, "PNG", compress_level=0)
    assert one.read_bytes() != good
    assert covidct.verify("v9", repository) == covidct.load("v9", repo=repository).verify() == []
    one.write_bytes(two.read_bytes())
    assert covidct.verify("v9", repository) == [f"images/{one.name}: not the picture that recipe.csv describes"]
    with pytest.raises(DatasetError, match=f"1 pictures of its recipe are not what .* images/{one.name}"):
        covidct.load("v9", repo=repository)
    assert covidct.load("v9", repo=repository, source=closed).verify() == []
    assert one.read_bytes() == good
    one.write_bytes(b"no picture")
    assert len(covidct.verify("v9", repository)) == 1
    one.unlink()
    assert "missing; its licence forbids" in covidct.verify("v9", repository)[0]


def test_licences_decide_what_is_handed_on(
    repository: Path, home: Path, shared_dataset: Path, tmp_path: Path, release_folder: Path
) -> None:
    """Pictures without an open licence become a recipe, which one's own copy fills, whatever its encoding."""
    terms = ["CC-BY-4.0", "cc_by_nd", "", "cc0"] * 6
    mixed = changed(shared_dataset, tmp_path / "mixed", lambda f: f.assign(licence=terms))
    facts = release.build(mixed, repository, wish("v1", images="allowed"))
    assert (facts["shipped"], facts["recipe"]) == (12, 12)
    with pytest.raises(DatasetError, match="is a recipe: 12 pictures may not be handed on"):
        covidct.load("v1", repo=repository)
    partial = covidct.load("v1", repo=repository, partial=True)
    assert len(recipes.missing(partial.root)) == 12
    whole = covidct.load("v1", repo=repository, source=release_folder)
    assert recipes.missing(whole.root) == []
    assert whole.verify() == []
    assert len(list(whole.train)) == 12


@pytest.fixture
def release_folder(shared_dataset: Path) -> Path:
    """The release as published (RGBA, JPEG under the name .png …) that the shared dataset was made from."""
    return shared_dataset.parent / "release"


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("CC-BY-4.0", True), ("cc_by", True), ("CC BY-NC-SA 4.0 International", True), ("CC0-1.0", True),
        ("cc_by_nd", False), ("CC-BY-NC-ND-4.0", False), ("cc_no", False), ("", False), ("all rights reserved", False),
    ],
)  # fmt: skip
def test_licence_policy(text: str, shared: bool) -> None:
    assert licences.may_share(text) is shared


def test_the_cache_is_mended(repository: Path, home: Path, shared_dataset: Path) -> None:
    """A corrupted picture is found by verify and fetched again by load; with the source gone the error says what was
    tried."""
    release.build(shared_dataset, repository, wish("v1"))
    folder = covidct.fetch("v1", repository)
    victim = sorted((folder / "images").iterdir())[0]
    good = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(b"corrupt")  # hard links: the object behind it is hit too
    assert [line.split(":")[0] for line in covidct.verify("v1", repository)] == [f"images/{victim.name}"]
    assert covidct.load("v1", repo=repository).verify() == []
    assert victim.read_bytes() == good
    shutil.rmtree(repository / "releases")
    victim.unlink()
    shutil.rmtree(home / "objects")
    with pytest.raises(FetchError, match=f"1 of 1 files could not be had, e.g. images/{victim.name}"):
        covidct.fetch("v1", repository)


def test_interrupted_downloads_resume(
    repository: Path, home: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before the interruption is kept; no version folder appears before all of it is there."""
    release.build(shared_dataset, repository, wish("v1"))
    real, calls = download.stores.Folder.get, []

    def breaks(self, entry, target):
        calls.append(entry.path)
        if len(calls) > 10:
            raise download.stores.StoreError("the line is dead")
        return real(self, entry, target)

    monkeypatch.setattr(download.stores.Folder, "get", breaks)
    with pytest.raises(FetchError, match="the line is dead"):
        covidct.fetch("v1", repository)
    assert [path.name for path in home.iterdir()] == ["objects"]
    assert not list(home.rglob("*.part"))
    monkeypatch.setattr(download.stores.Folder, "get", lambda s, e, t: calls.append(e.path) or real(s, e, t))
    calls.clear()
    covidct.fetch("v1", repository)
    assert len(calls) == len(registry.read("v1", repository).entries) - 10
    calls.clear()
    covidct.fetch("v1", repository)
    assert calls == []


def test_tampering_is_refused(repository: Path, home: Path, shared_dataset: Path) -> None:
    """A changed manifest and a manifest that leaves its folder are errors, not downloads."""
    release.build(shared_dataset, repository, wish("v1"))
    folder = repository / registry.RELEASES / "v1"
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace("CHANGES.md", "OTHER.md"))
    with pytest.raises(registry.VersionError, match="a version never changes: restore it"):
        covidct.fetch("v1", repository)
    (folder / "manifest.csv").write_text(text.replace("CHANGES.md", "../../CHANGES.md"))
    facts = json.loads((folder / "release.json").read_text())
    facts["manifest_sha256"] = release.sha256_file(folder / "manifest.csv")
    (folder / "release.json").write_text(json.dumps(facts))
    with pytest.raises(DatasetError, match="leaves"):
        covidct.load("v1", repo=repository)


def test_unknown_versions_list_those_there_are(repository: Path, home: Path, shared_dataset: Path) -> None:
    release.build(shared_dataset, repository, wish("v1"))
    with pytest.raises(DatasetError, match="version 'v9': expected one of v1"):
        covidct.load("v9", repo=repository)
    with pytest.raises(DatasetError, match="expected a git repository"):
        covidct.load("v1", repo=repository.parent / "nowhere")
    with pytest.raises(release.ReleaseError, match="expected v<number>"):
        release.build(shared_dataset, repository, wish("final"))


def test_lines_and_numbers() -> None:
    assert release.artifact("v1") == ("covid-ct", "v1.0.0")
    assert release.artifact("2020-v2.1") == ("covid-ct-2020", "v2.1.0")


def run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "DVC_NO_ANALYTICS": "1", **environment}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def dvc_repository(tmp_path: Path) -> Path:
    for name in ("dvc", "gto"):  # never imported here: gto closes the log handlers of the process, pytest's too
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install 'covidct[pipeline]'")
    folder = tmp_path / "first"
    folder.mkdir()
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.name", "test"],
        ["git", "config", "user.email", "test@example.org"],
        [sys.executable, "-m", "dvc", "init", "-q"],
    ):
        run(folder, *command)
    (folder / "dvc.yaml").write_text("# wiring\nstages:\n  one:\n    cmd: echo\n")
    return folder


def make(folder: Path, dataset: Path, version: str, **environment: str) -> None:
    run(
        folder, sys.executable, "-m", "covidct", "release", str(dataset), "--version", version, "--images", "all",
        "--waive", "a test", "--date", "2026-01-02", "--commit", "--push", **environment,
    )  # fmt: skip


def test_a_second_clone_with_git_and_a_folder(dvc_repository: Path, shared_dataset: Path, tmp_path: Path) -> None:
    """v1 and v2 made here are pulled in a clone, verified, and found by DVC's own commands; old ones stay."""
    folder = dvc_repository
    (tmp_path / "store").mkdir()
    run(folder, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "start")
    make(folder, shared_dataset, "v1")
    two = changed(shared_dataset, tmp_path / "two", lambda f: f.assign(age="41"))
    make(folder, two, "v2")
    assert run(folder, "git", "tag").split() == ["covid-ct@v1.0.0", "covid-ct@v2.0.0"]
    text = (folder / "dvc.yaml").read_text()
    assert text.startswith("# wiring\nstages:\n  one:\n    cmd: echo\nartifacts:\n")
    assert text.count("path: releases/v2") == 1
    assert run(folder, "git", "status", "--porcelain") == ""

    clone = tmp_path / "second"
    run(tmp_path, "git", "clone", "-q", str(folder), str(clone))
    assert not (clone / "releases" / "v1").exists()
    environment = {"COVIDCT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(covidct.__file__).parents[1])}
    script = (
        "import covidct; a, b = covidct.load('v1'), covidct.load('v2'); assert a.verify() == b.verify() == [];"
        "assert set(b.records['age']) == {'41'}; print(len(list(a.train)), covidct.versions(), covidct.verify('v2'))"
    )
    assert run(clone, sys.executable, "-c", script, **environment).strip() == "12 ['v1', 'v2'] []"
    assert "Disjoint" not in run(clone, sys.executable, "-m", "covidct", "verify", "v1", **environment)
    # from anywhere, by address alone
    ds = covidct.load("v1", repo=folder.as_uri(), home=tmp_path / "elsewhere")
    assert ds.verify() == []
    # DVC's own ways
    dvc = [sys.executable, "-m", "dvc"]
    run(tmp_path, *dvc, "get", "-q", str(folder), "releases/v1", "-o", "got")
    assert read_records(tmp_path / "got" / "records.csv").equals(ds.records)
    run(tmp_path, *dvc, "artifacts", "get", "-q", str(folder), "covid-ct", "--rev", "v1.0.0", "-o", "artifact")
    assert (tmp_path / "artifact" / "manifest.csv").read_bytes() == (tmp_path / "got" / "manifest.csv").read_bytes()
    run(clone, *dvc, "import", "-q", str(folder), "releases/v1", "-o", "imported", "--rev", "covid-ct@v1.0.0")
    assert "rev: covid-ct@v1.0.0" in (clone / "imported.dvc").read_text()
    assert (clone / "imported" / "manifest.csv").read_bytes() == (tmp_path / "got" / "manifest.csv").read_bytes()
    api = (
        "import dvc.api; print(len(dvc.api.read('releases/v1/records.csv', repo=r'{0}').splitlines()),"
        "dvc.api.artifacts_show('covid-ct', repo=r'{0}')['path'])"
    )
    assert run(tmp_path, sys.executable, "-c", api.format(folder)).split() == ["25", "releases/v2"]
    # the remote is gone: what was tried is said, and a named one helps
    (tmp_path / "store").rename(tmp_path / "moved")
    bare = tmp_path / "bare"
    run(tmp_path, "git", "clone", "-q", str(folder), str(bare))
    with pytest.raises(FetchError, match="expected the folder of a DVC remote, got none"):
        covidct.fetch("v1", bare, home=tmp_path / "third")
    assert covidct.fetch("v1", bare, remote=str(tmp_path / "moved"), home=tmp_path / "third").is_dir()


@pytest.fixture
def s3() -> Iterator[str]:
    """Address of a local S3 (moto)."""
    for name in ("moto", "s3fs", "dvc_s3", "flask"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install 'covidct[test]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "moto ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def test_a_second_clone_with_git_and_s3(
    dvc_repository: Path, shared_dataset: Path, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the pictures in S3, pushed by DVC and fetched by covidct."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    with urllib.request.urlopen(urllib.request.Request(f"{s3}/covidct", method="PUT")) as made:
        assert made.status == 200
    folder = dvc_repository
    dvc = [sys.executable, "-m", "dvc"]
    run(folder, *dvc, "remote", "add", "-q", "-d", "store", "s3://covidct/store")
    run(folder, *dvc, "remote", "modify", "-q", "store", "endpointurl", s3)
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "start")
    make(folder, shared_dataset, "v1")
    clone = tmp_path / "second"
    run(tmp_path, "git", "clone", "-q", str(folder), str(clone))
    ds = covidct.load("v1", repo=clone, home=tmp_path / "home")
    assert ds.verify() == []
    assert len(ds.records) == 24
