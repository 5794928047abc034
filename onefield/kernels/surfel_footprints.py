"""What surfels in space look like on a picture, in plain PyTorch on every device: blending takes far longer.

A surfel's point ``middle + A w``, w in standard deviations and A its two axes (the first two columns of its rotation,
times its first two scales), lies at depth ``z (1 + h w)`` and at ``x = N w / (1 + h w)`` from the middle on the
picture, N the Jacobian of the projection times A. That is exact for a camera without distortion and agrees to first
order with any other. The inverse of it is what `onefield.kernels.surfel_blending` takes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.kernels.gaussian_tiles import LEAST_ALPHA, Tiles, gaussian_tiles
from onefield.kernels.surfel_blending import LOW_PASS

# Standard deviations above e^10 world units count as infinite: no scene is as large, and their squares may overflow.
_MOST_LOG_SCALE = 10.0
# Where a surfel covers less than this, pixels squared, of a picture, it is a point or seen edge-on: the inverse has no
# digits left, and only the disc is drawn, which has the size of a pixel.
_LEAST_AREA = 1e-8
# u and v per pixel of such a surfel: it ends long before the next pixel.
_ENDLESS = 1e8
# Share of the depth that the nearest visible point of a surfel must have for its outline to be an ellipse of a usable
# size; those that come nearer to the plane of the camera may be anywhere on the picture.
_LEAST_AHEAD = 0.01
# An ellipse about an outline and a disc that share no centre: of the disc's variance, and of the way between the
# centres squared, so much (1 + s and 1 + 1 / s hold for any s; the way is a small part of a pixel).
_DISC, _WAY = 1.125, 9.0


class SurfelFootprints(NamedTuple):
    """Surfels on a picture.

    Attributes:
        slopes: how u, v and q follow the pixel, see `onefield.kernels.surfel_blending`; differentiable.
        tiles: who reaches where.
        spans: the least and the largest y that each reaches, pixels.
    """

    slopes: Float[Tensor, "P 3 2"]
    tiles: Tiles
    spans: Float[Tensor, "P 2"]


def drawable(log_scales: Float[Tensor, "P 3"]) -> Bool[Tensor, "P"]:
    """Which have a size: it may be zero, but neither infinite nor no number."""
    return (log_scales[:, :2] <= _MOST_LOG_SCALE).all(-1)


def surfel_axes(log_scales: Float[Tensor, "P 3"], orientation: Float[Tensor, "P 3 3"]) -> Float[Tensor, "P 3 2"]:
    """Both axes in the world, as long as their standard deviations; of those that aren't `drawable` one unit long.

    Args:
        orientation: matrices whose columns are the axes; the third is the normal, and the third scale has no meaning.
    """
    sizes = torch.where(drawable(log_scales)[:, None], log_scales[:, :2], 0.0).exp()
    return orientation[:, :, :2] * sizes[:, None]


def surfel_footprints(
    pixels: Float[Tensor, "P 2"],
    spreads: Float[Tensor, "P 2 2"],
    recessions: Float[Tensor, "P 2"],
    opacities: Float[Tensor, "P"],
    depths: Float[Tensor, "P"],
    width: int,
    height: int,
) -> SurfelFootprints:
    """Where surfels are on a picture, and how they are met there.

    Args:
        pixels: middles on the picture.
        spreads: N, pixels by standard deviations.
        recessions: h, by which share of itself depth grows with each standard deviation.
        opacities: in the middles, in [0, 1]; without influence on the slopes.
        depths: what to sort by; those that are not above 0 are not seen.
        width, height: of the picture.
    """
    determinant = spreads[:, 0, 0] * spreads[:, 1, 1] - spreads[:, 0, 1] * spreads[:, 1, 0]
    wide = (determinant.abs() > _LEAST_AREA)[:, None, None]
    adjugate = torch.stack([spreads[:, 1, 1], -spreads[:, 0, 1], -spreads[:, 1, 0], spreads[:, 0, 0]], 1).unflatten(
        1, (2, 2)
    )
    inverse = adjugate / torch.where(wide, determinant[:, None, None], 1.0)
    nearness = -(recessions[:, None] @ inverse)
    end = _ENDLESS * torch.eye(3, 2, dtype=spreads.dtype, device=spreads.device)
    slopes = torch.where(wide, torch.cat([inverse, nearness], dim=1), end)
    tiles, spans = _reached(pixels, spreads, recessions, opacities, depths, width, height)
    return SurfelFootprints(slopes, tiles, spans)


@torch.no_grad()
def _reached(
    pixels: Tensor, spreads: Tensor, recessions: Tensor, opacities: Tensor, depths: Tensor, width: int, height: int
) -> tuple[Tiles, Tensor]:
    """Tiles and spans, by an ellipse that holds a surfel's outline and the disc about its middle.

    The points with ``|w| = r`` are an ellipse on the picture: with ``a = 1 - r^2 |h|^2`` it lies about
    ``-r^2 N h / a``, r standard deviations wide of the covariance ``(r^2 N h h^T N^T + a N N^T) / a^2``. With a below 0
    it reaches behind the camera, and is none.
    """
    squared = (2 * torch.log(opacities / LEAST_ALPHA)).clamp(min=0)[:, None]
    ahead = 1 - squared * recessions.square().sum(-1, keepdim=True)
    whole = ahead < _LEAST_AHEAD
    ahead = torch.where(whole, 1.0, ahead)
    lean = (spreads @ recessions[:, :, None])[..., 0]
    size = pixels.new_tensor([width, height])
    centres = torch.where(whole, size / 2, pixels - squared * lean / ahead)
    factors = torch.cat(
        [((1 + _WAY) * squared).sqrt()[:, :, None] * lean[:, :, None] / ahead[:, :, None],
         spreads / ahead.sqrt()[:, :, None]], dim=2,
    )  # fmt: skip
    everywhere = (size.square().sum() / squared).sqrt()[:, :, None] * torch.eye(2, 3).to(pixels)
    across, down = torch.where(whole[:, :, None], everywhere, factors).unbind(1)
    disc = _DISC * LOW_PASS
    across2, down2, mixed = across.square().sum(-1), down.square().sum(-1), (across * down).sum(-1)
    sharp = torch.linalg.cross(across, down).square().sum(-1)
    variances = torch.stack([across2, down2], dim=1) + disc
    conics = torch.stack([variances[:, 1], -mixed, variances[:, 0]], 1)
    conics = conics / (sharp + disc * (across2 + down2 + disc))[:, None]
    tiles = gaussian_tiles(centres, conics, variances, opacities, depths, width, height)
    spans = torch.stack([centres[:, 1] - tiles.reach[:, 1], centres[:, 1] + tiles.reach[:, 1]], dim=1)
    return tiles, spans
