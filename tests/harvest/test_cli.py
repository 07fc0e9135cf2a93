"""covidct harvest: status as people read it, a dry run from params.yaml, recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from covidct import cli as covidct
from harvest.cli import words_of
from harvest.preprints import app as preprints
from harvest.sample.serve import Fault, StandIn

PARAMS = """
preprints:
  enabled: true
  api: "{URL}/api.biorxiv.org"
  site: "{URL}/www.{server}.org"
  servers: [medrxiv, biorxiv]
  spacing: 0.01
  category: ""
  check_later: false
pmc: { enabled: true, eutils: "{URL}/eutils", bucket: "{URL}/pmc-s3", europepmc: "", openi: "{URL}/openi", spacing: 0 }
medpix: { enabled: false }
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`covidct harvest` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(covidct.app, ["harvest", *words])


def test_status_tells_what_waits_and_for_how_long(run, tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", "challenge", skip=4)]) as server:
        words = ["--api", server.url, "--site", server.url, "--spacing", "0.02", "--cache", "cache/harvest"]
        CliRunner().invoke(preprints, ["--out", "data/preprints", *words, "--no-check-later"])
    result = run("status")
    assert result.exit_code == 0, result.output
    head, row = result.output.splitlines()[:2]
    assert head.split()[:4] == ["stage", "listed", "selected", "have"] and head.endswith("time left ")
    assert row.split()[:8] == ["preprints", "80", "12", "4", "0", "0", "8", "4"]
    assert max(map(len, result.output.splitlines())) <= 80


def test_status_before_anything_ran(run):
    result = run("status")
    assert result.exit_code == 0 and result.output.splitlines()[1].split() == ["preprints", *"0000000", "–"]
    assert "cache/harvest: nothing was harvested here yet" in result.output.replace("\n", " ")


def test_a_dry_run_as_params_say(run, negatives, tmp_path, capfd):
    """Lists, selects, says how long; the real run goes on from its cache."""
    with StandIn.synthetic(80, 12, 3000) as server:
        (tmp_path / "params.yaml").write_text(PARAMS.replace("{URL}", server.url))
        result = run("dry-run", "--stage", "preprints")
        assert result.exit_code == 0, result.output
        assert "12 PDFs to fetch" in capfd.readouterr().err
        assert not any("/content/" in a.path for a in server.log) and not (tmp_path / "data").exists()
        listed = len(server.log)
        words = ["--api", f"{server.url}/api.biorxiv.org", "--site", f"{server.url}/www.{{server}}.org"]
        words += ["--out", "data/preprints", "--cache", "cache/harvest", "--spacing", "0", "--no-check-later"]
        assert CliRunner().invoke(preprints, words).exit_code == 0
        assert len(server.log) == listed + 12
    with StandIn(negatives) as server:
        text = PARAMS.replace("{URL}", server.url).replace("medpix: { enabled: false }", "")
        text += f'medpix: {{ openi: "{server.url}/openi", medpix: "{server.url}/medpix", spacing: 0 }}\n'
        (tmp_path / "params.yaml").write_text(text)
        assert run("dry-run", "--stage", "medpix").exit_code == 0
        assert "8 cases to read" in capfd.readouterr().err
        assert not any("encounter.json" in a.path for a in server.log)


def test_a_dry_run_of_the_sample_profile_starts_the_stand_in(run, negatives, tmp_path, capfd):
    (tmp_path / "params.yaml").write_text(PARAMS.replace("{URL}", "{standin}"))
    assert run("dry-run", "--stage", "pmc", "--corpus", str(negatives)).exit_code == 0
    assert "articles to read" in capfd.readouterr().err
    assert run("dry-run", "--stage", "medpix").exit_code == 0  # switched off: nothing is asked


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (None, [], "params.yaml"), ("[1]", [], "sections"), ("preprints: {}", ["--stage", "luna"], "--stage"),
        ("a: b: c", [], "params.yaml"), ("pmc: {}", ["--stage", "preprints"], "section preprints"),
    ],
)  # fmt: skip
def test_a_dry_run_without_parameters(run, tmp_path, text, words, message):
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    result = run("dry-run", *words)
    assert result.exit_code == 2 and message in result.stderr


def test_a_live_dry_run_without_a_contact_is_refused(run, tmp_path, capfd):
    (tmp_path / "params.yaml").write_text('preprints: { contact: "", spacing: 10 }\n')
    result = run("dry-run", "--stage", "preprints")
    assert result.exit_code == 1 and "--contact" in capfd.readouterr().err


def test_options_as_dvc_writes_them():
    section = {"enabled": True, "check_later": False, "servers": ["a", "b"], "limit": 0, "meca": ""}
    assert list(words_of(section)) == [
        "--enabled", "--no-check_later", "--servers", "a", "--servers", "b", "--limit", "0", "--meca", "",
    ]  # fmt: skip


def test_recipes_are_within_reach(run, tmp_path):
    (tmp_path / "figures.jsonl").write_text("")
    result = run("recipe", "export", "--figures", str(tmp_path), "--out", "recipe.jsonl")
    assert result.exit_code == 0 and (tmp_path / "recipe.jsonl").read_text() == ""
    assert run("recipe", "restore", "--recipe", "none.jsonl", "--out", "x").exit_code == 1
    assert run("nonsense").exit_code == 2


def test_the_profiles_can_be_run_dry():
    """Every key of the three sections, in every profile, is an option of its stage."""
    yaml = pytest.importorskip("yaml")
    import typer

    from harvest import medpix, pmc, preprints

    for path in sorted((Path(__file__).resolve().parents[2] / "profiles").glob("*.yaml")):
        sections = yaml.safe_load(path.read_text())
        for module in (preprints, pmc, medpix):
            name = module.__name__.rsplit(".", 1)[-1]
            known = {o for p in typer.main.get_command(module.app).params for o in (*p.opts, *p.secondary_opts)}
            words = {word.replace("_", "-") for word in words_of(sections[name]) if word.startswith("--")}
            assert words <= known | {"--"}, path
