"""Ellipsoids on a picture: Gaussians projected by a camera that is linear about each of them.

Source: Kerbl et al., "3D Gaussian splatting for real-time radiance field rendering" (2023); the anti-aliased mode after
Yu et al., "Mip-Splatting" (2024), with the low-pass term of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Picture
from onefield.kernels.gaussian_blending import gaussian_blend
from onefield.kernels.gaussian_depths import gaussian_depths
from onefield.kernels.gaussian_footprints import gaussian_footprints, rotations
from onefield.kernels.gaussian_tiles import Tiles, gaussian_tiles, square_tiles
from onefield.renderers.schools import School
from onefield.types import Gaussians


class Ellipsoids(NamedTuple):
    """Gaussians on a picture of a size, height and width, drawn with the cuts of a school.

    Attributes:
        pixels: middles.
        conics: inverse covariances (xx, xy, yy).
    """

    pixels: Float[Tensor, "P 2"]
    depth: Float[Tensor, "P"]
    opacities: Float[Tensor, "P"]
    conics: Float[Tensor, "P 3"]
    tiles: Tiles
    size: tuple[int, int]
    school: School

    def blend(
        self, features: Float[Tensor, "P f"], tally: Float[Tensor, "P 2"], moments: bool = True
    ) -> tuple[Float[Tensor, "H W g"], Float[Tensor, "H W"]]:
        """Sums of features and, where wanted, of depth and of its square; and the transmittance that is left."""
        height, width = self.size
        if moments:
            features = torch.cat([features, self.depth[:, None], self.depth[:, None].square()], dim=1)
        return gaussian_blend(
            self.pixels, self.conics, self.opacities, features, self.tiles, width, height,
            max_alpha=self.school.max_alpha, tally=tally,
        )  # fmt: skip

    def depths(self, shares: Sequence[float]) -> Float[Tensor, "H W Q"]:
        """Depths at which such shares of light have ended."""
        height, width = self.size
        return gaussian_depths(
            self.pixels, self.conics, self.opacities, self.depth, self.tiles, width, height, shares,
            max_alpha=self.school.max_alpha,
        )  # fmt: skip


def project_ellipsoids(gaussians: Gaussians, picture: Picture, school: School) -> Ellipsoids:
    """Puts Gaussians on a picture, differentiably in them and in the camera's pose.

    Those that are nearer than the school's limit, or of infinite size, are left out.
    """
    height, width = picture.shape
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
        tiles = square_tiles(pixels, conics, variances, opacities, shown_depth, width, height, school.deviations)
    return Ellipsoids(pixels, depth, opacities, conics, tiles, (height, width), school)


def shortest_axes(gaussians: Gaussians) -> Float[Tensor, "P 3"]:
    """What ellipsoids have for normals: unit vectors in the world, of either side."""
    shortest = gaussians.log_scales.argmin(dim=1)
    return rotations(gaussians.quaternions).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
