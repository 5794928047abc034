"""Dual contouring: the vertices of dual marching cubes where the planes through their crossings meet.

Ju et al., "Dual contouring of Hermite data" (2002), on the connectivity of dual marching cubes as Schaefer, Ju and
Warren, "Manifold dual contouring" (2007), so that edges and corners of a surface come out sharp and the mesh stays a
manifold. Plain PyTorch; only the connectivity is a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.dual_marching_cubes import (
    DualConnectivity,
    crossing_fractions,
    dual_connectivity,
    grid_values,
    shorter_diagonals,
    split_quads,
)

# Weight of a vertex's distance from the mean of its crossings against its distances from their planes: low enough that
# an edge of 30 degrees pulls (its weight is 0.27), high enough that gentle curvature, whose planes meet anywhere, does
# not.
CENTERING = 0.02
# Normals at the ends of one diagonal must agree better than those of the other by this cosine to overrule its length.
AGREEMENT = 0.1

# Crossings are bracketed in this part of an edge before a line is drawn: levels near an edge of the surface are bent.
HALVINGS = 5
# Cells over which slopes are taken, to either side: near enough to tell the sides of an edge apart.
SLOPE_STEP = 0.1


def dual_contouring(
    volume: Float[Tensor, "X Y Z"], level: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]
) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The surface ``level == 0`` around negative levels, with its edges and corners. Not differentiable.

    Args:
        volume: levels at the corners of a grid; as of `onefield.kernels.dual_marching_cubes.dual_marching_cubes`.
        level: at points in index coordinates, float64; asked near the surface.

    Returns:
        Vertices in index coordinates, each in its cell, and faces, counter-clockwise seen from outside.

    Raises:
        UsageError, DataError: as of dual marching cubes.
    """
    connectivity = dual_connectivity(volume)
    low, high = connectivity.crossing_ends()
    # each crossing of the grid belongs to up to four cells
    _, y, z = volume.shape
    keys = ((low[:, 0] * y + low[:, 1]) * z + low[:, 2]) * 3 + (high - low).argmax(1)
    keys, of_key = keys.unique(return_inverse=True)
    one = torch.zeros_like(keys).index_copy(0, of_key, torch.arange(len(of_key), device=keys.device))
    points = _crossings(volume, level, low[one], high[one])
    normals = torch.nn.functional.normalize(_slopes(level, points), dim=1)[of_key]
    points = points[of_key]
    vertices = _plane_vertices(connectivity, points, normals).to(volume.dtype)
    upright = connectivity.mean_of_crossings(normals, normals.new_ones(len(normals)))
    a, b, c, d = torch.nn.functional.normalize(upright, dim=1)[connectivity.quads].unbind(1)
    better = (a * c).sum(1) - (b * d).sum(1)
    diagonals = torch.where(
        better.abs() > AGREEMENT, (better < 0).long(), shorter_diagonals(vertices, connectivity.quads)
    )
    return vertices, split_quads(connectivity.quads, diagonals)


def _crossings(volume: Tensor, level: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where the level is zero between corners of different sign: by halving, and at last by a line."""
    first, last = low.double(), high.double()
    first_levels, last_levels = (grid_values(volume[..., None], ends)[:, 0].double() for ends in (low, high))
    falling = last_levels < 0
    for _ in range(HALVINGS):
        middle = (first + last) / 2
        levels = level(middle).double()
        past = (levels < 0) == falling
        last, last_levels = torch.where(past[:, None], middle, last), torch.where(past, levels, last_levels)
        first, first_levels = torch.where(past[:, None], first, middle), torch.where(past, first_levels, levels)
    return torch.lerp(first, last, crossing_fractions(first_levels, last_levels)[:, None])


def _slopes(level: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Central differences."""
    steps = SLOPE_STEP * torch.eye(3, dtype=points.dtype, device=points.device)
    return torch.stack([level(points + step) - level(points - step) for step in steps], dim=1).double()


def _plane_vertices(connectivity: DualConnectivity, points: Tensor, normals: Tensor) -> Tensor:
    """Least squares of distances from planes and, weakly, from the mean; on the way from the mean within the cell."""
    of_vertex = connectivity.crossing_vertices
    means = connectivity.mean_of_crossings(points, points.new_ones(len(points)))
    heights = ((points - means.index_select(0, of_vertex)) * normals).sum(1, keepdim=True)
    outer = (normals[:, :, None] * normals[:, None, :]).flatten(1)
    sums = points.new_zeros(len(means), 12).index_add(0, of_vertex, torch.cat((outer, heights * normals), dim=1))
    squares = sums[:, :9].reshape(-1, 3, 3) + CENTERING * torch.eye(3, dtype=points.dtype, device=points.device)
    steps = torch.linalg.solve(squares, sums[:, 9:])
    inward = means - connectivity.cells.index_select(0, connectivity.vertex_cells)
    room = torch.where(steps > 0, 1 - inward, inward) / steps.abs()
    shares = torch.where(steps == 0, torch.inf, room).amin(1).clamp(0, 1)
    # several vertices of one cell would pass each other
    alone = torch.bincount(connectivity.vertex_cells, minlength=len(connectivity.cells)) == 1
    shares = torch.where(alone.index_select(0, connectivity.vertex_cells), shares, 0.0)
    return means + shares[:, None] * steps
