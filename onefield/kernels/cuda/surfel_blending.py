"""Triton twin of `onefield.kernels.surfel_blending`: a program a tile, with a lane a pixel.

As for `onefield.kernels.gaussian_blending`, each tile writes its share of a surfel's gradient into a slot of its own,
and a second kernel sums the slots of each surfel.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.gaussian_blending import gather_kernel, pixel_grid, plain
from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE, tile_grid
from onefield.kernels.surfel_blending import LOW_PASS

_PIXELS = tl.constexpr(TILE * TILE)
_STOP = tl.constexpr(STOP)
_LOG_LEAST = tl.constexpr(math.log(LEAST_ALPHA))
_INVERSE_LOW_PASS = tl.constexpr(1 / LOW_PASS)
# Sums over pixels: alpha dL/dalpha, the gradients of S's rows and s, of the middle and of depth; then the two of the
# tally.
_SUMS = 12


@triton.jit
def meetings(surfels, i, x, y, near, max_alpha):
    """Where each pixel meets a surfel, and alpha before and after the upper bound; both are 0 where they are cut.

    Gives the offsets, u, v, 1 / q (0 where the disc on the picture counts), squared deviations, depth and the alphas.
    """
    row = surfels + 10 * i
    right = x - tl.load(row)
    down = y - tl.load(row + 1)
    q = 1.0 + tl.load(row + 6) * right + tl.load(row + 7) * down
    middle = tl.load(row + 8)
    ahead = (q > 0.0) & (middle > near * q)
    inverse = 1.0 / tl.where(ahead, q, 1.0)
    u = (tl.load(row + 2) * right + tl.load(row + 3) * down) * inverse
    v = (tl.load(row + 4) * right + tl.load(row + 5) * down) * inverse
    on_plane = u * u + v * v
    on_picture = (right * right + down * down) * _INVERSE_LOW_PASS
    sharp = ahead & (on_plane < on_picture)
    squared = tl.where(sharp, on_plane, on_picture)
    opacity = tl.load(row + 9)
    full = tl.where(tl.log(opacity) - 0.5 * squared >= _LOG_LEAST, opacity * tl.exp(-0.5 * squared), 0.0)
    depth = tl.where(sharp, middle * inverse, middle)
    return right, down, u, v, tl.where(sharp, inverse, 0.0), squared, depth, full, tl.minimum(full, max_alpha)


@triton.jit
def _blend_kernel(
    surfels, features, owners, offsets, shown, width, height, across, near, max_alpha,
    channels: tl.constexpr, padded: tl.constexpr,
):  # fmt: skip
    place, inside, x, y = pixel_grid(across, width, height)
    channel = tl.arange(0, padded)
    passing = tl.where(inside, 1.0, 0.0)
    alive = inside
    total = tl.zeros([_PIXELS, padded], tl.float32)
    depths = tl.zeros([_PIXELS], tl.float32)
    squares = tl.zeros([_PIXELS], tl.float32)
    pair = tl.load(offsets + tl.program_id(0))
    last = tl.load(offsets + tl.program_id(0) + 1)
    while pair < last:
        i = tl.load(owners + pair)
        _, _, _, _, _, _, depth, _, alpha = meetings(surfels, i, x, y, near, max_alpha)
        weight = tl.where(alive, passing * alpha, 0.0)
        ends = passing - weight < _STOP
        weight = tl.where(ends, 0.0, weight)
        alive = alive & (ends == 0)
        passing -= weight
        carried = tl.load(features + i * channels + channel, mask=channel < channels, other=0.0)
        total += weight[:, None] * carried[None, :]
        depths += weight * depth
        squares += weight * depth * depth
        pair = tl.where(tl.max(alive.to(tl.int32), 0) > 0, pair + 1, last)
    pixel = shown + place * (channels + 3)
    tl.store(pixel + channels, depths, mask=inside)
    tl.store(pixel + channels + 1, squares, mask=inside)
    tl.store(pixel + channels + 2, passing, mask=inside)
    held = inside[:, None] & (channel < channels)[None, :]
    tl.store(pixel[:, None] + channel[None, :], total, mask=held)


@triton.jit
def _backward_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    for_shown, shown, surfels, features, owners, slots, offsets, shares, width, height, across, near, max_alpha,
    channels: tl.constexpr, padded: tl.constexpr, sums: tl.constexpr,
):  # fmt: skip
    place, inside, x, y = pixel_grid(across, width, height)
    channel = tl.arange(0, padded)
    held = inside[:, None] & (channel < channels)[None, :]
    at = place[:, None] * (channels + 3) + channel[None, :]
    slope = tl.load(for_shown + at, mask=held, other=0.0)
    goal = tl.sum(slope * tl.load(shown + at, mask=held, other=0.0), 1)
    rest = place * (channels + 3) + channels
    for_depth = tl.load(for_shown + rest, mask=inside, other=0.0)
    for_square = tl.load(for_shown + rest + 1, mask=inside, other=0.0)
    for_left = tl.load(for_shown + rest + 2, mask=inside, other=0.0)
    goal += for_depth * tl.load(shown + rest, mask=inside, other=0.0)
    goal += for_square * tl.load(shown + rest + 1, mask=inside, other=0.0)
    goal += for_left * tl.load(shown + rest + 2, mask=inside, other=0.0)
    passing = tl.where(inside, 1.0, 0.0)
    alive = inside
    earned = tl.zeros([_PIXELS], tl.float32)
    for pair in range(tl.load(offsets + tl.program_id(0)), tl.load(offsets + tl.program_id(0) + 1)):
        i = tl.load(owners + pair)
        right, down, u, v, inverse, squared, depth, full, alpha = meetings(surfels, i, x, y, near, max_alpha)
        carried = tl.load(features + i * channels + channel, mask=channel < channels, other=0.0)
        weight = tl.where(alive, passing * alpha, 0.0)
        ends = passing - weight < _STOP
        weight = tl.where(ends, 0.0, weight)
        alive = alive & (ends == 0)
        passing -= weight
        shows = tl.sum(slope * carried[None, :], 1) + (for_depth + for_square * depth) * depth
        gain = weight * shows
        earned += gain
        pull = gain - (goal - earned) * alpha / (1.0 - alpha)
        pull = tl.where((weight > 0.0) & (full <= max_alpha), pull, 0.0)
        deeper = weight * (for_depth + 2.0 * for_square * depth)
        for_u = -pull * u * inverse
        for_v = -pull * v * inverse
        for_q = (pull * squared - deeper * depth) * inverse
        flat = tl.where(inverse > 0.0, 0.0, -pull * _INVERSE_LOW_PASS)
        row = surfels + 10 * i
        sideways = flat * right + tl.load(row + 2) * for_u + tl.load(row + 4) * for_v + tl.load(row + 6) * for_q
        along = flat * down + tl.load(row + 3) * for_u + tl.load(row + 5) * for_v + tl.load(row + 7) * for_q
        # counted in numbers, shares of a large picture are too many for 32 bits
        share = shares + tl.load(slots + pair).to(tl.int64) * (sums + channels)
        tl.store(share, tl.sum(pull, 0))
        tl.store(share + 1, tl.sum(for_u * right, 0))
        tl.store(share + 2, tl.sum(for_u * down, 0))
        tl.store(share + 3, tl.sum(for_v * right, 0))
        tl.store(share + 4, tl.sum(for_v * down, 0))
        tl.store(share + 5, tl.sum(for_q * right, 0))
        tl.store(share + 6, tl.sum(for_q * down, 0))
        tl.store(share + 7, -tl.sum(sideways, 0))
        tl.store(share + 8, -tl.sum(along, 0))
        tl.store(share + 9, tl.sum(deeper * tl.where(inverse > 0.0, inverse, 1.0), 0))
        tl.store(share + 10, tl.sum(tl.abs(sideways), 0))
        tl.store(share + 11, tl.sum(tl.abs(along), 0))
        tl.store(share + sums + channel, tl.sum(weight[:, None] * slope, 0), mask=channel < channels)


def blend(
    surfels: Tensor,
    features: Tensor,
    tally: Tensor,
    owners: Tensor,
    slots: Tensor,
    offsets: Tensor,
    starts: Tensor,
    spans: Tensor,
    width: int,
    height: int,
    near: float,
    max_alpha: float,
) -> Tensor:
    """See `onefield.kernels.surfel_blending`."""
    channels, (across, down) = features.shape[1], tile_grid(width, height)
    shown = features.new_empty(height, width, channels + 3)
    with on_device(features.device):
        _blend_kernel[(across * down,)](
            *plain(surfels, features, owners, offsets), shown, width, height, across, near, max_alpha, channels,
            triton.next_power_of_2(channels),
        )  # fmt: skip
    return shown


def blend_backward(
    for_shown: Tensor,
    shown: Tensor,
    surfels: Tensor,
    features: Tensor,
    owners: Tensor,
    slots: Tensor,
    offsets: Tensor,
    starts: Tensor,
    spans: Tensor,
    near: float,
    max_alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of surfels and features, and the tally."""
    channels, (height, width) = features.shape[1], shown.shape[:2]
    across, down = tile_grid(width, height)
    numbers = _SUMS + channels
    shares, sums = features.new_zeros(len(owners), numbers), features.new_zeros(len(surfels), numbers)
    with on_device(features.device):
        _backward_kernel[(across * down,)](
            *plain(for_shown, shown, surfels, features, owners, slots, offsets), shares, width, height, across, near,
            max_alpha, channels, triton.next_power_of_2(channels), _SUMS,
        )  # fmt: skip
        if len(surfels):
            gather_kernel[(len(surfels),)](
                shares, starts.contiguous(), sums, numbers, triton.next_power_of_2(numbers)
            )  # fmt: skip
    seen, opacities = starts.diff() > 0, surfels[:, 9]
    for_opacities = torch.where(seen, sums[:, 0] / torch.where(seen, opacities, 1.0), 0.0)
    slopes = torch.cat([sums[:, 7:9], sums[:, 1:7], sums[:, 9:10], for_opacities[:, None]], dim=1)
    return slopes, sums[:, _SUMS:].contiguous(), sums[:, 10:_SUMS].contiguous()
