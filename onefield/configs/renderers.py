"""Configurations of renderers: how pixels come from a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onefield.kernels.gaussian_blending import MAX_ALPHA
from onefield.renderers.splat import LOW_PASS


@dataclass(frozen=True)
class Volume:
    """Density and colour at samples along rays, where the method's sampler places them; takes any radiance field."""

    kind: ClassVar[str] = "volume"


@dataclass(frozen=True)
class Splat:
    """Gaussians projected onto whole pictures; takes sets of Gaussians, and the sampler has no part in it.

    Attributes:
        antialiased: make footprints as much fainter as the low-pass term makes them larger (Mip-Splatting).
        low_pass: added to the variances of footprints, pixels squared.
        max_alpha: upper bound of a Gaussian's opacity at a pixel.
    """

    kind: ClassVar[str] = "splat"
    antialiased: bool = False
    low_pass: float = LOW_PASS
    max_alpha: float = MAX_ALPHA


RendererConfig = Volume | Splat
"""Every renderer that a method can be configured with; a new one is added here."""
