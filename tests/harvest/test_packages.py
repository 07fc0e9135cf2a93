"""Packages of PubMed Central that the user has put down: read first, never asked for."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from harvest import packages
from harvest.errors import ItemError, SettingError
from harvest.pmc import app
from harvest.sample.serve import StandIn

TEXT = (
    b'<article xmlns:xlink="http://www.w3.org/1999/xlink"><body><fig><label>Fig. 1</label>'
    b'<graphic xlink:href="x-g1"/></fig></body></article>'
)


def tape(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def test_article_and_files(tmp_path):
    path = tape(tmp_path / "PMC7.tar.gz", {"PMC7/paper.nxml": TEXT, "PMC7/x-g1.jpg": b"\xff\xd8\xff"})
    assert packages.find(tmp_path, "PMC7") == path
    assert packages.find(tmp_path, "PMC8") is None and packages.find(None, "PMC7") is None
    article, files = packages.read(path)
    assert article.figures[0].graphics == ("x-g1",)
    assert packages.parts(files[1].url) == ("PMC7.tar.gz", "PMC7/x-g1.jpg")


def test_a_package_without_text_and_a_folder_that_is_none(tmp_path):
    with pytest.raises(ItemError, match="nxml"):
        packages.read(tape(tmp_path / "PMC7.tar.gz", {"PMC7/x.jpg": b"x"}))
    with pytest.raises(SettingError, match="--packages"):
        packages.find(tmp_path / "none", "PMC7")


def test_the_stage_reads_packages_before_it_asks(negatives, tmp_path):
    """The same figures as from the bucket, of which nothing is asked for then; a hostile package is a failure."""
    folder = tmp_path / "packages"
    folder.mkdir()
    entries = json.loads((negatives / "server" / "articles.json").read_text())
    out = {}
    with StandIn(negatives) as server:
        for entry in entries:
            where = f"{server.url}/oa/pub/pmc/oa_package/00/01/{entry['pmcid']}.tar.gz"
            answer = requests.get(where, timeout=10)
            if answer.status_code == 200:
                (folder / f"{entry['pmcid']}.tar.gz").write_bytes(answer.content)
        for key, more in (("bucket", []), ("packages", ["--packages", str(folder)])):
            server.log.clear()
            words = ["--eutils", f"{server.url}/eutils", "--bucket", f"{server.url}/pmc-s3", "--spacing", "0"]
            words += ["--europepmc", "", "--routes", "bucket", "--out", str(tmp_path / key), *more]
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            rows = map(json.loads, (tmp_path / key / "figures.jsonl").read_text().splitlines())
            out[key] = {row["figure_id"]: row for row in rows}
        assert not any("/pmc-s3" in a.path for a in server.log)
    assert set(out["packages"]) >= set(out["bucket"]) and len(out["bucket"]) > 3
    for figure_id, row in out["bucket"].items():
        again = out["packages"][figure_id]
        assert (again["sha256"], again["licence"], again["caption"]) == (row["sha256"], row["licence"], row["caption"])
        assert again["url"].startswith("package:PMC")
