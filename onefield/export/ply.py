"""Polygon file format (Turk 1994): writes binary, reads binary of both byte orders and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from onefield.errors import DataError
from onefield.export.arrays import (
    Target,
    color_array,
    face_array,
    mesh_from_arrays,
    needs_double,
    normal_array,
    unit_colors,
    vertex_array,
)
from onefield.types import Mesh

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_POSITION, _NORMAL, _COLOR = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")
_LISTS_OF_FACES = ("vertex_indices", "vertex_index")


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """Positions as double where float would shift them visibly; normals as float, colours as 8-bit sRGB."""
    positions, faces = vertex_array(mesh), face_array(mesh)
    normals, colors = normal_array(mesh), color_array(mesh)
    word = "double" if needs_double(positions) else "float"
    parts: list[tuple[tuple[str, ...], str, np.ndarray]] = [(_POSITION, word, positions)]
    if normals is not None:
        parts.append((_NORMAL, "float", normals))
    if colors is not None:
        parts.append((_COLOR, "uchar", np.rint(colors * 255)))
    columns = [
        (name, "<" + _TYPES[kind], values[:, n]) for names, kind, values in parts for n, name in enumerate(names)
    ]
    records = np.empty(len(positions), dtype=[(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        records[name] = values
    properties = [f"property {kind} {name}" for names, kind, _ in parts for name in names]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment written by Onefield, {target.up} up",
        f"element vertex {len(positions)}",
        *properties,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    file.write("\n".join(header).encode())
    file.write(records.tobytes())
    triangles = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, faces
    file.write(triangles.tobytes())
    return () if mesh.texture is None else ("PLY holds no texture; export GLB or OBJ to keep it.",)


@dataclass
class _Element:
    name: str
    count: int
    # name, type of the value, type of the length (None for a scalar)
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)


def read(content: bytes, path: Path) -> Mesh:
    """Reads vertices (with normals and colours where there are) and faces; other elements are passed over."""
    positions = colors = normals = None
    faces = np.zeros((0, 3), dtype=np.int64)
    for element, columns in _elements(content, path):
        if element.name == "vertex":
            positions = _stacked(columns, _POSITION)
            normals, colors = _stacked(columns, _NORMAL), None
            if all(name in columns for name in _COLOR):
                colors = unit_colors(np.stack([columns[name] for name in _COLOR], axis=1))
        elif element.name == "face":
            faces = _triangles(columns, path)
    if positions is None:
        raise DataError(f"{path} has no vertices with x, y and z; it is no mesh.")
    return mesh_from_arrays(positions, faces, colors, normals)


def vertex_columns(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """All scalar properties of the vertices by name, as the file types them.

    Raises:
        DataError: the header is broken, or there are no vertices.
    """
    for element, columns in _elements(content, path):
        if element.name == "vertex":
            return {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    raise DataError(f"{path} has no vertices; write it again.")


def _elements(content: bytes, path: Path) -> Iterator[tuple[_Element, dict[str, np.ndarray | list]]]:
    elements, order, offset = _header(content, path)
    text = iter(content[offset:].split()) if order == "" else None
    for element in elements:
        if text is not None:
            yield element, _text_element(element, text, len(content))
        else:
            columns, offset = _binary_element(element, content, offset, order)
            yield element, columns


def _header(content: bytes, path: Path) -> tuple[list[_Element], str, int]:
    marker = b"end_header"
    end = content.find(marker)
    if not content.startswith(b"ply") or end < 0:
        raise DataError(f"{path} is no PLY file: it has no header from 'ply' to 'end_header'.")
    elements: list[_Element] = []
    order = None
    for line in content[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            order = _ORDERS[words[1]]
        elif words[0] == "element":
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and words[1] == "list":
            elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[0] == "property":
            elements[-1].properties.append((words[2], _TYPES[words[1]], None))
        else:
            raise DataError(f"{path} has the header line '{line[:40]}', which PLY does not know; write it again.")
    if order is None:
        raise DataError(f"{path} does not name its PLY format in the header; write it again.")
    start = content.index(b"\n", end) + 1
    for element in elements:
        if not 0 <= element.count <= len(content):
            raise DataError(
                f"{path} promises {element.count} of element {element.name} in {len(content)} bytes; it is cut short."
            )
    return elements, order, start


def _text_element(element: _Element, words, limit: int) -> dict[str, np.ndarray | list]:
    rows: dict[str, list] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, kind, length_kind in element.properties:
            convert = float if kind.startswith("f") else int
            if length_kind is None:
                rows[name].append(convert(_next(words)))
                continue
            length = int(_next(words))
            if not 0 <= length <= limit:
                raise ValueError(f"a list of {length} entries")
            rows[name].append(np.array([convert(_next(words)) for _ in range(length)]))
    lists = {name for name, _, length_kind in element.properties if length_kind is not None}
    kinds = {name: kind for name, kind, _ in element.properties}
    return {name: row if name in lists else np.array(row, dtype=kinds[name]) for name, row in rows.items()}


def _next(words) -> bytes:
    word = next(words, None)
    if word is None:
        raise ValueError("it ends before its last element")
    return word


def _binary_element(
    element: _Element, content: bytes, offset: int, order: str
) -> tuple[dict[str, np.ndarray | list], int]:
    if all(length_kind is None for _, _, length_kind in element.properties):
        dtype = np.dtype([(name, order + kind) for name, kind, _ in element.properties])
        records = np.frombuffer(content, dtype, count=element.count, offset=offset)
        return {name: records[name] for name in dtype.names or ()}, offset + records.nbytes
    triangles = _binary_triangles(element, content, offset, order)
    if triangles is not None:
        return triangles
    rows: dict[str, list] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, kind, length_kind in element.properties:
            length = 1
            if length_kind is not None:
                length = int(np.frombuffer(content, order + length_kind, count=1, offset=offset)[0])
                offset += np.dtype(length_kind).itemsize
                if length < 0:  # frombuffer would take all that is left
                    raise ValueError(f"a list of {length} entries")
            values = np.frombuffer(content, order + kind, count=length, offset=offset) if length else np.zeros(0, kind)
            offset += values.nbytes
            rows[name].append(values if length_kind is not None else values[0])
    return rows, offset


def _binary_triangles(element: _Element, content: bytes, offset: int, order: str):
    """The whole element at once where it is one list of length 3 throughout, else None."""
    if len(element.properties) != 1 or not element.count:
        return None
    name, kind, length_kind = element.properties[0]
    dtype = np.dtype([("count", order + length_kind), ("corners", order + kind, 3)])
    if offset + element.count * dtype.itemsize > len(content):
        return None
    records = np.frombuffer(content, dtype, count=element.count, offset=offset)
    if not (records["count"] == 3).all():
        return None
    return {name: records["corners"]}, offset + records.nbytes


def _stacked(columns: dict, names: tuple[str, ...]) -> np.ndarray | None:
    if not all(name in columns for name in names):
        return None
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)


def _triangles(columns: dict, path: Path) -> np.ndarray:
    lists = next((columns[name] for name in _LISTS_OF_FACES if name in columns), None)
    if lists is None:
        raise DataError(f"{path} has faces without a list of vertex indices; write it again.")
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        return lists.astype(np.int64)
    fans = [(face[0], face[n], face[n + 1]) for face in lists for n in range(1, len(face) - 1)]
    return np.array(fans, dtype=np.int64).reshape(-1, 3)
