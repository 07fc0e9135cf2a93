"""Record files: what is written can be read again, whatever letters a source gave."""

from __future__ import annotations

from pathlib import Path

from harvest.records import Failure, read_jsonl, write_jsonl


def test_half_characters_do_not_cost_the_file(tmp_path: Path) -> None:
    """Lone surrogates come out of damaged fonts, and of file names that are not UTF-8."""
    records = [Failure(item="a\udcff.pdf", reason="\ud835"), Failure(item="whole", reason="caf\u00e9 \U0001d434")]
    assert write_jsonl(tmp_path / "failed.jsonl", records) == 2
    first, second = read_jsonl(tmp_path / "failed.jsonl", Failure)
    assert (first.item, first.reason) == ("a\ufffd.pdf", "\ufffd")
    assert second == records[1]
