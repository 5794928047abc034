"""Files of solids: tetrahedra for simulation and meshing programs (ParaView, Gmsh, FEniCS), through meshio."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from onefield.errors import UsageError, nearest_name
from onefield.export.formats import Export
from onefield.extras import extra_library
from onefield.files import write_atomically
from onefield.types import TetrahedralMesh

# by suffix, meshio's names: VTK's unstructured grid in XML, and Gmsh's mesh of version 4.1
SOLID_FORMATS = {".msh": "gmsh", ".vtu": "vtu"}


def export_solid(solid: TetrahedralMesh, path: str | os.PathLike[str]) -> Export:
    """Writes tetrahedra; the suffix says the format.

    Raises:
        UsageError: another format than .msh or .vtu, or no tetrahedra.
        ResourceError: meshio is not installed, or the file can't be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SOLID_FORMATS:
        raise UsageError(f"Unknown format '{path.suffix}' of {path}: {nearest_name(suffix, tuple(SOLID_FORMATS))}.")
    meshio = solid_library()
    if len(solid.tetrahedra) == 0:
        raise UsageError("The solid has no tetrahedra, so there is nothing to write.")
    points = solid.vertices.detach().double().cpu().numpy()
    cells = [("tetra", solid.tetrahedra.cpu().numpy().astype(np.int64))]
    with tempfile.TemporaryDirectory() as folder:
        # meshio opens its files itself, by name
        whole = Path(folder) / f"solid{suffix}"
        meshio.Mesh(points, cells).write(whole, file_format=SOLID_FORMATS[suffix])
        write_atomically(path, whole.read_bytes())
    return Export(path, path.stat().st_size, ())


def solid_library() -> ModuleType:
    """meshio, which writes solids.

    Raises:
        ResourceError: it is not installed.
    """
    return extra_library("meshio", "solid", "A file of a solid")
