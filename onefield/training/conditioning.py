"""Fits that end with a posterior, given all samples of a signal."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from onefield.data.signals import Signal, cell_centers
from onefield.errors import UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.field import Field

# Samples that training does not see, by whose errors noise is told: a tenth, or as many as tell it to half a percent.
_SHARE, _MOST = 0.1, 2**15
# After three the noise of pictures moves by half a percent or less.
_ROUNDS = 3


def withheld(signal: Signal, generator: torch.Generator) -> tuple[Signal, Int[Tensor, "n"]]:
    """The signal without some of its known samples, and the flat indices of these; a single sample is not withheld."""
    known = signal.known()
    count = min(math.ceil(_SHARE * len(known)), _MOST, len(known) - 1)
    held = known[torch.randperm(len(known), generator=generator)[:count]]
    values = signal.values.clone()
    values.view(-1, signal.channels)[held] = torch.nan
    return replace(signal, values=values), held


@torch.no_grad()
def condition(field: BayesianTucker, signal: Signal, shown: Signal, held: Int[Tensor, "n"]) -> dict[str, float]:
    """Conditions a trained field on all samples, at the noise that the withheld ones tell.

    Trained factor functions follow some of the noise of what they saw, which the evidence of these samples would then
    count too low. The noise is what errors at withheld samples have above the variance of the values there, and at
    least the evidence's.

    Returns:
        ``noise``, the root of its mean square over the channels, in the unit of the values.
    """
    noise = None
    if len(held):
        _condition(field, shown, None)
        least, places = field.noise.square(), signal.points(held)
        for _ in range(_ROUNDS):
            answer = field.query(places)
            of_values = answer.deviation.square() - field.noise.square()
            excess = ((answer.value - signal.at(held)).square() - of_values).mean(0)
            noise = torch.maximum(excess, least).sqrt()
            # more noise makes a smoother mean, whose errors are others
            _condition(field, shown, noise)
    _condition(field, signal, noise)
    return {"noise": field.noise.square().mean().sqrt().item()}


def _condition(field: BayesianTucker, signal: Signal, noise: Tensor | None) -> None:
    axes = len(signal.shape)
    values = signal.values.permute(*reversed(range(axes)), axes)
    field.condition(cell_centers(signal.shape), values, noise=noise)


def refuse_posterior(field: Field, what: str) -> None:
    """Says that a field with a posterior can't be had this way.

    Args:
        what: beginning of the sentence, such as ``"Pictures by tiles"``.

    Raises:
        UsageError: a field with a posterior.
    """
    if isinstance(field, BayesianTucker):
        raise UsageError(f"{what} would leave the posterior of 'bayesian-tucker' open; take 'functional-tucker'.")
