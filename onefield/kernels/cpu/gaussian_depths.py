"""Numba twin of `onefield.kernels.gaussian_depths`: a tile at a time, and in it a pixel at a time."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from torch import Tensor

from onefield.kernels.cpu.tile_pixels import ENDS, HALF, ONE
from onefield.kernels.gaussian_blending import LOG_LEAST
from onefield.kernels.gaussian_tiles import TILE, tile_grid

_LEAST = np.float32(LOG_LEAST)
_INFINITE = np.float32(np.inf)


@njit(
    "void(float32[:,::1],float32[::1],float32[::1],int32[::1],int32[::1],float32[::1],int64,float32,float32[:,:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _depths(ellipses, log_opacities, depths, owners, offsets, shares, across, max_alpha, found):
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
                    x = np.float32(column) + HALF - ellipses[i, 0]
                    y = np.float32(line) + HALF - ellipses[i, 1]
                    power = -HALF * (ellipses[i, 2] * x * x + ellipses[i, 4] * y * y) - ellipses[i, 3] * x * y
                    if not power + log_opacities[i] >= _LEAST:
                        continue
                    alpha = min(ellipses[i, 5] * np.float32(math.exp(power)), max_alpha)
                    after = left * (ONE - alpha)
                    if after < ENDS:
                        break
                    left = after
                    for k in range(count):
                        if found[line, column, k] == _INFINITE and left <= ONE - shares[k]:
                            found[line, column, k] = depths[i]
                            missing -= 1
                    if missing == 0:
                        break


def depths_of_shares(
    ellipses: Tensor,
    depths: Tensor,
    owners: Tensor,
    offsets: Tensor,
    shares: Tensor,
    width: int,
    height: int,
    max_alpha: float,
) -> Tensor:
    """See `onefield.kernels.gaussian_depths`."""
    found = depths.new_empty(height, width, len(shares))
    rows = ellipses.contiguous()
    plain = (rows, rows[:, 5].log().contiguous(), depths.contiguous(), owners.contiguous(), offsets.contiguous())
    _depths(
        *(tensor.numpy() for tensor in plain), shares.contiguous().numpy(), tile_grid(width, height)[0],
        np.float32(max_alpha), found.numpy(),
    )  # fmt: skip
    return found
