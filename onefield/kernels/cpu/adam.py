"""Numba twin of `onefield.kernels.adam`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from torch import Tensor

CHUNK = 4096


@njit(
    "void(float32[::1],float32[::1],float32[::1],float32[::1],float32,float32,float32,float32,float32,float32,bool_)",
    parallel=True,
    cache=True,
    fastmath={"contract", "arcp", "nsz", "afn"},
)
def _step(parameter, gradient, first, second, rate, beta1, beta2, epsilon, correction1, correction2, skip_zeros):
    count = len(parameter)
    rest1 = np.float32(1) - beta1
    rest2 = np.float32(1) - beta2
    scale = rate / correction1
    inverse2 = np.float32(1) / correction2
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        low = chunk * CHUNK
        high = min(count, low + CHUNK)
        if skip_zeros:
            largest = np.float32(0)
            for i in range(low, high):
                largest = max(largest, abs(gradient[i]))
            if largest == np.float32(0):
                continue
        for i in range(low, high):
            g = gradient[i]
            if skip_zeros and g == np.float32(0):
                continue
            m = beta1 * first[i] + rest1 * g
            v = beta2 * second[i] + rest2 * g * g
            first[i] = m
            second[i] = v
            parameter[i] -= scale * m / (np.sqrt(v * inverse2) + epsilon)


def step(
    parameter: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
    skip_zeros: bool,
) -> None:
    """See `onefield.kernels.adam`."""
    _step(
        parameter.detach().reshape(-1).numpy(),
        gradient.detach().contiguous().reshape(-1).numpy(),
        first.reshape(-1).numpy(),
        second.reshape(-1).numpy(),
        np.float32(rate),
        np.float32(beta1),
        np.float32(beta2),
        np.float32(epsilon),
        np.float32(1 - beta1**step),
        np.float32(1 - beta2**step),
        skip_zeros,
    )
