"""The formats of meshes by suffix, and the two verbs over them.

A format is a module with ``write(mesh, file, target) -> notes`` and ``read(content, path) -> Mesh``; adding one is one
file and one line in `MESH_FORMATS`.
"""

from __future__ import annotations

import importlib
import logging
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from onefield.errors import DataError, UsageError, nearest_name
from onefield.export.arrays import Target
from onefield.files import write_atomically
from onefield.types import Mesh

MESH_FORMATS = {
    ".glb": "onefield.export.glb",
    ".html": "onefield.export.html",
    ".obj": "onefield.export.obj",
    ".ply": "onefield.export.ply",
    ".stl": "onefield.export.stl",
    ".usda": "onefield.export.usd",
}
# formats that hold textures
TEXTURED_FORMATS = (".glb", ".obj", ".usda")
# the standard says which axis is up
UP_BY_STANDARD = frozenset({".glb", ".html"})

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


def export_mesh(mesh: Mesh, path: str | os.PathLike[str], up: str = "z") -> Export:
    """Writes a mesh in the format that the path's suffix names, whole or not at all.

    Vertices are taken to be z up; bring them to the dataset's frame first. GLB, and the page that holds one, is turned
    y up by a node, as its standard demands, whatever is asked for. Vertices in float64 that float32 would shift
    visibly keep their precision in PLY and OBJ, and in GLB and USD by a translation; STL warns. Textures go into GLB,
    and beside OBJ and USD as PNG.

    Args:
        path: the file; its suffix says the format.
        up: "z" writes the coordinates as they are, "y" turns them so that y is up: (x, y, z) becomes (x, z, -y).

    Raises:
        UsageError: no format has this suffix, or another axis is to be up.
        DataError: the mesh has no faces, or positions, colours, normals or places in a texture that are not finite in
            single precision, or not one a vertex.
        ResourceError: the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    form = _format_of(path)
    _check(mesh, path)
    if up not in ("y", "z"):
        raise UsageError(f"The axis that is up must be y or z, got '{up}'.")
    turned = up == "y" and path.suffix.lower() not in UP_BY_STANDARD
    target, placed = Target(path, "y" if turned else "z"), _y_up(mesh) if turned else mesh
    notes: list[str] = []

    def write(file: BinaryIO) -> None:
        notes.extend(form.write(placed, file, target))

    write_atomically(path, write)
    for note in notes:
        _logger.warning("%s: %s", path, note)
    return Export(path, path.stat().st_size, tuple(notes))


def _check(mesh: Mesh, path: Path) -> None:
    """Refuses what no reader could take, whichever the format.

    Raises:
        DataError: see `export_mesh`.
    """
    if not mesh.faces.shape[0]:
        raise DataError(f"The mesh has no faces, so there is nothing to write to {path}; extract at another isovalue.")
    for name, values in (("position", mesh.vertices), ("colour", mesh.colors), ("normal", mesh.normals)):
        if values is None:
            continue
        if values.shape != (len(mesh.vertices), 3):
            raise DataError(
                f"The mesh for {path} has {len(mesh.vertices)} vertices, but each {name} in a tensor of shape "
                f"{tuple(values.shape)}; give three numbers a vertex."
            )
        _check_finite(values, "Vertex", f"of the mesh for {path} has the {name}")
    if mesh.texture is not None:
        _check_finite(mesh.texture.coordinates.flatten(1), "Face", f"of the mesh for {path} has the texture's places")


def _check_finite(values: Tensor, part: str, has: str) -> None:
    sound = torch.isfinite(values.float()).all(dim=1)
    if not bool(sound.all()):
        first = int((~sound).nonzero()[0])
        raise DataError(f"{part} {first} {has} {values[first].tolist()}, which float32 can't hold; mend or remove it.")


def _y_up(mesh: Mesh) -> Mesh:
    """A quarter turn about x, exact."""

    def turned(vectors: Tensor | None) -> Tensor | None:
        return None if vectors is None else torch.stack([vectors[..., 0], vectors[..., 2], -vectors[..., 1]], dim=-1)

    texture = mesh.texture
    if texture is not None and texture.tangents is not None:
        tangents = torch.cat([turned(texture.tangents[..., :3]), texture.tangents[..., 3:]], dim=-1)
        texture = replace(texture, tangents=tangents)
    return replace(mesh, vertices=turned(mesh.vertices), normals=turned(mesh.normals), texture=texture)


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
        # numbers beyond measure are refused afterwards, in words
        with np.errstate(over="ignore", invalid="ignore"):
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
