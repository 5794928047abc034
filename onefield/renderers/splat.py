"""Splatting: Gaussians on a picture, as ellipsoids or as surfels, blended near to far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras, Picture
from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field
from onefield.fields.gaussians import HasGaussians
from onefield.fields.lobes import without_lobes
from onefield.kernels.harmonic_colors import harmonic_colors
from onefield.renderers.background import Background, Black
from onefield.renderers.ellipsoids import Ellipsoids, project_ellipsoids, shortest_axes
from onefield.renderers.renderer import Renderer
from onefield.renderers.schools import ONEFIELD, School
from onefield.renderers.surfels import Surfels, project_surfels, surfel_normals
from onefield.types import Gaussians, Rays, RenderedImage, Rendering, Splats

# How each primitive comes onto a picture, and what its normals are.
_DRAWN = {"ellipsoids": (project_ellipsoids, shortest_axes), "surfels": (project_surfels, surfel_normals)}
PRIMITIVES = tuple(_DRAWN)
"""What a Gaussian can be drawn as: all of it, or a disc across its third axis."""


@final
class SplatRenderer(Renderer):
    """Renders sets of Gaussians, a whole picture or a part of one at a time."""

    takes_pictures = True
    gives_quantiles = True

    def __init__(
        self,
        background: Background | None = None,
        *,
        primitive: str = "ellipsoids",
        school: School = ONEFIELD,
        depths: bool = True,
        normals: bool = False,
        tallied: bool = False,
    ) -> None:
        """Makes a renderer.

        Args:
            background: what lies behind; None is black.
            primitive: what Gaussians are drawn as, one of `PRIMITIVES`.
            school: whose cuts and filters; surfels have its limits of depth and opacity alone.
            depths: whether `render` fills in depth and distortion; a picture without is a fifth faster.
            normals: whether `render` fills in normals even where it isn't asked to, for losses on them.
            tallied: collect absolute gradients of the middles for densification.

        Raises:
            UsageError: there is no such primitive.
        """
        super().__init__()
        if primitive not in PRIMITIVES:
            raise UsageError(f"Gaussians are no '{primitive}': {nearest_name(primitive, PRIMITIVES)}.")
        self.background = Black() if background is None else background
        self.primitive = primitive
        self.only_surfaces = primitive == "surfels"
        self.school = school
        self.depths = depths
        self.normals = normals
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
            normals: fill `Rendering.normal` with the mean of the Gaussians' normals: of ellipsoids the shortest axis.

        Raises:
            UsageError: the field is no set of Gaussians, or the rays are no picture.
        """
        self.check(field)
        if not isinstance(rays, Picture):
            raise UsageError("Splatting draws whole pictures; give it the rays of Cameras.image_rays, not single ones.")
        behind = self.background(rays, generator) if background is None else background
        return self._draw(without_lobes(field.gaussians()), rays, behind, self.depths, normals or self.normals)

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

    def _project(self, gaussians: Gaussians, picture: Picture) -> Ellipsoids | Surfels:
        return _DRAWN[self.primitive][0](gaussians, picture, self.school)

    def _quantiles(self, gaussians: Gaussians, picture: Picture, shares: Sequence[float]) -> Float[Tensor, "H W Q"]:
        found = self._project(gaussians, picture).depths(shares)
        return found / _slant(picture).reshape(*picture.shape, 1)

    def _draw(
        self, gaussians: Gaussians, picture: Picture, behind: Float[Tensor, "R 3"], depths: bool, normals: bool
    ) -> Rendering:
        drawn = self._project(gaussians, picture)
        outward = gaussians.means - picture.camera.positions[0].to(gaussians.means)
        features = [harmonic_colors(outward, gaussians.harmonics)]
        if normals:
            features.append(facing(_DRAWN[self.primitive][1](gaussians), outward))
        tally = torch.zeros_like(drawn.pixels, requires_grad=self.tallied and torch.is_grad_enabled())
        shown, left = drawn.blend(torch.cat(features, dim=1), tally, depths)
        shown, left = shown.reshape(-1, shown.shape[-1]), left.reshape(-1)
        opacity = 1 - left
        distance, distortion = _depths(picture, shown[:, -2:], opacity) if depths else (None, None)
        turned = shown[:, 3:6] if normals else None
        return Rendering(
            color=shown[:, :3] + left[:, None] * behind,
            depth=distance,
            opacity=opacity,
            normal=torch.nn.functional.normalize(turned, dim=-1) if normals else None,
            distortion=distortion,
            splats=Splats(drawn.pixels, tally, drawn.tiles.reach, picture.shape, gaussians.means, turned),
        )


def facing(axes: Float[Tensor, "P 3"], outward: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
    """Axes turned against ``outward``, the direction from the camera."""
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
