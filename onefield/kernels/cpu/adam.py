"""Numba twin of `onefield.kernels.adam`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from torch import Tensor

from onefield.kernels.adam import in_one_piece

CHUNK = 1024


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
        low, high = chunk * CHUNK, min(count, (chunk + 1) * CHUNK)
        # slices from 0 on: the compiler turns only such a loop into one over vectors
        p, g = parameter[low:high], gradient[low:high]
        m, v = first[low:high], second[low:high]
        if skip_zeros:
            used = 0
            for i in range(len(g)):
                used += g[i] != np.float32(0)
            if used == 0:
                continue
        for i in range(len(g)):
            slope = g[i]
            touched = not skip_zeros or slope != np.float32(0)
            mean = beta1 * m[i] + rest1 * slope
            square = beta2 * v[i] + rest2 * slope * slope
            moved = p[i] - scale * mean / (np.sqrt(square * inverse2) + epsilon)
            m[i] = mean if touched else m[i]
            v[i] = square if touched else v[i]
            p[i] = moved if touched else p[i]


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
    with in_one_piece(parameter, first, second) as pieces:
        values, mean, square = (piece.view(-1).numpy() for piece in pieces)
        _step(
            values,
            gradient.detach().contiguous().view(-1).numpy(),
            mean,
            square,
            np.float32(rate),
            np.float32(beta1),
            np.float32(beta2),
            np.float32(epsilon),
            np.float32(1 - beta1**step),
            np.float32(1 - beta2**step),
            skip_zeros,
        )
