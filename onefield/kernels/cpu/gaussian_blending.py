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
from numba import get_num_threads, njit, prange
from torch import Tensor

from onefield.kernels.cpu.exponential import LOWEST, TO_BASE_2, exp2
from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE, tile_grid

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_PIXELS = TILE * TILE
_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_STOP = np.float32(STOP)
_LEAST = np.float32(math.log2(LEAST_ALPHA))
# Where the parts of a tile's memory begin. They lie in one array at fixed distances, which spares the compiler's
# vectors a comparison of addresses; the channels come last.
_COLUMNS, _LINES, _PASSING, _WEIGHTS = (_PIXELS * part for part in range(4))
_EARNED, _GOAL, _VALUES, _PULLS, _CHANNELS = (_PIXELS * part for part in range(4, 9))
# Gaussians between two looks whether any pixel of a tile still lets light through.
_LOOK_EVERY = 16
# Channels that are done together with the weights: those of colour. There are always that many.
_FUSED = 3
# Columns of the packed Gaussians: middle, the three factors of the exponent, log2 of the opacity, half height, colour.
_PACKED = 7 + _FUSED
# Gaussians that a thread gathers at a time.
_CHUNK = 64
# Sums over pixels of h, h x, h y, h x^2, h x y, h y^2, with h = alpha dL/dalpha; then the two of the tally.
_MOMENTS = 8


@njit(fastmath=_FAST, error_model="numpy")
def _weigh(work, count, x, y, xx, xy, yy, bright, red, green, blue, max_alpha):
    """Adds one Gaussian's three first channels; what passes behind it becomes negative where a pixel has ended."""
    for k in range(count):
        right = work[k + _COLUMNS] - x
        down = work[k + _LINES] - y
        exponent = bright + right * (xx * right + xy * down) + yy * down * down
        alpha = min(exp2(max(exponent, LOWEST)), max_alpha)
        alpha = alpha if exponent >= _LEAST else _ZERO
        before = work[k + _PASSING]
        weight = before * alpha
        weight = weight if before > _ZERO else _ZERO
        after = before - weight
        work[k + _PASSING] = -before if ((after < _STOP) & (before > _ZERO)) else after
        weight = _ZERO if after < _STOP else weight
        work[k + _WEIGHTS] = weight
        work[k + _CHANNELS] += weight * red
        work[k + _CHANNELS + _PIXELS] += weight * green
        work[k + _CHANNELS + _PIXELS + _PIXELS] += weight * blue


@njit(fastmath=_FAST, error_model="numpy")
def _add(total, weights, count, value):
    for k in range(count):
        total[k] += weights[k] * value


@njit(fastmath=_FAST, error_model="numpy")
def _dot(weights, values, count):
    total = _ZERO
    for k in range(count):
        total += weights[k] * values[k]
    return total


@njit(fastmath=_FAST, error_model="numpy")
def _any_passes(passing):
    largest = _ZERO
    for k in range(_PIXELS):
        largest = max(largest, passing[k])
    return largest > _ZERO


@njit
def _start(work):
    """Pixel centres of a tile, all of them bright."""
    for k in range(_PIXELS):
        work[k + _COLUMNS] = np.float32(k % TILE) + _HALF
        work[k + _LINES] = np.float32(k // TILE) + _HALF
        work[k + _PASSING] = _ONE


@njit("void(float32[:,::1],float32[:,::1],float32[:,::1],float32[:,::1])", parallel=True, cache=True)
def _pack(ellipses, features, reach, packed):
    for i in prange(ellipses.shape[0]):
        packed[i, 0] = ellipses[i, 0]
        packed[i, 1] = ellipses[i, 1]
        packed[i, 2] = -_HALF * TO_BASE_2 * ellipses[i, 2]
        packed[i, 3] = -TO_BASE_2 * ellipses[i, 3]
        packed[i, 4] = -_HALF * TO_BASE_2 * ellipses[i, 4]
        packed[i, 5] = math.log2(ellipses[i, 5]) if ellipses[i, 5] > _ZERO else LOWEST
        packed[i, 6] = reach[i, 1]
        for channel in range(_FUSED):
            packed[i, 7 + channel] = features[i, channel] if channel < features.shape[1] else _ZERO


@njit(
    "void(float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int64,float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
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
        work = np.zeros(_CHANNELS + max(channels, _FUSED) * _PIXELS, np.float32)
        _start(work)
        for place in range(offsets[tile], offsets[tile + 1]):
            if (place - offsets[tile]) % _LOOK_EVERY == _LOOK_EVERY - 1 and not _any_passes(work[_PASSING:]):
                break
            i = owners[place]
            x = packed[i, 0] - np.float32(start)
            y = packed[i, 1] - np.float32(top)
            low = max(0, math.ceil(y - packed[i, 6] - _HALF)) * TILE
            high = min(TILE, math.floor(y + packed[i, 6] - _HALF) + 1) * TILE
            if high <= low:
                continue
            near = work[low:]
            _weigh(
                near, high - low, x, y, packed[i, 2], packed[i, 3], packed[i, 4], packed[i, 5], packed[i, 7],
                packed[i, 8], packed[i, 9], max_alpha,
            )  # fmt: skip
            for channel in range(_FUSED, channels):
                _add(near[_CHANNELS + channel * _PIXELS :], near[_WEIGHTS:], high - low, features[i, channel])
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                k = line * TILE + column
                shown[top + line, start + column, channels] = abs(work[k + _PASSING])
                for channel in range(channels):
                    shown[top + line, start + column, channel] = work[k + _CHANNELS + channel * _PIXELS]


@njit(fastmath=_FAST, error_model="numpy")
def _slopes(  # noqa: PLR0913 - compiled
    work, count, x, y, xx, xy, yy, bright, red, green, blue, max_alpha, sums
):  # fmt: skip
    """Goes on as `_weigh`; ``sums`` are the moments of ``h = alpha dL/dalpha``, which is kept in the pulls."""
    s0 = _ZERO
    s1 = _ZERO
    s2 = _ZERO
    s3 = _ZERO
    s4 = _ZERO
    s5 = _ZERO
    s6 = _ZERO
    s7 = _ZERO
    s8 = _ZERO
    for k in range(count):
        right = work[k + _COLUMNS] - x
        down = work[k + _LINES] - y
        exponent = bright + right * (xx * right + xy * down) + yy * down * down
        full = exp2(max(exponent, LOWEST))
        alpha = min(full, max_alpha)
        alpha = alpha if exponent >= _LEAST else _ZERO
        before = work[k + _PASSING]
        weight = before * alpha
        weight = weight if before > _ZERO else _ZERO
        after = before - weight
        work[k + _PASSING] = -before if ((after < _STOP) & (before > _ZERO)) else after
        weight = _ZERO if after < _STOP else weight
        work[k + _WEIGHTS] = weight
        g0 = work[k + _CHANNELS]
        g1 = work[k + _CHANNELS + _PIXELS]
        g2 = work[k + _CHANNELS + _PIXELS + _PIXELS]
        gain = weight * (work[k + _VALUES] + g0 * red + g1 * green + g2 * blue)
        running = work[k + _EARNED] + gain
        work[k + _EARNED] = running
        pull = gain - (work[k + _GOAL] - running) * alpha / (_ONE - alpha)
        pull = pull if (weight > _ZERO) & (full <= max_alpha) else _ZERO
        work[k + _PULLS] = pull
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


@njit(fastmath=_FAST, error_model="numpy")
def _tally(work, count, x, y, xx, xy, yy, sums):
    """Sums of the absolute gradients in x and y, but for the factor that turns base 2 into e."""
    s0 = _ZERO
    s1 = _ZERO
    for k in range(count):
        right = work[k + _COLUMNS] - x
        down = work[k + _LINES] - y
        s0 += abs(work[k + _PULLS] * (xx * right + xx * right + xy * down))
        s1 += abs(work[k + _PULLS] * (yy * down + yy * down + xy * right))
    sums[6] = s0
    sums[7] = s1


@njit(
    "void(float32[:,:,::1],float32[:,:,::1],float32[:,::1],float32[:,::1],int32[::1],int32[::1],int32[::1],int32[::1],"
    "int64,float32,bool_,float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
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
        work = np.zeros(_CHANNELS + max(channels, _FUSED) * _PIXELS, np.float32)
        _start(work)
        for line in range(min(TILE, height - top)):
            for column in range(min(TILE, width - start)):
                k = line * TILE + column
                goal = for_shown[top + line, start + column, channels] * shown[top + line, start + column, channels]
                for channel in range(channels):
                    slope = for_shown[top + line, start + column, channel]
                    work[k + _CHANNELS + channel * _PIXELS] = slope
                    goal += slope * shown[top + line, start + column, channel]
                work[k + _GOAL] = goal
        ended = False
        for place in range(offsets[tile], offsets[tile + 1]):
            i = owners[place]
            share = shares[slots[place]]
            if (place - offsets[tile]) % _LOOK_EVERY == _LOOK_EVERY - 1 and not _any_passes(work[_PASSING:]):
                ended = True
            x = packed[i, 0] - np.float32(start)
            y = packed[i, 1] - np.float32(top)
            low = max(0, math.ceil(y - packed[i, 6] - _HALF)) * TILE
            high = min(TILE, math.floor(y + packed[i, 6] - _HALF) + 1) * TILE
            if ended or high <= low:
                for k in range(share.shape[0]):
                    share[k] = _ZERO
                continue
            near = work[low:]
            if channels > _FUSED:
                near[_VALUES : _VALUES + high - low] = _ZERO
                for channel in range(_FUSED, channels):
                    _add(near[_VALUES:], near[_CHANNELS + channel * _PIXELS :], high - low, features[i, channel])
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
                values = near[_CHANNELS + channel * _PIXELS :]
                share[_MOMENTS + channel] = _dot(near[_WEIGHTS:], values, high - low)


@njit(
    "void(float32[:,::1],int32[::1],float32[:,::1],bool_,float32[:,::1],float32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _gather(shares, starts, ellipses, tallied, for_ellipses, for_features, tally):
    count = ellipses.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        sums = np.empty(shares.shape[1], np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            sums[:] = _ZERO
            for slot in range(starts[i], starts[i + 1]):
                for k in range(sums.shape[0]):
                    sums[k] += shares[slot, k]
            xx = ellipses[i, 2]
            xy = ellipses[i, 3]
            yy = ellipses[i, 4]
            # one that nobody sees may be no ellipse at all
            seen = starts[i + 1] > starts[i]
            for_ellipses[i, 0] = xx * sums[1] + xy * sums[2] if seen else _ZERO
            for_ellipses[i, 1] = xy * sums[1] + yy * sums[2] if seen else _ZERO
            for_ellipses[i, 2] = -_HALF * sums[3]
            for_ellipses[i, 3] = -sums[4]
            for_ellipses[i, 4] = -_HALF * sums[5]
            for_ellipses[i, 5] = sums[0] / ellipses[i, 5] if seen else _ZERO
            tally[i, 0] = sums[6] / TO_BASE_2 if tallied else _ZERO
            tally[i, 1] = sums[7] / TO_BASE_2 if tallied else _ZERO
            for channel in range(for_features.shape[1]):
                for_features[i, channel] = sums[_MOMENTS + channel]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _schedule(offsets: np.ndarray) -> np.ndarray:
    """All tiles, in an order that gives each thread's share of a parallel loop full and empty ones alike."""
    falling = np.argsort(-np.diff(offsets), kind="stable").astype(np.int32)
    threads = get_num_threads()
    return np.concatenate([falling[thread::threads] for thread in range(threads)])


def _packed(ellipses: Tensor, features: Tensor, reach: Tensor) -> np.ndarray:
    packed = np.empty((len(ellipses), _PACKED), np.float32)
    _pack(*(_array(tensor) for tensor in (ellipses, features, reach)), packed)
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
        *(_array(tensor) for tensor in (features, owners, offsets)),
        _schedule(_array(offsets)),
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
        *(_array(tensor) for tensor in (for_shown, shown)),
        _packed(ellipses, features, reach),
        *(_array(tensor) for tensor in (features, owners, slots, offsets)),
        _schedule(_array(offsets)),
        tile_grid(shown.shape[1], shown.shape[0])[0],
        np.float32(max_alpha),
        tallied,
        shares,
    )
    slopes = torch.empty(len(ellipses), 6), torch.empty(features.shape), torch.empty(len(ellipses), 2)
    _gather(shares, _array(starts), _array(ellipses), tallied, *(slope.numpy() for slope in slopes))
    return slopes
