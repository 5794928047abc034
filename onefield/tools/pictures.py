"""Pictures of meshes, to look at what was made."""

from __future__ import annotations

from pathlib import Path

import torch

from onefield.data.images import write_image
from onefield.meshing.preview import orbit_camera, render_preview
from onefield.types import Mesh

PICTURE_SIZE = 480


def write_mesh_picture(path: Path, mesh: Mesh) -> None:
    """Draws a mesh from two opposite sides, one beside the other."""
    views = []
    for azimuth in (0.6, 0.6 + torch.pi):
        camera = orbit_camera(mesh, width=PICTURE_SIZE, height=PICTURE_SIZE, azimuth=azimuth)
        views.append(render_preview(mesh, camera))
    write_image(path, torch.cat(views, dim=1))
