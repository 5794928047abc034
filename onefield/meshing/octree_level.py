"""An octree over the values of a grid: leaves as large as a level is linear in them, small where it bends."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.kernels.marching_cubes_tables import CORNERS
from onefield.kernels.octree import Octree, balanced_octree, bent
from onefield.kernels.octree_flexicubes import octree_flexicubes, octree_weights_at_rest
from onefield.meshing.lattice import BEYOND, BLOCK

# Cells by which the surface in a leaf may lie beside where the leaf's corners put it: a tenth of what dual marching
# cubes cut off an edge of the surface, so that leaves show in the number of faces and not in their places.
FLATNESS = 0.05
# Values that are gathered at once to look at blocks: bounds the memory.
_CHUNK = 2**24


def octree_surface(volume: Float[Tensor, "X Y Z"]) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The surface where a volume of `onefield.meshing.lattice.sample_level` is zero, from the leaves of `flat_octree`.

    Returns:
        Vertices in index coordinates of the volume, means of their crossings, and faces, counter-clockwise seen from
        outside: a closed manifold.
    """
    octree, values = flat_octree(volume)
    surface = octree_flexicubes(octree, values, octree.nodes.to(values), octree_weights_at_rest(values, octree))
    return surface.vertices - _FRONT, surface.faces


# Blocks begin at the lattice's first corner, which is the volume's second.
_FRONT = BLOCK - 1


def flat_octree(volume: Float[Tensor, "X Y Z"], flatness: float = FLATNESS) -> tuple[Octree, Float[Tensor, "N"]]:
    """An octree of leaves of 1 to `BLOCK` cells, and the volume's values at its nodes.

    A leaf is divided where the surface crosses it, or may, and values in it are not what its corners say.

    Args:
        volume: levels at the corners of cells, negative inside, of `onefield.meshing.lattice.sample_level`.
        flatness: parts of a cell by which they may differ, measured by the mean slope in the leaf.

    Returns:
        The octree, whose node (i, j, k) is the volume's corner (i, j, k) - (BLOCK - 1), and is outside where there is
        none.
    """
    back = [-(_FRONT + size - 1) % BLOCK for size in volume.shape]
    pad = (_FRONT, back[2], _FRONT, back[1], _FRONT, back[0])
    padded = torch.nn.functional.pad(volume, pad, value=BEYOND)
    x, y, z = (size - 1 for size in padded.shape)
    divided = []
    side = 2
    while side <= BLOCK:
        divided.append(_bent(padded, side, flatness))
        side *= 2
    octree = balanced_octree((x, y, z), divided)
    return octree, padded[tuple(octree.nodes.T)]


def _bent(volume: Tensor, side: int, flatness: float) -> Bool[Tensor, "x y z"]:
    """Which blocks of some cells a side have values of both signs that are not linear along each axis."""
    lowest, highest = (
        sign * torch.nn.functional.max_pool3d(sign * volume[None, None], side + 1, stride=side)[0, 0]
        for sign in (-1, 1)
    )
    found = (lowest < 0) & (highest >= 0)
    inner = torch.cartesian_prod(*[torch.arange(side + 1)] * 3)
    corners = torch.as_tensor(CORNERS) * side
    for part in found.nonzero().split(max(1, _CHUNK // len(inner))):
        places = part[:, None] * side
        values = volume[tuple((places + inner).unbind(2))]
        at_corners = volume[tuple((places + corners).unbind(2))]
        found[tuple(part.T)] = bent(at_corners, values, inner / side, flatness / side)
    return found
