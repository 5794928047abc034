"""How deep light reaches into splatted Gaussians: contract and PyTorch reference.

At each pixel Gaussians are met near to far as in `onefield.kernels.gaussian_blending`, with the same alphas, cuts and
end. The depth of a share s is that of the first Gaussian behind which transmittance is at most ``1 - s``; 1/2 gives the
median depth of Huang et al., "2D Gaussian splatting" (2024). Not differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation
from onefield.kernels.gaussian_blending import MAX_ALPHA, blending_weights, ellipse_alphas
from onefield.kernels.gaussian_tiles import Tiles, tile_by_tile


def reached_depths(
    alpha: Float[Tensor, "pixels n"], depths: Float[Tensor, "pixels n"], shares: Float[Tensor, "q"]
) -> Float[Tensor, "pixels q"]:
    """Of those that are met near to far the first depth behind which so much opacity has accumulated."""
    weights, left = blending_weights(alpha)
    reached = (left[:, :, None] <= 1 - shares) & (weights[:, :, None] > 0)
    return torch.where(reached.any(1), depths.gather(1, reached.to(torch.uint8).argmax(1)), torch.inf)


def _reference(
    ellipses: Tensor, depths: Tensor, owners: Tensor, offsets: Tensor, shares: Tensor, width: int, height: int,
    max_alpha: float,
) -> Tensor:  # fmt: skip
    """See `gaussian_depths`; tile by tile."""

    def answer(centres: Tensor, chosen: Tensor) -> Tensor:
        alpha = ellipse_alphas(centres[:, None] - ellipses[chosen, :2], ellipses[chosen, 2:], max_alpha)
        return reached_depths(alpha, depths[chosen].expand_as(alpha), shares)

    return tile_by_tile(depths.new_full((height, width, len(shares)), torch.inf), owners, offsets, answer)


depths_operation = Operation(
    name="gaussian_depths",
    schema=(
        "(Tensor ellipses, Tensor depths, Tensor owners, Tensor offsets, Tensor shares, int width, int height, "
        "float max_alpha) -> Tensor"
    ),
    reference=_reference,
    fake=lambda ellipses, depths, owners, offsets, shares, width, height, max_alpha: depths.new_empty(
        height, width, shares.shape[0]
    ),
    cpu="onefield.kernels.cpu.gaussian_depths:depths_of_shares",
    cuda="onefield.kernels.cuda.gaussian_depths:depths_of_shares",
)


def checked_shares(shares: Sequence[float], like: Tensor) -> Float[Tensor, "q"]:
    """Shares of opacity as numbers of a kernel.

    Raises:
        UsageError: a share outside (0, 1).
    """
    if not all(0 < share < 1 for share in shares):
        raise UsageError(f"Depths are asked for shares of opacity between 0 and 1, got {list(shares)}.")
    return like.new_tensor(list(shares))


@torch.no_grad()
def gaussian_depths(
    pixels: Float[Tensor, "P 2"],
    conics: Float[Tensor, "P 3"],
    opacities: Float[Tensor, "P"],
    depths: Float[Tensor, "P"],
    tiles: Tiles,
    width: int,
    height: int,
    shares: Sequence[float],
    *,
    max_alpha: float = MAX_ALPHA,
) -> Float[Tensor, "H W Q"]:
    """Depths of the Gaussians at which so much opacity has accumulated; infinite where it never does.

    Args:
        pixels, conics, opacities: middles, inverse covariances (xx, xy, yy) and opacities on the picture.
        depths: of the middles, any unit.
        tiles: who reaches where, of the same Gaussians.
        shares: of all light, in (0, 1).
        max_alpha: upper bound of alpha, below 1.

    Raises:
        UsageError: a share outside (0, 1).
    """
    wanted = checked_shares(shares, depths)
    ellipses = torch.cat([pixels, conics, opacities[:, None]], dim=1)
    return depths_operation(ellipses, depths, tiles.owners, tiles.offsets, wanted, width, height, max_alpha)
