"""Textures: which point of a surface each texel shows, what lies between charts, and looking a texture up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from onefield.errors import DataError
from onefield.kernels.rasterize import rasterize
from onefield.meshing.geometry import vertex_normals
from onefield.types import Mesh

# Texels whose points are worked out at once: bounds the memory of what comes in between.
_CHUNK = 2**20


@dataclass(frozen=True)
class Texels:
    """The texels that show some of a surface, in the order of rows.

    Attributes:
        covered: which those are of the picture.
        faces: the face that each shows.
        weights: barycentric, of the face's corners.
        points: on the surface, in the mesh's frame.
        normals: unit, interpolated between the vertices'.
    """

    covered: Bool[Tensor, "H W"]
    faces: Int[Tensor, "n"]
    weights: Float[Tensor, "n 3"]
    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]


def texels_of(mesh: Mesh, coordinates: Float[Tensor, "F 3 2"], size: int) -> Texels:
    """The points of a surface at the middles of its texture's texels.

    Args:
        mesh: its own normals are taken where it has them.
        coordinates: of `unwrap`.
        size: of the picture's sides in pixels.

    Raises:
        DataError: no texel's middle lies on a face, since the picture is too small for the charts.
    """
    flat = torch.cat([coordinates.float() * size, torch.ones(*coordinates.shape[:2], 1)], dim=-1).reshape(-1, 3)
    corners = torch.arange(len(flat)).reshape(-1, 3)
    found, weights, _ = rasterize(flat, corners, (1.0, 1.0, 0.0, 0.0), size, size)
    covered = found >= 0
    if not bool(covered.any()):
        raise DataError(
            f"A texture of {size} x {size} pixels is too small for the {len(coordinates):,} faces of this mesh: none "
            "covers a pixel; take a larger texture or fewer faces."
        )
    faces, share = found[covered], weights[covered]
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    points, smooth = torch.empty_like(share), torch.empty_like(share)
    for first in range(0, len(faces), _CHUNK):
        part = slice(first, first + _CHUNK)
        named, weight = mesh.faces.cpu().long()[faces[part]], share[part, :, None]
        points[part] = (mesh.vertices.detach().cpu().double()[named] * weight).sum(1).float()
        smooth[part] = torch.nn.functional.normalize((normals.cpu().float()[named] * weight).sum(1), dim=1)
    return Texels(covered, faces, share, points, smooth)


def picture_of(texels: Texels, values: Float[Tensor, "n 3"]) -> UInt8[Tensor, "H W 3"]:
    """Values in [0, 1] at their texels; all others take the nearest one's, so that no filter mixes in a background."""
    picture = torch.zeros(*texels.covered.shape, 3, dtype=torch.uint8)
    picture[texels.covered] = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    empty = ~texels.covered
    rows, columns = distance_transform_edt(empty.numpy(), return_distances=False, return_indices=True)
    picture[empty] = picture[torch.from_numpy(rows)[empty].long(), torch.from_numpy(columns)[empty].long()]
    return picture


def looked_up(
    picture: UInt8[Tensor, "H W 3"], coordinates: Float[Tensor, "n 2"], chunk: int = 2**20
) -> Float[Tensor, "n 3"]:
    """Bilinear values in [0, 1] at places of a texture, those at its border beyond it."""
    grid = picture.permute(2, 0, 1)[None].float() / 255
    parts = [
        torch.nn.functional.grid_sample(
            grid, part[None, None].float() * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False
        )[0, :, 0].T
        for part in coordinates.split(chunk)
    ]
    return torch.cat(parts)
