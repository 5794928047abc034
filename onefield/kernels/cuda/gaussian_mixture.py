"""Triton twin of `onefield.kernels.gaussian_mixture`: every point against every Gaussian, without cells.

Forward and the gradient of points take a program a block of points, the gradients of Gaussians a program a Gaussian.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_mixture import REACH

BLOCK = 64
_CUT = tl.constexpr(REACH * REACH)


@triton.jit
def _whitened(points, means, whitening, i, index, inside):
    """Offsets of points from a Gaussian, and their whitened coordinates."""
    x = tl.load(points + 3 * index, mask=inside, other=0.0) - tl.load(means + 3 * i)
    y = tl.load(points + 3 * index + 1, mask=inside, other=0.0) - tl.load(means + 3 * i + 1)
    z = tl.load(points + 3 * index + 2, mask=inside, other=0.0) - tl.load(means + 3 * i + 2)
    row = whitening + 9 * i
    u = tl.load(row) * x + tl.load(row + 1) * y + tl.load(row + 2) * z
    v = tl.load(row + 3) * x + tl.load(row + 4) * y + tl.load(row + 5) * z
    w = tl.load(row + 6) * x + tl.load(row + 7) * y + tl.load(row + 8) * z
    return x, y, z, u, v, w


@triton.jit
def _shape(u, v, w, inside):
    squared = u * u + v * v + w * w
    return tl.where(inside & (squared < _CUT), tl.exp(-0.5 * squared), 0.0)


@triton.jit
def _mixture_kernel(inputs, results, count, gaussians, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr):
    points, means, whitening, amplitudes, features = inputs
    total, sums = results
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    column = tl.arange(0, padded)
    amount = tl.zeros([block], tl.float32)
    mixed = tl.zeros([block, padded], tl.float32)
    for i in range(gaussians):
        _, _, _, u, v, w = _whitened(points, means, whitening, i, index, inside)
        weight = tl.load(amplitudes + i) * _shape(u, v, w, inside)
        amount += weight
        if width > 0:
            carried = tl.load(features + i * width + column, mask=column < width, other=0.0)
            mixed += weight[:, None] * carried[None, :]
    tl.store(total + index, amount, mask=inside)
    if width > 0:
        held = inside[:, None] & (column < width)[None, :]
        tl.store(sums + index[:, None] * width + column[None, :], mixed, mask=held)


@triton.jit
def _gain(for_total, for_sums, features, i, index, inside, width: tl.constexpr, padded: tl.constexpr):
    """What a unit of weight of Gaussian i earns at each point."""
    gain = tl.load(for_total + index, mask=inside, other=0.0)
    if width > 0:
        column = tl.arange(0, padded)
        held = inside[:, None] & (column < width)[None, :]
        slope = tl.load(for_sums + index[:, None] * width + column[None, :], mask=held, other=0.0)
        carried = tl.load(features + i * width + column, mask=column < width, other=0.0)
        gain += tl.sum(slope * carried[None, :], 1)
    return gain


@triton.jit
def _points_backward_kernel(
    cotangents, inputs, for_points, count, gaussians, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    for_total, for_sums = cotangents
    points, means, whitening, amplitudes, features = inputs
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    slope_x = tl.zeros([block], tl.float32)
    slope_y = tl.zeros([block], tl.float32)
    slope_z = tl.zeros([block], tl.float32)
    for i in range(gaussians):
        _, _, _, u, v, w = _whitened(points, means, whitening, i, index, inside)
        gain = _gain(for_total, for_sums, features, i, index, inside, width, padded)
        gain *= -tl.load(amplitudes + i) * _shape(u, v, w, inside)
        row = whitening + 9 * i
        slope_x += gain * (tl.load(row) * u + tl.load(row + 3) * v + tl.load(row + 6) * w)
        slope_y += gain * (tl.load(row + 1) * u + tl.load(row + 4) * v + tl.load(row + 7) * w)
        slope_z += gain * (tl.load(row + 2) * u + tl.load(row + 5) * v + tl.load(row + 8) * w)
    tl.store(for_points + 3 * index, slope_x, mask=inside)
    tl.store(for_points + 3 * index + 1, slope_y, mask=inside)
    tl.store(for_points + 3 * index + 2, slope_z, mask=inside)


@triton.jit
def _gaussians_backward_kernel(
    cotangents, inputs, slopes, count, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    for_total, for_sums = cotangents
    points, means, whitening, amplitudes, features = inputs
    for_means, for_whitening, for_amplitudes, for_features = slopes
    i = tl.program_id(0)
    amplitude = tl.load(amplitudes + i)
    column = tl.arange(0, padded)
    axis = tl.arange(0, 4)
    earned = 0.0
    pull_u = tl.zeros([4], tl.float32)
    pull_v = tl.zeros([4], tl.float32)
    pull_w = tl.zeros([4], tl.float32)
    shift_u, shift_v, shift_w = 0.0, 0.0, 0.0
    carried = tl.zeros([padded], tl.float32)
    for base in range(0, count, block):
        index = base + tl.arange(0, block)
        inside = index < count
        x, y, z, u, v, w = _whitened(points, means, whitening, i, index, inside)
        shape = _shape(u, v, w, inside)
        gain = _gain(for_total, for_sums, features, i, index, inside, width, padded)
        earned += tl.sum(gain * shape, 0)
        if width > 0:
            held = inside[:, None] & (column < width)[None, :]
            slope = tl.load(for_sums + index[:, None] * width + column[None, :], mask=held, other=0.0)
            carried += tl.sum((amplitude * shape)[:, None] * slope, 0)
        gain *= amplitude * shape
        offset = tl.where(axis[None, :] == 0, x[:, None], tl.where(axis[None, :] == 1, y[:, None], z[:, None]))
        pull_u += tl.sum((gain * u)[:, None] * offset, 0)
        pull_v += tl.sum((gain * v)[:, None] * offset, 0)
        pull_w += tl.sum((gain * w)[:, None] * offset, 0)
        shift_u += tl.sum(gain * u, 0)
        shift_v += tl.sum(gain * v, 0)
        shift_w += tl.sum(gain * w, 0)
    tl.store(for_amplitudes + i, earned)
    if width > 0:
        tl.store(for_features + i * width + column, carried, mask=column < width)
    row = whitening + 9 * i + axis
    near = axis < 3
    shift = shift_u * tl.load(row, mask=near, other=0.0) + shift_v * tl.load(row + 3, mask=near, other=0.0)
    shift += shift_w * tl.load(row + 6, mask=near, other=0.0)
    tl.store(for_means + 3 * i + axis, shift, mask=near)
    tl.store(for_whitening + 9 * i + axis, -pull_u, mask=near)
    tl.store(for_whitening + 9 * i + 3 + axis, -pull_v, mask=near)
    tl.store(for_whitening + 9 * i + 6 + axis, -pull_w, mask=near)


def _plain(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().contiguous() for tensor in tensors)


def mixture(
    points: Tensor, means: Tensor, whitening: Tensor, amplitudes: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """See `onefield.kernels.gaussian_mixture`."""
    count, width = len(points), features.shape[1]
    total, sums = points.new_empty(count), points.new_empty(count, width)
    inputs = _plain(points, means, whitening, amplitudes, features)
    if count:
        with on_device(points.device):
            _mixture_kernel[(triton.cdiv(count, BLOCK),)](
                inputs, (total, sums), count, len(means), width, triton.next_power_of_2(max(width, 1)), BLOCK
            )
    return total, sums


def mixture_backward(
    for_total: Tensor,
    for_sums: Tensor,
    points: Tensor,
    means: Tensor,
    whitening: Tensor,
    amplitudes: Tensor,
    features: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all inputs."""
    count, width = len(points), features.shape[1]
    padded = triton.next_power_of_2(max(width, 1))
    cotangents = _plain(for_total, for_sums)
    inputs = _plain(points, means, whitening, amplitudes, features)
    for_points, *slopes = (torch.zeros_like(tensor) for tensor in inputs)
    with on_device(points.device):
        if count:
            _points_backward_kernel[(triton.cdiv(count, BLOCK),)](
                cotangents, inputs, for_points, count, len(means), width, padded, BLOCK
            )
        if len(means):
            _gaussians_backward_kernel[(len(means),)](cotangents, inputs, tuple(slopes), count, width, padded, BLOCK)
    return for_points, *slopes
