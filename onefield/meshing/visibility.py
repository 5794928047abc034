"""Which points of a surface cameras see: turned towards them, inside their pictures, and hidden by nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.kernels.rasterize import rasterize
from onefield.types import Mesh

# Surfaces seen at less than this cosine, 78 degrees off, show little but what is behind them.
LEAST_COSINE = 0.2
# Depth is rendered in at most so many pixels; what lies so many of them behind it is hidden.
_MOST_PIXELS, _BEHIND = 2**22, 2.0
# Tangent of the angle off the axis, 72 degrees, from which on a pinhole picture of depth grows without bounds.
_WIDEST = 3.0


@dataclass(frozen=True)
class SeenPoints:
    """The points of a surface that one camera sees.

    Attributes:
        indices: which these are.
        pixels: where in its picture.
        density: pixels on a unit of area of the surface, of the size that they have in the middle of the picture.
        directions: unit, from the camera to them.
    """

    indices: Int[Tensor, "m"]
    pixels: Float[Tensor, "m 2"]
    density: Float[Tensor, "m"]
    directions: Float[Tensor, "m 3"]


def seen_points(mesh: Mesh, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], camera: Cameras) -> SeenPoints:
    """The points that a camera sees at less than 78 degrees off their normal, and that the mesh does not hide from it.

    Args:
        mesh: what hides points.
        points: on the mesh.
        normals: unit, pointing out.
        camera: a batch of one, in the mesh's frame, with the lens's distortion.
    """
    pose, focal = camera.camera_to_world[0].double().cpu(), camera.focal[0].double().cpu()
    towards = points.double() - pose[:, 3]
    local = towards @ pose[:, :3]
    pixels, _ = camera.project(torch.tensor(0), points.double())
    distance = local.norm(dim=1)
    cosine = -(normals.double() * towards).sum(1) / distance
    flat = local[:, :2] / local[:, 2:]
    size = torch.stack([camera.width[0], camera.height[0]]).cpu()
    inside = ((pixels >= 0) & (pixels <= size)).all(1) & (local[:, 2] > 0) & (flat.abs() < _WIDEST).all(1)
    seen = (inside & (cosine > LEAST_COSINE)).nonzero()[:, 0]
    if len(seen):
        seen = seen[_unhidden(mesh, pose, focal, flat[seen], local[seen, 2], cosine[seen])]
    density = cosine[seen] * focal.prod() / distance[seen] ** 2
    return SeenPoints(seen, pixels[seen], density, (towards[seen] / distance[seen, None]).float())


def _unhidden(mesh: Mesh, pose: Tensor, focal: Tensor, flat: Tensor, depth: Tensor, cosine: Tensor) -> Tensor:
    """Whether nothing of the mesh lies before points, by a pinhole picture of its depth that just holds them."""
    low, high = flat.amin(0) * focal, flat.amax(0) * focal
    # a pixel of room on each side, for the four pixels around each point
    area = float((high - low + 2).prod())
    scale = min(1.0, (_MOST_PIXELS / area) ** 0.5)
    focal, low = focal * scale, low * scale - 1
    width, height = (int(side) + 3 for side in (high * scale - low).tolist())
    local = ((mesh.vertices.detach().double().cpu() - pose[:, 3]) @ pose[:, :3]).float()
    intrinsics = [*focal.tolist(), *(-low).tolist()]
    _, _, nearest = rasterize(local, mesh.faces.cpu(), intrinsics, width, height)
    nearest = torch.where(nearest > 0, nearest, torch.inf).double()
    corner = (flat * focal - low - 0.5).floor().long()
    margin = _BEHIND * depth / focal.mean() / cosine
    free = torch.ones(len(flat), dtype=torch.bool)
    for down in (0, 1):
        for right in (0, 1):
            column, row = (corner[:, 0] + right).clamp(0, width - 1), (corner[:, 1] + down).clamp(0, height - 1)
            free &= depth <= nearest[row, column] + margin
    return free
