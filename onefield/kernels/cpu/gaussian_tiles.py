"""Numba twin of `onefield.kernels.gaussian_tiles`.

Gaussians are sorted by depth once, by the bits of their depth. Each then has a row for each row of tiles that it
reaches into, with the first and last tile that its ellipse touches there; rows are dealt to the rows of tiles in order
of depth, and each row of tiles fills its own lists.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.gaussian_tiles import LEAST_ALPHA, MARGIN, TILE, tile_grid

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_TILE = np.float32(TILE)
_INVERSE = np.float32(1 / TILE)
_BRIGHTEST = np.float32(1 / LEAST_ALPHA)
_MARGIN = np.float32(MARGIN)
_LARGEST = np.float32(np.finfo(np.float32).max)
_DIGIT = 11
_BUCKETS = 1 << _DIGIT
_CHUNK = 512


@njit(
    "void(float32[:,::1],float32[:,::1],float32[:,::1],float32[::1],float32[::1],int64,int64,float32[:,::1],"
    "int32[:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _reaches(pixels, conics, variances, opacities, depths, width, height, reach, rows):
    """How far each Gaussian reaches, and its first row of tiles and the one after its last (equal where unseen)."""
    last = (height - 1) // TILE
    for i in prange(pixels.shape[0]):
        reach[i, 0] = _ZERO
        reach[i, 1] = _ZERO
        rows[i, 0] = 0
        rows[i, 1] = 0
        bright = opacities[i] * _BRIGHTEST
        finite = abs(conics[i, 0]) <= _LARGEST and abs(conics[i, 1]) <= _LARGEST and abs(conics[i, 2]) <= _LARGEST
        if not (bright > _ONE and depths[i] > _ZERO and finite):
            continue
        squared = _TWO * math.log(bright)
        x = math.sqrt(squared * variances[i, 0]) + _MARGIN
        y = math.sqrt(squared * variances[i, 1]) + _MARGIN
        # not a number, or infinite: not seen
        if not (x <= _LARGEST and y <= _LARGEST):
            continue
        if not (pixels[i, 0] + x > _ZERO and pixels[i, 0] - x < width):
            continue
        if not (pixels[i, 1] + y > _ZERO and pixels[i, 1] - y < height):
            continue
        reach[i, 0] = x
        reach[i, 1] = y
        rows[i, 0] = math.floor(max(pixels[i, 1] - y, _ZERO) * _INVERSE)
        rows[i, 1] = min(last, math.floor(min(pixels[i, 1] + y, np.float32(height)) * _INVERSE)) + 1


@njit("int64(float32[::1],int32[:,::1],int32[::1],int32[::1])", cache=True)
def _order(depths, rows, order, spare):
    """Seen Gaussians near to far, ties in their own order: a radix sort of the depths' bits; how many there are."""
    keys = depths.view(np.int32)
    count = 0
    for i in range(len(depths)):
        if rows[i, 1] > rows[i, 0]:
            order[count] = i
            count += 1
    places = np.empty(_BUCKETS + 1, np.int64)
    # the sign bit is 0: 31 bits in three digits, an odd number, so the last round ends in spare
    for shift in range(0, 33, _DIGIT):
        places[:] = 0
        for place in range(count):
            places[((keys[order[place]] >> shift) & (_BUCKETS - 1)) + 1] += 1
        for bucket in range(_BUCKETS):
            places[bucket + 1] += places[bucket]
        for place in range(count):
            i = order[place]
            bucket = (keys[i] >> shift) & (_BUCKETS - 1)
            spare[places[bucket]] = i
            places[bucket] += 1
        for place in range(count):
            order[place] = spare[place]
    return count


@njit(
    "void(float32[:,::1],float32[:,::1],float32[:,::1],float32[::1],int32[:,::1],int64[::1],int64,int32[:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _spans(pixels, conics, reach, opacities, rows, row_starts, columns, spans):
    """First tile, and the one after the last, that an ellipse touches in each of its rows of tiles."""
    count = pixels.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            if rows[i, 1] <= rows[i, 0]:
                continue
            a = conics[i, 0]
            b = conics[i, 1]
            squared = _TWO * math.log(opacities[i] * _BRIGHTEST)
            determinant = a * conics[i, 2] - b * b
            # where the ellipse is widest, below its middle on the right and as far above it on the left
            lean = -b / conics[i, 2] * reach[i, 0]
            for row in range(rows[i, 0], rows[i, 1]):
                top = np.float32(row) * _TILE - pixels[i, 1]
                bottom = top + _TILE
                right = min(max(lean, top), bottom)
                left = min(max(-lean, top), bottom)
                half_right = math.sqrt(max(squared * a - determinant * right * right, _ZERO)) / a
                half_left = math.sqrt(max(squared * a - determinant * left * left, _ZERO)) / a
                high = reach[i, 0] if right == lean else min(reach[i, 0], half_right - b / a * right + _MARGIN)
                low = -reach[i, 0] if left == -lean else max(-reach[i, 0], -half_left - b / a * left - _MARGIN)
                first = min(max((pixels[i, 0] + low) * _INVERSE, _ZERO), np.float32(columns))
                last = min(max((pixels[i, 0] + high) * _INVERSE + _ONE, _ZERO), np.float32(columns))
                place = row_starts[i] + row - rows[i, 0]
                spans[place, 0] = int(first)
                spans[place, 1] = max(int(first), int(last))


@njit(
    "void(int32[::1],int64,int32[:,::1],int64[::1],int32[:,::1],int64[::1],int64[::1],int32[::1],int32[::1],int32[::1])",
    cache=True,
    error_model="numpy",
)
def _deal(order, count, rows, row_starts, spans, slot_of_row, bucket_starts, bucket_owner, bucket_row, starts):
    """Slots of each Gaussian, and the Gaussians of each row of tiles, near to far."""
    total = 0
    for i in range(rows.shape[0]):
        starts[i] = total
        for place in range(row_starts[i], row_starts[i + 1]):
            slot_of_row[place] = total
            total += spans[place, 1] - spans[place, 0]
        for row in range(rows[i, 0], rows[i, 1]):
            bucket_starts[row + 1] += 1
    starts[rows.shape[0]] = total
    for row in range(bucket_starts.shape[0] - 1):
        bucket_starts[row + 1] += bucket_starts[row]
    free = bucket_starts.copy()
    for place in range(count):
        i = order[place]
        for row in range(rows[i, 0], rows[i, 1]):
            bucket_owner[free[row]] = i
            bucket_row[free[row]] = row_starts[i] + row - rows[i, 0]
            free[row] += 1


@njit("void(int64[::1],int32[::1],int32[:,::1],int64,int32[::1])", parallel=True, cache=True, error_model="numpy")
def _count(bucket_starts, bucket_row, spans, columns, counts):
    for row in prange(bucket_starts.shape[0] - 1):
        for place in range(bucket_starts[row], bucket_starts[row + 1]):
            span = bucket_row[place]
            for column in range(spans[span, 0], spans[span, 1]):
                counts[row * columns + column + 1] += 1


@njit(
    "void(int64[::1],int32[::1],int32[::1],int32[:,::1],int64[::1],int64,int32[::1],int32[::1],int32[::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _fill(bucket_starts, bucket_owner, bucket_row, spans, slot_of_row, columns, offsets, owners, slots):
    for row in prange(bucket_starts.shape[0] - 1):
        free = offsets[row * columns : (row + 1) * columns].copy()
        for place in range(bucket_starts[row], bucket_starts[row + 1]):
            span = bucket_row[place]
            slot = slot_of_row[span]
            for column in range(spans[span, 0], spans[span, 1]):
                owners[free[column]] = bucket_owner[place]
                slots[free[column]] = slot
                free[column] += 1
                slot += 1


def tiles(
    pixels: Tensor, conics: Tensor, variances: Tensor, opacities: Tensor, depths: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `onefield.kernels.gaussian_tiles`."""
    given = [tensor.detach().contiguous().numpy() for tensor in (pixels, conics, variances, opacities, depths)]
    pixels, conics, variances, opacities, depths = given
    count, (columns, lines) = len(pixels), tile_grid(width, height)
    reach, rows = np.empty((count, 2), np.float32), np.empty((count, 2), np.int32)
    _reaches(*given, width, height, reach, rows)
    row_starts = np.concatenate([[0], np.cumsum(rows[:, 1] - rows[:, 0], dtype=np.int64)])
    total = int(row_starts[-1])
    spans = np.empty((total, 2), np.int32)
    _spans(pixels, conics, reach, opacities, rows, row_starts, columns, spans)
    order = np.empty(count, np.int32)
    seen = _order(depths, rows, order, np.empty(count, np.int32))
    slot_of_row, bucket_starts = np.empty(total, np.int64), np.zeros(lines + 1, np.int64)
    bucket_owner, bucket_row, starts = (
        np.empty(total, np.int32),
        np.empty(total, np.int32),
        np.empty(count + 1, np.int32),
    )
    _deal(order, seen, rows, row_starts, spans, slot_of_row, bucket_starts, bucket_owner, bucket_row, starts)
    counts = np.zeros(columns * lines + 1, np.int32)
    _count(bucket_starts, bucket_row, spans, columns, counts)
    offsets = np.cumsum(counts, dtype=np.int32)
    owners, slots = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    _fill(bucket_starts, bucket_owner, bucket_row, spans, slot_of_row, columns, offsets, owners, slots)
    return *(torch.from_numpy(array) for array in (owners, slots, offsets, starts)), torch.from_numpy(reach)
