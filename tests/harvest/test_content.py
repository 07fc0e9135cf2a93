"""What bytes are by their first kilobyte, whatever that kilobyte is made of."""

from __future__ import annotations

import time

import pytest

from harvest.content import sniff


@pytest.mark.parametrize(
    "head", [b"<!---->" * 146, b"<!-- -->" * 128, b"<!--" * 256, b" \n" * 512, b"<!-->" * 204, b"<!---->\n" * 127]
)
def test_a_kilobyte_of_comments_is_judged_at_once(head):
    start = time.process_time()
    assert sniff(head) in ("xml", "text")
    assert sniff(head + b"<html>") in ("html", "xml", "text")
    assert time.process_time() - start < 1


def test_comments_before_a_page_do_not_hide_it():
    assert sniff(b"<!-- a -->\n<!-- b\n--><HTML>") == "html"
    assert sniff(b"<!-- a -- b --> <!doctype html>") == "html"
    assert sniff(b"<!-- a --><article>") == "xml"
    assert sniff(b"<!-- <html> --><article>") == "xml"
