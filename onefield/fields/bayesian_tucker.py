"""Products of functions of one coordinate each, whose weights are distributions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field
from onefield.fields.heads.value import ValueHead
from onefield.fields.matern_process import MaternProcess, products
from onefield.fields.networks.factorised import TuckerNetwork
from onefield.fields.weight_posterior import Moments, WeightPosterior
from onefield.types import Bounds, Sample

# Points at which all products of the factor functions are held at once, and places of an axis with all their pairs.
_POINTS, _PLACES = 2**13, 2**11


class BayesianTucker(Field):
    """A Tucker decomposition of continuous coordinates that knows how sure it is (after Fang et al., "Functional
    Bayesian Tucker decomposition for continuous-indexed tensor data", ICLR 2024; the inference is our own).

    The value is a core over the factor functions of a trained network, and beside it what remains: a `MaternProcess`,
    to which Tucker decompositions tend whose factor functions are Gaussian processes. Values are linear in the core and
    in the process's weights, so that under normal noise their posterior is a normal distribution in closed form.
    `value` is the mean, ``*b c``; `deviation`, ``*b c``, the standard deviation of a new sample there, in the unit of
    the values, its noise included: ``sqrt(deviation^2 - noise^2)`` is that of the value itself. Before `condition` the
    process is 0 and the deviation that of the core, without noise.

    The network's functions themselves have no distribution: that of the process stands for what they may miss.

    Attributes:
        mean: of the network's part.
        process: the remainder, of values divided by the scale.
    """

    provides = frozenset({"value", "deviation"})

    def __init__(
        self,
        domain: Bounds,
        network: TuckerNetwork,
        modes: int,
        stretch: float = 1.0,
        offset: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        """Puts a distribution in the place of a network's core.

        Args:
            network: of as many axes as the domain; its core is the mean.
            modes: of the process, an axis.
            stretch: half the side of the cube that the domain is mapped to before the network.
            offset, scale: of the values, so that the network works near [-1, 1].

        Raises:
            UsageError: a network of other axes than the domain's, no modes, or a scale that is not positive.
        """
        super().__init__()
        if scale <= 0:
            raise UsageError(f"BayesianTucker needs a scale above 0, got {scale}.")
        encoding = IdentityEncoding(domain.dimension, stretch)
        self.domain = domain
        self.mean = ComposedField(domain, encoding, network, [ValueHead(offset, scale)])
        self.process = MaternProcess(domain, network.output_dimension, modes)
        self.offset, self.scale = offset, scale
        channels, self.core_size = network.core.flatten(1).shape
        count = self.core_size + self.process.weights.shape[1]
        variances = torch.zeros(channels, count)
        variances[:, : self.core_size] = 1 / self.core_size
        self.register_buffer("directions", torch.eye(count))
        self.register_buffer("variances", variances)
        self.register_buffer("noise_variance", torch.zeros(channels))

    @property
    def noise(self) -> Float[Tensor, "c"]:
        """Standard deviation of a sample about its mean, in the unit of the values."""
        return self.scale * self.noise_variance.sqrt()

    @property
    def separable(self) -> bool:
        """As a Tucker network is; so is a deviation's square, which is one of pairs of factor functions."""
        return True

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        value = None
        if "value" in want:
            value = self.mean.query(points, want=("value",)).value + self.scale * self.process(points)
        return Sample(value=value, deviation=self._deviation(points) if "deviation" in want else None)

    def _evaluate_grid(self, coordinates: list[Float[Tensor, "_"]], want: frozenset[str]) -> Sample:
        value = None
        if "value" in want:
            value = self.mean.query_grid(coordinates, want=("value",)).value
            value = (value + self.scale * self.process.on_grid(coordinates)).flatten(0, -2)
        return Sample(value=value, deviation=self._grid_deviation(coordinates) if "deviation" in want else None)

    def basis(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n K"]:
        """What the value is linear in: products of the network's functions in the order of the core, then those of the
        process's cosines."""
        return torch.cat([products(factors) for factors in self._factors(points.unbind(1))], dim=1)

    def relative_deviations(self, share: float, length: float) -> Float[Tensor, "K"]:
        """Standard deviations of all weights before samples but for a common factor, in the order of `basis`.

        Args:
            share: variance of the core's entries, where the process's value has about 1.
            length: of the process, world units.
        """
        core = torch.full((self.core_size,), share**0.5, dtype=torch.float64)
        return torch.cat([core, self.process.deviations(length)])

    @torch.no_grad()
    def moments(self, coordinates: Sequence[Float[Tensor, "_"]], values: Float[Tensor, "*n c"]) -> Moments:
        """What samples on a grid say, of values divided by the scale; computed in float64, axis by axis, so that all
        products at all samples are never held.

        Args:
            coordinates: world coordinates along each axis, x first.
            values: axes in the same order; samples with a NaN are unknown.

        Raises:
            UsageError: values of another shape than the coordinates'.
            DataError: no known value.
        """
        expected = (*(len(axis) for axis in coordinates), len(self.noise_variance))
        if len(coordinates) != self.domain.dimension or tuple(values.shape) != expected:
            raise UsageError(f"BayesianTucker got coordinates for {expected}, but values of {tuple(values.shape)}.")
        values = (values.double() - self.offset) / self.scale
        known = torch.isfinite(values).all(-1)
        if not bool(known.any()):
            raise DataError("BayesianTucker was given no known value; give one at least.")
        values = torch.where(known[..., None], values, 0.0).movedim(-1, 0)
        families, counted = self._double_factors(coordinates), known.double()[None]
        rows = [torch.cat([_gram(counted, first, second) for second in families], dim=1) for first in families]
        sums = [_contracted(values, factors).flatten(1).T for factors in families]
        return Moments(torch.cat(rows), torch.cat(sums), values.square().flatten(1).sum(1), int(known.sum()))

    @torch.no_grad()
    def condition(self, posterior: WeightPosterior) -> None:
        """Takes a posterior of the weights, in the order of `basis`, as its distribution."""
        core, channels = self.mean.network.core, len(self.noise_variance)
        core.copy_(posterior.mean[: self.core_size].T.reshape(core.shape))
        self.process.weights.copy_(posterior.mean[self.core_size :].T.reshape(channels, -1))
        self.directions.copy_(posterior.directions)
        self.variances.copy_(posterior.variances.T)
        self.noise_variance.copy_(posterior.noise_variance)

    def _deviation(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        variances = [
            (self.basis(part) @ self.directions).square() @ self.variances.T + self.noise_variance
            for part in points.split(_POINTS)
        ]
        return self.scale * torch.cat(variances).sqrt()

    def _grid_deviation(self, coordinates: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "n c"]:
        # large variances of what no sample told cancel, which float64 bears
        directions = self.directions.double()
        covariances = (directions * self.variances.double()[:, None]) @ directions.T
        sizes = [self.core_size, covariances.shape[-1] - self.core_size]
        blocks = [block for rows in covariances.split(sizes, dim=1) for block in rows.split(sizes, dim=2)]
        variances = self.noise_variance.double()
        for block, (first, second) in zip(blocks, product(self._double_factors(coordinates), repeat=2), strict=True):
            variances = variances + _spread(block, first, second).flatten(1).T
        return self.scale * variances.clamp(min=0).sqrt().to(self.directions)

    def _factors(self, coordinates: Sequence[Float[Tensor, "_"]]) -> list[list[Float[Tensor, "_ _"]]]:
        """The network's functions of the places along each axis, and the process's."""
        places = [axis.to(self.directions) for axis in coordinates]
        columns = []
        for axis, low, extent in zip(places, self.domain.minimum, self.domain.extent, strict=True):
            columns.append(self.mean.encoding((axis[:, None] - low) / extent)[:, 0])
        return [self.mean.network.factors(columns), self.process.factors(places)]

    def _double_factors(self, coordinates: Sequence[Float[Tensor, "_"]]) -> list[list[Float[Tensor, "_ _"]]]:
        return [[factor.double() for factor in factors] for factors in self._factors(coordinates)]


Factors = Sequence[Tensor]


def _pairs(first: Float[Tensor, "n r"], second: Float[Tensor, "n q"]) -> Float[Tensor, "n s"]:
    return (first[:, :, None] * second[:, None, :]).flatten(1)


def _contracted(grid: Float[Tensor, "g *n"], *families: Factors) -> Tensor:
    """Summed over all places, times one function an axis of each family: ``[g, s_1 ... s_d]``."""
    for factors in zip(*families, strict=True):
        parts = zip(grid.split(_PLACES, dim=1), *(factor.split(_PLACES) for factor in factors), strict=True)
        # takes the first axis of places and puts its functions last
        grid = sum(
            torch.einsum("gn...,ns->g...s", part, rows[0] if len(rows) == 1 else _pairs(*rows)) for part, *rows in parts
        )
    return grid


def _gram(known: Float[Tensor, "1 *n"], first: Factors, second: Factors) -> Float[Tensor, "K L"]:
    """Sums over known samples of products of the first family times those of the second."""
    sides = [factor.shape[1] for pair in zip(first, second, strict=True) for factor in pair]
    order = [*range(0, len(sides), 2), *range(1, len(sides), 2)]
    gram = _contracted(known, first, second).reshape(sides).permute(order)
    return gram.flatten(0, len(first) - 1).flatten(1)


def _spread(block: Float[Tensor, "g K L"], first: Factors, second: Factors) -> Float[Tensor, "g *n"]:
    """Of covariances between products of two families, those of the values on a grid that are made of them."""
    axes = len(first)
    sides = [factor.shape[1] for family in (first, second) for factor in family]
    order = [0, *(axis + 1 + part for axis in range(axes) for part in (0, axes))]
    pairs = [one.shape[1] * other.shape[1] for one, other in zip(first, second, strict=True)]
    spread = block.reshape(-1, *sides).permute(order).reshape(-1, *pairs)
    for pair in zip(first, second, strict=True):
        parts = zip(*(factor.split(_PLACES) for factor in pair), strict=True)
        spread = torch.cat([torch.einsum("gs...,ns->g...n", spread, _pairs(*rows)) for rows in parts], dim=-1)
    return spread
