"""How far the harvest is, read from its caches."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from harvest.errors import HarvestError
from harvest.preprints import app
from harvest.sample.serve import Fault, StandIn
from harvest.status import status


def test_status_of_a_run_that_was_stopped(tmp_path):
    with StandIn.synthetic(80, 12, 3000, faults=[Fault(r"/content/", "challenge", skip=4)]) as server:
        words = ["--api", server.url, "--site", server.url, "--spacing", "0", "--cache", str(tmp_path / "cache")]
        CliRunner().invoke(app, ["--out", str(tmp_path / "data" / "preprints"), *words])
    rows = {row.stage: row for row in status(tmp_path / "cache", tmp_path / "data")}
    row = rows["preprints"]
    assert (row.listed, row.selected, row.have, row.failed, row.waiting, row.written) == (80, 12, 4, 0, 8, 4)
    assert rows["pmc"].listed == 0 and status(tmp_path / "none", tmp_path / "none")[0].selected == 0


def test_status_of_a_broken_state(tmp_path):
    (tmp_path / "preprints-x").mkdir()
    (tmp_path / "preprints-x" / "state.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(HarvestError, match="remove its folder"):
        status(tmp_path, tmp_path)
