"""Numba twin of `onefield.kernels.surfel_depths`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.tile_pixels import ENDS, HALF, ONE, ZERO, as_array
from onefield.kernels.gaussian_blending import LOG_LEAST
from onefield.kernels.gaussian_tiles import TILE, tile_grid
from onefield.kernels.surfel_blending import LOW_PASS

_LEAST = np.float32(LOG_LEAST)
_INVERSE_LOW_PASS = np.float32(1 / LOW_PASS)
_INFINITE = np.float32(np.inf)


@njit(error_model="numpy")
def _met(surfel, x, y, near):
    """Squared deviations at which a pixel meets a surfel, and the depth."""
    right = x - surfel[0]
    down = y - surfel[1]
    q = ONE + surfel[6] * right + surfel[7] * down
    u = (surfel[2] * right + surfel[3] * down) / q
    v = (surfel[4] * right + surfel[5] * down) / q
    squared = u * u + v * v
    on_picture = (right * right + down * down) * _INVERSE_LOW_PASS
    if q > ZERO and surfel[8] / q > near and squared < on_picture:
        return squared, surfel[8] / q
    return on_picture, surfel[8]


@njit(
    "void(float32[:,::1],float32[::1],int32[::1],int32[::1],float32[::1],int64,float32,float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _depths(surfels, log_opacities, owners, offsets, shares, across, near, max_alpha, found):
    height, width, count = found.shape
    for tile in prange(offsets.shape[0] - 1):
        top = tile // across * TILE
        start = tile % across * TILE
        for line in range(top, min(top + TILE, height)):
            for column in range(start, min(start + TILE, width)):
                for k in range(count):
                    found[line, column, k] = _INFINITE
                left = ONE
                missing = count
                for place in range(offsets[tile], offsets[tile + 1]):
                    i = owners[place]
                    squared, depth = _met(surfels[i], np.float32(column) + HALF, np.float32(line) + HALF, near)
                    power = -HALF * squared
                    if not power + log_opacities[i] >= _LEAST:
                        continue
                    alpha = min(surfels[i, 9] * np.float32(math.exp(power)), max_alpha)
                    after = left * (ONE - alpha)
                    if after < ENDS:
                        break
                    left = after
                    for k in range(count):
                        if found[line, column, k] == _INFINITE and left <= ONE - shares[k]:
                            found[line, column, k] = depth
                            missing -= 1
                    if missing == 0:
                        break


def depths_of_shares(
    surfels: Tensor,
    owners: Tensor,
    offsets: Tensor,
    shares: Tensor,
    width: int,
    height: int,
    near: float,
    max_alpha: float,
) -> Tensor:
    """See `onefield.kernels.surfel_depths`."""
    found = surfels.new_empty(height, width, len(shares))
    _depths(
        as_array(surfels), as_array(surfels[:, 9].log()),
        *(as_array(tensor) for tensor in (owners, offsets, shares)),
        tile_grid(width, height)[0], np.float32(near), np.float32(max_alpha), found.numpy(),
    )  # fmt: skip
    return found
