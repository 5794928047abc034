"""Pictures of meshes, to look at what was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.images import write_image
from onefield.meshing.preview import orbit_camera, render_preview, telling_views
from onefield.types import Mesh

PICTURE_SIZE = 480


def write_mesh_picture(path: Path, mesh: Mesh, cameras: Cameras | None = None, up: str = "z") -> None:
    """Draws a mesh from two sides, one beside the other.

    Args:
        cameras: those whose sides they are, for surfaces that only photos' views tell front from back; None looks from
            two opposite sides.
        up: axis of the mesh's frame that points up in the picture, such as "-y"; without cameras.
    """
    if cameras is None or not len(cameras):
        mesh = _upright(mesh, up)
        azimuths = (0.6, 0.6 + torch.pi)
        views = [orbit_camera(mesh, width=PICTURE_SIZE, height=PICTURE_SIZE, azimuth=azimuth) for azimuth in azimuths]
    else:
        chosen = [cameras[[index]] for index in telling_views(cameras)]
        # all as high, to stand side by side
        views = [
            camera.resized(round(PICTURE_SIZE * int(camera.width) / int(camera.height)), PICTURE_SIZE)
            for camera in chosen
        ]
    write_image(path, torch.cat([render_preview(mesh, view) for view in views], dim=1))


def write_rows(path: Path, rows: Sequence[Sequence[Float[Tensor, "H W c"]]]) -> None:
    """Pictures of one size side by side, row under row; rows of equal length."""
    write_image(path, torch.cat([torch.cat(list(row), dim=1) for row in rows]))


def _upright(mesh: Mesh, up: str) -> Mesh:
    """The mesh with an axis of its frame turned to z."""
    axis = "xyz".index(up[-1])
    first, second = torch.eye(3, dtype=torch.float64)[[(axis + 1) % 3, (axis + 2) % 3]]
    if up.startswith("-"):
        first, second = second, first
    turn = torch.stack((first, second, torch.linalg.cross(first, second)))
    normals = None if mesh.normals is None else mesh.normals @ turn.T.to(mesh.normals)
    return replace(mesh, vertices=mesh.vertices @ turn.T.to(mesh.vertices), normals=normals)
