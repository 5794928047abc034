"""Numba twin of `onefield.kernels.spherical_harmonics`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from torch import Tensor

from onefield.kernels.spherical_harmonics import NORMS

CHUNK = 2048
_FACTORS = np.array([factor for band in NORMS for factor in band], np.float32)
_ONE, _THREE, _FIVE = np.float32(1), np.float32(3), np.float32(5)


@njit("void(float32[:,::1],float32[::1],float32[:,::1])", parallel=True, cache=True, fastmath={"contract"})
def _forward(directions, f, out):
    count, width = out.shape
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            x, y, z = directions[i, 0], directions[i, 1], directions[i, 2]
            out[i, 0] = f[0]
            if width > 1:
                out[i, 1] = f[1] * y
                out[i, 2] = f[2] * z
                out[i, 3] = f[3] * x
            if width > 4:
                out[i, 4] = f[4] * x * y
                out[i, 5] = f[5] * y * z
                out[i, 6] = f[6] * (_THREE * z * z - _ONE)
                out[i, 7] = f[7] * x * z
                out[i, 8] = f[8] * (x * x - y * y)
            if width > 9:
                bulge = _FIVE * z * z - _ONE
                out[i, 9] = f[9] * y * (_THREE * x * x - y * y)
                out[i, 10] = f[10] * x * y * z
                out[i, 11] = f[11] * y * bulge
                out[i, 12] = f[12] * z * (_FIVE * z * z - _THREE)
                out[i, 13] = f[13] * x * bulge
                out[i, 14] = f[14] * z * (x * x - y * y)
                out[i, 15] = f[15] * x * (x * x - _THREE * y * y)


def forward(directions: Tensor, degree: int) -> Tensor:
    """See `onefield.kernels.spherical_harmonics`."""
    out = directions.new_empty(directions.shape[0], degree**2)
    _forward(directions.detach().contiguous().numpy(), _FACTORS, out.numpy())
    return out
