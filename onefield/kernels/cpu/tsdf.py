"""Numba twin of `onefield.kernels.tsdf`: rows of corners in parallel, each corner by one thread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from torch import Tensor


@njit("boolean(float32[:,::1], float32[:,::1], float64, float64, float64, float64[::1], int64[::1])", cache=True)
def _smooth(depth, confidence, u, v, truncation, shares, pixels):
    """Whether the four pixels around a place show one surface; fills in their shares, and rows and columns."""
    height, width = depth.shape
    left, top = math.floor(u), math.floor(v)
    across, down = u - left, v - top
    pixels[0], pixels[1] = max(top, 0), min(top + 1, height - 1)
    pixels[2], pixels[3] = max(left, 0), min(left + 1, width - 1)
    lowest, highest = np.inf, -np.inf
    for n in range(4):
        row, column = pixels[n >> 1], pixels[2 + (n & 1)]
        value = np.float64(depth[row, column])
        if not confidence[row, column] > 0 or math.isnan(value):
            return False
        lowest, highest = min(lowest, value), max(highest, value)
        shares[n] = (down if n >> 1 else 1.0 - down) * (across if n & 1 else 1.0 - across)
    # of infinite depths the difference is not a number
    return highest - lowest <= truncation


@njit(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,:,:,::1], float32[:,::1], float32[:,::1], float32[:,:,::1], "
    "float64[::1], float64[::1], float64)",
    cache=True,
    parallel=True,
)
def _integrate(distances, weights, colors, depth, confidence, picture, matrix, intrinsics, truncation):
    rows, across, along = distances.shape
    height, width = depth.shape
    colored = picture.shape[0] > 0
    for line in prange(rows * across):
        i, j = line // across, line % across
        shares, pixels = np.empty(4), np.empty(4, np.int64)
        start_x = i * matrix[0] + j * matrix[1] + matrix[3]
        start_y = i * matrix[4] + j * matrix[5] + matrix[7]
        start_z = i * matrix[8] + j * matrix[9] + matrix[11]
        for k in range(along):
            z = start_z + k * matrix[10]
            if not z > 0.0:
                continue
            x = start_x + k * matrix[2]
            y = start_y + k * matrix[6]
            u = x / z * intrinsics[0] + intrinsics[2] - 0.5
            v = y / z * intrinsics[1] + intrinsics[3] - 0.5
            if not (u >= -0.5 and u < width - 0.5 and v >= -0.5 and v < height - 0.5):
                continue
            row = min(np.int64(math.floor(v + 0.5)), height - 1)
            column = min(np.int64(math.floor(u + 0.5)), width - 1)
            trust = np.float64(confidence[row, column])
            if not trust > 0.0:
                continue
            blend = _smooth(depth, confidence, u, v, truncation, shares, pixels)
            seen = np.float64(depth[row, column])
            if blend:
                seen = 0.0
                for n in range(4):
                    seen += shares[n] * depth[pixels[n >> 1], pixels[2 + (n & 1)]]
            ahead = (seen - math.sqrt(x * x + y * y + z * z)) / truncation
            if not ahead > -1.0:
                continue
            weight = trust * (1.0 + min(ahead, 0.0))
            distances[i, j, k] += np.float32(weight * min(ahead, 1.0))
            weights[i, j, k] += np.float32(weight)
            if not colored or ahead >= 1.0:
                continue
            near = trust * (1.0 - abs(ahead))
            for channel in range(3):
                color = np.float64(picture[row, column, channel])
                if blend:
                    color = 0.0
                    for n in range(4):
                        color += shares[n] * picture[pixels[n >> 1], pixels[2 + (n & 1)], channel]
                colors[i, j, k, channel] += np.float32(near * color)
            colors[i, j, k, 3] += np.float32(near)


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
    _integrate(
        distances.numpy(),
        weights.numpy(),
        colors.numpy() if colored else np.empty((0, 0, 0, 4), np.float32),
        depth.numpy(),
        confidence.numpy(),
        picture.numpy() if colored else np.empty((0, 0, 3), np.float32),
        np.array(to_camera, dtype=np.float64),
        np.array(intrinsics, dtype=np.float64),
        truncation,
    )
