"""From what each Gaussian earned on each ray to the gradients of rays and of Gaussians.

At a place x of a ray the whitened offset is ``u = W (x - mean)``, and the exponent ``-|u|^2 / 2`` falls by ``u`` for
each unit of it. Along the ray u is a line, so that sums over samples need only three moments of what they earned.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from onefield.kernels.cpu.gaussian_ray_march import FAST, lobe_shape

_ZERO = np.float32(0)
_ONE = np.float32(1)
SLOT = 6
"""Columns of a slot: moments of what the exponent earned, by distance from the peak, up to the second; then colour."""
# Rays, or Gaussians, that a thread takes at a time.
_CHUNK = 32


@njit("void(int32[:,::1],int64[::1],int32[::1])", cache=True)
def sort_slots(owners, starts, slots):
    """The slots Gaussian by Gaussian, and where each one's begin."""
    for slot in range(owners.shape[0]):
        starts[owners[slot, 0] + 1] += 1
    for i in range(starts.shape[0] - 1):
        starts[i + 1] += starts[i]
    places = starts.copy()
    for slot in range(owners.shape[0]):
        i = owners[slot, 0]
        slots[places[i]] = slot
        places[i] += 1


@njit(fastmath=FAST, error_model="numpy")
def _meet(origins, directions, r, means, whitening, i, there, speed, nearest):
    """Where ray r is nearest to Gaussian i: offset, the whitened one, and the whitened direction."""
    along = _ZERO
    squared = _ZERO
    for axis in range(3):
        there[axis] = origins[r, axis] - means[i, axis]
    for k in range(3):
        u = _ZERO
        v = _ZERO
        for axis in range(3):
            u += whitening[i, k, axis] * there[axis]
            v += whitening[i, k, axis] * directions[r, axis]
        speed[k] = v
        squared += v * v
        along += u * v
    peak = -along / squared
    for axis in range(3):
        there[axis] += peak * directions[r, axis]
    for k in range(3):
        u = _ZERO
        for axis in range(3):
            u += whitening[i, k, axis] * there[axis]
        nearest[k] = u
    return peak


@njit(
    "void(float32[:,::1],int32[:,::1],int64[::1],float32[:,::1],float32[:,::1],float32[:,::1],float32[:,:,::1],"
    "float32[:,:,::1],float32[:,:,::1],float32[:,::1],float32[:,::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def rays_backward(
    shares, owners, offsets, origins, directions, means, whitening, harmonics, lobes, for_origins, for_directions,
    for_basis,
):  # fmt: skip
    """Adds what each ray's slots say of its origin, direction and basis."""
    rays = origins.shape[0]
    for chunk in prange((rays + _CHUNK - 1) // _CHUNK):
        there = np.empty(3, np.float32)
        speed = np.empty(3, np.float32)
        nearest = np.empty(3, np.float32)
        for r in range(chunk * _CHUNK, min(rays, (chunk + 1) * _CHUNK)):
            for slot in range(offsets[r], offsets[r + 1]):
                i = owners[slot, 0]
                share = shares[slot]
                peak = _meet(origins, directions, r, means, whitening, i, there, speed, nearest)
                for k in range(3):
                    pull = share[0] * nearest[k] + share[1] * speed[k]
                    turn = peak * pull + share[1] * nearest[k] + share[2] * speed[k]
                    for axis in range(3):
                        for_origins[r, axis] -= whitening[i, k, axis] * pull
                        for_directions[r, axis] -= whitening[i, k, axis] * turn
                for k in range(harmonics.shape[1]):
                    for c in range(3):
                        for_basis[r, k] += harmonics[i, k, c] * share[3 + c]
                for j in range(lobes.shape[1]):
                    close = -_ONE
                    for axis in range(3):
                        close += directions[r, axis] * lobes[i, j, axis]
                    gain = lobe_shape(lobes[i, j, 3], close) * lobes[i, j, 3]
                    earned = _ZERO
                    for c in range(3):
                        earned += lobes[i, j, 4 + c] * share[3 + c]
                    for axis in range(3):
                        for_directions[r, axis] += gain * earned * lobes[i, j, axis]


@njit(
    "void(float32[:,::1],int32[:,::1],int64[::1],int32[::1],float32[:,::1],float32[:,::1],float32[:,::1],"
    "float32[:,::1],float32[:,:,::1],float32[::1],float32[:,:,::1],float32[:,:,::1],float32[:,::1],float32[:,:,::1],"
    "float32[::1],float32[:,:,::1],float32[:,:,::1])",
    parallel=True,
    cache=True,
    fastmath=FAST,
    error_model="numpy",
)
def gaussians_backward(  # noqa: PLR0913 - compiled
    shares, owners, starts, slots, origins, directions, basis, means, whitening, amplitudes, harmonics, lobes,
    for_means, for_whitening, for_amplitudes, for_harmonics, for_lobes,
):  # fmt: skip
    """Adds what each Gaussian's slots say of it; amplitudes of those without slots are left alone."""
    count = means.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        there = np.empty(3, np.float32)
        speed = np.empty(3, np.float32)
        nearest = np.empty(3, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            total = _ZERO
            for at in range(starts[i], starts[i + 1]):
                slot = slots[at]
                r = owners[slot, 1]
                share = shares[slot]
                _meet(origins, directions, r, means, whitening, i, there, speed, nearest)
                total += share[0]
                for k in range(3):
                    pull = share[0] * nearest[k] + share[1] * speed[k]
                    turn = share[1] * nearest[k] + share[2] * speed[k]
                    for axis in range(3):
                        for_means[i, axis] += whitening[i, k, axis] * pull
                        for_whitening[i, k, axis] -= pull * there[axis] + turn * directions[r, axis]
                for k in range(harmonics.shape[1]):
                    for c in range(3):
                        for_harmonics[i, k, c] += basis[r, k] * share[3 + c]
                for j in range(lobes.shape[1]):
                    close = -_ONE
                    for axis in range(3):
                        close += directions[r, axis] * lobes[i, j, axis]
                    shape = lobe_shape(lobes[i, j, 3], close)
                    earned = _ZERO
                    for c in range(3):
                        for_lobes[i, j, 4 + c] += shape * share[3 + c]
                        earned += lobes[i, j, 4 + c] * share[3 + c]
                    for axis in range(3):
                        for_lobes[i, j, axis] += shape * earned * lobes[i, j, 3] * directions[r, axis]
                    for_lobes[i, j, 3] += shape * earned * close
            if starts[i + 1] > starts[i]:
                for_amplitudes[i] = total / amplitudes[i]
