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
    """Chooses packed intervals along rays; owns whatever state that takes (grids, proposal networks)."""

    @abstractmethod
    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        """Intervals inside the field's domain.

        Args:
            generator: source of jitter; None samples without jitter, so that a rendering repeats exactly.
        """

    def update(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Called once before each training step, for samplers that learn where the field is empty."""
        return None
