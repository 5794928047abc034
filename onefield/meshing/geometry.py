"""Normals and transforms of meshes."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields import mesh_normals
from onefield.types import Mesh, Texture


def face_vectors(mesh: Mesh) -> Float[Tensor, "F 3"]:
    """Vectors along the faces' outward normals whose length is twice the area, float64."""
    return mesh_normals.face_vectors(mesh.vertices.double(), mesh.faces.long())


def vertex_normals(mesh: Mesh) -> Float[Tensor, "V 3"]:
    """Unit normals, the area-weighted mean over the faces around each vertex; (0, 0, 1) where there is none."""
    total = mesh_normals.vector_sums(mesh.vertices.double(), mesh.faces.long())
    length = total.norm(dim=1, keepdim=True)
    upwards = total.new_tensor([0.0, 0.0, 1.0])
    return torch.where(length > 0, total / length.clamp(min=torch.finfo(torch.float64).tiny), upwards).to(torch.float32)


def transformed(mesh: Mesh, matrix: Float[Tensor, "4 4"]) -> Mesh:
    """The mesh under an affine map, such as back to the dataset's frame and unit.

    Args:
        mesh: any mesh.
        matrix: affine, last row (0, 0, 0, 1), acting on column vectors; computed in float64.

    Returns:
        Vertices in float64, so that coordinates far from the origin (projected map coordinates) keep their precision;
        a mirroring map turns the faces round, so that they stay counter-clockwise seen from outside.

    Raises:
        UsageError: the matrix is not affine, or not invertible.
    """
    matrix = torch.as_tensor(matrix, dtype=torch.float64, device=mesh.vertices.device)
    if matrix.shape != (4, 4) or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise UsageError(f"A mesh needs an affine 4 x 4 matrix with last row 0 0 0 1, got {matrix.tolist()}.")
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    determinant = float(torch.linalg.det(linear))
    if determinant == 0 or determinant != determinant:
        raise UsageError(f"The transform of a mesh must be invertible; its determinant is {determinant}.")
    normals = mesh.normals
    if normals is not None:
        turned = normals.double() @ torch.linalg.inv(linear)
        normals = torch.nn.functional.normalize(turned, dim=1).to(normals.dtype)
    return replace(
        mesh,
        vertices=mesh.vertices.double() @ linear.T + offset,
        faces=mesh.faces if determinant > 0 else mesh.faces.flip(1),
        normals=normals,
        texture=None if mesh.texture is None else _transformed_texture(mesh.texture, linear, determinant < 0),
    )


def _transformed_texture(texture: Texture, linear: Float[Tensor, "3 3"], mirrors: bool) -> Texture:
    coordinates, tangents = texture.coordinates, texture.tangents
    if tangents is not None:
        turned = torch.nn.functional.normalize(tangents[..., :3].double() @ linear.T, dim=-1).to(tangents.dtype)
        tangents = torch.cat([turned, tangents[..., 3:] * (-1 if mirrors else 1)], dim=-1)
    if mirrors:
        coordinates = coordinates.flip(1)
        tangents = None if tangents is None else tangents.flip(1)
    return replace(texture, coordinates=coordinates, tangents=tangents)
