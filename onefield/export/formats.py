"""The formats of meshes by suffix, and the two verbs over them.

A format is a module with ``write(mesh, file) -> notes`` and ``read(content, path) -> Mesh``; adding one is one file and
one line in `MESH_FORMATS`.
"""

from __future__ import annotations

import importlib
import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import torch

from onefield.errors import DataError, UsageError, nearest_name
from onefield.files import write_atomically
from onefield.types import Mesh

MESH_FORMATS = {
    ".glb": "onefield.export.glb",
    ".html": "onefield.export.html",
    ".obj": "onefield.export.obj",
    ".ply": "onefield.export.ply",
    ".stl": "onefield.export.stl",
}

# what parsing a broken file ends in
_UNSOUND = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, struct.error)

_logger = logging.getLogger("onefield.export")


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        size: in bytes.
        notes: one sentence for each thing that the format changed or could not hold.
    """

    path: Path
    size: int
    notes: tuple[str, ...]


def export_mesh(mesh: Mesh, path: str | os.PathLike[str]) -> Export:
    """Writes a mesh in the format that the path's suffix names, whole or not at all.

    Vertices are written in the frame they are in, z up; bring them to the dataset's frame first. GLB is turned y up by
    a node, as its standard demands. Vertices in float64 that float32 would shift visibly keep their precision in PLY
    and OBJ, and in GLB by a node's translation; STL warns.

    Raises:
        UsageError: no format has this suffix.
        DataError: the mesh has no faces, or a vertex that is not finite.
        ResourceError: the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    form = _format_of(path)
    if not mesh.faces.shape[0]:
        raise DataError(f"The mesh has no faces, so there is nothing to write to {path}; extract at another isovalue.")
    finite = torch.isfinite(mesh.vertices).all(dim=1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise DataError(
            f"Vertex {first} of the mesh for {path} lies at {mesh.vertices[first].tolist()}; remove it first."
        )
    notes: list[str] = []

    def write(file: BinaryIO) -> None:
        notes.extend(form.write(mesh, file))

    write_atomically(path, write)
    for note in notes:
        _logger.warning("%s: %s", path, note)
    return Export(path, path.stat().st_size, tuple(notes))


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Reads a mesh of any of the formats, z up, polygons as fans of triangles, nothing repaired.

    Vertices are float32, or float64 where the file holds positions that float32 would shift visibly. Materials and
    textures are left out.

    Raises:
        UsageError: no format has this suffix.
        DataError: the file is missing, cut short, contradicts itself or uses a part of its format that is not read.
    """
    path = Path(path)
    form = _format_of(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
    try:
        return form.read(content, path)
    except _UNSOUND as error:
        raise DataError(f"{path} is no sound {path.suffix[1:].upper()} file ({error}); write it again.") from error


def _format_of(path: Path) -> ModuleType:
    suffix = path.suffix.lower()
    if suffix not in MESH_FORMATS:
        raise UsageError(
            f"No mesh format has the suffix '{suffix}' of {path}: {nearest_name(suffix, tuple(MESH_FORMATS))}."
        )
    return importlib.import_module(MESH_FORMATS[suffix])
