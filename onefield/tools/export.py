"""``onefield export``: a run's surface as a mesh in the dataset's own coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.configs.runs import open_run
from onefield.errors import UsageError
from onefield.export.formats import EXPORTERS, export_mesh
from onefield.meshing.surface import extract_surface
from onefield.tools.output import say, show


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path = Path("mesh.glb"),
    resolution: int = 256,
    isovalue: float | None = None,
    faces: int | None = None,
    components: int | None = None,
    json: bool = False,
) -> None:
    """Extracts a run's surface with colours and writes it in the dataset's coordinates and units.

    Args:
        run: folder of the run.
        to: file to write, its suffix says the format (.glb, .ply, .obj, .stl); a bare name goes to RUN/export.
        resolution: samples along an edge of the region.
        isovalue: of the surface; chosen from the field by default.
        faces: simplify to about so many triangles.
        components: keep so many of the largest pieces; by default those with at least a hundredth of the largest.
        json: print the result as JSON.
    """
    if to.suffix.lower() not in EXPORTERS:
        from onefield.errors import nearest_name

        raise UsageError(f"Unknown format '{to.suffix}' of {to}: {nearest_name(to.suffix, tuple(EXPORTERS))}.")
    opened = open_run(run)
    path = opened.folder.export / to if to.parent == Path(".") else to
    say(f"step {opened.step} of {opened.folder.path}: extracting at {resolution} samples an edge")
    surface = extract_surface(
        opened.method.field,
        opened.scene,
        resolution=resolution,
        isovalue=isovalue,
        faces=faces,
        components=components,
    )
    export_mesh(surface.mesh, path)
    report = surface.report
    show(
        {"file": str(path), "isovalue": surface.isovalue, **report.as_json()},
        json,
        [
            f"{path}: {report.vertices} vertices, {report.faces} faces, {report.components} components, "
            f"watertight: {'yes' if report.watertight else 'no'}, manifold: {'yes' if report.manifold else 'no'}"
        ],
    )
