"""Wavefront OBJ, text, with the common extension of colours behind a vertex's position."""

from __future__ import annotations

from collections.abc import Iterator
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
    picture_beside,
    png,
    unit_colors,
    vertex_array,
)
from onefield.files import write_atomically
from onefield.types import Mesh, Texture

# Rows that are formatted at once: bounds the memory of the text.
_ROWS = 1 << 16
_MATERIAL = "surface"
# what lines of numbers begin with
_NUMBERS = frozenset({"v", "vt", "vn", "f"})


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """Positions with 9 digits, which float32 reads back to the same numbers, or 15 where it would not do.

    A texture goes beside the file, as ``NAME.mtl``, ``NAME-obj-color.png`` and ``NAME-obj-normals.png``; colours at
    vertices are then left out.
    """
    positions, colors, normals = vertex_array(mesh), color_array(mesh), normal_array(mesh)
    number = "%.15g" if needs_double(positions) else "%.9g"
    file.write(f"# written by Onefield, {target.up} up; positions may be followed by sRGB colours\n".encode())
    line = "v " + " ".join([number] * 3)
    if mesh.texture is not None:
        file.write(f"mtllib {_plain(target.path).with_suffix('.mtl').name}\nusemtl {_MATERIAL}\n".encode())
    if colors is None or mesh.texture is not None:
        _write_rows(file, line, positions)
    else:
        _write_rows(file, line + " %.6g %.6g %.6g", np.concatenate([positions, colors], axis=1))
    # what a corner names: its position, its place in the texture, its normal
    numbers = [face_array(mesh) + 1]
    corner = "%d"
    if mesh.texture is not None:
        coordinates = mesh.texture.coordinates.cpu().double().numpy().reshape(-1, 2)
        places, place_of = np.unique(coordinates, axis=0, return_inverse=True)
        # here v grows upwards
        _write_rows(file, "vt %.9g %.9g", places * (1, -1) + (0, 1))
        numbers.append(place_of.reshape(-1, 3) + 1)
        corner = "%d/%d"
    if normals is not None:
        _write_rows(file, "vn %.6g %.6g %.6g", normals)
        numbers.append(numbers[0])
        corner += "/%d" if mesh.texture is not None else "//%d"
    _write_rows(file, f"f {corner} {corner} {corner}", np.stack(numbers, axis=-1).reshape(len(numbers[0]), -1))
    # last, so that pictures of an older file stay while this one may not fit on the disk
    if mesh.texture is not None:
        _write_material(mesh.texture, _plain(target.path))
    return ()


def _plain(path: Path) -> Path:
    """What files beside a file are named after: names in OBJ and MTL end at a space."""
    return path.with_name("_".join(path.name.split()))


def _write_material(texture: Texture, path: Path) -> None:
    """Writes material and pictures beside a file."""
    color, normals = picture_beside(path, "color"), picture_beside(path, "normals")
    lines = [f"newmtl {_MATERIAL}", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {color.name}"]
    write_atomically(color, png(texture.color))
    if texture.normals is not None:
        write_atomically(normals, png(texture.normals))
        lines.append(f"norm {normals.name}")
    write_atomically(path.with_suffix(".mtl"), "\n".join([*lines, ""]).encode())


def _write_rows(file: BinaryIO, line: str, rows: np.ndarray) -> None:
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        file.write(((line + "\n") * len(part) % tuple(part.reshape(-1).tolist())).encode())


def read(content: bytes, path: Path) -> Mesh:
    """Reads positions, colours where all vertices have them, and normals where they go with the vertices one to one."""
    vertices: list[list[float]] = []
    normals: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    normal_of: dict[int, int] = {}
    for number, line in _lines(content.decode("utf-8", errors="replace")):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                vertices.append([float(word) for word in words[1:]])
            elif words[0] == "vn":
                normals.append([float(word) for word in words[1:4]])
            elif words[0] == "f":
                corners = [_corner(word, len(vertices), len(normals)) for word in words[1:]]
                faces.extend((corners[0][0], corners[n][0], corners[n + 1][0]) for n in range(1, len(corners) - 1))
                normal_of.update(corner for corner in corners if corner[1] is not None)
        except (ValueError, IndexError) as error:
            raise DataError(f"Line {number} of {path} is '{line[:60]}', which is no OBJ ({error}).") from error
    width = {len(vertex) for vertex in vertices}
    if not width or min(width) < 3:
        raise DataError(f"{path} has no vertices of three numbers; it is no mesh.")
    table = np.array([vertex[:6] if min(width) >= 6 else vertex[:3] for vertex in vertices], dtype=np.float64)
    directions = None
    if normals and len(normal_of) == len(vertices):
        directions = np.array(normals, dtype=np.float64)[[normal_of[n] for n in range(len(vertices))]]
    triangles = np.array(faces, dtype=np.int64).reshape(-1, 3)
    colors = unit_colors(table[:, 3:]) if table.shape[1] == 6 else None
    return mesh_from_arrays(table[:, :3], triangles, colors, directions)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers; numbers may go on behind a backslash, while that of a path or a comment is its own."""
    begun = ""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        whole = begun + line
        if whole.endswith("\\") and whole.split(maxsplit=1)[0] in _NUMBERS:
            begun = whole[:-1] + " "
            continue
        begun = ""
        yield number, whole
    if begun:
        yield number, begun


def _corner(word: str, vertices: int, normals: int) -> tuple[int, int | None]:
    """Zero-based vertex and normal of ``v``, ``v/vt``, ``v//vn`` or ``v/vt/vn``; negative ones count from the end."""
    parts = word.split("/")
    normal = _zero_based(parts[2], normals) if len(parts) > 2 and parts[2] else None
    return _zero_based(parts[0], vertices), normal


def _zero_based(word: str, count: int) -> int:
    number = int(word)
    index = number - 1 if number > 0 else count + number
    if number == 0 or index < 0:
        raise ValueError(f"index {number} of {count}")
    return index
