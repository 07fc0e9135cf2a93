"""MetaImage volumes as LUNA16 ships them: an uncompressed ``.raw`` beside its ``.mhd`` header, read strictly.

Arrays are ``[z, y, x]`` in Hounsfield units; world coordinates are millimetres in LPS (x to the patient's left, y to
the back, z to the head). A header that asks for anything outside its folder, or does not match its data, is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
}
_HEADER_LIMIT = 1 << 16
_SIDE_LIMIT = 8192
_FALSE, _TRUE = ("false", "0", "no"), ("true", "1", "yes")


class VolumeError(ValueError):
    """A volume that cannot be used: names file, field, expected and got."""


@dataclass(frozen=True)
class Header:
    """What a ``.mhd`` file says. ``shape`` is (z, y, x); ``spacing`` and ``offset`` are mm in (x, y, z)."""

    path: Path
    raw: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    spacing: np.ndarray
    offset: np.ndarray
    direction: np.ndarray
    """3×3; column i is the world direction of voxel axis i (x, y, z)"""

    def voxel(self, world: np.ndarray) -> np.ndarray:
        """World (x, y, z) in mm → continuous voxel index (z, y, x), through the whole TransformMatrix."""
        return (np.linalg.solve(self.direction, np.asarray(world, float) - self.offset) / self.spacing)[::-1]

    def world(self, voxel: np.ndarray) -> np.ndarray:
        """Voxel index (z, y, x) → world (x, y, z) in mm."""
        return self.direction @ (np.asarray(voxel, float)[::-1] * self.spacing) + self.offset

    def open(self) -> np.ndarray:
        """The voxels, mapped from disk, not loaded. Raises VolumeError where they cannot be read."""
        try:
            return np.memmap(self.raw, dtype=self.dtype, mode="r", shape=self.shape)
        except (OSError, ValueError) as error:
            raise VolumeError(f"{self.raw}: expected voxels that can be read, got {error}") from error


def read_header(path: Path) -> Header:
    """Read and check a header and the size of its data. Raises VolumeError."""
    fields = _fields(path)

    def numbers(name: str, count: int, default: str = "") -> np.ndarray:
        text = fields.get(name, default)
        try:
            values = np.array([float(part) for part in text.split()])
        except ValueError:
            values = np.array([])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise VolumeError(f"{path}: field {name}: expected {count} numbers, got {text!r:.80}")
        return values

    def expect(name: str, allowed: tuple[str, ...], default: str) -> None:
        got = fields.get(name, default)
        if got.lower() not in allowed:
            raise VolumeError(f"{path}: field {name}: expected {' or '.join(allowed)}, got {got!r:.80}")

    expect("ObjectType", ("image",), "image")
    expect("NDims", ("3",), "")
    expect("BinaryData", _TRUE, "true")
    expect("CompressedData", _FALSE, "false")
    expect("ElementNumberOfChannels", ("1",), "1")
    expect("HeaderSize", ("0",), "0")
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise VolumeError(f"{path}: field ElementType: expected one of {', '.join(_TYPES)}, got {kind!r:.80}")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() in _TRUE
    size = numbers("DimSize", 3)
    if not all(float(side).is_integer() and 1 <= side <= _SIDE_LIMIT for side in size):
        raise VolumeError(
            f"{path}: field DimSize: expected three sides of 1 to {_SIDE_LIMIT}, got {fields['DimSize']!r:.80}"
        )
    millimetres = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    spacing = numbers("ElementSpacing", 3, millimetres)
    if not (spacing > 0).all():
        raise VolumeError(f"{path}: field ElementSpacing: expected positive millimetres, got {millimetres!r:.80}")
    matrix = fields.get("TransformMatrix", fields.get("Rotation", fields.get("Orientation", "1 0 0 0 1 0 0 0 1")))
    fields["TransformMatrix"] = matrix
    # The file lists the direction of the x axis first, then y, then z: rows of the file are columns of the matrix.
    direction = numbers("TransformMatrix", 9).reshape(3, 3).T
    if not np.allclose(direction @ direction.T, np.eye(3), atol=1e-3):
        raise VolumeError(
            f"{path}: field TransformMatrix: expected three perpendicular unit vectors, got {matrix!r:.80}"
        )
    fields["Offset"] = fields.get("Offset", fields.get("Position", fields.get("Origin", "")))
    width, height, depth = (int(side) for side in size)
    header = Header(
        path=path,
        raw=_data_file(path, fields.get("ElementDataFile", "")),
        shape=(depth, height, width),
        dtype=np.dtype((">" if big else "<") + _TYPES[kind]),
        spacing=spacing,
        offset=numbers("Offset", 3),
        direction=direction,
    )
    expected = math.prod(header.shape) * header.dtype.itemsize
    if not header.raw.is_file():
        raise VolumeError(
            f"{path}: field ElementDataFile: expected {header.raw.name} beside the header, found no such file"
        )
    if header.raw.stat().st_size != expected:
        raise VolumeError(
            f"{header.raw}: expected {expected} bytes for {header.shape} voxels, got {header.raw.stat().st_size}"
        )
    return header


def _fields(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as data:
            body = data.read(_HEADER_LIMIT + 1)
    except OSError as error:
        raise VolumeError(f"{path}: expected a MetaImage header, got {error}") from error
    if len(body) > _HEADER_LIMIT:
        raise VolumeError(
            f"{path}: expected a header of at most {_HEADER_LIMIT} bytes, got more; is this an .mha with its data?"
        )
    fields: dict[str, str] = {}
    for number, line in enumerate(body.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        key, mark, value = line.partition("=")
        if not mark:
            raise VolumeError(f"{path}:{number}: expected 'Key = value', got {line!r:.80}")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return fields


def _data_file(path: Path, name: str) -> Path:
    if not name:
        raise VolumeError(f"{path}: field ElementDataFile: expected the name of a .raw file, got none")
    if name.upper() in ("LOCAL", "LIST") or name.upper().startswith("LIST ") or "%" in name:
        raise VolumeError(f"{path}: field ElementDataFile: expected one .raw file beside the header, got {name!r:.80}")
    if name.lower().endswith((".zraw", ".gz")):
        raise VolumeError(
            f"{path}: field ElementDataFile: expected uncompressed .raw, got {name!r:.80}; convert it first"
        )
    if PurePosixPath(name.replace("\\", "/")).name != name:
        raise VolumeError(
            f"{path}: field ElementDataFile: expected a file beside the header, got the path {name!r:.120}"
        )
    return path.parent / name
