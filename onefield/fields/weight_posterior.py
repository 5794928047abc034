"""Bayesian linear regression in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Values lie near [-1, 1], where float32 tells no smaller variance from none.
_LEAST_VARIANCE = torch.finfo(torch.float32).eps ** 2
# Of the evidence's fixed point; most signals need about ten.
_ROUNDS, _TOLERANCE = 200, 1e-4


@dataclass(frozen=True)
class Moments:
    """What regression needs to know of samples ``y = phi^T w + noise``, float64.

    Attributes:
        gram: sum of ``phi phi^T``.
        products: sum of ``phi y^T``.
        squares: sum of ``y^2``, by channel.
        count: of the samples.
    """

    gram: Float[Tensor, "K K"]
    products: Float[Tensor, "K c"]
    squares: Float[Tensor, "c"]
    count: int

    def part(self, features: slice) -> Moments:
        """Of some of the features alone."""
        return Moments(self.gram[features, features], self.products[features], self.squares, self.count)

    def spectrum(self, deviations: Float[Tensor, "K"] | None = None) -> Spectrum:
        """Of the features, each times its weight's standard deviation relative to the others'; all alike by default."""
        factors = torch.ones_like(self.gram[0]) if deviations is None else deviations
        values, directions = torch.linalg.eigh(factors[:, None] * self.gram * factors)
        directions = factors[:, None] * directions
        return Spectrum(values.clamp(min=0), directions, directions.T @ self.products, self.squares, self.count)


@dataclass(frozen=True)
class Spectrum:
    """`Moments` along directions of weight space that the samples speak of independently.

    Attributes:
        values: squares of the features along each direction, summed.
        directions: as columns; weights are a sum of them, with factors whose prior variances are equal.
        along: sums of features along each direction times values.
        squares, count: as in `Moments`.
    """

    values: Float[Tensor, "K"]
    directions: Float[Tensor, "K K"]
    along: Float[Tensor, "K c"]
    squares: Float[Tensor, "c"]
    count: int


@dataclass(frozen=True)
class WeightPosterior:
    """A normal distribution of the weights of each channel, whose covariances share their directions.

    Attributes:
        directions: columns whose sum the weights are, with independent factors.
        means, variances: of the factors.
        noise_variance: of a sample about its mean.
        prior_variance: of each factor before any sample was seen; its mean then is 0.
        log_evidence: of the samples, summed over channels, but for a constant.
    """

    directions: Float[Tensor, "K K"]
    means: Float[Tensor, "K c"]
    variances: Float[Tensor, "K c"]
    noise_variance: Float[Tensor, "c"]
    prior_variance: Float[Tensor, "c"]
    log_evidence: float

    @property
    def mean(self) -> Float[Tensor, "K c"]:
        """Of the weights."""
        return self.directions @ self.means


def weight_posterior(
    spectrum: Spectrum,
    noise_variance: Float[Tensor, "c"] | None = None,
    prior_variance: Float[Tensor, "c"] | None = None,
) -> WeightPosterior:
    """The posterior of the weights (Bishop, "Pattern recognition and machine learning" (2006), eq. 3.53 and 3.54).

    Args:
        noise_variance, prior_variance: by channel; None learns it by the evidence (eq. 3.91, 3.92 and 3.95), iterated
            from the guess that a tenth of the samples' power is noise.
    """
    values, along = spectrum.values[:, None], spectrum.along
    noise, prior = noise_variance, prior_variance
    if noise is None:
        noise = 0.1 * spectrum.squares / spectrum.count
    if prior is None:
        prior = spectrum.squares / values.sum().clamp(min=_LEAST_VARIANCE)
    noise, prior = _possible(noise), _possible(prior)
    learned = noise_variance is None or prior_variance is None
    for _ in range(_ROUNDS if learned else 0):
        precision = 1 / prior + values / noise
        mean = along / noise / precision
        determined = (values / noise / precision).sum(0)
        before = torch.stack([noise, prior])
        if prior_variance is None:
            prior = _possible(mean.square().sum(0) / determined.clamp(min=_LEAST_VARIANCE))
        if noise_variance is None:
            squares = spectrum.squares - 2 * (mean * along).sum(0) + (values * mean.square()).sum(0)
            # weights that are all determined leave no sample over to tell noise by
            noise = _possible(squares / (spectrum.count - determined).clamp(min=1))
        if torch.allclose(torch.stack([noise, prior]), before, rtol=_TOLERANCE, atol=0):
            break
    variances = 1 / (1 / prior + values / noise)
    means = along / noise * variances
    unexplained = spectrum.squares / noise - (means * along / noise).sum(0)
    growth = spectrum.count * noise.log() + (1 + prior * values / noise).log().sum(0)
    evidence = -(growth + unexplained).sum().item() / 2
    return WeightPosterior(spectrum.directions, means, variances, noise, prior, evidence)


def _possible(variance: Tensor) -> Tensor:
    return variance.clamp(_LEAST_VARIANCE, 1 / _LEAST_VARIANCE)
