"""MetaImage headers and volumes: places through the whole matrix, and everything that must be refused (trap 18)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harvest.mhd import Header, VolumeError, read_header

VOXELS = np.arange(24, dtype="<i2").reshape(2, 3, 4) - 1000


def test_voxels_are_z_y_x(volume, tmp_path):
    header = read_header(volume(tmp_path))
    assert header.shape == (2, 3, 4)
    assert np.array_equal(header.open(), VOXELS)


def test_places_go_there_and_back(volume, tmp_path):
    header = read_header(volume(tmp_path))
    assert header.voxel(np.array([-9.0, -19.5, -27.5])).tolist() == [1.0, 1.0, 2.0]  # z, y, x
    assert header.world(np.array([1.0, 1.0, 2.0])).tolist() == [-9.0, -19.5, -27.5]


@pytest.mark.parametrize("matrix", ["-1 0 0 0 -1 0 0 0 1", "0 1 0 -1 0 0 0 0 1", "0.8 0.6 0 -0.6 0.8 0 0 0 1"])
def test_the_matrix_counts_not_only_its_diagonal(volume, tmp_path, matrix):
    """ITK writes the direction of the x axis first: voxel (1, 0, 0) lies at offset + spacing · first three numbers."""
    header = read_header(volume(tmp_path, TransformMatrix=matrix))
    first = np.array([float(v) for v in matrix.split()[:3]])
    assert header.world(np.array([0.0, 0.0, 1.0])) == pytest.approx(header.offset + 0.5 * first)
    rng = np.random.default_rng(0)
    for voxel in rng.uniform(0, 3, (20, 3)):
        assert header.voxel(header.world(voxel)) == pytest.approx(voxel)


def test_a_flipped_scan_is_not_read_as_if_it_were_not(volume, tmp_path):
    header = read_header(volume(tmp_path, TransformMatrix="-1 0 0 0 -1 0 0 0 1", Offset="10 20 -30"))
    world = np.array([9.0, 19.5, -27.5])
    assert header.voxel(world).tolist() == [1.0, 1.0, 2.0]
    assert np.abs((world - header.offset) / header.spacing)[::-1].tolist() == [1.0, 1.0, 2.0]  # abs() only seems right:
    beyond = np.array([11.0, 20.0, -30.0])  # outside the volume, which abs() would put inside
    assert header.voxel(beyond).tolist() == [0.0, 0.0, -2.0]


def test_other_types_and_byte_orders(volume, tmp_path):
    big = read_header(volume(tmp_path, data=VOXELS.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"))
    assert np.array_equal(big.open(), VOXELS)
    grey = np.arange(24, dtype="u1")
    assert read_header(volume(tmp_path, data=grey.tobytes(), ElementType="MET_UCHAR")).open().dtype == np.uint8


@pytest.mark.parametrize("length", [0, 47, 49, 480])
def test_data_of_another_length_is_refused(volume, tmp_path, length):
    with pytest.raises(VolumeError, match=rf"expected 48 bytes .* got {length}"):
        read_header(volume(tmp_path, data=b"\0" * length))


@pytest.mark.parametrize(
    "name", ["../v.raw", "/etc/passwd", "a/v.raw", "..\\v.raw", "C:\\v.raw", "..", "LOCAL", "local", "LIST", "LIST 2D",
             "v%03d.raw 1 9 1", "v.zraw", "v.raw.gz", ""]
)  # fmt: skip
def test_data_elsewhere_or_in_another_form_is_refused(volume, tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "v.raw").write_bytes(VOXELS.tobytes())
    with pytest.raises(VolumeError, match="ElementDataFile"):
        read_header(volume(inner, ElementDataFile=name))


def test_data_that_is_not_there(volume, tmp_path):
    path = volume(tmp_path)
    (tmp_path / "v.raw").unlink()
    with pytest.raises(VolumeError, match=r"expected v\.raw beside the header"):
        read_header(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("DimSize", "4 3"), ("DimSize", "4 3 2.5"), ("DimSize", "0 3 2"), ("DimSize", "4 3 99999"), ("DimSize", None),
        ("DimSize", "4 -3 2"), ("DimSize", "nan 3 2"),
        ("ElementSpacing", "0.5 0 1"), ("ElementSpacing", "a b c"), ("ElementSpacing", "inf 1 1"), ("Offset", None),
        ("TransformMatrix", "1 0 0 0 1 0 0 0 0"), ("TransformMatrix", "1 1 0 0 1 0 0 0 1"), ("TransformMatrix", "1"),
        ("ElementType", "MET_DOUBLE_ARRAY"), ("ElementType", None), ("CompressedData", "True"), ("BinaryData", "False"),
        ("NDims", "2"), ("NDims", None), ("ElementNumberOfChannels", "3"), ("HeaderSize", "-1"), ("ObjectType", "Tube"),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_names_its_field(volume, tmp_path, field, value):
    with pytest.raises(VolumeError, match=field):
        read_header(volume(tmp_path, **{field: value}))


def test_the_older_name_of_the_spacing(volume, tmp_path):
    assert read_header(volume(tmp_path, ElementSpacing=None, ElementSize="1 2 3")).spacing.tolist() == [1, 2, 3]
    for value in ("0 1 1", "-1 1 1", "a"):
        with pytest.raises(VolumeError, match=f"ElementSpacing.*got '{value}'"):
            read_header(volume(tmp_path, ElementSpacing=None, ElementSize=value))


def test_what_is_no_header(tmp_path):
    for number, body in enumerate((b"", b"no header at all\n", b"\xff" * 300, b"a = b\n" * 20_000)):
        path = tmp_path / f"{number}.mhd"
        path.write_bytes(body)
        with pytest.raises(VolumeError):
            read_header(path)
    with pytest.raises(VolumeError, match="expected a MetaImage header"):
        read_header(tmp_path / "none.mhd")


@pytest.mark.real
def test_the_recorded_header(real_data: Path, tmp_path):
    (text,) = (real_data / "recorded" / "luna16").glob("header_*.mhd")
    name = "1.3.6.1.4.1.14519.5.2.1.6279.6001.105756658031515062000744821260"
    (tmp_path / f"{name}.mhd").write_bytes(text.read_bytes())
    with (tmp_path / f"{name}.raw").open("wb") as raw:
        raw.truncate(2 * 512 * 512 * 121)
    header: Header = read_header(tmp_path / f"{name}.mhd")
    assert header.shape == (121, 512, 512) and header.path.stem == name
    assert header.spacing == pytest.approx([0.7617189884185791, 0.7617189884185791, 2.5])
    assert header.offset == pytest.approx([-198.10000600000001, -195, -335.209991])


def test_voxels_that_went_away_after_the_header_was_read_are_a_failure_of_the_volume(volume, tmp_path):
    header = read_header(volume(tmp_path))
    header.raw.unlink()
    with pytest.raises(VolumeError, match="voxels that can be read"):
        header.open()
