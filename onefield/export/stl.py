"""Stereolithography: writes binary, reads binary and text. Holds bare triangles in float32, no colours."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from onefield.errors import DataError
from onefield.export.arrays import Target, face_array, mesh_from_arrays, needs_double, vertex_array
from onefield.types import Mesh

_HEADER_SIZE = 80
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """Binary STL with face normals."""
    positions, faces = vertex_array(mesh), face_array(mesh)
    corners = positions[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(faces), dtype=_RECORD)
    # a triangle without area has no normal: zeros, from which readers compute their own
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    records["corners"] = corners
    # must not begin with "solid", which announces text
    file.write(f"Onefield binary STL, {target.up} up".encode().ljust(_HEADER_SIZE))
    file.write(struct.pack("<I", len(faces)))
    file.write(records.tobytes())
    return _losses(mesh, positions)


def _losses(mesh: Mesh, positions: np.ndarray) -> tuple[str, ...]:
    notes = []
    if needs_double(positions):
        notes.append(
            f"STL holds float32 only, which moves vertices by up to {np.abs(positions).max() * 2**-24:.2g} units this "
            "far from the origin; export PLY, OBJ or GLB to keep them."
        )
    if mesh.colors is not None or mesh.texture is not None:
        notes.append("STL holds no colours; export PLY, OBJ or GLB to keep them.")
    return tuple(notes)


def read(content: bytes, path: Path) -> Mesh:
    """Reads triangles and joins corners of exactly equal position."""
    corners = _binary_corners(content)
    if corners is None:
        corners = _text_corners(content, path)
    broken = ~np.isfinite(corners).all(axis=(1, 2))
    if broken.any():
        # before anything is computed, where a damaged number could be one that the processor warns of
        first = int(broken.argmax())
        raise DataError(
            f"{path} is damaged: triangle {first} has a corner that is no finite number ({int(broken.sum())} of "
            f"{len(corners)} have); write it again."
        )
    # adding zero turns -0.0, which compares equal but differs in its bits, into 0.0
    positions, faces = np.unique(corners.reshape(-1, 3) + 0.0, axis=0, return_inverse=True)
    return mesh_from_arrays(positions, faces.reshape(-1, 3))


def _binary_corners(content: bytes) -> np.ndarray | None:
    if len(content) < _HEADER_SIZE + 4:
        return None
    count = struct.unpack_from("<I", content, _HEADER_SIZE)[0]
    start = _HEADER_SIZE + 4
    if start + count * _RECORD.itemsize != len(content):
        return None
    return np.frombuffer(content, _RECORD, count=count, offset=start)["corners"]


def _text_corners(content: bytes, path: Path) -> np.ndarray:
    if not content.lstrip().startswith(b"solid"):
        raise DataError(
            f"{path} is no STL file: its length of {len(content)} bytes does not fit its triangle count, and it is no "
            "text that begins with 'solid'; it may be cut short."
        )
    if b"endsolid" not in content:
        raise DataError(f"{path} has no 'endsolid' at its end; it is cut short.")
    rows = [line.split()[1:] for line in content.splitlines() if line.lstrip().startswith(b"vertex")]
    if len(rows) % 3 or any(len(row) != 3 for row in rows):
        raise DataError(f"{path} has triangles without three corners of three numbers; write it again.")
    return np.array(rows, dtype=np.float64).reshape(-1, 3, 3)
