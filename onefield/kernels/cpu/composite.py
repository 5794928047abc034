"""Numba twin of `onefield.kernels.composite`: one ray at a time, near to far and, for gradients, back again."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

# NaN and infinity keep their meaning, so that a diverged field is seen.
_FAST = {"contract", "nsz", "arcp"}
_ONE = np.float32(1)
_ZERO = np.float32(0)
_HALF = np.float32(0.5)


@njit(
    "void(float32[::1],float32[:,::1],float32[::1],float32[::1],int64[::1],float32,float32[::1],float32[:,::1],"
    "float32[::1],float32[::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _composite(densities, colors, starts, ends, offsets, early_stop, weights, color, depth, opacity):
    channels = colors.shape[1]
    for ray in prange(offsets.shape[0] - 1):
        transmittance = _ONE
        total = _ZERO
        distance = _ZERO
        for channel in range(channels):
            color[ray, channel] = _ZERO
        for i in range(offsets[ray], offsets[ray + 1]):
            # negated, so that NaN goes on
            if transmittance < early_stop:
                weights[i] = _ZERO
                continue
            alpha = -math.expm1(-densities[i] * (ends[i] - starts[i]))
            weight = transmittance * alpha
            transmittance *= _ONE - alpha
            weights[i] = weight
            total += weight
            distance += weight * (starts[i] + ends[i]) * _HALF
            for channel in range(channels):
                color[ray, channel] += weight * colors[i, channel]
        depth[ray] = distance
        opacity[ray] = total


@njit(
    "void(float32[::1],float32[::1],float32[::1],int64[::1],float32,float32[::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _weights(densities, starts, ends, offsets, early_stop, weights):
    for ray in prange(offsets.shape[0] - 1):
        transmittance = _ONE
        for i in range(offsets[ray], offsets[ray + 1]):
            if transmittance < early_stop:
                weights[i] = _ZERO
                continue
            alpha = -math.expm1(-densities[i] * (ends[i] - starts[i]))
            weights[i] = transmittance * alpha
            transmittance *= _ONE - alpha


@njit(
    "void(float32[::1],float32[:,::1],float32[::1],float32[::1],float32[::1],float32[:,::1],float32[::1],float32[::1],"
    "int64[::1],float32,float32[::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
)
def _backward(
    for_weights, for_color, for_depth, for_opacity, densities, colors, starts, ends, offsets, early_stop,
    for_densities, for_colors,
):  # fmt: skip
    channels = colors.shape[1]
    every = for_weights.shape[0] > 0
    for ray in prange(offsets.shape[0] - 1):
        first = offsets[ray]
        last = offsets[ray + 1]
        transmittance = _ONE
        stop = first
        # for_densities holds the transmittance behind each sample until the way back
        while stop < last and not transmittance < early_stop:
            transmittance *= math.exp(-densities[stop] * (ends[stop] - starts[stop]))
            for_densities[stop] = transmittance
            stop += 1
        for i in range(stop, last):
            for_densities[i] = _ZERO
            for channel in range(channels):
                for_colors[i, channel] = _ZERO
        behind = _ZERO
        for back in range(stop - first):
            i = stop - 1 - back
            gain = for_opacity[ray] + for_depth[ray] * (starts[i] + ends[i]) * _HALF
            if every:
                gain += for_weights[i]
            after = for_densities[i]
            length = ends[i] - starts[i]
            before = for_densities[i - 1] if i > first else _ONE
            weight = before * -math.expm1(-densities[i] * length)
            for channel in range(channels):
                gain += for_color[ray, channel] * colors[i, channel]
                for_colors[i, channel] = weight * for_color[ray, channel]
            for_densities[i] = length * (after * gain - behind)
            behind += weight * gain


def _array(tensor: Tensor):
    return tensor.detach().contiguous().numpy()


def composite(
    densities: Tensor, colors: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `onefield.kernels.composite`."""
    rays = offsets.shape[0] - 1
    results = (
        torch.empty(len(densities)),
        torch.empty(rays, colors.shape[1]),
        torch.empty(rays),
        torch.empty(rays),
    )
    inputs = (_array(tensor) for tensor in (densities, colors, starts, ends, offsets))
    _composite(*inputs, np.float32(early_stop), *(result.numpy() for result in results))
    return results


def rendering_weights(densities: Tensor, starts: Tensor, ends: Tensor, offsets: Tensor, early_stop: float) -> Tensor:
    """See `onefield.kernels.composite`."""
    weights = torch.empty(len(densities))
    inputs = (_array(tensor) for tensor in (densities, starts, ends, offsets))
    _weights(*inputs, np.float32(early_stop), weights.numpy())
    return weights


def composite_backward(
    for_weights: Tensor | None,
    for_color: Tensor,
    for_depth: Tensor,
    for_opacity: Tensor,
    densities: Tensor,
    colors: Tensor,
    starts: Tensor,
    ends: Tensor,
    offsets: Tensor,
    early_stop: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of densities and colours; ``for_weights`` None means none came from the weights."""
    for_densities, for_colors = torch.empty(len(densities)), torch.empty(len(colors), colors.shape[1])
    inputs = (for_color, for_depth, for_opacity, densities, colors, starts, ends, offsets)
    _backward(
        np.empty(0, np.float32) if for_weights is None else _array(for_weights),
        *(_array(tensor) for tensor in inputs),
        np.float32(early_stop),
        for_densities.numpy(),
        for_colors.numpy(),
    )
    return for_densities, for_colors
