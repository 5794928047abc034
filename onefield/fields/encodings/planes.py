"""Features on planes through the axes."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.levelled import LevelledEncoding


class _Planes(LevelledEncoding):
    """One dense grid for each pair of axes, at one or more resolutions, which are its levels."""

    def __init__(self, dimension: int, resolutions: tuple[int, ...], features: int) -> None:
        super().__init__()
        if dimension < 2 or not resolutions:
            raise UsageError(
                f"{type(self).__name__} needs points of at least 2 coordinates and a resolution, got dimension "
                f"{dimension} and resolutions {resolutions}."
            )
        self.input_dimension = dimension
        self.output_dimension = features * len(resolutions)
        self.pairs = tuple(combinations(range(dimension), 2))
        self.planes = nn.ModuleList(
            nn.ModuleList(DenseGridEncoding(2, resolution, features) for _ in self.pairs) for resolution in resolutions
        )
        self.active_levels = len(resolutions)

    @property
    def level_count(self) -> int:
        return len(self.planes)

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Joined features of all planes, resolution after resolution; points outside the cube are clamped to it."""
        joined = []
        for planes in self.planes:
            found = [plane(points[:, list(pair)]) for plane, pair in zip(planes, self.pairs, strict=True)]
            joined.append(reduce(self.join, found))
        if self.active_levels < self.level_count:
            weights = self.level_weights().to(points)
            joined = [weight * part for weight, part in zip(weights, joined, strict=True)]
        return torch.cat(joined, dim=-1)

    @abstractmethod
    def join(self, first: Float[Tensor, "n f"], second: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """One feature vector of those of two planes."""


class TriPlaneEncoding(_Planes):
    """The sum of the features of a point's places on the planes of two axes (Chan et al., "EG3D", CVPR 2022).

    Begins normal with a deviation of 0.1. Any number of axes from two; three give three planes.

    Args:
        dimension: coordinates of a point.
        resolution: vertices along each side of a plane.
        features: numbers a vertex.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(self, dimension: int = 3, resolution: int = 128, features: int = 16) -> None:
        super().__init__(dimension, (resolution,), features)
        for plane in self.planes[0]:
            nn.init.normal_(plane.grid, std=0.1)

    def join(self, first: Float[Tensor, "n f"], second: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        return first + second


class KPlanesEncoding(_Planes):
    """The product of the features of a point's places on all planes of two axes, at several resolutions.

    Fridovich-Keil et al., "K-Planes: explicit radiance fields in space, time, and appearance" (CVPR 2023), eq. 1. In a
    product every plane can veto, which a sum can not. Planes begin uniform in [0.1, 0.5], those with time as an axis at
    1, so that nothing changes with time at first.

    Args:
        dimension: coordinates of a point.
        resolutions: vertices along each side of a plane, one after the other.
        features: numbers a vertex and resolution.
        time_axis: coordinate that is time; None if none is.

    Raises:
        UsageError: a number out of range.
    """

    def __init__(
        self,
        dimension: int = 3,
        resolutions: tuple[int, ...] = (64, 128, 256),
        features: int = 16,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(dimension, tuple(resolutions), features)
        if time_axis is not None and not 0 <= time_axis < dimension:
            raise UsageError(f"KPlanesEncoding has axes 0 to {dimension - 1}, got time_axis {time_axis}.")
        for planes in self.planes:
            for plane, pair in zip(planes, self.pairs, strict=True):
                if time_axis in pair:
                    nn.init.ones_(plane.grid)
                else:
                    nn.init.uniform_(plane.grid, 0.1, 0.5)

    def join(self, first: Float[Tensor, "n f"], second: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        return first * second
