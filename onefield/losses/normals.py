"""Normals that rays show against known ones.

Source: Yu et al., "MonoSDF", NeurIPS 2022, equation 14.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.fields.field import Field
from onefield.fields.gradients import spatial_gradient
from onefield.losses.term import Evidence, LossTerm
from onefield.types import Rays, RaySamples


def shown_normals(
    field: Field, rays: Rays, samples: RaySamples, weights: Float[Tensor, "N"], most: int
) -> Float[Tensor, "r 3"]:
    """Weighted means of the unit normals along the first rays, of unit length, differentiable in the field.

    Args:
        field: provides distance, whose slope points out.
        samples: of these rays; at most ``most`` of them are asked, which says how many rays that is.
        weights: compositing weights of the samples.

    Returns:
        Zero vectors for rays that met nothing.
    """
    count = int(torch.searchsorted(samples.offsets, most, right=True)) - 1
    asked = int(samples.offsets[count])
    owners = samples.ray_indices[:asked]
    along = samples.midpoints[:asked, None] * rays.directions[owners]
    points = (rays.origins[owners] + along).detach()
    slopes = spatial_gradient(field, points, "distance", create_graph=True)
    outward = functional.normalize(slopes, dim=-1) * weights[:asked, None]
    return functional.normalize(outward.new_zeros(count, 3).index_add(0, owners, outward), dim=-1)


def normal_error(normals: Float[Tensor, "R 3"], target: Float[Tensor, "R 3"]) -> Float[Tensor, ""]:
    """Mean of ``|n - m|_1 + |1 - n . m|`` over rays that have both; rays with NaN or a zero vector don't count."""
    known = torch.isfinite(target).all(-1) & (normals.detach() != 0).any(-1)
    held = torch.where(known[:, None], target, normals.detach())
    apart = (normals - held).abs().sum(-1) + (1 - (normals * held).sum(-1)).abs()
    return torch.where(known, apart, 0.0).sum() / known.sum().clamp(min=1)


def normals_term(weight: float = 0.05, most: int = 8192) -> LossTerm:
    """`normal_error` of what the rendering shows; 0 where the data has no normals, or the renderer no samples.

    Args:
        most: samples a step, for the cost.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        rendering, rays, target = evidence.rendering, evidence.rays, evidence.target_normal
        if rendering is None or rendering.samples is None or rays is None or target is None:
            return evidence.prediction.new_zeros(())
        if len(rendering.samples) == 0:
            return evidence.prediction.new_zeros(())
        normals = shown_normals(evidence.field, rays, rendering.samples, rendering.weights, most)
        return normal_error(normals, target[: len(normals)])

    return LossTerm("normals", weight, evaluate)
