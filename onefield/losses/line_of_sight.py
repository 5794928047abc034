"""What is known to be seen from somewhere has nothing in front of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm
from onefield.types import RaySamples

# How far weights may lie from a known distance to count half, as a share of it: points of structure from motion are
# this good where rays meet at ten degrees, and photos show a pixel's width there.
SPREAD = 0.01
# On 20 photos from all around a figure 0.01 left it in fog and 0.1 cleared it.
SIGHT_WEIGHT = 0.1


def line_of_sight_error(
    weights: Float[Tensor, "N"], samples: RaySamples, target: Float[Tensor, "R"]
) -> Float[Tensor, ""]:
    """Mean share of each ray's light that does not come from its known distance; rays with NaN don't count.

    A ray's light that comes from ``t`` counts as found by ``1 / (1 + ((t - target) / (SPREAD * target))^2)``: wide
    enough tails to draw density from afar, and no more than 1 for a point that was placed wrongly. The idea of depth
    supervision by sparse points is Deng et al., "Depth-supervised NeRF", CVPR 2022.

    Args:
        weights: compositing weights of the samples.
        samples: where they are, along unit directions.
        target: distance to what the ray sees, same units.
    """
    known = torch.isfinite(target)
    distance = torch.where(known, target, 1.0)
    at = distance.index_select(0, samples.ray_indices)
    off = (samples.midpoints - at) / (SPREAD * at)
    found = torch.zeros_like(target).index_add(0, samples.ray_indices, weights / (1 + off.square()))
    return torch.where(known, 1 - found, 0.0).sum() / known.sum().clamp(min=1)


def line_of_sight_term(weight: float = SIGHT_WEIGHT) -> LossTerm:
    """Rays of known distance end there; 0 where the data knows of none, or the renderer has no samples."""

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if rendering is None or rendering.samples is None or evidence.target_depth is None:
            return evidence.prediction.new_zeros(())
        return line_of_sight_error(rendering.weights, rendering.samples, evidence.target_depth)

    return LossTerm("line_of_sight", weight, evaluate)
