"""Colours of a mesh's vertices and of other points of a surface, asked from a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.meshing.geometry import vertex_normals
from onefield.meshing.visibility import seen_points
from onefield.types import Mesh

# A density is looked into from one reach above the surface to two below, in as many steps.
_STEPS = 9
_ABOVE, _BELOW = 1.0, 2.0
# Less than this of the light comes from a density that is hardly there: the colour at the vertex stands for it.
_LEAST_OPACITY = 0.01


def color_vertices(mesh: Mesh, field: Field, *, reach: float = 0.0, chunk: int = 2**16) -> Mesh:
    """The mesh with a colour at each vertex.

    Args:
        mesh: vertices in the field's frame.
        field: provides color; where that depends on the direction, each vertex is looked at along its inward normal,
            as an eye straight above the surface sees it. Asked on its own device, without gradients.
        reach: how deep a density is looked into, world units: what it shows an eye above the surface comes from around
            a level set rather than from it, where it is thin and its colour hardly mattered. 0 asks at the vertices.
        chunk: vertices at a time.

    Returns:
        Colours clamped to [0, 1], float32, on the vertices' device.

    Raises:
        UsageError: the field has no color.
    """
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    return replace(mesh, colors=color_points(field, mesh.vertices, -normals, reach=reach, chunk=chunk))


def color_points(
    field: Field,
    points: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    *,
    reach: float = 0.0,
    chunk: int = 2**16,
) -> Float[Tensor, "n 3"]:
    """Colours of points of a surface as an eye sees them.

    Args:
        directions: unit, along which the eye looks.
        reach: how far around a point a density is looked into, as of `color_vertices`.

    Raises:
        UsageError: the field has no color.
    """
    if "color" not in field.provides:
        raise UsageError(
            f"{type(field).__name__} provides {', '.join(sorted(field.provides))} but no color; export without colours."
        )
    if not len(points):
        return torch.zeros(0, 3)
    tensor = next(iter(field.parameters()), next(iter(field.buffers()), None))
    device = torch.device("cpu") if tensor is None else tensor.device
    gathered = reach > 0 and "density" in field.provides
    colors = []
    with torch.no_grad():
        for part, along in zip(points.float().split(chunk), directions.float().split(chunk), strict=True):
            place, along = part.to(device), along.to(device)
            color = _composited(field, place, along, reach) if gathered else _at(field, place, along)
            colors.append(color.clamp(0, 1).to(points.device))
    return torch.cat(colors)


def color_as_seen(
    mesh: Mesh,
    field: Field,
    points: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    cameras: Cameras,
    *,
    reach: float = 0.0,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "n 3"]:
    """Means of the colours that a field shows at points of a surface to the cameras that see them.

    Along one direction a field of radiance shows the light of one view, and along those from which no photo was taken,
    such as most normals, a guess. Of what changes with the direction a mean is the nearest to all views.

    Args:
        mesh: what hides points.
        points: on the mesh.
        normals: unit, pointing out; points that no camera sees are seen along their inward normals.
        cameras: in the mesh's frame, those that the field was trained on.
        reach: as of `color_vertices`.
        observe: told how many cameras are done.

    Raises:
        UsageError: the field has no color.
    """
    total, count = torch.zeros(len(points), 3), torch.zeros(len(points), 1)
    observe(0, len(cameras))
    for number in range(len(cameras)):
        seen = seen_points(mesh, points, normals, cameras[[number]])
        total[seen.indices] += color_points(field, points[seen.indices], seen.directions, reach=reach)
        count[seen.indices] += 1
        observe(number + 1, len(cameras))
    unseen = count[:, 0] == 0
    total[unseen] = color_points(field, points[unseen], -normals[unseen], reach=reach)
    return total / count.clamp(min=1)


def _at(field: Field, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    return field.query(points, directions=directions, want=("color",)).color.float()


def _composited(
    field: Field, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], reach: float
) -> Float[Tensor, "n 3"]:
    """Colours composited along short rays into the surface, as a volume is rendered, without what lies behind."""
    length = (_ABOVE + _BELOW) * reach / _STEPS
    total, left = torch.zeros_like(points), points.new_ones(len(points))
    for step in range(_STEPS):
        depth = (step + 0.5) * length - _ABOVE * reach
        answer = field.query(points + depth * directions, directions=directions, want=("density", "color"))
        shown = left * -torch.expm1(-answer.density.float() * length)
        total += shown[:, None] * answer.color.float()
        left = left - shown
    opacity = 1 - left
    solid = opacity > _LEAST_OPACITY
    mean = total / torch.where(solid, opacity, 1.0)[:, None]
    return torch.where(solid[:, None], mean, _at(field, points, directions))
