"""Configurations of renderers: how pixels come from a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onefield.kernels.gaussian_blending import MAX_ALPHA
from onefield.kernels.gaussian_ray_casting import STOP
from onefield.renderers.gaussian_rays import STEP
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


@dataclass(frozen=True)
class RayCast:
    """Rays cast through sets of Gaussians (RayGauss); the sampler has no part in it.

    Attributes:
        step: distance of samples along rays; the region of interest has an edge of 2.
        cone: the same, as a share of the distance from the camera, where that is more; of scenes without bounds.
        early_stop: transmittance behind which a ray ends.
    """

    kind: ClassVar[str] = "raycast"
    step: float = STEP
    cone: float = 1 / 256
    early_stop: float = STOP


RendererConfig = Volume | Splat | RayCast
"""Every renderer that a method can be configured with; a new one is added here."""

WITHOUT_SAMPLER = (Splat, RayCast)
"""Those that find out by themselves where to look."""
