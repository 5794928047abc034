"""FlexiCubes on an octree: few large faces where the surface is flat, many small ones where it is not.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023), on adaptive grids: a leaf has
the weights of a cell, and each of its vertices is a mean of the crossings of its loop; see
`onefield.kernels.octree_connectivity`. Where finer neighbours add nodes and edges to a leaf, its weights are
interpolated there. Plain PyTorch throughout, so that any derivative can be taken.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dual_marching_cubes import split_quads
from onefield.kernels.flexicubes import (
    CORNER_COUNT,
    FlexiCubesWeights,
    about_centers,
    check_positive,
    check_split,
    chosen_diagonals,
    weighted_vertices,
)
from onefield.kernels.marching_cubes_tables import CORNERS, EDGE_COUNT
from onefield.kernels.octree import Octree, corner_shares
from onefield.kernels.octree_connectivity import OctreeConnectivity, octree_connectivity
from onefield.types import FlexiCubesSurface


def octree_weights_at_rest(values: Float[Tensor, "N"], octree: Octree) -> FlexiCubesWeights:
    """Ones for all leaves, like the values in type and device."""
    count = len(octree.lows)
    return FlexiCubesWeights(*(values.new_ones((count, *rest)) for rest in ((CORNER_COUNT,), (EDGE_COUNT,), ())))


def octree_flexicubes(
    octree: Octree,
    values: Float[Tensor, "N"],
    positions: Float[Tensor, "N 3"],
    weights: FlexiCubesWeights,
    *,
    split: str = "diagonal",
) -> FlexiCubesSurface:
    """The surface where the values are zero, around the nodes where they are negative.

    A manifold for any values, closed but where it leaves the octree. On equal leaves it is that of
    `onefield.kernels.flexicubes.flexicubes`.

    Args:
        octree: balanced.
        values: at its nodes, negative inside; zero counts as outside.
        positions: of the nodes, in any frame that keeps the octree's handedness.
        weights: of the leaves, a row each in place of a grid's three axes; all positive.
        split: of the quadrilaterals, as of `onefield.kernels.flexicubes.flexicubes`; faces that are triangles stay so.

    Raises:
        UsageError: shapes that do not fit each other, weights that are not positive, or an unknown split.
        DataError: a value is NaN or infinite.
    """
    connectivity = octree_connectivity(octree, values)
    _check_shapes(octree, positions, weights)
    return octree_flexicubes_on(octree, connectivity, values, positions, weights, split=split)


def octree_flexicubes_on(
    octree: Octree,
    connectivity: OctreeConnectivity,
    values: Float[Tensor, "N"],
    positions: Float[Tensor, "N 3"],
    weights: FlexiCubesWeights,
    *,
    split: str = "diagonal",
) -> FlexiCubesSurface:
    """`octree_flexicubes` where the connectivity is known."""
    check_split(split)
    low, high = connectivity.crossing_nodes.unbind(1)
    leaves = connectivity.vertex_leaves.index_select(0, connectivity.crossing_vertices)
    places = [_within(octree, leaves, end, positions.dtype) for end in (low, high)]
    at_corners = weights.alpha.index_select(0, leaves)
    alpha = tuple((at_corners * corner_shares(place)).sum(1) for place in places)
    shares = _edge_shares((places[0] + places[1]) / 2, connectivity.crossing_axes)
    beta = (weights.beta.index_select(0, leaves) * shares).sum(1)
    gamma = weights.gamma.index_select(0, connectivity.vertex_leaves)
    check_positive({"alpha": torch.stack(alpha), "beta": beta, "gamma": gamma})
    ends = [(values.index_select(0, end), positions.index_select(0, end)) for end in (low, high)]
    vertices, deviations = weighted_vertices(
        connectivity.crossing_vertices,
        len(gamma),
        (ends[0][0], ends[1][0]),
        (ends[0][1], ends[1][1]),
        (alpha[0], alpha[1]),
        beta,
    )
    quads, triangles = connectivity.quads, connectivity.triangles
    if split == "center":
        vertices, faces = about_centers(vertices, gamma, quads)
    else:
        diagonals = chosen_diagonals(vertices, gamma, quads)
        allowed = connectivity.diagonals.gather(1, diagonals[:, None])[:, 0]
        faces = split_quads(quads, torch.where(allowed, diagonals, 1 - diagonals))
    return FlexiCubesSurface(vertices, torch.cat((faces, triangles)), deviations)


def _check_shapes(octree: Octree, positions: Tensor, weights: FlexiCubesWeights) -> None:
    nodes, leaves = len(octree.nodes), len(octree.lows)
    expected = {
        "positions": (positions, (nodes, 3)),
        "alpha": (weights.alpha, (leaves, CORNER_COUNT)),
        "beta": (weights.beta, (leaves, EDGE_COUNT)),
        "gamma": (weights.gamma, (leaves,)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise UsageError(
                f"FlexiCubes need {name} of shape {shape} for an octree of {nodes:,} nodes and {leaves:,} leaves, got "
                f"{tuple(tensor.shape)}."
            )


def _within(octree: Octree, leaves: Tensor, nodes: Tensor, dtype: torch.dtype) -> Tensor:
    """Where nodes lie in leaves, 0 to 1 along each axis."""
    steps = octree.nodes.index_select(0, nodes) - octree.lows.index_select(0, leaves)
    return steps.to(dtype) / octree.sizes.index_select(0, leaves)[:, None]


def _edge_shares(places: Tensor, axes: Tensor) -> Tensor:
    """Of a leaf's edges, at places on edges along an axis; linear along both others."""
    units = torch.eye(3, dtype=torch.bool, device=places.device)
    corners = corner_shares(torch.where(units[axes], 0.0, places))
    # the edges along an axis come in the order of their lower corners, which alone have shares now
    starts = torch.as_tensor(CORNERS, device=places.device).T[axes] == 0
    along = corners[starts].reshape(-1, 4)
    shares = places.new_zeros((len(places), 3, 4))
    return shares.index_put((torch.arange(len(places), device=places.device), axes), along).flatten(1)
