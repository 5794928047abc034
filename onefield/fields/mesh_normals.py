"""Normals of meshes, differentiable in their vertices."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def face_vectors(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3"]:
    """Vectors along the faces' outward normals whose length is twice the area."""
    a, b, c = vertices.index_select(0, faces.flatten()).reshape(-1, 3, 3).unbind(1)
    return torch.linalg.cross(b - a, c - a)


def vector_sums(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Sums of the faces' vectors around each vertex: along its area-weighted normal, 0 where there is no face."""
    vectors = face_vectors(vertices, faces).repeat_interleave(3, dim=0)
    return torch.zeros_like(vertices).index_add(0, faces.flatten(), vectors)


def directions_of(vectors: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Unit vectors; 0, and without a gradient, where a vector has no length."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    long = lengths > 0
    return torch.where(long, vectors / torch.where(long, lengths, 1.0), 0.0)


def vertex_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Unit normals, the area-weighted mean over the faces around each vertex; 0 where there is none."""
    return directions_of(vector_sums(vertices, faces))
