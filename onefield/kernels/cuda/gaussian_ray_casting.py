"""Triton twin of `onefield.kernels.gaussian_ray_casting`: a program a ray, with a lane a sample of a slab.

Each slab goes down the tree for itself; nothing is held from one to the next. The gradients of Gaussians are added
atomically, so their last digits depend on the order in which the card runs its rays.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_ray_casting import LOBE, SLAB
from onefield.kernels.gaussian_tree import LEAF
from onefield.kernels.harmonic_colors import SHIFT

_SLAB = tl.constexpr(SLAB)
_LEAF = tl.constexpr(LEAF)
_LOBE = tl.constexpr(LOBE)
_SHIFT = tl.constexpr(SHIFT)


@triton.jit
def _enters(boxes, node, x, y, z, right, down, ahead):
    """Where a ray enters a node's box and where it leaves it; the last three are inverse directions."""
    box = boxes + 6 * node
    enter = -float("inf")
    leave = float("inf")
    first = (tl.load(box) - x) * right
    last = (tl.load(box + 3) - x) * right
    # what is not a number says nothing about the ray and is passed over
    enter = tl.where(tl.minimum(first, last) > enter, tl.minimum(first, last), enter)
    leave = tl.where(tl.maximum(first, last) < leave, tl.maximum(first, last), leave)
    first = (tl.load(box + 1) - y) * down
    last = (tl.load(box + 4) - y) * down
    enter = tl.where(tl.minimum(first, last) > enter, tl.minimum(first, last), enter)
    leave = tl.where(tl.maximum(first, last) < leave, tl.maximum(first, last), leave)
    first = (tl.load(box + 2) - z) * ahead
    last = (tl.load(box + 5) - z) * ahead
    enter = tl.where(tl.minimum(first, last) > enter, tl.minimum(first, last), enter)
    leave = tl.where(tl.maximum(first, last) < leave, tl.maximum(first, last), leave)
    return enter, leave


@triton.jit
def _next(node):
    """The root of the next subtree: up while this is a right child, then to the right; 0 behind the last one."""
    node += 1
    while node % 2 == 0:
        node = node // 2
    return tl.where(node == 1, 0, node)


@triton.jit
def _cross(means, whitening, i, x, y, z, dx, dy, dz):
    """Where a ray comes nearest to a Gaussian, the whitened offset there, and the whitened direction."""
    x -= tl.load(means + 3 * i)
    y -= tl.load(means + 3 * i + 1)
    z -= tl.load(means + 3 * i + 2)
    row = whitening + 9 * i
    v0 = tl.load(row) * dx + tl.load(row + 1) * dy + tl.load(row + 2) * dz
    v1 = tl.load(row + 3) * dx + tl.load(row + 4) * dy + tl.load(row + 5) * dz
    v2 = tl.load(row + 6) * dx + tl.load(row + 7) * dy + tl.load(row + 8) * dz
    u0 = tl.load(row) * x + tl.load(row + 1) * y + tl.load(row + 2) * z
    u1 = tl.load(row + 3) * x + tl.load(row + 4) * y + tl.load(row + 5) * z
    u2 = tl.load(row + 6) * x + tl.load(row + 7) * y + tl.load(row + 8) * z
    speed = v0 * v0 + v1 * v1 + v2 * v2
    peak = -(u0 * v0 + u1 * v1 + u2 * v2) / speed
    x += peak * dx
    y += peak * dy
    z += peak * dz
    u0 = tl.load(row) * x + tl.load(row + 1) * y + tl.load(row + 2) * z
    u1 = tl.load(row + 3) * x + tl.load(row + 4) * y + tl.load(row + 5) * z
    u2 = tl.load(row + 6) * x + tl.load(row + 7) * y + tl.load(row + 8) * z
    return peak, speed, x, y, z, u0, u1, u2, v0, v1, v2


@triton.jit
def _color(basis, harmonics, lobes, i, dx, dy, dz, bands, lobe_count, padded: tl.constexpr, lanes: tl.constexpr):
    """What a Gaussian shows a ray, before the shift."""
    k = tl.arange(0, padded)
    row = harmonics + (i * bands + k) * 3
    red = tl.sum(basis * tl.load(row, mask=k < bands, other=0.0), 0)
    green = tl.sum(basis * tl.load(row + 1, mask=k < bands, other=0.0), 0)
    blue = tl.sum(basis * tl.load(row + 2, mask=k < bands, other=0.0), 0)
    shape, _, lobe, some = _lobes(lobes, i, dx, dy, dz, lobe_count, lanes)
    red += tl.sum(shape * tl.load(lobe + 4, mask=some, other=0.0), 0)
    green += tl.sum(shape * tl.load(lobe + 5, mask=some, other=0.0), 0)
    blue += tl.sum(shape * tl.load(lobe + 6, mask=some, other=0.0), 0)
    return red, green, blue


@triton.jit
def _lobes(lobes, i, dx, dy, dz, lobe_count, lanes: tl.constexpr):
    """Values of a Gaussian's lobes along a ray, cosines less 1, and where the lobes lie."""
    j = tl.arange(0, lanes)
    some = j < lobe_count
    lobe = lobes + (i * lobe_count + j) * _LOBE
    close = tl.load(lobe, mask=some, other=0.0) * dx + tl.load(lobe + 1, mask=some, other=0.0) * dy
    close += tl.load(lobe + 2, mask=some, other=0.0) * dz - 1.0
    shape = tl.where(some, tl.exp(tl.load(lobe + 3, mask=some, other=0.0) * close), 0.0)
    return shape, close, lobe, some


@triton.jit
def _amounts(amplitudes, reaches, i, peak, speed, u0, u1, u2, places):
    """Density of a Gaussian at samples."""
    apart = places - peak
    squared = u0 * u0 + u1 * u1 + u2 * u2 + speed * apart * apart
    reach = tl.maximum(tl.load(reaches + i), 0.0)
    return tl.where(squared < reach * reach, tl.load(amplitudes + i) * tl.exp(-0.5 * squared), 0.0), apart


@triton.jit
def _sum_slab(  # noqa: PLR0913 - compiled
    begin, stop_at, places, x, y, z, dx, dy, dz, basis, gaussians, tree, count, leaves, bands, lobe_count,
    padded: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Density and colours of a slab's samples, and where something may come behind it."""
    means, whitening, amplitudes, reaches, harmonics, lobes = gaussians
    order, boxes = tree
    density = tl.zeros([_SLAB], tl.float32)
    red = tl.zeros([_SLAB], tl.float32)
    green = tl.zeros([_SLAB], tl.float32)
    blue = tl.zeros([_SLAB], tl.float32)
    upcoming = float("inf")
    node = tl.full([], 1, tl.int32)
    while node > 0:
        enter, leave = _enters(boxes, node, x, y, z, 1.0 / dx, 1.0 / dy, 1.0 / dz)
        inside = (enter <= leave) & (leave > begin)
        upcoming = tl.where(inside & (enter >= stop_at), tl.minimum(upcoming, enter), upcoming)
        inside = inside & (enter < stop_at)
        if inside & (node < leaves):
            node = node * 2
        else:
            if inside:
                # those that this slab does not reach may lie in the next
                upcoming = tl.minimum(upcoming, stop_at)
                for member in range(_LEAF):
                    place = (node - leaves) * _LEAF + member
                    if place < count:
                        i = tl.load(order + place)
                        peak, speed, _, _, _, u0, u1, u2, _, _, _ = _cross(means, whitening, i, x, y, z, dx, dy, dz)
                        amount, _ = _amounts(amplitudes, reaches, i, peak, speed, u0, u1, u2, places)
                        # written so that what is not a number is left out
                        if tl.max(amount, 0) > 0.0:
                            r, g, b = _color(basis, harmonics, lobes, i, dx, dy, dz, bands, lobe_count, padded, lanes)
                            density += amount
                            red += amount * r
                            green += amount * g
                            blue += amount * b
            node = _next(node)
    return density, red, green, blue, upcoming


@triton.jit
def _weigh(density, length, passing, early_stop):
    """Weights of a slab's samples, what reaches each and what is left behind it, and whether any gets there."""
    thickness = density * length
    before = passing * tl.exp(-(tl.cumsum(thickness, 0) - thickness))
    reached = before >= early_stop
    weight = tl.where(reached, before * (1.0 - tl.exp(-thickness)), 0.0)
    return weight, before, before * tl.exp(-thickness), reached


@triton.jit
def _load_ray(rays, r, bands, padded: tl.constexpr):
    origins, directions, basis, starts, ends = rays
    k = tl.arange(0, padded)
    row = tl.load(basis + r * bands + k, mask=k < bands, other=0.0)
    x, y, z = tl.load(origins + 3 * r), tl.load(origins + 3 * r + 1), tl.load(origins + 3 * r + 2)
    dx, dy, dz = tl.load(directions + 3 * r), tl.load(directions + 3 * r + 1), tl.load(directions + 3 * r + 2)
    return x, y, z, dx, dy, dz, row, tl.load(starts + r), tl.load(ends + r)


@triton.jit
def _cast_kernel(  # noqa: PLR0913 - compiled
    rays, gaussians, tree, shares, results, step, cone, early_stop, count, leaves, bands, lobe_count, share_count,
    padded: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    sums, quantiles, counts = results
    r = tl.program_id(0)
    x, y, z, dx, dy, dz, basis, begin, end = _load_ray(rays, r, bands, padded)
    lane = tl.arange(0, _SLAB).to(tl.float32) + 0.5
    passing = begin * 0.0 + 1.0
    red, green, blue, depth, opacity = passing * 0.0, passing * 0.0, passing * 0.0, passing * 0.0, passing * 0.0
    looks = tl.zeros([], tl.int32)
    while (begin < end) & (passing >= early_stop):
        length = tl.maximum(step, cone * begin)
        stop_at = begin + _SLAB * length
        places = begin + lane * length
        density, r_sum, g_sum, b_sum, upcoming = _sum_slab(
            begin, stop_at, places, x, y, z, dx, dy, dz, basis, gaussians, tree, count, leaves, bands, lobe_count,
            padded, lanes,
        )  # fmt: skip
        density = tl.where(places < end, density, 0.0)
        weight, before, after, reached = _weigh(density, length, passing, early_stop)
        hit = density > 0.0
        mean = tl.where(hit, density, 1.0)
        red += tl.sum(tl.where(hit, weight * tl.maximum(r_sum / mean + _SHIFT, 0.0), 0.0), 0)
        green += tl.sum(tl.where(hit, weight * tl.maximum(g_sum / mean + _SHIFT, 0.0), 0.0), 0)
        blue += tl.sum(tl.where(hit, weight * tl.maximum(b_sum / mean + _SHIFT, 0.0), 0.0), 0)
        depth += tl.sum(weight * places, 0)
        opacity += tl.sum(weight, 0)
        looks += tl.sum((hit & reached).to(tl.int32), 0)
        for q in range(share_count):
            threshold = 1.0 - tl.load(shares + q)
            crosses = hit & reached & (after <= threshold) & (before > threshold)
            place = places - 0.5 * length + tl.log(before / threshold) / mean
            found = tl.min(tl.where(crosses, place, float("inf")), 0)
            slot = quantiles + r * share_count + q
            tl.store(slot, tl.minimum(tl.load(slot), found))
        passing = tl.min(tl.where(reached, after, passing), 0)
        # on to the next slab, or behind all that are empty
        nothing = tl.max(density, 0) == 0.0
        begin = tl.where(nothing & (upcoming >= end), end, stop_at)
    tl.store(sums + 5 * r, red)
    tl.store(sums + 5 * r + 1, green)
    tl.store(sums + 5 * r + 2, blue)
    tl.store(sums + 5 * r + 3, depth)
    tl.store(sums + 5 * r + 4, opacity)
    tl.store(counts + 2 * r + 1, looks)


@triton.jit
def _add_to_gaussian(
    for_gaussians, gaussians, i, moments, cross, line, basis, bands, lobe_count, padded: tl.constexpr,
    lanes: tl.constexpr,
):  # fmt: skip
    """Adds what one slab of a ray earned with a Gaussian to its gradients; gives what its lobes pull the ray by."""
    for_means, for_whitening, for_amplitudes, for_harmonics, for_lobes = for_gaussians
    whitening, amplitudes, lobes = gaussians[1], gaussians[2], gaussians[5]
    h0, h1, h2, f0, f1, f2 = moments
    peak, x, y, z, u0, u1, u2, v0, v1, v2 = cross
    dx, dy, dz = line
    pull0, pull1, pull2 = h0 * u0 + h1 * v0, h0 * u1 + h1 * v1, h0 * u2 + h1 * v2
    turn0, turn1, turn2 = h1 * u0 + h2 * v0, h1 * u1 + h2 * v1, h1 * u2 + h2 * v2
    axis = tl.arange(0, 4)
    near = axis < 3
    row = whitening + 9 * i + axis
    row0 = tl.load(row, mask=near, other=0.0)
    row1 = tl.load(row + 3, mask=near, other=0.0)
    row2 = tl.load(row + 6, mask=near, other=0.0)
    there = tl.where(axis == 0, x, tl.where(axis == 1, y, z))
    along = tl.where(axis == 0, dx, tl.where(axis == 1, dy, dz))
    shift = row0 * pull0 + row1 * pull1 + row2 * pull2
    tl.atomic_add(for_means + 3 * i + axis, shift, mask=near)
    place = for_whitening + 9 * i + axis
    tl.atomic_add(place, -(pull0 * there + turn0 * along), mask=near)
    tl.atomic_add(place + 3, -(pull1 * there + turn1 * along), mask=near)
    tl.atomic_add(place + 6, -(pull2 * there + turn2 * along), mask=near)
    tl.atomic_add(for_amplitudes + i, h0 / tl.load(amplitudes + i))
    k = tl.arange(0, padded)
    own = for_harmonics + (i * bands + k) * 3
    tl.atomic_add(own, basis * f0, mask=k < bands)
    tl.atomic_add(own + 1, basis * f1, mask=k < bands)
    tl.atomic_add(own + 2, basis * f2, mask=k < bands)
    shape, close, lobe, some = _lobes(lobes, i, dx, dy, dz, lobe_count, lanes)
    earned = tl.load(lobe + 4, mask=some, other=0.0) * f0 + tl.load(lobe + 5, mask=some, other=0.0) * f1
    earned = (earned + tl.load(lobe + 6, mask=some, other=0.0) * f2) * shape
    slot = for_lobes + (i * lobe_count + tl.arange(0, lanes)) * _LOBE
    sharp = earned * tl.load(lobe + 3, mask=some, other=0.0)
    tl.atomic_add(slot, sharp * dx, mask=some)
    tl.atomic_add(slot + 1, sharp * dy, mask=some)
    tl.atomic_add(slot + 2, sharp * dz, mask=some)
    tl.atomic_add(slot + 3, earned * close, mask=some)
    tl.atomic_add(slot + 4, shape * f0, mask=some)
    tl.atomic_add(slot + 5, shape * f1, mask=some)
    tl.atomic_add(slot + 6, shape * f2, mask=some)
    bend = tl.where(axis == 0, tl.sum(sharp * tl.load(lobe, mask=some, other=0.0), 0), 0.0)
    bend += tl.where(axis == 1, tl.sum(sharp * tl.load(lobe + 1, mask=some, other=0.0), 0), 0.0)
    bend += tl.where(axis == 2, tl.sum(sharp * tl.load(lobe + 2, mask=some, other=0.0), 0), 0.0)
    return shift, peak * shift + row0 * turn0 + row1 * turn1 + row2 * turn2 - bend


@triton.jit
def _slopes_slab(  # noqa: PLR0913 - compiled
    begin, stop_at, places, x, y, z, dx, dy, dz, basis, gains, for_gaussians, gaussians, tree, count, leaves, bands,
    lobe_count, for_origin, for_direction, for_basis, padded: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Goes through a slab's Gaussians once more and hands them what they earned; adds up what the ray did."""
    means, whitening, amplitudes, reaches, harmonics, lobes = gaussians
    order, boxes = tree
    earned, for_red, for_green, for_blue = gains
    k = tl.arange(0, padded)
    node = tl.full([], 1, tl.int32)
    while node > 0:
        enter, leave = _enters(boxes, node, x, y, z, 1.0 / dx, 1.0 / dy, 1.0 / dz)
        inside = (enter <= leave) & (leave > begin) & (enter < stop_at)
        if inside & (node < leaves):
            node = node * 2
        else:
            if inside:
                for member in range(_LEAF):
                    place = (node - leaves) * _LEAF + member
                    if place < count:
                        i = tl.load(order + place)
                        peak, speed, tx, ty, tz, u0, u1, u2, v0, v1, v2 = _cross(
                            means, whitening, i, x, y, z, dx, dy, dz
                        )
                        amount, apart = _amounts(amplitudes, reaches, i, peak, speed, u0, u1, u2, places)
                        if tl.max(amount, 0) > 0.0:
                            r, g, b = _color(basis, harmonics, lobes, i, dx, dy, dz, bands, lobe_count, padded, lanes)
                            gain = amount * (earned + r * for_red + g * for_green + b * for_blue)
                            f0 = tl.sum(amount * for_red, 0)
                            f1 = tl.sum(amount * for_green, 0)
                            f2 = tl.sum(amount * for_blue, 0)
                            h0 = tl.sum(gain, 0)
                            h1 = tl.sum(gain * apart, 0)
                            h2 = tl.sum(gain * apart * apart, 0)
                            shift, turn = _add_to_gaussian(
                                for_gaussians, gaussians, i, (h0, h1, h2, f0, f1, f2),
                                (peak, tx, ty, tz, u0, u1, u2, v0, v1, v2), (dx, dy, dz), basis, bands, lobe_count,
                                padded, lanes,
                            )  # fmt: skip
                            for_origin -= shift
                            for_direction -= turn
                            row = harmonics + (i * bands + k) * 3
                            for_basis += f0 * tl.load(row, mask=k < bands, other=0.0)
                            for_basis += f1 * tl.load(row + 1, mask=k < bands, other=0.0)
                            for_basis += f2 * tl.load(row + 2, mask=k < bands, other=0.0)
            node = _next(node)
    return for_origin, for_direction, for_basis


@triton.jit
def _gain(total, hit, mean, slope, weight):
    """What a colour adds to the value of a sample, to what density earns there, and what a unit of it earns."""
    color = total / mean
    lit = hit & (color + _SHIFT > 0.0)
    return (
        tl.where(lit, slope * (color + _SHIFT), 0.0),
        tl.where(lit, slope * color, 0.0),
        tl.where(lit, slope * weight / mean, 0.0),
    )


@triton.jit
def _cast_backward_kernel(  # noqa: PLR0913 - compiled
    for_sums, sums, rays, gaussians, tree, for_rays, for_gaussians, step, cone, early_stop, count, leaves, bands,
    lobe_count, padded: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0)
    x, y, z, dx, dy, dz, basis, begin, end = _load_ray(rays, r, bands, padded)
    lane = tl.arange(0, _SLAB).to(tl.float32) + 0.5
    s0, s1, s2 = tl.load(for_sums + 5 * r), tl.load(for_sums + 5 * r + 1), tl.load(for_sums + 5 * r + 2)
    s3, s4 = tl.load(for_sums + 5 * r + 3), tl.load(for_sums + 5 * r + 4)
    whole = s0 * tl.load(sums + 5 * r) + s1 * tl.load(sums + 5 * r + 1) + s2 * tl.load(sums + 5 * r + 2)
    whole += s3 * tl.load(sums + 5 * r + 3) + s4 * tl.load(sums + 5 * r + 4)
    passing = begin * 0.0 + 1.0
    paid = passing * 0.0
    for_origin = tl.zeros([4], tl.float32)
    for_direction = tl.zeros([4], tl.float32)
    for_basis = tl.zeros([padded], tl.float32)
    while (begin < end) & (passing >= early_stop):
        length = tl.maximum(step, cone * begin)
        stop_at = begin + _SLAB * length
        places = begin + lane * length
        density, r_sum, g_sum, b_sum, upcoming = _sum_slab(
            begin, stop_at, places, x, y, z, dx, dy, dz, basis, gaussians, tree, count, leaves, bands, lobe_count,
            padded, lanes,
        )  # fmt: skip
        density = tl.where(places < end, density, 0.0)
        weight, _, after, reached = _weigh(density, length, passing, early_stop)
        hit = (density > 0.0) & reached
        mean = tl.where(hit, density, 1.0)
        value0, lost0, for_red = _gain(r_sum, hit, mean, s0, weight)
        value1, lost1, for_green = _gain(g_sum, hit, mean, s1, weight)
        value2, lost2, for_blue = _gain(b_sum, hit, mean, s2, weight)
        value = value0 + value1 + value2 + s3 * places + s4
        behind = whole - (paid + tl.cumsum(weight * value, 0))
        earned = length * (after * value - behind) - weight / mean * (lost0 + lost1 + lost2)
        earned = tl.where(hit, earned, 0.0)
        if tl.max(density, 0) > 0.0:
            for_origin, for_direction, for_basis = _slopes_slab(
                begin, stop_at, places, x, y, z, dx, dy, dz, basis, (earned, for_red, for_green, for_blue),
                for_gaussians, gaussians, tree, count, leaves, bands, lobe_count, for_origin, for_direction, for_basis,
                padded, lanes,
            )  # fmt: skip
        paid += tl.sum(weight * value, 0)
        passing = tl.min(tl.where(reached, after, passing), 0)
        nothing = tl.max(density, 0) == 0.0
        begin = tl.where(nothing & (upcoming >= end), end, stop_at)
    origin_slopes, direction_slopes, basis_slopes = for_rays
    axis, k = tl.arange(0, 4), tl.arange(0, padded)
    tl.store(origin_slopes + 3 * r + axis, for_origin, mask=axis < 3)
    tl.store(direction_slopes + 3 * r + axis, for_direction, mask=axis < 3)
    tl.store(basis_slopes + r * bands + k, for_basis, mask=k < bands)


def _plain(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().contiguous() for tensor in tensors)


def _sizes(gaussians: Sequence[Tensor], tree: Sequence[Tensor]) -> tuple[int, ...]:
    """Gaussians, leaves, harmonics and lobes; then the vectors that hold the last two."""
    bands, lobes = gaussians[4].shape[1], gaussians[5].shape[1]
    padded, lanes = triton.next_power_of_2(max(bands, 1)), triton.next_power_of_2(max(lobes, 1))
    return len(gaussians[0]), len(tree[1]) // 2, bands, lobes, padded, lanes


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
    count, origins = len(rays[0]), rays[0]
    sums = origins.new_zeros(count, 5)
    quantiles = origins.new_full((count, len(shares)), torch.inf)
    counts = torch.zeros(count, 2, dtype=torch.int32, device=origins.device)
    *sizes, padded, lanes = _sizes(gaussians, tree)
    if count:
        with on_device(origins.device):
            _cast_kernel[(count,)](
                _plain(rays), _plain(gaussians), _plain(tree), shares, (sums, quantiles, counts), step, cone,
                early_stop, *sizes, len(shares), padded, lanes,
            )  # fmt: skip
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
    """Gradients of rays and Gaussians."""
    slopes = [torch.zeros_like(line) for line in _plain(rays[:3])]
    answers = [torch.zeros_like(part) for part in _plain((*gaussians[:3], *gaussians[4:]))]
    *sizes, padded, lanes = _sizes(gaussians, tree)
    if len(rays[0]):
        with on_device(sums.device):
            _cast_backward_kernel[(len(rays[0]),)](
                *_plain((for_sums, sums)), _plain(rays), _plain(gaussians), _plain(tree), tuple(slopes),
                tuple(answers), step, cone, early_stop, *sizes, padded, lanes,
            )  # fmt: skip
    return slopes, answers
