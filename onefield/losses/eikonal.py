"""Unit slope of signed distances."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.gradients import spatial_gradient
from onefield.losses.term import Evidence, LossTerm


def eikonal(gradients: Float[Tensor, "*b d"]) -> Float[Tensor, ""]:
    """Mean of ``(|gradient| - 1)^2``: 0 for a distance (Gropp et al. 2020, eq. 2)."""
    return (torch.linalg.vector_norm(gradients, dim=-1) - 1).square().mean()


def sampled_points(evidence: Evidence, most: int) -> Float[Tensor, "n d"]:
    """Where the field was asked, or else the middles of the rendering's samples: at most ``most``, evenly picked.

    Raises:
        UsageError: the evidence has neither.
    """
    if evidence.points is not None:
        points = evidence.points.reshape(-1, evidence.points.shape[-1])
    elif evidence.rendering is not None and evidence.rendering.samples is not None and evidence.rays is not None:
        samples, rays = evidence.rendering.samples, evidence.rays
        along = samples.midpoints[:, None] * rays.directions[samples.ray_indices]
        points = rays.origins[samples.ray_indices] + along
    else:
        raise UsageError("A loss on spatial gradients needs points, or a rendering with samples and its rays.")
    stride = -(-points.shape[0] // most)
    return points[:: max(stride, 1)].detach()


def eikonal_term(
    weight: float = 0.1, method: str = "autograd", step: float | None = None, most: int = 8192
) -> LossTerm:
    """`eikonal` of the field's distance where it was sampled.

    Args:
        weight: NeuS and VolSDF use 0.1.
        method, step: of `spatial_gradient`; finite differences reach beyond one cell of a grid (Neuralangelo).
        most: points a step, for the cost.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        points = sampled_points(evidence, most)
        if points.shape[0] == 0:
            return evidence.prediction.new_zeros(())
        return eikonal(spatial_gradient(evidence.field, points, "distance", method, step=step, create_graph=True))

    return LossTerm("eikonal", weight, evaluate)
