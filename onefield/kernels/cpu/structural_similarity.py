"""Numba twin of `onefield.kernels.structural_similarity`: windows along whole rows, value and slope at once."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.structural_similarity import C1, C2, RADIUS, WINDOW

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_WEIGHTS = tuple(np.float32(weight) for weight in WINDOW)
_C1 = np.float32(C1)
_C2 = np.float32(C2)
_ONE = np.float32(1)
_TWO = np.float32(2)
_ZERO = np.float32(0)


@njit(fastmath=_FAST)
def _add_row(total, row, weight, count):
    for k in range(count):
        total[k] += weight * row[k]


@njit("void(float32[:,:,::1],float32[:,:,::1],float32[:,:,::1])", parallel=True, cache=True, fastmath=_FAST)
def _blur(maps, spare, result):
    """Each map (m h w) by the window along both axes, zeros beyond the border."""
    count = maps.shape[0]
    height = maps.shape[1]
    width = maps.shape[2]
    for task in prange(count * height):
        m = task // height
        y = task % height
        out = spare[m, y]
        out[:] = _ZERO
        for k in range(max(-RADIUS, -y), min(RADIUS, height - 1 - y) + 1):
            _add_row(out, maps[m, y + k], _WEIGHTS[k + RADIUS], width)
        wide = result[m, y]
        wide[:] = _ZERO
        for k in range(-RADIUS, RADIUS + 1):
            low = max(0, -k)
            high = min(width, width - k)
            if high > low:
                _add_row(wide[low:], out[low + k :], _WEIGHTS[k + RADIUS], high - low)


@njit("void(float32[:,:,::1],float32[:,:,::1],float32[:,:,::1])", parallel=True, cache=True, fastmath=_FAST)
def _products(prediction, target, maps):
    """Five maps a channel: x, y, x^2, y^2 and x y."""
    channels = prediction.shape[2]
    for row in prange(prediction.shape[0]):
        for column in range(prediction.shape[1]):
            for c in range(channels):
                x = prediction[row, column, c]
                y = target[row, column, c]
                maps[5 * c, row, column] = x
                maps[5 * c + 1, row, column] = y
                maps[5 * c + 2, row, column] = x * x
                maps[5 * c + 3, row, column] = y * y
                maps[5 * c + 4, row, column] = x * y


@njit(
    "void(float32[:,:,::1],float32[:,:,::1],float64[::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _indices(moments, slopes, sums):
    """Sums of the index by rows, and its slopes by the blurred x, x^2 and x y."""
    channels = moments.shape[0] // 5
    for row in prange(moments.shape[1]):
        total = 0.0
        for c in range(channels):
            part = _ZERO
            for column in range(moments.shape[2]):
                mean_x = moments[5 * c, row, column]
                mean_y = moments[5 * c + 1, row, column]
                variance_x = moments[5 * c + 2, row, column] - mean_x * mean_x
                variance_y = moments[5 * c + 3, row, column] - mean_y * mean_y
                covariance = moments[5 * c + 4, row, column] - mean_x * mean_y
                a = _TWO * mean_x * mean_y + _C1
                b = _TWO * covariance + _C2
                p = _ONE / (mean_x * mean_x + mean_y * mean_y + _C1)
                q = _ONE / (variance_x + variance_y + _C2)
                index = a * b * p * q
                part += index
                by_square = -index * q
                by_product = _TWO * a * p * q
                by_mean = _TWO * mean_y * b * p * q - _TWO * mean_x * index * p
                slopes[3 * c, row, column] = by_mean - _TWO * mean_x * by_square - mean_y * by_product
                slopes[3 * c + 1, row, column] = by_square
                slopes[3 * c + 2, row, column] = by_product
            total += part
        sums[row] = total


@njit(
    "void(float32[:,:,::1],float32[:,:,::1],float32[:,:,::1],float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _slope(prediction, target, slopes, factor, result):
    channels = prediction.shape[2]
    for row in prange(prediction.shape[0]):
        for column in range(prediction.shape[1]):
            for c in range(channels):
                by_square = _TWO * prediction[row, column, c] * slopes[3 * c + 1, row, column]
                by_product = target[row, column, c] * slopes[3 * c + 2, row, column]
                result[row, column, c] = factor * (slopes[3 * c, row, column] + by_square + by_product)


def similarity(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The mean index and its slope by the prediction."""
    x, y = (image.detach().contiguous().numpy() for image in (prediction, target))
    height, width, channels = x.shape
    maps, spare = (np.empty((5 * channels, height, width), np.float32) for _ in range(2))
    _products(x, y, maps)
    moments = np.empty_like(maps)
    _blur(maps, spare, moments)
    slopes, sums = maps[: 3 * channels], np.empty(height, np.float64)
    _indices(moments, slopes, sums)
    blurred, result = moments[: 3 * channels], torch.empty(prediction.shape)
    _blur(slopes, spare[: 3 * channels], blurred)
    count = max(1, height * width * channels)
    _slope(x, y, blurred, np.float32(1 / count), result.numpy())
    return torch.tensor(sums.sum() / count, dtype=torch.float32), result
