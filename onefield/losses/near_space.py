"""What a camera's near limit cuts off is empty for every other camera, too."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.field import Field
from onefield.losses.term import Evidence, LossTerm
from onefield.types import Rays, RaySamples

# On 20 photos from all around a figure 0.1 cleared what hid it from new views; 0.01 did nothing, and 1 no better.
NEAR_WEIGHT = 0.1
# Multiples of the golden ratio spread evenly over [0, 1) however many there are.
_GOLDEN = (math.sqrt(5) - 1) / 2


def near_space_error(field: Field, rays: Rays, samples: RaySamples) -> Float[Tensor, ""]:
    """Mean opacity that the stretch before each ray's first sample would have with the density at one of its points.

    Samplers start at a near limit, behind which the photographer's own space lies. A density there never shows in that
    photo, but it does in those taken from the other side, as what floats before the figure. Rays are drawn anew at each
    step, so that places that follow from their order alone reach all of it. Directions and origins get no gradient.

    Args:
        field: provides density.
        rays: as rendered.
        samples: of these rays; rays without any don't count.
    """
    held = samples.offsets.diff() > 0
    if not bool(held.any()):
        return samples.starts.new_zeros(())
    origins, directions = rays.origins.detach()[held], rays.directions.detach()[held]
    near = samples.starts[samples.offsets[:-1][held]].detach()
    shares = (torch.arange(1, len(near) + 1, device=near.device, dtype=torch.float64) * _GOLDEN).frac().to(near)
    points = origins + (near * shares)[:, None] * directions
    looking = directions if "density" in field.needs_directions else None
    density = field.query(points, directions=looking, want=("density",)).density.float()
    return -torch.expm1(-density * near).mean()


def near_space_term(weight: float = NEAR_WEIGHT) -> LossTerm:
    """Empties the space before the near limit; 0 where the renderer has no samples."""

    def evaluate(evidence: Evidence) -> Tensor:
        rendering = evidence.rendering
        if rendering is None or rendering.samples is None or evidence.rays is None:
            return evidence.prediction.new_zeros(())
        return near_space_error(evidence.field, evidence.rays, rendering.samples)

    return LossTerm("near_space", weight, evaluate)
