"""FlexiCubes: dual marching cubes whose vertices can be moved by weights, differentiable in all that places them.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023): the connectivity of dual
marching cubes; crossings from values scaled by a weight alpha at each corner of each cell, vertices as means of
crossings weighted by beta, quadrilaterals split as gamma says, or about a centre that gamma moves, and the deviation of
crossings from their vertex as a regulariser.

Plain PyTorch throughout, so that any derivative can be taken; only the connectivity is a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError, nearest_name
from onefield.kernels.dual_marching_cubes import (
    DualConnectivity,
    crossing_fractions,
    dual_connectivity,
    grid_values,
    shorter_diagonals,
    split_quads,
    weighted_means,
)
from onefield.kernels.marching_cubes_tables import EDGE_AXES, EDGE_COUNT, EDGE_STARTS
from onefield.types import FlexiCubesSurface

CORNER_COUNT = 8
SPLITS = ("diagonal", "center")


@dataclass(frozen=True)
class FlexiCubesWeights:
    """What moves the vertices of each cell; all positive, 1 for plain dual marching cubes.

    Attributes:
        alpha: at the corners of each cell, in the order ``x + 2 y + 4 z``; scales the corners' values.
        beta: at the edges of each cell, first the four along x, then y, then z, each in the order of their lower
            corners; weighs the crossings.
        gamma: of each cell; its vertices are joined by a diagonal rather where it is large.
    """

    alpha: Float[Tensor, "*cells 8"]
    beta: Float[Tensor, "*cells 12"]
    gamma: Float[Tensor, "*cells"]

    @staticmethod
    def at_rest(values: Float[Tensor, "X Y Z"]) -> FlexiCubesWeights:
        """Ones for a grid, like its values in type and device."""
        cells = [size - 1 for size in values.shape]
        return FlexiCubesWeights(*(values.new_ones((*cells, *rest)) for rest in ((CORNER_COUNT,), (EDGE_COUNT,), ())))


def flexicubes(
    values: Float[Tensor, "X Y Z"],
    positions: Float[Tensor, "X Y Z 3"],
    weights: FlexiCubesWeights,
    *,
    split: str = "diagonal",
) -> FlexiCubesSurface:
    """The surface where the values are zero, around the corners where they are negative.

    Args:
        values: at the corners of a grid, negative inside; zero counts as outside.
        positions: of the corners, in any frame that keeps the grid's handedness; deformed by less than half a cell.
        weights: all positive; `FlexiCubesWeights.at_rest` gives plain dual marching cubes.
        split: ``"diagonal"`` gives two triangles a quadrilateral, along the diagonal whose ends have the larger product
            of gammas, or the shorter one of equals; ``"center"`` four about a centre that gamma moves, for training.

    Raises:
        UsageError: shapes that do not fit each other, weights that are not positive, or an unknown split.
        DataError: a value is NaN or infinite.
    """
    connectivity = dual_connectivity(values)
    _check_shapes(values, positions, weights)
    # one gather of both ends, whose gradient fills the grid once
    ends = torch.cat(connectivity.crossing_ends())
    low_values, high_values = grid_values(values[..., None], ends)[:, 0].chunk(2)
    low_points, high_points = grid_values(positions, ends).chunk(2)
    cells = connectivity.cells
    crossed = FlexiCubesWeights(
        grid_values(weights.alpha, cells),
        grid_values(weights.beta, cells),
        grid_values(weights.gamma[..., None], cells)[:, 0],
    )
    return flexicubes_on(connectivity, (low_values, high_values), (low_points, high_points), crossed, split=split)


def flexicubes_on(
    connectivity: DualConnectivity,
    values: tuple[Float[Tensor, "I"], Float[Tensor, "I"]],
    points: tuple[Float[Tensor, "I 3"], Float[Tensor, "I 3"]],
    weights: FlexiCubesWeights,
    *,
    split: str = "diagonal",
) -> FlexiCubesSurface:
    """`flexicubes` where the connectivity is known, and what follows from parameters only where it is needed.

    Args:
        values, points: at the lower and upper ends of `DualConnectivity.crossing_ends`.
        weights: of the cells that the surface crosses, a row each in place of the grid's three axes.
    """
    check_split(split)
    starts = torch.as_tensor(EDGE_STARTS, device=connectivity.cells.device)
    axes = torch.as_tensor(EDGE_AXES, device=connectivity.cells.device)
    edges, rows = connectivity.crossing_edges, connectivity.crossing_cells()
    low_corners = starts[edges]
    high_corners = low_corners + (1 << axes[edges])
    alpha = weights.alpha.index_select(0, rows)
    low_alpha, high_alpha = (alpha.gather(1, corners[:, None])[:, 0] for corners in (low_corners, high_corners))
    beta = weights.beta.index_select(0, rows).gather(1, edges[:, None])[:, 0]
    gamma = weights.gamma.index_select(0, connectivity.vertex_cells)
    check_positive({"alpha": torch.stack((low_alpha, high_alpha)), "beta": beta, "gamma": gamma})

    vertices, deviations = weighted_vertices(
        connectivity.crossing_vertices, len(gamma), values, points, (low_alpha, high_alpha), beta
    )
    if split == "diagonal":
        diagonals = chosen_diagonals(vertices, gamma, connectivity.quads)
        return FlexiCubesSurface(vertices, split_quads(connectivity.quads, diagonals), deviations)
    return FlexiCubesSurface(*about_centers(vertices, gamma, connectivity.quads), deviations)


def check_split(split: str) -> None:
    """Raises UsageError where it is not one of `SPLITS`."""
    if split not in SPLITS:
        raise UsageError(f"Unknown split '{split}': {nearest_name(split, SPLITS)}.")


def weighted_vertices(
    crossing_vertices: Int[Tensor, "I"],
    count: int,
    values: tuple[Float[Tensor, "I"], Float[Tensor, "I"]],
    points: tuple[Float[Tensor, "I 3"], Float[Tensor, "I 3"]],
    alpha: tuple[Float[Tensor, "I"], Float[Tensor, "I"]],
    beta: Float[Tensor, "I"],
) -> tuple[Float[Tensor, "V 3"], Float[Tensor, "I"]]:
    """Means of crossings, and by how much each crossing's distance from its vertex differs from the vertex's mean.

    Args:
        crossing_vertices: the vertex of each crossing.
        count: of the vertices.
        values, points, alpha: at the lower and upper ends of the edge of each crossing.
        beta: of each crossing.
    """
    crossings = torch.lerp(*points, crossing_fractions(values[0] * alpha[0], values[1] * alpha[1])[:, None])
    vertices = weighted_means(crossing_vertices, count, crossings, beta)
    plain = torch.lerp(*points, crossing_fractions(*values)[:, None])
    distances = (plain - vertices.index_select(0, crossing_vertices)).norm(dim=1)
    means = weighted_means(crossing_vertices, count, distances[:, None], torch.ones_like(distances))[:, 0]
    return vertices, (distances - means.index_select(0, crossing_vertices)).abs()


def chosen_diagonals(
    vertices: Float[Tensor, "V 3"], gamma: Float[Tensor, "V"], quads: Int[Tensor, "Q 4"]
) -> Int[Tensor, "Q"]:
    """Those whose ends have the larger product of gammas, or the shorter of equals, as `split_quads` takes them."""
    first, second = _products(gamma, quads)
    return torch.where(first == second, shorter_diagonals(vertices, quads), (first < second).long())


def _check_shapes(values: Tensor, positions: Tensor, weights: FlexiCubesWeights) -> None:
    cells = tuple(size - 1 for size in values.shape)
    expected = {
        "positions": (positions, (*values.shape, 3)),
        "alpha": (weights.alpha, (*cells, CORNER_COUNT)),
        "beta": (weights.beta, (*cells, EDGE_COUNT)),
        "gamma": (weights.gamma, cells),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise UsageError(
                f"FlexiCubes needs {name} of shape {shape} for values of shape {tuple(values.shape)}, got "
                f"{tuple(tensor.shape)}."
            )


def check_positive(weights: dict[str, Float[Tensor, "..."]]) -> None:
    """Weights that the surface meets, by name; a NaN is not positive either.

    Raises:
        UsageError: one is not.
    """
    for name, tensor in weights.items():
        if not bool((tensor > 0).all()):
            raise UsageError(
                f"FlexiCubes needs positive weights; the least {name} is {float(tensor.detach().min()):g}."
            )


def _products(gamma: Tensor, quads: Tensor) -> tuple[Tensor, Tensor]:
    """Of the gammas at the ends of the diagonals from corner 0 to 2 and from 1 to 3."""
    a, b, c, d = gamma[quads].unbind(1)
    return a * c, b * d


def about_centers(
    vertices: Float[Tensor, "V 3"], gamma: Float[Tensor, "V"], quads: Int[Tensor, "Q 4"]
) -> tuple[Float[Tensor, "V+Q 3"], Int[Tensor, "4*Q 3"]]:
    """The vertices and one more in each quadrilateral, towards the diagonal of larger gammas; four faces about each."""
    first, second = _products(gamma, quads)
    a, b, c, d = (vertices.index_select(0, corners) for corners in quads.unbind(1))
    centers = torch.lerp((a + c) / 2, (b + d) / 2, (second / (first + second))[:, None])
    numbers = torch.arange(len(quads), device=quads.device) + len(vertices)
    fans = [torch.stack((quads[:, n], quads[:, (n + 1) % 4], numbers), dim=1) for n in range(4)]
    return torch.cat((vertices, centers)), torch.stack(fans, dim=1).flatten(0, 1)
