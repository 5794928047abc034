"""A mesh from any field that has a surface."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onefield.errors import DataError, ResourceError, UsageError, nearest_name
from onefield.fields.field import Field
from onefield.kernels.dual_contouring import dual_contouring
from onefield.kernels.dual_marching_cubes import dual_marching_cubes
from onefield.kernels.marching_cubes import marching_cubes
from onefield.meshing.lattice import Lattice, Level, SampledLevel, sample_level
from onefield.meshing.octree_level import octree_surface
from onefield.meshing.open_surface import open_surface
from onefield.types import Bounds, Mesh

# How a level set becomes a mesh.
LEVEL_SET_EXTRACTORS = ("marching-cubes", "dual-marching-cubes", "adaptive-dual-marching-cubes", "dual-contouring")
# Quantities that define a surface, best first.
SURFACE_QUANTITIES = ("closest_point", "distance", "occupancy", "density")
# A density counts as solid where light loses half its energy within this part of the longest side of the bounds.
HALF_LIGHT_DEPTH = 1 / 64
# Corners along the longest side at which `suggest_isovalue` samples a density.
SUGGESTION_RESOLUTION = 64

_logger = logging.getLogger("onefield.meshing")


@dataclass(frozen=True)
class Extraction:
    """A mesh and how it came about.

    Attributes:
        mesh: the surface in world units, closed unless it comes from closest points.
        quantity, isovalue: what was extracted; closest points have no level, and 0 here.
        cells: cells of the grid along x, y, z.
        evaluations: points at which the field was asked.
        clipped: the inside reaches the bounds; the mesh was closed there by flat faces.
    """

    mesh: Mesh
    quantity: str
    isovalue: float
    cells: tuple[int, int, int]
    evaluations: int
    clipped: bool


def extract_mesh(
    field: Field,
    *,
    resolution: int = 256,
    isovalue: float | None = None,
    quantity: str | None = None,
    bounds: Bounds | None = None,
    extractor: str = "marching-cubes",
    memory_budget: int = 4 * 2**30,
    chunk: int = 2**18,
) -> Mesh:
    """The surface of a field as a mesh; see `extract` for arguments and errors, and for how it came about."""
    return extract(
        field,
        resolution=resolution,
        isovalue=isovalue,
        quantity=quantity,
        bounds=bounds,
        extractor=extractor,
        memory_budget=memory_budget,
        chunk=chunk,
    ).mesh


def extract(
    field: Field,
    *,
    resolution: int = 256,
    isovalue: float | None = None,
    quantity: str | None = None,
    bounds: Bounds | None = None,
    extractor: str = "marching-cubes",
    memory_budget: int = 4 * 2**30,
    chunk: int = 2**18,
) -> Extraction:
    """Extracts a level set, or the surface that closest points lie on, asking the field only near the surface.

    Args:
        field: 3-D, with a quantity of `SURFACE_QUANTITIES`; asked on its own device, without gradients.
        resolution: cells along the longest side of the bounds.
        isovalue: the level; None takes `default_isovalue`.
        quantity: one of `SURFACE_QUANTITIES`; None takes the first of them that the field provides.
        bounds: where, world units; None takes the field's domain. What reaches them is closed there.
        extractor: one of `LEVEL_SET_EXTRACTORS`: marching cubes puts vertices on the surface, dual marching cubes makes
            more regular triangles and rounds edges off, its adaptive kind makes fewer and larger ones where the surface
            is flat, dual contouring keeps edges and corners by the field's slopes.
            Closest points have no level set and one way of their own, `onefield.meshing.open_surface`.
        memory_budget: bytes that the grid may take (4 a corner); the field's own needs come on top, see ``chunk``.
        chunk: points a query of the field.

    Returns:
        The mesh (world units, manifold, faces counter-clockwise from outside; closed, but from closest points open
        where the surface is) and its circumstances.

    Raises:
        UsageError: the field has no such quantity or is not 3-D, the resolution is below 1, the isovalue is not
            finite, or there is no such extractor.
        DataError: no surface at this level (the message tells the range met), or the field is NaN somewhere.
        ResourceError: the grid does not fit into the budget.
    """
    if extractor not in LEVEL_SET_EXTRACTORS:
        raise UsageError(f"Unknown extractor '{extractor}': {nearest_name(extractor, tuple(LEVEL_SET_EXTRACTORS))}.")
    quantity = _surface_quantity(field, quantity)
    bounds = field.domain if bounds is None else bounds
    isovalue = default_isovalue(quantity, bounds) if isovalue is None else float(isovalue)
    if resolution < 1 or not math.isfinite(isovalue):
        raise UsageError(f"A mesh needs at least 1 cell and a finite isovalue, got {resolution} and {isovalue}.")
    lattice = Lattice.over(bounds, resolution)
    _check_memory(lattice, resolution, memory_budget)
    if quantity == "closest_point":
        mesh, evaluations = open_surface(_answers(field, quantity), lattice, chunk)
        return Extraction(mesh, quantity, isovalue, lattice.cells, evaluations, clipped=False)
    sampled = _sample(field, quantity, isovalue, lattice, chunk)
    _check_crossed(sampled, field, quantity, isovalue, bounds)
    vertices, faces = _surface(extractor, sampled.volume, _level_function(field, quantity, isovalue), lattice, chunk)
    if sampled.touches_border:
        _logger.warning(
            "The surface reaches the bounds %s to %s and was closed there; give larger bounds to have all of it.",
            bounds.minimum,
            bounds.maximum,
        )
    # the volume has one layer more than the lattice
    mesh = Mesh(lattice.points(vertices.double() - 1), faces)
    return Extraction(mesh, quantity, isovalue, lattice.cells, sampled.evaluations, sampled.touches_border)


def _surface(extractor: str, volume: Tensor, level: Level, lattice: Lattice, chunk: int) -> tuple[Tensor, Tensor]:
    """Vertices in index coordinates of the volume, and faces."""
    if extractor == "marching-cubes":
        return marching_cubes(volume, 0.0)
    if extractor == "dual-marching-cubes":
        return dual_marching_cubes(volume, 0.0)
    if extractor == "adaptive-dual-marching-cubes":
        return octree_surface(volume)

    def at_indices(points: Tensor) -> Tensor:
        places = points - 1  # the volume has one layer more than the lattice
        within = places.clamp(min=0).minimum(places.new_tensor(lattice.cells))
        levels = torch.cat([level(part) for part in lattice.points(within).split(chunk)])
        # closed at the bounds
        return torch.where((places != within).any(1), max(lattice.bounds.extent), levels)

    return dual_contouring(volume, at_indices)


def default_isovalue(quantity: str, bounds: Bounds) -> float:
    """The level that stands for the surface when none is given.

    Distance 0, occupancy 0.5, density ``ln 2 / (HALF_LIGHT_DEPTH * longest side)``: light that passes the 64th part of
    the longest side loses half its energy. It does not depend on the grid's resolution.
    """
    if quantity == "density":
        return math.log(2) / (HALF_LIGHT_DEPTH * max(bounds.extent))
    return {"closest_point": 0.0, "distance": 0.0, "occupancy": 0.5}[quantity]


def suggest_isovalue(field: Field, *, quantity: str | None = None, bounds: Bounds | None = None) -> float:
    """A level chosen by looking at the field.

    For densities, Otsu's threshold (1979) between the empty and the solid class of the opacities
    ``1 - exp(-density * step)`` on a coarse grid, ``step`` being its spacing; for distance and occupancy the default.

    Raises:
        UsageError: as `extract`.
        DataError: the field is NaN, or has the same density everywhere.
    """
    quantity = _surface_quantity(field, quantity)
    bounds = field.domain if bounds is None else bounds
    if quantity != "density":
        return default_isovalue(quantity, bounds)
    lattice = Lattice.over(bounds, SUGGESTION_RESOLUTION)
    # a level 0 of the density itself: every corner counts as outside, and the volume holds minus the densities
    sampled = sample_level(_level_function(field, quantity, 0.0), lattice, is_distance=False, chunk=2**18)
    density = -sampled.volume[1:-1, 1:-1, 1:-1].reshape(-1).double()
    step = max(lattice.spacing)
    opacity = (-torch.expm1(-density * step)).sort().values
    if float(opacity[-1] - opacity[0]) == 0:
        raise DataError(
            f"{type(field).__name__} has the density {float(density[0]):g} everywhere in {bounds.minimum} to "
            f"{bounds.maximum}, so no level divides it; train it further or give other bounds."
        )
    return float(-torch.log1p(-_otsu(opacity).clamp(max=1 - torch.finfo(torch.float64).eps)) / step)


def _otsu(ascending: Tensor) -> Tensor:
    """The threshold that maximises the variance between the two classes of sorted values."""
    count = torch.arange(1, ascending.numel(), dtype=torch.float64)
    total = ascending.sum()
    below = ascending.cumsum(0)[:-1]
    rest = ascending.numel() - count
    between = count * rest * (below / count - (total - below) / rest) ** 2
    split = int(between.argmax())
    return (ascending[split] + ascending[split + 1]) / 2


def _surface_quantity(field: Field, quantity: str | None) -> str:
    name = type(field).__name__
    provided = [known for known in SURFACE_QUANTITIES if known in field.provides]
    if field.domain.dimension != 3:
        raise UsageError(f"{name} is defined on {field.domain.dimension}-D points; a mesh needs a 3-D field.")
    if quantity is None and provided:
        return provided[0]
    if quantity in provided:
        return quantity
    wanted = f"'{quantity}'" if quantity is not None else "a surface"
    raise UsageError(
        f"{name} was asked for {wanted} but provides {', '.join(sorted(field.provides)) or 'nothing'}; a mesh needs "
        f"one of {', '.join(SURFACE_QUANTITIES)}."
    )


def _answers(field: Field, quantity: str) -> Callable[[Tensor], Tensor]:
    """Points on the CPU to a quantity on the CPU."""
    tensor = next(iter(field.parameters()), next(iter(field.buffers()), None))
    device = torch.device("cpu") if tensor is None else tensor.device

    @torch.no_grad()
    def answer(points: Tensor) -> Tensor:
        return getattr(field.query(points.to(device), want=(quantity,)), quantity).float().cpu()

    return answer


def _level_function(field: Field, quantity: str, isovalue: float) -> Level:
    """Points on the CPU to levels on the CPU, negative inside."""
    answer = _answers(field, quantity)

    def level(points: Tensor) -> Tensor:
        values = answer(points)
        return values - isovalue if quantity == "distance" else isovalue - values

    return level


def _sample(field: Field, quantity: str, isovalue: float, lattice: Lattice, chunk: int) -> SampledLevel:
    level = _level_function(field, quantity, isovalue)
    return sample_level(level, lattice, is_distance=quantity == "distance", chunk=chunk)


def _check_memory(lattice: Lattice, resolution: int, budget: int) -> None:
    corners = math.prod(count + 2 for count in lattice.corners)
    bytes_a_corner = 4
    if corners * bytes_a_corner > budget:
        fitting = int(resolution * (budget / (corners * bytes_a_corner)) ** (1 / 3))
        raise ResourceError(
            f"A grid of resolution {resolution} takes {corners * bytes_a_corner / 2**30:.1f} GiB, more than the budget "
            f"of {budget / 2**30:.1f} GiB; take a resolution of {fitting} or less."
        )


def _check_crossed(sampled: SampledLevel, field: Field, quantity: str, isovalue: float, bounds: Bounds) -> None:
    if sampled.lowest < 0 <= sampled.highest:
        return
    ends = (sampled.lowest + isovalue, sampled.highest + isovalue)
    if quantity != "distance":
        ends = (isovalue - sampled.highest, isovalue - sampled.lowest)
    raise DataError(
        f"{type(field).__name__} has no surface at {quantity} = {isovalue:g} within {bounds.minimum} to "
        f"{bounds.maximum}: {quantity} lies between {ends[0]:g} and {ends[1]:g} there; give an isovalue inside that "
        "range or other bounds, or train further."
    )
