"""Triton twin of `onefield.kernels.hash_grid`.

The table's gradient is added atomically, so its last digits depend on the order in which the card runs its blocks.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.hash_grid import HashGridLayout

BLOCK = 128


@triton.jit
def _place(points, index, inside, axis: tl.constexpr, dimension: tl.constexpr, cells):
    """Lower vertex, fraction and derivative of the position by the coordinate, along one axis."""
    x = tl.load(points + index * dimension + axis, mask=inside, other=0.0)
    position = tl.minimum(tl.maximum(x, 0.0), 1.0) * cells
    lower = tl.minimum(tl.floor(position), cells - 1.0)
    fraction = tl.where(x == x, position - lower, x)
    slope = tl.where((x >= 0.0) & (x <= 1.0), cells * 1.0, 0.0)
    return lower.to(tl.uint32), fraction, slope


@triton.jit
def _row(points, index, inside, corner: tl.constexpr, dimension: tl.constexpr, cells, offset, size, hashed):
    """Table row of one corner of each point's cell; the primes are `onefield.kernels.hash_grid.PRIMES`."""
    mixed = tl.zeros_like(index).to(tl.uint32)
    dense = mixed
    stride = tl.full((), 1, tl.uint32)
    for axis in tl.static_range(dimension):
        lower, _, _ = _place(points, index, inside, axis, dimension, cells)
        vertex = lower + tl.full((), (corner >> axis) & 1, tl.uint32)
        if axis == 0:
            prime = tl.full((), 1, tl.uint32)
        elif axis == 1:
            prime = tl.full((), 2654435761, tl.uint32)
        elif axis == 2:
            prime = tl.full((), 805459861, tl.uint32)
        else:
            prime = tl.full((), 3674653429, tl.uint32)
        mixed = mixed ^ (vertex * prime)
        dense = dense + vertex * stride
        stride = stride * (cells + 1).to(tl.uint32)
    mixed = mixed & (size - 1).to(tl.uint32)
    return tl.where(hashed != 0, mixed, dense).to(tl.int64) + offset


@triton.jit
def _product(
    points, index, inside, corner: tl.constexpr, once: tl.constexpr, twice: tl.constexpr, dimension: tl.constexpr, cells
):
    """Product over axes of the corner's factors, differentiated along axes ``once`` and ``twice`` (-1 for none)."""
    weight = tl.zeros_like(index).to(tl.float32) + 1.0
    for axis in tl.static_range(dimension):
        _, fraction, slope = _place(points, index, inside, axis, dimension, cells)
        if (axis == once) or (axis == twice):  # noqa: SIM109 - Triton has no `in`
            weight *= slope if (corner >> axis) & 1 else -slope
        else:
            weight *= fraction if (corner >> axis) & 1 else 1.0 - fraction
    return weight


@triton.jit
def _weight(
    points, directions, index, inside, corner: tl.constexpr, dimension: tl.constexpr, along: tl.constexpr, cells
):
    if along:
        weight = tl.zeros_like(index).to(tl.float32)
        for axis in tl.static_range(dimension):
            direction = tl.load(directions + index * dimension + axis, mask=inside, other=0.0)
            weight += direction * _product(points, index, inside, corner, axis, -1, dimension, cells)
    else:
        weight = _product(points, index, inside, corner, -1, -1, dimension, cells)
    return weight


@triton.jit
def _features_kernel(
    points, directions, table, plan, out, count, levels,
    dimension: tl.constexpr, width: tl.constexpr, padded: tl.constexpr, along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    level = tl.program_id(1)
    cells, offset = tl.load(plan + 4 * level), tl.load(plan + 4 * level + 1)
    size, hashed = tl.load(plan + 4 * level + 2), tl.load(plan + 4 * level + 3)
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    total = tl.zeros((block, padded), tl.float32)
    for corner in tl.static_range(2**dimension):
        row = _row(points, index, inside, corner, dimension, cells, offset, size, hashed)
        weight = _weight(points, directions, index, inside, corner, dimension, along, cells)
        total += weight[:, None] * tl.load(table + row[:, None] * width + lane, mask=wanted, other=0.0)
    tl.store(out + index[:, None] * (levels * width) + level * width + lane, total, mask=wanted)


@triton.jit
def _table_gradient_kernel(
    points, directions, cotangents, plan, gradient, count, levels,
    dimension: tl.constexpr, width: tl.constexpr, padded: tl.constexpr, along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    level = tl.program_id(1)
    cells, offset = tl.load(plan + 4 * level), tl.load(plan + 4 * level + 1)
    size, hashed = tl.load(plan + 4 * level + 2), tl.load(plan + 4 * level + 3)
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    place = index[:, None] * (levels * width) + level * width + lane
    cotangent = tl.load(cotangents + place, mask=wanted, other=0.0)
    for corner in tl.static_range(2**dimension):
        row = _row(points, index, inside, corner, dimension, cells, offset, size, hashed)
        weight = _weight(points, directions, index, inside, corner, dimension, along, cells)
        tl.atomic_add(gradient + row[:, None] * width + lane, weight[:, None] * cotangent, mask=wanted)


@triton.jit
def _point_gradient_kernel(  # noqa: PLR0913 - a launch passes plain numbers
    points, directions, table, cotangents, plan, out, count, levels,
    dimension: tl.constexpr, width: tl.constexpr, padded: tl.constexpr, along: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    lane = tl.arange(0, padded)[None, :]
    wanted = inside[:, None] & (lane < width)
    # Four columns hold the gradient along up to four axes: a tile's side is a power of two.
    column = tl.arange(0, 4)[None, :]
    total = tl.zeros((block, 4), tl.float32)
    for level in range(levels):
        cells, offset = tl.load(plan + 4 * level), tl.load(plan + 4 * level + 1)
        size, hashed = tl.load(plan + 4 * level + 2), tl.load(plan + 4 * level + 3)
        place = index[:, None] * (levels * width) + level * width + lane
        cotangent = tl.load(cotangents + place, mask=wanted, other=0.0)
        for corner in tl.static_range(2**dimension):
            row = _row(points, index, inside, corner, dimension, cells, offset, size, hashed)
            entry = tl.load(table + row[:, None] * width + lane, mask=wanted, other=0.0)
            strength = tl.sum(entry * cotangent, axis=1)
            for axis in tl.static_range(dimension):
                if along:
                    weight = tl.zeros_like(strength)
                    for other in tl.static_range(dimension):
                        if other != axis:
                            direction = tl.load(directions + index * dimension + other, mask=inside, other=0.0)
                            weight += direction * _product(points, index, inside, corner, axis, other, dimension, cells)
                else:
                    weight = _product(points, index, inside, corner, axis, -1, dimension, cells)
                total += tl.where(column == axis, (weight * strength)[:, None], 0.0)
    tl.store(out + index[:, None] * dimension + column, total, mask=inside[:, None] & (column < dimension))


@lru_cache(maxsize=64)
def _plan(layout: HashGridLayout, device: torch.device) -> Tensor:
    """Cells, offset, size and whether hashed, level after level."""
    rows = zip(layout.resolutions, layout.offsets, layout.sizes, layout.hashed, strict=True)
    return torch.tensor([[int(number) for number in row] for row in rows], dtype=torch.int32, device=device)


def _launch(kernel, tensors: tuple[Tensor, ...], directions: Tensor | None, layout, width: int, by_level: bool) -> None:
    """Runs a kernel with one program a block of points (and level); ``tensors`` are its inputs, then its output."""
    points, *others, out = tensors
    count = points.shape[0]
    if count == 0:
        return
    grid = (triton.cdiv(count, BLOCK), layout.levels if by_level else 1)
    points = points.detach().contiguous()
    along = directions is not None
    directions = directions.detach().contiguous() if along else points
    inputs = [tensor.detach().contiguous() for tensor in others]
    with on_device(points.device):
        kernel[grid](
            points, directions, *inputs, _plan(layout, points.device), out, count, layout.levels,
            dimension=layout.dimension, width=width, padded=triton.next_power_of_2(width), along=along, block=BLOCK,
        )  # fmt: skip


def features(
    points: Tensor, directions: Tensor | None, table: Tensor, resolutions: list[int], log2_table_size: int
) -> Tensor:
    """Kernel of `onefield.kernels.hash_grid.hash_grid`."""
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    out = table.new_empty(points.shape[0], layout.levels * table.shape[1])
    _launch(_features_kernel, (points, table, out), directions, layout, table.shape[1], True)
    return out


def table_gradient(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, resolutions: list[int], log2_table_size: int
) -> Tensor:
    """Kernel of `hash_grid_table_gradient`."""
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    width = cotangents.shape[1] // layout.levels
    gradient = cotangents.new_zeros(layout.entries, width)
    _launch(_table_gradient_kernel, (points, cotangents, gradient), directions, layout, width, True)
    return gradient


def point_gradient(
    points: Tensor,
    directions: Tensor | None,
    table: Tensor,
    cotangents: Tensor,
    resolutions: list[int],
    log2_table_size: int,
) -> Tensor:
    """Kernel of `hash_grid_point_gradient`."""
    layout = HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)
    out = torch.empty_like(points, memory_format=torch.contiguous_format)
    _launch(_point_gradient_kernel, (points, table, cotangents, out), directions, layout, table.shape[1], False)
    return out
