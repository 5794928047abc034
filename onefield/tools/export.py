"""``onefield export``: a run's surface as a mesh, or its Gaussians, in the dataset's coordinates or others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from onefield.configs.runs import Run, open_run
from onefield.data.crop import read_crop
from onefield.errors import UsageError, nearest_name
from onefield.export.arrays import picture_beside
from onefield.export.formats import MESH_FORMATS
from onefield.export.gaussian_formats import GAUSSIAN_FORMATS
from onefield.export.solids import SOLID_FORMATS
from onefield.files import require_place
from onefield.tools.gaussians import export_splats, wants_gaussians
from onefield.tools.mesh_options import AS_EXTRACTED, MeshOptions
from onefield.tools.output import say, show
from onefield.tools.solids import export_run_solid, wants_solid
from onefield.tools.surface import RESOLUTION, export_surface, write_surface_picture
from onefield.training.surface import Surface, choose_extractor
from onefield.types import Bounds

ExtractorName = Literal[
    "auto",
    "marching-cubes",
    "dual-marching-cubes",
    "adaptive-dual-marching-cubes",
    "dual-contouring",
    "flexicubes",
    "tsdf",
]


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path = Path("mesh.glb"),
    extractor: ExtractorName = "auto",
    resolution: int = RESOLUTION,
    isovalue: float | None = None,
    mesh: Annotated[MeshOptions, tyro.conf.arg(name="")] = AS_EXTRACTED,
    crop: bool = True,
    json: bool = False,
) -> None:
    """Extracts a run's surface with colours and writes it in the dataset's coordinates and units, or others.

    Args:
        run: folder of the run, or one above it for the newest.
        to: file to write, its suffix says the format (.glb, .ply, .obj, .stl, .usda; .html is a page in which
            it can be turned; .ply, .html, .splat, .spz and .splat.glb hold the Gaussians of a run that has some;
            .vtu and .msh hold the tetrahedra inside of a run of --method flexicubes, by the extra [solid]); a bare
            name goes to RUN/export.
        extractor: marching-cubes takes a level of the field's density, occupancy or distance; dual-marching-cubes too,
            with more regular triangles and rounder edges; adaptive-dual-marching-cubes, with large ones where it is
            flat; dual-contouring, with sharp edges; tsdf fuses the depth that the training views see, and leaves open
            what none of them saw; flexicubes is the mesh that a run of --method flexicubes has trained; auto takes that
            where there is one, tsdf for densities of open scenes, else marching-cubes.
        resolution: cells along an edge of the region of interest; tsdf takes as many in all for what the views see, and
            flexicubes has those it was trained with.
        isovalue: of the level set; chosen from the field by default.
        mesh: what to make of the surface.
        crop: cut to the box that the viewer saved in RUN/crop.json, if there is one.
        json: print the result as JSON.
    """
    formats = tuple(MESH_FORMATS | GAUSSIAN_FORMATS | SOLID_FORMATS)
    if to.suffix.lower() not in formats:
        raise UsageError(f"Unknown format '{to.suffix}' of {to}: {nearest_name(to.suffix, formats)}.")
    mesh.check_texture(to)
    opened = open_run(run)
    path = opened.folder.exports / to if to.parent == Path(".") else to
    require_place(path.parent)
    if wants_solid(path):
        _show_solid(opened, path, mesh, json)
        return
    bounds = _crop_of(opened) if crop else None
    if wants_gaussians(opened, path):
        _show_gaussians(opened, path, bounds, json)
        return
    choice = choose_extractor(opened.method, opened.scene, extractor, isovalue)
    doing = "its own mesh" if choice.extractor == "flexicubes" else f"extracting with {resolution} cells along an edge"
    say(f"step {opened.step} of {opened.folder.path}: {doing}")
    say(f"by {_NAMES[choice.extractor]}: {choice.reason}")
    exported = export_surface(
        opened, path, choice, bounds=bounds, resolution=resolution, isovalue=isovalue, options=mesh
    )
    picture = picture_beside(path, "preview")
    write_surface_picture(opened, exported.surface, picture)
    say_borders(exported.surface, "region of interest" if bounds is None else "crop")
    say_axes(opened, mesh)
    facts = {"extractor": choice.extractor, "reason": choice.reason, "isovalue": exported.surface.isovalue}
    facts |= {"clipped": exported.surface.clipped, "views": exported.surface.views}
    result = {"file": str(path), "picture": str(picture)} | facts
    show(result | exported.report.as_json(), json, [f"{path}", *exported.report.lines(), f"drawn in {picture}"])


# Cosine of the angle between up and the z axis that nobody notices: 2.5 degrees.
UPRIGHT = 0.999
_NAMES = {
    "marching-cubes": "marching cubes",
    "dual-marching-cubes": "dual marching cubes",
    "adaptive-dual-marching-cubes": "adaptive dual marching cubes",
    "dual-contouring": "dual contouring",
    "flexicubes": "FlexiCubes",
    "tsdf": "TSDF fusion of rendered depth",
}


def _crop_of(opened: Run) -> Bounds | None:
    if not opened.folder.crop.exists():
        return None
    say(f"cut to the box of {opened.folder.crop}; --no-crop exports everything")
    return read_crop(opened.folder.crop, opened.scene.transform)


def _show_gaussians(opened: Run, path: Path, bounds: Bounds | None, json: bool) -> None:
    written, count = export_splats(opened, path, bounds)
    result = {"file": str(path), "gaussians": count, "bytes": written.size, "notes": list(written.notes)}
    show(result, json, [f"{path}: {count:,} Gaussians, {written.size / 2**20:.1f} MiB"])


def _show_solid(opened: Run, path: Path, options: MeshOptions, json: bool) -> None:
    written, solid = export_run_solid(opened, path, options)
    volume = float(solid.volumes().sum())
    result = {"file": str(path), "tetrahedra": len(solid.tetrahedra), "volume": volume, "bytes": written.size}
    show(result, json, [f"{path}: {len(solid.tetrahedra):,} tetrahedra, volume {volume:.4g}"])


def say_axes(opened: Run, options: MeshOptions) -> None:
    """Says how to get a mesh upright whose dataset's z axis is not up."""
    up = opened.scene.transform.rotation[2]
    if options.up == "dataset" and float(up[2]) < UPRIGHT:
        axis = int(up.abs().argmax())
        name = ("" if float(up[axis]) > 0 else "-") + "xyz"[axis]
        say(f"the dataset's {name} axis is up, or nearly, and the mesh keeps its axes; --up z turns it upright")


def say_borders(surface: Surface, region: str) -> None:
    """Says where a surface ends though the scene goes on."""
    if surface.views:
        say("the mesh is open where the training views saw too little of a surface, and where it is cut")
    elif surface.clipped:
        say(f"the surface reaches the border of the {region} and was closed there")
