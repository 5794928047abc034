"""What a surface's mesh should be like, whatever it is a mesh of; differentiable in its vertices or grid values."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from onefield.fields.mesh_normals import directions_of, face_vectors, vertex_normals


def edge_lengths(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3"]:
    """Of each face's edge from corner n to the one after it; edges of two faces come twice."""
    corners = vertices.index_select(0, faces.flatten()).reshape(-1, 3, 3)
    return (corners.roll(-1, dims=1) - corners).norm(dim=2)


def face_areas(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F"]:
    """In squared units of the vertices."""
    a, b, c = vertices.index_select(0, faces.flatten()).reshape(-1, 3, 3).unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1) / 2


def enclosed_volume(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, ""]:
    """Of a closed mesh; positive where faces run counter-clockwise seen from outside."""
    corners = vertices.index_select(0, faces.flatten()).reshape(-1, 3, 3)
    # about the middle, where terms are small and cancel little
    a, b, c = (corners - vertices.detach().mean(0)).unbind(1)
    return (a * torch.linalg.cross(b, c)).sum() / 6


def developability(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V"]:
    """How far the surface around each vertex is from one that paper can be bent to: 0 where it is flat or a hinge.

    The least eigenvalue of the covariance of the normals around a vertex, weighted by the faces' angles there (Stein,
    Grinspun and Crane, "Developability of triangle meshes", 2018, section 4.2). Vertices of three faces count 0: those
    of a corner, which no hinge can become.
    """
    corners = vertices.index_select(0, faces.flatten()).reshape(-1, 3, 3)
    ahead, back = corners.roll(-1, dims=1) - corners, corners.roll(1, dims=1) - corners
    normals = torch.linalg.cross(ahead[:, 0], back[:, 0])
    doubled = normals.norm(dim=1, keepdim=True)
    angles = torch.atan2(doubled, (ahead * back).sum(2))
    units = directions_of(normals)
    outer = (units[:, :, None] * units[:, None, :]).reshape(-1, 1, 9)
    count = len(vertices)
    sums = vertices.new_zeros(count, 9).index_add(0, faces.flatten(), (angles[..., None] * outer).reshape(-1, 9))
    degrees = torch.bincount(faces.flatten(), minlength=count)
    least = torch.linalg.eigvalsh(sums.reshape(-1, 3, 3))[:, 0]
    return torch.where(degrees > 3, least, 0.0)


def bending(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, ""]:
    """How much faces are turned against the surface around their corners: mean of ``1 - cos`` of the angle between.

    The surface's normal at a vertex is the area-weighted mean over its faces. Faces without area count 1 and pull at
    nothing.
    """
    around = vertex_normals(vertices, faces).index_select(0, faces.flatten()).reshape(-1, 3, 3)
    own = directions_of(face_vectors(vertices, faces))
    return (1 - (around * own[:, None]).sum(2)).mean() if len(faces) else vertices.sum() * 0


def sign_changes(low: Float[Tensor, "e"], high: Float[Tensor, "e"]) -> Float[Tensor, ""]:
    """Mean disagreement of neighbours of different sign, each held against the other's sign; 0 without any.

    Shen et al. (2023), section 4.4, after Munkberg et al. (2022): what no picture shows closes by itself in time.

    Args:
        low, high: values at the ends of a grid's edges.
    """
    differ = (low < 0) != (high < 0)
    one, other = torch.cat((low[differ], high[differ])), torch.cat((high[differ], low[differ]))
    if not one.numel():
        return low.sum() * 0
    return binary_cross_entropy_with_logits(one, (other >= 0).to(one.dtype))
