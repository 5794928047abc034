"""Triton twin of `onefield.kernels.distortion`: one program a ray, which takes its samples a block at a time."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device

BLOCK = 32


@triton.jit
def _samples(weights, starts, ends, index, inside, origin):
    """Weight, middle from the ray's first interval on (which keeps digits), and length."""
    weight = tl.load(weights + index, mask=inside, other=0.0)
    start = tl.load(starts + index, mask=inside, other=0.0)
    end = tl.load(ends + index, mask=inside, other=0.0)
    return weight, tl.where(inside, 0.5 * (start + end) - origin, 0.0), end - start


@triton.jit
def _distortion_kernel(weights, starts, ends, offsets, loss, block: tl.constexpr):
    ray = tl.program_id(0)
    first = tl.load(offsets + ray)
    last = tl.load(offsets + ray + 1)
    origin = tl.load(starts + first, mask=first < last, other=0.0)
    mass = 0.0
    moment = 0.0
    total = 0.0
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        weight, middle, length = _samples(weights, starts, ends, index, index < last, origin)
        ahead = mass + tl.cumsum(weight, 0) - weight
        moment_ahead = moment + tl.cumsum(weight * middle, 0) - weight * middle
        total += tl.sum(weight * (2.0 * (middle * ahead - moment_ahead) + weight * length / 3.0), 0)
        mass += tl.sum(weight, 0)
        moment += tl.sum(weight * middle, 0)
    tl.store(loss + ray, total)


@triton.jit
def _backward_kernel(for_loss, weights, starts, ends, offsets, for_weights, block: tl.constexpr):
    ray = tl.program_id(0)
    first = tl.load(offsets + ray)
    last = tl.load(offsets + ray + 1)
    origin = tl.load(starts + first, mask=first < last, other=0.0)
    gain = tl.load(for_loss + ray)
    mass = 0.0
    moment = 0.0
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        weight, middle, length = _samples(weights, starts, ends, index, index < last, origin)
        mass += tl.sum(weight, 0)
        moment += tl.sum(weight * middle, 0)
    # from here on mass and moment count samples in front minus samples behind
    mass = -mass
    moment = -moment
    for base in range(first, last, block):
        index = base + tl.arange(0, block)
        inside = index < last
        weight, middle, length = _samples(weights, starts, ends, index, inside, origin)
        balance = mass + 2.0 * tl.cumsum(weight, 0) - weight
        lever = moment + 2.0 * tl.cumsum(weight * middle, 0) - weight * middle
        slope = 2.0 * (middle * balance - lever) + 2.0 / 3.0 * weight * length
        tl.store(for_weights + index, gain * slope, mask=inside)
        mass += 2.0 * tl.sum(weight, 0)
        moment += 2.0 * tl.sum(weight * middle, 0)


def distortion(weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    """See `onefield.kernels.distortion`."""
    rays = offsets.shape[0] - 1
    loss = weights.new_empty(rays)
    inputs = (tensor.detach().contiguous() for tensor in (weights, starts, ends, offsets))
    if rays:
        with on_device(weights.device):
            _distortion_kernel[(rays,)](*inputs, loss, BLOCK, num_warps=1)
    return loss


def distortion_backward(for_loss: Tensor, weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    """Gradient of the weights."""
    rays = offsets.shape[0] - 1
    for_weights = torch.empty_like(weights)
    inputs = (tensor.detach().contiguous() for tensor in (for_loss, weights, starts, ends, offsets))
    if rays:
        with on_device(weights.device):
            _backward_kernel[(rays,)](*inputs, for_weights, BLOCK, num_warps=1)
    return for_weights
