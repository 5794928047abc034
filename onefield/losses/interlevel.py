"""Supervision of proposal histograms by the final weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.losses.term import Evidence, LossTerm
from onefield.types import Rendering

# Keeps the quotient finite for intervals without weight: float32's relative precision, as in multinerf.
_LEAST_WEIGHT = torch.finfo(torch.float32).eps


def outer_mass(
    edges: Float[Tensor, "R S+1"], proposal_edges: Float[Tensor, "R P+1"], proposal_weights: Float[Tensor, "R P"]
) -> Float[Tensor, "R S"]:
    """For each interval, the weight of all proposal bins that overlap it (mip-NeRF 360, eq. 12)."""
    bins = proposal_weights.shape[-1]
    mass = torch.cat([torch.zeros_like(proposal_weights[:, :1]), proposal_weights.cumsum(-1)], dim=-1)
    inner = proposal_edges.contiguous()
    first = torch.searchsorted(inner, edges[:, :-1].contiguous(), right=True) - 1
    beyond = torch.searchsorted(inner, edges[:, 1:].contiguous(), right=False)
    return mass.gather(-1, beyond.clamp(0, bins)) - mass.gather(-1, first.clamp(0, bins))


def interlevel(
    edges: Float[Tensor, "R S+1"],
    weights: Float[Tensor, "R S"],
    proposal_edges: Float[Tensor, "R P+1"],
    proposal_weights: Float[Tensor, "R P"],
) -> Float[Tensor, ""]:
    """Mean over rays of ``sum max(0, w - outer mass)^2 / w`` (mip-NeRF 360, eq. 13).

    Zero where the proposal is an envelope of the weights. Only the proposal gets a gradient.
    """
    fixed = weights.detach()
    excess = (fixed - outer_mass(edges.detach(), proposal_edges.detach(), proposal_weights)).clamp(min=0)
    return (excess.square() / (fixed + _LEAST_WEIGHT)).sum(-1).mean()


def final_histogram(rendering: Rendering) -> tuple[Float[Tensor, "R S+1"], Float[Tensor, "R S"]]:
    """Edges and weights of a rendering whose rays all have the same number of adjoining intervals.

    Raises:
        UsageError: the rendering has no samples, or rays differ in their number.
    """
    samples = rendering.samples
    rays = rendering.color.shape[0]
    if samples is None or rendering.weights is None or rays == 0 or len(samples) % rays:
        raise UsageError("The interlevel loss needs a rendering by the proposal sampler, with one count of samples.")
    starts, ends = samples.starts.reshape(rays, -1), samples.ends.reshape(rays, -1)
    return torch.cat([starts, ends[:, -1:]], dim=-1), rendering.weights.reshape(rays, -1)


def interlevel_term(weight: float = 1.0) -> LossTerm:
    """All proposal rounds of the rendering against its final weights; 0 for renderings without proposals."""

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if rendering is None or not rendering.proposals:
            return evidence.prediction.new_zeros(())
        edges, weights = final_histogram(rendering)
        return torch.stack([interlevel(edges, weights, *proposal) for proposal in rendering.proposals]).sum()

    return LossTerm("interlevel", weight, evaluate)
