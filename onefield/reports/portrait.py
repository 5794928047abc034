"""What a trained field looks like beyond its photos: depth, normals, and its surface from all sides."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from onefield.cameras import Cameras
from onefield.configs.runs import Run
from onefield.errors import OnefieldError
from onefield.meshing.preview import orbit_camera, render_preview, telling_views
from onefield.meshing.report import report_mesh
from onefield.reports.pictures import depth_colors, normal_colors
from onefield.training.surface import choose_extractor, method_surface
from onefield.types import Mesh

# Enough to see whether geometry is sound, at a small part of the time of a full view.
PICTURE_PIXELS = 30_000
VIEWS = 2
# Cells along an edge of the quick extraction, and views that it fuses where it does.
RESOLUTION = 80
FUSED_VIEWS = 30
MESH_SIDE = 300
# Name, azimuth and elevation in radians; the poles themselves have no upright picture.
SIDES = (
    *((f"{degrees}°", math.radians(degrees), 0.35) for degrees in (0, 90, 180, 270)),
    ("from above", 0.0, math.pi / 2 - 0.02),
    ("from below", 0.0, 0.02 - math.pi / 2),
)
# Visible on white and on black pages.
MESH_BACKGROUND = (0.87, 0.87, 0.87)

_logger = logging.getLogger("onefield.reports")
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class GeometryView:
    """Depth and normals of one view as colours.

    Attributes:
        depths: distances along rays that the darkest and the lightest colour stand for, in the data set's units; None
            where nothing is seen.
    """

    view: str
    depth: UInt8[np.ndarray, "H W 3"]
    depths: tuple[float, float] | None
    normal: UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Portrait:
    """Pictures of a field's geometry, each part possibly missing.

    Attributes:
        geometry: a few views.
        sides: the surface from all sides, with the name of the side.
        surface: sentences about the surface that is drawn, or about why there is none.
        trouble: a sentence for each part that could not be made.
    """

    geometry: tuple[GeometryView, ...] = ()
    sides: tuple[tuple[str, UInt8[np.ndarray, "H W 3"]], ...] = ()
    surface: tuple[str, ...] = ()
    trouble: tuple[str, ...] = field(default=())


def portray(run: Run, mesh: Mesh | None = None) -> Portrait:
    """Renders a trained run; a part that fails is left out and says why.

    Args:
        mesh: its surface in the run's frame, where it is known already; None extracts a coarse one.
    """
    trouble: list[str] = []
    indices = run.scene.test_indices if len(run.scene.test_indices) else run.scene.train_indices
    chosen = [int(indices[round(share * (len(indices) - 1))]) for share in np.linspace(0, 1, VIEWS)]
    views = [_tried(lambda i=i: geometry_view(run, i), trouble, "depth") for i in dict.fromkeys(chosen)]
    found = _tried(lambda: _surface(run) if mesh is None else (mesh, _described(mesh)), trouble, "the surface")
    sides = None if found is None else _tried(lambda: _from_all_sides(run, found[0]), trouble, "the surface")
    return Portrait(
        geometry=tuple(view for view in views if view is not None),
        sides=sides or (),
        surface=() if found is None else found[1],
        trouble=tuple(dict.fromkeys(trouble)),
    )


def geometry_view(run: Run, index: int) -> GeometryView:
    """Depth and normals of a view of the scene, small."""
    scene = run.scene
    camera = scene.cameras[[index]]
    pixels = int(camera.width) * int(camera.height)
    small = camera.scaled(min(1.0, math.sqrt(PICTURE_PIXELS / pixels)))
    image = run.method.renderer.render_image(
        run.method.field, small, 0, normals=True, limits=lambda rays: scene.limited(rays, small)
    )
    seen = image.opacity.cpu().double().numpy()
    picture, depths = depth_colors(image.depth.cpu().double().numpy(), seen)
    return GeometryView(
        view=scene.image_names[index],
        depth=picture,
        depths=None if depths is None else tuple(float(scene.transform.invert_distances(d)) for d in depths),
        normal=normal_colors(image.normal.cpu().double().numpy(), seen),
    )


def _surface(run: Run) -> tuple[Mesh, tuple[str, ...]]:
    choice = choose_extractor(run.method, run.scene)
    surface = method_surface(run.method, run.scene, choice, resolution=RESOLUTION, most_views=FUSED_VIEWS)
    notes = [f"A quick look with {RESOLUTION} cells along an edge; 'onefield export' takes 256 by default."]
    if surface.views:
        notes.append("It is open where no training view saw a surface, and at the border of the region of interest.")
    elif surface.clipped:
        notes.append("It reaches the border of the region of interest and was closed there.")
    return surface.mesh, (*_described(surface.mesh), *notes)


def _described(mesh: Mesh) -> tuple[str, ...]:
    return tuple(f"{line[0].upper()}{line[1:]}." for line in report_mesh(mesh).lines())


def _from_all_sides(run: Run, mesh: Mesh) -> tuple[tuple[str, UInt8[np.ndarray, "H W 3"]], ...]:
    cameras = {
        name: orbit_camera(mesh, width=MESH_SIDE, height=MESH_SIDE, azimuth=azimuth, elevation=elevation)
        for name, azimuth, elevation in SIDES
    }
    if choose_extractor(run.method, run.scene).extractor == "tsdf":
        cameras = _photo_cameras(run) | cameras
    return tuple(
        (name, eight_bit(render_preview(mesh, camera, background=MESH_BACKGROUND))) for name, camera in cameras.items()
    )


def _photo_cameras(run: Run) -> dict[str, Cameras]:
    """Where photos were taken from: of an open scene they show what it is, which other sides may not."""
    indices = run.scene.train_indices
    chosen = [int(indices[index]) for index in telling_views(run.scene.cameras[indices])]
    views = {f"as {run.scene.image_names[index]}": run.scene.cameras[[index]] for index in chosen}
    return {name: view.scaled(MESH_SIDE / float(view.height)) for name, view in views.items()}


def eight_bit(picture: Float[Tensor, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Colours in [0, 1] as bytes."""
    return (picture.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _tried(make: Callable[[], _Part], trouble: list[str], part: str) -> _Part | None:
    try:
        return make()
    except OnefieldError as error:
        trouble.append(f"No picture of {part}: {error}")
    except Exception as error:  # whatever it is, the rest of the page is worth having
        _logger.debug("No picture of %s.", part, exc_info=True)
        trouble.append(f"No picture of {part}: {type(error).__name__}: {error}")
    return None
