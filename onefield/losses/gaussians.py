"""Regularisers of sets of Gaussians: little opacity and small sizes, so that those that nobody needs die.

Kheradmand et al., "3D Gaussian splatting as Markov chain Monte Carlo" (2024), eq. 10.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onefield.fields.gaussians import HasGaussians
from onefield.losses.term import Evidence, LossTerm


def opacity_mean_term(weight: float = 0.01) -> LossTerm:
    """Mean opacity of all Gaussians; 0 for a field without any."""

    def evaluate(evidence: Evidence) -> Tensor:
        if not isinstance(evidence.field, HasGaussians):
            return evidence.prediction.new_zeros(())
        return torch.sigmoid(evidence.field.gaussians().opacities).mean()

    return LossTerm("opacity_mean", weight, evaluate)


def scale_mean_term(weight: float = 0.01) -> LossTerm:
    """Mean standard deviation of all Gaussians, world units; 0 for a field without any."""

    def evaluate(evidence: Evidence) -> Tensor:
        if not isinstance(evidence.field, HasGaussians):
            return evidence.prediction.new_zeros(())
        return evidence.field.gaussians().log_scales.exp().mean()

    return LossTerm("scale_mean", weight, evaluate)
