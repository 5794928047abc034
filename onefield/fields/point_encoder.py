"""Features of points that know their neighbours in a cell, and their means over cells.

Source: PointNet with local pooling, Peng et al. 2020 (Convolutional Occupancy Networks), section 3.1 and its
supplement, after Qi et al. 2017 (PointNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.networks.residual import ResidualBlock


@dataclass(frozen=True)
class Cells:
    """Which cell of a plane or volume each point is in.

    Attributes:
        indices: of each point, row-major, the last of the kept coordinates fastest.
        sides: cells along each kept coordinate.
    """

    indices: Int[Tensor, "n"]
    sides: tuple[int, ...]

    @property
    def count(self) -> int:
        return torch.Size(self.sides).numel()


def cells_of(points: Float[Tensor, "n 3"], resolution: int, axes: Sequence[int]) -> Cells:
    """Cells of points in the unit cube once only some coordinates are kept; points outside count to the border's cells.

    Args:
        resolution: cells along each coordinate.
        axes: the coordinates that are kept, in order.
    """
    cell = (points[:, list(axes)] * resolution).floor().long().clamp(0, resolution - 1)
    index = cell[:, 0]
    for axis in range(1, len(axes)):
        index = index * resolution + cell[:, axis]
    return Cells(index, (resolution,) * len(axes))


def cell_maxima(features: Float[Tensor, "n f"], cells: Cells) -> Float[Tensor, "m f"]:
    """Largest value of each feature over the points of each cell; 0 in empty cells."""
    start = features.new_zeros(cells.count, features.shape[1])
    rows = cells.indices[:, None].expand_as(features)
    return start.scatter_reduce(0, rows, features, "amax", include_self=False)


def cell_means(features: Float[Tensor, "n f"], cells: Cells) -> Float[Tensor, "m f"]:
    """Mean of each feature over the points of each cell; 0 in empty cells."""
    sums = features.new_zeros(cells.count, features.shape[1]).index_add(0, cells.indices, features)
    numbers = torch.bincount(cells.indices, minlength=cells.count).clamp(min=1)
    return sums / numbers[:, None].to(features)


class PointEncoder(nn.Module):
    """Residual blocks for each point, between which it learns the maxima over its cells.

    Where there are several maps, a point's maxima are added over them.
    """

    def __init__(self, inputs: int, features: int, width: int, blocks: int) -> None:
        """Makes the blocks.

        Args:
            inputs: numbers a point.
            features: of the answer.
            width: of the blocks' output.
            blocks: at least 1; pooling happens between them.

        Raises:
            UsageError: a size that is not positive.
        """
        super().__init__()
        if min(inputs, features, width, blocks) < 1:
            raise UsageError(
                f"A point encoder needs positive sizes, got {inputs} inputs, {features} features, width {width} and "
                f"{blocks} blocks."
            )
        self.first = nn.Linear(inputs, 2 * width)
        self.blocks = nn.ModuleList(ResidualBlock(2 * width, width) for _ in range(blocks))
        self.last = nn.Linear(width, features)

    def forward(self, inputs: Float[Tensor, "n i"], maps: Sequence[Cells]) -> Float[Tensor, "n f"]:
        """Features of each point, which depend on the points that share one of its cells, directly or by others."""
        first, *others = self.blocks
        hidden = first(self.first(inputs))
        for block in others:
            pooled = sum(cell_maxima(hidden, cells)[cells.indices] for cells in maps)
            hidden = block(torch.cat([hidden, pooled], dim=-1))
        return self.last(hidden)
