"""Configurations of renderers: how pixels come from a field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from onefield.errors import UsageError, nearest_name
from onefield.kernels.gaussian_ray_casting import STOP
from onefield.renderers.gaussian_rays import STEP
from onefield.renderers.schools import ONEFIELD, SCHOOLS, School
from onefield.renderers.splat import PRIMITIVES


@dataclass(frozen=True)
class Volume:
    """Density and colour at samples along rays, where the method's sampler places them; takes any radiance field."""

    kind: ClassVar[str] = "volume"


@dataclass(frozen=True)
class Splat:
    """Gaussians projected onto whole pictures; takes sets of Gaussians, and the sampler has no part in it.

    Attributes:
        primitive: ``ellipsoids`` or ``surfels`` (2D Gaussian splatting), of which only ``max_alpha`` can be set.
        school: whose cuts and filters: ``onefield``, ``inria``, ``gsplat``, ``gsplat-1.5.3`` or ``mip-splatting``.
        antialiased: make footprints as much fainter as the low-pass term makes them larger (Mip-Splatting); None leaves
            it to the school, as it does below.
        low_pass: added to the variances of footprints, pixels squared.
        max_alpha: upper bound of a Gaussian's opacity at a pixel.
    """

    kind: ClassVar[str] = "splat"
    primitive: str = "ellipsoids"
    school: str = "onefield"
    antialiased: bool | None = None
    low_pass: float | None = None
    max_alpha: float | None = None

    def __post_init__(self) -> None:
        if self.school not in SCHOOLS:
            raise UsageError(f"Unknown renderer.school '{self.school}': {nearest_name(self.school, tuple(SCHOOLS))}.")
        if self.primitive not in PRIMITIVES:
            nearest = nearest_name(self.primitive, PRIMITIVES)
            raise UsageError(f"Unknown renderer.primitive '{self.primitive}': {nearest}.")
        unchanged = Splat.school, Splat.antialiased, Splat.low_pass
        if self.primitive == "surfels" and (self.school, self.antialiased, self.low_pass) != unchanged:
            raise UsageError(
                "renderer.school, renderer.antialiased and renderer.low_pass say how ellipsoids become footprints; "
                "leave them out for surfels, which rays meet as they are."
            )

    def rules(self, near: float, scale: float) -> School:
        """The school's numbers, with those that are set here.

        Args:
            near: distance from the cameras within which a scene has nothing; other schools know their own.
            scale: of the scene, normalised units by those of the dataset, in which other schools' distances are.
        """
        school = SCHOOLS[self.school]
        own = {name: getattr(self, name) for name in ("antialiased", "low_pass", "max_alpha")}
        set_here = {name: value for name, value in own.items() if value is not None}
        return replace(school, near=near if school is ONEFIELD else scale * school.near, **set_here)


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


@dataclass(frozen=True)
class MeshRaster:
    """The mesh of a surface, rasterised onto whole pictures and shaded there; the sampler has no part in it."""

    kind: ClassVar[str] = "mesh"


RendererConfig = Volume | Splat | RayCast | MeshRaster
"""Every renderer that a method can be configured with; a new one is added here."""

WITHOUT_SAMPLER = (Splat, RayCast, MeshRaster)
"""Those that find out by themselves where to look."""
