"""Numba twin of `onefield.kernels.surfel_blending`, built as that of `onefield.kernels.gaussian_blending` is.

A tile at a time, a surfel at a time, the pixels of those rows that it reaches into as one vector; gradients on the way
near to far, a slot for each pair of tile and surfel, and the slots of a surfel summed at the end.
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
from onefield.kernels.surfel_blending import LOW_PASS

_INVERSE_LOW_PASS = np.float32(1 / LOW_PASS)
_FALL = np.float32(-HALF * TO_BASE_2)
# Features that are done together with the weights, those of colour: there are always that many. After them come the
# sums of depth and of its square, and then the other features.
_COLORS = 3
_FUSED = _COLORS + 2
_DEPTHS = CHANNELS + _COLORS * PIXELS
_SQUARES = _DEPTHS + PIXELS
# Columns of the packed surfels: those of the contract with log2 of the opacity, least and largest y, colour.
_SPAN = 10
_COLOR = 12
_PACKED = _COLOR + _COLORS
# Sums over pixels: alpha dL/dalpha, the gradients of S's rows and s, of the middle and of depth; then the two of the
# tally.
_SUMS = 12


@njit("void(float32[:,::1],float32[:,::1],float32[:,::1],float32[:,::1])", parallel=True, cache=True)
def _pack(surfels, features, spans, packed):
    for i in prange(surfels.shape[0]):
        for column in range(9):
            packed[i, column] = surfels[i, column]
        packed[i, 9] = math.log2(surfels[i, 9]) if surfels[i, 9] > ZERO else LOWEST
        packed[i, _SPAN] = spans[i, 0]
        packed[i, _SPAN + 1] = spans[i, 1]
        for channel in range(_COLORS):
            packed[i, _COLOR + channel] = features[i, channel] if channel < features.shape[1] else ZERO


@njit
def _lines(surfel, top):
    """The first pixel of a tile's rows that a surfel reaches into, and the one after the last."""
    low = max(ZERO, math.ceil(surfel[_SPAN] - top - HALF))
    high = min(np.float32(TILE), math.floor(surfel[_SPAN + 1] - top - HALF) + ONE)
    return int(low) * TILE, int(max(high, low)) * TILE


@njit(inline="always")
def _meet(right, down, ux, uy, vx, vy, qx, qy, depth, near):
    """u, v, 1 / q (0 where the disc on the picture counts), squared deviations and depth of one pixel's ray."""
    q = ONE + qx * right + qy * down
    inverse = ONE / q
    u = (ux * right + uy * down) * inverse
    v = (vx * right + vy * down) * inverse
    on_plane = u * u + v * v
    on_picture = (right * right + down * down) * _INVERSE_LOW_PASS
    # not where any of them is infinite or no number: such comparisons are false
    sharp = (q > ZERO) & (depth * inverse > near) & (on_plane < on_picture)
    squared = on_plane if sharp else on_picture
    met = depth * inverse if sharp else depth
    return (u if sharp else ZERO), (v if sharp else ZERO), (inverse if sharp else ZERO), squared, met


@njit(fastmath=FAST, error_model="numpy")
def _weigh(work, count, x, y, ux, uy, vx, vy, qx, qy, depth, bright, red, green, blue, near, max_alpha):  # noqa: PLR0913
    """Adds one surfel's colour and depth; what passes behind it becomes negative where a pixel has ended."""
    for k in range(count):
        right = work[k + COLUMNS] - x
        down = work[k + LINES] - y
        _, _, _, squared, z = _meet(right, down, ux, uy, vx, vy, qx, qy, depth, near)
        exponent = bright + _FALL * squared
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
        work[k + _DEPTHS] += weight * z
        work[k + _SQUARES] += weight * z * z


@njit(
    "void(float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int64,float32,float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _blend(packed, features, owners, offsets, schedule, across, near, max_alpha, shown):
    height, width, _ = shown.shape
    channels = features.shape[1]
    for turn in prange(schedule.shape[0]):
        tile = schedule[turn]
        top = tile // across * TILE
        start = tile % across * TILE
        work = np.zeros(CHANNELS + (max(channels, _COLORS) + 2) * PIXELS, np.float32)
        begin(work)
        for place in range(offsets[tile], offsets[tile + 1]):
            if (place - offsets[tile]) % LOOK_EVERY == LOOK_EVERY - 1 and not any_passes(work[PASSING:]):
                break
            i = owners[place]
            s = packed[i]
            low, high = _lines(s, np.float32(top))
            if high <= low:
                continue
            rows = work[low:]
            _weigh(
                rows, high - low, s[0] - np.float32(start), s[1] - np.float32(top), s[2], s[3], s[4], s[5], s[6], s[7],
                s[8], s[9], s[12], s[13], s[14], near, max_alpha,
            )  # fmt: skip
            for channel in range(_COLORS, channels):
                add(rows[CHANNELS + (channel + 2) * PIXELS :], rows[WEIGHTS:], high - low, features[i, channel])
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                k = line * TILE + column
                pixel = shown[top + line, start + column]
                for channel in range(channels):
                    pixel[channel] = work[k + CHANNELS + (channel + (0 if channel < _COLORS else 2)) * PIXELS]
                pixel[channels] = work[k + _DEPTHS]
                pixel[channels + 1] = work[k + _SQUARES]
                pixel[channels + 2] = abs(work[k + PASSING])


@njit(fastmath=FAST, error_model="numpy")
def _slopes(  # noqa: PLR0913 - compiled
    work, count, x, y, ux, uy, vx, vy, qx, qy, depth, bright, red, green, blue, near, max_alpha, sums
):  # fmt: skip
    """Goes on as `_weigh`, with the gradient of what is shown in the channels."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = t0 = t1 = c0 = c1 = c2 = ZERO
    for k in range(count):
        right = work[k + COLUMNS] - x
        down = work[k + LINES] - y
        u, v, inverse, squared, z = _meet(right, down, ux, uy, vx, vy, qx, qy, depth, near)
        exponent = bright + _FALL * squared
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
        gz = work[k + _DEPTHS]
        gzz = work[k + _SQUARES] * z
        gain = weight * (work[k + VALUES] + g0 * red + g1 * green + g2 * blue + (gz + gzz) * z)
        running = work[k + EARNED] + gain
        work[k + EARNED] = running
        pull = gain - (work[k + GOAL] - running) * alpha / (ONE - alpha)
        pull = pull if (weight > ZERO) & (full <= max_alpha) else ZERO
        deeper = weight * (gz + gzz + gzz)
        # of u, v and q over q; on the picture nothing depends on them
        for_u = -pull * u * inverse
        for_v = -pull * v * inverse
        for_q = (pull * squared - deeper * z) * inverse
        flat = ZERO if inverse > ZERO else -pull * _INVERSE_LOW_PASS
        across = flat * right + ux * for_u + vx * for_v + qx * for_q
        along = flat * down + uy * for_u + vy * for_v + qy * for_q
        s0 += pull
        s1 += for_u * right
        s2 += for_u * down
        s3 += for_v * right
        s4 += for_v * down
        s5 += for_q * right
        s6 += for_q * down
        s7 -= across
        s8 -= along
        s9 += deeper * (inverse if inverse > ZERO else ONE)
        t0 += abs(across)
        t1 += abs(along)
        c0 += weight * g0
        c1 += weight * g1
        c2 += weight * g2
    found = (s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, t0, t1, c0, c1, c2)
    for k in range(_SUMS + _COLORS):
        sums[k] = found[k]


@njit
def _take_in(for_shown, shown, k, work, channels):
    """The gradient of one pixel into its channels, and its product with all that the pixel shows."""
    goal = for_shown[channels + 2] * shown[channels + 2]
    for channel in range(channels + 2):
        place = channel + (0 if channel < _COLORS else 2)
        if channel >= channels:
            place = _COLORS + channel - channels
        work[k + CHANNELS + place * PIXELS] = for_shown[channel]
        goal += for_shown[channel] * shown[channel]
    work[k + GOAL] = goal


@njit(
    "void(float32[:,:,::1],float32[:,:,::1],float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int32[::1],"
    "int64,float32,float32,float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _backward(for_shown, shown, packed, features, owners, slots, offsets, schedule, across, near, max_alpha, shares):
    height, width, _ = shown.shape
    channels = features.shape[1]
    for turn in prange(schedule.shape[0]):
        tile = schedule[turn]
        top = tile // across * TILE
        start = tile % across * TILE
        work = np.zeros(CHANNELS + (max(channels, _COLORS) + 2) * PIXELS, np.float32)
        begin(work)
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                at = (top + line, start + column)
                _take_in(for_shown[at], shown[at], line * TILE + column, work, channels)
        ended = False
        for place in range(offsets[tile], offsets[tile + 1]):
            i = owners[place]
            share = shares[slots[place]]
            if (place - offsets[tile]) % LOOK_EVERY == LOOK_EVERY - 1 and not any_passes(work[PASSING:]):
                ended = True
            s = packed[i]
            low, high = _lines(s, np.float32(top))
            if ended or high <= low:
                for k in range(share.shape[0]):
                    share[k] = ZERO
                continue
            rows = work[low:]
            if channels > _COLORS:
                rows[VALUES : VALUES + high - low] = ZERO
                for channel in range(_COLORS, channels):
                    slope = rows[CHANNELS + (channel + 2) * PIXELS :]
                    add(rows[VALUES:], slope, high - low, features[i, channel])
            _slopes(
                rows, high - low, s[0] - np.float32(start), s[1] - np.float32(top), s[2], s[3], s[4], s[5], s[6], s[7],
                s[8], s[9], s[12], s[13], s[14], near, max_alpha, share,
            )  # fmt: skip
            for channel in range(_COLORS, channels):
                slope = rows[CHANNELS + (channel + 2) * PIXELS :]
                share[_SUMS + channel] = dot(rows[WEIGHTS:], slope, high - low)


@njit(
    "void(float32[:,::1],int32[::1],float32[:,::1],float32[:,::1],float32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def _gather(shares, starts, surfels, for_surfels, for_features, tally):
    count = surfels.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        sums = np.empty(shares.shape[1], np.float32)
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            sums[:] = ZERO
            for slot in range(starts[i], starts[i + 1]):
                for k in range(sums.shape[0]):
                    sums[k] += shares[slot, k]
            for_surfels[i, 0] = sums[7]
            for_surfels[i, 1] = sums[8]
            for k in range(6):
                for_surfels[i, 2 + k] = sums[1 + k]
            for_surfels[i, 8] = sums[9]
            # one that nobody sees may have no opacity at all
            for_surfels[i, 9] = sums[0] / surfels[i, 9] if starts[i + 1] > starts[i] else ZERO
            tally[i, 0] = sums[10]
            tally[i, 1] = sums[11]
            for channel in range(for_features.shape[1]):
                for_features[i, channel] = sums[_SUMS + channel]


def _packed(surfels: Tensor, features: Tensor, spans: Tensor) -> np.ndarray:
    packed = np.empty((len(surfels), _PACKED), np.float32)
    _pack(*(as_array(tensor) for tensor in (surfels, features, spans)), packed)
    return packed


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
    shown = torch.empty(height, width, features.shape[1] + 3)
    _blend(
        _packed(surfels, features, spans),
        *(as_array(tensor) for tensor in (features, owners, offsets)),
        dealt_tiles(as_array(offsets)),
        tile_grid(width, height)[0],
        np.float32(near),
        np.float32(max_alpha),
        shown.numpy(),
    )
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
    shares = np.empty((len(owners), _SUMS + max(features.shape[1], _COLORS)), np.float32)
    _backward(
        *(as_array(tensor) for tensor in (for_shown, shown)),
        _packed(surfels, features, spans),
        *(as_array(tensor) for tensor in (features, owners, slots, offsets)),
        dealt_tiles(as_array(offsets)),
        tile_grid(shown.shape[1], shown.shape[0])[0],
        np.float32(near),
        np.float32(max_alpha),
        shares,
    )
    slopes = torch.empty(len(surfels), 10), torch.empty(features.shape), torch.empty(len(surfels), 2)
    _gather(shares, as_array(starts), as_array(surfels), *(slope.numpy() for slope in slopes))
    return slopes
