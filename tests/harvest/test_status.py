"""How far the harvest is, read from its caches."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from harvest.errors import HarvestError
from harvest.preprints import app
from harvest.sample.serve import Fault, StandIn
from harvest.status import status
from harvest.store import Store
from harvest.window import SCHEMA


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


def test_status_while_a_harvest_writes(tmp_path):
    store = Store(tmp_path / "preprints-x", SCHEMA)
    with store.transaction() as db:
        db.execute("INSERT INTO plan VALUES ('medrxiv', 1, '10.1101/a', 1, 1.0, 0)")
        store.db.execute("INSERT INTO problem VALUES ('x', 'y', 0)")
        assert status(tmp_path, tmp_path)[0].selected == 0  # what is not committed is not told, and nobody waits
    assert status(tmp_path, tmp_path)[0].selected == 1
    store.close()
