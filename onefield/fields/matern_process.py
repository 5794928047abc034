"""A Gaussian process over a box whose covariance is a product of one an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.types import Bounds


def products(factors: Sequence[Float[Tensor, "n _"]]) -> Float[Tensor, "n K"]:
    """Of one function of each axis, in all combinations, those of the last axis running fastest."""
    first, *others = factors
    for factor in others:
        first = (first[:, :, None] * factor[:, None, :]).flatten(1)
    return first


class MaternProcess(nn.Module):
    """What a Tucker decomposition of infinite rank tends to whose factor functions are Gaussian processes: a Gaussian
    process with the product of their covariances, here Matern's of smoothness 1/2, ``exp(-distance / length)``.

    It is written as products of cosines, of which each axis has the same, with independent normal weights (Solin and
    Sarkka, "Hilbert space methods for reduced-rank Gaussian process regression", 2020, with slopes of 0 at the walls).

    Attributes:
        weights: mean of the weights, ``[outputs, modes^axes]``, in the order of `products`; 0 at first.
    """

    def __init__(self, domain: Bounds, outputs: int, modes: int) -> None:
        """Makes a process without samples.

        Args:
            modes: cosines an axis, the constant included; an axis tells nothing finer than its ``modes - 1``-th part.

        Raises:
            UsageError: a number that is not positive.
        """
        super().__init__()
        if min(outputs, modes) < 1:
            raise UsageError(f"MaternProcess needs positive sizes, got {outputs} outputs and {modes} modes.")
        self.domain, self.modes = domain, modes
        self.register_buffer("weights", torch.zeros(outputs, modes**domain.dimension))

    def factors(self, coordinates: Sequence[Float[Tensor, "_"]]) -> list[Float[Tensor, "_ m"]]:
        """The cosines at world coordinates along each axis."""
        found = []
        for axis, places in enumerate(coordinates):
            unit = (places - self.domain.minimum[axis]) / self.domain.extent[axis]
            orders = torch.arange(self.modes, dtype=places.dtype, device=places.device)
            found.append(torch.cos(math.pi * orders * unit[:, None]))
        return found

    def deviations(self, length: float) -> Float[Tensor, "K"]:
        """Standard deviations of the weights before samples, in the order of `products`, but for a common factor.

        Args:
            length: over which the covariance falls to 1/e, world units.
        """
        columns = []
        for extent in self.domain.extent:
            orders = torch.arange(self.modes, dtype=torch.float64)
            density = 1 / (1 + (math.pi * orders * length / extent).square())
            # a cosine's mean square is a half, but the constant's is one
            density[1:] *= 2
            columns.append(density.sqrt()[None])
        return products(columns)[0]

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n g"]:
        """The mean at world points."""
        return products(self.factors(points.unbind(1))) @ self.weights.to(points).T

    def on_grid(self, coordinates: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "*n g"]:
        """The mean at all combinations of world coordinates, the first axis first."""
        mixed = self.weights.to(coordinates[0]).unflatten(1, [self.modes] * len(coordinates))
        for factor in self.factors(coordinates):
            mixed = torch.einsum("gr...,nr->g...n", mixed, factor)
        return mixed.movedim(0, -1)
