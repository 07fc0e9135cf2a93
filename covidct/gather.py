"""The pictures of all sources in one folder and one encoding: what cannot be vouched for is a failure row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from covidct import pictures
from covidct.files import PathError, inside, sha256_bytes, write_bytes, write_lines
from covidct.records import COLUMNS, read_records

SAFE_NAME = re.compile(r"^[^/\\\0\n\r.][^/\\\0\n\r]{0,199}$")


class BuildError(RuntimeError):
    """The dataset must not be built from these inputs: what, expected, got, next step."""


def gather(tables: list[Path], out: Path) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """All rows of all tables whose pictures can be vouched for, pictures copied to ``out/images`` in one encoding.

    An image id that an earlier table already has is dropped with a failure row. Raises TableError, BuildError.
    """
    kept: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    owner: dict[str, Path] = {}
    count = 0
    for table in tables:
        for row in read_records(table).to_dict("records"):
            count += 1
            name = str(row["image_id"])
            if not SAFE_NAME.match(name):
                failures.append({"item": name, "reason": f"{table}: image_id is no file name"})
            elif name.casefold() in owner:
                failures.append({"item": name, "reason": f"{table}: already taken from {owner[name.casefold()]}"})
            else:
                try:
                    kept.append(_take({str(key): value for key, value in row.items()}, table.parent, out))
                except (pictures.PictureError, PathError, BuildError, OSError) as error:
                    failures.append({"item": name, "reason": str(error)})
                else:
                    owner[name.casefold()] = table
    if count and not kept:
        write_lines(out / "failed.jsonl", failures)
        raise BuildError(f"none of {count} images could be used; see {out / 'failed.jsonl'}")
    return pd.DataFrame(kept, columns=list(COLUMNS)), failures


def _take(row: dict[str, Any], folder: Path, out: Path) -> dict[str, Any]:
    """One verified picture, written under its id; raises where file and table disagree."""
    path = inside(folder, str(row["file"]))
    image = pictures.open_picture(path)
    content = path.read_bytes()
    if row["sha256"] and sha256_bytes(content) != row["sha256"]:
        raise BuildError(f"{path}: the file is not the one the table describes (sha256 differs); run its stage again")
    width, height = image.size
    if not pictures.is_uniform(path):
        grey = pictures.to_grey(image)  # turned as EXIF says, so the size is that of the pixels
        height, width = grey.shape
        content = pictures.encode(grey)
    file = f"images/{row['image_id']}.png"
    write_bytes(out / file, content)
    return {**row, "file": file, "width": width, "height": height, "sha256": sha256_bytes(content)}
