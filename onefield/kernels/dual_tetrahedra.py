"""The inside of a dual surface as tetrahedra, which share whole faces and whose boundary is the surface.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023), section 4.5, from first
principles: every cell stands for a point, a vertex of the surface where it crosses the cell and else the cell's middle.
Around each edge of the grid with two inside ends the points of its four cells make tetrahedra with the edge, two
neighbouring ones each; over each triangle of the surface stands one with the inside end of the triangle's edge. A cell
with several vertices gives each of its faces the one whose patch cuts that face, and where two of its faces at an edge
have different ones, these make a tetrahedron with the edge, too. Where two cells are joined through the middle of
their face, its inside diagonal counts as an edge with two cells. So every face within is shared by two, always, and the
volumes add up to what the surface encloses.

Plain PyTorch over whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.dual_marching_cubes import DualConnectivity
from onefield.kernels.dual_marching_cubes_tables import RING_OFFSETS
from onefield.kernels.marching_cubes_tables import CORNERS, EDGE_AXES, EDGE_COUNT, EDGE_STARTS


@dataclass(frozen=True)
class DualTetrahedra:
    """Tetrahedra over the vertices of a surface, then corners of its grid, then middles of cells.

    Attributes:
        corners: of the grid, inside, that are vertices.
        middles: lowest corners of the cells, all inside, whose middles are vertices.
        tetrahedra: a, b, c and d with ``(b - a) . ((c - a) x (d - a)) >= 0`` where none is turned over.
    """

    corners: Int[Tensor, "G 3"]
    middles: Int[Tensor, "M 3"]
    tetrahedra: Int[Tensor, "T 4"]


def dual_tetrahedra(
    values: Float[Tensor, "X Y Z"], connectivity: DualConnectivity, vertex_count: int, faces: Int[Tensor, "F 3"]
) -> DualTetrahedra:
    """Fills a surface.

    Where it leaves the grid the filling ends half a cell before the border, as the surface does.

    Args:
        values: at the corners, negative inside.
        connectivity: of the values.
        vertex_count: of the surface.
        faces: of the surface, the same number for each quadrilateral of the connectivity, in its order.
    """
    inside = values.detach() < 0
    corner_numbers = torch.full(inside.shape, -1, dtype=torch.int64, device=values.device)
    corners = inside.nonzero()
    corner_numbers[inside] = torch.arange(len(corners), device=values.device) + vertex_count
    whole = _all_corners(inside)
    middles = whole.nonzero()
    of_edges = torch.full((len(connectivity.cells), EDGE_COUNT), -1, dtype=torch.int64, device=values.device)
    of_edges[connectivity.crossing_cells(), connectivity.crossing_edges] = connectivity.crossing_vertices
    points = _points_by_face(connectivity, of_edges, whole, vertex_count + len(corners))
    parts = [_over_surface(inside, connectivity, corner_numbers, faces)]
    for axis in range(3):
        parts.append(_around_edges(inside, corner_numbers, points, axis))
        parts.append(_around_diagonals(inside, corner_numbers, connectivity.cells, of_edges, axis))
    tetrahedra = torch.cat(parts)
    # corners at the border may have nothing around them
    used, tetrahedra = torch.cat((torch.arange(vertex_count, device=values.device), tetrahedra.flatten())).unique(
        return_inverse=True
    )
    kept = used[vertex_count:] - vertex_count
    is_corner = kept < len(corners)
    return DualTetrahedra(
        corners[kept[is_corner]], middles[kept[~is_corner] - len(corners)], tetrahedra[vertex_count:].reshape(-1, 4)
    )


def _all_corners(inside: Tensor) -> Tensor:
    """Cells with all corners inside."""
    for axis in range(3):
        size = inside.shape[axis] - 1
        inside = inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)
    return inside


def _points_by_face(connectivity: DualConnectivity, of_edges: Tensor, whole: Tensor, first_middle: int) -> Tensor:
    """The point that each cell gives each of its faces (axis * 2 + side), -1 in cells all outside."""
    device = whole.device
    numbers = torch.arange(len(connectivity.vertex_cells), device=device)
    first = torch.full_like(of_edges[:, 0], len(numbers)).scatter_reduce(0, connectivity.vertex_cells, numbers, "amin")
    points = torch.full((*whole.shape, 6), -1, dtype=torch.int64, device=device)
    points[whole] = (torch.arange(int(whole.sum()), device=device) + first_middle)[:, None]
    of_faces = torch.stack([of_edges[:, _edges_of(face)].amax(1) for face in range(6)], dim=1)
    points[tuple(connectivity.cells.T)] = torch.where(of_faces >= 0, of_faces, first[:, None])
    return points


def _edges_of(face: int) -> list[int]:
    axis, side = divmod(face, 2)
    starts = CORNERS[EDGE_STARTS]
    return [edge for edge in range(EDGE_COUNT) if EDGE_AXES[edge] != axis and starts[edge, axis] == side]


def _over_surface(inside: Tensor, connectivity: DualConnectivity, corner_numbers: Tensor, faces: Tensor) -> Tensor:
    """A tetrahedron a triangle, to the inside end of the edge that its quadrilateral lies around."""
    cells = connectivity.cells
    steps = torch.eye(3, dtype=torch.int64, device=cells.device)
    own = inside[tuple(cells.T)]
    ends = cells[:, None] + steps
    cut = inside[tuple(ends.unbind(2))] != own[:, None]
    surrounded = torch.stack([(cells[:, [(axis + 1) % 3, (axis + 2) % 3]] > 0).all(1) for axis in range(3)], dim=1)
    # in the order of the quadrilaterals
    row, axis = (cut & surrounded).nonzero(as_tuple=True)
    within = torch.where(own[row][:, None], cells[row], ends[row, axis])
    apexes = corner_numbers[tuple(within.T)]
    a_quad = len(faces) // max(len(apexes), 1)
    return torch.cat((apexes.repeat_interleave(a_quad)[:, None], faces), dim=1)


def _around_edges(inside: Tensor, corner_numbers: Tensor, points: Tensor, axis: int) -> Tensor:
    """Tetrahedra around the edges along an axis with two inside ends."""
    size = inside.shape[axis] - 1
    low = (inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)).nonzero()
    high = low.clone()
    high[:, axis] += 1
    ends = torch.stack((corner_numbers[tuple(low.T)], corner_numbers[tuple(high.T)]), dim=1)
    limits = torch.tensor(points.shape[:3], device=low.device)
    offsets = torch.as_tensor(RING_OFFSETS[axis], device=low.device)
    entered, left = [], []
    for n in range(4):
        cells = low + offsets[n]
        exists = ((cells >= 0) & (cells < limits)).all(1)
        at = tuple(torch.where(exists[:, None], cells, 0).T)
        for other, kept in (((n - 1) % 4, entered), ((n + 1) % 4, left)):
            step = RING_OFFSETS[axis][other] - RING_OFFSETS[axis][n]
            across = int(step.nonzero()[0][0])
            face = 2 * across + int(step[across] > 0)
            kept.append(torch.where(exists, points[at][:, face], -1))
    # around the edge: the point by which a cell is entered, that by which it is left, that of the next one, ...
    walk = [point for pair in zip(entered, left, strict=True) for point in pair]
    pairs = torch.stack([torch.stack((walk[n], walk[(n + 1) % 8]), dim=1) for n in range(8)], dim=1)
    kept = (pairs[..., 0] != pairs[..., 1]) & (pairs >= 0).all(-1)
    edge, place = kept.nonzero(as_tuple=True)
    return torch.cat((ends[edge], pairs[edge, place]), dim=1)


def _around_diagonals(inside: Tensor, corner_numbers: Tensor, cells: Tensor, of_edges: Tensor, axis: int) -> Tensor:
    """Tetrahedra around the inside diagonals of the faces across an axis through which two cells are joined."""
    device = cells.device
    rows = torch.full([size - 1 for size in inside.shape], -1, dtype=torch.int64, device=device)
    rows[tuple(cells.T)] = torch.arange(len(cells), device=device)
    steps = torch.eye(3, dtype=torch.int64, device=device)
    below = (cells[:, axis] < rows.shape[axis] - 1).nonzero()[:, 0]
    base = cells[below] + steps[axis]
    above = rows[tuple(base.T)]
    # counter-clockwise about the axis
    first, second = steps[(axis + 1) % 3], steps[(axis + 2) % 3]
    corners = [base, base + first, base + first + second, base + second]
    is_inside = torch.stack([inside[tuple(corner.T)] for corner in corners], dim=1)
    numbers = torch.stack([corner_numbers[tuple(corner.T)] for corner in corners], dim=1)
    found = []
    for start in range(2):
        inner, outer = [start, start + 2], [(start + 1) % 4, (start + 3) % 4]
        ambiguous = is_inside[:, inner].all(1) & ~is_inside[:, outer].any(1)
        pick = ambiguous.nonzero()[:, 0]
        lower, upper = of_edges[below[pick]], of_edges[above[pick]]
        # owners of the edges after each corner; those beside an outside corner are one patch where cells are joined
        owners = [
            torch.stack([owner[:, _edge_of_face(axis, side, (start + n) % 4)] for n in range(4)], dim=1)
            for owner, side in ((lower, 1), (upper, 0))
        ]
        joined = ((owners[0][:, 0] != owners[0][:, 3]) | (owners[1][:, 0] != owners[1][:, 3])).nonzero()[:, 0]
        ring = torch.stack([owners[1][:, 0], owners[0][:, 0], owners[0][:, 2], owners[1][:, 2]], dim=1)[joined]
        pairs = torch.stack((ring, ring.roll(-1, dims=1)), dim=2)
        which, place = (pairs[..., 0] != pairs[..., 1]).nonzero(as_tuple=True)
        ends = numbers[pick[joined]][:, inner]
        found.append(torch.cat((ends[which], pairs[which, place]), dim=1))
    return torch.cat(found)


def _edge_of_face(axis: int, side: int, corner: int) -> int:
    """Of a cell, the edge from a corner of the face across an axis to the next, counter-clockwise about the axis."""
    along = (axis + 1 + corner % 2) % 3
    # the edges after corners 0 to 3 begin at the first, second, fourth and first corner
    first, second = ((0, 0), (1, 0), (0, 1), (0, 0))[corner]
    start = side << axis | first << (axis + 1) % 3 | second << (axis + 2) % 3
    (edge,) = ((along == EDGE_AXES) & (start == EDGE_STARTS)).nonzero()[0].tolist()
    return edge
