"""Normals of a detailed surface for the texture of a simpler one, in the frame of tangent, bitangent and normal."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.geometry import vertex_normals
from onefield.meshing.texture import Texels
from onefield.types import Mesh

# Normals farther than this off the simple surface's, 84 degrees, come from another side of something thin.
_LEAST_COSINE = 0.1
_CHUNK = 2**18


def corner_tangents(mesh: Mesh, coordinates: Float[Tensor, "F 3 2"]) -> Float[Tensor, "F 3 4"]:
    """Tangents of `onefield.types.Texture`: of a face the direction in which the picture's x grows.

    Corners at one vertex and one place of the texture share the mean over their faces, by the angles of the corners,
    made perpendicular to the vertex's normal.

    Args:
        mesh: with normals at its vertices.
        coordinates: of `onefield.meshing.atlas.unwrap`.
    """
    faces = mesh.faces.cpu().long()
    corners = mesh.vertices.detach().cpu().double()[faces]
    edges, steps = corners[:, 1:] - corners[:, :1], coordinates[:, 1:].double() - coordinates[:, :1].double()
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 1, 0] * steps[:, 0, 1]
    tangent = edges[:, 0] * steps[:, 1, 1:] - edges[:, 1] * steps[:, 0, 1:]
    tangent = torch.nn.functional.normalize(tangent * area.sign()[:, None], dim=1)
    # y runs down in pictures: charts that are not mirrored have negative area
    sign = torch.where(area > 0, -1.0, 1.0).double()
    ahead = torch.nn.functional.normalize(corners.roll(-1, 1) - corners, dim=-1)
    back = torch.nn.functional.normalize(corners.roll(1, 1) - corners, dim=-1)
    angles = torch.arccos((ahead * back).sum(-1).clamp(-1, 1))
    places = coordinates.double().reshape(-1, 2)
    keys = torch.cat([faces.reshape(-1, 1).double(), places, sign.repeat_interleave(3)[:, None]], dim=1)
    _, group = torch.unique(keys, dim=0, return_inverse=True)
    total = torch.zeros(int(group.max()) + 1, 3, dtype=torch.float64)
    total.index_add_(0, group, (tangent[:, None] * angles[..., None]).reshape(-1, 3))
    normals = mesh.normals.cpu().double()[faces].reshape(-1, 3)
    upright = total[group] - (total[group] * normals).sum(1, keepdim=True) * normals
    upright = torch.where(upright.norm(dim=1, keepdim=True) > 0, upright, _any_across(normals))
    unit = torch.nn.functional.normalize(upright, dim=1)
    return torch.cat([unit, sign.repeat_interleave(3)[:, None]], dim=1).reshape(-1, 3, 4).float()


def _any_across(normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Some vector perpendicular to each normal, where faces without area give none."""
    axis = torch.nn.functional.one_hot(normals.abs().argmin(1), 3).to(normals)
    return torch.linalg.cross(normals, axis)


def tangent_normals(
    mesh: Mesh, tangents: Float[Tensor, "F 3 4"], texels: Texels, detailed: Mesh
) -> Float[Tensor, "n 3"]:
    """The normals of a detailed mesh at the points nearest to texels, as values of a normal map in [0, 1].

    Args:
        mesh: that the texels lie on, with normals.
        tangents: of `corner_tangents`.
        texels: of the mesh.
        detailed: the same surface, in the same frame.

    Returns:
        ``(n + 1) / 2`` along tangent, bitangent and normal; the mesh's own normal where the detailed one is that of
        another side.
    """
    outward = texels.normals
    wanted = detailed_normals(texels.points, detailed)
    own = (wanted * outward).sum(1) > _LEAST_COSINE
    wanted = torch.where(own[:, None], wanted, outward)
    chosen = tangents[texels.faces]
    along = (chosen[..., :3] * texels.weights[..., None]).sum(1)
    along = torch.nn.functional.normalize(along - (along * outward).sum(1, keepdim=True) * outward, dim=1)
    across = torch.linalg.cross(outward, along) * chosen[:, 0, 3:]
    parts = torch.stack([(wanted * axis).sum(1) for axis in (along, across, outward)], dim=1)
    return (torch.nn.functional.normalize(parts, dim=1) + 1) / 2


def detailed_normals(points: Float[Tensor, "n 3"], detailed: Mesh) -> Float[Tensor, "n 3"]:
    """Interpolated vertex normals of a mesh at its points nearest to others."""
    vertices, faces = detailed.vertices.detach().cpu().float(), detailed.faces.cpu().long()
    normals = vertex_normals(detailed).cpu() if detailed.normals is None else detailed.normals.cpu().float()
    tree = build_tree(vertices, faces)
    answer = []
    for part in points.float().split(_CHUNK):
        nearest, face = closest_point(part, tree)
        corners = vertices[faces[face]]
        # weights as the areas of the triangles that the nearest point makes with the sides
        arms = corners - nearest[:, None]
        areas = torch.linalg.cross(arms.roll(-1, 1), arms.roll(1, 1)).norm(dim=-1)
        whole = areas.sum(1, keepdim=True)
        weights = torch.where(whole > 0, areas / whole, 1 / 3)
        answer.append(torch.nn.functional.normalize((normals[faces[face]] * weights[..., None]).sum(1), dim=1))
    return torch.cat(answer)
