"""Numba twin of `onefield.kernels.march`: one ray at a time, from one empty block to the next."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.march import Lattice

# Rays that one task marches; their samples lie together until all counts are known.
BLOCK = 64
# Part of a step by which intervals may lie before the border of an empty block and still be looked at: far above the
# rounding of step counts up to 1e6 in float64 of positions from float32 rays, and rarely in the way.
ROUNDING = 2.0**-8
# Room for samples before they are packed; more rays are marched in several rounds. Only what is written costs memory.
SCRATCH_BYTES = 2**26


@njit(cache=True, inline="always")
def _steps(t, lattice):
    if t <= lattice[2]:
        return t * lattice[7]
    if t <= lattice[3]:
        return lattice[4] + math.log(t / lattice[2]) / lattice[6]
    return lattice[5] + (t - lattice[3]) / lattice[1]


@njit(cache=True, inline="always")
def _distance(u, lattice):
    if u <= lattice[4]:
        return u * lattice[0]
    if u <= lattice[5]:
        return lattice[2] * math.exp(lattice[6] * (u - lattice[4]))
    return lattice[3] + (u - lattice[5]) * lattice[1]


@njit(cache=True, inline="always")
def _entry(origin, inverse, limit):
    """Distance at which a ray comes between the planes at -limit and limit of an axis; -inf if it is always there."""
    return -(limit + origin) * inverse if inverse > 0.0 else (limit - origin) * inverse


@njit(cache=True, inline="always")
def _exit(origin, inverse, limit):
    """Distance at which a ray leaves the space between the planes at -limit and limit; inf if it never does."""
    return (limit - origin) * inverse if inverse > 0.0 else -(limit + origin) * inverse


@njit(cache=True, inline="always")
def _block_exit(origin, inverse, bits, cell, scale, half):
    """Distance at which a ray leaves the aligned block of ``2^bits`` cells around ``cell`` along one axis."""
    border = cell >> bits
    if inverse > 0.0:
        border += 1
    return (((border << bits) - half) * scale - origin) * inverse


@njit(cache=True, inline="always")
def _inverse(slope):
    """Reciprocal; +inf for 0, so that such an axis is never left: its exits are (upper border - origin) * inf."""
    return 1.0 / slope if slope != 0.0 else math.inf


@njit(cache=True, inline="always")
def _misses(origin, slope, limit):
    """Whether a ray stays beyond the planes at -limit and limit, running along them."""
    return slope == 0.0 and abs(origin) >= limit


@njit(cache=True, error_model="numpy")
def _march_ray(origin, slope, limits, blocks, lattice, most, starts, ends, written):
    """Marches one ray in finest cells from the region's centre; returns how many samples it wrote."""
    (ox, oy, oz), (dx, dy, dz), (near, far, shift) = origin, slope, limits
    levels, side = blocks.shape[0], blocks.shape[1]
    half = side * 0.5
    limit = half * 2.0 ** (levels - 1)
    if _misses(ox, dx, limit) or _misses(oy, dy, limit) or _misses(oz, dz, limit):
        return 0
    ix, iy, iz = _inverse(dx), _inverse(dy), _inverse(dz)
    enter = max(near, max(_entry(ox, ix, limit), max(_entry(oy, iy, limit), _entry(oz, iz, limit))))
    leave = min(far, min(_exit(ox, ix, limit), min(_exit(oy, iy, limit), _exit(oz, iz, limit))))
    if not enter < leave:
        return 0
    u = _steps(near, lattice) + shift
    # the first interval with its midpoint beyond a border, but for rounding; in growing steps the midpoint lies a
    # little (growth / 8 of a step) beyond half the step count
    early = 0.5 + ROUNDING + lattice[6] * 0.125
    k = max(0.0, math.ceil(_steps(enter, lattice) - u - early))
    begin = _distance(u + k, lattice)
    count = 0
    while begin < leave and count < most:
        following = _distance(u + k + 1.0, lattice)
        end = min(following, far)
        middle = (begin + end) * 0.5
        x, y, z = ox + dx * middle, oy + dy * middle, oz + dz * middle
        reach = max(abs(x), max(abs(y), abs(z)))
        level, scale, finer = 0, 1.0, 1.0
        while level < levels and not reach < half * scale:
            level += 1
            scale *= 2.0
            finer *= 0.5
        if level < levels:
            i = min(side - 1, int(x * finer + half))
            j = min(side - 1, int(y * finer + half))
            m = min(side - 1, int(z * finer + half))
            bits = int(blocks[level, i, j, m]) - 1
            if bits < 0:
                starts[written + count] = begin
                ends[written + count] = end
                count += 1
            else:
                out = _block_exit(ox, ix, bits, i, scale, half)
                out = min(out, _block_exit(oy, iy, bits, j, scale, half))
                out = min(out, _block_exit(oz, iz, bits, m, scale, half))
                if out >= leave:
                    break
                target = math.ceil(_steps(out, lattice) - u - early)
                if target > k + 1.0:
                    k = target
                    begin = _distance(u + k, lattice)
                    continue
        k += 1.0
        begin = following
    return count


@njit(
    "void(float32[:,::1],float32[:,::1],float32[::1],float32[::1],float32[::1],uint8[:,:,:,::1],float64[:,::1],"
    "float64[::1],int64,float32[:,::1],float32[:,::1],int64[::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _march(origins, directions, near, far, jitter, blocks, frame, lattice, most, starts, ends, counts):
    rays = near.shape[0]
    for block in prange((rays + BLOCK - 1) // BLOCK):
        written = 0
        for ray in range(block * BLOCK, min(rays, (block + 1) * BLOCK)):
            shift = np.float64(jitter[ray]) if jitter.shape[0] else 0.0
            origin = (
                (np.float64(origins[ray, 0]) - frame[0, 0]) * frame[1, 0],
                (np.float64(origins[ray, 1]) - frame[0, 1]) * frame[1, 1],
                (np.float64(origins[ray, 2]) - frame[0, 2]) * frame[1, 2],
            )
            slope = (
                np.float64(directions[ray, 0]) * frame[1, 0],
                np.float64(directions[ray, 1]) * frame[1, 1],
                np.float64(directions[ray, 2]) * frame[1, 2],
            )
            limits = (np.float64(near[ray]), np.float64(far[ray]), shift)
            count = _march_ray(origin, slope, limits, blocks, lattice, most, starts[block], ends[block], written)
            counts[ray] = count
            written += count


@njit(
    "void(float32[:,::1],float32[:,::1],int64[::1],int64,int64[::1],float32[::1],float32[::1])",
    parallel=True,
    cache=True,
)
def _pack(scratch_starts, scratch_ends, offsets, first_ray, indices, starts, ends):
    """Moves each task's samples to their place; ``offsets`` are of the rays of this round."""
    rays = offsets.shape[0] - 1
    for block in prange((rays + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        base = offsets[first]
        for ray in range(first, min(rays, first + BLOCK)):
            for target in range(offsets[ray], offsets[ray + 1]):
                indices[target - offsets[0]] = first_ray + ray
                starts[target - offsets[0]] = scratch_starts[block, target - base]
                ends[target - offsets[0]] = scratch_ends[block, target - base]


def _array(tensor: Tensor):
    return tensor.detach().contiguous().numpy()


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
    parts_of_plan = (plan.smallest, plan.largest, plan.t1, plan.t2, plan.u1, plan.u2, plan.growth, 1 / plan.smallest)
    lattice = np.array(parts_of_plan)
    low, high = np.array(lower), np.array(upper)
    frame = np.stack([(low + high) / 2, blocks.shape[1] / (high - low)])
    rays = near.shape[0]
    origins, directions, near, far, blocks = (_array(t) for t in (origins, directions, near, far, blocks))
    shifts = np.empty(0, np.float32) if jitter is None else _array(jitter)
    offsets = torch.zeros(rays + 1, dtype=torch.int64)
    tasks = max(1, SCRATCH_BYTES // (2 * 4 * BLOCK * most_samples))
    counts = np.empty(rays, np.int64)
    parts = []
    for first in range(0, rays, tasks * BLOCK):
        round_ = slice(first, min(rays, first + tasks * BLOCK))
        shape = (-(-(round_.stop - first) // BLOCK), BLOCK * most_samples)
        # not from NumPy: it asks for huge pages, whose clearing takes longer than marching
        scratch = torch.empty(shape).numpy(), torch.empty(shape).numpy()
        _march(
            origins[round_],
            directions[round_],
            near[round_],
            far[round_],
            shifts[round_] if len(shifts) else shifts,
            blocks,
            frame,
            lattice,
            most_samples,
            *scratch,
            counts[round_],
        )
        ends_of_rays = offsets.numpy()[first : round_.stop + 1]
        np.cumsum(counts[round_], out=ends_of_rays[1:])
        ends_of_rays[1:] += ends_of_rays[0]
        total = int(ends_of_rays[-1] - ends_of_rays[0])
        packed = torch.empty(total, dtype=torch.int64), torch.empty(total), torch.empty(total)
        _pack(*scratch, ends_of_rays, first, *(part.numpy() for part in packed))
        parts.append(packed)
    if len(parts) == 1:
        return (*parts[0], offsets)
    if not parts:
        return torch.empty(0, dtype=torch.int64), torch.empty(0), torch.empty(0), offsets
    return (*(torch.cat(column) for column in zip(*parts, strict=True)), offsets)
