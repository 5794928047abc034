"""Multiresolution hash grid on the CPU.

Each kernel works in phases on blocks of points. The first phases find the rows and weights of the vertices with plain
arithmetic over contiguous arrays, which the compiler vectorises; the last only gathers or scatters, so that many cache
misses are in flight at once. The number of coordinates reaches the compiler as the length of the tuple of primes, so
that loops over axes and corners unroll; ``directions`` of None compiles to the kernel without them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.table_rows import FAST, dot, gather, move, scatter, threads_for
from onefield.kernels.hash_grid import PRIMES, HashGridLayout

# Points whose rows and weights stay in the first-level cache between the phases (measured: 256 beats 64 and 512).
BLOCK = 256
# Points that go through a level before the next one's turn: so many that most of a level's table is read several times
# while it stays in the last-level cache (measured in one thread: 2^16 takes 10 to 33 % less time than 2^12 or 2^14).
CHUNK = 2**16
# Points whose features are put together at a time: they stay in the second-level cache.
TILE = 64
# Rows in a cache line of 64 bytes hold so many float32 together.
LINE = 16
# A level is read in advance, line after line as the memory likes it, if its lines will be asked for at least so often.
WORTH_READING = 1
_ZERO = np.float32(0)
_ONE = np.float32(1)


@njit(cache=True, error_model="numpy")
def _transpose_clamped(points, first, count, unit):
    """Coordinates clamped to the unit cube, axis by axis; NaN stays."""
    for p in range(count):
        for axis in range(points.shape[1]):
            x = points[first + p, axis]
            x = _ZERO if x < _ZERO else x
            unit[axis, p] = _ONE if x > _ONE else x


@njit(cache=True, error_model="numpy")
def _place(primes, unit, start, count, cells, vertex, fraction):
    """Lower vertex and fraction on each axis; NaN goes to vertex 0 and stays in the fraction."""
    top = np.float32(cells - 1)
    scale = np.float32(cells)
    for axis in range(len(primes)):
        for p in range(count):
            position = unit[axis, start + p] * scale
            lower = np.floor(position)
            lower = lower if lower < top else top
            lower = lower if lower > _ZERO else _ZERO
            vertex[axis, p] = np.uint32(np.int32(lower))
            fraction[axis, p] = position - lower


@njit(cache=True, error_model="numpy")
def _dense_rows(primes, vertex, count, cells, offset, rows):
    stride = np.uint32(cells + 1)
    for corner in range(1 << len(primes)):
        for p in range(count):
            row = np.uint32(0)
            for axis in range(len(primes) - 1, -1, -1):
                side = np.uint32(vertex[axis, p] + np.uint32((corner >> axis) & 1))
                row = np.uint32(np.uint32(row * stride) + side)
            rows[corner, p] = np.uint32(row + np.uint32(offset))


@njit(cache=True, error_model="numpy")
def _hashed_rows(primes, vertex, count, size, offset, rows):
    mask = np.uint32(size - 1)
    for corner in range(1 << len(primes)):
        for p in range(count):
            row = np.uint32(0)
            for axis in range(len(primes)):
                side = np.uint32(vertex[axis, p] + np.uint32((corner >> axis) & 1))
                row = np.uint32(row ^ np.uint32(side * primes[axis]))
            rows[corner, p] = np.uint32(np.uint32(row & mask) + np.uint32(offset))


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _weigh(primes, fraction, count, weights):
    for corner in range(1 << len(primes)):
        for p in range(count):
            weight = _ONE
            for axis in range(len(primes)):
                upper = fraction[axis, p]
                weight *= upper if (corner >> axis) & 1 else _ONE - upper
            weights[corner, p] = weight


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _weigh_along(primes, fraction, slopes, directions, first, count, weights):
    """Derivative of the weights along ``directions``, which lie point by point."""
    for corner in range(1 << len(primes)):
        for p in range(count):
            total = _ZERO
            for axis in range(len(primes)):
                weight = slopes[axis, p] * directions[first + p, axis]
                weight = weight if (corner >> axis) & 1 else -weight
                for other in range(len(primes)):
                    if other != axis:
                        upper = fraction[other, p]
                        weight *= upper if (corner >> other) & 1 else _ONE - upper
                total += weight
            weights[corner, p] = total


@njit(cache=True, error_model="numpy")
def _find_slopes(primes, points, first, count, cells, slopes):
    """Derivative of the position in cells by the coordinate: 0 where the coordinate was clamped."""
    scale = np.float32(cells)
    for axis in range(len(primes)):
        for p in range(count):
            x = points[first + p, axis]
            slopes[axis, p] = _ZERO if x < _ZERO or x > _ONE else scale


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _add_gradient(primes, fraction, slopes, strengths, count, gradient, start):
    """Adds the sum over corners of strength times the weight's derivative by each coordinate."""
    for axis in range(len(primes)):
        for p in range(count):
            total = _ZERO
            for corner in range(1 << len(primes)):
                weight = strengths[corner, p] if (corner >> axis) & 1 else -strengths[corner, p]
                for other in range(len(primes)):
                    if other != axis:
                        upper = fraction[other, p]
                        weight *= upper if (corner >> other) & 1 else _ONE - upper
                total += weight
            gradient[axis, start + p] += total * slopes[axis, p]


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _add_curvature(primes, fraction, slopes, directions, first, strengths, count, gradient, start):
    """Adds the sum over corners of strength times the weight's second derivatives, applied to ``directions``."""
    for axis in range(len(primes)):
        for other in range(len(primes)):
            if other == axis:
                continue
            for p in range(count):
                total = _ZERO
                for corner in range(1 << len(primes)):
                    same = ((corner >> axis) ^ (corner >> other)) & 1 == 0
                    weight = strengths[corner, p] if same else -strengths[corner, p]
                    for third in range(len(primes)):
                        if third not in (axis, other):
                            upper = fraction[third, p]
                            weight *= upper if (corner >> third) & 1 else _ONE - upper
                    total += weight
                gradient[axis, start + p] += total * slopes[axis, p] * slopes[other, p] * directions[first + p, other]


@njit(cache=True, error_model="numpy")
def _find_rows(primes, vertex, count, levels, level, rows):
    cells, offsets, sizes, hashed = levels
    if hashed[level]:
        _hashed_rows(primes, vertex, count, sizes[level], offsets[level], rows)
    else:
        _dense_rows(primes, vertex, count, cells[level], offsets[level], rows)


@njit(cache=True, error_model="numpy")
def _read_ahead(table, levels, level, reads):
    """Brings a level into the cache in the order of memory, before ``reads`` rows are read in a random one.

    Returns a number that only says that something was read: prefetch instructions are dropped where they come fast.
    """
    _, offsets, sizes, _ = levels
    touched = _ZERO
    if reads * LINE >= WORTH_READING * sizes[level] * table.shape[1]:
        for row in range(offsets[level], offsets[level] + sizes[level], max(1, LINE // table.shape[1])):
            touched += table[row, 0]
    return touched


@njit(parallel=True, cache=True, error_model="numpy")
def _features(chunk_size, primes, points, directions, table, levels, scratch, out):
    """Slot s of the thread pool takes its turn of chunks; their features wait in ``scratch[s]``, level by level."""
    dimension = len(primes)
    corners = 1 << dimension
    width = table.shape[1]
    cells = levels[0]
    slots = scratch.shape[0]
    for slot in prange(slots):
        unit = np.empty((dimension, chunk_size), np.float32)
        vertex = np.empty((dimension, BLOCK), np.uint32)
        fraction = np.empty((dimension, BLOCK), np.float32)
        slopes = np.empty((dimension, BLOCK), np.float32)
        rows = np.empty((corners, BLOCK), np.uint32)
        weights = np.empty((corners, BLOCK), np.float32)
        parts = scratch[slot]
        for begin in range(slot * chunk_size, points.shape[0], slots * chunk_size):
            length = min(chunk_size, points.shape[0] - begin)
            _transpose_clamped(points, begin, length, unit)
            for level in range(cells.shape[0]):
                # the features of the first point come to lie here
                parts[level * chunk_size, 0] = _read_ahead(table, levels, level, length * corners)
                for start in range(0, length, BLOCK):
                    count = min(BLOCK, length - start)
                    first = begin + start
                    _place(primes, unit, start, count, cells[level], vertex, fraction)
                    _find_rows(primes, vertex, count, levels, level, rows)
                    if directions is None:
                        _weigh(primes, fraction, count, weights)
                    else:
                        _find_slopes(primes, points, first, count, cells[level], slopes)
                        _weigh_along(primes, fraction, slopes, directions, first, count, weights)
                    gather(corners, table, width, rows, weights, count, parts, level * chunk_size + start, 0)
            for start in range(0, length, TILE):
                count = min(TILE, length - start)
                for level in range(cells.shape[0]):
                    move(width, parts, level * chunk_size + start, 0, out, begin + start, level * width, count)


@njit(parallel=True, cache=True, error_model="numpy")
def _split(points, cotangents, width, unit, parts):
    """Coordinates by axis, clamped, and ``n (levels features)`` by level: in the order in which a level reads them."""
    total = points.shape[0]
    for tile in prange((total + TILE - 1) // TILE):
        first = tile * TILE
        count = min(TILE, total - first)
        _transpose_clamped(points[first:], 0, count, unit[:, first:])
        for level in range(cotangents.shape[1] // width):
            move(width, cotangents, first, level * width, parts, level * total + first, 0, count)


@njit(parallel=True, cache=True, error_model="numpy")
def _table_gradient(primes, points, unit, directions, cotangents, levels, queue, limits, slices, gradients):
    """Slot s of the thread pool takes the tasks ``queue[limits[s] : limits[s + 1]]``; task = level * slices + slice."""
    dimension = len(primes)
    corners = 1 << dimension
    width = gradients.shape[2]
    cells, offsets, sizes, _ = levels
    total = points.shape[0]
    span = (total + slices - 1) // slices
    for slot in prange(limits.shape[0] - 1):
        vertex = np.empty((dimension, BLOCK), np.uint32)
        fraction = np.empty((dimension, BLOCK), np.float32)
        slopes = np.empty((dimension, BLOCK), np.float32)
        rows = np.empty((corners, BLOCK), np.uint32)
        weights = np.empty((corners, BLOCK), np.float32)
        for task in queue[limits[slot] : limits[slot + 1]]:
            level = task // slices
            part = task % slices
            gradient = gradients[part]
            # by who adds to it right after: what was written last is in the cache
            gradient[offsets[level] : offsets[level] + sizes[level]] = _ZERO
            end = min((part + 1) * span, total)
            for first in range(part * span, end, BLOCK):
                count = min(BLOCK, end - first)
                _place(primes, unit, first, count, cells[level], vertex, fraction)
                _find_rows(primes, vertex, count, levels, level, rows)
                if directions is None:
                    _weigh(primes, fraction, count, weights)
                else:
                    _find_slopes(primes, points, first, count, cells[level], slopes)
                    _weigh_along(primes, fraction, slopes, directions, first, count, weights)
                scatter(corners, gradient, width, rows, weights, count, cotangents, level * total + first, 0)


@njit(parallel=True, cache=True, error_model="numpy")
def _point_gradient(chunk_size, primes, points, directions, table, cotangents, levels, out):
    dimension = len(primes)
    corners = 1 << dimension
    width = table.shape[1]
    cells = levels[0]
    for chunk in prange((points.shape[0] + chunk_size - 1) // chunk_size):
        begin = chunk * chunk_size
        length = min(chunk_size, points.shape[0] - begin)
        unit = np.empty((dimension, chunk_size), np.float32)
        gradient = np.zeros((dimension, chunk_size), np.float32)
        vertex = np.empty((dimension, BLOCK), np.uint32)
        fraction = np.empty((dimension, BLOCK), np.float32)
        slopes = np.empty((dimension, BLOCK), np.float32)
        rows = np.empty((corners, BLOCK), np.uint32)
        strengths = np.empty((corners, BLOCK), np.float32)
        _transpose_clamped(points, begin, length, unit)
        for level in range(cells.shape[0]):
            # zero again before it is used
            strengths[0, 0] = _read_ahead(table, levels, level, length * corners)
            for start in range(0, length, BLOCK):
                count = min(BLOCK, length - start)
                first = begin + start
                _place(primes, unit, start, count, cells[level], vertex, fraction)
                _find_slopes(primes, points, first, count, cells[level], slopes)
                _find_rows(primes, vertex, count, levels, level, rows)
                dot(corners, table, width, rows, count, cotangents, first, level * width, strengths)
                if directions is None:
                    _add_gradient(primes, fraction, slopes, strengths, count, gradient, start)
                else:
                    _add_curvature(primes, fraction, slopes, directions, first, strengths, count, gradient, start)
        for p in range(length):
            for axis in range(dimension):
                out[begin + p, axis] = gradient[axis, p]


@lru_cache(maxsize=64)
def _levels(layout: HashGridLayout) -> tuple[np.ndarray, ...]:
    return tuple(np.array(column) for column in (layout.resolutions, layout.offsets, layout.sizes, layout.hashed))


@lru_cache(maxsize=64)
def _schedule(layout: HashGridLayout, slots: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Deals the tasks, costliest first, to the slot with the least work so far."""
    costs = [1.0 + np.log2(size) for size in layout.sizes]
    tasks = [(costs[level], level * slices + part) for level in range(layout.levels) for part in range(slices)]
    loads, hands = [0.0] * slots, [[] for _ in range(slots)]
    for cost, task in sorted(tasks, reverse=True):
        slot = loads.index(min(loads))
        loads[slot] += cost
        hands[slot].append(task)
    limits = np.cumsum([0] + [len(hand) for hand in hands])
    return np.array([task for hand in hands for task in hand], dtype=np.int64), limits


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().contiguous().numpy()


def _chunk_size(points: Tensor, threads: int) -> int:
    """At most `CHUNK`, fewer where that would leave threads without work."""
    return max(BLOCK, min(CHUNK, -(-points.shape[0] // threads)))


def _primes(layout: HashGridLayout) -> tuple[np.uint32, ...]:
    return tuple(np.uint32(prime) for prime in PRIMES[: layout.dimension])


def features(
    points: Tensor, directions: Tensor | None, table: Tensor, resolutions: list[int], log2_table_size: int
) -> Tensor:
    """Kernel of `onefield.kernels.hash_grid.hash_grid`: parallel over points."""
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    width = table.shape[1]
    out = np.empty((points.shape[0], layout.levels * width), np.float32)
    with threads_for(points.shape[0]) as threads:
        chunk = _chunk_size(points, threads)
        scratch = np.empty((threads, layout.levels * chunk, width), np.float32)
        _features(
            chunk, _primes(layout), _array(points), _array(directions), _array(table), _levels(layout), scratch, out
        )
    return torch.from_numpy(out)


def table_gradient(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, resolutions: list[int], log2_table_size: int
) -> Tensor:
    """Kernel of `hash_grid_table_gradient`: parallel over levels, so that each sum has one writer and one order.

    With many more threads than levels the points are sliced too, each slice into a table of its own.
    """
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    with threads_for(points.shape[0]) as threads:
        slices = max(1, threads // layout.levels)
        return sliced_table_gradient(points, directions, cotangents, layout, threads, slices)


def sliced_table_gradient(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, layout: HashGridLayout, slots: int, slices: int
) -> Tensor:
    """The table's gradient by ``slots`` workers, from ``slices`` parts of the points that are added at the end."""
    width = cotangents.shape[1] // layout.levels
    gradients = np.empty((slices, layout.entries, width), np.float32)
    unit = np.empty((layout.dimension, points.shape[0]), np.float32)
    parts = np.empty((layout.levels * points.shape[0], width), np.float32)
    _split(_array(points), _array(cotangents), width, unit, parts)
    queue, limits = _schedule(layout, slots, slices)
    _table_gradient(
        _primes(layout), _array(points), unit, _array(directions), parts, _levels(layout),
        queue, limits, slices, gradients,
    )  # fmt: skip
    return torch.from_numpy(gradients[0] if slices == 1 else gradients.sum(0))


def point_gradient(
    points: Tensor,
    directions: Tensor | None,
    table: Tensor,
    cotangents: Tensor,
    resolutions: list[int],
    log2_table_size: int,
) -> Tensor:
    """Kernel of `hash_grid_point_gradient`: parallel over points."""
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    out = torch.empty_like(points, memory_format=torch.contiguous_format)
    with threads_for(points.shape[0]) as threads:
        _point_gradient(
            _chunk_size(points, threads), _primes(layout), _array(points), _array(directions), _array(table),
            _array(cotangents), _levels(layout), out.numpy(),
        )  # fmt: skip
    return out
