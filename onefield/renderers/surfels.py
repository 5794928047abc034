"""Surfels on a picture: flat Gaussians, each met by the rays through pixels on its own plane.

Source: Huang et al., "2D Gaussian splatting for geometrically accurate radiance fields" (2024). The first two axes of a
Gaussian span the plane, the third is its normal, and the third standard deviation has no meaning.

A camera with lens distortion, or a fisheye, is taken as a perspective one about each middle, so that surfels must be
small beside what the lens bends, as ellipsoids must be beside what any perspective does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras, Picture
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.gaussian_tiles import Tiles
from onefield.kernels.surfel_blending import surfel_blend
from onefield.kernels.surfel_depths import surfel_depths
from onefield.kernels.surfel_footprints import SurfelFootprints, drawable, surfel_axes, surfel_footprints
from onefield.renderers.schools import School
from onefield.types import Gaussians

# Half pictures beyond the border up to which planes are met exactly, and numbers stay finite.
_MARGIN = 1e6


class Surfels(NamedTuple):
    """Surfels on a picture of a size, height and width, drawn with the cuts of a school.

    Attributes:
        pixels: middles.
    """

    pixels: Float[Tensor, "P 2"]
    depth: Float[Tensor, "P"]
    opacities: Float[Tensor, "P"]
    footprints: SurfelFootprints
    size: tuple[int, int]
    school: School

    @property
    def tiles(self) -> Tiles:
        """Who reaches where."""
        return self.footprints.tiles

    def blend(
        self, features: Float[Tensor, "P f"], tally: Float[Tensor, "P 2"], moments: bool = True
    ) -> tuple[Float[Tensor, "H W g"], Float[Tensor, "H W"]]:
        """Sums of features and, where wanted, of depth and of its square; and the transmittance that is left."""
        height, width = self.size
        shown, depths, left = surfel_blend(
            self.pixels, self.footprints.slopes, self.depth, self.opacities, features, self.tiles,
            self.footprints.spans, width, height, near=self.school.near, max_alpha=self.school.max_alpha, tally=tally,
        )  # fmt: skip
        return torch.cat([shown, depths], dim=-1) if moments else shown, left

    def depths(self, shares: Sequence[float]) -> Float[Tensor, "H W Q"]:
        """Depths at which such shares of light have ended."""
        height, width = self.size
        return surfel_depths(
            self.pixels, self.footprints.slopes, self.depth, self.opacities, self.tiles, width, height, shares,
            near=self.school.near, max_alpha=self.school.max_alpha,
        )  # fmt: skip


def project_surfels(gaussians: Gaussians, picture: Picture, school: School) -> Surfels:
    """Puts surfels on a picture, differentiably in them and in the camera's pose.

    Those that are nearer than the school's limit, or of infinite size, are left out.
    """
    camera, (height, width) = picture.camera, picture.shape
    # far beyond the picture a polynomial of distortion may be anything
    margin = {} if camera.distorted else {"margin": _MARGIN}
    pixels, depth, jacobians = camera.linearised(gaussians.means, **margin)
    if pixels.requires_grad:
        pixels.retain_grad()
    axes = surfel_axes(gaussians.log_scales, rotations(gaussians.quaternions))
    seen = (depth > school.near) & drawable(gaussians.log_scales)
    recessions = (_receding(gaussians.means, camera)[:, None] @ axes)[:, 0] / torch.where(seen, depth, 1.0)[:, None]
    opacities = torch.sigmoid(gaussians.opacities)
    spreads = torch.where(seen[:, None, None], jacobians @ axes, 0.0)
    footprints = surfel_footprints(
        pixels, spreads, recessions, opacities, torch.where(seen, depth, 0.0).detach(), width, height
    )
    return Surfels(pixels, depth, opacities, footprints, (height, width), school)


def surfel_normals(gaussians: Gaussians) -> Float[Tensor, "P 3"]:
    """Unit vectors in the world, of either side."""
    return rotations(gaussians.quaternions)[:, :, 2]


def _receding(means: Float[Tensor, "P 3"], camera: Cameras) -> Float[Tensor, "P 3"]:
    """How depth, as `Cameras.linearised` has it, follows points."""
    if not bool(camera.fisheye):
        return camera.forwards[0].to(means).expand_as(means)
    return torch.nn.functional.normalize(means - camera.positions[0].to(means), dim=-1)
