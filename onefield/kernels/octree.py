"""Octrees as grids: leaves that fill a box and differ in size by a factor of two at most where they touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.marching_cubes_tables import CORNERS

NOWHERE = -1


@dataclass(frozen=True)
class Octree:
    """Leaves of side 1, 2, 4, ... in units of the smallest possible cell; of `balanced_octree`.

    Attributes:
        cells: along x, y and z, as many as the box has of the smallest.
        lows: the lowest corner of each leaf, a multiple of its size; in ascending order.
        sizes: the side of each leaf.
        nodes: the corners of all leaves, each once, in ascending order.
        corners: rows of `nodes`, the corners of each leaf in the order ``x + 2 y + 4 z``.
    """

    cells: tuple[int, int, int]
    lows: Int[Tensor, "L 3"]
    sizes: Int[Tensor, "L"]
    nodes: Int[Tensor, "N 3"]
    corners: Int[Tensor, "L 8"]

    def find_nodes(self, places: Int[Tensor, "*b 3"]) -> Int[Tensor, "*b"]:
        """Rows of `nodes` at places within the box; -1 where there is none."""
        keys, asked = _keys(self.nodes, self.cells), _keys(places, self.cells)
        rows = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
        return torch.where(keys[rows] == asked, rows, NOWHERE)

    def find_leaves(self, cells: Int[Tensor, "*b 3"]) -> Int[Tensor, "*b"]:
        """The leaf that holds each smallest cell, given by its lowest corner; -1 outside the box."""
        within = ((cells >= 0) & (cells < cells.new_tensor(self.cells))).all(-1)
        keys = _keys(self.lows, self.cells)
        found = torch.full_like(cells[..., 0], NOWHERE)
        for size in self.sizes.unique().tolist():
            low = _keys(cells.div(size, rounding_mode="floor") * size, self.cells)
            rows = torch.searchsorted(keys, low).clamp(max=len(keys) - 1)
            found = torch.where(within & (keys[rows] == low) & (self.sizes[rows] == size), rows, found)
        return found


def balanced_octree(cells: tuple[int, int, int], divided: Sequence[Bool[Tensor, "x y z"]]) -> Octree:
    """The octree in which at least the named blocks are divided.

    Others are divided where they must be for leaves that touch, if only in a corner, to differ by two at most.

    Args:
        cells: along each axis, of the smallest size; a multiple of the largest blocks' size.
        divided: which blocks of side 2, 4, 8, ... have smaller leaves; one tensor a side. Leaves are as large as the
            last one's blocks where these are not divided.

    Raises:
        UsageError: the cells do not fill blocks, or a tensor has not as many as fit.
    """
    masks = [mask.clone() for mask in divided]
    for level, mask in enumerate(masks, start=1):
        expected = tuple(count >> level for count in cells)
        if tuple(mask.shape) != expected or min(expected) < 1 or any(count % (1 << level) for count in cells):
            raise UsageError(
                f"An octree of {cells} cells can't have {tuple(mask.shape)} blocks of side {1 << level}; make cells a "
                "multiple of the largest blocks, and blocks of each side fill them."
            )
    pool = torch.nn.functional.max_pool3d
    for finer, coarser in pairwise(masks):
        near = pool(finer.float()[None, None], 3, stride=1, padding=1)
        coarser |= pool(near, 2)[0, 0] > 0
    device = masks[0].device if masks else None
    lows, sizes = [], []
    for level in range(len(masks) + 1):
        shape = [count >> level for count in cells]
        leaf = _halved(masks[level]) if level < len(masks) else torch.ones(shape, dtype=torch.bool, device=device)
        if level:
            leaf = leaf & ~masks[level - 1]
        lows.append(leaf.nonzero() << level)
        sizes.append(torch.full_like(lows[-1][:, 0], 1 << level))
    return octree_of(cells, torch.cat(lows), torch.cat(sizes))


def equal_leaves(cells: tuple[int, int, int], levels: int) -> Octree:
    """Leaves of one size.

    Args:
        cells: of the smallest size, along each axis.
        levels: how often a leaf can be halved; its side is 2 to this power.

    Raises:
        UsageError: leaves of this size do not fill the cells.
    """
    side = 1 << levels
    if levels < 0 or min(cells) < side or any(count % side for count in cells):
        raise UsageError(f"{cells} cells can't be filled by leaves of side {side}; take multiples of it.")
    # on the CPU also where sizes are asked for without values
    counts = [torch.arange(0, count, side, device="cpu") for count in cells]
    lows = torch.cartesian_prod(*counts)
    return octree_of(cells, lows, torch.full_like(lows[:, 0], side))


def divide_leaves(octree: Octree, leaves: Bool[Tensor, "L"]) -> Octree:
    """The octree in which at least these leaves are eight each; those of side 1 stay."""
    levels = int(octree.sizes.max()).bit_length() - 1
    if not levels:
        return octree
    masks = []
    for level in range(1, levels + 1):
        side = 1 << level
        parted = (octree.sizes < side) | (leaves & (octree.sizes == side))
        masks.append(torch.zeros([count >> level for count in octree.cells], dtype=torch.bool, device=leaves.device))
        masks[-1][tuple((octree.lows[parted] >> level).T)] = True
    return balanced_octree(octree.cells, masks)


def octree_of(cells: tuple[int, int, int], lows: Int[Tensor, "L 3"], sizes: Int[Tensor, "L"]) -> Octree:
    """The octree of leaves that are known to fill the box and to be balanced, given in any order."""
    order = _keys(lows, cells).argsort()
    lows, sizes = lows[order], sizes[order]
    corners = lows[:, None] + sizes[:, None, None] * torch.as_tensor(CORNERS, device=lows.device)
    keys, rows = _keys(corners, cells).unique(return_inverse=True)
    _, y, z = (count + 1 for count in cells)
    nodes = torch.stack((keys // (y * z), keys // z % y, keys % z), dim=1)
    return Octree(cells, lows, sizes, nodes, rows)


def corner_shares(places: Float[Tensor, "n 3"]) -> Float[Tensor, "n 8"]:
    """Of a cube's corners at places in it, 0 to 1 along each axis: linear along each."""
    upper = torch.as_tensor(CORNERS, device=places.device).bool()
    return torch.where(upper, places[:, None], 1 - places[:, None]).prod(2)


def bent(
    at_corners: Float[Tensor, "n 8"],
    values: Float[Tensor, "n m"],
    places: Float[Tensor, "m 3"],
    tolerance: float | Float[Tensor, "n"],
) -> Bool[Tensor, "n"]:
    """Cubes with values of both signs that are not linear along each axis.

    Args:
        at_corners: of each cube.
        values: within each cube, its corners included.
        places: where, 0 to 1 along each axis.
        tolerance: by which values may lie beside what the corners say, on the way along the mean slope; sides of a
            cube, one for all or one each.
    """
    crossed = (values < 0).any(1) & (values >= 0).any(1)
    # mean difference along each axis, a side
    differences = (2 * torch.as_tensor(CORNERS, device=values.device) - 1).to(values) / 4
    slope = (at_corners @ differences).norm(dim=1)
    return crossed & ((values - at_corners @ corner_shares(places).T).abs().amax(1) > tolerance * slope)


def _keys(places: Tensor, cells: tuple[int, int, int]) -> Tensor:
    """Numbers of places in the box, in the order of rows."""
    _, y, z = (count + 1 for count in cells)
    return (places[..., 0] * y + places[..., 1]) * z + places[..., 2]


def _halved(blocks: Tensor) -> Tensor:
    """The blocks of half the side."""
    for axis in range(3):
        blocks = blocks.repeat_interleave(2, dim=axis)
    return blocks
