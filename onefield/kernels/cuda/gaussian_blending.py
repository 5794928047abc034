"""Triton twin of `onefield.kernels.gaussian_blending`: a program a tile, with a lane a pixel.

Each tile writes its share of a Gaussian's gradient into a slot of its own; a second kernel sums the slots of each
Gaussian, so that nothing is added atomically and results repeat.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE, tile_grid

_TILE = tl.constexpr(TILE)
_PIXELS = tl.constexpr(TILE * TILE)
_STOP = tl.constexpr(STOP)
_LOG_LEAST = tl.constexpr(math.log(LEAST_ALPHA))
# Sums over pixels of h, h x, h y, h x^2, h x y, h y^2, with h = alpha dL/dalpha; then the two of the tally.
_MOMENTS = 8


@triton.jit
def alphas(ellipses, i, x, y, max_alpha):
    """Offsets, alpha before and after the upper bound; both alphas are 0 where they are cut."""
    right = x - tl.load(ellipses + 6 * i)
    down = y - tl.load(ellipses + 6 * i + 1)
    xx = tl.load(ellipses + 6 * i + 2)
    xy = tl.load(ellipses + 6 * i + 3)
    yy = tl.load(ellipses + 6 * i + 4)
    opacity = tl.load(ellipses + 6 * i + 5)
    power = -0.5 * (xx * right * right + yy * down * down) - xy * right * down
    full = tl.where(power + tl.log(opacity) >= _LOG_LEAST, opacity * tl.exp(power), 0.0)
    return right, down, xx, xy, yy, full, tl.minimum(full, max_alpha)


@triton.jit
def pixel_grid(across, width, height):
    """Places in the picture of a tile's pixels, whether they lie in it, and their centres."""
    tile = tl.program_id(0)
    lane = tl.arange(0, _PIXELS)
    column = tile % across * _TILE + lane % _TILE
    line = tile // across * _TILE + lane // _TILE
    inside = (column < width) & (line < height)
    return line * width + column, inside, column.to(tl.float32) + 0.5, line.to(tl.float32) + 0.5


@triton.jit
def _blend_kernel(
    ellipses, features, owners, offsets, shown, width, height, across, max_alpha,
    channels: tl.constexpr, padded: tl.constexpr,
):  # fmt: skip
    place, inside, x, y = pixel_grid(across, width, height)
    channel = tl.arange(0, padded)
    passing = tl.where(inside, 1.0, 0.0)
    alive = inside
    total = tl.zeros([_PIXELS, padded], tl.float32)
    pair = tl.load(offsets + tl.program_id(0))
    last = tl.load(offsets + tl.program_id(0) + 1)
    while pair < last:
        i = tl.load(owners + pair)
        _, _, _, _, _, _, alpha = alphas(ellipses, i, x, y, max_alpha)
        weight = tl.where(alive, passing * alpha, 0.0)
        ends = passing - weight < _STOP
        weight = tl.where(ends, 0.0, weight)
        alive = alive & (ends == 0)
        passing -= weight
        carried = tl.load(features + i * channels + channel, mask=channel < channels, other=0.0)
        total += weight[:, None] * carried[None, :]
        pair = tl.where(tl.max(alive.to(tl.int32), 0) > 0, pair + 1, last)
    tl.store(shown + place * (channels + 1) + channels, passing, mask=inside)
    held = inside[:, None] & (channel < channels)[None, :]
    tl.store(shown + place[:, None] * (channels + 1) + channel[None, :], total, mask=held)


@triton.jit
def _backward_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    for_shown, shown, ellipses, features, owners, slots, offsets, shares, width, height, across, max_alpha,
    channels: tl.constexpr, padded: tl.constexpr, moments: tl.constexpr,
):  # fmt: skip
    place, inside, x, y = pixel_grid(across, width, height)
    channel = tl.arange(0, padded)
    held = inside[:, None] & (channel < channels)[None, :]
    at = place[:, None] * (channels + 1) + channel[None, :]
    slope = tl.load(for_shown + at, mask=held, other=0.0)
    goal = tl.sum(slope * tl.load(shown + at, mask=held, other=0.0), 1)
    last = place * (channels + 1) + channels
    goal += tl.load(for_shown + last, mask=inside, other=0.0) * tl.load(shown + last, mask=inside, other=0.0)
    passing = tl.where(inside, 1.0, 0.0)
    alive = inside
    earned = tl.zeros([_PIXELS], tl.float32)
    for pair in range(tl.load(offsets + tl.program_id(0)), tl.load(offsets + tl.program_id(0) + 1)):
        i = tl.load(owners + pair)
        right, down, xx, xy, yy, full, alpha = alphas(ellipses, i, x, y, max_alpha)
        carried = tl.load(features + i * channels + channel, mask=channel < channels, other=0.0)
        weight = tl.where(alive, passing * alpha, 0.0)
        ends = passing - weight < _STOP
        weight = tl.where(ends, 0.0, weight)
        alive = alive & (ends == 0)
        passing -= weight
        gain = weight * tl.sum(slope * carried[None, :], 1)
        earned += gain
        pull = gain - (goal - earned) * alpha / (1.0 - alpha)
        pull = tl.where((weight > 0.0) & (full <= max_alpha), pull, 0.0)
        # counted in numbers, shares of a large picture are too many for 32 bits
        share = shares + tl.load(slots + pair).to(tl.int64) * (moments + channels)
        tl.store(share, tl.sum(pull, 0))
        tl.store(share + 1, tl.sum(pull * right, 0))
        tl.store(share + 2, tl.sum(pull * down, 0))
        tl.store(share + 3, tl.sum(pull * right * right, 0))
        tl.store(share + 4, tl.sum(pull * right * down, 0))
        tl.store(share + 5, tl.sum(pull * down * down, 0))
        tl.store(share + 6, tl.sum(tl.abs(pull * (xx * right + xy * down)), 0))
        tl.store(share + 7, tl.sum(tl.abs(pull * (xy * right + yy * down)), 0))
        tl.store(share + moments + channel, tl.sum(weight[:, None] * slope, 0), mask=channel < channels)


@triton.jit
def gather_kernel(shares, starts, sums, numbers: tl.constexpr, padded: tl.constexpr):
    """Sums the slots of each Gaussian."""
    i = tl.program_id(0)
    column = tl.arange(0, padded)
    total = tl.zeros([padded], tl.float32)
    for slot in range(tl.load(starts + i), tl.load(starts + i + 1)):
        place = tl.cast(slot, tl.int64) * numbers + column
        total += tl.load(shares + place, mask=column < numbers, other=0.0)
    tl.store(sums + i * numbers + column, total, mask=column < numbers)


def plain(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As kernels are given them: the numbers alone, in one piece."""
    return tuple(tensor.detach().contiguous() for tensor in tensors)


def blend(
    ellipses: Tensor,
    features: Tensor,
    tally: Tensor,
    owners: Tensor,
    slots: Tensor,
    offsets: Tensor,
    starts: Tensor,
    reach: Tensor,
    width: int,
    height: int,
    max_alpha: float,
) -> Tensor:
    """See `onefield.kernels.gaussian_blending`."""
    channels, (across, down) = features.shape[1], tile_grid(width, height)
    shown = features.new_empty(height, width, channels + 1)
    with on_device(features.device):
        _blend_kernel[(across * down,)](
            *plain(ellipses, features, owners, offsets), shown, width, height, across, max_alpha, channels,
            triton.next_power_of_2(channels),
        )  # fmt: skip
    return shown


def blend_backward(
    for_shown: Tensor,
    shown: Tensor,
    ellipses: Tensor,
    features: Tensor,
    owners: Tensor,
    slots: Tensor,
    offsets: Tensor,
    starts: Tensor,
    reach: Tensor,
    max_alpha: float,
    tallied: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ellipses and features, and the tally."""
    channels, (height, width) = features.shape[1], shown.shape[:2]
    across, down = tile_grid(width, height)
    numbers = _MOMENTS + channels
    shares, sums = features.new_zeros(len(owners), numbers), features.new_zeros(len(ellipses), numbers)
    with on_device(features.device):
        _backward_kernel[(across * down,)](
            *plain(for_shown, shown, ellipses, features, owners, slots, offsets), shares, width, height, across,
            max_alpha, channels, triton.next_power_of_2(channels), _MOMENTS,
        )  # fmt: skip
        if len(ellipses):
            gather_kernel[(len(ellipses),)](
                shares, starts.contiguous(), sums, numbers, triton.next_power_of_2(numbers)
            )  # fmt: skip
    h, hx, hy, hxx, hxy, hyy = sums[:, :6].unbind(1)
    xx, xy, yy, opacities = ellipses[:, 2:].unbind(1)
    seen = starts.diff() > 0
    for_opacities = torch.where(seen, h / torch.where(seen, opacities, 1.0), 0.0)
    slopes = (xx * hx + xy * hy, xy * hx + yy * hy, -0.5 * hxx, -hxy, -0.5 * hyy, for_opacities)
    return torch.stack(slopes, dim=1), sums[:, _MOMENTS:].contiguous(), sums[:, 6:_MOMENTS].contiguous()
