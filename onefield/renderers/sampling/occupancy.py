"""Samples only where a grid remembers matter.

Source: Müller et al., "Instant Neural Graphics Primitives", SIGGRAPH 2022, appendix E.2. There all cells, later half of
them, are asked at every update; here an update asks a bounded number, because on a processor without many cores that
would cost more than training. Cells are visited in turns, so that all are seen in the first updates, and those that are
occupied are visited more often.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.kernels.march import MarchSteps, empty_blocks, march
from onefield.renderers.sampling.intervals import DEFAULT_NEAR, uniform
from onefield.renderers.sampling.sampler import Sampler, Sampling
from onefield.types import Bounds, Rays

# Until this step all visits go in turns; then half of them go to occupied cells (instant-ngp, appendix E.2).
WARM_UP_STEPS = 256
# The grid is updated every max(1, min(step / 16, 16)) steps (instant-ngp, appendix E.2).
UPDATE_INTERVAL = 16
# A cell that is visited once in many updates forgets for all of them at once, but never more than this at one look: one
# random point may miss what is in the cell.
LEAST_KEPT = 0.5
# Cells are occupied above this share of the mean, where that is less than the threshold: at the start of training
# nothing has taken shape yet, and half of all cells are below the mean by chance.
MEAN_SHARE = 0.5
# Thicker is as good as solid and would only take longer to forget: with the usual decay this is kept for 90 updates.
SOLID_THICKNESS = 1.0
# While nothing has been cleared rays cross everything, and what they look at is fog: steps of this many times the final
# length show it as well, with as many times the rays. They reach their final length once a quarter is left.
COARSEST = 4.0
# Marks of cells in the memory: not visited yet, and never to be visited.
_UNSEEN = float("inf")
_HIDDEN = -1.0
# Sides, in cells, of the blocks that are tested against cameras: single cells would be 64 times the work.
_VISIBILITY_BLOCK = 4
# Balls nearer to a camera than so many radii count as seen: a projection says little there.
_CLOSE = 2.0
# Odd stride through the turns, so that neighbouring cells are not visited one after the other.
_TURN_STRIDE = 5


@final
class OccupancySampler(Sampler):
    """Marches rays through nested grids, of which level l covers the region scaled by ``2^l`` about its centre."""

    def __init__(
        self,
        region: Bounds,
        resolution: int = 128,
        cascades: int = 1,
        step: float | None = None,
        cone_angle: float = 0.0,
        *,
        most_samples: int = 1024,
        near: float = DEFAULT_NEAR,
        cells_per_update: int = 2**15,
        threshold: float = 0.01,
        decay: float = 0.95,
    ) -> None:
        """Makes a sampler whose grid is occupied everywhere.

        Args:
            region: box of the finest level, world units.
            resolution: cells along each axis of every level, a multiple of 4.
            cascades: levels.
            step: smallest step, world units; None takes 1/1024 of the region's diagonal.
            cone_angle: growth of the step with distance, up to one cell of the coarsest level.
            most_samples: on one ray.
            near: least distance, world units.
            cells_per_update: points at which the field is asked at each update.
            threshold: optical thickness over the smallest step above which a cell is occupied.
            decay: what remains of a cell's memory from one update to the next.

        Raises:
            UsageError: settings out of these ranges.
        """
        super().__init__()
        if resolution < 4 or resolution % 4 or cascades < 1 or cells_per_update < 2 or near < 0 or not 0 < decay < 1:
            raise UsageError(
                f"OccupancySampler needs a resolution that is a multiple of 4, cascades >= 1, cells_per_update >= 2, "
                f"near >= 0 and decay between 0 and 1; got {resolution}, {cascades}, {cells_per_update}, {near} and "
                f"{decay}."
            )
        smallest = region.diagonal / 1024 if step is None else step
        coarsest_cell = min(region.extent) * 2 ** (cascades - 1) / resolution
        self.region = region
        self.steps = MarchSteps(smallest, cone_angle, max(smallest, coarsest_cell), most_samples)
        self.near = near
        self.cells_per_update = cells_per_update
        self.threshold = threshold
        self.decay = decay
        shape = (cascades, resolution, resolution, resolution)
        thickness = torch.full(shape, _UNSEEN)
        # the finer level speaks for the inner half of each coarser one
        inner = slice(resolution // 4, 3 * resolution // 4)
        thickness[1:, inner, inner, inner] = _HIDDEN
        self.register_buffer("thickness", thickness)
        self.register_buffer("blocks", empty_blocks(thickness > 0))
        self.register_buffer("coarseness", torch.tensor(COARSEST))
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))

    @property
    def occupied(self) -> Bool[Tensor, "L X Y Z"]:
        """The cells that are sampled; the inner half of a coarser level repeats the finer one."""
        return self.blocks == 0

    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        """See `Sampler`; the grid must have been kept up to date by `update`."""
        count = len(rays)
        near, far = rays.origins.new_full((count,), self.near), rays.far
        if rays.near is not None:
            near = torch.maximum(near, rays.near)
        if far is None:
            far = rays.origins.new_full((count,), torch.inf)
        jitter = None if generator is None else uniform((count,), near, generator)
        steps = self.steps.scaled(float(self.coarseness))
        return Sampling(march(rays.origins, rays.directions, near, far, self.blocks, self.region, steps, jitter))

    @torch.no_grad()
    def update(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Asks the field's density in some cells, where it is time, and decides anew which are occupied."""
        if step % max(1, min(step // UPDATE_INTERVAL, UPDATE_INTERVAL)):
            return
        cells, kept = self._choose(step >= WARM_UP_STEPS, generator)
        points = self._points(cells, generator)
        directions = torch.zeros_like(points) if "density" in field.needs_directions else None
        density = field.query(points, directions=directions, want=("density",)).density
        observed = torch.nan_to_num(density.float() * self.steps.smallest).clamp(0, SOLID_THICKNESS)
        memory = self.thickness.view(-1)
        old = memory[cells]
        memory[cells] = torch.where(old == _UNSEEN, 0.0, old * kept)
        memory.scatter_reduce_(0, cells, observed, reduce="amax")
        self._refresh()

    def _choose(self, settled: bool, generator: torch.Generator) -> tuple[Int[Tensor, "n"], float]:
        """Cells to visit, and how much of their memory remains."""
        memory = self.thickness.view(-1)
        in_turn = self.cells_per_update // 2 if settled else self.cells_per_update
        stride = -(-len(memory) // in_turn)
        first = int(self.turn) * _TURN_STRIDE % stride if stride % _TURN_STRIDE else int(self.turn) % stride
        self.turn += 1
        cells = torch.arange(first, len(memory), stride, device=memory.device)
        cells = cells[memory[cells] >= 0]
        rate = 1 / stride
        if settled:
            occupied = ((self.blocks.view(-1) == 0) & (memory >= 0)).nonzero()[:, 0]
            drawn = min(self.cells_per_update - in_turn, len(occupied))
            if drawn:
                picks = (uniform((drawn,), memory, generator) * len(occupied)).long().clamp(max=len(occupied) - 1)
                cells = torch.cat([cells, occupied[picks]])
                rate += drawn / len(occupied)
        return cells, max(min(LEAST_KEPT, self.decay), self.decay ** max(1.0, 1 / rate))

    def _points(self, cells: Int[Tensor, "n"], generator: torch.Generator) -> Float[Tensor, "n 3"]:
        """A random world point in each cell."""
        side = self.thickness.shape[1]
        z, y, x = cells % side, cells // side % side, cells // side**2 % side
        lower = torch.stack([x, y, z], dim=-1).to(self.thickness.dtype)
        inside = uniform((len(cells), 3), lower, generator)
        scale = torch.exp2((cells // side**3).to(lower.dtype))[:, None]
        center, extent = (lower.new_tensor(values) for values in (self.region.center, self.region.extent))
        return center + ((lower + inside) / side - 0.5) * scale * extent

    def _refresh(self) -> None:
        memory = self.thickness
        seen = (memory >= 0) & (memory != _UNSEEN)
        mean = torch.where(seen, memory, 0.0).sum() / seen.sum().clamp(min=1)
        occupied = memory > (mean * MEAN_SHARE).clamp(max=self.threshold)
        if not bool(occupied.any()):
            # a field that is empty everywhere can only fill where it is sampled
            occupied = memory >= 0
        self.blocks.copy_(empty_blocks(occupied))
        share = occupied.sum() / (memory >= 0).sum().clamp(min=1)
        self.coarseness.copy_((COARSEST * share).clamp(1.0, COARSEST))

    @torch.no_grad()
    def mark_invisible(self, cameras: Cameras) -> None:
        """Takes out for good what no camera sees, and what a single one sees in front of the region's centre.

        Nothing is ever supervised in the first, and what explains one photo from close by spoils all others. Call it
        before training.
        """
        levels, side = self.thickness.shape[:2]
        number = side // _VISIBILITY_BLOCK
        axis = (torch.arange(number, dtype=torch.float64) + 0.5) / number - 0.5
        grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
        extent, center = (grid.new_tensor(values) for values in (self.region.extent, self.region.center))
        radius = float((extent / number).norm() / 2)
        for level in range(levels):
            visible = _worth_sampling(cameras, center + grid * extent * 2**level, radius * 2**level, center)
            hidden = ~visible.reshape(number, number, number).to(self.thickness.device)
            for dimension in range(3):
                hidden = hidden.repeat_interleave(_VISIBILITY_BLOCK, dim=dimension)
            self.thickness[level][hidden] = _HIDDEN
        if not bool((self.thickness > 0).any()):
            raise UsageError(
                f"No camera sees any part of the region {self.region}; check the cameras' poses and the scene's scale."
            )
        self._refresh()


def _worth_sampling(
    cameras: Cameras, centers: Float[Tensor, "n 3"], radius: float, middle: Float[Tensor, "3"]
) -> Bool[Tensor, "n"]:
    """Whether balls may be seen by two cameras, or by one behind the scene's middle; errs towards yes."""
    cameras = cameras.to("cpu")
    witnesses = torch.zeros(len(centers), dtype=torch.int64)
    behind = torch.zeros(len(centers), dtype=torch.bool)
    for index in range(len(cameras)):
        left = ((witnesses < 2) & ~behind).nonzero()[:, 0]
        if not len(left):
            break
        points = centers[left]
        distance = (points - cameras.positions[index]).norm(dim=-1)
        pixels, depth = cameras.project(torch.tensor(index), points)
        size = torch.stack([cameras.width[index], cameras.height[index]]).double()
        ahead = distance if bool(cameras.fisheye[index]) else depth
        # away from the axis a flat picture stretches by the square of 1 / cos
        held = ahead.clamp(min=radius)
        margin = (radius / held * (distance / held).square())[:, None] * cameras.focal[index]
        inside = ((pixels > -margin) & (pixels < size + margin)).all(-1) & (ahead > 0)
        seen = inside | (distance < _CLOSE * radius)
        witnesses[left] += seen
        behind[left] = seen & (distance + radius > (middle - cameras.positions[index]).norm())
    return (witnesses > 1) | behind
