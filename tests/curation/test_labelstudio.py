"""The real thing: a Label Studio server, our push and pull, annotations by API and one by mouse in headless Chromium.

Runs by `make test-label` (COVIDCT_LABEL=1): it installs about 1 GB once and takes one to two minutes.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import labelstudio, server
from curation.agreement import disagreements
from curation.records import Candidate, Suggestion
from harvest.records import write_jsonl
from tests.curation.test_tasks import candidate

pytestmark = [
    pytest.mark.label,
    pytest.mark.skipif(
        not os.environ.get("COVIDCT_LABEL"), reason="needs a Label Studio server: run `make test-label`"
    ),
]
COUNT = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "candidates"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        smooth = np.kron(rng.integers(30, 220, (10, 20)), np.ones((10, 10))).astype(np.uint8)
        Image.fromarray(smooth).save(folder / "images" / f"{number}.png")
    write_jsonl(folder / "candidates.jsonl", [candidate(n) for n in range(COUNT)])
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[server.Server]:
    home = tmp_path_factory.mktemp("label-studio")
    venv = Path(os.environ.get("COVIDCT_LABEL_VENV", ".venv-labelstudio"))
    yield server.start(home, folder.parent, free_port(), venv)
    server.stop(home)


@pytest.fixture(scope="module")
def client(running: server.Server) -> object:
    return labelstudio.connect(running.url, running.token)


@pytest.fixture(scope="module")
def project(client: object, folder: Path) -> int:
    number = labelstudio.project_id(client, "covidct", create=True, storage=folder)
    counts, failures = labelstudio.push(client, number, folder, folder.parent)
    assert (counts, failures) == ({"new": COUNT, "changed": 0, "same": 0}, [])
    return number


def tasks(client, project: int) -> dict[str, object]:  # type: ignore[no-untyped-def]
    return {t.data["candidate_id"]: t for t in client.tasks.list(project=project, fields="all", page_size=500)}


def test_pushing_again_makes_no_duplicates_and_new_ones_are_added_after_a_cut(client, project, folder) -> None:  # type: ignore[no-untyped-def]
    assert labelstudio.push(client, project, folder, folder.parent)[0]["same"] == COUNT
    found = tasks(client, project)
    assert len(found) == COUNT
    client.tasks.delete(id=str(found[candidate(9).candidate_id].id))  # by hand, or a push that never got so far
    assert labelstudio.push(client, project, folder, folder.parent)[0] == {"new": 1, "changed": 0, "same": COUNT - 1}


def test_reviews_come_back_as_decided_and_a_changed_proposal_leaves_them_alone(
    client, project, folder, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    for number in range(1, 6):
        task = tasks(client, project)[candidate(number).candidate_id]
        proposal = task.predictions[0]
        result = proposal["result"] if isinstance(proposal, dict) else proposal.result
        client.annotations.create(id=task.id, result=result, lead_time=3.0)
    before, failures = labelstudio.pull(client, project)
    assert failures == [] and len(before) == 5 and before[0].reviewer == server.USER
    assert [p.box for p in before[0].panels] == [p.box for p in candidate(1).panels]

    changed: list[Candidate] = [candidate(n) for n in range(COUNT)]
    changed[1] = candidate(1, suggestion=Suggestion(label="unclear", sentence="suspected"), modality=0.7)
    other = tmp_path / "candidates"
    shutil.copytree(folder, other)
    write_jsonl(other / "candidates.jsonl", changed)
    counts, _ = labelstudio.push(client, project, other, other.parent)
    assert counts == {"new": 0, "changed": 1, "same": COUNT - 1}
    assert tasks(client, project)[candidate(1).candidate_id].data["evidence"] == "unclear: suspected"
    after, _ = labelstudio.pull(client, project)
    assert after == before

    write_jsonl(tmp_path / "a.jsonl", before)
    write_jsonl(tmp_path / "b.jsonl", after)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert disagreements(after) == []


def test_pictures_are_served_only_to_users_and_only_from_the_folder(running, client, project) -> None:  # type: ignore[no-untyped-def]
    import requests

    address = running.url + tasks(client, project)[candidate(2).candidate_id].data["image"]
    headers = {"Authorization": f"Token {running.token}"}
    answer = requests.get(address, headers=headers, timeout=30)
    assert answer.ok and answer.content.startswith(b"\x89PNG")
    assert requests.get(address, timeout=30, allow_redirects=False).status_code in {401, 403}
    assert not requests.get(running.url + "/data/local-files/?d=../secret", headers=headers, timeout=30).ok


def test_errors_say_what_to_do(client, running, folder) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(labelstudio.LabelStudioError, match="LABEL_STUDIO_API_KEY"):
        labelstudio.connect(running.url, "0" * 40)
    with pytest.raises(labelstudio.LabelStudioError, match="no Label Studio answers"):
        labelstudio.connect(f"http://127.0.0.1:{free_port()}", "0" * 40)
    with pytest.raises(labelstudio.LabelStudioError, match="push first"):
        labelstudio.project_id(client, "nothing here", create=False)
    client.projects.create(title="foreign", label_config='<View><Text name="t" value="$t"/></View>')
    with pytest.raises(labelstudio.LabelStudioError, match="another form"):
        labelstudio.project_id(client, "foreign", create=False)
    (folder / "images" / "3.png").rename(folder / "images" / "3.away")
    try:
        number = labelstudio.project_id(client, "one missing", create=True, storage=folder)
        counts, failures = labelstudio.push(client, number, folder, folder.parent)
    finally:
        (folder / "images" / "3.away").rename(folder / "images" / "3.png")
    assert counts["new"] == COUNT - 1 and "images/3.png" in failures[0].reason


def test_a_curator_submits_in_the_browser(running, client, project, tmp_path) -> None:  # type: ignore[no-untyped-def]
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium on this machine (Debian package chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    task = tasks(client, project)[candidate(0).candidate_id]
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=chromium, headless=True, args=flags,
            viewport={"width": 1500, "height": 950},
        )  # fmt: skip
        page = context.new_page()
        page.goto(f"{running.url}/user/login/")
        page.fill("input[name=email]", server.USER)
        page.fill("input[name=password]", (running.home / "password").read_text().strip())
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(f"{running.url}/projects/{project}/data?task={task.id}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_timeout(2500)
        shots = Path(os.environ.get("COVIDCT_SHOTS", tmp_path))
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(shots / "label-studio.png"))
        page.keyboard.press("n")  # the curator disagrees: not a chest CT
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_timeout(3000)
        context.close()
    reviews, failures = labelstudio.pull(client, project)
    mine = {r.candidate_id: r for r in reviews}[candidate(0).candidate_id]
    assert failures == [] and mine.chest_ct is False and mine.seconds is not None
    assert [p.box for p in mine.panels] == [p.box for p in candidate(0).panels]
