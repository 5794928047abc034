"""Splatting: Gaussians projected onto a picture and blended near to far.

Source: Kerbl et al., "3D Gaussian splatting for real-time radiance field rendering" (2023); the anti-aliased mode after
Yu et al., "Mip-Splatting" (2024), with the low-pass term of the original.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras, Picture
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.gaussians import HasGaussians
from onefield.fields.lobes import without_lobes
from onefield.kernels.gaussian_blending import gaussian_blend
from onefield.kernels.gaussian_depths import gaussian_depths
from onefield.kernels.gaussian_footprints import gaussian_footprints, rotations
from onefield.kernels.gaussian_tiles import Tiles, gaussian_tiles, square_tiles
from onefield.kernels.harmonic_colors import harmonic_colors
from onefield.renderers.background import Background, Black
from onefield.renderers.renderer import Renderer
from onefield.renderers.schools import ONEFIELD, School
from onefield.types import Gaussians, Rays, RenderedImage, Rendering, Splats


class _Footprints(NamedTuple):
    """Gaussians on a picture."""

    pixels: Float[Tensor, "P 2"]
    conics: Float[Tensor, "P 3"]
    opacities: Float[Tensor, "P"]
    depth: Float[Tensor, "P"]
    tiles: Tiles


@final
class SplatRenderer(Renderer):
    """Renders sets of Gaussians, a whole picture or a part of one at a time."""

    takes_pictures = True
    gives_quantiles = True

    def __init__(
        self,
        background: Background | None = None,
        *,
        school: School = ONEFIELD,
        depths: bool = True,
        tallied: bool = False,
    ) -> None:
        """Makes a renderer.

        Args:
            background: what lies behind; None is black.
            school: whose cuts and filters.
            depths: whether `render` fills in depth and distortion; a picture without is a fifth faster.
            tallied: collect absolute gradients of the middles for densification.
        """
        super().__init__()
        self.background = Black() if background is None else background
        self.school = school
        self.depths = depths
        self.tallied = tallied

    def check(self, field: Field) -> None:
        """Says at once whether a field can be rendered.

        Raises:
            UsageError: it is no set of Gaussians.
        """
        if not isinstance(field, HasGaussians):
            raise UsageError(
                f"Splatting draws Gaussians, but {type(field).__name__} is no set of them; render it as a volume "
                "(renderer.kind=volume), or train with '--method splat'."
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
        """Renders a `Picture`, differentiably in the Gaussians, the camera's pose and the background.

        Args:
            rays: must be a `Picture`.
            generator: of the background's randomness in training.
            background: colours behind the pixels; None asks the renderer's own background.
            normals: fill `Rendering.normal` with the mean of the Gaussians' shortest axes.

        Raises:
            UsageError: the field is no set of Gaussians, or the rays are no picture.
        """
        self.check(field)
        if not isinstance(rays, Picture):
            raise UsageError("Splatting draws whole pictures; give it the rays of Cameras.image_rays, not single ones.")
        behind = self.background(rays, generator) if background is None else background
        return self._draw(without_lobes(field.gaussians()), rays, behind, self.depths, normals)

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
            limits: accepted for the call that all renderers share; Gaussians have no use for them.

        Raises:
            UsageError: the field is no set of Gaussians, or there is no such view.
        """
        self.check(field)
        picture = cameras.image_rays(index)
        behind = self.background(picture) if background is None else background.expand(len(picture), 3)
        drawn = self._draw(without_lobes(field.gaussians()), picture, behind, True, normals)
        height, width = picture.shape
        return RenderedImage(
            color=drawn.color.reshape(height, width, 3),
            depth=drawn.depth.reshape(height, width),
            opacity=drawn.opacity.reshape(height, width),
            normal=None if drawn.normal is None else drawn.normal.reshape(height, width, 3),
            quantiles=self._quantiles(field.gaussians(), picture, quantiles) if quantiles else None,
        )

    def _project(self, gaussians: Gaussians, picture: Picture) -> _Footprints:
        (height, width), school = picture.shape, self.school
        pixels, depth, jacobians = picture.camera.linearised(gaussians.means, around_axis=school.around_axis)
        if pixels.requires_grad:
            pixels.retain_grad()
        conics, compensation, variances = gaussian_footprints(
            jacobians, gaussians.log_scales, gaussians.quaternions, school.low_pass, school.least_compensation
        )
        opacities = torch.sigmoid(gaussians.opacities)
        if school.antialiased:
            opacities = opacities * compensation
        with torch.no_grad():
            shown_depth = torch.where(depth > school.near, depth, 0.0)
        if school.deviations is None:
            tiles = gaussian_tiles(pixels, conics, variances, opacities, shown_depth, width, height)
        else:
            tiles = square_tiles(pixels, conics, variances, shown_depth, width, height, school.deviations)
        return _Footprints(pixels, conics, opacities, depth, tiles)

    def _quantiles(self, gaussians: Gaussians, picture: Picture, shares: Sequence[float]) -> Float[Tensor, "H W Q"]:
        pixels, conics, opacities, depth, tiles = self._project(gaussians, picture)
        height, width = picture.shape
        found = gaussian_depths(
            pixels, conics, opacities, depth, tiles, width, height, shares, max_alpha=self.school.max_alpha
        )
        return found / _slant(picture).reshape(height, width, 1)

    def _draw(
        self, gaussians: Gaussians, picture: Picture, behind: Float[Tensor, "R 3"], depths: bool, normals: bool
    ) -> Rendering:
        camera, (height, width) = picture.camera, picture.shape
        pixels, conics, opacities, depth, tiles = self._project(gaussians, picture)
        outward = gaussians.means - camera.positions[0].to(gaussians.means)
        features = [harmonic_colors(outward, gaussians.harmonics)]
        if depths:
            features += [depth[:, None], depth[:, None].square()]
        if normals:
            features.append(facing_axes(gaussians, outward))
        tally = torch.zeros_like(pixels, requires_grad=self.tallied and torch.is_grad_enabled())
        shown, left = gaussian_blend(
            pixels, conics, opacities, torch.cat(features, dim=1), tiles, width, height,
            max_alpha=self.school.max_alpha, tally=tally,
        )  # fmt: skip
        shown, left = shown.reshape(-1, shown.shape[-1]), left.reshape(-1)
        opacity = 1 - left
        distance, distortion = _depths(picture, shown[:, 3:5], opacity) if depths else (None, None)
        return Rendering(
            color=shown[:, :3] + left[:, None] * behind,
            depth=distance,
            opacity=opacity,
            normal=torch.nn.functional.normalize(shown[:, -3:], dim=-1) if normals else None,
            distortion=distortion,
            splats=Splats(pixels, tally, tiles.reach, (height, width)),
        )


def facing_axes(gaussians: Gaussians, outward: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
    """The shortest axis of each Gaussian, turned against ``outward``, the direction from the camera."""
    shortest = gaussians.log_scales.argmin(dim=1)
    axes = rotations(gaussians.quaternions).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    return torch.where((axes * outward).sum(-1, keepdim=True) > 0, -axes, axes)


def _depths(picture: Picture, sums: Float[Tensor, "R 2"], opacity: Float[Tensor, "R"]) -> tuple[Tensor, Tensor]:
    """Mean distance along each ray, and the distortion ``sum_{i<j} w_i w_j (z_i - z_j)^2`` of the depths.

    With ``m_k = sum_i w_i z_i^k`` that sum is ``m_0 m_2 - m_1^2`` (Huang et al., "2D Gaussian splatting" (2024)).
    """
    hit = opacity > 0
    mean = torch.where(hit, sums[:, 0] / torch.where(hit, opacity, 1.0), 0.0) / _slant(picture)
    return mean, (opacity * sums[:, 1] - sums[:, 0].square()).clamp(min=0)


def _slant(picture: Picture) -> Float[Tensor, "R"]:
    """Depth of a point over its distance: pinhole depths are along the axis, to which rays lie at an angle."""
    if bool(picture.camera.fisheye):
        return torch.ones_like(picture.directions[:, 0])
    return picture.directions @ picture.camera.forwards[0].to(picture.directions)
