"""Colour that is composited before it is activated, so that dark surfaces teach as much as bright ones.

Source: Lyu et al., "Learning a Room with the Occ-SDF Hybrid", ICCV 2023, section 3 (feature rendering loss). A sample's
colour is the factor on its weight's gradient, so that black ones say nothing about where they are; what a network
gives before its sigmoid is large for black, too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm
from onefield.types import RaySamples

# Colours are held this far from 0 and 1 before their logits: 14, beyond which sigmoids of float32 hardly differ.
_MARGIN = 1e-6


def feature_color(
    weights: Float[Tensor, "N"], colors: Float[Tensor, "N 3"], samples: RaySamples
) -> Float[Tensor, "R 3"]:
    """``sigmoid(sum_i w_i logit(c_i))`` of each ray: features composited, then decoded.

    The paper's features are the last hidden layer, whose linear map to colours commutes with the sum; so they are the
    three numbers before the sigmoid here, of any field's colours. What a ray doesn't meet counts as feature 0, which
    is grey.

    Args:
        weights: compositing weights of the samples.
        colors: in [0, 1].
        samples: whose rays they are of.
    """
    features = torch.logit(colors, eps=_MARGIN) * weights[:, None]
    summed = features.new_zeros(len(samples.offsets) - 1, 3).index_add(0, samples.ray_indices, features)
    return torch.sigmoid(summed)


def feature_color_term(weight: float = 1.0) -> LossTerm:
    """Mean absolute error of `feature_color`; 0 for renderers without samples.

    Where the data has alpha, only pixels that the object fills count: what lies behind has no features.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if rendering is None or rendering.samples is None or rendering.colors is None:
            return evidence.prediction.new_zeros(())
        decoded = feature_color(rendering.weights, rendering.colors, rendering.samples)
        error = (evidence.as_photographed(decoded, torch.ones_like(rendering.opacity)) - evidence.target).abs()
        if evidence.target_opacity is None:
            return error.mean()
        filled = evidence.target_opacity == 1
        return (error * filled[:, None]).sum() / (error.shape[1] * filled.sum().clamp(min=1))

    return LossTerm("feature_color", weight, evaluate)
