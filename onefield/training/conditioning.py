"""Fits that end with a posterior, given all samples of a signal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.signals import Signal, cell_centers
from onefield.errors import UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.field import Field
from onefield.fields.weight_posterior import Moments, Spectrum, weight_posterior

# Samples that training does not see, by whose errors noise is told: a tenth, or as many as tell it to a percent.
_SHARE, _MOST = 0.1, 2**13
# After three the noise of pictures moves by half a percent or less.
_ROUNDS = 3
# What is tried, as parts of the domain's longest side and as factors on what samples seen in training say.
_LENGTHS = tuple(2.0**-power for power in range(6))
_SHARES = (1.0, 0.1, 0.01)


def withheld(signal: Signal, generator: torch.Generator) -> tuple[Signal, Int[Tensor, "n"]]:
    """The signal without some of its known samples, and the flat indices of these; a single sample is not withheld."""
    known = signal.known()
    count = min(math.ceil(_SHARE * len(known)), _MOST, len(known) - 1)
    held = known[torch.randperm(len(known), generator=generator)[:count]]
    values = signal.values.clone()
    values.view(-1, signal.channels)[held] = torch.nan
    return replace(signal, values=values), held


@dataclass(frozen=True)
class _Prior:
    """Of the weights, and the noise.

    Attributes:
        deviations: of the weights, relative.
        variance: of the weights where that is 1, by channel.
        noise: variance of a sample about its mean; None learns it from the samples that are conditioned on.
    """

    deviations: Float[Tensor, "K"]
    variance: Float[Tensor, "c"]
    noise: Float[Tensor, "c"] | None


@torch.no_grad()
def condition(field: BayesianTucker, signal: Signal, shown: Signal, held: Int[Tensor, "n"]) -> dict[str, float]:
    """Conditions a trained field on all samples, with the prior and the noise that are found without double counting.

    Trained factor functions follow some of the noise of what they saw, which the evidence of these samples would then
    count too low, and their own part of the value too high. So the process's length and variance are those of the
    greatest evidence for the process alone, whose cosines saw nothing. How much the network's part may vary beside it
    is what foretells the withheld samples best, and the noise is what errors there have above the variance of the
    values, at least the evidence's.

    Returns:
        ``noise``, the root of its mean square over the channels, in the unit of the values.
    """
    prior = _prior(field, _moments(field, shown), signal, held)
    spectrum = _moments(field, signal).spectrum(prior.deviations)
    field.condition(weight_posterior(spectrum, prior.noise, prior.variance))
    return {"noise": field.noise.double().square().mean().sqrt().item()}


def _moments(field: BayesianTucker, signal: Signal) -> Moments:
    axes = len(signal.shape)
    return field.moments(cell_centers(signal.shape), signal.values.permute(*reversed(range(axes)), axes))


def _prior(field: BayesianTucker, moments: Moments, signal: Signal, held: Int[Tensor, "n"]) -> _Prior:
    remainder = moments.part(slice(field.core_size, None))

    def alone(length: float) -> Spectrum:
        return remainder.spectrum(field.process.deviations(length))

    process, length = max(
        ((weight_posterior(alone(length)), length) for length in _LENGTHS), key=lambda tried: tried[0].log_evidence
    )
    variance = process.prior_variance
    network = weight_posterior(moments.part(slice(0, field.core_size)).spectrum())
    share = (network.prior_variance.mean() / variance.mean()).item()
    if not len(held):
        return _Prior(field.relative_deviations(share, length), variance, None)
    basis = field.basis(signal.points(held)).double()
    values = (signal.at(held).double() - field.offset) / field.scale
    best, likeliest = None, -math.inf
    for factor in _SHARES:
        deviations = field.relative_deviations(share * factor, length)
        spectrum = moments.spectrum(deviations)
        noise, likelihood = _foretold(spectrum, variance, basis @ spectrum.directions, values)
        if best is None or likelihood > likeliest:
            best, likeliest = _Prior(deviations, variance, noise), likelihood
    return best


def _foretold(
    spectrum: Spectrum, prior: Float[Tensor, "c"], basis: Float[Tensor, "n K"], values: Float[Tensor, "n c"]
) -> tuple[Float[Tensor, "c"], float]:
    """The variance of the noise by errors at withheld samples, and how likely these are then (logarithm).

    Args:
        basis: at the withheld samples, along the directions of the spectrum.
    """
    squares = basis.square()
    found = weight_posterior(spectrum, None, prior)
    least = noise = found.noise_variance
    for _ in range(_ROUNDS):
        errors = (values - basis @ found.means).square()
        noise = torch.maximum((errors - squares @ found.variances).mean(0), least)
        # more noise makes a smoother mean, whose errors are others
        found = weight_posterior(spectrum, noise, prior)
    variances = squares @ found.variances + noise
    errors = (values - basis @ found.means).square()
    return noise, -(variances.log() + errors / variances).sum().item() / 2


def refuse_posterior(field: Field, what: str) -> None:
    """Says that a field with a posterior can't be had this way.

    Args:
        what: beginning of the sentence, such as ``"Pictures by tiles"``.

    Raises:
        UsageError: a field with a posterior.
    """
    if isinstance(field, BayesianTucker):
        raise UsageError(f"{what} would leave the posterior of 'bayesian-tucker' open; take 'functional-tucker'.")
