"""Metadata of the files: texts inside them are blocks, shortcuts, and places where names stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from covidct.checks import container, shortcuts
from covidct.checks.model import Folder, Item
from tests.covidct.conftest import picture

pytest.importorskip("curation.personal_text")


def folder_of(root: Path, texts: list[dict[str, str]]) -> Folder:
    """One PNG for each dict of its texts; the first half is COVID."""
    items = []
    for number, said in enumerate(texts):
        info = PngImagePlugin.PngInfo()
        for key, text in said.items():
            info.add_text(key, text)
        path = root / f"{number}.png"
        Image.fromarray(picture(number)).save(path, pnginfo=info)
        items.append(Item(path.name, path, int(number < len(texts) // 2), f"p{number}"))
    return Folder(root, items, "folder")


def test_text_in_a_png_is_metadata_a_shortcut_and_a_name(tmp_path: Path) -> None:
    said = {"Patient Name": "SMITH JOHN", "Diagnosis": "COVID"}
    folder = folder_of(tmp_path, [said] * 12 + [{}] * 12)
    facts, found = container.check(folder)
    kinds = {(f.kind, f.severity) for f in found}
    assert {("encoding", "warning"), ("personal-data", "error")} <= kinds
    assert folder.metrics["files_with_metadata"] == 12
    private = next(f for f in found if f.kind == "personal-data")
    assert len(private.items) == 12 and "SMITH" not in str(private.as_dict())
    shortcut = shortcuts.check(folder, facts, np.arange(24), only=("container",))
    assert [f.severity for f in shortcut] == ["error"]


def test_one_key_whose_value_is_the_class_is_a_shortcut(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [{"Diagnosis": "yes"}] * 12 + [{"Diagnosis": "no"}] * 12)
    facts, found = container.check(folder)
    assert not [f for f in found if f.kind == "personal-data"]
    shortcuts.check(folder, facts, np.arange(24), only=("container",))
    assert folder.metrics["shortcuts"]["container"]["auc"] > 0.99


def test_texts_that_differ_in_every_file_teach_nothing(tmp_path: Path) -> None:
    facts, _ = container.check(folder_of(tmp_path, [{"Creation Time": f"2020:03:29 14:37:{n}"} for n in range(10, 34)]))
    assert all(fact["blocks"] == ["text Creation Time"] and not fact["texts"] for fact in facts)


def test_a_birth_date_in_exif_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "DOB: 03/11/1952"
    Image.fromarray(picture(1)).save(tmp_path / "a.jpg", exif=exif)
    _, found = container.check(Folder(tmp_path, [Item("a.jpg", tmp_path / "a.jpg", 1)], "folder"))
    assert [f.details["kind"] for f in found if f.kind == "personal-data"] == ["date of birth, metadata"]


def test_a_resolution_that_is_no_number_is_none(tmp_path: Path) -> None:
    """A TIFF may hold letters where its resolution belongs, and the audit of the whole folder ended there."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (282, 283):
        tags[tag], tags.tagtype[tag] = "abc", 2
    Image.fromarray(picture(1)).save(tmp_path / "a.tif", tiffinfo=tags)
    assert container.read(tmp_path / "a.tif")["dpi"] == 0.0
