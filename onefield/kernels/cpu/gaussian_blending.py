"""Numba twin of `onefield.kernels.gaussian_blending`: a tile at a time, a Gaussian at a time, its pixels as one vector.

Each Gaussian meets only those rows of a tile that it reaches into. Exponents are in base 2, so that an exponential is a
polynomial and an exponent field; loops start at 0 and touch whole arrays, which is what lets the compiler use vectors.

Gradients take the same way as the picture: what lies behind a Gaussian is the whole sum, which the picture knows, less
what came before. A tile writes its share of each Gaussian's gradient into a slot of its own, and the slots of a
Gaussian lie one after the other and are summed at the end. So nothing is written from two sides, and results don't
depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.exponential import LOWEST, TO_BASE_2, exp2
from onefield.kernels.cpu.tile_pixels import (
    CHANNELS,
    CHUNK,
    COLUMNS,
    EARNED,
    ENDS,
    FAST,
    GOAL,
    HALF,
    LEAST_LOG2,
    LINES,
    LOOK_EVERY,
    ONE,
    PASSING,
    PIXELS,
    PULLS,
    VALUES,
    WEIGHTS,
    ZERO,
    add,
    any_passes,
    as_array,
    begin,
    dealt_tiles,
    dot,
)
from onefield.kernels.gaussian_tiles import TILE, tile_grid

# Channels that are done together with the weights: those of colour. There are always that many.
_FUSED = 3
# Columns of the packed Gaussians: middle, the three factors of the exponent, log2 of the opacity, half height, colour.
_PACKED = 7 + _FUSED
# Sums over pixels of h, h x, h y, h x^2, h x y, h y^2, with h = alpha dL/dalpha; then the two of the tally.
_MOMENTS = 8


@njit(fastmath=FAST, error_model="numpy")
def _weigh(work, count, x, y, xx, xy, yy, bright, red, green, blue, max_alpha):
    """Adds one Gaussian's three first channels; what passes behind it becomes negative where a pixel has ended."""
    for k in range(count):
        right = work[k + COLUMNS] - x
        down = work[k + LINES] - y
        exponent = bright + right * (xx * right + xy * down) + yy * down * down
        alpha = min(exp2(max(exponent, LOWEST)), max_alpha)
        alpha = alpha if exponent >= LEAST_LOG2 else ZERO
        before = work[k + PASSING]
        weight = before * alpha
        weight = weight if before > ZERO else ZERO
        after = before - weight
        work[k + PASSING] = -before if ((after < ENDS) & (before > ZERO)) else after
        weight = ZERO if after < ENDS else weight
        work[k + WEIGHTS] = weight
        work[k + CHANNELS] += weight * red
        work[k + CHANNELS + PIXELS] += weight * green
        work[k + CHANNELS + PIXELS + PIXELS] += weight * blue


@njit("void(float32[:,::1],float32[:,::1],float32[:,::1],float32[:,::1])", parallel=True, cache=True)
def _pack(ellipses, features, reach, packed):
    for i in prange(ellipses.shape[0]):
        packed[i, 0] = ellipses[i, 0]
        packed[i, 1] = ellipses[i, 1]
        packed[i, 2] = -HALF * TO_BASE_2 * ellipses[i, 2]
        packed[i, 3] = -TO_BASE_2 * ellipses[i, 3]
        packed[i, 4] = -HALF * TO_BASE_2 * ellipses[i, 4]
        packed[i, 5] = math.log2(ellipses[i, 5]) if ellipses[i, 5] > ZERO else LOWEST
        packed[i, 6] = reach[i, 1]
        for channel in range(_FUSED):
            packed[i, 7 + channel] = features[i, channel] if channel < features.shape[1] else ZERO


@njit(
    "void(float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int64,float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _blend(packed, features, owners, offsets, schedule, across, max_alpha, shown):
    width = shown.shape[1]
    height = shown.shape[0]
    channels = features.shape[1]
    for turn in prange(schedule.shape[0]):
        tile = schedule[turn]
        top = tile // across * TILE
        start = tile % across * TILE
        work = np.zeros(CHANNELS + max(channels, _FUSED) * PIXELS, np.float32)
        begin(work)
        for place in range(offsets[tile], offsets[tile + 1]):
            if (place - offsets[tile]) % LOOK_EVERY == LOOK_EVERY - 1 and not any_passes(work[PASSING:]):
                break
            i = owners[place]
            x = packed[i, 0] - np.float32(start)
            y = packed[i, 1] - np.float32(top)
            low = max(0, math.ceil(y - packed[i, 6] - HALF)) * TILE
            high = min(TILE, math.floor(y + packed[i, 6] - HALF) + 1) * TILE
            if high <= low:
                continue
            near = work[low:]
            _weigh(
                near, high - low, x, y, packed[i, 2], packed[i, 3], packed[i, 4], packed[i, 5], packed[i, 7],
                packed[i, 8], packed[i, 9], max_alpha,
            )  # fmt: skip
            for channel in range(_FUSED, channels):
                add(near[CHANNELS + channel * PIXELS :], near[WEIGHTS:], high - low, features[i, channel])
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                k = line * TILE + column
                shown[top + line, start + column, channels] = abs(work[k + PASSING])
                for channel in range(channels):
                    shown[top + line, start + column, channel] = work[k + CHANNELS + channel * PIXELS]


@njit(fastmath=FAST, error_model="numpy")
def _slopes(  # noqa: PLR0913 - compiled
    work, count, x, y, xx, xy, yy, bright, red, green, blue, max_alpha, sums
):  # fmt: skip
    """Goes on as `_weigh`; ``sums`` are the moments of ``h = alpha dL/dalpha``, which is kept in the pulls."""
    s0 = ZERO
    s1 = ZERO
    s2 = ZERO
    s3 = ZERO
    s4 = ZERO
    s5 = ZERO
    s6 = ZERO
    s7 = ZERO
    s8 = ZERO
    for k in range(count):
        right = work[k + COLUMNS] - x
        down = work[k + LINES] - y
        exponent = bright + right * (xx * right + xy * down) + yy * down * down
        full = exp2(max(exponent, LOWEST))
        alpha = min(full, max_alpha)
        alpha = alpha if exponent >= LEAST_LOG2 else ZERO
        before = work[k + PASSING]
        weight = before * alpha
        weight = weight if before > ZERO else ZERO
        after = before - weight
        work[k + PASSING] = -before if ((after < ENDS) & (before > ZERO)) else after
        weight = ZERO if after < ENDS else weight
        work[k + WEIGHTS] = weight
        g0 = work[k + CHANNELS]
        g1 = work[k + CHANNELS + PIXELS]
        g2 = work[k + CHANNELS + PIXELS + PIXELS]
        gain = weight * (work[k + VALUES] + g0 * red + g1 * green + g2 * blue)
        running = work[k + EARNED] + gain
        work[k + EARNED] = running
        pull = gain - (work[k + GOAL] - running) * alpha / (ONE - alpha)
        pull = pull if (weight > ZERO) & (full <= max_alpha) else ZERO
        work[k + PULLS] = pull
        s0 += pull
        s1 += pull * right
        s2 += pull * down
        s3 += pull * right * right
        s4 += pull * right * down
        s5 += pull * down * down
        s6 += weight * g0
        s7 += weight * g1
        s8 += weight * g2
    sums[0] = s0
    sums[1] = s1
    sums[2] = s2
    sums[3] = s3
    sums[4] = s4
    sums[5] = s5
    sums[_MOMENTS] = s6
    sums[_MOMENTS + 1] = s7
    sums[_MOMENTS + 2] = s8


@njit(fastmath=FAST, error_model="numpy")
def _tally(work, count, x, y, xx, xy, yy, sums):
    """Sums of the absolute gradients in x and y, but for the factor that turns base 2 into e."""
    s0 = ZERO
    s1 = ZERO
    for k in range(count):
        right = work[k + COLUMNS] - x
        down = work[k + LINES] - y
        s0 += abs(work[k + PULLS] * (xx * right + xx * right + xy * down))
        s1 += abs(work[k + PULLS] * (yy * down + yy * down + xy * right))
    sums[6] = s0
    sums[7] = s1


@njit(
    "void(float32[:,:,::1],float32[:,:,::1],float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int32[::1],"
    "int64,float32,bool_,float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _backward(for_shown, shown, packed, features, owners, slots, offsets, schedule, across, max_alpha, tallied, shares):
    width = shown.shape[1]
    height = shown.shape[0]
    channels = features.shape[1]
    for turn in prange(schedule.shape[0]):
        tile = schedule[turn]
        top = tile // across * TILE
        start = tile % across * TILE
        work = np.zeros(CHANNELS + max(channels, _FUSED) * PIXELS, np.float32)
        begin(work)
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                k = line * TILE + column
                goal = for_shown[top + line, start + column, channels] * shown[top + line, start + column, channels]
                for channel in range(channels):
                    slope = for_shown[top + line, start + column, channel]
                    work[k + CHANNELS + channel * PIXELS] = slope
                    goal += slope * shown[top + line, start + column, channel]
                work[k + GOAL] = goal
        ended = False
        for place in range(offsets[tile], offsets[tile + 1]):
            i = owners[place]
            share = shares[slots[place]]
            if (place - offsets[tile]) % LOOK_EVERY == LOOK_EVERY - 1 and not any_passes(work[PASSING:]):
                ended = True
            x = packed[i, 0] - np.float32(start)
            y = packed[i, 1] - np.float32(top)
            low = max(0, math.ceil(y - packed[i, 6] - HALF)) * TILE
            high = min(TILE, math.floor(y + packed[i, 6] - HALF) + 1) * TILE
            if ended or high <= low:
                for k in range(share.shape[0]):
                    share[k] = ZERO
                continue
            near = work[low:]
            if channels > _FUSED:
                near[VALUES : VALUES + high - low] = ZERO
                for channel in range(_FUSED, channels):
                    add(near[VALUES:], near[CHANNELS + channel * PIXELS :], high - low, features[i, channel])
            xx = packed[i, 2]
            xy = packed[i, 3]
            yy = packed[i, 4]
            _slopes(
                near, high - low, x, y, xx, xy, yy, packed[i, 5], packed[i, 7], packed[i, 8], packed[i, 9], max_alpha,
                share,
            )  # fmt: skip
            if tallied:
                _tally(near, high - low, x, y, xx, xy, yy, share)
            for channel in range(_FUSED, channels):
                values = near[CHANNELS + channel * PIXELS :]
                share[_MOMENTS + channel] = dot(near[WEIGHTS:], values, high - low)


@njit(
    "void(float32[:,::1],int32[::1],float32[:,::1],bool_,float32[:,::1],float32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _gather(shares, starts, ellipses, tallied, for_ellipses, for_features, tally):
    count = ellipses.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        sums = np.empty(shares.shape[1], np.float32)
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            sums[:] = ZERO
            for slot in range(starts[i], starts[i + 1]):
                for k in range(sums.shape[0]):
                    sums[k] += shares[slot, k]
            xx = ellipses[i, 2]
            xy = ellipses[i, 3]
            yy = ellipses[i, 4]
            # one that nobody sees may be no ellipse at all
            seen = starts[i + 1] > starts[i]
            for_ellipses[i, 0] = xx * sums[1] + xy * sums[2] if seen else ZERO
            for_ellipses[i, 1] = xy * sums[1] + yy * sums[2] if seen else ZERO
            for_ellipses[i, 2] = -HALF * sums[3]
            for_ellipses[i, 3] = -sums[4]
            for_ellipses[i, 4] = -HALF * sums[5]
            for_ellipses[i, 5] = sums[0] / ellipses[i, 5] if seen else ZERO
            tally[i, 0] = sums[6] / TO_BASE_2 if tallied else ZERO
            tally[i, 1] = sums[7] / TO_BASE_2 if tallied else ZERO
            for channel in range(for_features.shape[1]):
                for_features[i, channel] = sums[_MOMENTS + channel]


def _packed(ellipses: Tensor, features: Tensor, reach: Tensor) -> np.ndarray:
    packed = np.empty((len(ellipses), _PACKED), np.float32)
    _pack(*(as_array(tensor) for tensor in (ellipses, features, reach)), packed)
    return packed


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
    shown = torch.empty(height, width, features.shape[1] + 1)
    _blend(
        _packed(ellipses, features, reach),
        *(as_array(tensor) for tensor in (features, owners, offsets)),
        dealt_tiles(as_array(offsets)),
        tile_grid(width, height)[0],
        np.float32(max_alpha),
        shown.numpy(),
    )
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
    """Gradients of ellipses and features, and the tally (zeros where it is not wanted)."""
    shares = np.empty((len(owners), _MOMENTS + max(features.shape[1], _FUSED)), np.float32)
    _backward(
        *(as_array(tensor) for tensor in (for_shown, shown)),
        _packed(ellipses, features, reach),
        *(as_array(tensor) for tensor in (features, owners, slots, offsets)),
        dealt_tiles(as_array(offsets)),
        tile_grid(shown.shape[1], shown.shape[0])[0],
        np.float32(max_alpha),
        tallied,
        shares,
    )
    slopes = torch.empty(len(ellipses), 6), torch.empty(features.shape), torch.empty(len(ellipses), 2)
    _gather(shares, as_array(starts), as_array(ellipses), tallied, *(slope.numpy() for slope in slopes))
    return slopes
