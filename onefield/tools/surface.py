"""From a trained run to a mesh file in the dataset's own coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from onefield.configs.runs import Run
from onefield.errors import OnefieldError
from onefield.export.arrays import picture_beside
from onefield.export.formats import export_mesh
from onefield.files import make_folder
from onefield.meshing.geometry import transformed
from onefield.meshing.report import MeshReport, report_mesh
from onefield.tools.mesh_options import AS_EXTRACTED, FEWER_FACES, FEWEST_FACES, MeshOptions
from onefield.tools.output import TasksDisplay, ViewsDisplay, say
from onefield.tools.pictures import write_mesh_picture
from onefield.training.surface import Choice, Surface, choose_extractor, color_reach, method_surface, simplified
from onefield.training.texturing import textured
from onefield.types import Bounds, Mesh

# Cells along an edge of the region of interest.
RESOLUTION = 256


@dataclass(frozen=True)
class Exported:
    """An exported surface.

    Attributes:
        surface: its mesh is in the run's frame, for pictures by its cameras.
        report: of the mesh as it was written, before z up became y up where that was asked for.
    """

    surface: Surface
    report: MeshReport


def export_surface(
    opened: Run,
    path: Path,
    choice: Choice,
    *,
    bounds: Bounds | None = None,
    resolution: int = RESOLUTION,
    isovalue: float | None = None,
    options: MeshOptions = AS_EXTRACTED,
) -> Exported:
    """Extracts the surface of a run, cleans and colours it, and writes it in the dataset's coordinates and units.

    Args:
        path: file to write; its suffix says the format.
        choice: how to extract it.
        bounds: box of the scene's frame to extract in; None takes the region of interest.
        resolution: cells along an edge of the region of interest.
        isovalue: None chooses one from the field.
        options: what to make of the surface.

    Raises:
        DataError: there is no surface.
        ResourceError: it takes more than the memory that is available.
    """
    with ViewsDisplay("depth of view") as display:
        surface = method_surface(
            opened.method,
            opened.scene,
            choice,
            bounds=bounds,
            resolution=resolution,
            isovalue=isovalue,
            faces=options.face_count,
            smallest=options.smallest,
            holes=options.holes,
            observe=display,
        )
    make_folder(path.parent)
    placement = options.placement(opened.scene.transform)
    for number, mesh in enumerate(_levels(opened, surface, options, color_reach(opened.scene, resolution))):
        file = path if number == 0 else path.with_name(f"{path.stem}-lod{number}{path.suffix}")
        placed = transformed(mesh, placement)
        export_mesh(placed, file, options.file_up)
        if file.parent == opened.folder.exports:
            opened.folder.write_placement(file.name, options.read_back(placement, file.suffix).tolist())
        if number == 0:
            surface, report = replace(surface, mesh=mesh), report_mesh(placed)
        else:
            say(f"level of detail {number}: {len(mesh.faces):,} faces in {file}")
    return Exported(surface, report)


def _levels(opened: Run, surface: Surface, options: MeshOptions, reach: float) -> Iterator[Mesh]:
    """The surface as it is taken home, and its levels of fewer and fewer faces."""
    detailed = surface.mesh if surface.detailed is None else surface.detailed
    for number in range(options.levels):
        mesh = surface.mesh
        if number:
            fewer = max(FEWEST_FACES, len(mesh.faces) // FEWER_FACES**number)
            mesh = simplified(mesh, fewer, options.smallest, options.holes)
        settings = options.texture_settings(number)
        if settings is not None:
            with TasksDisplay() as display:
                mesh = textured(opened.method, opened.scene, mesh, detailed, settings, reach, display)
        yield mesh


def exported_if_any(opened: Run, path: Path, resolution: int = RESOLUTION) -> Exported | None:
    """Exports the surface with a picture of it; one that can't be had becomes a warning, for the run is worth more."""
    try:
        exported = export_surface(opened, path, choose_extractor(opened.method, opened.scene), resolution=resolution)
        write_surface_picture(opened, exported.surface, picture_beside(path, "preview"))
    except OnefieldError as error:
        say(f"warning: no mesh: {error}")
        return None
    return exported


def write_surface_picture(opened: Run, surface: Surface, path: Path) -> None:
    """Draws a surface: one that was fused from views as some of them see it, else from two opposite sides."""
    seen_by = opened.scene.cameras[opened.scene.train_indices] if surface.views else None
    write_mesh_picture(path, surface.mesh, seen_by)
