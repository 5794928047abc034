"""How a surface hangs together that lies between the nodes of an octree: dual marching cubes on its leaves.

Nodes are inside or outside, as the corners of a grid are. An edge of a leaf is cut where its ends differ; where finer
leaves halve it, its halves count instead (*minimal edges*, Ju et al., "Dual contouring of Hermite data", 2002, section
4). On each face between two leaves, arcs join the cut edges around it in pairs so that runs of inside nodes are
separated; both leaves see the same arcs. In each leaf arcs close to loops, and each loop has one vertex of the mesh.
Each cut edge has a face of the mesh: a quadrilateral between four leaves, a triangle where the edge lies on a face of a
leaf twice as large.

Two arcs on one face would give the same edge of the mesh twice where both belong to one loop on either side. Their ends
are exchanged then, which divides both loops and so never brings such a pair about elsewhere. On a grid of equal leaves
this is the rule of `onefield.kernels.dual_marching_cubes_tables`. So any signs at the nodes of a balanced octree give a
manifold, closed but where it leaves the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.kernels.dual_marching_cubes_tables import RING_OFFSETS
from onefield.kernels.marching_cubes_tables import EDGE_AXES, EDGE_COUNT, EDGE_STARTS
from onefield.kernels.octree import NOWHERE, Octree

# Corners of a face and the middles of its sides, which finer neighbours make nodes, counter-clockwise.
_RING = ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1))
# A leaf has at most two edges in place of each of its own, and four on each face: loops are found in so many doublings.
_LONGEST_LOOP = 2 * EDGE_COUNT + 4 * 6


@dataclass(frozen=True)
class OctreeConnectivity:
    """What the signs alone decide.

    Attributes:
        vertex_leaves: the leaf of each vertex, ascending.
        crossing_vertices: the vertex of each crossing, ascending; each cut edge has one in each leaf around it.
        crossing_nodes: the nodes between which it lies, lower and upper.
        crossing_axes: the axis along which.
        quads: the four vertices around each cut edge between four leaves, counter-clockwise from outside.
        diagonals: whether a quadrilateral may be split from corner 0 to 2, and from 1 to 3; the other way would give
            an edge that a second quadrilateral has too. One of them always may be taken.
        triangles: the three vertices around each cut edge between three leaves, counter-clockwise from outside.
    """

    vertex_leaves: Int[Tensor, "V"]
    crossing_vertices: Int[Tensor, "I"]
    crossing_nodes: Int[Tensor, "I 2"]
    crossing_axes: Int[Tensor, "I"]
    quads: Int[Tensor, "Q 4"]
    diagonals: Bool[Tensor, "Q 2"]
    triangles: Int[Tensor, "T 3"]


@dataclass(frozen=True)
class _Edges:
    """Minimal edges that are cut, in the order of ``low * 3 + axis``; `leaves` lie around each as `RING_OFFSETS` do."""

    low: Tensor
    high: Tensor
    axis: Tensor
    length: Tensor
    leaves: Tensor

    def find(self, low: Tensor, axis: Tensor) -> Tensor:
        """Rows of edges that begin at a node; -1 where none is cut."""
        keys, asked = self.low * 3 + self.axis, low * 3 + axis
        rows = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
        return torch.where((low >= 0) & (keys[rows] == asked), rows, NOWHERE)


@dataclass(frozen=True)
class _Uses:
    """Cut edges as parts of leaves: each pair of the two once, by leaf and then by edge; `ring` holds those around."""

    leaf: Tensor
    edge: Tensor
    ring: Tensor
    edge_count: int

    def find(self, leaf: Tensor, edge: Tensor) -> Tensor:
        """Rows of pairs, all of which exist but those without a leaf, which get -1."""
        keys = self.leaf * self.edge_count + self.edge
        return torch.where(leaf < 0, NOWHERE, torch.searchsorted(keys, leaf * self.edge_count + edge))


def octree_connectivity(octree: Octree, values: Float[Tensor, "N"]) -> OctreeConnectivity:
    """The surface around the nodes whose values are negative.

    Args:
        octree: balanced.
        values: at its nodes; zero counts as outside.

    Raises:
        UsageError: not one value a node.
        DataError: a value is NaN or infinite.
    """
    if tuple(values.shape) != (len(octree.nodes),):
        raise UsageError(
            f"An octree of {len(octree.nodes):,} nodes needs as many values, got a tensor of shape "
            f"{tuple(values.shape)}."
        )
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise DataError(
            f"The octree's value is {float(values[first]):g} at node {tuple(octree.nodes[first].tolist())}; values "
            "must be finite."
        )
    inside = values.detach() < 0
    edges = _cut_edges(octree, inside)
    if not len(edges.low):
        return _nothing(edges.low)
    uses = _uses(edges)
    labels = _loops(uses, _arcs(octree, edges, inside))
    loops, vertex_of_use = labels.unique(return_inverse=True)
    order = vertex_of_use.argsort(stable=True)
    crossed = uses.edge[order]
    ends = torch.stack((edges.low, edges.high), dim=1)
    polygons = _polygons(octree, edges, vertex_of_use[uses.ring], inside)
    return OctreeConnectivity(uses.leaf[loops], vertex_of_use[order], ends[crossed], edges.axis[crossed], *polygons)


def _nothing(empty: Tensor) -> OctreeConnectivity:
    return OctreeConnectivity(
        empty, empty, empty.reshape(0, 2), empty, empty.reshape(0, 4), empty.reshape(0, 2).bool(), empty.reshape(0, 3)
    )


def minimal_edges(
    octree: Octree, leaves: Int[Tensor, "n"], numbers: Int[Tensor, "n"]
) -> tuple[Int[Tensor, "e"], Int[Tensor, "e"], Int[Tensor, "e"], Int[Tensor, "e"]]:
    """Edges of leaves that no finer leaf halves, each once.

    Args:
        leaves: which ones' edges.
        numbers: which of the twelve.

    Returns:
        Rows of their lower and upper nodes, axes and lengths, in the order of ``low * 3 + axis``.
    """
    starts, axes = (torch.as_tensor(table, device=leaves.device) for table in (EDGE_STARTS, EDGE_AXES))
    axis, length = axes[numbers], octree.sizes[leaves]
    low = octree.corners[leaves, starts[numbers]]
    high = octree.corners[leaves, starts[numbers] + (1 << axis)]
    units = torch.eye(3, dtype=torch.int64, device=leaves.device)
    middles = octree.find_nodes(octree.nodes[low] + units[axis] * (length // 2)[:, None])
    # of the smallest edges the lower end itself is found
    whole = (middles < 0) | (length == 1)
    low, high, axis, length = (part[whole] for part in (low, high, axis, length))
    keys, of_key = (low * 3 + axis).unique(return_inverse=True)
    one = torch.zeros_like(keys).index_copy(0, of_key, torch.arange(len(of_key), device=keys.device))
    return low[one], high[one], axis[one], length[one]


def _cut_edges(octree: Octree, inside: Tensor) -> _Edges:
    starts, axes = (torch.as_tensor(table, device=inside.device) for table in (EDGE_STARTS, EDGE_AXES))
    ends = inside[octree.corners]
    leaves, numbers = (ends[:, starts] != ends[:, starts + (1 << axes)]).nonzero(as_tuple=True)
    low, high, axis, length = minimal_edges(octree, leaves, numbers)
    around = torch.as_tensor(RING_OFFSETS, device=inside.device)[axis]
    return _Edges(low, high, axis, length, octree.find_leaves(octree.nodes[low][:, None] + around))


def _uses(edges: _Edges) -> _Uses:
    count = len(edges.low)
    numbers = torch.arange(count, device=edges.low.device)[:, None].expand(-1, 4)
    exists = edges.leaves >= 0
    keys, of_key = (edges.leaves * count + numbers)[exists].unique(return_inverse=True)
    ring = torch.full_like(edges.leaves, NOWHERE).masked_scatter(exists, of_key)
    return _Uses(keys // count, keys % count, ring, count)


@dataclass(frozen=True)
class _Arcs:
    """Arcs on faces: the edges where the face's ring, seen from its upper side, enters and leaves the inside.

    `below` and `above` are the leaves on the lower and upper side of the face.
    """

    enters: Tensor
    leaves: Tensor
    below: Tensor
    above: Tensor


def _faces(octree: Octree, edges: _Edges) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The faces between leaves that cut edges border: lowest corner, axis, side, leaf below and above."""
    first, second = edges.leaves, edges.leaves.roll(-1, dims=1)
    # between the first two leaves around an edge lies a face across the axis that follows the edge's, and so on
    axes = (edges.axis[:, None] + first.new_tensor([1, 2, 1, 2])) % 3
    rising = first.new_tensor([True, True, False, False], dtype=torch.bool)
    below, above = torch.where(rising, first, second), torch.where(rising, second, first)
    kept = first != second
    below, above, axes = below[kept], above[kept], axes[kept]
    sizes = [torch.where(leaf < 0, torch.iinfo(leaf.dtype).max, octree.sizes[leaf]) for leaf in (below, above)]
    own_is_above = sizes[1] <= sizes[0]
    own = torch.where(own_is_above, above, below)
    side = octree.sizes[own]
    units = torch.eye(3, dtype=torch.int64, device=own.device)[axes]
    low = octree.lows[own] + units * torch.where(own_is_above, 0, side)[:, None]
    _, y, z = (count + 1 for count in octree.cells)
    keys = ((low[:, 0] * y + low[:, 1]) * z + low[:, 2]) * 3 + axes
    keys, of_key = keys.unique(return_inverse=True)
    one = torch.zeros_like(keys).index_copy(0, of_key, torch.arange(len(of_key), device=keys.device))
    return low[one], axes[one], side[one], below[one], above[one]


def _arcs(octree: Octree, edges: _Edges, inside: Tensor) -> _Arcs:
    low, axis, side, below, above = _faces(octree, edges)
    units = torch.eye(3, dtype=torch.int64, device=low.device)
    along = torch.stack((units[(axis + 1) % 3], units[(axis + 2) % 3]), dim=1)
    steps = low.new_tensor(_RING)
    places = low[:, None] + (steps[None, :, :, None] * along[:, None]).sum(2) * side[:, None, None] // 2
    nodes = octree.find_nodes(places)
    # the smallest faces have no middles of sides
    nodes[:, 1::2] = torch.where((side == 1)[:, None], NOWHERE, nodes[:, 1::2])
    present = nodes >= 0
    following = nodes.roll(-1, dims=1)
    # where a side has no node in its middle, the second of its two places stands for all of it
    start = torch.where(present, nodes, nodes.roll(1, dims=1))
    exists = present.roll(-1, dims=1)
    turns = low.new_tensor([1, 1, 2, 2, 1, 1, 2, 2])
    forth = low.new_tensor([True] * 4 + [False] * 4, dtype=torch.bool)
    lower = torch.where(forth, start, following)
    found = edges.find(torch.where(exists, lower, NOWHERE), (axis[:, None] + turns) % 3)
    cut = found >= 0
    enters = cut & inside[following]
    partner = torch.full_like(found, NOWHERE)
    for shift in range(1, len(_RING)):
        partner = torch.where(partner < 0, found.roll(-shift, dims=1), partner)
    faces, places_of_arcs = enters.nonzero(as_tuple=True)
    return _Arcs(found[faces, places_of_arcs], partner[faces, places_of_arcs], below[faces], above[faces])


def _loops(uses: _Uses, arcs: _Arcs) -> Tensor:
    """For each use of an edge the lowest one in its loop; no two arcs of a face are in the same two loops."""
    # a leaf below a face sees its ring from outside, one above from within
    enters = [uses.find(leaf, arcs.enters) for leaf in (arcs.below, arcs.above)]
    leaves = [uses.find(leaf, arcs.leaves) for leaf in (arcs.below, arcs.above)]
    between = ((arcs.below >= 0) & (arcs.above >= 0)).nonzero()[:, 0]
    while True:
        labels = _cycles(enters, leaves, len(uses.leaf))
        below, above = (labels[side[between]] for side in enters)
        keys = below * len(labels) + above
        order = keys.argsort(stable=True)
        same = keys[order][1:] == keys[order][:-1]
        if not bool(same.any()):
            return labels
        first, second = order[:-1][same], order[1:][same]
        # one exchange a loop at a time: a second one could join again what the first has divided
        numbers = torch.arange(len(first), device=first.device)
        owner = torch.full_like(labels, len(first))
        for side in (below, above):
            owner = owner.scatter_reduce(0, side[first], numbers, "amin")
        mine = (owner[below[first]] == numbers) & (owner[above[first]] == numbers)
        one, other = between[first[mine]], between[second[mine]]
        for side in leaves:
            side[one], side[other] = side[other], side[one]


def _cycles(enters: list[Tensor], leaves: list[Tensor], count: int) -> Tensor:
    """The lowest member of each member's cycle."""
    following = torch.arange(count, device=enters[0].device)
    for tails, heads in ((enters[0], leaves[0]), (leaves[1], enters[1])):
        exists = tails >= 0
        following[tails[exists]] = heads[exists]
    labels = torch.arange(count, device=following.device)
    for _ in range((_LONGEST_LOOP - 1).bit_length()):
        labels = labels.minimum(labels[following])
        following = following[following]
    return labels


def _polygons(octree: Octree, edges: _Edges, vertices: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quadrilaterals, the diagonals that they may be split along, and triangles."""
    leaves = edges.leaves
    complete = (leaves >= 0).all(1)
    outwards = inside[edges.low]
    doubled = leaves == leaves.roll(-1, dims=1)
    four = complete & ~doubled.any(1)
    quads = torch.where(outwards[four, None], vertices[four], vertices[four][:, [0, 3, 2, 1]])
    # an edge that is shared by two larger leaves is half of theirs, and the other half may have a quadrilateral too
    small = octree.sizes[leaves[four]] == edges.length[four, None]
    # turning a quadrilateral round keeps its diagonals
    diagonals = torch.stack((small[:, 0] | small[:, 2], small[:, 1] | small[:, 3]), dim=1)
    three = (complete & doubled.any(1)).nonzero()[:, 0]
    turns = doubled[three].long().argmax(1, keepdim=True) + torch.arange(1, 4, device=leaves.device)
    triangles = vertices[three].gather(1, turns % 4)
    triangles = torch.where(outwards[three, None], triangles, triangles[:, [0, 2, 1]])
    return quads, diagonals, triangles
