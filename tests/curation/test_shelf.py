"""The dictionary on disk: order, overwriting, and nothing left behind."""

from __future__ import annotations

from curation.shelf import Shelf


def test_keys_come_out_in_order_and_the_last_value_counts() -> None:
    with Shelf() as shelf:
        for key in ("b", "a\tz", "a\ty", "ä"):
            shelf[key] = key.upper()
        shelf["b"] = "again"
        assert [key for key, _ in shelf.items()] == ["a\ty", "a\tz", "b", "ä"]
        assert shelf.get("b") == "again" and shelf.get("c") is None and "b" in shelf and "c" not in shelf
        assert len(shelf) == 4
        del shelf["b"]
        assert "b" not in shelf and len(shelf) == 3
