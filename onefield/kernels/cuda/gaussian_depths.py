"""Triton twin of `onefield.kernels.gaussian_depths`: a program a tile and a share, with a lane a pixel."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.gaussian_blending import alphas, pixel_grid
from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_blending import STOP
from onefield.kernels.gaussian_tiles import TILE, tile_grid

_PIXELS = tl.constexpr(TILE * TILE)
_STOP = tl.constexpr(STOP)


@triton.jit
def _depths_kernel(
    ellipses, depths, owners, offsets, shares, found, width, height, across, max_alpha, count: tl.constexpr
):
    place, inside, x, y = pixel_grid(across, width, height)
    number = tl.program_id(1)
    wanted = 1.0 - tl.load(shares + number)
    passing = tl.where(inside, 1.0, 0.0)
    depth = tl.full([_PIXELS], float("inf"), tl.float32)
    alive = inside
    pair = tl.load(offsets + tl.program_id(0))
    last = tl.load(offsets + tl.program_id(0) + 1)
    while pair < last:
        i = tl.load(owners + pair)
        _, _, _, _, _, _, alpha = alphas(ellipses, i, x, y, max_alpha)
        after = passing * (1.0 - alpha)
        ends = after < _STOP
        passing = tl.where(ends, passing, after)
        reached = alive & (ends == 0) & (alpha > 0.0) & (passing <= wanted)
        depth = tl.where(reached, tl.load(depths + i), depth)
        alive = alive & (ends == 0) & (reached == 0)
        pair = tl.where(tl.max(alive.to(tl.int32), 0) > 0, pair + 1, last)
    tl.store(found + place * count + number, depth, mask=inside)


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
    across, down = tile_grid(width, height)
    found = depths.new_empty(height, width, len(shares))
    plain = (tensor.detach().contiguous() for tensor in (ellipses, depths, owners, offsets, shares))
    with on_device(depths.device):
        if len(shares):
            _depths_kernel[(across * down, len(shares))](*plain, found, width, height, across, max_alpha, len(shares))
    return found
