"""Blending Gaussians on a picture, near to far: contract and PyTorch reference.

At a pixel a Gaussian has ``alpha = min(max_alpha, opacity exp(-d^T conic d / 2))``, d from its middle to the pixel's;
what lies below 1/255 counts as nothing. A pixel shows ``sum_i w_i f_i`` with ``w_i = T_i alpha_i`` and ``T_i`` the
product of ``1 - alpha_j`` over all j before i, and ends before the first Gaussian that would take T below 1e-4 (Kerbl
et al. (2023), eq. 3 and appendix C). Depth, its square and normals are features like any other, so that expected depth
and distortion come out of the same sum. Gradients stop at the cuts, and where alpha is held at its maximum.

Inside, middle, conic and opacity are one row of six numbers a Gaussian, and transmittance is the last channel.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.dispatch import Operation
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, Tiles, tile_by_tile

# Transmittance below which nothing is added.
STOP = 1e-4
MAX_ALPHA = 0.99
"""As in the original and in gsplat since 1.6; gsplat 1.5 takes 0.999."""

LOG_LEAST = math.log(LEAST_ALPHA)


class _ToEachPixel(torch.autograd.Function):
    """Middles repeated for each pixel; on the way back gradients are summed, and the absolute ones for the tally."""

    @staticmethod
    def forward(ctx, middles: Tensor, tally: Tensor, count: int) -> Tensor:
        return middles.expand(count, *middles.shape)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        return slope.sum(0), slope.abs().sum(0), None


def to_each_pixel(middles: Float[Tensor, "n 2"], tally: Float[Tensor, "n 2"], count: int) -> Float[Tensor, "c n 2"]:
    """The same middles for so many pixels; the tally's gradient is the sum of each pixel's absolute one."""
    return _ToEachPixel.apply(middles, tally, count)


def blending_weights(alpha: Float[Tensor, "pixels n"]) -> tuple[Float[Tensor, "pixels n"], Float[Tensor, "pixels n"]]:
    """What each weighs of all that are met near to far, and the transmittance behind it."""
    alpha = torch.where((1 - alpha).cumprod(1) >= STOP, alpha, 0.0)
    after = (1 - alpha).cumprod(1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    return before * alpha, after


def ellipse_alphas(
    offsets: Float[Tensor, "pixels n 2"], shapes: Float[Tensor, "n 4"], max_alpha: float
) -> Float[Tensor, "pixels n"]:
    """Alphas so far from the middles of ellipses, given as conic and opacity."""
    x, y = offsets.unbind(-1)
    xx, xy, yy, opacities = shapes.unbind(1)
    power = -0.5 * (xx * x * x + yy * y * y) - xy * x * y
    alpha = (opacities * torch.exp(power)).clamp(max=max_alpha)
    return torch.where(power + torch.log(opacities) >= LOG_LEAST, alpha, 0.0)


def _reference(
    ellipses: Tensor, features: Tensor, tally: Tensor, owners: Tensor, slots: Tensor, offsets: Tensor, starts: Tensor,
    reach: Tensor, width: int, height: int, max_alpha: float,
) -> Tensor:  # fmt: skip
    """See `gaussian_blend`; tile by tile."""

    def answer(centres: Tensor, chosen: Tensor) -> Tensor:
        away = centres[:, None] - to_each_pixel(ellipses[chosen, :2], tally[chosen], len(centres))
        weights, left = blending_weights(ellipse_alphas(away, ellipses[chosen, 2:], max_alpha))
        return torch.cat([weights @ features[chosen], left[:, -1:]], dim=1)

    blank = torch.cat([features.new_zeros(height, width, features.shape[1]), features.new_ones(height, width, 1)], -1)
    return tile_by_tile(blank, owners, offsets, answer)


def _backward_reference(
    for_shown: Tensor, shown: Tensor, ellipses: Tensor, features: Tensor, owners: Tensor, slots: Tensor,
    offsets: Tensor, starts: Tensor, reach: Tensor, max_alpha: float, tallied: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    height, width, _ = shown.shape
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_(True) for tensor in (ellipses, features, ellipses[:, :2])]
        again = _reference(*leaves, owners, slots, offsets, starts, reach, width, height, max_alpha)
        return torch.autograd.grad(again, leaves, for_shown, allow_unused=True, materialize_grads=True)


blend_operation = Operation(
    name="gaussian_blend",
    schema=(
        "(Tensor ellipses, Tensor features, Tensor tally, Tensor owners, Tensor slots, Tensor offsets, Tensor starts, "
        "Tensor reach, int width, int height, float max_alpha) -> Tensor"
    ),
    reference=_reference,
    fake=lambda ellipses, features, tally, owners, slots, offsets, starts, reach, width, height, max_alpha: (
        features.new_empty(height, width, features.shape[1] + 1)
    ),
    cpu="onefield.kernels.cpu.gaussian_blending:blend",
    cuda="onefield.kernels.cuda.gaussian_blending:blend",
)

blend_backward_operation = Operation(
    name="gaussian_blend_backward",
    schema=(
        "(Tensor for_shown, Tensor shown, Tensor ellipses, Tensor features, Tensor owners, Tensor slots, "
        "Tensor offsets, Tensor starts, Tensor reach, float max_alpha, bool tallied) -> (Tensor, Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_shown, shown, ellipses, features, *_: (
        torch.empty_like(ellipses),
        torch.empty_like(features),
        ellipses.new_empty(ellipses.shape[0], 2),
    ),
    cpu="onefield.kernels.cpu.gaussian_blending:blend_backward",
    cuda="onefield.kernels.cuda.gaussian_blending:blend_backward",
)


def _setup(ctx, inputs: tuple, output: Tensor) -> None:
    ellipses, features, tally, *tiles, _, _, ctx.max_alpha = inputs
    ctx.save_for_backward(output, ellipses, features, *tiles)
    ctx.tallied = tally.requires_grad


def _backward(ctx, for_shown: Tensor) -> tuple:
    for_ellipses, for_features, tally = blend_backward_operation(
        for_shown, *ctx.saved_tensors, ctx.max_alpha, ctx.tallied
    )
    return for_ellipses, for_features, tally if ctx.tallied else None, *(None,) * 8


blend_operation.register_autograd(_backward, _setup)


def gaussian_blend(
    pixels: Float[Tensor, "P 2"],
    conics: Float[Tensor, "P 3"],
    opacities: Float[Tensor, "P"],
    features: Float[Tensor, "P f"],
    tiles: Tiles,
    width: int,
    height: int,
    *,
    max_alpha: float = MAX_ALPHA,
    tally: Float[Tensor, "P 2"] | None = None,
) -> tuple[Float[Tensor, "H W f"], Float[Tensor, "H W"]]:
    """What each pixel shows, without a background, and the transmittance that is left for one.

    Gradients go to the first four inputs; the kernels' backward can't be differentiated again.

    Args:
        pixels, conics: middles and inverse covariances (xx, xy, yy) on the picture.
        opacities: in the middles, in [0, 1].
        features: any number of channels.
        tiles: who reaches where, of the same Gaussians.
        max_alpha: upper bound of alpha, below 1.
        tally: without influence on the picture; where it requires a gradient, that becomes the sum over pixels of the
            absolute values of each pixel's gradient of ``pixels`` (Ye et al., "AbsGS" (2024), eq. 8).
    """
    ellipses = torch.cat([pixels, conics, opacities[:, None]], dim=1)
    extra = torch.zeros_like(pixels) if tally is None else tally
    shown = blend_operation(ellipses, features, extra, *tiles, width, height, max_alpha)
    return shown[..., :-1], shown[..., -1]
