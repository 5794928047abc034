"""Networks that are products of one network an axis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.networks.network import Network


class FactorisedNetwork(Network):
    """Joins networks of one coordinate each, so that a grid of points costs as many evaluations as its sides are long.

    Vemuri et al., "F-INR: functional tensor decomposition for implicit neural representations" (2025), section 3. Any
    network can stand on an axis. `forward` answers scattered points, `on_grid` whole grids, and both agree.

    Attributes:
        axes: one network a coordinate.
    """

    def __init__(self, axes: Sequence[Network], output_dimension: int) -> None:
        """Joins networks of one input each.

        Raises:
            UsageError: an axis whose network does not take one coordinate.
        """
        super().__init__()
        if not axes or any(axis.input_dimension != 1 for axis in axes):
            inputs = ", ".join(str(axis.input_dimension) for axis in axes) or "none"
            raise UsageError(f"{type(self).__name__} needs networks of 1 input each, got {inputs}.")
        self.input_dimension = len(axes)
        self.output_dimension = output_dimension
        self.axes = nn.ModuleList(axes)

    def factors(self, columns: Sequence[Float[Tensor, "_"]]) -> list[Float[Tensor, "_ _"]]:
        """What each axis's network says of its own coordinates."""
        return [axis(column[:, None]) for axis, column in zip(self.axes, columns, strict=True)]

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n g"]:
        return self.joined(self.factors(features.unbind(1)))

    def on_grid(self, coordinates: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "*n g"]:
        """The answers at all combinations of coordinates, the first axis first.

        Args:
            coordinates: one list an axis.
        """
        return self.joined_on_grid(self.factors(coordinates))

    @abstractmethod
    def joined(self, factors: list[Float[Tensor, "n _"]]) -> Float[Tensor, "n g"]:
        """Answers at points, from what the axes' networks say of each point's coordinates."""

    @abstractmethod
    def joined_on_grid(self, factors: list[Float[Tensor, "_ _"]]) -> Float[Tensor, "*n g"]:
        """Answers on a grid, from what the axes' networks say of each axis's coordinates."""


class CpNetwork(FactorisedNetwork):
    """``sum_r prod_d phi_d(x_d)_r`` (F-INR, eq. 4)."""

    def __init__(self, dimension: int, output_dimension: int, rank: int, axis: Callable[[int, int], Network]) -> None:
        """Makes the networks of the axes.

        Args:
            rank: products that are summed.
            axis: makes a network of so many inputs (1) and outputs.

        Raises:
            UsageError: a number that is not positive.
        """
        if min(dimension, output_dimension, rank) < 1:
            raise UsageError(f"CpNetwork needs positive sizes, got {dimension}, {output_dimension} and rank {rank}.")
        super().__init__([axis(1, rank * output_dimension) for _ in range(dimension)], output_dimension)
        self.rank = rank

    def joined(self, factors: list[Float[Tensor, "n _"]]) -> Float[Tensor, "n g"]:
        return reduce(torch.mul, factors).unflatten(1, (self.rank, -1)).sum(1)

    def joined_on_grid(self, factors: list[Float[Tensor, "_ _"]]) -> Float[Tensor, "*n g"]:
        grid = factors[0].unflatten(1, (self.rank, -1))
        for factor in factors[1:-1]:
            grid = grid[..., None, :, :] * factor.unflatten(1, (self.rank, -1))
        if len(factors) == 1:
            return grid.sum(-2)
        return torch.einsum("...rg,nrg->...ng", grid, factors[-1].unflatten(1, (self.rank, -1)))


class TensorTrainNetwork(FactorisedNetwork):
    """``G_1(x_1) G_2(x_2) ... G_d(x_d)``: a row, matrices and a column whose entries are networks of one coordinate
    each (F-INR, eq. 5)."""

    def __init__(self, dimension: int, output_dimension: int, rank: int, axis: Callable[[int, int], Network]) -> None:
        """Makes the networks of the axes.

        Args:
            rank: sides of the matrices.
            axis: makes a network of so many inputs (1) and outputs.

        Raises:
            UsageError: fewer than 2 axes, or a number that is not positive.
        """
        if dimension < 2 or min(output_dimension, rank) < 1:
            raise UsageError(
                f"TensorTrainNetwork needs 2 or more axes and positive sizes, got {dimension} axes, {output_dimension} "
                f"outputs and rank {rank}."
            )
        ends, middle = rank * output_dimension, rank * rank * output_dimension
        sizes = [ends, *[middle] * (dimension - 2), ends]
        super().__init__([axis(1, size) for size in sizes], output_dimension)
        self.rank = rank

    def joined(self, factors: list[Float[Tensor, "n _"]]) -> Float[Tensor, "n g"]:
        row = factors[0].unflatten(1, (-1, self.rank))
        for factor in factors[1:-1]:
            row = torch.einsum("ngr,ngrs->ngs", row, factor.unflatten(1, (-1, self.rank, self.rank)))
        return (row * factors[-1].unflatten(1, (-1, self.rank))).sum(-1)

    def joined_on_grid(self, factors: list[Float[Tensor, "_ _"]]) -> Float[Tensor, "*n g"]:
        row = factors[0].unflatten(1, (-1, self.rank))
        for factor in factors[1:-1]:
            row = torch.einsum("...gr,ngrs->...ngs", row, factor.unflatten(1, (-1, self.rank, self.rank)))
        return torch.einsum("...gr,ngr->...ng", row, factors[-1].unflatten(1, (-1, self.rank)))


class TuckerNetwork(FactorisedNetwork):
    """``sum_{r_1 ... r_d} C_{r_1 ... r_d} prod_k phi_k(x_k)_{r_k}``: a core tensor that mixes the axes' functions
    (F-INR, eq. 6).

    Attributes:
        core: ``[outputs, rank, ..., rank]``.
    """

    def __init__(self, dimension: int, output_dimension: int, rank: int, axis: Callable[[int, int], Network]) -> None:
        """Makes the networks of the axes and the core, which begins normal with unit variance of the sum.

        Args:
            rank: functions an axis.
            axis: makes a network of so many inputs (1) and outputs.

        Raises:
            UsageError: a number that is not positive.
        """
        if min(dimension, output_dimension, rank) < 1:
            raise UsageError(f"TuckerNetwork needs positive sizes, got {dimension}, {output_dimension}, rank {rank}.")
        super().__init__([axis(1, rank) for _ in range(dimension)], output_dimension)
        self.rank = rank
        self.core = nn.Parameter(torch.randn(output_dimension, *[rank] * dimension) * rank ** (-dimension / 2))

    def joined(self, factors: list[Float[Tensor, "n _"]]) -> Float[Tensor, "n g"]:
        mixed = torch.einsum("g...r,nr->ng...", self.core, factors[-1])
        for factor in reversed(factors[:-1]):
            mixed = torch.einsum("n...r,nr->n...", mixed, factor)
        return mixed

    def joined_on_grid(self, factors: list[Float[Tensor, "_ _"]]) -> Float[Tensor, "*n g"]:
        mixed = self.core
        for factor in factors:
            # takes the first axis of rank and puts its coordinates last
            mixed = torch.einsum("gr...,nr->g...n", mixed, factor)
        return mixed.movedim(0, -1)
