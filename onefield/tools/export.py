"""``onefield export``: a run's surface as a mesh, or its Gaussians, in the dataset's own coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.configs.runs import open_run
from onefield.data.crop import read_crop
from onefield.errors import UsageError, nearest_name
from onefield.export.formats import MESH_FORMATS
from onefield.export.gaussian_formats import GAUSSIAN_FORMATS
from onefield.tools.gaussians import export_splats, wants_gaussians
from onefield.tools.output import say, show
from onefield.tools.pictures import write_mesh_picture
from onefield.tools.surface import RESOLUTION, SMALLEST_COMPONENT, export_surface, picture_of


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path = Path("mesh.glb"),
    resolution: int = RESOLUTION,
    isovalue: float | None = None,
    faces: int | None = None,
    smallest: float = SMALLEST_COMPONENT,
    crop: bool = True,
    json: bool = False,
) -> None:
    """Extracts a run's surface with colours and writes it in the dataset's coordinates and units.

    Args:
        run: folder of the run, or one above it for the newest.
        to: file to write, its suffix says the format (.glb, .ply, .obj, .stl; .html is a page in which
            the mesh can be turned; .ply, .splat and .spz hold the Gaussians of a run that has some);
            a bare name goes to RUN/export.
        resolution: cells along an edge of the region of interest.
        isovalue: of the surface; chosen from the field by default.
        faces: simplify to about so many triangles.
        smallest: drop pieces below this share of the largest one's area.
        crop: cut to the box that the viewer saved in RUN/crop.json, if there is one.
        json: print the result as JSON.
    """
    formats = tuple(MESH_FORMATS | GAUSSIAN_FORMATS)
    if to.suffix.lower() not in formats:
        raise UsageError(f"Unknown format '{to.suffix}' of {to}: {nearest_name(to.suffix, formats)}.")
    opened = open_run(run)
    path = opened.folder.exports / to if to.parent == Path(".") else to
    splats, bounds = wants_gaussians(opened, path), opened.scene.bounds
    cropped = crop and opened.folder.crop.exists()
    if cropped:
        bounds = read_crop(opened.folder.crop, opened.scene.transform)
        say(f"cut to the box of {opened.folder.crop}; --no-crop exports everything")
    if splats:
        written, count = export_splats(opened, path, bounds if cropped else None)
        result = {"file": str(path), "gaussians": count, "bytes": written.size, "notes": list(written.notes)}
        show(result, json, [f"{path}: {count:,} Gaussians, {written.size / 2**20:.1f} MiB"])
        return
    say(f"step {opened.step} of {opened.folder.path}: extracting with {resolution} cells along an edge")
    surface = export_surface(
        opened, path, bounds=bounds, resolution=resolution, isovalue=isovalue, faces=faces, smallest=smallest
    )
    picture = picture_of(path)
    write_mesh_picture(picture, surface.normalised)
    if surface.clipped:
        region = "region of interest" if bounds == opened.scene.bounds else "crop"
        say(f"the surface reaches the border of the {region} and was closed there")
    result = {"file": str(path), "picture": str(picture), "isovalue": surface.isovalue, "clipped": surface.clipped}
    show(result | surface.report.as_json(), json, [f"{path}", *surface.report.lines(), f"drawn in {picture}"])
