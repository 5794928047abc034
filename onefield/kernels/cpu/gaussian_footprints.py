"""Numba twin of `onefield.kernels.gaussian_footprints`."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.gaussian_footprints import LEAST_LENGTH

_FAST = {"contract", "nsz", "arcp", "reassoc"}
_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_TWO = np.float32(2)
_LEAST_LENGTH = np.float32(LEAST_LENGTH)
_CHUNK = 512


@njit(inline="always")
def _turn(w, x, y, z, r):
    r[0, 0] = _ONE - _TWO * (y * y + z * z)
    r[0, 1] = _TWO * (x * y - w * z)
    r[0, 2] = _TWO * (x * z + w * y)
    r[1, 0] = _TWO * (x * y + w * z)
    r[1, 1] = _ONE - _TWO * (x * x + z * z)
    r[1, 2] = _TWO * (y * z - w * x)
    r[2, 0] = _TWO * (x * z - w * y)
    r[2, 1] = _TWO * (y * z + w * x)
    r[2, 2] = _ONE - _TWO * (x * x + y * y)


@njit(inline="always")
def _spread(jacobian, log_scale, quaternion, r, m):
    """Fills rotation and M = J R S; gives the unit quaternion and the factor that made it one."""
    w = quaternion[0]
    x = quaternion[1]
    y = quaternion[2]
    z = quaternion[3]
    scale = _ONE / max(math.sqrt(w * w + x * x + y * y + z * z), _LEAST_LENGTH)
    w *= scale
    x *= scale
    y *= scale
    z *= scale
    _turn(w, x, y, z, r)
    for k in range(3):
        s = math.exp(log_scale[k])
        for row in range(2):
            m[row, k] = s * (jacobian[row, 0] * r[0, k] + jacobian[row, 1] * r[1, k] + jacobian[row, 2] * r[2, k])
    return w, x, y, z, scale


@njit(inline="always")
def _moments(m):
    across2 = m[0, 0] * m[0, 0] + m[0, 1] * m[0, 1] + m[0, 2] * m[0, 2]
    down2 = m[1, 0] * m[1, 0] + m[1, 1] * m[1, 1] + m[1, 2] * m[1, 2]
    mixed = m[0, 0] * m[1, 0] + m[0, 1] * m[1, 1] + m[0, 2] * m[1, 2]
    u = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
    v = m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]
    w = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return across2, down2, mixed, u * u + v * v + w * w


@njit(inline="always")
def _turn_backward(g, w, x, y, z, scale, result):
    """Gradient of the quaternion before it was made a unit one."""
    for_w = _TWO * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    for_x = _TWO * (
        y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2]) - _TWO * x * (g[1, 1] + g[2, 2])
    )
    for_y = _TWO * (
        x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0]) - _TWO * y * (g[0, 0] + g[2, 2])
    )
    for_z = _TWO * (
        x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1]) - _TWO * z * (g[0, 0] + g[1, 1])
    )
    along = w * for_w + x * for_x + y * for_y + z * for_z
    result[0] = (for_w - along * w) * scale
    result[1] = (for_x - along * x) * scale
    result[2] = (for_y - along * y) * scale
    result[3] = (for_z - along * z) * scale


@njit(
    "void(float32[:,:,::1],float32[:,::1],float32[:,::1],float32,float32,float32[:,::1],float32[::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _footprints(jacobians, log_scales, quaternions, low_pass, least, conics, compensation, variances):
    count = log_scales.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        r = np.empty((3, 3), np.float32)
        m = np.empty((2, 3), np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            _spread(jacobians[i], log_scales[i], quaternions[i], r, m)
            across2, down2, mixed, sharp = _moments(m)
            determinant = sharp + low_pass * (across2 + down2 + low_pass)
            conics[i, 0] = (down2 + low_pass) / determinant
            conics[i, 1] = -mixed / determinant
            conics[i, 2] = (across2 + low_pass) / determinant
            # not a number for those of infinite size, which are not seen
            ratio = sharp / determinant
            compensation[i] = math.sqrt(ratio if ratio > least else least)
            variances[i, 0] = across2 + low_pass
            variances[i, 1] = down2 + low_pass


@njit(
    "void(float32[:,::1],float32[::1],float32[:,:,::1],float32[:,::1],float32[:,::1],float32,float32,float32[:,:,::1],"
    "float32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _backward(
    for_conics, for_compensation, jacobians, log_scales, quaternions, low_pass, least, for_jacobians,
    for_scales, for_quaternions,
):  # fmt: skip
    count = log_scales.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        r = np.empty((3, 3), np.float32)
        m = np.empty((2, 3), np.float32)
        for_m = np.empty((2, 3), np.float32)
        for_r = np.empty((3, 3), np.float32)
        c = np.empty(3, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            g0 = for_conics[i, 0]
            g1 = for_conics[i, 1]
            g2 = for_conics[i, 2]
            # those that are not seen may be infinite, and most of a scene is not seen
            if g0 == _ZERO and g1 == _ZERO and g2 == _ZERO and for_compensation[i] == _ZERO:
                for_jacobians[i] = _ZERO
                for_scales[i] = _ZERO
                for_quaternions[i] = _ZERO
                continue
            w, x, y, z, scale = _spread(jacobians[i], log_scales[i], quaternions[i], r, m)
            across2, down2, mixed, sharp = _moments(m)
            for k in range(3):
                c[k] = m[0, (k + 1) % 3] * m[1, (k + 2) % 3] - m[0, (k + 2) % 3] * m[1, (k + 1) % 3]
            inverse = _ONE / (sharp + low_pass * (across2 + down2 + low_pass))
            for_determinant = -(g0 * (down2 + low_pass) - g1 * mixed + g2 * (across2 + low_pass)) * inverse * inverse
            for_sharp = for_determinant
            ratio = sharp * inverse
            if ratio > least:
                gain = for_compensation[i] * _HALF / math.sqrt(ratio) * inverse
                for_sharp += gain * (_ONE - ratio)
                for_determinant -= gain * ratio
            for_a = g2 * inverse + low_pass * for_determinant
            for_c = g0 * inverse + low_pass * for_determinant
            for_mixed = -g1 * inverse
            for k in range(3):
                # of |m1 x m2|^2 it is 2 m2 x (m1 x m2), written so that needles keep their digits
                next_ = (k + 1) % 3
                last = (k + 2) % 3
                for_m[0, k] = _TWO * (for_a * m[0, k] + for_sharp * (m[1, next_] * c[last] - m[1, last] * c[next_]))
                for_m[1, k] = _TWO * (for_c * m[1, k] + for_sharp * (c[next_] * m[0, last] - c[last] * m[0, next_]))
                for_m[0, k] += for_mixed * m[1, k]
                for_m[1, k] += for_mixed * m[0, k]
            for k in range(3):
                s = math.exp(log_scales[i, k])
                for_scales[i, k] = for_m[0, k] * m[0, k] + for_m[1, k] * m[1, k]
                for j in range(3):
                    for_r[j, k] = s * (for_m[0, k] * jacobians[i, 0, j] + for_m[1, k] * jacobians[i, 1, j])
            for row in range(2):
                for j in range(3):
                    total = _ZERO
                    for k in range(3):
                        total += for_m[row, k] * math.exp(log_scales[i, k]) * r[j, k]
                    for_jacobians[i, row, j] = total
            _turn_backward(for_r, w, x, y, z, scale, for_quaternions[i])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def footprints(
    jacobians: Tensor, log_scales: Tensor, quaternions: Tensor, low_pass: float, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `onefield.kernels.gaussian_footprints`."""
    count = len(log_scales)
    results = torch.empty(count, 3), torch.empty(count), torch.empty(count, 2)
    inputs = (_array(tensor) for tensor in (jacobians, log_scales, quaternions))
    _footprints(*inputs, np.float32(low_pass), np.float32(least**2), *(result.numpy() for result in results))
    return results


def footprints_backward(
    for_conics: Tensor,
    for_compensation: Tensor,
    jacobians: Tensor,
    log_scales: Tensor,
    quaternions: Tensor,
    low_pass: float,
    least: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Jacobians, log-scales and quaternions."""
    slopes = tuple(torch.empty(tensor.shape) for tensor in (jacobians, log_scales, quaternions))
    inputs = (_array(t) for t in (for_conics, for_compensation, jacobians, log_scales, quaternions))
    _backward(*inputs, np.float32(low_pass), np.float32(least**2), *(slope.numpy() for slope in slopes))
    return slopes
