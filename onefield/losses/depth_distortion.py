"""What is blended in a pixel gathered at one depth."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.losses.term import Evidence, LossTerm

# Depth z counts as 1 - NEAR / z, in units in which what is looked at is about as large as the unit ball.
NEAR = 0.2
BEGIN = 3000 / 30000
"""Share of the run after which it counts (the code published with the paper)."""


def depth_distortion(distortion: Float[Tensor, "R"], distance: Float[Tensor, "R"]) -> Float[Tensor, ""]:
    """Mean over rays of ``sum_{i<j} w_i w_j (m_i - m_j)^2`` with ``m = 1 - NEAR / z``.

    Huang et al., "2D Gaussian splatting" (2024), eq. 13 with squares, as their code has it. The difference of m is that
    of z times ``NEAR / z^2``, to first order about the mean.

    Args:
        distortion: the same sum with m = z, world units squared.
        distance: mean distance along each ray, world units, 0 where it meets nothing; gets no gradient.
    """
    hit = distance > 0
    slope = NEAR / torch.where(hit, distance.detach(), 1.0).square()
    return torch.where(hit, distortion * slope.square(), 0.0).mean()


def depth_distortion_term(weight: float = 1000.0, begin: float = BEGIN) -> LossTerm:
    """`depth_distortion` of what was splatted; 0 before it begins, and for renderings without.

    Args:
        weight: the paper uses 1000 for bounded scenes and 100 for others.
        begin: share of the run.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if evidence.progress < begin or rendering is None or rendering.distortion is None or rendering.depth is None:
            return evidence.prediction.new_zeros(())
        return depth_distortion(rendering.distortion, rendering.depth)

    return LossTerm("depth_distortion", weight, evaluate)
