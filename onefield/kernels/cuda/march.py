"""Triton twin of `onefield.kernels.march`: blocks of rays marched together, once to count and once to write.

Arithmetic is float32, so an interval whose midpoint lies within rounding of a cell's border may fall on either side.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.march import Lattice

BLOCK = 64
# Part of a step by which intervals may lie before the border of an empty block and still be looked at: above the
# rounding of step counts up to 1e5 in float32.
_ROUNDING = tl.constexpr(2.0**-4)
_INFINITY = tl.constexpr(float("inf"))


@triton.jit
def _steps(t, lattice, pieces: tl.constexpr):
    smallest, largest, t1, t2, u1, u2, growth = lattice
    u = t / smallest
    if pieces > 1:
        u = tl.where(t <= t1, u, u1 + tl.log(tl.maximum(t, t1) / t1) / growth)
    if pieces > 2:
        u = tl.where(t <= t2, u, u2 + (t - t2) / largest)
    return u


@triton.jit
def _distance(u, lattice, pieces: tl.constexpr):
    smallest, largest, t1, t2, u1, u2, growth = lattice
    t = u * smallest
    if pieces > 1:
        t = tl.where(u <= u1, t, t1 * tl.exp(growth * tl.maximum(u - u1, 0.0)))
    if pieces > 2:
        t = tl.where(u <= u2, t, t2 + (u - u2) * largest)
    return t


@triton.jit
def _axis(origins, directions, frame, ray, inside, axis: tl.constexpr):
    """Origin, slope and its reciprocal in finest cells from the region's centre."""
    scale = tl.load(frame + 3 + axis)
    origin = (tl.load(origins + ray * 3 + axis, mask=inside, other=0.0) - tl.load(frame + axis)) * scale
    slope = tl.load(directions + ray * 3 + axis, mask=inside, other=0.0) * scale
    # +inf for 0, so that such an axis is never left: its exits are (upper border - origin) * inf
    return origin, slope, tl.where(slope == 0.0, _INFINITY, 1.0 / slope)


@triton.jit
def _between(origin, slope, inverse, limit):
    """Distances at which a ray enters and leaves the space between the planes at -limit and limit."""
    low = -(limit + origin) * inverse
    high = (limit - origin) * inverse
    misses = (slope == 0.0) & (tl.abs(origin) >= limit)
    enter = tl.where(inverse > 0.0, low, high)
    return tl.where(misses, _INFINITY, enter), tl.where(inverse > 0.0, high, low)


@triton.jit
def _cell(place, scale, half, side):
    return tl.minimum(tl.maximum((place / scale + half).to(tl.int32), 0), side - 1)


@triton.jit
def _block_exit(origin, inverse, bits, cell, scale, half):
    border = ((cell >> bits) + tl.where(inverse > 0.0, 1, 0)) << bits
    return ((border.to(tl.float32) - half) * scale - origin) * inverse


@triton.jit
def _enter_and_leave(x, y, z, near, far, limit):
    """Where rays, given as (origin, slope, reciprocal) on each axis, are inside the coarsest level."""
    ax, bx = _between(x[0], x[1], x[2], limit)
    ay, by = _between(y[0], y[1], y[2], limit)
    az, bz = _between(z[0], z[1], z[2], limit)
    enter = tl.maximum(near, tl.maximum(ax, tl.maximum(ay, az)))
    leave = tl.minimum(far, tl.minimum(bx, tl.minimum(by, bz)))
    # NaN has no place anywhere
    total = x[0] + y[0] + z[0] + x[1] + y[1] + z[1]
    return enter, tl.where(total == total, leave, -_INFINITY)


@triton.jit
def _look_up(x, y, z, middle, blocks, active, levels: tl.constexpr, side: tl.constexpr):
    """Whether the grid holds each place, what it says there, and where the empty block around it is left."""
    half = side * 0.5
    px = x[0] + x[1] * middle
    py = y[0] + y[1] * middle
    pz = z[0] + z[1] * middle
    reach = tl.maximum(tl.abs(px), tl.maximum(tl.abs(py), tl.abs(pz)))
    level = tl.zeros_like(reach).to(tl.int32)
    scale = tl.zeros_like(reach) + 1.0
    for _ in tl.static_range(levels - 1):
        beyond = reach >= half * scale
        level = tl.where(beyond, level + 1, level)
        scale = tl.where(beyond, scale * 2.0, scale)
    known = active & (reach < half * scale)
    i = _cell(px, scale, half, side)
    j = _cell(py, scale, half, side)
    m = _cell(pz, scale, half, side)
    place = ((level * side + i) * side + j).to(tl.int64) * side + m
    state = tl.load(blocks + place, mask=known, other=1).to(tl.int32)
    bits = tl.maximum(state - 1, 0)
    out = _block_exit(x[0], x[2], bits, i, scale, half)
    out = tl.minimum(out, _block_exit(y[0], y[2], bits, j, scale, half))
    return known, state, tl.minimum(out, _block_exit(z[0], z[2], bits, m, scale, half))


@triton.jit
def _march_kernel(
    rays,
    blocks,
    frame,
    results,
    ray_count,
    most,
    lattice,
    levels: tl.constexpr,
    side: tl.constexpr,
    pieces: tl.constexpr,
    write: tl.constexpr,
    block: tl.constexpr,
):
    origins, directions, nears, fars, jitters = rays
    counts, offsets, indices, starts, ends = results
    ray = tl.program_id(0) * block + tl.arange(0, block)
    inside = ray < ray_count
    x = _axis(origins, directions, frame, ray, inside, 0)
    y = _axis(origins, directions, frame, ray, inside, 1)
    z = _axis(origins, directions, frame, ray, inside, 2)
    near = tl.load(nears + ray, mask=inside, other=0.0)
    far = tl.load(fars + ray, mask=inside, other=0.0)
    enter, leave = _enter_and_leave(x, y, z, near, far, side * 0.5 * (1 << (levels - 1)))
    u = _steps(near, lattice, pieces) + tl.load(jitters + ray, mask=inside, other=0.0)
    early = 0.5 + _ROUNDING + lattice[6] * 0.125
    k = tl.maximum(tl.ceil(_steps(enter, lattice, pieces) - u - early), 0.0)
    begin = _distance(u + k, lattice, pieces)
    active = inside & (enter < leave) & (begin < leave)
    count = tl.zeros([block], tl.int64)
    target = tl.zeros([block], tl.int64)
    if write:
        target = tl.load(offsets + ray, mask=inside, other=0)
    while tl.max(active.to(tl.int32), 0) > 0:
        following = _distance(u + k + 1.0, lattice, pieces)
        end = tl.minimum(following, far)
        known, state, out = _look_up(x, y, z, (begin + end) * 0.5, blocks, active, levels, side)
        taken = known & (state == 0)
        if write:
            tl.store(indices + target + count, ray.to(tl.int64), mask=taken)
            tl.store(starts + target + count, begin, mask=taken)
            tl.store(ends + target + count, end, mask=taken)
        count = tl.where(taken, count + 1, count)
        skipping = known & (state > 0)
        ahead = tl.ceil(_steps(tl.minimum(out, leave), lattice, pieces) - u - early)
        jump = skipping & (ahead > k + 1.0)
        k = tl.where(jump, ahead, k + 1.0)
        begin = tl.where(jump, _distance(u + k, lattice, pieces), following)
        active = active & ((skipping & (out >= leave)) == 0) & (begin < leave) & (count < most)
    if write == 0:
        tl.store(counts + ray, count, mask=inside)


def march(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    jitter: Tensor | None,
    blocks: Tensor,
    lower: list[float],
    upper: list[float],
    smallest: float,
    cone_angle: float,
    largest: float,
    most_samples: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `onefield.kernels.march`."""
    plan = Lattice.plan(smallest, cone_angle, largest)
    rays, (levels, side) = near.shape[0], blocks.shape[:2]
    centers = [(low + high) / 2 for low, high in zip(lower, upper, strict=True)]
    densities = [side / (high - low) for low, high in zip(lower, upper, strict=True)]
    frame = torch.tensor(centers + densities, dtype=torch.float32, device=near.device)
    shifts = torch.zeros_like(near) if jitter is None else jitter
    inputs = tuple(tensor.detach().contiguous() for tensor in (origins, directions, near, far, shifts))
    grid = blocks.contiguous()
    offsets = torch.zeros(rays + 1, dtype=torch.int64, device=near.device)
    counts = torch.zeros(rays, dtype=torch.int64, device=near.device)
    pieces = 1 + (plan.growth > 0) + (plan.growth > 0 and math.isfinite(plan.t2))
    # pieces that begin at infinity are left out of the kernel
    numbers = (plan.smallest, plan.largest, plan.t1, plan.t2, plan.u1, plan.u2, plan.growth)
    lattice = tuple(number if math.isfinite(number) else 0.0 for number in numbers)

    def launch(packed: tuple[Tensor, Tensor, Tensor], write: bool) -> None:
        results = (counts, offsets, *packed)
        with on_device(near.device):
            _march_kernel[(triton.cdiv(rays, BLOCK),)](
                inputs, grid, frame, results, rays, most_samples, lattice, levels, side, pieces, write, BLOCK,
                num_warps=2,
            )  # fmt: skip

    if rays:
        # nothing is written while counting: any pointers will do
        launch((offsets, near, near), False)
        torch.cumsum(counts, 0, out=offsets[1:])
    total = int(offsets[-1])
    indices = torch.empty(total, dtype=torch.int64, device=near.device)
    packed = (indices, near.new_empty(total), near.new_empty(total))
    if total:
        launch(packed, True)
    return (*packed, offsets)
