"""``onefield view``: a run, a mesh or a set of Gaussians in the browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.configs.runs import Run, open_run
from onefield.errors import DataError, UsageError, nearest_name
from onefield.export.formats import MESH_FORMATS, read_mesh
from onefield.export.gaussian_formats import GAUSSIAN_FORMATS, holds_gaussians, read_gaussians
from onefield.tools.compiling import announce_compilation
from onefield.tools.output import say
from onefield.viewing.gate import LOCAL, Gate
from onefield.viewing.objects import show_gaussians, show_mesh
from onefield.viewing.page import FieldPage
from onefield.viewing.pictures import FieldPainter
from onefield.viewing.server import serving

if TYPE_CHECKING:
    import viser

# A file is drawn by the browser: nothing is left to do here but to wait.
_NAP_SECONDS = 0.5


def run_command(
    what: Annotated[Path, tyro.conf.Positional],
    /,
    gate: Annotated[Gate, tyro.conf.arg(name="")] = LOCAL,
) -> None:
    """Opens a page in which a run's field or a mesh can be looked at from all sides; Ctrl-C closes it.

    Args:
        what: folder of a run, or one above it for the newest; or a mesh file (.glb, .ply, .obj, .stl),
            or a file of Gaussians (.ply, .splat, .spz, .glb).
        gate: where the page is, and who may open it.
    """
    try:
        gate.check()
        if what.is_file() and holds_gaussians(what):
            view_gaussians(what, gate)
        elif what.is_file():
            view_mesh(what, gate)
        else:
            view_run(what, gate)
    except KeyboardInterrupt:
        say("closed")


def view_run(path: Path, gate: Gate) -> None:
    """Shows a run's field until it is interrupted.

    Raises:
        DataError: there is no run, or a broken one.
        ResourceError: the port is in use.
    """
    opened = open_run(path)
    announce_compilation()
    scores = [record.get("held_out_psnr") for record in opened.folder.read_metrics()]
    with serving(gate, f"{opened.scene.name} · {opened.method.name}") as server:
        page = field_page(server, opened)
        page.training.show(opened.step, scores[-1] if scores else None)
        say(f"step {opened.step} of {opened.folder.path}: open {gate.page} (Ctrl-C closes)")
        page.serve_until(lambda: False)


def field_page(server: viser.ViserServer, opened: Run, training: bool = False) -> FieldPage:
    """Fills a server's page with a run's field; ``training`` says that someone calls the page's ``after_step``."""
    painter = FieldPainter(opened.method, opened.scene)
    if not training:
        painter.warm_up()
    return FieldPage(server, painter, opened.scene, opened.folder, training=training)


def view_gaussians(path: Path, gate: Gate) -> None:
    """Shows a file of Gaussians until it is interrupted.

    Raises:
        DataError: the file can't be read.
        ResourceError: the port is in use.
    """
    gaussians = read_gaussians(path)
    with serving(gate, path.name) as server:
        show_gaussians(server, gaussians)
        say(f"{path}, {len(gaussians):,} Gaussians: open {gate.page} (Ctrl-C closes)")
        while True:
            time.sleep(_NAP_SECONDS)


def view_mesh(path: Path, gate: Gate) -> None:
    """Shows a mesh file until it is interrupted.

    Raises:
        UsageError: no format of meshes has the suffix.
        DataError: the file can't be read, or holds no faces.
        ResourceError: the port is in use.
    """
    if path.suffix.lower() not in MESH_FORMATS:
        nearest = nearest_name(path.suffix, tuple(MESH_FORMATS | GAUSSIAN_FORMATS))
        raise UsageError(f"{path} is neither a run's folder nor a mesh nor a set of Gaussians: {nearest}.")
    mesh = read_mesh(path)
    if not len(mesh.faces):
        raise DataError(f"{path} has no faces to show; export it again at another isovalue.")
    with serving(gate, path.name) as server:
        show_mesh(server, mesh)
        say(f"{path}, {len(mesh.faces):,} faces: open {gate.page} (Ctrl-C closes)")
        while True:
            time.sleep(_NAP_SECONDS)
