"""Tensors of low rank: sums of products of lines and planes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.encoding import Encoding

# Deviation of a product of lines and planes at the start, as TensoRF's of a plane and a line (0.1 each).
_SPREAD = 0.01


class CpEncoding(Encoding):
    """Products of one line along each axis: the components of a CP decomposition.

    Chen et al., "TensoRF: tensorial radiance fields" (ECCV 2022), eq. 3. A linear head, or a network's first layer,
    sums the components with weights.

    Args:
        dimension: coordinates of a point.
        resolution: vertices of a line.
        components: products, the rank.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(self, dimension: int = 3, resolution: int = 256, components: int = 64) -> None:
        super().__init__()
        if dimension < 1:
            raise UsageError(f"CpEncoding needs points of at least 1 coordinate, got dimension {dimension}.")
        self.input_dimension = dimension
        self.output_dimension = components
        self.lines = nn.ModuleList(DenseGridEncoding(1, resolution, components) for _ in range(dimension))
        for line in self.lines:
            nn.init.normal_(line.grid, std=_SPREAD ** (1 / dimension))

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Components at points; points outside the cube are clamped to it."""
        return reduce(torch.mul, (line(points[:, axis : axis + 1]) for axis, line in enumerate(self.lines)))

    def upsampled(self, resolution: int) -> CpEncoding:
        """A new encoding with so many vertices a line that answers the same at its vertices."""
        finer = CpEncoding(self.input_dimension, resolution, self.output_dimension)
        finer.lines = _upsampled(self.lines, resolution)
        return finer


class VmEncoding(Encoding):
    """Products of a plane of two axes and a line along the third, for each of the three axes.

    The vector-matrix decomposition of Chen et al., "TensoRF" (ECCV 2022), eq. 4. A linear head, or a network's first
    layer, sums the components with weights.

    Args:
        resolution: vertices along each axis.
        components: products an axis, so that a point has three times as many features.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(self, resolution: int = 128, components: int = 16) -> None:
        super().__init__()
        self.input_dimension = 3
        self.output_dimension = 3 * components
        self.lines = nn.ModuleList(DenseGridEncoding(1, resolution, components) for _ in range(3))
        self.planes = nn.ModuleList(DenseGridEncoding(2, resolution, components) for _ in range(3))
        for each in (*self.lines, *self.planes):
            nn.init.normal_(each.grid, std=_SPREAD**0.5)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """Components at points, those of the line along the first axis first; points outside are clamped."""
        found = []
        for axis, (line, plane) in enumerate(zip(self.lines, self.planes, strict=True)):
            others = [other for other in range(3) if other != axis]
            found.append(line(points[:, axis : axis + 1]) * plane(points[:, others]))
        return torch.cat(found, dim=-1)

    def upsampled(self, resolution: int) -> VmEncoding:
        """A new encoding with so many vertices along each axis that answers the same at its vertices."""
        finer = VmEncoding(resolution, self.output_dimension // 3)
        finer.lines, finer.planes = _upsampled(self.lines, resolution), _upsampled(self.planes, resolution)
        return finer


def _upsampled(grids: Iterable[DenseGridEncoding], resolution: int) -> nn.ModuleList:
    return nn.ModuleList(grid.upsampled(resolution) for grid in grids)
