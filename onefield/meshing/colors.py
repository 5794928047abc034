"""Colours of a mesh's vertices, asked from a field."""

from __future__ import annotations

from dataclasses import replace

import torch

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.meshing.geometry import vertex_normals
from onefield.types import Mesh


def color_vertices(mesh: Mesh, field: Field, *, chunk: int = 2**18) -> Mesh:
    """The mesh with a colour at each vertex.

    Args:
        mesh: vertices in the field's frame.
        field: provides color; where that depends on the direction, each vertex is looked at along its inward normal,
            as an eye straight above the surface sees it. Asked on its own device, without gradients.
        chunk: vertices a query.

    Returns:
        Colours clamped to [0, 1], float32, on the vertices' device.

    Raises:
        UsageError: the field has no color.
    """
    if "color" not in field.provides:
        raise UsageError(
            f"{type(field).__name__} provides {', '.join(sorted(field.provides))} but no color; export without colours."
        )
    if not mesh.vertices.shape[0]:
        return replace(mesh, colors=torch.zeros(0, 3))
    tensor = next(iter(field.parameters()), next(iter(field.buffers()), None))
    device = torch.device("cpu") if tensor is None else tensor.device
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    colors = []
    with torch.no_grad():
        for points, outward in zip(mesh.vertices.float().split(chunk), normals.split(chunk), strict=True):
            answer = field.query(points.to(device), directions=-outward.float().to(device), want=("color",))
            colors.append(answer.color.float().clamp(0, 1).to(mesh.vertices.device))
    return replace(mesh, colors=torch.cat(colors))
