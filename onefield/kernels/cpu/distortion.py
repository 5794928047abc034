"""Numba twin of `onefield.kernels.distortion`."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor


@njit(
    "void(float32[::1],float32[::1],float32[::1],int64[::1],float32[::1])",
    parallel=True,
    cache=True,
)
def _distortion(weights, starts, ends, offsets, loss):
    for ray in prange(offsets.shape[0] - 1):
        # float64: differences of sums that grow along the ray
        mass = 0.0
        moment = 0.0
        total = 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            weight = np.float64(weights[i])
            middle = 0.5 * (np.float64(starts[i]) + np.float64(ends[i]))
            length = np.float64(ends[i]) - np.float64(starts[i])
            total += weight * (2.0 * (middle * mass - moment) + weight * length / 3.0)
            mass += weight
            moment += weight * middle
        loss[ray] = total


@njit(
    "void(float32[::1],float32[::1],float32[::1],float32[::1],int64[::1],float32[::1])",
    parallel=True,
    cache=True,
)
def _backward(for_loss, weights, starts, ends, offsets, for_weights):
    for ray in prange(offsets.shape[0] - 1):
        mass = 0.0
        moment = 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            mass += weights[i]
            moment += weights[i] * 0.5 * (np.float64(starts[i]) + np.float64(ends[i]))
        # from here on mass and moment count samples in front minus samples behind
        mass = -mass
        moment = -moment
        for i in range(offsets[ray], offsets[ray + 1]):
            weight = np.float64(weights[i])
            middle = 0.5 * (np.float64(starts[i]) + np.float64(ends[i]))
            length = np.float64(ends[i]) - np.float64(starts[i])
            mass += weight
            moment += weight * middle
            slope = 2.0 * (middle * mass - moment) + 2.0 / 3.0 * weight * length
            for_weights[i] = for_loss[ray] * slope
            mass += weight
            moment += weight * middle


def _array(tensor: Tensor):
    return tensor.detach().contiguous().numpy()


def distortion(weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    """See `onefield.kernels.distortion`."""
    loss = torch.empty(offsets.shape[0] - 1)
    _distortion(*(_array(tensor) for tensor in (weights, starts, ends, offsets)), loss.numpy())
    return loss


def distortion_backward(for_loss: Tensor, weights: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor) -> Tensor:
    """Gradient of the weights."""
    for_weights = torch.empty(len(weights))
    _backward(*(_array(tensor) for tensor in (for_loss, weights, starts, ends, offsets)), for_weights.numpy())
    return for_weights
