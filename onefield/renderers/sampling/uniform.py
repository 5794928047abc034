"""The same number of intervals on every ray."""

from __future__ import annotations

from typing import final

import torch

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.renderers.sampling.intervals import DEFAULT_NEAR, edges_between, even_parts, pack, ray_limits
from onefield.renderers.sampling.sampler import Sampler, Sampling
from onefield.types import Rays


@final
class UniformSampler(Sampler):
    """Tiles each ray's way through the field's domain with ``count`` intervals; rays that miss it get none."""

    def __init__(self, count: int = 128, *, disparity: bool = False, near: float = DEFAULT_NEAR) -> None:
        """Makes a sampler.

        Args:
            count: intervals a ray.
            disparity: space evenly up to distance 1 and evenly in 1/distance beyond, for unbounded scenes.
            near: least distance, world units.

        Raises:
            UsageError: no intervals, or a negative distance.
        """
        super().__init__()
        if count < 1 or near < 0:
            raise UsageError(f"UniformSampler needs count >= 1 and near >= 0, got {count} and {near}.")
        self.count = count
        self.disparity = disparity
        self.near = near

    @torch.no_grad()
    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        """See `Sampler`."""
        near, far = ray_limits(rays, field.domain, self.near)
        parts = even_parts(len(rays), self.count, near, generator)
        return Sampling(pack(edges_between(near, far, parts, self.disparity), near < far))
