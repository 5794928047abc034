"""Numba twin of `onefield.kernels.gaussian_ray_casting`: a ray at a time, a slab at a time, its samples as one vector.

Gradients take the same way as the colours: what lies behind a sample is the whole sum less what came before. A ray
writes what a Gaussian's exponent and colour earned into a slot of its own; afterwards each ray, and each Gaussian,
sums over its slots. So nothing is written from two sides, and results don't depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.exponential import LOWEST, exp2
from onefield.kernels.cpu.gaussian_ray_gradients import SLOT, gaussians_backward, rays_backward, sort_slots
from onefield.kernels.cpu.gaussian_ray_march import (
    AMPLITUDE,
    COLOR,
    CUT,
    FACTOR,
    FAR,
    FAST,
    HELD,
    PACKED,
    PEAK,
    REACH,
    ROWS,
    SPAN,
    enter_slab,
    leave_slab,
    skip_to,
    start_ray,
)
from onefield.kernels.gaussian_ray_casting import SLAB
from onefield.kernels.harmonic_colors import SHIFT

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_SHIFT = np.float32(SHIFT)
# A ray's work: density and colour of a slab's samples, then what a unit of density, and of each colour, earns there;
# and the samples' numbers, since the compiler's vectors can't turn integers of 64 bits into floats.
_RED, _GREEN, _BLUE, _EARNED, _FOR_RED, _FOR_GREEN, _FOR_BLUE, _NUMBERS, _WORK = (SLAB * part for part in range(1, 10))
# Gaussians that a ray has room for at first.
_ROOM = 256
# Rays that a thread takes at a time.
_CHUNK = 32

_PARTS = "float32[:,::1],float32[:,:,::1],float32[:,:,::1]"
_RAYS = "float32[:,::1],float32[:,::1],float32[:,::1],float32[::1],float32[::1]"
_TREE = "int32[::1],float32[:,::1]"
_MARCH = "float32,float32,float32"


@njit(fastmath=FAST, error_model="numpy")
def _add(work, first, length, held, i):
    """Adds a Gaussian to a slab's samples; ``first`` is the place of the first one from its peak."""
    factor = held[i, FACTOR]
    peak = held[i, PEAK]
    cut = held[i, CUT]
    red = held[i, COLOR]
    green = held[i, COLOR + 1]
    blue = held[i, COLOR + 2]
    for k in range(SLAB):
        apart = first + work[k + _NUMBERS] * length
        squared = apart * apart
        amount = peak * exp2(max(-factor * squared, LOWEST))
        amount = amount if squared < cut else _ZERO
        work[k] += amount
        work[k + _RED] += amount * red
        work[k + _GREEN] += amount * green
        work[k + _BLUE] += amount * blue


@njit(fastmath=FAST, error_model="numpy")
def _earn(work, first, length, held, i, share):
    """Adds what a Gaussian earned at a slab's samples to its slot."""
    factor = held[i, FACTOR]
    peak = held[i, PEAK]
    cut = held[i, CUT]
    red = held[i, COLOR]
    green = held[i, COLOR + 1]
    blue = held[i, COLOR + 2]
    s0 = _ZERO
    s1 = _ZERO
    s2 = _ZERO
    s3 = _ZERO
    s4 = _ZERO
    s5 = _ZERO
    for k in range(SLAB):
        apart = first + work[k + _NUMBERS] * length
        squared = apart * apart
        amount = peak * exp2(max(-factor * squared, LOWEST))
        amount = amount if squared < cut else _ZERO
        f0 = work[k + _FOR_RED]
        f1 = work[k + _FOR_GREEN]
        f2 = work[k + _FOR_BLUE]
        gain = amount * (work[k + _EARNED] + red * f0 + green * f1 + blue * f2)
        s0 += gain
        s1 += gain * apart
        s2 += gain * squared
        s3 += amount * f0
        s4 += amount * f1
        s5 += amount * f2
    share[0] += s0
    share[1] += s1
    share[2] += s2
    share[3] += s3
    share[4] += s4
    share[5] += s5


@njit(error_model="numpy")
def _see(work, begin, length, end, passing, early_stop, thresholds, sums, quantiles):
    """Composites a slab; gives what it lets through and at how many of its samples there was anything."""
    looks = 0
    for k in range(SLAB):
        place = begin + (work[k + _NUMBERS] + _HALF) * length
        if place >= end or passing < early_stop:
            break
        density = work[k]
        if not density > _ZERO:
            continue
        looks += 1
        thickness = density * length
        weight = passing * -math.expm1(-thickness)
        for c in range(3):
            sums[c] += weight * max(_ZERO, _SHIFT + work[k + (c + 1) * SLAB] / density)
        sums[3] += weight * place
        sums[4] += weight
        after = passing * math.exp(-thickness)
        for q in range(thresholds.shape[0]):
            if after <= thresholds[q] and quantiles[q] == FAR:
                quantiles[q] = place - _HALF * length + math.log(passing / thresholds[q]) / density
        passing = after
    return passing, looks


@njit(error_model="numpy")
def _value(work, begin, length, end, passing, early_stop, slopes, whole, before):
    """What density and colour at each sample of a slab earn; gives what passes, and what was earned so far."""
    for k in range(SLAB):
        work[k + _EARNED] = _ZERO
        work[k + _FOR_RED] = _ZERO
        work[k + _FOR_GREEN] = _ZERO
        work[k + _FOR_BLUE] = _ZERO
    for k in range(SLAB):
        place = begin + (work[k + _NUMBERS] + _HALF) * length
        if place >= end or passing < early_stop:
            break
        density = work[k]
        if not density > _ZERO:
            continue
        thickness = density * length
        weight = passing * -math.expm1(-thickness)
        value = slopes[3] * place + slopes[4]
        lost = _ZERO
        for c in range(3):
            mean = work[k + (c + 1) * SLAB] / density
            if _SHIFT + mean > _ZERO:
                value += slopes[c] * (_SHIFT + mean)
                lost += slopes[c] * mean
                work[k + _EARNED + (c + 1) * SLAB] = slopes[c] * weight / density
        before += weight * value
        passing *= math.exp(-thickness)
        work[k + _EARNED] = length * (passing * value - (whole - before)) - weight / density * lost
    return passing, before


@njit(error_model="numpy")
def _cast_ray(  # noqa: PLR0913 - compiled
    r, ray, work, held, names, rays, tree, gaussians, thresholds, march, sums, quantiles, counts
):
    origins, directions, basis, starts, ends = rays
    step, cone, early_stop = march
    start_ray(ray, origins, directions, r)
    begin = starts[r]
    end = ends[r]
    passing = _ONE
    count = 0
    slot = 0
    looks = 0
    while begin < end and passing >= early_stop:
        length = max(step, cone * begin)
        count = leave_slab(begin, held, names, count)
        held, names, count, slot, upcoming = enter_slab(
            ray, basis[r], begin, begin + SPAN * length, tree, gaussians, held, names, count, slot
        )
        if count == 0:
            if not upcoming < end:
                break
            begin = skip_to(begin, upcoming, step, cone)
            continue
        work[:_EARNED] = _ZERO
        for i in range(count):
            _add(work, begin + _HALF * length - held[i, 0], length, held, i)
        passing, seen = _see(work, begin, length, end, passing, early_stop, thresholds, sums, quantiles)
        looks += seen
        begin += SPAN * length
    counts[0] = slot
    counts[1] = looks
    return held, names


@njit(
    f"void({_RAYS},{_PARTS},{_TREE},float32[::1],{_MARCH},float32[:,::1],float32[:,::1],int32[:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _cast(  # noqa: PLR0913 - compiled
    origins, directions, basis, starts, ends, packed, harmonics, lobes, order, boxes, thresholds, step, cone,
    early_stop, sums, quantiles, counts,
):  # fmt: skip
    rays = origins.shape[0]
    for chunk in prange((rays + _CHUNK - 1) // _CHUNK):
        ray = np.empty(9, np.float32)
        work = np.arange(-_NUMBERS, SLAB).astype(np.float32)
        held = np.empty((_ROOM, HELD), np.float32)
        names = np.empty((_ROOM, 2), np.int64)
        for r in range(chunk * _CHUNK, min(rays, (chunk + 1) * _CHUNK)):
            held, names = _cast_ray(
                r, ray, work, held, names, (origins, directions, basis, starts, ends), (order, boxes),
                (packed, harmonics, lobes), thresholds, (step, cone, early_stop), sums[r], quantiles[r], counts[r],
            )  # fmt: skip


@njit(error_model="numpy")
def _share_ray(  # noqa: PLR0913 - compiled
    r, ray, work, held, names, rays, tree, gaussians, march, slopes, whole, slot, owners, shares
):
    origins, directions, basis, starts, ends = rays
    step, cone, early_stop = march
    start_ray(ray, origins, directions, r)
    begin = starts[r]
    end = ends[r]
    passing = _ONE
    before = _ZERO
    count = 0
    while begin < end and passing >= early_stop:
        length = max(step, cone * begin)
        count = leave_slab(begin, held, names, count)
        known = count
        held, names, count, slot, upcoming = enter_slab(
            ray, basis[r], begin, begin + SPAN * length, tree, gaussians, held, names, count, slot
        )
        if count == 0:
            if not upcoming < end:
                break
            begin = skip_to(begin, upcoming, step, cone)
            continue
        for i in range(known, count):
            owners[names[i, 1], 0] = names[i, 0]
            owners[names[i, 1], 1] = r
            shares[names[i, 1]] = _ZERO
        work[:_EARNED] = _ZERO
        for i in range(count):
            _add(work, begin + _HALF * length - held[i, 0], length, held, i)
        passing, before = _value(work, begin, length, end, passing, early_stop, slopes, whole, before)
        for i in range(count):
            _earn(work, begin + _HALF * length - held[i, 0], length, held, i, shares[names[i, 1]])
        begin += SPAN * length
    return held, names


@njit(
    f"void(float32[:,::1],float32[:,::1],int64[::1],{_RAYS},{_PARTS},{_TREE},{_MARCH},int32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _share(  # noqa: PLR0913 - compiled
    for_sums, sums, offsets, origins, directions, basis, starts, ends, packed, harmonics, lobes, order, boxes, step,
    cone, early_stop, owners, shares,
):  # fmt: skip
    rays = origins.shape[0]
    for chunk in prange((rays + _CHUNK - 1) // _CHUNK):
        ray = np.empty(9, np.float32)
        work = np.arange(-_NUMBERS, SLAB).astype(np.float32)
        held = np.empty((_ROOM, HELD), np.float32)
        names = np.empty((_ROOM, 2), np.int64)
        for r in range(chunk * _CHUNK, min(rays, (chunk + 1) * _CHUNK)):
            whole = _ZERO
            for c in range(5):
                whole += for_sums[r, c] * sums[r, c]
            held, names = _share_ray(
                r, ray, work, held, names, (origins, directions, basis, starts, ends), (order, boxes),
                (packed, harmonics, lobes), (step, cone, early_stop), for_sums[r], whole, offsets[r], owners, shares,
            )  # fmt: skip


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _packed(gaussians: Sequence[Tensor], order: Tensor) -> np.ndarray:
    """What a ray looks at first, in the order of the tree; those that are in no box have no reach."""
    means, whitening, amplitudes, reaches, *_ = gaussians
    packed = torch.zeros(len(means), PACKED)
    packed[:, :ROWS] = means
    packed[:, ROWS:AMPLITUDE] = whitening.flatten(1)
    packed[:, AMPLITUDE] = amplitudes
    packed[:, REACH] = reaches.clamp(min=0).square()
    return _array(packed[order.long()])


def cast(
    rays: Sequence[Tensor],
    gaussians: Sequence[Tensor],
    tree: Sequence[Tensor],
    shares: Tensor,
    step: float,
    cone: float,
    early_stop: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `onefield.kernels.gaussian_ray_casting`."""
    count = len(rays[0])
    sums = torch.zeros(count, 5)
    quantiles = torch.full((count, len(shares)), torch.inf)
    counts = torch.zeros(count, 2, dtype=torch.int32)
    _cast(
        *(_array(tensor) for tensor in rays),
        _packed(gaussians, tree[0]),
        *(_array(tensor) for tensor in (*gaussians[4:], *tree, 1 - shares)),
        *(np.float32(number) for number in (step, cone, early_stop)),
        *(tensor.numpy() for tensor in (sums, quantiles, counts)),
    )
    return sums, quantiles, counts


def cast_backward(
    for_sums: Tensor,
    sums: Tensor,
    counts: Tensor,
    rays: Sequence[Tensor],
    gaussians: Sequence[Tensor],
    tree: Sequence[Tensor],
    step: float,
    cone: float,
    early_stop: float,
    for_rays: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of rays (zeros where they are not wanted) and of Gaussians."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(_array(counts)[:, 0], out=offsets[1:])
    owners, shares = np.empty((offsets[-1], 2), np.int32), np.empty((offsets[-1], SLOT), np.float32)
    lines, limits = [_array(tensor) for tensor in rays[:3]], [_array(tensor) for tensor in rays[3:]]
    means, whitening, amplitudes, _, harmonics, lobes = (_array(tensor) for tensor in gaussians)
    _share(
        *(_array(tensor) for tensor in (for_sums, sums)), offsets, *lines, *limits, _packed(gaussians, tree[0]),
        harmonics, lobes, *(_array(tensor) for tensor in tree),
        *(np.float32(number) for number in (step, cone, early_stop)), owners, shares,
    )  # fmt: skip
    slopes = [torch.zeros(line.shape) for line in lines]
    if for_rays:
        rays_backward(
            shares, owners, offsets, *lines[:2], means, whitening, harmonics, lobes, *(s.numpy() for s in slopes)
        )
    firsts, slots = np.zeros(len(means) + 1, np.int64), np.empty(len(owners), np.int32)
    sort_slots(owners, firsts, slots)
    learned = (means, whitening, amplitudes, harmonics, lobes)
    answers = [torch.zeros(values.shape) for values in learned]
    gaussians_backward(shares, owners, firsts, slots, *lines, *learned, *(answer.numpy() for answer in answers))
    return slopes, answers
