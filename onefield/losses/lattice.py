"""Derivatives of what the vertices of a regular lattice hold, by differences of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import factorial, prod

import torch
from jaxtyping import Float
from torch import Tensor


def squared_derivatives(
    values: Float[Tensor, "*v"], spacing: Sequence[float], order: int, weights: Float[Tensor, "*v"] | None = None
) -> Float[Tensor, ""]:
    """Mean of the squared norm of all derivatives of an order, each mixed one as often as its axes can be arranged.

    Order 2 is the bending energy of thin plates (the squared Hessian), order 3 is 0 for every quadric, so that
    ellipsoids, cones and cylinders cost nothing.

    Args:
        values: at the vertices.
        spacing: between vertices along each axis.
        order: 1 or more; each axis needs more vertices than that.
        weights: of the vertices; those of a difference are the weights of its first vertex.
    """
    total = values.new_zeros(())
    for axes in combinations_with_replacement(range(values.ndim), order):
        difference = values
        for axis in axes:
            difference = torch.diff(difference, dim=axis) / spacing[axis]
        arrangements = factorial(order) // prod(factorial(axes.count(axis)) for axis in set(axes))
        squares = difference.square()
        if weights is not None:
            squares = squares * weights[tuple(slice(0, side) for side in squares.shape)]
        total = total + arrangements * squares.mean()
    return total


def cell_gradients(values: Float[Tensor, "x y z"], spacing: Sequence[float]) -> Float[Tensor, "3 x-1 y-1 z-1"]:
    """Gradient in the middle of each cell: the mean difference along its four edges of each direction."""
    slopes = []
    for axis in range(3):
        slope = torch.diff(values, dim=axis) / spacing[axis]
        for other in {0, 1, 2} - {axis}:
            low, high = slope.narrow(other, 0, slope.shape[other] - 1), slope.narrow(other, 1, slope.shape[other] - 1)
            slope = (low + high) / 2
        slopes.append(slope)
    return torch.stack(slopes)
