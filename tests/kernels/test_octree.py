"""Octrees: leaves fill the box once, neighbours differ by two at most, and everything asked for is divided."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels.octree import balanced_octree

CELLS = (16, 8, 24)


def drawn(seed, share=0.05):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand([count >> level for count in CELLS], generator=generator) < share for level in (1, 2, 3)]


def sizes_of_cells(octree):
    """The size of the leaf that each smallest cell lies in, painted leaf by leaf; each cell once."""
    sizes = torch.zeros(octree.cells, dtype=torch.int64)
    for (x, y, z), side in zip(octree.lows.tolist(), octree.sizes.tolist(), strict=True):
        part = sizes[x : x + side, y : y + side, z : z + side]
        assert part.numel() == side**3
        assert int(part.max()) == 0
        part.fill_(side)
    return sizes


@pytest.mark.parametrize("seed", range(3))
def test_leaves_fill_the_box_once_and_are_balanced(seed):
    divided = drawn(seed)
    sizes = sizes_of_cells(balanced_octree(CELLS, divided)).float()[None, None]
    assert int(sizes.min()) > 0
    # around each cell, corners of its neighbourhood included
    largest = torch.nn.functional.max_pool3d(sizes, 3, stride=1, padding=1)
    assert float((largest / sizes).max()) == 2
    for level, mask in enumerate(divided, start=1):
        smaller = torch.nn.functional.max_pool3d(-sizes, 1 << level, stride=1 << level)[0, 0] > -(1 << level)
        assert bool(smaller[mask].all())


def test_leaves_and_nodes_are_found_by_place():
    octree = balanced_octree(CELLS, drawn(1))
    cells = torch.cartesian_prod(*(torch.arange(count) for count in CELLS))
    rows = octree.find_leaves(cells)
    offsets = cells - octree.lows[rows]
    assert bool(((offsets >= 0) & (offsets < octree.sizes[rows, None])).all())
    assert octree.find_leaves(torch.tensor([[-1, 0, 0], [0, 8, 0], [15, 7, 24]])).tolist() == [-1, -1, -1]
    assert torch.equal(octree.find_nodes(octree.nodes), torch.arange(len(octree.nodes)))
    every = torch.cartesian_prod(*(torch.arange(count + 1) for count in CELLS))
    assert int((octree.find_nodes(every) >= 0).sum()) == len(octree.nodes)
    far = octree.corners[torch.arange(len(octree.lows)), 7]
    assert torch.equal(octree.nodes[far], octree.lows + octree.sizes[:, None])


def test_blocks_that_do_not_fill_the_cells_are_refused():
    with pytest.raises(UsageError, match="blocks of side 2"):
        balanced_octree((6, 6, 5), [torch.zeros(3, 3, 2, dtype=torch.bool)])
