"""Random surfels before a camera, for the tests of their footprints, blending and depths."""

from __future__ import annotations

import torch
from torch import Tensor

from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.surfel_footprints import surfel_axes, surfel_footprints

NEAR = 0.2


def surfels(count: int, width: int, height: int, size: float = 0.2, dtype=torch.float32) -> dict[str, Tensor]:
    """Points, axes and opacities before a pinhole camera at the origin, and three features."""
    generator = torch.Generator().manual_seed(count)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    focal, center = 1.2 * width, torch.tensor([0.6 * width, 0.45 * height], dtype=dtype)
    depths = 1 + 2 * random(count)
    places = random(count, 2) * torch.tensor([width + 12, height + 12], dtype=dtype) - 6
    means = torch.cat([(places - center) / focal * depths[:, None], depths[:, None]], 1)
    log_scales = torch.log(size * torch.exp(random(count, 3) - 1))
    intrinsics = torch.tensor([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]], dtype=dtype)
    return {
        "means": means,
        "axes": surfel_axes(log_scales, rotations(random(count, 4) - 0.5)),
        "intrinsics": intrinsics,
        "opacities": random(count) * 0.999,
        "features": random(count, 3),
    }


def inputs(given: dict[str, Tensor], width: int, height: int) -> tuple[dict[str, Tensor], dict[str, object]]:
    """What blending takes: what it is differentiated by, and the rest."""
    means, axes, focal = given["means"], given["axes"], given["intrinsics"][0, 0]
    depths = means[:, 2]
    plane = means[:, :2] / depths[:, None]
    # of a pinhole camera at the origin
    jacobians = torch.cat([focal * torch.eye(2).expand(len(means), 2, 2).to(means), -focal * plane[:, :, None]], dim=2)
    spreads = jacobians / depths[:, None, None] @ axes
    pixels = focal * plane + given["intrinsics"][:2, 2]
    found = surfel_footprints(pixels, spreads, axes[:, 2] / depths[:, None], given["opacities"], depths, width, height)
    leaves = {"pixels": pixels, "slopes": found.slopes, "depths": depths, "opacities": given["opacities"]}
    return leaves | {"features": given["features"]}, {"tiles": found.tiles, "spans": found.spans}


def paper(given: dict[str, Tensor], i: int, x: float, y: float) -> tuple[float, float]:
    """Falloff and depth of one surfel at a pixel, as Huang et al. (2024) write it (eq. 8 to 11)."""
    matrix = given["intrinsics"].double() @ torch.cat([given["axes"][i], given["means"][i][:, None]], 1).double()
    from_x, from_y = x * matrix[2] - matrix[0], y * matrix[2] - matrix[1]
    u, v, scale = torch.linalg.cross(from_x, from_y).tolist()
    middle = matrix[:2, 2] / matrix[2, 2]
    round_ = 2 * float((torch.tensor([x, y]).double() - middle).square().sum())
    if scale == 0:
        return round_, float(matrix[2, 2])
    u, v = u / scale, v / scale
    depth = float(matrix[2] @ torch.tensor([u, v, 1.0]).double())
    if u * u + v * v < round_ and depth > NEAR:
        return u * u + v * v, depth
    return round_, float(matrix[2, 2])
