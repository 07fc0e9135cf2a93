"""Container facts: the format by the bytes, metadata, one encoding for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidct import pictures
from covidct.checks import container
from covidct.checks.model import Folder, Item

GREY = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)


def folder(paths: list[Path]) -> Folder:
    return Folder(paths[0].parent, [Item(p.name, p, n % 2) for n, p in enumerate(paths)], "folder")


def test_a_name_that_lies_about_the_format_is_a_mismatch(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", format="JPEG")
    Image.fromarray(GREY).save(tmp_path / "b.jpeg", format="JPEG")
    facts, found = container.check(folder([tmp_path / "a.png", tmp_path / "b.jpeg"]))
    assert [f["format"] for f in facts] == ["JPEG", "JPEG"]
    assert [(f.kind, f.items) for f in found] == [("mismatch", ("a.png",))]


def test_metadata_and_modes_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0131] = "Adobe Photoshop CC 2014"
    Image.fromarray(GREY).convert("RGB").save(tmp_path / "a.jpg", exif=exif, dpi=(72, 72), quality=60)
    Image.fromarray(GREY).convert("RGBA").save(tmp_path / "b.png")
    facts, found = container.check(folder([tmp_path / "a.jpg", tmp_path / "b.png"]))
    assert facts[0]["software"] == "Adobe Photoshop CC 2014" and "exif" in facts[0]["blocks"] and facts[0]["dpi"] == 72
    assert facts[0]["tables"] > 0 and facts[1]["mode"] == "RGBA"
    assert [f.kind for f in found] == ["encoding"]


def test_our_own_encoding_is_one_and_says_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        path.write_bytes(pictures.encode(GREY[n:, n:]))
    facts, found = container.check(folder(paths))
    assert found == []
    from covidct.checks import measures

    assert measures.container(facts[0]) == measures.container(facts[1]) == measures.container(facts[2])


@pytest.mark.parametrize("name", ["a.png", "a.PNG"])
def test_case_of_the_ending_does_not_matter(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pictures.encode(GREY))
    assert container.check(folder([tmp_path / name]))[1] == []
