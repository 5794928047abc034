"""How deep light reaches into surfels: contract and PyTorch reference.

As `onefield.kernels.gaussian_depths`, but depths are those of the points in which a pixel's ray meets surfels, see
`onefield.kernels.surfel_blending`. The share 1/2 gives the median depth of Huang et al., "2D Gaussian splatting"
(2024). Not differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.dispatch import Operation
from onefield.kernels.gaussian_blending import MAX_ALPHA
from onefield.kernels.gaussian_depths import checked_shares, reached_depths
from onefield.kernels.gaussian_tiles import Tiles, tile_by_tile
from onefield.kernels.surfel_blending import surfel_alphas, surfel_rows


def _reference(
    surfels: Tensor, owners: Tensor, offsets: Tensor, shares: Tensor, width: int, height: int, near: float,
    max_alpha: float,
) -> Tensor:  # fmt: skip
    """See `surfel_depths`; tile by tile."""

    def answer(centres: Tensor, chosen: Tensor) -> Tensor:
        away = centres[:, None] - surfels[chosen, :2]
        return reached_depths(*surfel_alphas(away, surfels[chosen, 2:], near, max_alpha), shares)

    return tile_by_tile(surfels.new_full((height, width, len(shares)), torch.inf), owners, offsets, answer)


depths_operation = Operation(
    name="surfel_depths",
    schema=(
        "(Tensor surfels, Tensor owners, Tensor offsets, Tensor shares, int width, int height, float near, "
        "float max_alpha) -> Tensor"
    ),
    reference=_reference,
    fake=lambda surfels, owners, offsets, shares, width, height, near, max_alpha: surfels.new_empty(
        height, width, shares.shape[0]
    ),
    cpu="onefield.kernels.cpu.surfel_depths:depths_of_shares",
    cuda="onefield.kernels.cuda.surfel_depths:depths_of_shares",
)


@torch.no_grad()
def surfel_depths(
    pixels: Float[Tensor, "P 2"],
    slopes: Float[Tensor, "P 3 2"],
    depths: Float[Tensor, "P"],
    opacities: Float[Tensor, "P"],
    tiles: Tiles,
    width: int,
    height: int,
    shares: Sequence[float],
    *,
    near: float,
    max_alpha: float = MAX_ALPHA,
) -> Float[Tensor, "H W Q"]:
    """Depths at which so much opacity has accumulated; infinite where it never does.

    Args:
        pixels, slopes, depths, opacities, tiles: as `onefield.kernels.surfel_blending.surfel_blend` takes them.
        shares: of all light, in (0, 1).
        near: depth in front of which a ray meets nothing.
        max_alpha: upper bound of alpha, below 1.

    Raises:
        UsageError: a share outside (0, 1).
    """
    wanted = checked_shares(shares, depths)
    rows = surfel_rows(pixels, slopes, depths, opacities)
    return depths_operation(rows, tiles.owners, tiles.offsets, wanted, width, height, near, max_alpha)
