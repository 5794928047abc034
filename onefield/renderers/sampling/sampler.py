"""The seam between a renderer and how it finds samples along rays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onefield.fields.field import Field
from onefield.types import Rays, RaySamples


@dataclass(frozen=True)
class Sampling:
    """Intervals to evaluate, and the proposal histograms that led to them (edges ``R S+1``, weights ``R S``)."""

    samples: RaySamples
    proposals: tuple[tuple[Tensor, Tensor], ...] = ()


class Sampler(nn.Module, ABC):
    """Chooses packed intervals along rays; owns whatever state that takes (grids, proposal networks).

    Attributes:
        evaluations_per_ray: points of a ray at which the sampler itself asks fields at a time, so that callers can
            keep within a memory budget.
    """

    evaluations_per_ray: int = 0

    @abstractmethod
    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        """Intervals inside the field's domain.

        Args:
            generator: source of jitter; None samples without jitter, so that a rendering repeats exactly.
        """

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the rate at which they should learn, as `Field.parameter_groups`."""
        return {}

    def update(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Called once before each training step, for samplers that learn where the field is empty."""
        return
