"""Triton twin of `onefield.kernels.tsdf`: blocks of corners, each corner in one program, so that nothing is atomic.

Arithmetic is float32, so a corner within rounding of a border between pixels may take either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device

BLOCK = 256


@triton.jit
def _to_camera(matrix, i, j, k, row: tl.constexpr):
    """A camera coordinate of corners."""
    first = tl.load(matrix + 4 * row) * i + tl.load(matrix + 4 * row + 1) * j
    return first + tl.load(matrix + 4 * row + 2) * k + tl.load(matrix + 4 * row + 3)


@triton.jit
def _color(picture, places, shares, nearest, smooth, held, channel: tl.constexpr):
    color = tl.load(picture + nearest * 3 + channel, mask=held, other=0.0)
    mixed = tl.zeros_like(color)
    for n in tl.static_range(4):
        mixed += shares[n] * tl.load(picture + places[n] * 3 + channel, mask=held, other=0.0)
    return tl.where(smooth, mixed, color)


@triton.jit
def _pixels_around(x, y, z, intrinsics, height, width):
    """Whether corners fall into the picture, the nearest pixel, and the four around with their shares."""
    ahead = z > 0.0
    over = tl.where(ahead, z, 1.0)
    u = x / over * tl.load(intrinsics) + tl.load(intrinsics + 2) - 0.5
    v = y / over * tl.load(intrinsics + 1) + tl.load(intrinsics + 3) - 0.5
    inside = ahead & (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)
    u = tl.where(inside, u, 0.0)
    v = tl.where(inside, v, 0.0)
    nearest = tl.minimum(tl.floor(v + 0.5).to(tl.int32), height - 1) * width
    nearest += tl.minimum(tl.floor(u + 0.5).to(tl.int32), width - 1)
    left = tl.floor(u)
    top = tl.floor(v)
    right = u - left
    lower = v - top
    low = tl.maximum(left, 0.0).to(tl.int32)
    high = tl.minimum(left + 1.0, width - 1.0).to(tl.int32)
    first = tl.maximum(top, 0.0).to(tl.int32) * width
    second = tl.minimum(top + 1.0, height - 1.0).to(tl.int32) * width
    places = (first + low, first + high, second + low, second + high)
    shares = ((1.0 - lower) * (1.0 - right), (1.0 - lower) * right, lower * (1.0 - right), lower * right)
    return inside, nearest, places, shares


@triton.jit
def _depth_seen(depth, confidence, nearest, places, shares, inside, truncation):
    """Whether the four pixels show one surface, and the depth: between them where they do, else the nearest pixel's."""
    lowest = tl.load(depth + places[0], mask=inside, other=0.0)
    highest = lowest
    mixed = tl.zeros_like(lowest)
    smooth = inside
    for n in tl.static_range(4):
        value = tl.load(depth + places[n], mask=inside, other=0.0)
        # of infinite and unknown depths no difference is a number
        smooth = smooth & (value - value == 0.0) & (tl.load(confidence + places[n], mask=inside, other=0.0) > 0.0)
        lowest = tl.minimum(lowest, value)
        highest = tl.maximum(highest, value)
        mixed += shares[n] * value
    smooth = smooth & (highest - lowest <= truncation)
    return smooth, tl.where(smooth, mixed, tl.load(depth + nearest, mask=inside, other=0.0))


@triton.jit
def _integrate_kernel(
    volume, pictures, matrix, count, across, along, height, width, truncation, colored: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    distances, weights, colors = volume
    depth, confidence, picture, intrinsics = pictures
    corner = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    i = (corner // (across * along)).to(tl.float32)
    j = (corner // along % across).to(tl.float32)
    k = (corner % along).to(tl.float32)
    x = _to_camera(matrix, i, j, k, 0)
    y = _to_camera(matrix, i, j, k, 1)
    z = _to_camera(matrix, i, j, k, 2)
    inside, nearest, places, shares = _pixels_around(x, y, z, intrinsics, height, width)
    inside = inside & (corner < count)
    trust = tl.load(confidence + nearest, mask=inside, other=0.0)
    smooth, seen = _depth_seen(depth, confidence, nearest, places, shares, inside, truncation)
    ahead = (seen - tl.sqrt(x * x + y * y + z * z)) / truncation
    told = inside & (trust > 0.0) & (ahead > -1.0)
    weight = trust * (1.0 + tl.minimum(ahead, 0.0))
    value = weight * tl.minimum(ahead, 1.0)
    tl.store(distances + corner, tl.load(distances + corner, mask=told, other=0.0) + value, mask=told)
    tl.store(weights + corner, tl.load(weights + corner, mask=told, other=0.0) + weight, mask=told)
    if colored:
        held = told & (ahead < 1.0)
        near = trust * (1.0 - tl.abs(ahead))
        place = colors + corner * 4
        for channel in tl.static_range(3):
            total = tl.load(place + channel, mask=held, other=0.0)
            total += near * _color(picture, places, shares, nearest, smooth, held, channel)
            tl.store(place + channel, total, mask=held)
        tl.store(place + 3, tl.load(place + 3, mask=held, other=0.0) + near, mask=held)


def integrate_depth(
    distances: Tensor,
    weights: Tensor,
    colors: Tensor,
    depth: Tensor,
    confidence: Tensor,
    picture: Tensor,
    to_camera: Sequence[float],
    intrinsics: Sequence[float],
    truncation: float,
) -> None:
    """See `onefield.kernels.tsdf`."""
    colored = picture.numel() > 0
    device = depth.device
    pinhole = torch.tensor(list(intrinsics), dtype=torch.float32, device=device)
    matrix = torch.tensor(list(to_camera), dtype=torch.float32, device=device)
    # without colours nothing of them is touched: any pointers will do
    volume = (distances, weights, colors if colored else weights)
    pictures = (depth, confidence, picture if colored else depth, pinhole)
    _, across, along = distances.shape
    height, width = depth.shape
    with on_device(device):
        _integrate_kernel[(triton.cdiv(distances.numel(), BLOCK),)](
            volume, pictures, matrix, distances.numel(), across, along, height, width, truncation, colored, BLOCK
        )
