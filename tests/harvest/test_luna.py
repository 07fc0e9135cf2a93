"""Stage luna: which slices, which way up, nodules where the annotations say, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harvest.errors import ItemError
from harvest.given import picture_size
from harvest.luna import app, read_annotations
from harvest.lungs import window
from harvest.recipe import pixel_hash

SIDE, DEPTH, SPACING = 96, 14, (4.0, 4.0, 10.0)
NODULE = (6, 40, 30)  # z, y, x of the voxel in its middle


def scene(lungs: bool = True) -> np.ndarray:
    """A body with two unlike lungs in the middle slices and a nodule in the one at smaller x (HU, z y x)."""
    z, y, x = np.mgrid[:DEPTH, :SIDE, :SIDE].astype(float)
    image = np.full(z.shape, -2048.0)
    image[((x - 48) / 47) ** 2 + ((y - 48) / 47) ** 2 < 1] = -1000.0
    image[((x - 48) / 40) ** 2 + ((y - 50) / 32) ** 2 < 1] = 40.0
    inside = (z >= 3) & (z <= 10) & lungs
    image[inside & (((x - 31) / 11) ** 2 + ((y - 46) / 19) ** 2 < 1)] = -850.0
    image[inside & (((x - 65) / 11) ** 2 + ((y - 50) / 19) ** 2 < 1)] = -830.0
    at = ((z - NODULE[0]) * 10) ** 2 + ((y - NODULE[1]) * 4) ** 2 + ((x - NODULE[2]) * 4) ** 2
    image[inside & (at < 12**2)] = 60.0
    return image.astype("<i2")


@pytest.fixture
def series(volume):
    """Writes a scene as a volume; flipped ones count x and y the other way."""

    def write(folder: Path, name: str, image: np.ndarray, flipped: bool = False, **changes: str | None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        offset = "-192 -192 -300"
        if flipped:
            image = image[:, ::-1, ::-1]
            offset = f"{-192 + 95 * 4} {-192 + 95 * 4} -300"
        fields = {
            "TransformMatrix": "-1 0 0 0 -1 0 0 0 1" if flipped else "1 0 0 0 1 0 0 0 1", "Offset": offset,
            "ElementSpacing": " ".join(map(str, SPACING)), "DimSize": f"{SIDE} {SIDE} {DEPTH}",
        }  # fmt: skip
        return volume(folder, name=name, data=np.ascontiguousarray(image).tobytes(), **(fields | changes))

    return write


def annotate(folder: Path, *rows: tuple[object, ...]) -> None:
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    (folder / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n" + text)


PLACE = (-192 + 4 * NODULE[2], -192 + 4 * NODULE[1], -300 + 10 * NODULE[0])


def call(root: Path, out: Path, *more: str):
    return CliRunner().invoke(app, ["--root", str(root), "--out", str(out), *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_two_slices_a_subject_through_nodules_first(series, tmp_path):
    """Section IV.A: two slices of each subject; the annotated nodule's slice is one of them."""
    root = tmp_path / "in"
    for name in ("1.2.1", "1.2.2", "1.2.3"):
        series(root, name, scene())
    annotate(root, ("1.2.2", *PLACE, 24))
    result = call(root, tmp_path / "out", "--size", "0")
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "out" / "slices.csv")
    assert [r["subject_id"] for r in rows] == ["1.2.1", "1.2.1", "1.2.2", "1.2.2", "1.2.3", "1.2.3"]
    assert str(NODULE[0]) in [r["slice"] for r in rows if r["subject_id"] == "1.2.2"]
    assert all(3 <= int(r["slice"]) <= 10 and float(r["lung_fraction"]) > 0.1 and not r["flags"] for r in rows)
    for row in rows:
        expected = window(scene()[int(row["slice"])], -600, 1500)
        assert np.array_equal(pixels(tmp_path / "out" / row["file"]), expected)
    (nodule,) = table(tmp_path / "out" / "nodules.csv")
    assert (nodule["subject_id"], nodule["slice"], nodule["x"], nodule["y"]) == ("1.2.2", "6", "30.0", "40.0")
    patch = pixels(tmp_path / "out" / nodule["file"])
    assert patch.shape == (64, 64) and patch[32, 32] == 240 and patch[32, 2] < 100
    assert lines(tmp_path / "out" / "failed.jsonl") == []


def test_a_flipped_scan_gives_the_same_pictures(series, tmp_path):
    """Trap 18: counted the other way, the same patient looks the same, and the nodule is where it was."""
    for name, flipped in (("plain", False), ("flipped", True)):
        series(tmp_path / name, "1.2", scene(), flipped)
        annotate(tmp_path / name, ("1.2", *PLACE, 24))
        assert call(tmp_path / name, tmp_path / f"{name}-out").exit_code == 0
    plain, flipped = tmp_path / "plain-out", tmp_path / "flipped-out"
    assert (plain / "slices.csv").read_bytes() == (flipped / "slices.csv").read_bytes()
    for path in (plain / "images").iterdir():
        assert np.array_equal(pixels(path), pixels(flipped / "images" / path.name))
    here, there = (pixels(folder / "nodules" / "1.2_0.png").astype(int) for folder in (plain, flipped))
    assert here[32, 32] == there[32, 32] == 240
    assert np.abs(here - there).mean() < 0.5


def test_places_outside_the_volume_are_failures(series, tmp_path):
    """In a flipped scan, taking abs() of the place would put it inside."""
    root = tmp_path / "in"
    series(root, "1.2", scene(), True)
    annotate(root, ("1.2", *PLACE, 24), ("1.2", 400, 400, -240, 6))
    assert call(root, tmp_path / "out").exit_code == 0
    assert [r["nodule_id"] for r in table(tmp_path / "out" / "nodules.csv")] == ["1.2_0"]
    (failure,) = lines(tmp_path / "out" / "failed.jsonl")
    assert failure["item"] == "1.2_1" and "inside" in failure["reason"]


def test_a_bad_volume_is_a_row_and_the_next_subject_takes_its_place(series, tmp_path):
    root = tmp_path / "in"
    for name in ("1.1", "1.2", "1.3", "1.4"):
        series(root, name, scene())
    (root / "1.2.raw").write_bytes(b"\0" * 1000)
    series(root, "1.3", scene(), ElementDataFile="../1.1.raw")
    result = call(root, tmp_path / "out", "--subjects", "2")
    assert result.exit_code == 0, result.output
    assert {r["subject_id"] for r in table(tmp_path / "out" / "slices.csv")} == {"1.1", "1.4"}
    failed = {r["item"]: r["reason"] for r in lines(tmp_path / "out" / "failed.jsonl")}
    assert set(failed) <= {"1.2", "1.3"} and str(tmp_path) not in json.dumps(failed)


def test_all_subjects_failing_fails_the_stage(series, tmp_path):
    series(tmp_path / "in", "1.1", scene(), CompressedData="True")
    result = call(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1 and "all 1 subjects failed" in result.stderr


def test_slices_without_lung_are_flagged(series, tmp_path):
    series(tmp_path / "in", "1.1", scene(lungs=False))
    assert call(tmp_path / "in", tmp_path / "out").exit_code == 0
    assert [r["flags"] for r in table(tmp_path / "out" / "slices.csv")] == ["little-lung"] * 2


def test_the_seed_decides_and_what_is_drawn_for_a_subject_does_not_depend_on_others(series, tmp_path):
    for name in ("1.1", "1.2", "1.3"):
        series(tmp_path / "three", name, scene())
    series(tmp_path / "one", "1.2", scene())
    outs = {}
    for key, root, more in (
        ("a", "three", []), ("b", "three", []), ("c", "one", []), ("d", "three", ["--seed", "1"]),
    ):  # fmt: skip
        assert call(tmp_path / root, tmp_path / key, "--subjects", "0", *more).exit_code == 0
        outs[key] = {r["image_id"] for r in table(tmp_path / key / "slices.csv")}
    assert outs["a"] == outs["b"] != outs["d"]
    assert outs["c"] == {name for name in outs["a"] if name.startswith("1.2.mhd")}
    picks = []
    for seed in range(4):
        assert call(tmp_path / "three", tmp_path / "s", "--subjects", "1", "--seed", str(seed)).exit_code == 0
        picks.append(table(tmp_path / "s" / "slices.csv")[0]["subject_id"])
    assert len(set(picks)) > 1, "subjects are drawn, not the first ones taken"


def test_readers_ratings_label_the_nodules(series, tmp_path):
    root = tmp_path / "in"
    series(root, "1.2", scene())
    annotate(root, ("1.2", *PLACE, 24), ("1.2", PLACE[0] + 136, PLACE[1], PLACE[2], 8))
    near = [f"1.2,{PLACE[0] + n},{PLACE[1]},{PLACE[2]},{rating}" for n, rating in enumerate((5, 4, 2))]
    far = [f"1.2,{PLACE[0] + 136},{PLACE[1]},{PLACE[2]},{rating}" for rating in (3, 3)]
    (root / "malignancy.csv").write_text("\n".join(["seriesuid,coordX,coordY,coordZ,malignancy", *near, *far]) + "\n")
    assert call(root, tmp_path / "out").exit_code == 0
    rows = table(tmp_path / "out" / "nodules.csv")
    assert [(r["readers"], r["malignancy"], r["label"]) for r in rows] == [("3", "4", "1"), ("2", "3", "")]


def test_ready_slices_are_taken_as_they_are(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for subject, numbers in (("1.2", (5, 40, 7)), ("1.3", (1,))):
        for number in numbers:
            Image.fromarray(window(scene()[6], -600, 1500)).save(root / f"{subject}.mhd_{number}.png")
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(root / "1.4.mhd_9.png")
    (root / "1.5.mhd_1.png").write_bytes(b"no picture")
    result = call(root, tmp_path / "out", "--size", "64")
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "out" / "slices.csv")
    assert [(r["subject_id"], r["flags"]) for r in rows] == [
        ("1.2", ""), ("1.2", ""), ("1.3", ""), ("1.4", "little-lung"),
    ]  # fmt: skip
    assert all(pixels(tmp_path / "out" / r["file"]).shape == (64, 64) for r in rows)
    assert [r["item"] for r in lines(tmp_path / "out" / "failed.jsonl")] == ["1.5"]
    assert table(tmp_path / "out" / "nodules.csv") == []


def test_an_earlier_runs_pictures_do_not_stay(series, tmp_path):
    for name in ("1.1", "1.2"):
        series(tmp_path / "in", name, scene())
    call(tmp_path / "in", tmp_path / "out")
    call(tmp_path / "in", tmp_path / "out", "--subjects", "1", "--slices-per-subject", "1")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX\n", "missing: coordY, coordZ, diameter_mm"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm\n1,2,3,x,5\n", r"annotations\.csv:2"),
    ],
)
def test_bad_annotations_name_their_line(tmp_path, text, message):
    (tmp_path / "annotations.csv").write_text(text)
    from harvest.errors import HarvestError

    with pytest.raises(HarvestError, match=message):
        read_annotations(tmp_path / "annotations.csv")


@pytest.mark.parametrize("body", [b"1,2,3,4," + b"5" * 200_000, b"\xff\xfe1,2,3,4,5"])
def test_annotations_that_are_no_table_are_an_error_of_the_stage(series, tmp_path, body):
    series(tmp_path / "in", "1.2", scene())
    annotate(tmp_path / "in")
    with (tmp_path / "in" / "annotations.csv").open("ab") as out:
        out.write(body)
    result = call(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1 and "annotations.csv" in result.stderr and "expected" in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_name_that_is_a_pattern_takes_no_other_subjects_slices_away(series, tmp_path):
    root = tmp_path / "in"
    for name in ("1.1", "1.2"):
        series(root, name, scene())
    for name in ("*", "1.[12]", "1.?"):
        (root / f"{name}.mhd").write_text("no header")
    assert call(root, tmp_path / "out").exit_code == 0
    rows = table(tmp_path / "out" / "slices.csv")
    assert len(rows) == 4 and all((tmp_path / "out" / row["file"]).is_file() for row in rows)
    assert [r["item"] for r in lines(tmp_path / "out" / "failed.jsonl")] == ["*", "1.?", "1.[12]"]


def test_postscript_under_a_pictures_name_is_not_run(tmp_path, monkeypatch):
    """Pillow hands it to Ghostscript where it is let."""
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args, **options: ran.append(args))
    root = tmp_path / "in"
    root.mkdir()
    Image.fromarray(window(scene()[6], -600, 1500)).save(root / "1.2.mhd_1.png")
    (root / "1.3.mhd_1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n")
    assert call(root, tmp_path / "out").exit_code == 0
    assert [r["item"] for r in lines(tmp_path / "out" / "failed.jsonl")] == ["1.3"] and ran == []
    for size_of in (picture_size, pixel_hash):
        with pytest.raises(ItemError, match="decodes"):
            size_of(root / "1.3.mhd_1.png")
    assert ran == []


def test_settings_that_cannot_work(series, tmp_path):
    (tmp_path / "empty").mkdir()
    for root, more, message in (
        ("none", [], "--root"), ("empty", [], "found none"), ("in", ["--annotations", "/no"], "--annotations"),
    ):  # fmt: skip
        if root == "in":
            series(tmp_path / root, "1.2", scene())
        result = call(tmp_path / root, tmp_path / "out", *more)
        assert result.exit_code == 2 and message in result.stderr
    series(tmp_path / "in" / "again", "1.2", scene())
    result = call(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 2 and "twice" in result.stderr


def test_switched_off(tmp_path):
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), "--no-enabled"])
    assert result.exit_code == 0 and table(tmp_path / "out" / "slices.csv") == []


@pytest.mark.real
def test_the_recorded_annotations(real_data: Path):
    found = read_annotations(real_data / "recorded" / "luna16" / "annotations_head.csv")
    uid, nodules = next(iter(found.items()))
    assert uid.endswith(".100225287222365663678666836860") and len(nodules) == 2
    assert nodules[0].world == (-128.6994211, -175.3192718, -298.3875064)


@pytest.mark.real
def test_the_published_slices(real_data: Path, tmp_path):
    """Twenty subjects of the 500: two slices each, nearly all with lung."""
    root = tmp_path / "in"
    root.mkdir()
    paths = sorted((real_data / "luna").glob("*.png"))
    subjects = sorted({path.name.split(".mhd_")[0] for path in paths})[::25]
    for path in paths:
        if path.name.split(".mhd_")[0] in subjects:
            (root / path.name).symlink_to(path)
    assert call(root, tmp_path / "out").exit_code == 0
    rows = table(tmp_path / "out" / "slices.csv")
    assert len(rows) == 2 * len(subjects) == 40
    assert sum(r["flags"] == "" for r in rows) >= 36


def test_a_cut_off_slice_and_a_nodule_without_a_place_are_rows(series, tmp_path):
    root = tmp_path / "ready"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    for subject in ("1.2", "1.3"):
        Image.fromarray(noise).save(root / f"{subject}.mhd_1.png")
    cut = root / "1.3.mhd_1.png"
    cut.write_bytes(cut.read_bytes()[:1000])
    assert call(root, tmp_path / "out").exit_code == 0
    assert [r["item"] for r in lines(tmp_path / "out" / "failed.jsonl")] == ["1.3"]
    assert "decodes" in lines(tmp_path / "out" / "failed.jsonl")[0]["reason"]

    series(tmp_path / "in", "1.2", scene())
    (tmp_path / "in" / "annotations.csv").write_text(
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,nan,5,5,6\n1.2,5,5,inf,6\n1.2,5,5,nan,6\n1.2,5,5,5,nan\n"
    )
    assert call(tmp_path / "in", tmp_path / "out").exit_code == 0
    assert len(table(tmp_path / "out" / "slices.csv")) == 2
    failed = lines(tmp_path / "out" / "failed.jsonl")
    assert [r["item"] for r in failed] == [f"1.2_{n}" for n in range(4)] and "inf" in failed[1]["reason"]
