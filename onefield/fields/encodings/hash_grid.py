"""Multiresolution hash encoding."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.encodings.levelled import LevelledEncoding
from onefield.kernels.hash_grid import HashGridLayout, geometric_resolutions, hash_grid

# Small enough that the untrained encoding answers nearly 0, yet not symmetric (paper, section 4).
INITIAL_AMPLITUDE = 1e-4
# Entries are counted with 32 bits.
_MOST_LOG2_ENTRIES = 31


class HashGridEncoding(LevelledEncoding):
    """Features interpolated linearly on grids of geometrically growing resolution, the fine ones hashed.

    Output ``levels * features`` numbers a point, coarse levels first. Twice differentiable with respect to points and
    table (the second derivative with respect to one coordinate twice is 0 inside a cell).

    Args:
        dimension: coordinates of a point, 1 to 4.
        levels: number of grids.
        features: numbers an entry.
        log2_table_size: logarithm of the most entries of a level; finer levels share entries by hashing.
        base_resolution: cells along each axis of the coarsest level.
        finest_resolution: cells along each axis of the finest level.

    Raises:
        UsageError: a count is below 1, or the finest resolution below the coarsest.

    Source: Müller et al., "Instant Neural Graphics Primitives with a Multiresolution Hash Encoding", SIGGRAPH 2022.
    """

    def __init__(
        self,
        dimension: int = 3,
        levels: int = 16,
        features: int = 2,
        log2_table_size: int = 19,
        base_resolution: int = 16,
        finest_resolution: int = 2048,
    ) -> None:
        super().__init__()
        counts = {"levels": levels, "features": features, "log2_table_size": log2_table_size}
        for name, count in (counts | {"base_resolution": base_resolution}).items():
            if count < 1:
                raise UsageError(f"HashGridEncoding needs {name} of at least 1, got {count}.")
        if log2_table_size > _MOST_LOG2_ENTRIES:
            raise UsageError(
                f"HashGridEncoding needs log2_table_size of at most {_MOST_LOG2_ENTRIES}, got {log2_table_size}."
            )
        if finest_resolution < base_resolution:
            raise UsageError(
                f"HashGridEncoding needs finest_resolution of at least base_resolution {base_resolution}, got "
                f"{finest_resolution}."
            )
        resolutions = geometric_resolutions(levels, base_resolution, finest_resolution)
        self.layout = HashGridLayout.plan(dimension, resolutions, log2_table_size)
        self.input_dimension = dimension
        self.output_dimension = levels * features
        self.active_levels = levels
        self.table = nn.Parameter(
            torch.empty(self.layout.entries, features).uniform_(-INITIAL_AMPLITUDE, INITIAL_AMPLITUDE)
        )

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Features of points in the unit cube; points outside are clamped to it."""
        layout, used = self.layout, math.ceil(self.active_levels)
        if self.active_levels == layout.levels:
            return hash_grid(points, None, self.table, layout.resolutions, layout.log2_table_size)
        # coarse levels come first in the table, and lie there as if there were no others
        table = self.table[: layout.offsets[used]]
        features = hash_grid(points, None, table, layout.resolutions[:used], layout.log2_table_size)
        if used > self.active_levels:
            weights = self.level_weights()[:used].to(features).repeat_interleave(self.table.shape[1])
            features = features * weights
        return functional.pad(features, (0, self.output_dimension - features.shape[1]))

    @property
    def level_count(self) -> int:
        return self.layout.levels

    def level(self, index: int) -> Float[Tensor, "entries f"]:
        """The entries of one level, coarsest first, as a view of the table."""
        first = self.layout.offsets[index]
        return self.table[first : first + self.layout.sizes[index]]


def grid_within(encoding: Encoding) -> HashGridEncoding | None:
    """The hash grid that an encoding is, or asks; None where there is none."""
    return next((part for part in encoding.modules() if isinstance(part, HashGridEncoding)), None)
