"""covidct X: answers on stdout, one clear message on stderr, exit status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from covidct import cli
from covidct.profiles import ProfileError, choose, with_value

PROFILE = "published:\n  enabled: true # read it\n  root: data/x # folder\nluna:\n  enabled: false\n  root: data/y\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    for name in ("sample", "published", "paper"):
        (tmp_path / "profiles" / f"{name}.yaml").write_text(PROFILE)
    return tmp_path


def test_profile_copies_and_writes_the_folder_in(repository: Path, tmp_path: Path) -> None:
    """Only the value changes; comments and the profile file stay; a folder with odd characters is quoted."""
    folder = tmp_path / "the: release"
    folder.mkdir()
    choose(repository, "published", {"root": str(folder), "luna": ""})
    text = (repository / "params.yaml").read_text()
    assert text == PROFILE.replace("data/x", json.dumps(folder.as_posix()))
    assert (repository / "profiles" / "published.yaml").read_text() == PROFILE
    choose(repository, "published", {"root": str(folder), "luna": str(tmp_path)})
    assert "luna:\n  enabled: true\n" in (repository / "params.yaml").read_text()
    choose(repository, "sample", {})
    assert (repository / "params.yaml").read_text() == PROFILE


@pytest.mark.parametrize(
    ("name", "folders", "words"),
    [
        ("nothing", {}, "expected one of paper, published, sample"),
        ("published", {}, "needs --root DIR"),
        ("paper", {"root": "/tmp"}, "needs --luna DIR, the folder of LUNA16's volumes"),
        ("published", {"root": "/no/such/folder"}, "expected a folder, got none"),
    ],
)
def test_profile_refuses(repository: Path, name: str, folders: dict[str, str], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        choose(repository, name, folders)
    assert not (repository / "params.yaml").exists()


def test_the_address_goes_to_every_service_that_asks_for_one(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "profiles", tmp_path / "profiles")
    words = ["profile", "paper", "--luna", str(tmp_path), "--contact", "ada@lab.test", "--repository", str(tmp_path)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0 and "next: make repro" in result.output.replace("\n", " ")
    sections = yaml.safe_load((tmp_path / "params.yaml").read_text())
    found = {name: values["contact"] for name, values in sections.items() if "contact" in (values or {})}
    assert found == dict.fromkeys(("preprints", "pmc", "medpix"), "ada@lab.test")
    assert sections["luna"]["root"] == tmp_path.as_posix()


def test_value_in_the_right_section() -> None:
    assert with_value(PROFILE, "luna", "root", '"/l"').endswith('luna:\n  enabled: false\n  root: "/l"\n')
    with pytest.raises(ProfileError, match=r"luna\.size"):
        with_value(PROFILE, "luna", "size", "x")


def test_info_and_check(shared_dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = CliRunner()
    said = run.invoke(cli.app, ["info", str(shared_dataset)])
    assert said.exit_code == 0
    assert "scheme published" in said.stdout
    assert "paper, abstract: COVID patients 216; here 6" in said.stdout
    assert run.invoke(cli.app, ["check", str(shared_dataset)]).stdout.startswith("Disjoint: 24 images")
    assert run.invoke(cli.app, ["info", "/no/such"]).exit_code == 1
    assert "no such folder" in caplog.text


def test_report_prints_headline_and_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = CliRunner()
    assert run.invoke(cli.app, ["report", "--data", str(tmp_path)]).exit_code == 1
    assert "make repro" in caplog.text
    values = {"images": 8, "auc": 0.7712, "accuracy": 0.5, "f1": None}
    values |= {"intervals": {"auc": [0.6, 0.9], "accuracy": [None, None], "f1": [None, None]}}
    for name, content in (("crnet", json.dumps({"test": {"at_half": values}})), ("broken", "{")):
        (tmp_path / "evaluate" / name).mkdir(parents=True)
        (tmp_path / "evaluate" / name / "metrics.json").write_text(content)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("")
    done = run.invoke(cli.app, ["report", "--data", str(tmp_path)])
    assert done.exit_code == 0
    assert "0.77 (0.60–0.90)" in done.stdout
    assert "undefined" in done.stdout
    assert "index.html" in done.stdout
    assert "broken" in caplog.text


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "label_studio_sdk", None)

    def absent(name: str) -> None:
        raise ImportError("x", name="cv2")

    monkeypatch.setattr(cli.importlib, "import_module", absent)
    assert CliRunner().invoke(cli.app, ["label", "push"]).exit_code == 1
    assert "cv2 is missing; pip install 'covidct[curation]'" in caplog.text


def test_both_names_are_one_command() -> None:
    """`python -m covidct` runs, and an unknown command is a usage error."""
    done = subprocess.run([sys.executable, "-m", "covidct", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
