"""A mesh from a field of closest points, whose surface may be open: it ends where the field's surface ends.

A closest point tells no inside, but from which side a corner of the grid looks at the surface: the surface crosses an
edge where the two ends look in opposite directions at the same sheet. Dual contouring needs no more than such
crossings (Chen et al., "Neural dual contouring" (2022), section 3.3, where a network guesses them): a vertex in each
cell with a crossing, four of them joined around each crossed edge. So no choice of inside and outside is made cell by
cell, in which neighbours could differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import DataError
from onefield.meshing.lattice import BLOCK, DISTANCE_MARGIN, Lattice
from onefield.meshing.orientation import turned_alike
from onefield.meshing.repair import close_holes, part_sheets
from onefield.meshing.report import edges_of
from onefield.types import Mesh

ClosestPoints = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]

# Nearer to the surface than this part of a cell the closest point's direction is noise, and the neighbours' is taken.
_UNSURE = 0.5
# Both ends of a crossed edge together are at most so many cells from the surface: 1 where it is crossed, more where the
# surface ends beside the edge.
_REACH = 1.25
# Closest points of two ends that lie further apart across the surface than this part of a cell are of two sheets.
_ONE_SHEET = 0.5
# Holes whose box has a diagonal below so many cells are noise, and closed.
_LEAST_HOLE = 6.0
# How far over the border of the mesh, in cells, the border of the surface is sought, and how near it must be: a closest
# point that is further away lies inside the surface.
_BEYOND, _NEAREST_BORDER = 1.5, 1.2

_AXES = np.eye(3, dtype=np.int64)
# Cells around an edge along an axis, relative to its lower end, in a ring that turns right-handed about the axis.
_RING = np.array(
    [
        [[0, -1, -1], [0, 0, -1], [0, 0, 0], [0, -1, 0]],
        [[-1, 0, -1], [-1, 0, 0], [0, 0, 0], [0, 0, -1]],
        [[-1, -1, 0], [0, -1, 0], [0, 0, 0], [-1, 0, 0]],
    ]
)


def open_surface(closest: ClosestPoints, lattice: Lattice, chunk: int) -> tuple[Mesh, int]:
    """Extracts the surface that closest points lie on, asking only near it.

    Args:
        closest: the nearest point of the surface, world units; float32 on the CPU for float32 points.
        lattice: where; sheets nearer to one another than a cell may be joined.
        chunk: points a call of ``closest``.

    Returns:
        The mesh (world units, manifold, open where the surface is, faces turned alike) and at how many points the field
        was asked.

    Raises:
        DataError: no edge of the lattice is crossed, or a closest point is not finite.
    """
    ask = _Asked(closest, chunk)
    corners = _corners_near(ask, lattice)
    numbers = torch.full(lattice.corners, -1, dtype=torch.int32)
    numbers[tuple(corners.T)] = torch.arange(len(corners), dtype=torch.int32)
    places = lattice.points(corners)
    reaches = ask.at(places) - places
    sides = _sides(reaches, corners, numbers, max(lattice.spacing))
    quads, crossings = _crossed(corners, numbers, reaches, sides, lattice)
    if not len(quads):
        raise DataError(
            f"The closest points lie on no surface that crosses the grid within {lattice.bounds.minimum} to "
            f"{lattice.bounds.maximum}; take a higher resolution or other bounds, or train further."
        )
    vertices = _cell_vertices(ask, quads, crossings, max(lattice.spacing))
    mesh = part_sheets(turned_alike(Mesh(vertices, _triangles(vertices, quads))))
    # before borders are sought: a hole that noise left has none
    mesh = close_holes(mesh, min(1.0, _LEAST_HOLE * max(lattice.spacing) / _diagonal(mesh)))
    return _to_the_border(mesh, ask, max(lattice.spacing)), ask.count


def _diagonal(mesh: Mesh) -> float:
    return float((mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm())


class _Asked:
    """Asks in chunks, refuses what is not finite, and counts."""

    def __init__(self, closest: ClosestPoints, chunk: int) -> None:
        self._closest = closest
        self._chunk = chunk
        self.count = 0

    def at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        found = torch.cat([self._closest(part) for part in points.split(self._chunk)]) if len(points) else points
        if not bool(torch.isfinite(found).all()):
            first = int((~torch.isfinite(found)).any(1).nonzero()[0])
            where = ", ".join(f"{x:g}" for x in points[first].tolist())
            raise DataError(f"The closest point of ({where}) is not finite; the field's parameters have diverged.")
        self.count += len(points)
        return found


def _corners_near(ask: _Asked, lattice: Lattice) -> Int[Tensor, "n 3"]:
    """Corners of the blocks that the surface may cross, by the distances of their centres."""
    blocks = torch.cartesian_prod(*(torch.arange(count) for count in lattice.blocks))
    centers = ((blocks + 0.5) * BLOCK).minimum(torch.tensor(lattice.cells, dtype=torch.float32))
    places = lattice.points(centers)
    radius = BLOCK / 2 * sum(side * side for side in lattice.spacing) ** 0.5
    near = blocks[(ask.at(places) - places).norm(dim=1) <= DISTANCE_MARGIN * radius]
    within = torch.cartesian_prod(*[torch.arange(BLOCK + 1)] * 3)
    needed = torch.zeros(lattice.corners, dtype=torch.bool)
    last = torch.tensor(lattice.cells)
    for offset in within:
        needed[tuple((near * BLOCK + offset).minimum(last).T)] = True
    return needed.nonzero()


def _sides(
    reaches: Float[Tensor, "n 3"], corners: Int[Tensor, "n 3"], numbers: Int[Tensor, "X Y Z"], cell: float
) -> Float[Tensor, "n 3"]:
    """Unit vectors from corners to the surface; of corners nearly on it, along the normal that their neighbours see."""
    sides = torch.nn.functional.normalize(reaches, dim=1)
    unsure = (reaches.norm(dim=1) < _UNSURE * cell).nonzero()[:, 0]
    spread = reaches[unsure, :, None] * reaches[unsure, None]
    for axis in torch.from_numpy(_AXES):
        for step in (axis, -axis):
            beside = _number_at(numbers, corners[unsure] + step)
            seen = torch.where((beside >= 0)[:, None], reaches[beside.clamp(min=0)], 0.0)
            spread = spread + seen[:, :, None] * seen[:, None]
    normals = torch.linalg.eigh(spread.double())[1][:, :, 2].float()
    facing = torch.where((normals * reaches[unsure]).sum(1, keepdim=True) < 0, -1.0, 1.0)
    sides[unsure] = normals * facing
    return sides


def _number_at(numbers: Int[Tensor, "X Y Z"], corners: Int[Tensor, "n 3"]) -> Int[Tensor, "n"]:
    """The number of each corner, -1 outside the lattice and where nothing was asked."""
    within = corners.clamp(min=0).minimum(torch.tensor(numbers.shape) - 1)
    return torch.where((within == corners).all(1), numbers[tuple(within.T)].long(), -1)


def _crossed(
    corners: Int[Tensor, "n 3"],
    numbers: Int[Tensor, "X Y Z"],
    reaches: Float[Tensor, "n 3"],
    sides: Float[Tensor, "n 3"],
    lattice: Lattice,
) -> tuple[Int[Tensor, "q 4"], Float[Tensor, "q 3"]]:
    """Four vertices around each crossed edge, numbered by cells that have one, and where it is crossed, world units."""
    cell = max(lattice.spacing)
    rings, crossings = [], []
    for axis, along in enumerate(torch.from_numpy(_AXES)):
        other = _number_at(numbers, corners + along)
        low = (other >= 0).nonzero()[:, 0]
        high = other[low]
        crossed = _between(reaches, sides, (low, high), along * lattice.spacing[axis], cell)
        low, high = low[crossed], high[crossed]
        around = corners[low, None] + torch.from_numpy(_RING[axis])
        inside = ((around >= 0) & (around < torch.tensor(lattice.cells))).all(2).all(1)
        low, high = low[inside], high[inside]
        rings.append(around[inside])
        near, far = ((reaches[n] * (sides[low] - sides[high])).sum(1).abs() for n in (low, high))
        # both ends on the surface: any place between them
        share = near / (near + far).clamp(min=torch.finfo(near.dtype).tiny)
        crossings.append(lattice.points(corners[low] + share[:, None] * along))
    ring = torch.cat(rings)
    _, across, up = lattice.cells
    flat = (ring[..., 0] * across + ring[..., 1]) * up + ring[..., 2]
    _, numbered = flat.unique(return_inverse=True)
    return numbered, torch.cat(crossings)


def _between(
    reaches: Float[Tensor, "n 3"],
    sides: Float[Tensor, "n 3"],
    ends: tuple[Int[Tensor, "e"], Int[Tensor, "e"]],
    edge: Float[Tensor, "3"],
    cell: float,
) -> Bool[Tensor, "e"]:
    """Which edges, each from its lower to its upper end, the surface crosses."""
    low, high = ends
    opposite = (sides[low] * sides[high]).sum(1) < 0
    near = reaches[low].norm(dim=1) + reaches[high].norm(dim=1) <= _REACH * cell
    normal = torch.nn.functional.normalize(sides[low] - sides[high], dim=1)
    apart = ((reaches[low] - edge - reaches[high]) * normal).sum(1).abs()
    return opposite & near & (apart <= _ONE_SHEET * cell)


def _cell_vertices(
    ask: _Asked, quads: Int[Tensor, "q 4"], crossings: Float[Tensor, "q 3"], cell: float
) -> Float[Tensor, "V 3"]:
    """The mean of each cell's crossings, moved onto the surface where that is near."""
    count = int(quads.max()) + 1
    total = torch.zeros(count, 3, dtype=torch.float64)
    total.index_add_(0, quads.flatten(), crossings.double().repeat_interleave(4, dim=0))
    middle = (total / torch.bincount(quads.flatten(), minlength=count)[:, None]).float()
    found = ask.at(middle)
    return torch.where(((found - middle).norm(dim=1) <= cell)[:, None], found, middle)


def _triangles(vertices: Float[Tensor, "V 3"], quads: Int[Tensor, "q 4"]) -> Int[Tensor, "F 3"]:
    """Quads cut along their shorter diagonals."""
    a, b, c, d = vertices[quads].unbind(1)
    other = ((b - d).norm(dim=1) < (a - c).norm(dim=1))[:, None]
    first = torch.where(other, quads[:, [0, 1, 3]], quads[:, [0, 1, 2]])
    second = torch.where(other, quads[:, [1, 2, 3]], quads[:, [0, 2, 3]])
    return torch.stack([first, second], dim=1).reshape(-1, 3)


def _to_the_border(mesh: Mesh, ask: _Asked, cell: float) -> Mesh:
    """Moves the mesh's border, which runs along cells, to the surface's: the closest point of places just beyond it."""
    faces = mesh.faces.cpu().numpy().reshape(-1, 3)
    directed, _, edge_of, uses, _ = edges_of(faces, len(mesh.vertices))
    open_edges = np.flatnonzero(uses[edge_of] == 1)
    if not len(open_edges):
        return mesh
    corners = mesh.vertices[mesh.faces[torch.from_numpy(open_edges // 3)]].double()
    a, b, c = corners.unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    start, end = (torch.from_numpy(directed[open_edges, n]) for n in range(2))
    outward = torch.linalg.cross(mesh.vertices[end].double() - mesh.vertices[start].double(), normals)
    outward = torch.nn.functional.normalize(outward, dim=1)
    total = torch.zeros(len(mesh.vertices), 3, dtype=torch.float64)
    total.index_add_(0, start, outward)
    total.index_add_(0, end, outward)
    moved = torch.cat([start, end]).unique()
    here = mesh.vertices[moved]
    beyond = here + _BEYOND * cell * torch.nn.functional.normalize(total[moved], dim=1).float()
    found = ask.at(beyond)
    near = (found - here).norm(dim=1) <= _NEAREST_BORDER * cell
    vertices = mesh.vertices.clone()
    vertices[moved[near]] = found[near]
    return replace(mesh, vertices=vertices)
