"""Rasterisation of triangle meshes with a depth buffer: contract and PyTorch reference.

Homogeneous rasterisation after Olano and Greer (1997): with the corners a, b, c in camera coordinates, the ray r
through a pixel meets the triangle's plane at weights ``r . (b x c, c x a, a x b) / det(a, b, c)``; it hits where none
is negative. Triangles need no clipping, and the weights divided by their sum are perspective-correct.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation

# Products of pixels and triangles that the reference holds at once.
_PRODUCTS = 1 << 22


def rasterize_reference(
    vertices: Tensor, faces: Tensor, intrinsics: Sequence[float], width: int, height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `rasterize`; every pixel against every triangle, in float64."""
    focal_x, focal_y, center_x, center_y = intrinsics
    options = {"dtype": torch.float64, "device": vertices.device}
    x = (torch.arange(width, **options) + 0.5 - center_x) / focal_x
    y = (torch.arange(height, **options) + 0.5 - center_y) / focal_y
    down, across = torch.meshgrid(y, x, indexing="ij")
    rays = torch.stack((across, down, torch.ones_like(across)), dim=-1).reshape(-1, 3)
    nearest = torch.zeros(len(rays), **options)
    weights = torch.zeros((len(rays), 3), **options)
    found = torch.full((len(rays),), -1, dtype=torch.int64, device=vertices.device)
    step = max(1, _PRODUCTS // max(len(rays), 1))
    for first in range(0, faces.shape[0], step):
        a, b, c = vertices.double()[faces[first : first + step].long()].unbind(1)
        planes = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)
        determinant = (a * planes[:, 0]).sum(-1)
        scaled = torch.einsum("pd,fkd->pfk", rays, planes) / determinant[:, None]
        inverse_depth = scaled.sum(-1)
        hit = (scaled >= 0).all(-1) & (inverse_depth > 0) & torch.isfinite(inverse_depth)
        candidate, index = torch.where(hit, inverse_depth, 0.0).max(dim=1)
        closer = candidate > nearest
        nearest = torch.where(closer, candidate, nearest)
        found = torch.where(closer, index + first, found)
        chosen = scaled[torch.arange(len(rays), device=rays.device), index]
        weights = torch.where(closer[:, None], chosen, weights)
    covered = found >= 0
    depth = torch.where(covered, 1 / torch.where(covered, nearest, 1.0), 0.0)
    shape = (height, width)
    dtype = vertices.dtype
    return found.reshape(shape), (weights * depth[:, None]).to(dtype).reshape(*shape, 3), depth.to(dtype).reshape(shape)


def _fake(
    vertices: Tensor, faces: Tensor, intrinsics: Sequence[float], width: int, height: int
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (height, width)
    return vertices.new_empty(shape, dtype=torch.int64), vertices.new_empty((*shape, 3)), vertices.new_empty(shape)


_operation = Operation(
    name="rasterize",
    schema="(Tensor vertices, Tensor faces, float[] intrinsics, int width, int height) -> (Tensor, Tensor, Tensor)",
    reference=rasterize_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.rasterize:rasterize",
)


def rasterize(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    intrinsics: Sequence[float],
    width: int,
    height: int,
) -> tuple[Int[Tensor, "H W"], Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """Which triangle each pixel's centre sees through a pinhole camera.

    Args:
        vertices: in camera coordinates (x right, y down, z forward), any unit.
        faces: vertex indices; both sides are seen.
        intrinsics: focal lengths x and y and principal point x and y, pixels; pixel centres lie at +0.5.
        width, height: of the picture, pixels.

    Returns:
        Face indices (-1 where there is none), the perspective-correct barycentric weights of the face's three corners,
        and depth along z (0 where there is no face). Of faces at equal depth the first is seen. Nothing is
        differentiable.

    Raises:
        UsageError: shapes do not fit, or the picture has no pixel.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or len(intrinsics) != 4:
        raise UsageError(
            "Rasterisation needs vertices (V, 3), faces (F, 3) and four intrinsics, got "
            f"{tuple(vertices.shape)}, {tuple(faces.shape)} and {len(intrinsics)}."
        )
    if width < 1 or height < 1:
        raise UsageError(f"A picture of {width} x {height} pixels can't be rendered; ask for at least 1 x 1.")
    return _operation(
        vertices.detach().contiguous(), faces.long().contiguous(), [float(value) for value in intrinsics], width, height
    )
