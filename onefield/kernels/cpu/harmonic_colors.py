"""Numba twin of `onefield.kernels.harmonic_colors`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.harmonic_colors import LEAST_LENGTH, SHIFT
from onefield.kernels.spherical_harmonics import NORMS

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_BANDS = "float32[:,:,::1],float32[:,:,::1],float32[:,:,::1],float32[:,:,::1]"
_SHIFT = np.float32(SHIFT)
_ZERO = np.float32(0)
_LEAST_LENGTH = np.float32(LEAST_LENGTH)
_ONE = np.float32(1)
_TWO = np.float32(2)
_THREE = np.float32(3)
_FIVE = np.float32(5)
_SIX = np.float32(6)
_TEN = np.float32(10)
_FIFTEEN = np.float32(15)
_N0 = np.float32(NORMS[0][0])
_N1 = np.float32(NORMS[1][0])
_N2 = tuple(np.float32(norm) for norm in NORMS[2])
_N3 = tuple(np.float32(norm) for norm in NORMS[3])
_CHUNK = 256


@njit(inline="always")
def _basis(x, y, z, bands, values):
    values[0] = _N0
    if bands > 1:
        values[1] = -_N1 * y
        values[2] = _N1 * z
        values[3] = -_N1 * x
    if bands > 2:
        values[4] = _N2[0] * x * y
        values[5] = -_N2[1] * y * z
        values[6] = _N2[2] * (_THREE * z * z - _ONE)
        values[7] = -_N2[3] * x * z
        values[8] = _N2[4] * (x * x - y * y)
    if bands > 3:
        values[9] = -_N3[0] * y * (_THREE * x * x - y * y)
        values[10] = _N3[1] * x * y * z
        values[11] = -_N3[2] * y * (_FIVE * z * z - _ONE)
        values[12] = _N3[3] * z * (_FIVE * z * z - _THREE)
        values[13] = -_N3[4] * x * (_FIVE * z * z - _ONE)
        values[14] = _N3[5] * z * (x * x - y * y)
        values[15] = -_N3[6] * x * (x * x - _THREE * y * y)


@njit(inline="always")
def _slope(x, y, z, bands, g):
    """Gradient of ``sum_k g_k Y_k`` in x, y, z."""
    sx = _ZERO
    sy = _ZERO
    sz = _ZERO
    if bands > 1:
        sx -= _N1 * g[3]
        sy -= _N1 * g[1]
        sz += _N1 * g[2]
    if bands > 2:
        sx += _N2[0] * y * g[4] - _N2[3] * z * g[7] + _TWO * _N2[4] * x * g[8]
        sy += _N2[0] * x * g[4] - _N2[1] * z * g[5] - _TWO * _N2[4] * y * g[8]
        sz += _SIX * _N2[2] * z * g[6] - _N2[1] * y * g[5] - _N2[3] * x * g[7]
    if bands > 3:
        polar = _FIVE * z * z - _ONE
        across = _THREE * (x * x - y * y)
        sx += -_SIX * _N3[0] * x * y * g[9] + _N3[1] * y * z * g[10] - _N3[4] * polar * g[13]
        sx += _TWO * _N3[5] * x * z * g[14] - _N3[6] * across * g[15]
        sy += -_N3[0] * across * g[9] + _N3[1] * x * z * g[10] - _N3[2] * polar * g[11]
        sy += -_TWO * _N3[5] * y * z * g[14] + _SIX * _N3[6] * x * y * g[15]
        sz += _N3[1] * x * y * g[10] - _TEN * _N3[2] * y * z * g[11] + _N3[3] * (_FIFTEEN * z * z - _THREE) * g[12]
        sz += -_TEN * _N3[4] * x * z * g[13] + _N3[5] * (x * x - y * y) * g[14]
    return sx, sy, sz


@njit(
    f"void(float32[:,::1],{_BANDS},int64,float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _colors(directions, band0, band1, band2, band3, bands, colors):
    count = directions.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        values = np.empty(16, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            x = directions[i, 0]
            y = directions[i, 1]
            z = directions[i, 2]
            scale = _ONE / max(math.sqrt(x * x + y * y + z * z), _LEAST_LENGTH)
            _basis(x * scale, y * scale, z * scale, bands, values)
            for c in range(3):
                total = _SHIFT + values[0] * band0[i, 0, c]
                if bands > 1:
                    for k in range(3):
                        total += values[1 + k] * band1[i, k, c]
                if bands > 2:
                    for k in range(5):
                        total += values[4 + k] * band2[i, k, c]
                if bands > 3:
                    for k in range(7):
                        total += values[9 + k] * band3[i, k, c]
                # negated, so that NaN goes on
                colors[i, c] = _ZERO if total < _ZERO else total


@njit(
    f"void(float32[:,::1],float32[:,::1],{_BANDS},int64,float32[:,::1],{_BANDS})",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _backward(
    for_colors, directions, band0, band1, band2, band3, bands, for_directions, for_band0, for_band1, for_band2,
    for_band3,
):  # fmt: skip
    count = directions.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        values = np.empty(16, np.float32)
        gains = np.empty(16, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            x = directions[i, 0]
            y = directions[i, 1]
            z = directions[i, 2]
            scale = _ONE / max(math.sqrt(x * x + y * y + z * z), _LEAST_LENGTH)
            x *= scale
            y *= scale
            z *= scale
            _basis(x, y, z, bands, values)
            for k in range(16):
                gains[k] = _ZERO
            for c in range(3):
                total = _SHIFT + values[0] * band0[i, 0, c]
                if bands > 1:
                    for k in range(3):
                        total += values[1 + k] * band1[i, k, c]
                if bands > 2:
                    for k in range(5):
                        total += values[4 + k] * band2[i, k, c]
                if bands > 3:
                    for k in range(7):
                        total += values[9 + k] * band3[i, k, c]
                g = _ZERO if total < _ZERO else for_colors[i, c]
                for_band0[i, 0, c] = values[0] * g
                if bands > 1:
                    for k in range(3):
                        for_band1[i, k, c] = values[1 + k] * g
                        gains[1 + k] += band1[i, k, c] * g
                if bands > 2:
                    for k in range(5):
                        for_band2[i, k, c] = values[4 + k] * g
                        gains[4 + k] += band2[i, k, c] * g
                if bands > 3:
                    for k in range(7):
                        for_band3[i, k, c] = values[9 + k] * g
                        gains[9 + k] += band3[i, k, c] * g
            sx, sy, sz = _slope(x, y, z, bands, gains)
            along = sx * x + sy * y + sz * z
            for_directions[i, 0] = (sx - along * x) * scale
            for_directions[i, 1] = (sy - along * y) * scale
            for_directions[i, 2] = (sz - along * z) * scale


def _arrays(harmonics: Sequence[Tensor]) -> list[np.ndarray]:
    absent = [torch.empty(0, 1, 3)] * (4 - len(harmonics))
    return [band.detach().contiguous().numpy() for band in (*harmonics, *absent)]


def colors(directions: Tensor, harmonics: Sequence[Tensor]) -> Tensor:
    """See `onefield.kernels.harmonic_colors`."""
    result = torch.empty(len(directions), 3)
    _colors(directions.detach().contiguous().numpy(), *_arrays(harmonics), len(harmonics), result.numpy())
    return result


def colors_backward(for_colors: Tensor, directions: Tensor, harmonics: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Gradients of directions and coefficients."""
    for_directions = torch.empty(len(directions), 3)
    slopes = [torch.empty(band.shape) for band in harmonics]
    _backward(
        for_colors.detach().contiguous().numpy(),
        directions.detach().contiguous().numpy(),
        *_arrays(harmonics),
        len(harmonics),
        for_directions.numpy(),
        *_arrays(slopes),
    )
    return for_directions, slopes
