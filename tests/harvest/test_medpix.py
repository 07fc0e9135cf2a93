"""MedPix: cases and pictures, Open-i's copies, the placeholder, patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest.cases import Services, read_encounter, read_encounters, sex_of, shown
from harvest.medpix import SCHEMA, app
from harvest.records import Figure, read_jsonl
from harvest.sample.routes_medpix import placeholder
from harvest.sample.serve import Fault, StandIn
from harvest.select import chest_ct
from harvest.store import Store


def call(out: Path, url: str, *more: str):
    """The stage's command line in this process."""
    words = ["--out", str(out), "--openi", f"{url}/openi", "--medpix", f"{url}/medpix", "--spacing", "0"]
    return CliRunner().invoke(app, [*words, *more])


def figures(out: Path) -> dict[str, Figure]:
    return {f.figure_id: f for f in read_jsonl(out / "figures.jsonl", Figure)}


def wanted(corpus: Path) -> dict[str, dict]:
    rows = map(json.loads, (corpus / "truth" / "others.jsonl").read_text().splitlines())
    return {
        f"medpix-{Path(r['file']).stem}": r
        for r in rows
        if r["source"] == "medpix" and r["kind"] == "ct" and r["shown"]
    }


@pytest.mark.parametrize("route", ["rest", "openi", "rest,openi"])
def test_axial_chest_cts_and_nothing_else(negatives, tmp_path, route):
    with StandIn(negatives) as server:
        result = call(tmp_path / "out", server.url, "--routes", route)
        assert result.exit_code == 0, result.output
    found, drawn = figures(tmp_path / "out"), wanted(negatives)
    assert set(found) >= set(drawn)
    if "rest" in route:
        assert set(found) == set(drawn)
    for figure_id, row in drawn.items():
        figure = found[figure_id]
        assert figure.licence == "link_only" and figure.diagnosis and figure.document_type == "case"
        assert figure.patient_id == "medpix:" + (row["encounter"] if "rest" in route else row["document"])
        if "rest" in route:
            assert (figure.width, figure.height) == (row["width"], row["height"]) and figure.sex in "FM" and figure.age
    assert "@" not in (tmp_path / "out" / "figures.jsonl").read_text()


def test_one_patient_per_case_whichever_way_its_pictures_came(negatives, tmp_path):
    cases = json.loads((negatives / "server" / "cases.json").read_text())
    case = next(c["encounter"] for c in cases if len(c["encounter"]["imageList"]) > 1)
    hidden = case["imageList"].pop()
    changed = tmp_path / "corpus"
    (changed / "server").mkdir(parents=True)
    for path in (negatives / "server").iterdir():
        if path.name != "cases.json":
            (changed / "server" / path.name).symlink_to(path)
    (changed / "server" / "cases.json").write_text(json.dumps(cases))
    with StandIn(changed) as server:
        assert call(tmp_path / "out", server.url).exit_code == 0
    found = figures(tmp_path / "out")
    only_openi = found.get(f"medpix-{hidden['imageName']}")
    if only_openi is not None:
        assert only_openi.patient_id == f"medpix:{case['encounterID']}"
        assert only_openi.url.startswith("https://openi.nlm.nih.gov/")
    assert {f.patient_id for f in found.values()} == {f"medpix:{c['encounter']['encounterID']}" for c in cases}


def test_the_placeholder_is_refused_by_size_and_by_bytes(negatives, tmp_path):
    """Trap 17."""
    assert len(placeholder()) == 6168
    corpus = tmp_path / "corpus" / "server"
    corpus.mkdir(parents=True)
    for path in (negatives / "server").iterdir():
        if path.name != "medpix":
            (corpus / path.name).symlink_to(path)
    (corpus / "medpix").mkdir()
    names = sorted(p.name for p in (negatives / "server" / "medpix").iterdir())
    for name in names[1:]:
        (corpus / "medpix" / name).symlink_to(negatives / "server" / "medpix" / name)
    with StandIn(tmp_path / "corpus") as server:
        assert call(tmp_path / "out", server.url, "--routes", "rest").exit_code == 0
    failed = (tmp_path / "out" / "failed.jsonl").read_text()
    assert f"medpix-{Path(names[0]).stem}" in failed and "placeholder" in failed
    assert not any(p.stat().st_size == 6168 for p in (tmp_path / "out" / "images").iterdir())


def test_open_i_where_medpix_fails(negatives, tmp_path):
    with StandIn(negatives, faults=[Fault(r"^/medpix", "status", status=500)]) as server:
        result = call(tmp_path / "out", server.url)
        assert result.exit_code == 0, result.output
        server.faults.append(Fault(r"^/openi", "error-json"))
        assert call(tmp_path / "two", server.url).exit_code == 1
    assert "route rest" in (tmp_path / "out" / "failed.jsonl").read_text()
    assert set(figures(tmp_path / "out")) >= set(wanted(negatives))


def test_hidden_pictures_and_words_for_sex():
    assert shown({}) and shown({"show": True, "deleted": False})
    assert not shown({"deleted": True}) and not shown({"show": "false"}) and not shown({"deleted": "1"})
    assert [sex_of(t) for t in ("female", "M", "<p>Woman</p>", "unknown", None)] == ["F", "M", "F", "", ""]


def test_stated_modality_plane_and_place_decide():
    assert chest_ct("", "", "CT - noncontrast", "Axial", "Chest, Pulmonary (ex. Heart)")[0] > 0
    assert chest_ct("CT chest", "", "CT w/contrast (IV)", "Coronal", "Chest")[0] == 0
    assert chest_ct("CT chest", "", "XR - Plain Film", "PA", "Chest")[0] == 0
    assert chest_ct("CT", "", "CT - noncontrast", "Axial", "Abdomen")[0] == 0


def test_a_second_run_gives_the_same_bytes(negatives, tmp_path):
    with StandIn(negatives) as server:
        call(tmp_path / "out", server.url)
        first = {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
        server.log.clear()
        call(tmp_path / "out", server.url)
        again = [a.path for a in server.log if "images" in a.path or "encounter.json" in a.path]
        assert [path for path in again if "synpic99999" not in path] == []  # what failed is tried again
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == first


def test_switched_off(tmp_path):
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "out"), "--no-enabled"]).exit_code == 0
    assert figures(tmp_path / "out") == {}


@pytest.mark.real
def test_the_recorded_thoracic_cases_are_chest_cts(real_data: Path):
    for entry in json.loads((real_data / "recorded/medpix/medpix2_descriptions_sample.json").read_text()):
        words = entry["Description"]
        score, why = chest_ct(words["Caption"], "", words["Modality"], words["Plane"], entry["Location"])
        assert score > 0, why


SCAN = {"imageURL": "/images/full/synpic1.jpg", "modality": "CT", "plane": "Axial", "imageCaption": "CT chest, lung"}


@pytest.mark.parametrize(
    ("pictures", "taken", "said"),
    [
        ([SCAN], 1, ""),
        (SCAN, 1, ""),
        (None, 0, ""),
        ([SCAN | {"imageURL": "https://other.org/images/synpic9.jpg"}], 0, "other.org"),
        ([SCAN | {"imageURL": "http://[x/synpic9.jpg"}], 0, "http://[x/"),
        ([SCAN | {"imageURL": "https://other.org/a.jpg", "plane": "Coronal"}], 0, ""),
    ],
)
def test_a_cases_pictures_in_every_form_are_taken_or_told(service, session, answer, tmp_path, pictures, taken, said):
    case = {"encounterID": "e", "imageList": pictures, "diagnosis": "Sarcoidosis"}
    service.route = lambda ask: answer(json.dumps(case).encode())
    store = Store(tmp_path, SCHEMA)
    read_encounter(session, store, Services(service.url, service.url), "e")
    assert store.count("SELECT count(*) FROM figure") == taken
    left = [row["reason"] for row in store.db.execute("SELECT reason FROM excluded")]
    assert len(left) == bool(said) and all(said in reason and "medpix.nlm.nih.gov" in reason for reason in left)
    store.close()


@pytest.mark.parametrize("pictures", [5, True, "synpic1"])
def test_pictures_of_another_type_fail_the_case_only(service, session, answer, tmp_path, pictures):
    service.route = lambda ask: answer(json.dumps({"encounterID": "e", "imageList": pictures}).encode())
    store = Store(tmp_path, SCHEMA)
    store.db.execute("INSERT INTO encounter(id) VALUES ('e')")
    read_encounters(session, store, Services(service.url, service.url))
    assert [(p.item, "expected a list of pictures" in p.reason) for p in store.problems()] == [("e", True)]
    store.close()
