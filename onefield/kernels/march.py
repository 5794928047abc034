"""Marching rays through an occupancy grid: contract and PyTorch reference.

Source: Müller et al., "Instant Neural Graphics Primitives", SIGGRAPH 2022, appendix E.1, with the steps taken from one
fixed lattice a ray instead of a running sum, so that skipping empty cells never moves a sample.

**Lattice.** Intervals tile the ray from its near limit. Their length is ``cone_angle * t`` held between the smallest
and the largest step. With ``u(t)`` the number of steps from 0 to t, interval k of a ray is
``[t(u(near) + jitter + k), t(u(near) + jitter + k + 1)]``, the last one cut at the far limit.
**Cascades.** Level l of the grid covers the region scaled by ``2^l`` about its centre. A point belongs to the finest
level that holds it. An interval is kept if the cell around its midpoint is occupied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation
from onefield.types import Bounds, RaySamples

# Blocks of up to 2^4 cells are skipped at once: larger ones are rare beside surfaces and cost more to find.
_LARGEST_BLOCK = 4
# Lattice points that the reference looks at together.
_REFERENCE_CHUNK = 64


@dataclass(frozen=True)
class MarchSteps:
    """How far a ray advances from sample to sample.

    Attributes:
        smallest: shortest step, world units.
        cone_angle: growth of the step with distance from the origin; 0 keeps all steps equal.
        largest: longest step, world units.
        most_samples: samples after which a ray ends.
    """

    smallest: float
    cone_angle: float = 0.0
    largest: float = math.inf
    most_samples: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest or self.cone_angle < 0 or self.most_samples < 1:
            raise UsageError(
                f"Marching needs 0 < smallest <= largest step, cone_angle >= 0 and most_samples >= 1, got {self}."
            )

    def scaled(self, factor: float) -> MarchSteps:
        """Steps of ``factor`` times the length everywhere."""
        return replace(
            self,
            smallest=self.smallest * factor,
            cone_angle=self.cone_angle * factor,
            largest=self.largest * factor,
        )


@dataclass(frozen=True)
class Lattice:
    """The map between distance t and step count u: equal steps to ``t1``, growing to ``t2``, equal beyond."""

    smallest: float
    largest: float
    t1: float
    t2: float
    u1: float
    u2: float
    growth: float

    @staticmethod
    def plan(smallest: float, cone_angle: float, largest: float) -> Lattice:
        if cone_angle == 0:
            return Lattice(smallest, largest, math.inf, math.inf, math.inf, math.inf, 0.0)
        growth = math.log1p(cone_angle)
        t1, t2 = smallest / cone_angle, largest / cone_angle
        u1 = t1 / smallest
        return Lattice(smallest, largest, t1, t2, u1, u1 + math.log(t2 / t1) / growth, growth)

    def steps(self, t: Tensor) -> Tensor:
        """u(t)."""
        if math.isinf(self.t1):
            return t / self.smallest
        growing = self.u1 + torch.log(t.clamp(min=self.t1) / self.t1) / self.growth
        u = torch.where(t <= self.t1, t / self.smallest, growing)
        return u if math.isinf(self.t2) else torch.where(t <= self.t2, u, self.u2 + (t - self.t2) / self.largest)

    def distance(self, u: Tensor) -> Tensor:
        """t(u)."""
        if math.isinf(self.u1):
            return u * self.smallest
        growing = self.t1 * torch.exp(self.growth * (u - self.u1).clamp(min=0))
        t = torch.where(u <= self.u1, u * self.smallest, growing)
        return t if math.isinf(self.u2) else torch.where(u <= self.u2, t, self.t2 + (u - self.u2) * self.largest)


def empty_blocks(occupancy: Bool[Tensor, "L X Y Z"]) -> UInt8[Tensor, "L X Y Z"]:
    """Prepares a grid for `march`: 0 where occupied, else b if the aligned block of ``2^(b-1)`` cells around is empty.

    The inner half of each level beyond the first is that of the level below, whatever was given there.

    Raises:
        UsageError: sides that are not equal, or with several levels not a multiple of 4.
    """
    levels, side = occupancy.shape[:2]
    if occupancy.shape[1:] != (side, side, side) or (levels > 1 and side % 4):
        raise UsageError(
            f"An occupancy grid needs equal sides, a multiple of 4 with several levels; got {tuple(occupancy.shape)}."
        )
    prepared, finer = [], None
    for level in occupancy:
        if finer is not None:
            inner = slice(side // 4, 3 * side // 4)
            level = level.clone()
            level[inner, inner, inner] = _any_of_eight(finer)
        prepared.append(_block_sizes(level))
        finer = level
    return torch.stack(prepared)


def _any_of_eight(grid: Tensor) -> Tensor:
    pairs = grid[0::2] | grid[1::2]
    pairs = pairs[:, 0::2] | pairs[:, 1::2]
    return pairs[..., 0::2] | pairs[..., 1::2]


def _block_sizes(grid: Tensor) -> Tensor:
    pyramid = [grid]
    while len(pyramid) <= _LARGEST_BLOCK and pyramid[-1].shape[0] % 2 == 0:
        pyramid.append(_any_of_eight(pyramid[-1]))
    sizes = torch.zeros_like(pyramid[-1], dtype=torch.uint8)
    for number in range(len(pyramid), 0, -1):
        occupied = pyramid[number - 1]
        if sizes.shape != occupied.shape:
            half = sizes.shape[0]
            around = sizes[:, None, :, None, :, None].expand(half, 2, half, 2, half, 2)
            sizes = around.reshape(occupied.shape)
        sizes = torch.where((sizes == 0) & ~occupied, torch.full_like(sizes, number), sizes)
    return sizes


def _inside(grid: Tensor, blocks: Tensor) -> Tensor:
    """Whether points (in finest cells from the region's centre) lie in an occupied cell of the finest level there."""
    levels, side = blocks.shape[:2]
    half = side / 2
    reach = grid.abs().amax(-1)
    level = torch.full_like(reach, levels, dtype=torch.int64)
    for candidate in range(levels - 1, -1, -1):
        level = torch.where(reach < half * 2**candidate, candidate, level)
    known = level < levels
    held = level.clamp(max=levels - 1)
    cell = (grid * torch.exp2(-held.to(grid.dtype))[..., None] + half).floor()
    x, y, z = torch.where(known[..., None], cell, 0.0).clamp(0, side - 1).long().unbind(-1)
    return known & (blocks[held, x, y, z] == 0)


def march_reference(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor | None,
    blocks: Tensor,
    lower: list[float],
    upper: list[float],
    smallest: float,
    cone_angle: float,
    largest: float,
    most_samples: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `march`; looks at every lattice point. Works in float64."""
    lattice = Lattice.plan(smallest, cone_angle, largest)
    low, high = (torch.tensor(corner, dtype=torch.float64, device=origins.device) for corner in (lower, upper))
    cells_per_unit = blocks.shape[1] / (high - low)
    start = (origins.double() - (low + high) / 2) * cells_per_unit
    slope = directions.double() * cells_per_unit
    limit = blocks.shape[1] / 2 * 2.0 ** (blocks.shape[0] - 1)
    first, last = ((-limit - start) / slope, (limit - start) / slope)
    leave = torch.where(slope == 0, math.inf, torch.maximum(first, last)).amin(-1)
    stop = torch.minimum(far.double(), leave)
    first_step = lattice.steps(near.double()) + (0 if jitter is None else jitter.double())
    count = torch.zeros_like(stop, dtype=torch.int64)
    rays, starts, ends = [], [], []
    k = torch.arange(_REFERENCE_CHUNK + 1, dtype=torch.float64, device=origins.device)
    while True:
        edges = lattice.distance(first_step[:, None] + k)
        active = (edges[:, 0] < stop) & (count < most_samples)
        if not bool(active.any()):
            break
        begin, end = edges[:, :-1], torch.minimum(edges[:, 1:], far.double()[:, None])
        places = start[:, None] + slope[:, None] * ((begin + end) / 2)[..., None]
        keep = _inside(places, blocks) & (begin < far[:, None]) & active[:, None]
        keep &= count[:, None] + keep.cumsum(1) <= most_samples
        rays.append(keep.nonzero()[:, 0])
        starts.append(begin[keep])
        ends.append(end[keep])
        count += keep.sum(1)
        k = k + _REFERENCE_CHUNK
    offsets = torch.cat([count.new_zeros(1), count.cumsum(0)])
    if not rays:
        return count.new_zeros(0), near.new_zeros(0), near.new_zeros(0), offsets
    indices, order = torch.cat(rays).sort(stable=True)
    return indices, torch.cat(starts)[order].to(near.dtype), torch.cat(ends)[order].to(near.dtype), offsets


def _fake(origins, directions, near, far, *_) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    indices = near.new_empty(count, dtype=torch.int64)
    offsets = near.new_empty(near.shape[0] + 1, dtype=torch.int64)
    return indices, near.new_empty(count), near.new_empty(count), offsets


march_operation = Operation(
    name="march",
    schema=(
        "(Tensor origins, Tensor directions, Tensor near, Tensor far, Tensor? jitter, Tensor blocks, float[] lower, "
        "float[] upper, float smallest, float cone_angle, float largest, int most_samples) "
        "-> (Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=march_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.march:march",
    cuda="onefield.kernels.cuda.march:march",
)


def march(
    origins: Float[Tensor, "R 3"],
    directions: Float[Tensor, "R 3"],
    near: Float[Tensor, "R"],
    far: Float[Tensor, "R"],
    blocks: UInt8[Tensor, "L X Y Z"],
    region: Bounds,
    steps: MarchSteps,
    jitter: Float[Tensor, "R"] | None = None,
) -> RaySamples:
    """Intervals along rays whose midpoints lie in occupied cells; not differentiable.

    Args:
        origins, directions: rays in world units; unit directions make t a world distance.
        near, far: limits along each ray, >= 0, world units; a ray with far <= near gets nothing.
        blocks: the grid, from `empty_blocks`.
        region: the box of level 0; level l covers it scaled by ``2^l`` about its centre.
        steps: see `MarchSteps`.
        jitter: shift of each ray's lattice in steps, in [0, 1); None is 0.
    """
    with torch.no_grad():
        indices, starts, ends, offsets = march_operation(
            origins,
            directions,
            near,
            far,
            jitter,
            blocks,
            list(region.minimum),
            list(region.maximum),
            steps.smallest,
            steps.cone_angle,
            steps.largest,
            steps.most_samples,
        )
    return RaySamples(indices, starts, ends, offsets)
