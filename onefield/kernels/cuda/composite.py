"""Triton twin of `onefield.kernels.composite`: one program a ray, which takes its samples a block at a time."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device

BLOCK = 32
# exp(-80) is the least that float32 holds at full precision; thicker samples would only turn sums into infinity.
_THICKEST = tl.constexpr(80.0)
# Below this, 1 - exp(-x) is its Taylor series to third order, good to 2e-7; above it, the difference is.
_FAINT = tl.constexpr(2.0**-6)


@triton.jit
def _samples(densities, starts, ends, index, inside):
    """Length, middle and optical thickness."""
    start = tl.load(starts + index, mask=inside, other=0.0)
    end = tl.load(ends + index, mask=inside, other=0.0)
    thickness = tl.load(densities + index, mask=inside, other=0.0) * (end - start)
    return end - start, 0.5 * (start + end), tl.where(thickness > _THICKEST, _THICKEST, thickness)


@triton.jit
def _opacity(thickness):
    series = thickness * (1.0 - thickness * (0.5 - thickness * (1.0 / 6.0)))
    return tl.where(thickness < _FAINT, series, 1.0 - tl.exp(-thickness))


@triton.jit
def _composite_kernel(samples, early_stop, results, channels: tl.constexpr, columns: tl.constexpr, block: tl.constexpr):
    densities, colors, starts, ends, offsets = samples
    weights, color, depth, opacity = results
    ray = tl.program_id(0)
    first = tl.load(offsets + ray)
    last = tl.load(offsets + ray + 1)
    column = tl.arange(0, columns)
    ahead = 0.0
    total_color = tl.zeros([columns], tl.float32)
    total_depth = 0.0
    total = 0.0
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        inside = index < last
        _, middle, thickness = _samples(densities, starts, ends, index, inside)
        before = tl.exp(-(ahead + tl.cumsum(thickness, 0) - thickness))
        # not kept where it is below, so that values that are not numbers go on
        weight = tl.where(before < early_stop, 0.0, before * _opacity(thickness))
        tl.store(weights + index, weight, mask=inside)
        ahead += tl.sum(thickness, 0)
        total += tl.sum(weight, 0)
        total_depth += tl.sum(weight * middle, 0)
        if channels > 0:
            held = inside[:, None] & (column < channels)[None, :]
            value = tl.load(colors + index[:, None] * channels + column[None, :], mask=held, other=0.0)
            total_color += tl.sum(weight[:, None] * value, 0)
    if channels > 0:
        tl.store(color + ray * channels + column, total_color, mask=column < channels)
        tl.store(depth + ray, total_depth)
        tl.store(opacity + ray, total)


@triton.jit
def _gains(
    cotangents, colors, ray, index, inside, middle, every: tl.constexpr, channels: tl.constexpr, columns: tl.constexpr
):
    """Gradient of each sample's weight, and that of its ray's colour."""
    for_weights, for_color, for_depth, for_opacity = cotangents
    column = tl.arange(0, columns)
    along = tl.load(for_color + ray * channels + column, mask=column < channels, other=0.0)
    held = inside[:, None] & (column < channels)[None, :]
    value = tl.load(colors + index[:, None] * channels + column[None, :], mask=held, other=0.0)
    gain = tl.load(for_opacity + ray) + tl.load(for_depth + ray) * middle + tl.sum(value * along[None, :], 1)
    if every:
        gain += tl.load(for_weights + index, mask=inside, other=0.0)
    return gain, along


@triton.jit
def _backward_kernel(
    cotangents,
    samples,
    early_stop,
    results,
    every: tl.constexpr,
    channels: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
):
    densities, colors, starts, ends, offsets = samples
    for_densities, for_colors = results
    ray = tl.program_id(0)
    first = tl.load(offsets + ray)
    last = tl.load(offsets + ray + 1)
    column = tl.arange(0, columns)
    ahead = 0.0
    total = 0.0
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        inside = index < last
        _, middle, thickness = _samples(densities, starts, ends, index, inside)
        gain, _ = _gains(cotangents, colors, ray, index, inside, middle, every, channels, columns)
        before = tl.exp(-(ahead + tl.cumsum(thickness, 0) - thickness))
        weight = tl.where(before < early_stop, 0.0, before * _opacity(thickness))
        total += tl.sum(tl.where(inside, weight * gain, 0.0), 0)
        ahead += tl.sum(thickness, 0)
    ahead = 0.0
    passed = 0.0
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        inside = index < last
        length, middle, thickness = _samples(densities, starts, ends, index, inside)
        gain, along = _gains(cotangents, colors, ray, index, inside, middle, every, channels, columns)
        running = ahead + tl.cumsum(thickness, 0)
        before = tl.exp(-(running - thickness))
        seen = (before < early_stop) == 0
        weight = tl.where(seen, before * _opacity(thickness), 0.0)
        earned = tl.where(inside, weight * gain, 0.0)
        behind = total - (passed + tl.cumsum(earned, 0))
        slope = tl.where(seen, length * (tl.exp(-running) * gain - behind), 0.0)
        tl.store(for_densities + index, slope, mask=inside)
        held = inside[:, None] & (column < channels)[None, :]
        tl.store(for_colors + index[:, None] * channels + column[None, :], weight[:, None] * along[None, :], mask=held)
        passed += tl.sum(earned, 0)
        ahead += tl.sum(thickness, 0)


def composite(
    densities: Tensor, colors: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `onefield.kernels.composite`."""
    rays, channels = offsets.shape[0] - 1, colors.shape[1]
    weights = torch.empty_like(densities)
    color, depth, opacity = (densities.new_empty(rays, channels), densities.new_empty(rays), densities.new_empty(rays))
    samples = tuple(tensor.detach().contiguous() for tensor in (densities, colors, starts, ends, offsets))
    results = (weights, color, depth, opacity)
    if rays:
        with on_device(densities.device):
            _composite_kernel[(rays,)](
                samples, early_stop, results, channels, triton.next_power_of_2(channels), BLOCK, num_warps=1
            )
    return results


def rendering_weights(densities: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float) -> Tensor:
    """See `onefield.kernels.composite`."""
    weights = torch.empty_like(densities)
    density, start, end, offset = (tensor.detach().contiguous() for tensor in (densities, starts, ends, offsets))
    if offsets.shape[0] > 1:
        with on_device(densities.device):
            # without channels the sums are not stored: any pointers will do
            samples, results = (density, density, start, end, offset), (weights,) * 4
            _composite_kernel[(offsets.shape[0] - 1,)](samples, early_stop, results, 0, 1, BLOCK, num_warps=1)
    return weights


def composite_backward(
    for_weights: Tensor | None,
    for_color: Tensor,
    for_depth: Tensor,
    for_opacity: Tensor,
    densities: Tensor,
    colors: Tensor,
    starts: Tensor,
    ends: Tensor,
    offsets: Tensor,
    early_stop: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of densities and colours; ``for_weights`` None means none came from the weights."""
    rays, channels = offsets.shape[0] - 1, colors.shape[1]
    for_densities, for_colors = torch.empty_like(densities), colors.new_empty(colors.shape)
    absent = densities if for_weights is None else for_weights
    cotangents = tuple(tensor.detach().contiguous() for tensor in (absent, for_color, for_depth, for_opacity))
    samples = tuple(tensor.detach().contiguous() for tensor in (densities, colors, starts, ends, offsets))
    results = (for_densities, for_colors)
    every, columns = for_weights is not None, triton.next_power_of_2(channels)
    if rays:
        with on_device(densities.device):
            _backward_kernel[(rays,)](
                cotangents, samples, early_stop, results, every, channels, columns, BLOCK, num_warps=1
            )
    return results
