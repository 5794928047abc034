"""Dense feature grid on the CPU, linear and cubic, 1 to 4 coordinates.

Blocks of points go through phases, as in the hash grid. The gradient of the grid sorts the points into slabs across
its longest axis: slabs of one colour touch disjoint vertices, so all even ones are summed in parallel and then all odd
ones, each in the order of its points. The result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.table_rows import FAST, dot, gather, scatter, threads_for
from onefield.kernels.dense_grid import taps_of

# Points whose rows and weights stay in the first-level cache between the phases.
BLOCK = 128
# Vertices that a slab spans along the longest axis. Slabs of one colour stay apart if it is at least 3: a cubic tap
# reaches one vertex below and two above its cell.
SLAB = 4
_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_HALF = np.float32(0.5)


@njit(cache=True, error_model="numpy")
def _place(shape, points, first, count, lower, fraction, slopes):
    """Cell, fraction and derivative of the position by the coordinate; NaN goes to cell 0 and stays in the fraction."""
    for axis in range(len(shape)):
        scale = np.float32(shape[axis] - 1)
        top = np.float32(shape[axis] - 2)
        for p in range(count):
            x = points[first + p, axis]
            slopes[axis, p] = _ZERO if x < _ZERO or x > _ONE else scale
            x = _ZERO if x < _ZERO else x
            position = (_ONE if x > _ONE else x) * scale
            cell = np.floor(position)
            cell = cell if cell < top else top
            cell = cell if cell > _ZERO else _ZERO
            lower[axis, p] = np.int64(cell)
            fraction[axis, p] = position - cell


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _linear_factors(shape, fraction, slopes, count, factors):
    """``factors[order, axis, tap, point]``: weight of a tap and its derivatives by the coordinate."""
    for axis in range(len(shape)):
        for p in range(count):
            t = fraction[axis, p]
            factors[0, axis, 0, p] = _ONE - t
            factors[0, axis, 1, p] = t
            factors[1, axis, 0, p] = -slopes[axis, p]
            factors[1, axis, 1, p] = slopes[axis, p]
            factors[2, axis, 0, p] = _ZERO
            factors[2, axis, 1, p] = _ZERO


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _cubic_factors(shape, lower, fraction, slopes, count, factors):
    """As `_linear_factors`, with the taps beyond a border folded onto the two vertices inside it."""
    three, four, five, eight, nine, ten = (
        np.float32(3), np.float32(4), np.float32(5), np.float32(8), np.float32(9), np.float32(10)
    )  # fmt: skip
    for axis in range(len(shape)):
        for p in range(count):
            t = fraction[axis, p]
            s = slopes[axis, p]
            factors[0, axis, 0, p] = ((_TWO - t) * t - _ONE) * t * _HALF
            factors[0, axis, 1, p] = ((three * t - five) * t * t + _TWO) * _HALF
            factors[0, axis, 2, p] = ((four - three * t) * t + _ONE) * t * _HALF
            factors[0, axis, 3, p] = (t - _ONE) * t * t * _HALF
            factors[1, axis, 0, p] = ((four - three * t) * t - _ONE) * _HALF * s
            factors[1, axis, 1, p] = (nine * t - ten) * t * _HALF * s
            factors[1, axis, 2, p] = ((eight - nine * t) * t + _ONE) * _HALF * s
            factors[1, axis, 3, p] = (three * t - _TWO) * t * _HALF * s
            factors[2, axis, 0, p] = (_TWO - three * t) * s * s
            factors[2, axis, 1, p] = (nine * t - five) * s * s
            factors[2, axis, 2, p] = (four - nine * t) * s * s
            factors[2, axis, 3, p] = (three * t - _ONE) * s * s
        for p in range(count):
            for order in range(3):
                if lower[axis, p] == 0:
                    outer = factors[order, axis, 0, p]
                    factors[order, axis, 0, p] = _ZERO
                    factors[order, axis, 1, p] += _TWO * outer
                    factors[order, axis, 2, p] -= outer
                if lower[axis, p] == shape[axis] - 2:
                    outer = factors[order, axis, 3, p]
                    factors[order, axis, 3, p] = _ZERO
                    factors[order, axis, 2, p] += _TWO * outer
                    factors[order, axis, 1, p] -= outer


@njit(cache=True, error_model="numpy")
def _find_rows(shape, taps, lower, count, rows):
    """Row of each corner; digit k of the corner's number in base ``taps`` chooses the tap along axis k."""
    for corner in range(rows.shape[0]):
        for p in range(count):
            row = np.int64(0)
            digits = corner
            stride = np.int64(1)
            for axis in range(len(shape) - 1, -1, -1):
                side = lower[axis, p] + digits % taps - (taps // 2 - 1)
                side = min(max(side, 0), shape[axis] - 1)
                row += side * stride
                stride *= shape[axis]
                digits //= taps
            rows[corner, p] = row


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _multiply(shape, taps, factors, once, twice, corner, count, weights):
    """Product over axes of the corner's factors, differentiated along axes ``once`` and ``twice`` (-1 for none)."""
    for p in range(count):
        weights[p] = _ONE
    digits = corner
    for axis in range(len(shape) - 1, -1, -1):
        order = int(axis == once) + int(axis == twice)
        column = factors[order, axis, digits % taps]
        for p in range(count):
            weights[p] *= column[p]
        digits //= taps


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _weigh(shape, taps, factors, directions, first, count, scratch, weights):
    for corner in range(weights.shape[0]):
        if directions is None:
            _multiply(shape, taps, factors, -1, -1, corner, count, weights[corner])
        else:
            weights[corner, :count] = _ZERO
            for axis in range(len(shape)):
                _multiply(shape, taps, factors, axis, -1, corner, count, scratch)
                for p in range(count):
                    weights[corner, p] += scratch[p] * directions[first + p, axis]


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _slope(shape, taps, factors, directions, strengths, first, count, scratch, out):
    """Writes the points' gradient: the sum over corners of strength times the weight's derivatives."""
    for axis in range(len(shape)):
        for p in range(count):
            out[first + p, axis] = _ZERO
        for corner in range(strengths.shape[0]):
            if directions is None:
                _multiply(shape, taps, factors, axis, -1, corner, count, scratch)
                for p in range(count):
                    out[first + p, axis] += scratch[p] * strengths[corner, p]
            else:
                for other in range(len(shape)):
                    _multiply(shape, taps, factors, axis, other, corner, count, scratch)
                    for p in range(count):
                        out[first + p, axis] += scratch[p] * strengths[corner, p] * directions[first + p, other]


@njit(cache=True, error_model="numpy")
def _prepare(shape, taps, points, first, count, lower, fraction, slopes, factors, rows):
    _place(shape, points, first, count, lower, fraction, slopes)
    if taps == 2:
        _linear_factors(shape, fraction, slopes, count, factors)
    else:
        _cubic_factors(shape, lower, fraction, slopes, count, factors)
    _find_rows(shape, taps, lower, count, rows)


@njit(parallel=True, cache=True, error_model="numpy")
def _features(shape, taps, points, directions, table, out):
    dimension = len(shape)
    corners = taps**dimension
    for block in prange((points.shape[0] + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        count = min(BLOCK, points.shape[0] - first)
        lower = np.empty((dimension, BLOCK), np.int64)
        fraction = np.empty((dimension, BLOCK), np.float32)
        slopes = np.empty((dimension, BLOCK), np.float32)
        factors = np.empty((3, dimension, taps, BLOCK), np.float32)
        rows = np.empty((corners, BLOCK), np.int64)
        weights = np.empty((corners, BLOCK), np.float32)
        scratch = np.empty(BLOCK, np.float32)
        _prepare(shape, taps, points, first, count, lower, fraction, slopes, factors, rows)
        _weigh(shape, taps, factors, directions, first, count, scratch, weights)
        gather(corners, table, table.shape[1], rows, weights, count, out, first, 0)


@njit(parallel=True, cache=True, error_model="numpy")
def _grid_gradient(shape, taps, points, directions, cotangents, limits, slots, gradient):
    """Points are sorted by slab: slab s owns ``limits[s] : limits[s + 1]``."""
    dimension = len(shape)
    corners = taps**dimension
    slabs = limits.shape[0] - 1
    for colour in range(2):
        for slot in prange(slots):
            lower = np.empty((dimension, BLOCK), np.int64)
            fraction = np.empty((dimension, BLOCK), np.float32)
            slopes = np.empty((dimension, BLOCK), np.float32)
            factors = np.empty((3, dimension, taps, BLOCK), np.float32)
            rows = np.empty((corners, BLOCK), np.int64)
            weights = np.empty((corners, BLOCK), np.float32)
            scratch = np.empty(BLOCK, np.float32)
            for slab in range(2 * slot + colour, slabs, 2 * slots):
                for first in range(limits[slab], limits[slab + 1], BLOCK):
                    count = min(BLOCK, limits[slab + 1] - first)
                    _prepare(shape, taps, points, first, count, lower, fraction, slopes, factors, rows)
                    _weigh(shape, taps, factors, directions, first, count, scratch, weights)
                    scatter(corners, gradient, gradient.shape[1], rows, weights, count, cotangents, first, 0)


@njit(parallel=True, cache=True, error_model="numpy")
def _point_gradient(shape, taps, points, directions, table, cotangents, out):
    dimension = len(shape)
    corners = taps**dimension
    for block in prange((points.shape[0] + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        count = min(BLOCK, points.shape[0] - first)
        lower = np.empty((dimension, BLOCK), np.int64)
        fraction = np.empty((dimension, BLOCK), np.float32)
        slopes = np.empty((dimension, BLOCK), np.float32)
        factors = np.empty((3, dimension, taps, BLOCK), np.float32)
        rows = np.empty((corners, BLOCK), np.int64)
        strengths = np.empty((corners, BLOCK), np.float32)
        scratch = np.empty(BLOCK, np.float32)
        _prepare(shape, taps, points, first, count, lower, fraction, slopes, factors, rows)
        dot(corners, table, table.shape[1], rows, count, cotangents, first, 0, strengths)
        _slope(shape, taps, factors, directions, strengths, first, count, scratch, out)


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().contiguous().numpy()


def _slabs(points: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, np.ndarray]:
    """Order of the points by slab (each slab keeps their order), and where each slab begins."""
    axis = shape.index(max(shape))
    cells = shape[axis] - 1
    # As in the kernel: float32 product, floor, NaN to cell 0.
    cell = (points[:, axis].clamp(0, 1) * cells).nan_to_num(0.0).floor().clamp(max=cells - 1)
    slab = cell.to(torch.int32) // SLAB
    counts = torch.bincount(slab, minlength=-(-cells // SLAB))
    limits = np.concatenate([[0], counts.cumsum(0).numpy()])
    return torch.argsort(slab, stable=True), limits


def features(points: Tensor, directions: Tensor | None, grid: Tensor, interpolation: str) -> Tensor:
    """Kernel of `onefield.kernels.dense_grid.dense_grid`: parallel over points."""
    out = torch.empty(points.shape[0], grid.shape[-1])
    table = _array(grid).reshape(-1, grid.shape[-1])
    shape = tuple(grid.shape[:-1])
    with threads_for(points.shape[0]):
        _features(shape, taps_of(interpolation), _array(points), _array(directions), table, out.numpy())
    return out


def grid_gradient(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, shape: list[int], interpolation: str
) -> Tensor:
    """Kernel of `dense_grid_gradient`: parallel over slabs of one colour."""
    shape = tuple(shape)
    order, limits = _slabs(points.detach(), shape)
    gradient = np.zeros((*shape, cotangents.shape[1]), np.float32)
    sorted_directions = None if directions is None else _array(directions[order])
    with threads_for(points.shape[0]) as threads:
        _grid_gradient(
            shape, taps_of(interpolation), _array(points[order]), sorted_directions, _array(cotangents[order]),
            limits, threads, gradient.reshape(-1, cotangents.shape[1]),
        )  # fmt: skip
    return torch.from_numpy(gradient)


def point_gradient(
    points: Tensor, directions: Tensor | None, grid: Tensor, cotangents: Tensor, interpolation: str
) -> Tensor:
    """Kernel of `dense_grid_point_gradient`: parallel over points."""
    out = torch.empty_like(points, memory_format=torch.contiguous_format)
    table = _array(grid).reshape(-1, grid.shape[-1])
    shape = tuple(grid.shape[:-1])
    with threads_for(points.shape[0]):
        _point_gradient(
            shape, taps_of(interpolation), _array(points), _array(directions), table, _array(cotangents), out.numpy()
        )
    return out
