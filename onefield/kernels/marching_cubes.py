"""Marching cubes: contract and PyTorch reference.

Lorensen and Cline, "Marching cubes" (1987), with the topology of the trilinear interpolant (Chernyaev, "Marching cubes
33", 1995): ambiguous faces are decided by Nielson and Hamann's asymptotic decider (1991), and ambiguous interiors by
the saddle of the slice in which two corner regions can be joined. Any finite volume gives a manifold surface, closed
but where it leaves the grid. A corner whose value equals the isovalue counts as outside, and crossings keep
`CROSSING_MARGIN` from the corners, so that such corners give neither openings nor degenerate triangles.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.kernels.dispatch import Operation
from onefield.kernels.marching_cubes_tables import (
    CORNERS,
    EDGE_AXES,
    EDGE_COUNT,
    EDGE_STARTS,
    FACE_RINGS,
    SLICE_DIAGONALS,
    MarchingCubesTables,
    marching_cubes_tables,
)

# Least distance, in cells, between a vertex and a grid corner: far below what a cell resolves, and still 16 float32
# steps at index 512, so that vertices on different edges never get the same position.
CROSSING_MARGIN = 2.0**-10


def marching_cubes_reference(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor]:
    """See `marching_cubes`; vectorised over the cells that the surface crosses."""
    tables = marching_cubes_tables()
    level = volume.double() - isovalue
    inside = level < 0
    edge_ids, positions = _edge_vertices(level, inside, volume.dtype)
    cells, cases = _surface_cells(inside)
    variants = _variants(level, cells, cases, tables)
    cell_edges = _cell_edge_ids(edge_ids, cells)
    center_ids, center_positions = _center_vertices(positions, cell_edges, variants, tables)
    cell_vertices = torch.cat((cell_edges, center_ids), dim=1)
    corners = torch.as_tensor(tables.triangles, device=volume.device)[variants].long()
    kept = corners[..., 0] >= 0
    faces = cell_vertices.gather(1, corners.clamp(min=0).flatten(1)).reshape(corners.shape)[kept]
    return torch.cat((positions, center_positions)), faces


def _edge_vertices(level: Tensor, inside: Tensor, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Vertex numbers of the cut edges along each axis (by their lower corner), and positions in that order."""
    numbers, positions, total = [], [], 0
    for axis in range(3):
        length = level.shape[axis] - 1
        low, high = level.narrow(axis, 0, length), level.narrow(axis, 1, length)
        cut = inside.narrow(axis, 0, length) != inside.narrow(axis, 1, length)
        numbers.append((cut.flatten().cumsum(0) - 1 + total).reshape(cut.shape))
        position = cut.nonzero().to(level.dtype)
        fraction = (low[cut] / (low[cut] - high[cut])).clamp(CROSSING_MARGIN, 1 - CROSSING_MARGIN)
        position[:, axis] += fraction
        positions.append(position)
        total += position.shape[0]
    return numbers, torch.cat(positions).to(dtype)


def cell_cases(inside: Bool[Tensor, "X Y Z"]) -> Int[Tensor, "X-1 Y-1 Z-1"]:
    """The case of each cell: bit c is set where its corner c is inside."""
    x, y, z = (size - 1 for size in inside.shape)
    cases = torch.zeros((x, y, z), dtype=torch.int64, device=inside.device)
    for corner, (i, j, k) in enumerate(CORNERS.tolist()):
        cases |= inside[i : i + x, j : j + y, k : k + z].long() << corner
    return cases


def _surface_cells(inside: Tensor) -> tuple[Tensor, Tensor]:
    cases = cell_cases(inside)
    cells = ((cases != 0) & (cases != 255)).nonzero()
    return cells, cases[tuple(cells.T)]


def _variants(level: Tensor, cells: Tensor, cases: Tensor, tables: MarchingCubesTables) -> Tensor:
    """Asymptotic decider: the diagonal of an ambiguous face with the larger product of its values is joined."""
    at_corners = torch.stack([level[tuple((cells + cells.new_tensor(offset)).T)] for offset in CORNERS.tolist()], dim=1)
    ambiguous = torch.as_tensor(tables.ambiguous_faces, device=cells.device)[cases].long()
    variants = torch.as_tensor(tables.first_variants, device=cells.device)[cases].long()
    rings = torch.as_tensor(FACE_RINGS, device=cells.device)
    for n in range(ambiguous.shape[1]):
        ring = rings[ambiguous[:, n].clamp(min=0)]
        a, b, c, d = at_corners.gather(1, ring).unbind(1)
        first, second = a * c, b * d
        joined = torch.where(a < 0, first > second, second > first)
        variants += ((ambiguous[:, n] >= 0) & joined).long() << n
    column = _joined_slice(at_corners)
    tunnels = torch.as_tensor(tables.tunnels, device=cells.device)[variants].long()
    tunnel = tunnels.gather(1, column.clamp(min=0)[:, None])[:, 0]
    return torch.where((column >= 0) & (tunnel >= 0), tunnel, variants)


def _joined_slice(at_corners: Tensor) -> Tensor:
    """Which opposite corners the critical slice across z joins (column of the table's tunnels), -1 where none.

    In the slice at t the decider compares the two diagonals' products; their difference is quadratic in t. Regions that
    no face joins can only be joined where it is extreme.
    """
    low = at_corners[:, :4].unbind(1)
    slope = (at_corners[:, 4:] - at_corners[:, :4]).unbind(1)
    (a, c), (b, d) = SLICE_DIAGONALS
    quadratic = slope[a] * slope[c] - slope[b] * slope[d]
    linear = (low[a] * slope[c] + low[c] * slope[a]) - (low[b] * slope[d] + low[d] * slope[b])
    extreme = -0.5 * linear / quadratic
    within = (quadratic != 0) & (extreme > 0) & (extreme < 1)
    values = [low[n] + extreme * slope[n] for n in range(4)]
    first_joined = values[a] * values[c] > values[b] * values[d]
    first_inside = (values[a] < 0) & (values[c] < 0) & (values[b] >= 0) & (values[d] >= 0)
    second_inside = (values[b] < 0) & (values[d] < 0) & (values[a] >= 0) & (values[c] >= 0)
    # equal products separate the inside
    inside_joined = torch.where(first_inside, first_joined, values[b] * values[d] > values[a] * values[c])
    diagonal = (first_inside != inside_joined).long()
    column = diagonal + 2 * (~inside_joined).long()
    return torch.where(within & (first_inside | second_inside), column, -1)


def _cell_edge_ids(edge_ids: list[Tensor], cells: Tensor) -> Tensor:
    columns = []
    for edge in range(EDGE_COUNT):
        numbers = edge_ids[int(EDGE_AXES[edge])]
        columns.append(numbers[tuple((cells + cells.new_tensor(CORNERS[EDGE_STARTS[edge]].tolist())).T)])
    return torch.stack(columns, dim=1)


def _center_vertices(
    positions: Tensor, cell_edges: Tensor, variants: Tensor, tables: MarchingCubesTables
) -> tuple[Tensor, Tensor]:
    counts = torch.as_tensor(tables.center_counts, device=variants.device)[variants].long()
    loops = torch.as_tensor(tables.center_loops, device=variants.device)[variants].long()
    first = counts.cumsum(0) - counts + positions.shape[0]
    slots = torch.arange(loops.shape[1], device=variants.device)
    used = slots < counts[:, None]
    on_loop = (loops >= 0)[used]
    around = cell_edges[:, None].expand(-1, loops.shape[1], -1).gather(2, loops.clamp(min=0))[used]
    # added edge by edge, as the kernel does, so that both round alike
    total = torch.zeros((around.shape[0], 3), dtype=torch.float64, device=positions.device)
    for n in range(EDGE_COUNT):
        total += torch.where(on_loop[:, n, None], positions[around[:, n].clamp(min=0)].double(), 0.0)
    return first[:, None] + slots, (total / on_loop.sum(1, keepdim=True)).to(positions.dtype)


def _fake(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor]:
    context = torch.library.get_ctx()
    vertices, faces = context.new_dynamic_size(), context.new_dynamic_size()
    return volume.new_empty((vertices, 3)), volume.new_empty((faces, 3), dtype=torch.int64)


_operation = Operation(
    name="marching_cubes",
    schema="(Tensor volume, float isovalue) -> (Tensor, Tensor)",
    reference=marching_cubes_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.marching_cubes:marching_cubes",
)


def marching_cubes(
    volume: Float[Tensor, "X Y Z"], isovalue: float = 0.0
) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The surface ``volume == isovalue`` around the corners where ``volume < isovalue``.

    Args:
        volume: values at the corners of a grid, axis order x, y, z; at least two corners an axis. For a quantity that
            is larger inside (density, occupancy) negate both arguments.
        isovalue: the level.

    Returns:
        Vertices in index coordinates (corner i, j, k lies at i, j, k) and faces, counter-clockwise seen from outside.
        One vertex a cut edge, ordered by axis, then by the edge's lower corner; centre vertices of cells last. The same
        volume gives the same mesh, bit for bit, whatever the number of threads. Not differentiable.

    Raises:
        UsageError: the volume has not three axes of at least two corners, or is not floating point.
        DataError: a value is NaN or infinite.
    """
    check_volume(volume, "marching cubes")
    if volume.dtype != torch.float64:
        volume = volume.float()
    return _operation(volume.detach().contiguous(), float(isovalue))


def check_volume(volume: Tensor, method: str) -> None:
    """Refuses what has no surface that could be told.

    Args:
        method: which refuses.

    Raises:
        UsageError: the volume has not three axes of at least two corners, or is not floating point.
        DataError: a value is NaN or infinite.
    """
    if volume.ndim != 3 or min(volume.shape) < 2 or not volume.is_floating_point():
        raise UsageError(
            f"{method[0].upper()}{method[1:]} needs a floating-point volume with three axes of at least two corners, "
            f"got shape {tuple(volume.shape)} of {volume.dtype}."
        )
    lowest, highest = torch.aminmax(volume)
    if not (torch.isfinite(lowest) and torch.isfinite(highest)):
        first = tuple((~torch.isfinite(volume)).nonzero()[0].tolist())
        raise DataError(
            f"The volume is {float(volume[first])} at corner {first}; {method} needs finite values: "
            "mask or clamp them first."
        )
