"""From a trained run to a file of tetrahedra in the dataset's own coordinates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from onefield.configs.runs import Run
from onefield.errors import UsageError
from onefield.export.formats import Export
from onefield.export.solids import SOLID_FORMATS, export_solid, solid_library
from onefield.fields.flexicubes import FlexiCubesField
from onefield.fields.shaded_surface import ShadedSurface
from onefield.files import make_folder
from onefield.tools.mesh_options import AS_EXTRACTED, Y_UP, MeshOptions
from onefield.types import TetrahedralMesh


def wants_solid(path: Path) -> bool:
    """Whether a file is to hold a solid rather than a surface."""
    return path.suffix.lower() in SOLID_FORMATS


@torch.no_grad()
def export_run_solid(opened: Run, path: Path, options: MeshOptions) -> tuple[Export, TetrahedralMesh]:
    """Writes what a run's FlexiCubes enclose as tetrahedra, in the dataset's coordinates and units or others.

    Args:
        options: axis that is up, and scale; the others are about surfaces.

    Raises:
        UsageError: a run of something else than FlexiCubes, or options about surfaces.
        ResourceError: meshio is not installed, or the file can't be written.
    """
    solid_library()
    field = opened.method.field
    grid = field.grid if isinstance(field, ShadedSurface) else field
    if not isinstance(grid, FlexiCubesField):
        raise UsageError(
            f"{path.name} is to hold a solid, which runs of --method flexicubes on a grid have; {opened.folder.path} "
            f"has {type(grid).__name__}; write its surface to .glb, .ply, .obj, .stl or .usda."
        )
    if replace(options, up=AS_EXTRACTED.up, scale=AS_EXTRACTED.scale) != AS_EXTRACTED:
        raise UsageError(f"{path.name} is to hold a solid, for which only --up and --scale can be chosen.")
    placement = options.placement(opened.scene.transform)
    if options.file_up == "y":
        placement = torch.tensor(Y_UP, dtype=torch.float64) @ placement
    solid = grid.solid()
    placed = replace(solid, vertices=solid.vertices.double() @ placement[:3, :3].T + placement[:3, 3])
    make_folder(path.parent)
    return export_solid(placed, path), placed
