"""Products of functions of one coordinate each, whose core is a distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.factorised import TuckerNetwork
from onefield.fields.weight_posterior import Moments, weight_posterior
from onefield.types import Bounds, Sample

# Points at which all products of the factor functions are held at once, and places of an axis with all their pairs.
_POINTS, _PLACES = 2**13, 2**11


class BayesianTucker(Field):
    """A Tucker decomposition of continuous coordinates that knows how sure it is (the model of Fang et al., "Functional
    Bayesian Tucker decomposition for continuous-indexed tensor data", ICLR 2024; its inference is our own).

    Values are linear in the core. Given the factor functions, which are networks without a distribution, the core's
    posterior under normal noise is a normal distribution in closed form. `value` is the mean, ``*b c``; `deviation`,
    ``*b c``, the standard deviation of a new sample there, in the unit of the values, its noise included:
    ``sqrt(deviation^2 - noise^2)`` is that of the value itself. That the factor functions might be others adds nothing
    to it. Before `condition` the deviation is that of the prior, without noise.
    """

    provides = frozenset({"value", "deviation"})

    def __init__(
        self, domain: Bounds, network: TuckerNetwork, stretch: float = 1.0, offset: float = 0.0, scale: float = 1.0
    ) -> None:
        """Puts a distribution in the place of a network's core.

        Args:
            network: of as many axes as the domain; its core is the mean.
            stretch: half the side of the cube that the domain is mapped to before the network.
            offset, scale: of the values, so that the network answers near [-1, 1].

        Raises:
            UsageError: a network of other axes than the domain's, or a scale that is not positive.
        """
        super().__init__()
        if scale <= 0:
            raise UsageError(f"BayesianTucker needs a scale above 0, got {scale}.")
        encoding = IdentityEncoding(domain.dimension, stretch)
        self.domain = domain
        self.mean = ComposedField(domain, encoding, network, [ValueHead(offset, scale)])
        self.offset, self.scale = offset, scale
        channels, products = network.core.flatten(1).shape
        self.register_buffer("directions", torch.eye(products))
        self.register_buffer("variances", torch.full((channels, products), 1 / products))
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
        value = self.mean.query(points, want=("value",)).value if "value" in want else None
        return Sample(value=value, deviation=self._deviation(points) if "deviation" in want else None)

    def _evaluate_grid(self, coordinates: list[Float[Tensor, "_"]], want: frozenset[str]) -> Sample:
        value = self.mean.query_grid(coordinates, want=("value",)).value.flatten(0, -2) if "value" in want else None
        return Sample(value=value, deviation=self._grid_deviation(coordinates) if "deviation" in want else None)

    def basis(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n K"]:
        """Products of the factor functions at points, in the order of the core: the value is linear in them."""
        unit = self.domain.to_unit(points)
        first, *others = self.mean.network.factors(self.mean.encoding(unit).unbind(1))
        for factor in others:
            first = (first[:, :, None] * factor[:, None, :]).flatten(1)
        return first

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
        axes, rank = self.domain.dimension, self.mean.network.rank
        spread = covariances.reshape(-1, *[rank] * (2 * axes))
        order = [axis + 1 for k in range(axes) for axis in (k, axes + k)]
        spread = spread.permute(0, *order).reshape(-1, *[rank * rank] * axes)
        for factor in self._factors(coordinates):
            parts = [torch.einsum("gs...,ns->g...n", spread, _pairs(rows)) for rows in factor.split(_PLACES)]
            spread = torch.cat(parts, dim=-1)
        variances = spread.flatten(1).T.clamp(min=0) + self.noise_variance
        return self.scale * variances.sqrt().to(self.directions)

    def _factors(self, coordinates: Sequence[Float[Tensor, "_"]]) -> list[Float[Tensor, "_ r"]]:
        """Of the places along each axis, float64."""
        columns = []
        for axis, places in enumerate(coordinates):
            unit = (places[:, None] - self.domain.minimum[axis]) / self.domain.extent[axis]
            columns.append(self.mean.encoding(unit)[:, 0].to(self.directions))
        return [factor.double() for factor in self.mean.network.factors(columns)]

    @torch.no_grad()
    def condition(
        self,
        coordinates: Sequence[Float[Tensor, "_"]],
        values: Float[Tensor, "*n c"],
        *,
        noise: Float[Tensor, "c"] | None = None,
        prior: Float[Tensor, "c"] | None = None,
    ) -> None:
        """Makes the core's distribution the posterior given samples on a grid, whatever it was; computed in float64.

        Args:
            coordinates: world coordinates along each axis, x first.
            values: axes in the same order; samples with a NaN are unknown.
            noise: standard deviation of a sample in the unit of the values, by channel; None learns it.
            prior: standard deviation of the core's entries, of values divided by the scale; None learns it.

        Raises:
            UsageError: values of another shape than the coordinates'.
            DataError: no known value.
        """
        expected = (*(len(axis) for axis in coordinates), len(self.noise_variance))
        if len(coordinates) != self.domain.dimension or tuple(values.shape) != expected:
            raise UsageError(f"BayesianTucker got coordinates for {expected}, but values of {tuple(values.shape)}.")
        moments = self._moments(coordinates, (values.double() - self.offset) / self.scale)
        if moments.count == 0:
            raise DataError("BayesianTucker was given no known value; give one at least.")
        found = weight_posterior(
            moments,
            None if noise is None else (noise.double() / self.scale).square(),
            None if prior is None else prior.double().square(),
        )
        core = self.mean.network.core
        core.copy_(found.mean.T.reshape(core.shape))
        self.directions.copy_(found.directions)
        self.variances.copy_(found.variances)
        self.noise_variance.copy_(found.noise_variance)

    def _moments(self, coordinates: Sequence[Float[Tensor, "_"]], values: Float[Tensor, "*n c"]) -> Moments:
        """Sums over the known samples, axis by axis, so that all products at all samples are never held."""
        factors = self._factors(coordinates)
        known = torch.isfinite(values).all(-1)
        values = torch.where(known[..., None], values, 0.0).movedim(-1, 0)
        axes, rank = len(factors), self.mean.network.rank
        gram = _contracted(known.double()[None], factors, _pairs).reshape([rank] * (2 * axes))
        gram = gram.permute(*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)).reshape(rank**axes, rank**axes)
        products = _contracted(values, factors, lambda rows: rows).flatten(1).T
        return Moments(gram, products, values.square().flatten(1).sum(1), int(known.sum()))


def _pairs(rows: Float[Tensor, "n r"]) -> Float[Tensor, "n s"]:
    return (rows[:, :, None] * rows[:, None, :]).flatten(1)


def _contracted(grid: Tensor, factors: Sequence[Tensor], widen: Callable[[Tensor], Tensor]) -> Tensor:
    """``[g, n_1 ... n_d]`` times the widened rows of each axis, summed over all places: ``[g, s_1 ... s_d]``."""
    for factor in factors:
        parts = zip(grid.split(_PLACES, dim=1), factor.split(_PLACES), strict=True)
        # takes the first axis of places and puts its functions last
        grid = sum(torch.einsum("gn...,ns->g...s", part, widen(rows)) for part, rows in parts)
    return grid
