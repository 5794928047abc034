"""Point clouds from PLY files that someone else wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from onefield.errors import DataError
from onefield.types import PointCloud

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
# A header lists a few elements; Gaussian files have 62 properties.
_LONGEST_HEADER = 1 << 16


@dataclass
class _Header:
    """What a PLY header says of its first element, and where the numbers begin."""

    form: str
    element: str = ""
    count: int = 0
    properties: list[tuple[str, str]] = field(default_factory=list)
    begin: int = 0


def read_ply_points(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions N x 3 (float64) and colours N x 3 in [0, 1], or None, of a PLY file's vertices.

    Raises:
        DataError: unreadable, no PLY, vertices that aren't the first element, or more vertices than the file holds.
    """
    table = _vertices(path)
    if not {"x", "y", "z"} <= set(table.dtype.names or ()):
        raise DataError(f"{path}: its vertices lack x, y or z.")
    points = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    for names in (("red", "green", "blue"), ("r", "g", "b")):
        if set(names) <= set(table.dtype.names or ()):
            colors = np.stack([table[name].astype(np.float64) for name in names], axis=1)
            # Integer colours run to 255, or to 65535 where they have 16 bits, floating ones to 1.
            if table.dtype[names[0]].kind in "iu":
                colors /= 255.0 if colors.max() <= 255 else 65535.0
            return points, np.clip(np.nan_to_num(colors), 0, 1)
    return points, None


def read_point_cloud(path: Path) -> PointCloud:
    """A PLY file's vertices, in float64 as scans in map coordinates need, with colours and normals where it has them.

    Raises:
        DataError: as `read_ply_points`.
    """
    points, colors = read_ply_points(path)
    table = _vertices(path)
    normals = None
    if {"nx", "ny", "nz"} <= set(table.dtype.names or ()):
        normals = torch.from_numpy(np.stack([table[axis].astype(np.float32) for axis in ("nx", "ny", "nz")], axis=1))
        normals = torch.nn.functional.normalize(normals, dim=-1)
    return PointCloud(torch.from_numpy(points), None if colors is None else torch.from_numpy(colors).float(), normals)


def _vertices(path: Path) -> np.ndarray:
    """The vertex element as a structured array."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    header = _header(path, content)
    if header.element != "vertex" or not header.properties:
        raise DataError(f"{path}: its first element is '{header.element}', expected 'vertex' with properties.")
    left = len(content) - header.begin
    if header.form == "ascii":
        return _ascii_vertices(path, content, header)
    order = _ORDERS[header.form]
    kind = np.dtype([(name, order + code) for name, code in header.properties])
    if header.count * kind.itemsize > left:
        raise DataError(f"{path} claims {header.count} vertices of {kind.itemsize} bytes, but {left} bytes follow.")
    return np.frombuffer(content, dtype=kind, count=header.count, offset=header.begin)


def _ascii_vertices(path: Path, content: bytes, header: _Header) -> np.ndarray:
    # A number and its separator take two bytes at least.
    if header.count * 2 * len(header.properties) > len(content) - header.begin + 1:
        raise DataError(f"{path} claims {header.count} vertices, more than its text can hold.")
    try:
        lines = [line for line in content[header.begin :].decode("ascii").splitlines() if line.strip()]
        rows = np.loadtxt(lines[: header.count] or ["nothing"], dtype=np.float64, ndmin=2, comments=None)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: its vertices are no table of numbers ({error}).") from error
    if rows.shape != (header.count, len(header.properties)):
        raise DataError(f"{path} claims {header.count} x {len(header.properties)} numbers, found {rows.shape}.")
    kind = np.dtype([(name, "f8" if code[0] == "f" else "i8") for name, code in header.properties])
    table = np.empty(header.count, dtype=kind)
    for column, (name, code) in enumerate(header.properties):
        table[name] = rows[:, column] if code[0] == "f" else np.clip(np.nan_to_num(rows[:, column]), -(2**31), 2**31)
    return table


def _header(path: Path, content: bytes) -> _Header:
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    if not content.startswith(b"ply") or end < 0:
        raise DataError(f"{path} is no PLY file (no 'ply' ... 'end_header').")
    line_end = content.find(b"\n", end)
    header = _Header("", begin=len(content) if line_end < 0 else line_end + 1)
    elements = 0
    for line in content[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) >= 2 and words[1] in ("ascii", *_ORDERS):
            header.form = words[1]
        elif words[0] == "element" and len(words) == 3 and words[2].isdecimal() and len(words[2]) < 19:
            elements += 1
            if elements == 1:
                header.element, header.count = words[1], int(words[2])
        elif words[0] == "property" and elements == 1:
            _add_property(path, header, words)
        elif words[0] not in ("property", "element"):
            raise DataError(f"{path}: its header has the line {line[:60]!r}, which PLY doesn't know.")
    if not header.form or header.count < 1:
        raise DataError(f"{path}: its header names no known format, or no vertices.")
    return header


def _add_property(path: Path, header: _Header, words: list[str]) -> None:
    known = {name for name, _ in header.properties}
    if len(words) != 3 or words[1] not in _TYPES or words[2] in known:
        raise DataError(f"{path}: the vertex property {' '.join(words[1:])[:60]!r} can't be read.")
    header.properties.append((words[2], _TYPES[words[1]]))
