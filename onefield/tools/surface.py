"""From a trained run to a mesh file in the dataset's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onefield.configs.runs import Run
from onefield.errors import OnefieldError
from onefield.export.formats import export_mesh
from onefield.files import make_folder
from onefield.kernels.system import memory_available
from onefield.meshing.cleanup import decimate, keep_large_components, remove_degenerate_faces
from onefield.meshing.colors import color_vertices
from onefield.meshing.geometry import transformed
from onefield.meshing.marching_cubes import extract, suggest_isovalue
from onefield.meshing.report import MeshReport, report_mesh
from onefield.tools.output import say
from onefield.tools.pictures import write_mesh_picture
from onefield.types import Bounds, Mesh

# Cells along an edge of the region of interest.
RESOLUTION = 256
# Floaters of a radiance field are far smaller than a hundredth of what was photographed.
SMALLEST_COMPONENT = 0.01


@dataclass(frozen=True)
class Surface:
    """An exported surface.

    Attributes:
        normalised: in the run's frame, for pictures by its cameras.
        report: of the mesh as it was written.
        clipped: the surface reached the region's border and was closed there.
    """

    normalised: Mesh
    report: MeshReport
    isovalue: float
    clipped: bool


def export_surface(
    opened: Run,
    path: Path,
    *,
    bounds: Bounds | None = None,
    resolution: int = RESOLUTION,
    isovalue: float | None = None,
    faces: int | None = None,
    smallest: float = SMALLEST_COMPONENT,
) -> Surface:
    """Extracts the surface of a run, cleans and colours it, and writes it in the dataset's coordinates and units.

    Args:
        path: file to write; its suffix says the format.
        bounds: box of the scene's frame to extract in; None takes the region of interest.
        resolution: cells along an edge of the region of interest.
        isovalue: None chooses one from the field.
        faces: simplify to about so many; None keeps all.
        smallest: pieces below this share of the largest one's area are dropped.

    Raises:
        DataError: there is no surface at the isovalue.
        ResourceError: the grid takes more than half of the memory that is available.
    """
    field, region = opened.method.field, opened.scene.bounds
    # a crop must not move the surface: its level is that of the whole, and its cells are as large
    level = suggest_isovalue(field, bounds=region) if isovalue is None else isovalue
    if bounds is not None:
        resolution = max(1, round(resolution * max(bounds.extent) / max(region.extent)))
    # the mesh and its colours take about as much again as the grid
    box = region if bounds is None else bounds
    extraction = extract(
        field, resolution=resolution, isovalue=level, bounds=box, memory_budget=memory_available() // 2
    )
    mesh = keep_large_components(remove_degenerate_faces(extraction.mesh), smallest)
    if faces is not None:
        mesh = decimate(mesh, faces)
    mesh = color_vertices(mesh, field)
    make_folder(path.parent)
    export_mesh(transformed(mesh, opened.scene.transform.inverse().matrix), path)
    return Surface(mesh, report_mesh(mesh), level, extraction.clipped)


def exported_if_any(opened: Run, path: Path, resolution: int = RESOLUTION) -> Surface | None:
    """Exports the surface with a picture of it; one that can't be had becomes a warning, for the run is worth more."""
    try:
        surface = export_surface(opened, path, resolution=resolution)
        write_mesh_picture(picture_of(path), surface.normalised)
    except OnefieldError as error:
        say(f"warning: no mesh: {error}")
        return None
    return surface


def picture_of(path: Path) -> Path:
    """Where the picture of a mesh file goes."""
    return path.with_name(f"{path.stem}-preview.png")
