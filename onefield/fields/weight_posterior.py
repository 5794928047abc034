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


@dataclass(frozen=True)
class WeightPosterior:
    """A normal distribution of the weights of each channel, whose covariances share their directions.

    Attributes:
        mean: of the weights.
        directions: orthonormal columns along which the weights of a channel are independent.
        variances: of the weights along each direction.
        noise_variance: of a sample about its mean.
        prior_variance: of each weight before any sample was seen; its mean then is 0.
    """

    mean: Float[Tensor, "K c"]
    directions: Float[Tensor, "K K"]
    variances: Float[Tensor, "c K"]
    noise_variance: Float[Tensor, "c"]
    prior_variance: Float[Tensor, "c"]


def weight_posterior(
    moments: Moments,
    noise_variance: Float[Tensor, "c"] | None = None,
    prior_variance: Float[Tensor, "c"] | None = None,
) -> WeightPosterior:
    """The posterior of the weights (Bishop, "Pattern recognition and machine learning" (2006), eq. 3.53 and 3.54).

    Args:
        noise_variance, prior_variance: by channel; None learns it by the evidence (eq. 3.91, 3.92 and 3.95), iterated
            from the guess that a tenth of the samples' power is noise.
    """
    spectrum, directions = torch.linalg.eigh(moments.gram)
    spectrum = spectrum.clamp(min=0)[:, None]
    along = directions.T @ moments.products
    noise, prior = noise_variance, prior_variance
    if noise is None:
        noise = 0.1 * moments.squares / moments.count
    if prior is None:
        prior = moments.squares / spectrum.sum().clamp(min=_LEAST_VARIANCE)
    noise, prior = _possible(noise), _possible(prior)
    learned = noise_variance is None or prior_variance is None
    for _ in range(_ROUNDS if learned else 0):
        precision = 1 / prior + spectrum / noise
        mean = along / noise / precision
        determined = (spectrum / noise / precision).sum(0)
        before = torch.stack([noise, prior])
        if prior_variance is None:
            prior = _possible(mean.square().sum(0) / determined.clamp(min=_LEAST_VARIANCE))
        if noise_variance is None:
            squares = moments.squares - 2 * (mean * along).sum(0) + (spectrum * mean.square()).sum(0)
            # weights that are all determined leave no sample over to tell noise by
            noise = _possible(squares / (moments.count - determined).clamp(min=1))
        if torch.allclose(torch.stack([noise, prior]), before, rtol=_TOLERANCE, atol=0):
            break
    variances = 1 / (1 / prior + spectrum / noise)
    return WeightPosterior(directions @ (along / noise * variances), directions, variances.T, noise, prior)


def _possible(variance: Tensor) -> Tensor:
    return variance.clamp(_LEAST_VARIANCE, 1 / _LEAST_VARIANCE)
