"""Blending surfels on a picture, near to far: contract and PyTorch reference.

A surfel is a flat Gaussian (Huang et al., "2D Gaussian splatting" (2024)): its plane has coordinates u and v in
standard deviations, and the ray through a pixel meets the plane in one point. With x the way from the surfel's middle
on the picture to the pixel, and z its middle's depth, the point has

    (u, v) = S x / q,   depth z / q,   q = 1 + s x,

S and s constant: the inverse of the paper's matrix (eq. 8 to 10), written about the middle, so that no digits cancel.
Its ``exp(-(u^2 + v^2) / 2)`` counts where the point is in front of the camera, and ``exp(-|x|^2 / (2 LOW_PASS))`` where
that is larger (eq. 11): a surfel that is seen edge-on, or is far away, is still about a pixel wide, and there has the
depth of its middle. From there on all is as in `onefield.kernels.gaussian_blending`: alphas, cuts and end. Besides the
sums of features there are two of depth and depth squared, which differ from pixel to pixel.

Inside, a surfel is one row of ten numbers: middle, rows of S, s, depth, opacity.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.dispatch import Operation
from onefield.kernels.gaussian_blending import LOG_LEAST, MAX_ALPHA, blending_weights, to_each_pixel
from onefield.kernels.gaussian_tiles import Tiles, tile_by_tile

LOW_PASS = 0.5
"""Variance of the disc that a surfel is never smaller than, pixels squared (Huang et al. (2024), after eq. 11)."""


def surfel_alphas(
    offsets: Float[Tensor, "pixels n 2"], shapes: Float[Tensor, "n 8"], near: float, max_alpha: float
) -> tuple[Float[Tensor, "pixels n"], Float[Tensor, "pixels n"]]:
    """Alphas so far from the middles of surfels, and the depths at which they are met.

    Args:
        shapes: all but the middles.
    """
    x, y = offsets.unbind(-1)
    ux, uy, vx, vy, qx, qy, depth, opacities = shapes.unbind(1)
    q = 1 + qx * x + qy * y
    ahead = (q > 0) & (depth > near * q)
    divisor = torch.where(ahead, q, 1.0)
    on_plane = ((ux * x + uy * y) / divisor).square() + ((vx * x + vy * y) / divisor).square()
    on_picture = (x * x + y * y) / LOW_PASS
    sharp = ahead & (on_plane < on_picture)
    power = -0.5 * torch.where(sharp, on_plane, on_picture)
    alpha = (opacities * torch.exp(power)).clamp(max=max_alpha)
    alpha = torch.where(power + torch.log(opacities) >= LOG_LEAST, alpha, 0.0)
    return alpha, torch.where(sharp, depth / divisor, depth)


def _reference(
    surfels: Tensor, features: Tensor, tally: Tensor, owners: Tensor, slots: Tensor, offsets: Tensor, starts: Tensor,
    spans: Tensor, width: int, height: int, near: float, max_alpha: float,
) -> Tensor:  # fmt: skip
    """See `surfel_blend`; tile by tile."""

    def answer(centres: Tensor, chosen: Tensor) -> Tensor:
        away = centres[:, None] - to_each_pixel(surfels[chosen, :2], tally[chosen], len(centres))
        alpha, depth = surfel_alphas(away, surfels[chosen, 2:], near, max_alpha)
        weights, left = blending_weights(alpha)
        moments = (weights * depth).sum(1), (weights * depth.square()).sum(1)
        return torch.cat([weights @ features[chosen], torch.stack(moments, 1), left[:, -1:]], dim=1)

    blank = features.new_zeros(height, width, features.shape[1] + 2)
    return tile_by_tile(torch.cat([blank, torch.ones_like(blank[..., :1])], -1), owners, offsets, answer)


def _backward_reference(
    for_shown: Tensor, shown: Tensor, surfels: Tensor, features: Tensor, owners: Tensor, slots: Tensor,
    offsets: Tensor, starts: Tensor, spans: Tensor, near: float, max_alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    height, width, _ = shown.shape
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_(True) for tensor in (surfels, features, surfels[:, :2])]
        again = _reference(*leaves, owners, slots, offsets, starts, spans, width, height, near, max_alpha)
        return torch.autograd.grad(again, leaves, for_shown, allow_unused=True, materialize_grads=True)


blend_operation = Operation(
    name="surfel_blend",
    schema=(
        "(Tensor surfels, Tensor features, Tensor tally, Tensor owners, Tensor slots, Tensor offsets, Tensor starts, "
        "Tensor spans, int width, int height, float near, float max_alpha) -> Tensor"
    ),
    reference=_reference,
    fake=lambda surfels, features, tally, owners, slots, offsets, starts, spans, width, height, near, max_alpha: (
        features.new_empty(height, width, features.shape[1] + 3)
    ),
    cpu="onefield.kernels.cpu.surfel_blending:blend",
    cuda="onefield.kernels.cuda.surfel_blending:blend",
)

blend_backward_operation = Operation(
    name="surfel_blend_backward",
    schema=(
        "(Tensor for_shown, Tensor shown, Tensor surfels, Tensor features, Tensor owners, Tensor slots, "
        "Tensor offsets, Tensor starts, Tensor spans, float near, float max_alpha) -> (Tensor, Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_shown, shown, surfels, features, *_: (
        torch.empty_like(surfels),
        torch.empty_like(features),
        surfels.new_empty(surfels.shape[0], 2),
    ),
    cpu="onefield.kernels.cpu.surfel_blending:blend_backward",
    cuda="onefield.kernels.cuda.surfel_blending:blend_backward",
)


def _setup(ctx, inputs: tuple, output: Tensor) -> None:
    surfels, features, tally, *tiles, _, _, ctx.near, ctx.max_alpha = inputs
    ctx.save_for_backward(output, surfels, features, *tiles)
    ctx.tallied = tally.requires_grad


def _backward(ctx, for_shown: Tensor) -> tuple:
    for_surfels, for_features, tally = blend_backward_operation(for_shown, *ctx.saved_tensors, ctx.near, ctx.max_alpha)
    return for_surfels, for_features, tally if ctx.tallied else None, *(None,) * 9


blend_operation.register_autograd(_backward, _setup)


def surfel_rows(
    pixels: Float[Tensor, "P 2"],
    slopes: Float[Tensor, "P 3 2"],
    depths: Float[Tensor, "P"],
    opacities: Float[Tensor, "P"],
) -> Float[Tensor, "P 10"]:
    """Surfels as the kernels take them."""
    return torch.cat([pixels, slopes.flatten(1), depths[:, None], opacities[:, None]], dim=1)


def surfel_blend(
    pixels: Float[Tensor, "P 2"],
    slopes: Float[Tensor, "P 3 2"],
    depths: Float[Tensor, "P"],
    opacities: Float[Tensor, "P"],
    features: Float[Tensor, "P f"],
    tiles: Tiles,
    spans: Float[Tensor, "P 2"],
    width: int,
    height: int,
    *,
    near: float,
    max_alpha: float = MAX_ALPHA,
    tally: Float[Tensor, "P 2"] | None = None,
) -> tuple[Float[Tensor, "H W f"], Float[Tensor, "H W 2"], Float[Tensor, "H W"]]:
    """What each pixel shows, the sums of depth and of its square, and the transmittance that is left.

    Gradients go to the first five inputs; the kernels' backward can't be differentiated again.

    Args:
        pixels: middles on the picture.
        slopes: how u, v and q follow the pixel, per pixel: the rows of S, and s.
        depths: of the middles; any unit.
        opacities: in the middles, in [0, 1].
        features: any number of channels.
        tiles: who reaches where, of the same surfels.
        spans: the least and the largest y that each reaches, pixels.
        near: depth in front of which a ray meets nothing.
        max_alpha: upper bound of alpha, below 1.
        tally: as in `onefield.kernels.gaussian_blending.gaussian_blend`.
    """
    extra = torch.zeros_like(pixels) if tally is None else tally
    rows = surfel_rows(pixels, slopes, depths, opacities)
    tile_lists = (tiles.owners, tiles.slots, tiles.offsets, tiles.starts, spans)
    shown = blend_operation(rows, features, extra, *tile_lists, width, height, near, max_alpha)
    return shown[..., :-3], shown[..., -3:-1], shown[..., -1]
