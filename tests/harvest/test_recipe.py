"""A recipe has no pixels, and a second machine makes the same pictures of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from harvest import figures as figures_stage
from harvest import pmc, preprints
from harvest.recipe import app, export, pixel_hash
from harvest.records import Figure, Preprint, write_jsonl
from harvest.sample.corpus import write_corpus
from harvest.sample.plan import Size
from harvest.sample.serve import StandIn


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Harvested figures of two papers and some articles, and the corpus that serves them."""
    root = tmp_path_factory.mktemp("recipe")
    size = Size(ct_preprints=1, other_preprints=0, rows=2, articles=5, cases=0, volumes=0, release=0)
    write_corpus(root / "corpus", 4, size, ("preprints", "pmc"))
    run = CliRunner().invoke
    with StandIn(root / "corpus") as server:
        words = [
            "--api",
            f"{server.url}/api.biorxiv.org",
            "--site",
            f"{server.url}/www.{{server}}.org",
            "--spacing",
            "0",
        ]
        assert run(preprints.app, ["--out", str(root / "preprints"), *words]).exit_code == 0
        words = [
            "--eutils",
            f"{server.url}/eutils",
            "--bucket",
            f"{server.url}/pmc-s3",
            "--europepmc",
            f"{server.url}/epmc",
        ]
        assert run(pmc.app, ["--out", str(root / "pmc"), *words, "--openi", f"{server.url}/openi"]).exit_code == 0
    words = ["--pdfs", str(root / "preprints" / "pdf"), "--preprints", str(root / "preprints" / "preprints.jsonl")]
    assert run(figures_stage.app, [*words, "--out", str(root / "figures"), "--workers", "1"]).exit_code == 0
    words = ["--figures", str(root / "figures"), "--figures", str(root / "pmc"), "--preprints", str(root / "preprints")]
    result = run(app, ["export", *words, "--out", str(root / "recipe.jsonl")])
    assert result.exit_code == 0, result.output
    return root


def mirrors(server: StandIn) -> list[str]:
    ways = [f"https://www.{name}.org={server.url}/www.{name}.org" for name in ("medrxiv", "biorxiv")]
    ways.append(f"https://pmc-oa-opendata.s3.amazonaws.com={server.url}/pmc-s3")
    ways.append(f"https://openi.nlm.nih.gov={server.url}/openi")
    return [word for way in ways for word in ("--mirror", way)]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_recipe_says_where_and_holds_no_pixels(drawn):
    rows = lines(drawn / "recipe.jsonl")
    want = {r["figure_id"] for name in ("figures", "pmc") for r in lines(drawn / name / "figures.jsonl") if r["file"]}
    assert {r["figure_id"] for r in rows} == want and len(want) > 5
    paper = next(r for r in rows if r["source"] in ("medrxiv", "biorxiv"))
    assert paper["doi"] and paper["version"] and paper["page"] and paper["url"].startswith("https://www.")
    assert len(paper["document_sha256"]) == len(paper["sha256"]) == 64 and "caption" not in paper
    assert "127.0.0.1" not in (drawn / "recipe.jsonl").read_text()
    assert (drawn / "recipe.jsonl").stat().st_size < 1500 * len(rows)


def test_a_second_machine_makes_the_same_pictures(drawn, tmp_path):
    with StandIn(drawn / "corpus") as server:
        words = ["restore", "--recipe", str(drawn / "recipe.jsonl"), "--out", str(tmp_path / "out"), "--spacing", "0"]
        result = CliRunner().invoke(app, [*words, *mirrors(server)])
        assert result.exit_code == 0, result.output
    assert lines(tmp_path / "out" / "failed.jsonl") == []
    found = {r["figure_id"]: r for r in lines(tmp_path / "out" / "figures.jsonl")}
    for row in lines(drawn / "recipe.jsonl"):
        assert pixel_hash(tmp_path / "out" / found[row["figure_id"]]["file"]) == row["sha256"]


def test_pictures_come_back_although_other_figures_are_found_today(drawn, tmp_path, monkeypatch):
    """Page, xref and box give them: a recipe outlives the code that found its figures."""
    monkeypatch.setattr("harvest.recipe.figures_stage.harvest", lambda *args, **options: ([], []))
    rows = [r for r in lines(drawn / "recipe.jsonl") if r["pixels"] != "given"]
    assert {r["pixels"] for r in rows} == {"native", "rendered"} or len(rows) > 2
    lost = rows[0] | {"figure_id": "lost", "sha256": "0" * 64}
    (tmp_path / "recipe.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (*rows, lost)))
    with StandIn(drawn / "corpus") as server:
        words = ["--recipe", str(tmp_path / "recipe.jsonl"), "--out", str(tmp_path / "out"), "--spacing", "0"]
        assert CliRunner().invoke(app, ["restore", *words, *mirrors(server)]).exit_code == 0
    assert [r["item"] for r in lines(tmp_path / "out" / "failed.jsonl")] == ["lost"]
    found = {r["figure_id"]: r for r in lines(tmp_path / "out" / "figures.jsonl")}
    for row in rows:
        again = found[row["figure_id"]]
        assert pixel_hash(tmp_path / "out" / again["file"]) == row["sha256"]
        assert (again["page"], again["xrefs"], again["box"]) == (row["page"], row["xrefs"], row["box"])


def test_pictures_that_changed_are_told(drawn, tmp_path):
    rows = lines(drawn / "recipe.jsonl")
    given = [r for r in rows if r["pixels"] == "given"][:2]
    given[0]["sha256"] = "0" * 64
    (tmp_path / "recipe.jsonl").write_text("".join(json.dumps(r) + "\n" for r in given))
    with StandIn(drawn / "corpus") as server:
        words = [
            "restore",
            "--recipe",
            str(tmp_path / "recipe.jsonl"),
            "--out",
            str(tmp_path / "out"),
            "--spacing",
            "0",
        ]
        result = CliRunner().invoke(app, [*words, *mirrors(server)])
    assert result.exit_code == 0
    (failure,) = lines(tmp_path / "out" / "failed.jsonl")
    assert failure["item"] == given[0]["figure_id"] and "expected pixels 000000000000" in failure["reason"]
    assert [r["figure_id"] for r in lines(tmp_path / "out" / "figures.jsonl")] == [given[1]["figure_id"]]


def test_what_came_out_of_archives_is_named_where_anybody_finds_it(tmp_path):
    """A .meca archive or a package lies on one machine; the recipe names the site and Europe PMC."""
    paper = Preprint(
        doi="10.1101/a", version=2, server="medrxiv", date="2020-02-11", title="", licence="cc_by", pdf="pdf/av2.pdf",
        sha256="0" * 64, bytes=1, url="meca:1.meca/content/a.pdf",
    )  # fmt: skip
    write_jsonl(tmp_path / "preprints.jsonl", [paper])
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "images" / "x.png")
    known = {"file": "images/x.png", "width": 4, "height": 4}
    figures = [
        Figure(figure_id="a", source="medrxiv", document_id="a", pdf="av2.pdf", pixels="native", **known),
        Figure(
            figure_id="b",
            source="pmc",
            document_id="PMC7",
            pixels="given",
            url="package:PMC7.tar.gz!PMC7/g1.jpg",
            **known,
        ),
        Figure(figure_id="c", source="pdf", document_id="c", pdf="c.pdf", pixels="native", **known),
    ]
    write_jsonl(tmp_path / "figures.jsonl", figures)
    assert {line.figure_id: line.url for line in export([tmp_path], tmp_path)} == {
        "a": "https://www.medrxiv.org/content/10.1101/av2.full.pdf",
        "b": "https://europepmc.org/articles/PMC7/bin/g1.jpg",
    }


def test_bad_recipes_and_bad_mirrors(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"figure_id": "x"}\n')
    words = ["restore", "--recipe", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1 and "r.jsonl:1" in result.stderr
    assert CliRunner().invoke(app, [*words, "--mirror", "nonsense"]).exit_code == 2


def test_a_recipe_asks_nothing_of_this_machine_and_its_network(drawn, tmp_path, service, answer):
    """It may come from anybody, and what it names is asked from where its user stands."""
    service.route = lambda ask: answer(b"\x89PNG\r\n\x1a\n", 200, "image/png")
    rows = lines(drawn / "recipe.jsonl")
    good = next(r for r in rows if r["pixels"] == "given")
    own = [
        service.url + "/x.png",
        "http://localhost:1/x",
        "http://169.254.169.254/latest",
        "http://[x/",
        "ftp://a.org/x",
    ]
    bad = [good | {"figure_id": f"bad{n}", "url": url} for n, url in enumerate(own)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (good, *bad)))
    words = ["restore", "--recipe", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out"), "--spacing", "0"]
    with StandIn(drawn / "corpus") as server:
        result = CliRunner().invoke(app, [*words, *mirrors(server)])
        before = list(service.asked)
        again = [*words[:4], str(tmp_path / "again"), *words[5:]]
        CliRunner().invoke(app, [*again, "--mirror", f"{service.url}={service.url}", *mirrors(server)])
    assert result.exit_code == 0, result.output
    failed = lines(tmp_path / "out" / "failed.jsonl")
    assert [r["item"] for r in failed] == [r["figure_id"] for r in bad] and before == []
    assert all("expected a public http(s) address" in r["reason"] for r in failed)
    assert [r["figure_id"] for r in lines(tmp_path / "out" / "figures.jsonl")] == [good["figure_id"]]
    assert set(service.paths()) == {"/x.png"}  # its user may say so
