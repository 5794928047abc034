"""Triton twin of `onefield.kernels.dense_grid`, linear and cubic.

Corners are a loop rather than unrolled code, because a cubic grid of three coordinates has 64. The grid's gradient is
added atomically, so its last digits depend on the order in which the card runs its blocks.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.dense_grid import taps_of

BLOCK = 128


@triton.jit
def _factor(t, slope, tap, first, last, order: tl.constexpr, taps: tl.constexpr):
    """Weight of a tap along one axis, or its first or second derivative by the coordinate.

    ``first`` and ``last`` mark cells at a border, where the tap beyond is folded onto the two inside.
    """
    if taps == 2:
        if order == 0:
            factor = tl.where(tap == 0, 1.0 - t, t)
        elif order == 1:
            factor = tl.where(tap == 0, -slope, slope)
        else:
            factor = tl.zeros_like(t)
    else:
        if order == 0:
            a = ((2.0 - t) * t - 1.0) * t * 0.5
            b = ((3.0 * t - 5.0) * t * t + 2.0) * 0.5
            c = ((4.0 - 3.0 * t) * t + 1.0) * t * 0.5
            d = (t - 1.0) * t * t * 0.5
        elif order == 1:
            a = ((4.0 - 3.0 * t) * t - 1.0) * 0.5 * slope
            b = (9.0 * t - 10.0) * t * 0.5 * slope
            c = ((8.0 - 9.0 * t) * t + 1.0) * 0.5 * slope
            d = (3.0 * t - 2.0) * t * 0.5 * slope
        else:
            a = (2.0 - 3.0 * t) * slope * slope
            b = (9.0 * t - 5.0) * slope * slope
            c = (4.0 - 9.0 * t) * slope * slope
            d = (3.0 * t - 1.0) * slope * slope
        below = tl.where(first, a, 0.0)
        above = tl.where(last, d, 0.0)
        inner = tl.where(tap == 1, b + 2.0 * below - above, c - below + 2.0 * above)
        factor = tl.where(tap == 0, a - below, tl.where(tap == 3, d - above, inner))
    return factor


@triton.jit
def _place(points, index, inside, axis: tl.constexpr, dimension: tl.constexpr, vertices):
    """Cell, fraction and derivative of the position by the coordinate, along one axis."""
    x = tl.load(points + index * dimension + axis, mask=inside, other=0.0)
    cells = vertices - 1.0
    position = tl.minimum(tl.maximum(x, 0.0), 1.0) * cells
    lower = tl.minimum(tl.floor(position), cells - 1.0)
    fraction = tl.where(x == x, position - lower, x)
    slope = tl.where((x >= 0.0) & (x <= 1.0), cells, 0.0)
    return lower.to(tl.int32), fraction, slope


@triton.jit
def _row(points, shape, index, inside, corner, dimension: tl.constexpr, taps: tl.constexpr):
    """Row of one corner in the flattened grid; digit k of its number in base ``taps`` is the tap along axis k."""
    row = tl.zeros_like(index)
    digits = corner
    for axis in tl.static_range(dimension):
        vertices = tl.load(shape + axis)
        lower, _, _ = _place(points, index, inside, axis, dimension, vertices)
        side = lower + digits % taps - (taps // 2 - 1)
        side = tl.minimum(tl.maximum(side, 0), vertices - 1)
        row = row * vertices + side
        digits = digits // taps
    return row


@triton.jit
def _product(
    points, shape, index, inside, corner, once: tl.constexpr, twice: tl.constexpr, dimension: tl.constexpr,
    taps: tl.constexpr,
):  # fmt: skip
    """Product over axes of the corner's factors, differentiated along axes ``once`` and ``twice`` (-1 for none)."""
    weight = tl.zeros_like(index).to(tl.float32) + 1.0
    digits = corner
    for axis in tl.static_range(dimension):
        vertices = tl.load(shape + axis)
        lower, fraction, slope = _place(points, index, inside, axis, dimension, vertices)
        first, last, tap = lower == 0, lower == vertices - 2, digits % taps
        if (axis == once) and (axis == twice):
            weight *= _factor(fraction, slope, tap, first, last, 2, taps)
        elif (axis == once) or (axis == twice):  # noqa: SIM109 - Triton has no `in`
            weight *= _factor(fraction, slope, tap, first, last, 1, taps)
        else:
            weight *= _factor(fraction, slope, tap, first, last, 0, taps)
        digits = digits // taps
    return weight


@triton.jit
def _weight(
    points, directions, shape, index, inside, corner, dimension: tl.constexpr, taps: tl.constexpr, along: tl.constexpr
):
    if along:
        weight = tl.zeros_like(index).to(tl.float32)
        for axis in tl.static_range(dimension):
            direction = tl.load(directions + index * dimension + axis, mask=inside, other=0.0)
            weight += direction * _product(points, shape, index, inside, corner, axis, -1, dimension, taps)
    else:
        weight = _product(points, shape, index, inside, corner, -1, -1, dimension, taps)
    return weight


@triton.jit
def _features_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    points, directions, table, shape, out, count,
    dimension: tl.constexpr, taps: tl.constexpr, corners: tl.constexpr, width: tl.constexpr, padded: tl.constexpr,
    along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    total = tl.zeros((block, padded), tl.float32)
    for corner in range(corners):
        row = _row(points, shape, index, inside, corner, dimension, taps)
        weight = _weight(points, directions, shape, index, inside, corner, dimension, taps, along)
        total += weight[:, None] * tl.load(table + row[:, None] * width + lane, mask=wanted, other=0.0)
    tl.store(out + index[:, None] * width + lane, total, mask=wanted)


@triton.jit
def _grid_gradient_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    points, directions, cotangents, shape, gradient, count,
    dimension: tl.constexpr, taps: tl.constexpr, corners: tl.constexpr, width: tl.constexpr, padded: tl.constexpr,
    along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    cotangent = tl.load(cotangents + index[:, None] * width + lane, mask=wanted, other=0.0)
    for corner in range(corners):
        row = _row(points, shape, index, inside, corner, dimension, taps)
        weight = _weight(points, directions, shape, index, inside, corner, dimension, taps, along)
        tl.atomic_add(gradient + row[:, None] * width + lane, weight[:, None] * cotangent, mask=wanted)


@triton.jit
def _point_gradient_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    points, directions, table, cotangents, shape, out, count,
    dimension: tl.constexpr, taps: tl.constexpr, corners: tl.constexpr, width: tl.constexpr, padded: tl.constexpr,
    along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    cotangent = tl.load(cotangents + index[:, None] * width + lane, mask=wanted, other=0.0)
    # Four columns hold the gradient along up to four axes: a tile's side is a power of two.
    column = tl.arange(0, 4)[None, :]
    total = tl.zeros((block, 4), tl.float32)
    for corner in range(corners):
        row = _row(points, shape, index, inside, corner, dimension, taps)
        entry = tl.load(table + row[:, None] * width + lane, mask=wanted, other=0.0)
        strength = tl.sum(entry * cotangent, axis=1)
        for axis in tl.static_range(dimension):
            if along:
                weight = tl.zeros_like(strength)
                for other in tl.static_range(dimension):
                    direction = tl.load(directions + index * dimension + other, mask=inside, other=0.0)
                    mixed = _product(points, shape, index, inside, corner, axis, other, dimension, taps)
                    weight += direction * mixed
            else:
                weight = _product(points, shape, index, inside, corner, axis, -1, dimension, taps)
            total += tl.where(column == axis, (weight * strength)[:, None], 0.0)
    tl.store(out + index[:, None] * dimension + column, total, mask=inside[:, None] & (column < dimension))


def _launch(
    kernel, tensors: tuple[Tensor, ...], directions: Tensor | None, shape: tuple[int, ...], width: int, mode: str
) -> None:
    """Runs a kernel with one program a block of points; ``tensors`` are its inputs, then its output."""
    points, *others, out = tensors
    count, dimension = points.shape
    if count == 0:
        return
    taps = taps_of(mode)
    points = points.detach().contiguous()
    along = directions is not None
    directions = directions.detach().contiguous() if along else points
    inputs = [tensor.detach().contiguous() for tensor in others]
    vertices = torch.tensor(shape, dtype=torch.int32, device=points.device)
    with on_device(points.device):
        kernel[(triton.cdiv(count, BLOCK),)](
            points, directions, *inputs, vertices, out, count,
            dimension=dimension, taps=taps, corners=taps**dimension, width=width,
            padded=triton.next_power_of_2(width), along=along, block=BLOCK,
        )  # fmt: skip


def features(points: Tensor, directions: Tensor | None, grid: Tensor, interpolation: str) -> Tensor:
    """Kernel of `onefield.kernels.dense_grid.dense_grid`."""
    shape, width = tuple(grid.shape[:-1]), grid.shape[-1]
    out = grid.new_empty(points.shape[0], width)
    _launch(_features_kernel, (points, grid, out), directions, shape, width, interpolation)
    return out


def grid_gradient(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, shape: list[int], interpolation: str
) -> Tensor:
    """Kernel of `dense_grid_gradient`."""
    width = cotangents.shape[1]
    gradient = cotangents.new_zeros(*shape, width)
    _launch(_grid_gradient_kernel, (points, cotangents, gradient), directions, tuple(shape), width, interpolation)
    return gradient


def point_gradient(
    points: Tensor, directions: Tensor | None, grid: Tensor, cotangents: Tensor, interpolation: str
) -> Tensor:
    """Kernel of `dense_grid_point_gradient`."""
    shape, width = tuple(grid.shape[:-1]), grid.shape[-1]
    out = torch.empty_like(points, memory_format=torch.contiguous_format)
    _launch(_point_gradient_kernel, (points, grid, cotangents, out), directions, shape, width, interpolation)
    return out
