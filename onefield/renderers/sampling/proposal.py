"""Samples where cheap density fields expect matter.

Source: Barron et al., "Mip-NeRF 360" (2022), section 3, with the annealing of section A.2 in its code; the proposals
learn through the interlevel loss from the histograms in `Sampling.proposals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.kernels.composite import transmittances
from onefield.renderers.sampling.intervals import (
    DEFAULT_NEAR,
    edges_between,
    even_parts,
    pack,
    ray_limits,
)
from onefield.renderers.sampling.sampler import Sampler, Sampling
from onefield.types import Rays

# b of the annealing exponent b x / ((b - 1) x + 1) over training x in [0, 1] (mip-NeRF 360's code).
ANNEAL_SLOPE = 10.0
# Once proposals have settled, they learn at every fifth step, as in nerfacc and nerfacto: they change more slowly
# than the field, and their backward costs as much as the field's.
SETTLED_INTERVAL = 5


def resample(
    edges: Float[Tensor, "R P+1"],
    weights: Float[Tensor, "R P"],
    count: int,
    padding: float,
    generator: torch.Generator | None,
) -> Float[Tensor, "R S+1"]:
    """Edges of ``count`` adjoining intervals over the same range, about equal in mass under a histogram.

    Args:
        edges, weights: histogram; weights need not add up to 1, and rays without mass are divided evenly.
        padding: share of the mass that is spread evenly over the range.
        generator: moves inner edges by up to half an interval's mass; None moves nothing.
    """
    lengths = edges.diff(dim=-1)
    range_ = edges[:, -1:] - edges[:, :1]
    even = torch.where(range_ > 0, lengths / torch.where(range_ > 0, range_, 1), 1 / lengths.shape[1])
    total = weights.sum(-1, keepdim=True)
    seen = total > 0
    mass = torch.where(seen, torch.lerp(weights / torch.where(seen, total, 1), even, padding), even)
    cumulative = torch.cat([torch.zeros_like(total), mass.cumsum(-1)], dim=-1)
    cumulative = cumulative / cumulative[:, -1:]
    quantiles = even_parts(len(edges), count, edges, generator).contiguous()
    above = torch.searchsorted(cumulative, quantiles, right=True).clamp(1, lengths.shape[1])
    low, high = cumulative.gather(-1, above - 1), cumulative.gather(-1, above)
    fraction = (quantiles - low) / torch.where(high > low, high - low, 1)
    return torch.lerp(edges.gather(-1, above - 1), edges.gather(-1, above), fraction.clamp(0, 1))


def histogram_weights(densities: Float[Tensor, "R S"], edges: Float[Tensor, "R S+1"]) -> Float[Tensor, "R S"]:
    """Compositing weights on rays of equal count (see `onefield.kernels.composite`), differentiable."""
    thickness = densities * edges.diff(dim=-1)
    return transmittances(thickness) * -torch.expm1(-thickness)


@final
class ProposalSampler(Sampler):
    """Rounds of proposals, each drawn where the one before found matter, then the final intervals.

    All rays have the same number of final intervals, which adjoin and reach from the near to the far limit; on rays
    that miss the field's domain they have no length.
    """

    def __init__(
        self,
        proposals: Sequence[Field],
        counts: Sequence[int] = (64, 48),
        final: int = 32,
        *,
        disparity: bool = False,
        near: float = DEFAULT_NEAR,
        padding: float = 0.1,
        anneal_steps: int = 1000,
    ) -> None:
        """Makes a sampler.

        Args:
            proposals: fields of density, one a round; they are trained with the sampler.
            counts: intervals of each round.
            final: intervals that the caller gets.
            disparity: space evenly up to distance 1 and evenly in 1/distance beyond, for unbounded scenes.
            near: least distance, world units.
            padding: share of samples that is spread evenly whatever the proposals say.
            anneal_steps: over so many steps histograms sharpen from flat to what the proposals say.

        Raises:
            UsageError: proposals and counts that do not pair, a field without density, or a number out of range.
        """
        super().__init__()
        if not proposals or len(proposals) != len(counts) or min(*counts, final) < 1:
            raise UsageError(
                f"ProposalSampler needs one count >= 1 for each proposal, got {len(proposals)} proposals and counts "
                f"{tuple(counts)}, then {final}."
            )
        if near < 0 or not 0 <= padding <= 1 or anneal_steps < 1:
            raise UsageError(
                f"ProposalSampler needs near >= 0, padding in [0, 1] and anneal_steps >= 1, got {near}, {padding} and "
                f"{anneal_steps}."
            )
        for field in proposals:
            if "density" not in field.provides:
                raise UsageError(f"A proposal must provide density; {type(field).__name__} does not.")
        self.proposals = nn.ModuleList(proposals)
        self.counts = tuple(counts)
        self.final = final
        self.disparity = disparity
        self.near = near
        self.padding = padding
        self.anneal_steps = anneal_steps
        self.evaluations_per_ray = max(self.counts)
        self.learns = True
        self.register_buffer("anneal", torch.ones(()))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of all proposals, merged by name."""
        merged: dict[str, list[nn.Parameter]] = {}
        for field in self.proposals:
            for name, parameters in field.parameter_groups().items():
                merged.setdefault(name, []).extend(parameters)
        return merged

    def update(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Sets the annealing exponent, and whether proposals learn in this step."""
        share = min(1.0, step / self.anneal_steps)
        self.anneal.fill_(ANNEAL_SLOPE * share / ((ANNEAL_SLOPE - 1) * share + 1))
        interval = 1 + int((SETTLED_INTERVAL - 1) * share)
        self.learns = step % interval == 0

    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        """See `Sampler`; histograms have gradients to the proposals where gradients are on and these learn."""
        near, far = ray_limits(rays, field.domain, self.near)
        anneal = float(self.anneal)
        parts = even_parts(len(rays), self.counts[0], near, generator)
        histograms = []
        for number, proposal in enumerate(self.proposals):
            edges = edges_between(near, far, parts, self.disparity)
            with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
                weights = self._weights(proposal, rays, edges)
            histograms.append((edges, weights))
            count = self.counts[number + 1] if number + 1 < len(self.counts) else self.final
            parts = resample(parts, weights.detach() ** anneal, count, self.padding, generator)
        return Sampling(pack(edges_between(near, far, parts, self.disparity)), tuple(histograms))

    def _weights(self, proposal: Field, rays: Rays, edges: Tensor) -> Tensor:
        middles = (edges[:, :-1] + edges[:, 1:]) / 2
        points = rays.origins[:, None] + rays.directions[:, None] * middles[..., None]
        directions = rays.directions[:, None].expand_as(points) if "density" in proposal.needs_directions else None
        densities = proposal.query(points, directions=directions, want=("density",)).density
        return histogram_weights(densities, edges)
