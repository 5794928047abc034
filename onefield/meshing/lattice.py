"""Values at the corners of a grid, evaluated only near the surface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError
from onefield.types import Bounds

# Cells along the side of a block, the unit that is evaluated or skipped: smaller follows the surface more closely,
# larger asks the coarse pass less often.
BLOCK = 8
# Corners between two samples of the coarse pass over quantities that tell nothing about distance.
STRIDE = BLOCK // 2
# A block is skipped when the distance at its centre exceeds its radius by this factor: learned distances are not
# exactly 1-Lipschitz.
DISTANCE_MARGIN = 1.5
# Grids of at most this many corners are evaluated whole.
WHOLE = 65**3
# What stands for "outside" or, negated, "inside" where nothing was evaluated.
FAR = 1e20
# Level of the layer around the lattice: outside, and so far that the surface closes at the bounds whatever lies inside.
BEYOND = 1e30

Level = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]


@dataclass(frozen=True)
class Lattice:
    """A grid of cells that fills a box; corner (i, j, k) lies at ``minimum + (i, j, k) * spacing``."""

    bounds: Bounds
    cells: tuple[int, int, int]

    @staticmethod
    def over(bounds: Bounds, resolution: int) -> Lattice:
        """``resolution`` cells along the longest side, as many along the others as keep cells nearly cubes."""
        longest = max(bounds.extent)
        x, y, z = (max(1, round(resolution * side / longest)) for side in bounds.extent)
        return Lattice(bounds, (x, y, z))

    @property
    def spacing(self) -> tuple[float, float, float]:
        x, y, z = (side / count for side, count in zip(self.bounds.extent, self.cells, strict=True))
        return x, y, z

    @property
    def corners(self) -> tuple[int, int, int]:
        x, y, z = (count + 1 for count in self.cells)
        return x, y, z

    @property
    def blocks(self) -> tuple[int, int, int]:
        x, y, z = (-(-count // BLOCK) for count in self.cells)
        return x, y, z

    def points(self, indices: Tensor) -> Float[Tensor, "n 3"]:
        """World positions, float32, of corners given by (fractional) indices."""
        scaled = indices.double() * torch.tensor(self.spacing, dtype=torch.float64)
        return (scaled + torch.tensor(self.bounds.minimum, dtype=torch.float64)).float()


@dataclass
class _Evaluation:
    """Asks the level function in chunks, refuses NaN, and keeps the count and the range of what it answered."""

    level: Level
    chunk: int
    count: int = 0
    lowest: float = float("inf")
    highest: float = float("-inf")

    def at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        answers = [self._chunk(part) for part in points.split(self.chunk)]
        return torch.cat(answers) if answers else points.new_empty(0)

    def _chunk(self, points: Tensor) -> Tensor:
        values = self.level(points)
        lowest, highest = (float(value) for value in torch.aminmax(values))
        if math.isnan(lowest):
            first = int(torch.isnan(values).nonzero()[0])
            where = ", ".join(f"{x:g}" for x in points[first].tolist())
            raise DataError(
                f"The field is NaN at ({where}); its parameters have diverged: extract from an earlier checkpoint."
            )
        self.count += points.shape[0]
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        return values


@dataclass(frozen=True)
class SampledLevel:
    """A volume for marching cubes.

    Attributes:
        volume: level at the corners, negative inside, with one more layer of outside around; plus or minus `FAR` where
            the surface is not near.
        evaluations: how many points the field was asked at.
        lowest, highest: range of the level that was met.
        touches_border: the inside reaches the bounds, where the added layer closes the surface.
    """

    volume: Float[Tensor, "X Y Z"]
    evaluations: int
    lowest: float
    highest: float
    touches_border: bool


def sample_level(level: Level, lattice: Lattice, *, is_distance: bool, chunk: int) -> SampledLevel:
    """Evaluates a level function on the blocks of a lattice that the surface may cross.

    A coarse pass picks blocks: by the distance at their centres, or else by the signs of every fourth corner, with one
    more block around. Then the surface is followed: a block that was left out is added when a corner on its side turns
    out to have the other sign, until none is. A part of a density or occupancy that is thinner than four cells and
    touches nothing else may be missed on grids of more than 65^3 corners.

    Args:
        level: negative inside, any scale; float32 on the CPU for float32 points.
        lattice: where.
        is_distance: the level is a signed distance in world units, up to a constant.
        chunk: points a call of ``level``.

    Raises:
        DataError: the level is NaN somewhere.
    """
    ask = _Evaluation(level, chunk)
    padded = torch.full([count + 2 for count in lattice.corners], BEYOND)
    volume = padded[1:-1, 1:-1, 1:-1]
    volume.fill_(torch.nan)
    if volume.numel() <= WHOLE:
        active, sign = torch.ones(lattice.blocks, dtype=torch.bool), torch.ones(lattice.blocks)
    elif is_distance:
        active, sign = _blocks_by_distance(ask, lattice)
    else:
        active, sign = _blocks_by_signs(volume, ask, lattice)
    active |= _conflicts(active, sign)
    added = active
    while bool(added.any()):
        _evaluate_blocks(volume, added, ask, lattice)
        added = _blocks_to_add(volume, active, sign, lattice)
        active |= added
    _fill_skipped(volume, sign, lattice)
    border = (volume[0], volume[-1], volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1])
    return SampledLevel(padded, ask.count, ask.lowest, ask.highest, any(bool((side < 0).any()) for side in border))


def _sign(level: Tensor) -> Tensor:
    return torch.where(level < 0, -1.0, 1.0)


def _blocks_by_distance(ask: _Evaluation, lattice: Lattice) -> tuple[Tensor, Tensor]:
    centers = (torch.cartesian_prod(*(torch.arange(blocks) for blocks in lattice.blocks)) + 0.5) * BLOCK
    centers = centers.minimum(torch.tensor(lattice.cells, dtype=centers.dtype))
    level = ask.at(lattice.points(centers)).reshape(lattice.blocks)
    radius = BLOCK / 2 * sum(side * side for side in lattice.spacing) ** 0.5
    return level.abs() <= DISTANCE_MARGIN * radius, _sign(level)


def _blocks_by_signs(volume: Tensor, ask: _Evaluation, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Keeps what it asks in the volume."""
    a_block = BLOCK // STRIDE
    x, y, z = (
        (torch.arange(blocks * a_block + 1) * STRIDE).clamp(max=cells)
        for blocks, cells in zip(lattice.blocks, lattice.cells, strict=True)
    )
    # where the last block is cut short its samples coincide
    distinct = [axis.unique() for axis in (x, y, z)]
    volume[torch.meshgrid(*distinct, indexing="ij")] = (
        ask.at(lattice.points(torch.cartesian_prod(*distinct)))
        .clamp(-FAR, FAR)
        .reshape([axis.numel() for axis in distinct])
    )
    sign = _sign(volume[torch.meshgrid(x, y, z, indexing="ij")])[None, None]
    highest = torch.nn.functional.max_pool3d(sign, a_block + 1, stride=a_block)[0, 0]
    lowest = -torch.nn.functional.max_pool3d(-sign, a_block + 1, stride=a_block)[0, 0]
    return _with_neighbours(highest != lowest), highest


def _with_neighbours(blocks: Tensor) -> Tensor:
    return torch.nn.functional.max_pool3d(blocks.float()[None, None], 3, stride=1, padding=1)[0, 0] > 0


def _conflicts(active: Tensor, sign: Tensor) -> Tensor:
    """Skipped blocks beside skipped ones of the other sign."""
    outside, inside = ~active & (sign > 0), ~active & (sign < 0)
    return (_with_neighbours(outside) & inside) | (_with_neighbours(inside) & outside)


def _adjacent_blocks(corners: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """The two blocks (often one and the same) that hold each corner along one axis."""
    return (corners - 1).clamp(min=0) // BLOCK, (corners // BLOCK).clamp(max=blocks - 1)


def _corners_of(active: Tensor, first: int, last: int, lattice: Lattice) -> Tensor:
    """Which corners of the layers ``first:last`` along x belong to an active block."""
    needed = active
    layers = (torch.arange(first, last), torch.arange(lattice.corners[1]), torch.arange(lattice.corners[2]))
    for axis, corners in enumerate(layers):
        low, high = _adjacent_blocks(corners, active.shape[axis])
        needed = needed.index_select(axis, low) | needed.index_select(axis, high)
    return needed


def _evaluate_blocks(volume: Tensor, active: Tensor, ask: _Evaluation, lattice: Lattice) -> None:
    """Fills in the corners of active blocks that are still unknown (NaN), each once."""
    for first in range(0, volume.shape[0], BLOCK):
        layers = volume[first : first + BLOCK]
        block = first // BLOCK
        if not bool(active[max(block - 1, 0) : block + 1].any()):
            continue
        needed = _corners_of(active, first, first + layers.shape[0], lattice) & torch.isnan(layers)
        indices = needed.nonzero()
        if indices.shape[0]:
            offset = torch.tensor([first, 0, 0])
            layers[needed] = ask.at(lattice.points(indices + offset)).clamp(-FAR, FAR)


def _any_in_blocks(corners: Tensor, axis: int, blocks: int) -> Tensor:
    """Whether any corner of each block along an axis is set; a corner between two blocks belongs to both."""
    low, high = _adjacent_blocks(torch.arange(corners.shape[axis]), blocks)
    shape = list(corners.shape)
    shape[axis] = blocks
    counts = torch.zeros(shape, dtype=torch.int32)
    counts.index_add_(axis, low, corners.int())
    counts.index_add_(axis, high, corners.int())
    return counts > 0


def _blocks_to_add(volume: Tensor, active: Tensor, sign: Tensor, lattice: Lattice) -> Tensor:
    """Skipped blocks with an evaluated corner of the other sign."""
    added = torch.zeros_like(active)
    for block in range(active.shape[0]):
        skipped = ~active[block]
        if not bool(skipped.any()):
            continue
        layers = volume[block * BLOCK : (block + 1) * BLOCK + 1]
        for this_sign, other in ((1.0, (layers < 0).any(0)), (-1.0, (layers >= 0).any(0))):
            found = _any_in_blocks(_any_in_blocks(other, 0, active.shape[1]), 1, active.shape[2])
            added[block] |= found & skipped & (sign[block] == this_sign)
    return added


def _fill_skipped(volume: Tensor, sign: Tensor, lattice: Lattice) -> None:
    across = [_adjacent_blocks(torch.arange(lattice.corners[axis]), sign.shape[axis])[1] for axis in range(3)]
    for first in range(0, volume.shape[0], BLOCK):
        layers = volume[first : first + BLOCK]
        x = across[0][first : first + layers.shape[0]]
        known = sign.index_select(0, x).index_select(1, across[1]).index_select(2, across[2]) * FAR
        layers.copy_(torch.where(torch.isnan(layers), known, layers))
