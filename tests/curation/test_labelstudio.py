"""The real thing: a Label Studio server, candidates of the sample, curators by API and by mouse and keyboard in
headless Chromium, and the images that follow from what they decided.

Runs by `make test-label` (COVIDCT_LABEL=1): it installs about 1 GB once; the run itself takes two to four minutes.
COVIDCT_SHOTS names a folder for the screenshots, COVIDCT_LABEL_CANDIDATES a ready folder of candidates.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from PIL import Image
from typer.testing import CliRunner

from curation import label, labelstudio, server
from curation.decisions import item_name
from curation.records import Candidate, PixelBox, Review
from curation.tasks import offered
from harvest.records import read_jsonl, write_jsonl

pytestmark = [
    pytest.mark.label,
    pytest.mark.skipif(
        not os.environ.get("COVIDCT_LABEL"), reason="needs a Label Studio server: run `make test-label`"
    ),
]
ROOT = Path(__file__).parents[2]
COUNT = 60
SECOND = ("second@example.org", "another-password-7")
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
CHROMIUM += ["--disable-component-update", "--disable-sync", "--force-color-profile=srgb"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pipeline leaves it: data/candidates with the best COUNT candidates of a small sample."""
    place = tmp_path_factory.mktemp("place")
    data = place / "data"

    def python(*args: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *args], cwd=data, capture_output=True, text=True, env={**os.environ, **here}
        )
        assert done.returncode == 0, done.stderr[-2000:]

    here = {"PYTHONPATH": str(ROOT)}
    data.mkdir()
    if given := os.environ.get("COVIDCT_LABEL_CANDIDATES"):
        shutil.copytree(given, data / "candidates")
        return shortened(place)
    sizes = {
        "ct-preprints": 10,
        "other-preprints": 1,
        "rows": 2,
        "articles": 12,
        "cases": 15,
        "volumes": 0,
        "release": 0,
    }
    python("harvest.sample", "--out", "sample", *(f"--{name}={value}" for name, value in sizes.items()))
    standin = ("harvest.sample.serve", "--corpus", "sample", "--", sys.executable, "-m")
    addresses = ("--api={standin}/api.biorxiv.org", "--site={standin}/www.{server}.org", "--europepmc={standin}/epmc")
    python(*standin, "harvest.preprints", "--out=preprints", "--cache=cache", "--spacing=0", *addresses)
    python("harvest.figures", "--pdfs=preprints/pdf", "--preprints=preprints/preprints.jsonl", "--out=figures")
    services = ("eutils", "bucket", "europepmc", "openi")
    addresses = tuple(
        f"--{name}={{standin}}/{ {'bucket': 'pmc-s3', 'europepmc': 'epmc'}.get(name, name) }" for name in services
    )
    python(*standin, "harvest.pmc", "--out=pmc", "--cache=cache", "--spacing=0", *addresses)
    addresses = ("--openi={standin}/openi", "--medpix={standin}/medpix")
    python(*standin, "harvest.medpix", "--out=medpix", "--cache=cache", "--spacing=0", *addresses)
    python("curation.candidates", "--figures=figures", "--figures=pmc", "--figures=medpix", "--out=candidates")
    return shortened(place)


def shortened(place: Path) -> Path:
    """Keep the best COUNT candidates."""
    table = place / "data" / "candidates" / "candidates.jsonl"
    found = list(read_jsonl(table, Candidate))
    assert len(found) >= COUNT
    write_jsonl(table, found[:COUNT])
    return place


@pytest.fixture(scope="module")
def candidates(place: Path) -> list[Candidate]:
    return list(read_jsonl(place / "data" / "candidates" / "candidates.jsonl", Candidate))


def run(place: Path, *args: object, code: int = 0) -> str:
    """`covidct label …` in the folder of the pipeline."""
    before = Path.cwd()
    os.chdir(place)
    try:
        result = CliRunner().invoke(label.app, [str(a) for a in args])
    finally:
        os.chdir(before)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[server.Server]:
    venv = Path(os.environ.get("COVIDCT_LABEL_VENV", ROOT / ".venv-labelstudio")).absolute()
    assert "http://127.0.0.1:" in run(place, "serve", "--port", free_port(), "--venv", venv)
    found = server.running(place / "label-studio")
    assert found
    yield found
    server.stop(place / "label-studio")


@pytest.fixture(scope="module")
def client(running: server.Server) -> Any:
    return labelstudio.connect(running.url, running.token)


@pytest.fixture(scope="module")
def project(place: Path, client: Any) -> int:
    assert f"{COUNT} new, 0 changed, 0 already there" in run(place, "push")
    return labelstudio.project_id(client, "covidct")


@pytest.fixture(scope="module")
def second(running: server.Server) -> requests.Session:
    """A second curator, who came by invitation."""
    session = requests.Session()
    address = server.invitation(running)
    page = session.get(address, timeout=60)
    field = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert field
    form = {"csrfmiddlewaretoken": field[1], "email": SECOND[0], "password": SECOND[1], "how_find_us": "Other"}
    answer = session.post(address, data=form, headers={"Referer": address}, timeout=60)
    assert answer.ok
    assert session.get(f"{running.url}/api/current-user/whoami", timeout=60).json()["email"] == SECOND[0]
    return session


def tasks(client: Any, project: int) -> dict[str, Any]:
    found = client.tasks.list(project=project, fields="all", page_size=500)
    return {t.data["candidate_id"]: t.model_dump() for t in found}


def reviews(place: Path, project: str = "covidct") -> list[Review]:
    return list(read_jsonl(place / "curation" / "reviews" / f"{project}.jsonl", Review))


def annotate(client: Any, task: dict[str, Any], chest_ct: str = "yes") -> None:
    """Submit the proposal as it is, or with another answer to the first question."""
    proposal = task["predictions"][0]
    result = [
        {**r, "value": {"choices": [chest_ct]}} if r["from_name"] == "chest_ct" else r for r in proposal["result"]
    ]
    client.annotations.create(
        id=task["id"], result=result, lead_time=3.0, parent_prediction=proposal["id"], was_cancelled=False
    )


def test_tasks_are_there_once_with_proposals_and_come_back_after_a_hand_deleted_one(
    client, project, place, candidates
) -> None:
    assert f"0 new, 0 changed, {COUNT} already there" in run(place, "push")
    found = tasks(client, project)
    assert sorted(found) == sorted(c.candidate_id for c in candidates)
    for candidate in candidates:
        (proposal,) = found[candidate.candidate_id]["predictions"]
        assert proposal["model_version"] == candidate.proposed_by
        assert sum(r["from_name"] == "panel" for r in proposal["result"]) == len(offered(candidate))
    client.tasks.delete(id=str(found[candidates[9].candidate_id]["id"]))
    assert f"1 new, 0 changed, {COUNT - 1} already there" in run(place, "push")


def test_pictures_are_served_only_to_users_and_only_from_the_folder(client, project, running, candidates) -> None:
    address = running.url + tasks(client, project)[candidates[2].candidate_id]["data"]["image"]
    headers = {"Authorization": f"Token {running.token}"}
    answer = requests.get(address, headers=headers, timeout=30)
    assert answer.ok and answer.content.startswith(b"\x89PNG")
    assert requests.get(address, timeout=30, allow_redirects=False).status_code in {401, 403}
    assert not requests.get(running.url + "/data/local-files/?d=../secret", headers=headers, timeout=30).ok
    with socket.socket() as probe:  # loopback only: other addresses of this machine refuse
        probe.settimeout(3)
        other = socket.gethostbyname(socket.gethostname())
        if not other.startswith("127."):
            assert probe.connect_ex((other, int(running.url.rsplit(":", 1)[1]))) != 0


def shot(page: Any, name: str) -> Path:
    folder = Path(os.environ.get("COVIDCT_SHOTS", ROOT / ".pytest_cache" / "label-studio"))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(folder / f"{name}.png"))
    return folder / f"{name}.png"


@pytest.fixture
def page(running: server.Server, tmp_path: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on this machine (Debian package chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=chromium,
            headless=True,
            args=CHROMIUM,
            viewport={"width": 1500, "height": 950},
        )
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(f"{running.url}/user/login/")
        page.fill("input[name=email]", server.USER)
        page.fill("input[name=password]", (running.home / "password").read_text().strip())
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        yield page
        context.close()


def test_a_curator_works_by_mouse_and_keyboard(client, project, running, page, place, candidates) -> None:
    first = candidates[0]  # the best one is handed out first
    page.goto(f"{running.url}/projects/{project}/data")
    page.get_by_text("Best first").wait_for()
    shot(page, "list")
    page.get_by_role("button", name="Label All Tasks").click()
    page.wait_for_selector("canvas")
    page.get_by_text(f"{first.figure.document_id} {first.figure.label}".strip()).wait_for()
    page.get_by_test_id("bottombar-submit-button").wait_for()
    page.wait_for_timeout(2500)
    saved = shot(page, "card")
    colours = Image.open(saved).convert("RGB").getcolors(10**7)
    assert colours is not None and len(colours) > 200  # the scan is drawn
    page.get_by_role("button", name="Instructions").click()
    page.get_by_text("Hard cases").scroll_into_view_if_needed()
    shot(page, "guide")
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)

    shown = page.locator("img[alt=image]").bounding_box()
    scale = shown["width"] / first.figure.width

    def at(x: float, y: float) -> tuple[float, float]:
        return shown["x"] + x * scale, shown["y"] + y * scale

    def unpainted(box: PixelBox) -> tuple[float, float]:
        """A point inside the box, away from its edges and from proposed marks, so that a click means the box."""
        for dx in range(30, box.x1 - box.x0 - 30, 10):
            y, x = (box.y0 + box.y1) // 2, box.x0 + dx
            if not painted[y - 12 : y + 12, x - 12 : x + 12].any():
                return x, y
        raise AssertionError(f"the proposed marks cover {box}")

    painted = np.zeros((first.figure.height, first.figure.width), bool)
    if first.mask:
        painted = np.asarray(Image.open(place / "data" / "candidates" / first.mask).convert("L")) > 127
    page.mouse.click(*at(*unpainted(first.panels[0].box)))
    page.wait_for_timeout(800)
    page.keyboard.press("Backspace")  # the first box goes …
    page.wait_for_timeout(800)
    page.mouse.click(*at(*unpainted(first.panels[1].box)))
    page.wait_for_timeout(800)
    page.keyboard.press("v")  # … and the second gets another label
    page.wait_for_timeout(800)
    page.keyboard.press("Escape")  # nothing chosen: the next label is for a new box
    page.wait_for_timeout(500)
    gone = first.panels[0].box
    drawn = PixelBox(gone.x0 + 9, gone.y0 + 12, gone.x1 - 14, gone.y1 - 7)
    page.keyboard.press("u")
    page.mouse.move(*at(drawn.x0, drawn.y0))
    page.mouse.down()
    page.mouse.move(*at((drawn.x0 + drawn.x1) / 2, (drawn.y0 + drawn.y1) / 2), steps=5)
    page.mouse.move(*at(drawn.x1, drawn.y1), steps=5)
    page.mouse.up()
    page.wait_for_timeout(800)
    shot(page, "decided")
    page.keyboard.press("Control+Enter")
    second_best = candidates[1]
    page.get_by_text(f"{second_best.figure.document_id} {second_best.figure.label}".strip()).wait_for()
    shot(page, "next")

    run(place, "pull")
    mine = {r.candidate_id: r for r in reviews(place)}[first.candidate_id]
    assert mine.reviewer == server.USER and mine.chest_ct and mine.seconds and mine.proposed_by == first.proposed_by
    expected = {p.box: p.suggestion.label for p in first.panels[1:]} | {first.panels[1].box: "NonCOVID"}
    new = [panel for panel in mine.panels if panel.box not in expected]
    assert {p.box: p.label for p in mine.panels if p not in new} == expected
    assert [panel.label for panel in new] == ["unclear"]
    within = 2 + 1 / scale  # pixels of the picture that the mouse can miss
    ends = [getattr(new[0].box, name) - getattr(drawn, name) for name in ("x0", "y0", "x1", "y1")]
    assert max(map(abs, ends)) <= within, (new[0].box, drawn)


def test_what_is_decided_becomes_exactly_those_images(client, project, place, candidates) -> None:
    found = tasks(client, project)
    done = {r.candidate_id for r in reviews(place)} if (place / "curation").exists() else set()
    for number, candidate in enumerate(candidates[:24]):
        if candidate.candidate_id not in done:
            annotate(client, found[candidate.candidate_id], "no" if number % 6 == 5 else "yes")
    run(place, "pull")
    decided = reviews(place)
    assert len(decided) == 24
    with_mask = [r for r in decided if r.mask]
    assert with_mask and all(r.mask_kinds for r in with_mask)

    for name in ("curation", "covidct", "harvest"):
        shutil.copytree(
            ROOT / name, place / name, ignore=shutil.ignore_patterns("reviews", "__pycache__"), dirs_exist_ok=True
        )
    shutil.copy(ROOT / "dvc.yaml", place)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["images"].update(unreviewed="hold", min_side=16)
    (place / "params.yaml").write_text(yaml.safe_dump(params))
    binaries = Path(sys.executable).parent
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{binaries}:{os.environ['PATH']}"}
    for command in (["init", "--no-scm", "-q"], ["repro", "-s", "images"]):
        ran = subprocess.run([str(binaries / "dvc"), *command], cwd=place, env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout[-1500:] + ran.stderr[-1500:]

    expected = {
        item_name(r.candidate_id, n, len(r.panels)): (panel.label, " ".join(map(str, panel.box)))
        for r in decided
        if r.chest_ct
        for n, panel in enumerate(r.panels)
        if panel.label != "unclear"
    }
    table = pd.read_csv(place / "data" / "images" / "records.csv", dtype=str, keep_default_na=False)
    assert {row.image_id: (row.label_name, row.box) for row in table.itertuples()} == expected
    assert {p.stem for p in (place / "data" / "images" / "images").iterdir()} == set(expected)
    assert set(table.reviewed) == {"True"} and set(table.reviewers) == {server.USER}


def test_two_curators_disagree_and_somebody_adjudicates(client, project, running, second, place, candidates) -> None:
    found = tasks(client, project)
    for number, answer in ((1, "yes"), (2, "no"), (3, "yes")):
        task = found[candidates[number].candidate_id]
        result = [
            {**r, "value": {"choices": [answer]}} if r["from_name"] == "chest_ct" else r
            for r in task["predictions"][0]["result"]
        ]
        address = f"{running.url}/api/tasks/{task['id']}/annotations/"
        head = {"Referer": running.url, "X-CSRFToken": second.cookies.get("csrftoken") or ""}
        answer_to_post = second.post(address, json={"result": result, "lead_time": 5}, headers=head, timeout=60)
        assert answer_to_post.status_code == 201, answer_to_post.text
    run(place, "pull")
    told = run(place, "agreement")
    assert "Cohen's kappa" in told and f"to adjudicate: 1 ({candidates[2].candidate_id})" in told
    assert {r.reviewer for r in reviews(place)} == {server.USER, SECOND[0]}
    assert "'covidct-adjudication': 1 new" in run(place, "push", "--adjudicate", "covidct")
    number = labelstudio.project_id(client, "covidct-adjudication")
    (task,) = tasks(client, number).values()
    assert sorted(p["model_version"] for p in task["predictions"]) == [
        f"review of {w}" for w in (server.USER, SECOND[0])
    ]
    annotate(client, task, "no")
    run(place, "pull", "--project", "covidct-adjudication")
    assert [r.adjudicated for r in reviews(place, "covidct-adjudication")] == [True]
    assert "to adjudicate: 0" in run(place, "agreement")


def test_changed_proposals_leave_annotations_alone_and_are_offered_to_the_next(
    client, project, place, candidates
) -> None:
    run(place, "pull")
    before = (place / "curation" / "reviews" / "covidct.jsonl").read_bytes()
    table = place / "data" / "candidates" / "candidates.jsonl"
    kept = table.read_bytes()
    changed = [
        c.model_copy(update={"proposed_by": "proposals-next"}) if n in (0, 40) else c for n, c in enumerate(candidates)
    ]
    write_jsonl(table, changed)
    try:
        assert f"0 new, 2 changed, {COUNT - 2} already there" in run(place, "push")
        assert f"0 new, 0 changed, {COUNT} already there" in run(place, "push")
        run(place, "pull")
    finally:
        table.write_bytes(kept)
    assert (place / "curation" / "reviews" / "covidct.jsonl").read_bytes() == before
    found = tasks(client, project)
    assert [p["model_version"] for p in found[candidates[40].candidate_id]["predictions"]] == ["proposals-next"]
    run(place, "push")


def test_a_server_that_goes_away_and_comes_back_has_lost_nothing(
    client, project, running, place, monkeypatch, caplog
) -> None:
    before = (place / "curation" / "reviews" / "covidct.jsonl").read_bytes()
    port = running.url.rsplit(":", 1)[1]
    home = place / "label-studio"
    real = labelstudio.connect

    def leaving(url: str, token: str) -> Any:
        """A client whose server stops after the first page of new tasks."""
        made = real(url, token)
        importing = made.projects.import_tasks

        def once(**arguments: Any) -> Any:
            answer = importing(**arguments)
            server.stop(home)
            return answer

        projects = SimpleNamespace(list=made.projects.list, create=made.projects.create, import_tasks=once)
        return SimpleNamespace(
            projects=projects, views=made.views, tasks=made.tasks, import_storage=made.import_storage
        )

    with monkeypatch.context() as patch:
        patch.setattr(labelstudio, "PAGE", 25)
        patch.setattr(labelstudio, "connect", leaving)
        run(place, "push", "--project", "cut", code=1)
    assert "nothing is lost" in caplog.text
    run(place, "pull", code=1)  # no server: says so, and the file stays
    assert (place / "curation" / "reviews" / "covidct.jsonl").read_bytes() == before
    venv = Path(os.environ.get("COVIDCT_LABEL_VENV", ROOT / ".venv-labelstudio")).absolute()
    run(place, "serve", "--port", port, "--venv", venv)
    assert f"{COUNT - 25} new, 0 changed, 25 already there" in run(place, "push", "--project", "cut")
    assert len(tasks(client, labelstudio.project_id(client, "cut"))) == COUNT
    run(place, "pull")
    assert (place / "curation" / "reviews" / "covidct.jsonl").read_bytes() == before


def test_an_existing_server_is_used_with_a_token_from_the_environment(
    client, running, place, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    run(place, "push", "--url", running.url, code=1)
    assert "does not know the token" in caplog.text
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", running.token)
    assert f"{COUNT} already there" in run(place, "push", "--url", running.url)
    run(place, "push", "--url", f"{running.url}/nothing", code=1)
    assert "is the address right" in caplog.text
    client.projects.create(title="foreign", label_config='<View><Text name="t" value="$t"/></View>')
    run(place, "push", "--project", "foreign", code=1)
    assert "has another form" in caplog.text
    with pytest.raises(server.ServerError, match="hands out pictures of"):
        server.start(running.home, place)
