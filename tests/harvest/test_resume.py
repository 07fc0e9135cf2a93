"""Runs that are broken off, or meet faults at random, end in the bytes of one that was not (all three stages)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harvest import medpix, pmc, preprints
from harvest.http import Session
from harvest.sample.serve import Fault, StandIn

PASSING = ("status", "limit", "empty", "text", "html", "reset", "cut", "slow", "error-json")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def words_of(stage: str, url: str) -> list[str]:
    services = {
        "preprints": {"api": "", "site": ""},
        "pmc": {"eutils": "/eutils", "bucket": "/pmc-s3", "europepmc": "/epmc", "openi": "/openi"},
        "medpix": {"openi": "/openi", "medpix": "/medpix"},
    }[stage]
    return [*(word for name, path in services.items() for word in (f"--{name}", url + path)), "--spacing", "0"]


def run(stage: str, out: Path, url: str):
    module = {"preprints": preprints, "pmc": pmc, "medpix": medpix}[stage]
    return CliRunner().invoke(module.app, ["--out", str(out), *words_of(stage, url)])


@pytest.mark.parametrize("stage", ["preprints", "pmc", "medpix"])
def test_broken_off_at_every_few_requests(negatives, tmp_path, monkeypatch, stage):
    """An interrupt in the middle of a request leaves what a kill leaves there; nothing that was read is asked again."""
    server = StandIn.synthetic(90, 15, 3000) if stage == "preprints" else StandIn(negatives)
    with server:
        assert run(stage, tmp_path / "whole", server.url).exit_code == 0
        needed = len(server.log)
        server.log.clear()
        send, left = Session._send, [0]

        def breaking(self, *args):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return send(self, *args)

        monkeypatch.setattr(Session, "_send", breaking)
        broken, allowed = 0, 12
        while True:
            left[0] = allowed
            result = run(stage, tmp_path / "broken", server.url)
            if result.exit_code == 0:
                break
            assert result.exit_code == 130, result.output
            broken, allowed = broken + 1, allowed + 6  # a listing that is asked for anew must not eat all of a run
        assert broken >= 2
        files = [a.path for a in server.log if a.path.endswith((".pdf", ".jpg", ".png", ".xml")) and a.sent != 6168]
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")
    assert len(files) == len(set(files)) and len(server.log) <= needed + broken * 40


@pytest.mark.parametrize("seed", range(3))
def test_faults_at_random(tmp_path, seed):
    """Twenty-five passing faults of all kinds among some 120 requests: one run, the same bytes, no failure."""
    chance = random.Random(seed)
    faults = [
        Fault(
            chance.choice(["/content/", "/details/"]),
            chance.choice(PASSING),
            times=1,
            skip=chance.randint(0, 60),
            seconds=0.01,
            retry_after=chance.choice(["", "0", "Wed, 25 Mar 2020 00:00:00 GMT"]),
            status=chance.choice([408, 429, 500, 502, 503, 504]),
        )
        for _ in range(25)
    ]
    with StandIn.synthetic(200, 40, 5000) as server:
        assert run("preprints", tmp_path / "whole", server.url).exit_code == 0
        server.faults[:] = faults
        result = run("preprints", tmp_path / "faults", server.url)
        assert result.exit_code == 0, result.output
    assert tree(tmp_path / "faults") == tree(tmp_path / "whole")
