"""Casting rays through sets of Gaussians: density and colour as their sums, integrated along single rays.

Source: Blanc et al., "RayGauss: volumetric Gaussian-based ray casting for photorealistic novel view synthesis" (2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.gaussians import HasGaussians, peak_densities
from onefield.fields.gradients import spatial_gradient
from onefield.kernels.gaussian_footprints import LEAST_LENGTH, rotations
from onefield.kernels.gaussian_ray_casting import LOBE, STOP, CastGaussians, CastRays, cast_gaussians
from onefield.kernels.gaussian_tiles import LEAST_ALPHA
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.renderers.background import Background, Black
from onefield.renderers.chunking import MOST_RAYS
from onefield.renderers.renderer import Renderer
from onefield.renderers.sampling.intervals import uniform
from onefield.types import Gaussians, Rays, RenderedImage, Rendering

STEP = 0.01
"""Distance of samples in a region of interest of edge 2 (the paper's code takes 0.0025 for pictures of 800 pixels)."""
# Samples so many standard deviations apart miss two percent of a Gaussian at most, wherever they fall.
_SMOOTHING = 0.5
# Log-scale from which on a Gaussian is as good as endless: the square of a larger scale is no float32.
_ENDLESS = 40.0


@final
class GaussianRayRenderer(Renderer):
    """Renders sets of Gaussians as the volumes that they are, a ray at a time."""

    gives_quantiles = True

    def __init__(
        self,
        background: Background | None = None,
        *,
        step: float = STEP,
        cone: float = 0.0,
        near: float = 0.0,
        early_stop: float = STOP,
    ) -> None:
        """Makes a renderer.

        Args:
            background: what lies behind; None is black.
            step: distance of samples, world units. A Gaussian is rendered as if smoothed by half of it, so that none is
                too thin for the samples; what it absorbs stays the same.
            cone: least distance of samples as a share of the distance from the ray's origin.
            near: distance from the origin at which rays start, world units.
            early_stop: transmittance behind which a ray ends.

        Raises:
            UsageError: a step that is not above 0.
        """
        super().__init__()
        if not (math.isfinite(step) and step > 0):
            raise UsageError(f"Samples along rays need a distance above 0, got a step of {step}.")
        self.background = Black() if background is None else background
        self.step = step
        self.cone = cone
        self.near = near
        self.early_stop = early_stop

    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it is no set of Gaussians.
        """
        if not isinstance(field, HasGaussians):
            raise UsageError(
                f"Rays are cast through Gaussians, but {type(field).__name__} is no set of them; render it as a volume "
                "(renderer.kind=volume), or train with '--method raygauss'."
            )

    def render(
        self,
        field: Field,
        rays: Rays,
        generator: torch.Generator | None = None,
        *,
        background: Float[Tensor, "R 3"] | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Renders rays, differentiably in the Gaussians, the rays and the background.

        Args:
            generator: moves the samples of each ray by up to half a step, and is the background's.
            background: colours behind the rays; None asks the renderer's own background.
            normals: fill `Rendering.normal` from the slope of the density where half of a ray's light is lost, or at
                its mean depth where less is; without a gradient.

        Raises:
            UsageError: the field is no set of Gaussians.
        """
        self.check(field)
        behind = self.background(rays, generator) if background is None else background
        gaussians = cast_form(field.gaussians(), self.step)
        return self._cast(field, gaussians, rays, behind, generator, normals)[0]

    @torch.no_grad()
    def render_image(
        self,
        field: Field,
        cameras: Cameras,
        index: int,
        *,
        background: Float[Tensor, "3"] | None = None,
        normals: bool = False,
        quantiles: Sequence[float] = (),
        limits: Callable[[Rays], Rays] | None = None,
    ) -> RenderedImage:
        """Renders one view in full, without gradients.

        Args:
            cameras, index: the view.
            background: one colour behind all; None asks the renderer's own background.
            normals: whether to fill `RenderedImage.normal`.
            quantiles: shares of opacity in (0, 1) for `RenderedImage.quantiles`; 0.5 gives the median depth.
            limits: fills in near and far of the rays, where the scene states them.

        Raises:
            UsageError: the field is no set of Gaussians, or there is no such view.
        """
        self.check(field)
        rays: Rays = cameras.image_rays(index)
        if limits is not None:
            rays = limits(rays)
        gaussians = cast_form(field.gaussians(), self.step)
        parts: list[Rendering] = []
        depths: list[Tensor] = []
        for first in range(0, len(rays), MOST_RAYS):
            some = rays[first : first + MOST_RAYS]
            behind = self.background(some) if background is None else background.expand(len(some), 3)
            rendering, places = self._cast(field, gaussians, some, behind, None, normals, quantiles)
            parts.append(rendering)
            depths.append(places)
        height, width = int(cameras.height[index]), int(cameras.width[index])
        return RenderedImage(
            color=torch.cat([part.color for part in parts]).reshape(height, width, 3),
            depth=torch.cat([part.depth for part in parts]).reshape(height, width),
            opacity=torch.cat([part.opacity for part in parts]).reshape(height, width),
            normal=torch.cat([part.normal for part in parts]).reshape(height, width, 3) if normals else None,
            quantiles=torch.cat(depths).reshape(height, width, len(quantiles)) if quantiles else None,
        )

    def _cast(
        self,
        field: Field,
        gaussians: CastGaussians,
        rays: Rays,
        behind: Float[Tensor, "R 3"],
        generator: torch.Generator | None,
        normals: bool,
        quantiles: Sequence[float] = (),
    ) -> tuple[Rendering, Float[Tensor, "R Q"]]:
        degree = math.isqrt(gaussians.harmonics.shape[1]) - 1
        basis = harmonic_basis(functional.normalize(rays.directions, dim=-1), degree)
        given = (rays.origins, rays.directions, basis, *self._limits(rays, generator))
        lit = CastRays(*(numbers.to(gaussians.means) for numbers in given))
        shares = (*quantiles, 0.5) if normals else quantiles
        cast = cast_gaussians(lit, gaussians, step=self.step, cone=self.cone, early_stop=self.early_stop, shares=shares)
        hit = cast.opacity > 0
        depth = torch.where(hit, cast.depth / torch.where(hit, cast.opacity, 1.0), 0.0)
        rendering = Rendering(
            color=cast.color + (1 - cast.opacity)[:, None] * behind,
            depth=depth,
            opacity=cast.opacity,
            looks=int(cast.looks.sum()),
        )
        if normals:
            median = cast.quantiles[:, -1]
            places = torch.where(torch.isfinite(median), median, depth)
            rendering = replace(rendering, normal=_normals(field, rays.detach(), places.detach(), hit))
        return rendering, cast.quantiles[:, : len(quantiles)]

    def _limits(self, rays: Rays, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        starts = rays.origins.new_full((len(rays),), self.near)
        if rays.near is not None:
            starts = torch.maximum(starts, rays.near)
        if generator is not None:
            moves = uniform((len(rays),), starts, generator) - 0.5
            starts = (starts + self.step * moves).clamp(min=0)
        ends = torch.full_like(starts, torch.inf) if rays.far is None else rays.far
        return starts.detach(), ends.detach()


def cast_form(gaussians: Gaussians, step: float) -> CastGaussians:
    """A set as its rays are cast: smoothed by half a step, densities such that each absorbs what its splat covers.

    A Gaussian counts as far as it absorbs 1/255 of the light that crosses it along its shortest axis, which is where a
    splat ends, too.
    """
    scales = ((2 * gaussians.log_scales.clamp(max=_ENDLESS)).exp() + (_SMOOTHING * step) ** 2).sqrt()
    with torch.no_grad():
        thickness = functional.softplus(gaussians.opacities)
        reaches = (2 * torch.log(thickness / LEAST_ALPHA)).clamp(min=0).sqrt()
    lobes = gaussians.means.new_zeros(len(gaussians), 0, LOBE)
    if gaussians.lobes is not None:
        own = gaussians.lobes
        axes = functional.normalize(own.axes, dim=-1, eps=LEAST_LENGTH)
        lobes = torch.cat([axes, own.log_sharpness.exp()[..., None], own.colors], dim=-1)
    return CastGaussians(
        gaussians.means,
        rotations(gaussians.quaternions).mT / scales[:, :, None],
        peak_densities(gaussians.opacities, scales),
        reaches,
        torch.cat(gaussians.harmonics, dim=1),
        lobes,
    )


def _normals(field: Field, rays: Rays, places: Float[Tensor, "R"], hit: Tensor) -> Float[Tensor, "R 3"]:
    """Against the slope of the density at places along rays; 0 where nothing was hit."""
    points = rays.origins + places[:, None] * rays.directions
    slope = spatial_gradient(field, points, "density")
    return torch.where(hit[:, None], functional.normalize(-slope, dim=-1), 0.0)
