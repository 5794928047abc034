"""Dual marching cubes: contract and PyTorch reference of its connectivity, and vertices that values can be trained by.

Nielson, "Dual marching cubes" (2004): a vertex for every patch of the surface within a cell, a quadrilateral for every
cut edge of the grid. Patches, and the faces between cells that are decided together so that the surface is a manifold,
are told in `onefield.kernels.dual_marching_cubes_tables`. A corner whose value equals the isovalue counts as outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.dispatch import Operation
from onefield.kernels.dual_marching_cubes_tables import OWN_EDGES, RING_EDGES, RING_OFFSETS, DualTables, dual_tables
from onefield.kernels.marching_cubes import CROSSING_MARGIN, cell_cases, check_volume
from onefield.kernels.marching_cubes_tables import CORNERS, EDGE_AXES, EDGE_STARTS


@dataclass(frozen=True)
class DualConnectivity:
    """What the signs alone decide.

    Attributes:
        cells: the lowest corners of the cells that the surface crosses, in ascending order.
        vertex_cells: of each vertex, the row of its cell; vertices of a cell follow each other.
        crossing_vertices, crossing_edges: each cut edge of each cell: the vertex it belongs to, ascending, and which of
            the cell's twelve edges it is.
        quads: the four vertices around each cut edge of the grid that has four cells, counter-clockwise from outside.
            Quads come in the order of the cells whose lowest corner their edge begins at, then by axis.
    """

    cells: Int[Tensor, "C 3"]
    vertex_cells: Int[Tensor, "V"]
    crossing_vertices: Int[Tensor, "I"]
    crossing_edges: Int[Tensor, "I"]
    quads: Int[Tensor, "Q 4"]

    def crossing_cells(self) -> Int[Tensor, "I"]:
        """The row of the cell of each crossing."""
        return self.vertex_cells[self.crossing_vertices]

    def crossing_ends(self) -> tuple[Int[Tensor, "I 3"], Int[Tensor, "I 3"]]:
        """The corners of the grid between which each crossing lies, lower and upper."""
        corners = torch.as_tensor(CORNERS[EDGE_STARTS], device=self.cells.device)
        steps = torch.eye(3, dtype=torch.int64, device=self.cells.device)
        low = self.cells.index_select(0, self.crossing_cells()) + corners.index_select(0, self.crossing_edges)
        steps = steps[torch.as_tensor(EDGE_AXES, device=self.cells.device)]
        return low, low + steps.index_select(0, self.crossing_edges)

    def mean_of_crossings(self, values: Float[Tensor, "I d"], weights: Float[Tensor, "I"]) -> Float[Tensor, "V d"]:
        """At each vertex, the weighted mean over its crossings."""
        return weighted_means(self.crossing_vertices, len(self.vertex_cells), values, weights)


def dual_connectivity_reference(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `dual_connectivity`; vectorised over the cells."""
    tables = dual_tables()
    cases = cell_cases(volume.double() < isovalue)
    cells = ((cases != 0) & (cases != 255)).nonzero()
    configurations = _configurations(cases, cells, tables)
    patches = torch.as_tensor(tables.patches, device=volume.device)[configurations].long()
    counts = torch.as_tensor(tables.patch_counts, device=volume.device)[configurations].long()
    first = counts.cumsum(0) - counts
    vertex_cells = torch.repeat_interleave(torch.arange(len(cells), device=volume.device), counts)
    rows, edges = (patches >= 0).nonzero(as_tuple=True)
    vertices = first[rows] + patches[rows, edges]
    order = torch.argsort(vertices, stable=True)
    quads = _quads(cases, cells, first, patches)
    return cells, vertex_cells, vertices[order], edges[order], quads


def _configurations(cases: Tensor, cells: Tensor, tables: DualTables) -> Tensor:
    """Cases, joined where the neighbour across the face can join it too."""
    joint_faces = torch.as_tensor(tables.joint_faces, device=cases.device).long()
    own = cases[tuple(cells.T)]
    faces = joint_faces[own]
    axes, sides = faces.clamp(min=0) // 2, faces % 2
    neighbours = cells.clone()
    neighbours.scatter_add_(1, axes[:, None], (2 * sides - 1)[:, None])
    sizes = cases.new_tensor(cases.shape)
    exists = (faces >= 0) & (neighbours >= 0).all(1) & (neighbours < sizes).all(1)
    across = joint_faces[cases[tuple(neighbours.clamp(min=0).minimum(sizes - 1).T)]]
    joined = torch.as_tensor(tables.joined, device=cases.device).long()
    return torch.where(exists & (across >= 0), joined[own], own)


def _quads(cases: Tensor, cells: Tensor, first: Tensor, patches: Tensor) -> Tensor:
    device = cases.device
    rows = cases.new_zeros(cases.shape)
    rows[tuple(cells.T)] = torch.arange(len(cells), device=device)
    offsets, edges = (torch.as_tensor(table, device=device) for table in (RING_OFFSETS, RING_EDGES))
    cut = patches[:, torch.as_tensor(OWN_EDGES, device=device)] >= 0
    # the other cells around an edge lie one step back along both other axes
    inner = torch.stack([(cells[:, [(a + 1) % 3, (a + 2) % 3]] > 0).all(1) for a in range(3)], dim=1)
    owners, axes = (cut & inner).nonzero(as_tuple=True)
    around = rows[tuple((cells[owners, None] + offsets[axes]).unbind(2))]
    quads = first[around] + patches[around, edges[axes]]
    inside = cases[tuple(cells[owners].T)] & 1
    return torch.where(inside[:, None] == 1, quads, quads[:, [0, 3, 2, 1]])


def _fake(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    context = torch.library.get_ctx()
    cells, vertices, crossings, quads = (context.new_dynamic_size() for _ in range(4))

    def whole(*shape: int) -> Tensor:
        return volume.new_empty(shape, dtype=torch.int64)

    return whole(cells, 3), whole(vertices), whole(crossings), whole(crossings), whole(quads, 4)


_operation = Operation(
    name="dual_connectivity",
    schema="(Tensor volume, float isovalue) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    reference=dual_connectivity_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.dual_marching_cubes:dual_connectivity",
)


def dual_connectivity(volume: Float[Tensor, "X Y Z"], isovalue: float = 0.0) -> DualConnectivity:
    """How the surface ``volume == isovalue`` hangs together: a closed manifold, but where it leaves the grid.

    Arguments and errors as of `dual_marching_cubes`. The same volume gives the same result whatever the number of
    threads.
    """
    check_volume(volume, "dual marching cubes")
    if volume.dtype != torch.float64:
        volume = volume.float()
    return DualConnectivity(*_operation(volume.detach().contiguous(), float(isovalue)))


def grid_values(grid: Float[Tensor, "X Y Z d"], places: Int[Tensor, "n 3"]) -> Float[Tensor, "n d"]:
    """Rows of a grid at whole places; its gradient is added up in one pass."""
    _, y, z = grid.shape[:3]
    rows = (places[:, 0] * y + places[:, 1]) * z + places[:, 2]
    return grid.flatten(0, 2).index_select(0, rows)


def weighted_means(
    owners: Int[Tensor, "I"], count: int, values: Float[Tensor, "I d"], weights: Float[Tensor, "I"]
) -> Float[Tensor, "n d"]:
    """For each of so many owners, the mean of what it owns."""
    total = values.new_zeros((count, values.shape[1])).index_add(0, owners, values * weights[:, None])
    weight = weights.new_zeros(count).index_add(0, owners, weights)
    return total / weight[:, None]


def crossing_fractions(low: Float[Tensor, "I"], high: Float[Tensor, "I"]) -> Float[Tensor, "I"]:
    """Where a linear function between two values of different sign is zero, as a share of the way from low to high.

    `CROSSING_MARGIN` away from both ends at least. The gradient is that without margin, so that training can move a
    crossing away from a corner.
    """
    fractions = low / (low - high)
    kept = fractions.detach().clamp(CROSSING_MARGIN, 1 - CROSSING_MARGIN)
    return fractions + (kept - fractions.detach())


def dual_marching_cubes(
    volume: Float[Tensor, "X Y Z"], isovalue: float = 0.0
) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The surface ``volume == isovalue`` around the corners where ``volume < isovalue``, one vertex a patch of a cell.

    A vertex is the mean of the crossings of its patch; a quadrilateral is split along its shorter diagonal. Triangles
    are far more regular than those of marching cubes, and edges and corners of the surface are cut off by up to a cell.

    Args:
        volume: values at the corners of a grid, axis order x, y, z; at least two corners an axis. For a quantity that
            is larger inside (density, occupancy) negate both arguments.
        isovalue: the level.

    Returns:
        Vertices in index coordinates (corner i, j, k lies at i, j, k), differentiable with respect to the volume, and
        faces, counter-clockwise seen from outside. The surface ends half a cell before the border of the grid.

    Raises:
        UsageError: the volume has not three axes of at least two corners, or is not floating point.
        DataError: a value is NaN or infinite.
    """
    connectivity = dual_connectivity(volume, isovalue)
    level = volume if volume.dtype == torch.float64 else volume.float()
    low, high = connectivity.crossing_ends()
    low_levels, high_levels = (grid_values(level[..., None], ends)[:, 0] - isovalue for ends in (low, high))
    fractions = crossing_fractions(low_levels, high_levels)
    points = low + fractions[:, None] * (high - low)
    vertices = connectivity.mean_of_crossings(points, torch.ones_like(fractions))
    return vertices, split_quads(connectivity.quads, shorter_diagonals(vertices, connectivity.quads))


def shorter_diagonals(vertices: Float[Tensor, "V 3"], quads: Int[Tensor, "Q 4"]) -> Int[Tensor, "Q"]:
    """0 where a quadrilateral's diagonal from corner 0 to 2 is no longer than the other, else 1."""
    a, b, c, d = vertices.detach()[quads].unbind(1)
    return ((c - a).square().sum(1) > (d - b).square().sum(1)).long()


def split_quads(quads: Int[Tensor, "Q 4"], diagonals: Int[Tensor, "Q"]) -> Int[Tensor, "2*Q 3"]:
    """Two triangles a quadrilateral, along the diagonal from corner 0 to 2 (0) or from 1 to 3 (1)."""
    corners = quads.new_tensor([[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]])[diagonals]
    return quads[:, None].expand(-1, 2, -1).gather(2, corners).flatten(0, 1)
