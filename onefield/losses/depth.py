"""Depth of rays against known depth."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm


def depth_error(depth: Float[Tensor, "R"], target: Float[Tensor, "R"]) -> Float[Tensor, ""]:
    """Mean absolute difference in world units over the rays whose target is known (not NaN); 0 if none is."""
    known = torch.isfinite(target)
    difference = torch.where(known, depth - torch.where(known, target, depth.detach()), torch.zeros_like(depth))
    return difference.abs().sum() / known.sum().clamp(min=1)


def depth_term(weight: float = 0.1) -> LossTerm:
    """Rendered depth against the data's; 0 where the data has none."""

    def evaluate(evidence: Evidence) -> Tensor:
        if evidence.rendering is None or evidence.target_depth is None:
            return evidence.prediction.new_zeros(())
        return depth_error(evidence.rendering.depth, evidence.target_depth)

    return LossTerm("depth", weight, evaluate)
