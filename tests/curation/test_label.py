"""`covidct label` on a server in memory: pushing and pulling again and again, cuts, people, all kinds of bad input."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from curation import label, labelstudio
from curation.labelstudio import FORM
from curation.records import PanelReview, PixelBox, Review, Suggestion
from harvest.records import read_jsonl, write_jsonl
from tests.curation.fake_labelstudio import FakeLabelStudio
from tests.curation.test_tasks import candidate

COUNT = 7


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    made = FakeLabelStudio()
    monkeypatch.setattr(label, "_client", lambda url, home: made)
    monkeypatch.setattr(labelstudio, "PAGE", 3)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "candidates"
    (folder / "images").mkdir(parents=True)
    for number in range(COUNT):
        Image.fromarray(np.full((100, 200), number, np.uint8)).save(folder / "images" / f"{number}.png")
    write_jsonl(folder / "candidates.jsonl", [candidate(n) for n in range(COUNT)])
    return folder


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(label.app, [str(a) for a in args])
    assert result.exit_code == code, result.output
    return result.output


def push(folder: Path, *args: object, code: int = 0) -> str:
    return run("push", "--candidates", folder, "--reviews", folder.parent / "reviews", *args, code=code)


def pull(folder: Path, *args: object, code: int = 0) -> str:
    return run("pull", "--reviews", folder.parent / "reviews", *args, code=code)


def pulled(folder: Path, project: str = "covidct") -> list[Review]:
    return list(read_jsonl(folder.parent / "reviews" / f"{project}.jsonl", Review))


def name(number: int) -> str:
    return candidate(number).candidate_id


def test_pushing_twice_adds_only_what_is_new_and_the_server_orders_by_priority(fake, folder) -> None:
    assert "7 new, 0 changed, 0 already there" in push(folder)
    assert "0 new, 0 changed, 7 already there" in push(folder)
    write_jsonl(folder / "candidates.jsonl", [candidate(n) for n in range(COUNT)] + [candidate(0, candidate_id="x")])
    assert "1 new, 0 changed, 7 already there" in push(folder)
    assert fake.made_views[0]["data"]["ordering"] == ["-tasks:data.priority"]
    project = next(iter(fake.all_projects.values()))
    assert project.model_version == "proposals-1" and project.maximum_annotations == 2
    push(folder, "--overlap", 3)
    assert project.maximum_annotations == 3
    assert [store.path for store in fake.stores] == [str(folder)]


def test_a_push_that_is_cut_off_is_finished_by_the_next(fake, folder, caplog) -> None:
    fake.calls_left = 2  # the project and one page
    push(folder, code=1)
    assert "nothing is lost" in caplog.text and len(fake.all_tasks) == 3
    fake.calls_left = 10**9
    assert "4 new, 0 changed, 3 already there" in push(folder)
    assert sorted(t.data["candidate_id"] for t in fake.all_tasks.values()) == [name(n) for n in range(COUNT)]


def test_a_changed_proposal_leaves_annotations_and_what_they_started_from(fake, folder) -> None:
    push(folder)
    fake.annotate(name(1), 1)
    pull(folder)
    before = (folder.parent / "reviews" / "covidct.jsonl").read_bytes()
    changed = {"suggestion": Suggestion(label="unclear", sentence="suspected"), "proposed_by": "proposals-2"}
    write_jsonl(folder / "candidates.jsonl", [candidate(n, **(changed if n < 3 else {})) for n in range(COUNT)])
    fake.calls_left = 3
    push(folder, code=1)
    fake.calls_left = 10**9
    push(folder)
    assert "0 new, 0 changed, 7 already there" in push(folder)
    tasks = {t.data["candidate_id"]: t for t in fake.all_tasks.values()}
    assert [p["model_version"] for p in tasks[name(0)].predictions] == ["proposals-2"]
    assert [p["model_version"] for p in tasks[name(1)].predictions] == ["proposals-1", "proposals-2"]
    assert tasks[name(1)].data["evidence"] == "<b>unclear</b> suspected"
    pull(folder)
    assert (folder.parent / "reviews" / "covidct.jsonl").read_bytes() == before


def test_pull_is_sorted_and_stable_and_says_who_when_and_from_what(fake, folder) -> None:
    push(folder)
    for number, who in ((5, 2), (1, 2), (1, 1)):
        fake.annotate(name(number), who)
    fake.annotate(name(2), 1, was_cancelled=True)  # skipped
    assert "3 reviews, 0 unreadable" in pull(folder)
    first = (folder.parent / "reviews" / "covidct.jsonl").read_bytes()
    fake.all_tasks = dict(reversed(fake.all_tasks.items()))
    pull(folder)
    assert (folder.parent / "reviews" / "covidct.jsonl").read_bytes() == first
    found = pulled(folder)
    # two curators with the same initials are two people
    assert [(r.candidate_id, r.reviewer) for r in found] == [
        (name(1), "alf.b@x.org"), (name(1), "ann.b@x.org"), (name(5), "alf.b@x.org"),
    ]  # fmt: skip
    assert all(r.seconds == 4.0 and r.proposed_by == "proposals-1" and r.reviewed_at for r in found)
    fake.annotate(name(5), 2, result=[{"type": "choices", "from_name": "chest_ct", "value": {"choices": ["no"]}}])
    pull(folder)
    assert [r.chest_ct for r in pulled(folder)] == [True, True, False]  # the last of one person counts


def test_reviews_of_a_task_deleted_by_hand_stay_and_withdrawn_ones_go(fake, folder, caplog) -> None:
    push(folder)
    for number in (1, 2, 3):
        fake.annotate(name(number), 1)
    pull(folder)
    tasks = {t.data["candidate_id"]: t for t in fake.all_tasks.values()}
    del fake.all_tasks[tasks[name(1)].id]
    tasks[name(2)].annotations.clear()
    pull(folder)
    assert [r.candidate_id for r in pulled(folder)] == [
        name(1),
        name(3),
    ] and "1 earlier reviews were kept" in caplog.text
    assert "1 new" in push(folder)  # and the task comes back
    fake.all_projects.clear()
    push(folder)  # the whole project made anew
    pull(folder)
    assert [r.candidate_id for r in pulled(folder)] == [name(1), name(3)]


def test_a_connection_lost_while_pulling_leaves_the_file(fake, folder, caplog, monkeypatch) -> None:
    import httpx

    push(folder)
    fake.annotate(name(1), 1)
    pull(folder)
    before = (folder.parent / "reviews" / "covidct.jsonl").read_bytes()

    def broken(**_: object) -> object:
        yield next(iter(fake.all_tasks.values()))
        raise httpx.ReadError("gone")

    monkeypatch.setattr(fake.tasks, "list", broken)
    pull(folder, code=1)
    assert "nothing is lost" in caplog.text
    assert [p.name for p in (folder.parent / "reviews").iterdir()] == ["covidct.jsonl"]
    assert (folder.parent / "reviews" / "covidct.jsonl").read_bytes() == before


def test_adjudication_goes_round(fake, folder) -> None:
    push(folder)
    no = [{"type": "choices", "from_name": "chest_ct", "value": {"choices": ["no"]}}]
    fake.annotate(name(1), 1)
    fake.annotate(name(1), 2, result=no)
    fake.annotate(name(2), 1)
    fake.annotate(name(2), 2)
    pull(folder)
    assert f"to adjudicate: 1 ({name(1)})" in run("agreement", "--reviews", folder.parent / "reviews")
    assert "project 'covidct-adjudication': 1 new" in push(folder, "--adjudicate", "covidct")
    second = next(p for p in fake.all_projects.values() if p.title.endswith("-adjudication"))
    assert second.model_version == ""  # both reviews are offered
    task = next(t for t in fake.all_tasks.values() if t.project == second.id)
    assert [p["model_version"] for p in task.predictions] == ["review of alf.b@x.org", "review of ann.b@x.org"]
    assert "chest CT: no / yes" in task.data["why"]
    task.annotations.append(
        {"id": 99, "result": no, "completed_by": 1, "updated_at": "2026-01-02", "was_cancelled": False}
    )
    pull(folder, "--project", "covidct-adjudication")
    assert [r.adjudicated for r in pulled(folder, "covidct-adjudication")] == [True]
    assert "to adjudicate: 0" in run("agreement", "--reviews", folder.parent / "reviews")
    assert "nothing to adjudicate" in push(folder, "--adjudicate", "covidct")


def test_an_export_is_read_and_somebody_elses_is_refused(fake, folder, caplog, tmp_path) -> None:
    push(folder)
    fake.annotate(name(1), 1)
    pull(folder)
    ours = [copy.deepcopy(t.model_dump()) for t in fake.all_tasks.values()]
    export = tmp_path / "export.json"
    ours[2]["annotations"] = [{**ours[1]["annotations"][0], "completed_by": {"id": 9, "email": "new@x.org"}}]
    ours[1]["annotations"] = []
    export.write_text(json.dumps(ours))
    pull(folder, "--export", export)
    assert [(r.candidate_id, r.reviewer) for r in pulled(folder)] == [(name(1), "ann.b@x.org"), (name(2), "new@x.org")]
    before = (folder.parent / "reviews" / "covidct.jsonl").read_bytes()
    for content, said in (
        ([{"data": {"text": "x"}, "annotations": [{"result": []}]}], "is this one of our projects"),
        ([{"data": {"text": "x"}, "annotations": []}], "none of 1 tasks has a candidate_id"),
        ([{"candidate_id": name(1), "chest_ct": "yes"}], "not JSON-MIN"),
        ({"a": 1}, "expected a list of tasks"),
        ("x", "expected a list of tasks"),
    ):
        export.write_text(json.dumps(content))
        pull(folder, "--export", export, code=1)
        assert said in caplog.text
        caplog.clear()
    export.write_text("[" * 100_000)
    pull(folder, "--export", export, code=1)
    assert "expected a JSON export" in caplog.text
    pull(folder, "--export", tmp_path / "none.json", code=1)
    assert (folder.parent / "reviews" / "covidct.jsonl").read_bytes() == before


def test_one_unreadable_annotation_is_told_and_the_others_are_kept(fake, folder, caplog) -> None:
    push(folder)
    fake.annotate(name(1), 1)
    fake.annotate(name(2), 1, result=[{"type": "choices", "from_name": "mood", "value": {}}])
    assert "1 reviews, 1 unreadable" in pull(folder, code=1)
    assert "not of our form" in caplog.text and [r.candidate_id for r in pulled(folder)] == [name(1)]


def test_other_projects_are_left_alone(fake, folder, caplog) -> None:
    fake.projects.create(title="covidct", label_config="<View/>", maximum_annotations=1)
    push(folder, code=1)
    assert "another form" in caplog.text and not fake.all_tasks
    fake.all_projects[1].label_config = FORM.read_text().replace("  ", " ")  # spaces don't count
    push(folder)
    fake.all_projects[1].label_config = "<View/>"
    push(folder, "--update-form")
    assert fake.all_projects[1].label_config == FORM.read_text()
    fake.projects.create(title="covidct", label_config="", maximum_annotations=1)
    push(folder, code=1)
    assert "2 projects are called" in caplog.text
    pull(folder, "--project", "nothing", code=1)
    assert "it has: covidct, covidct" in caplog.text
    for title in ("../x", "", "a/b", "-rf", "x" * 99):
        pull(folder, f"--project={title}", code=1)
    assert "expected letters" in caplog.text


def test_pictures_missing_or_out_of_the_servers_reach(fake, folder, caplog, tmp_path) -> None:
    (folder / "images" / "3.png").unlink()
    assert "6 new" in push(folder, code=1)
    assert "images/3.png is not in" in caplog.text
    moved = tmp_path / "nowhere" / "candidates"
    moved.parent.mkdir()
    folder.rename(moved)
    push(moved, "--project", "second", code=1)
    assert "--pictures URL" in caplog.text
    assert "6 new" in push(moved, "--project", "third", "--pictures", "https://x.org/c", code=1)
    assert list(fake.all_tasks.values())[-1].data["image"] == "https://x.org/c/images/6.png"
    run("push", "--candidates", tmp_path / "no", code=1)
    assert "run its stage first" in caplog.text


def test_a_server_is_needed_and_the_token_comes_from_the_environment(folder, caplog, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    push(folder, "--home", tmp_path / "none", code=1)
    assert "`covidct label serve` starts one" in caplog.text
    run("invite", "--home", tmp_path / "none", code=1)
    push(folder, "--url", "http://127.0.0.1:9", code=1)
    assert "set LABEL_STUDIO_API_KEY" in caplog.text
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    push(folder, "--url", "127.0.0.1:9", code=1)
    assert "starts with http://" in caplog.text
    push(folder, "--url", "http://127.0.0.1:9", code=1)
    assert "no Label Studio answers there" in caplog.text


def test_a_web_server_that_is_no_label_studio(caplog, monkeypatch, folder) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(Page.status)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            return

    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for status, said in ((200, "is the address right"), (404, "is the address right"), (401, "does not know the")):
            Page.status = status
            push(folder, "--url", url, code=1)
            assert said in caplog.text
            caplog.clear()
        server.shutdown()


def test_one_person_in_an_export_stays_one_person(fake, folder, caplog, tmp_path) -> None:
    push(folder)
    fake.annotate(name(1), 1)
    pull(folder)
    before = pulled(folder)
    export = tmp_path / "export.json"
    tasks = [copy.deepcopy(t.model_dump()) for t in fake.all_tasks.values()]
    for task in tasks:
        for annotation in task["annotations"]:
            annotation["completed_by"] = 1  # all that an export of the browser says
    export.write_text(json.dumps(tasks))
    pull(folder, "--export", export, code=1)
    assert "names people by number only (1)" in caplog.text and "--person 1=" in caplog.text
    assert pulled(folder) == before
    pull(folder, "--export", export, "--person", f"1={before[0].reviewer}")
    assert pulled(folder) == before
    pull(folder, "--export", export, "--person", "ann", code=1)
    assert "--person 'ann': expected a number and an address" in caplog.text


def test_a_damaged_mask_in_the_reviews_is_told(folder, caplog) -> None:
    panel = PanelReview(box=PixelBox(0, 0, 9, 9), label="COVID")
    values = {"candidate_id": name(1), "reviewed_at": "t", "chest_ct": True, "panels": (panel,), "mask": "9 x nine: 1"}
    target = folder.parent / "reviews" / "covidct.jsonl"
    target.parent.mkdir(exist_ok=True)
    write_jsonl(target, [Review.model_validate({**values, "reviewer": who}) for who in ("a@b.org", "c@d.org")])
    run("agreement", "--reviews", target.parent, code=1)
    assert "mask" in caplog.text
