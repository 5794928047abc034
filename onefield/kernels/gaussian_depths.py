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
from onefield.kernels.gaussian_blending import LOG_LEAST, MAX_ALPHA, STOP
from onefield.kernels.gaussian_tiles import TILE, Tiles, tile_grid


def _tile_reference(
    centres: Tensor, ellipses: Tensor, depths: Tensor, shares: Tensor, max_alpha: float
) -> Float[Tensor, "pixels shares"]:
    """Depths at pixel centres of Gaussians that are given near to far."""
    x, y = (centres[:, None] - ellipses[:, :2]).unbind(-1)
    xx, xy, yy, opacities = ellipses[:, 2:].unbind(1)
    power = -0.5 * (xx * x * x + yy * y * y) - xy * x * y
    alpha = (opacities * torch.exp(power)).clamp(max=max_alpha)
    alpha = torch.where(power + torch.log(opacities) >= LOG_LEAST, alpha, 0.0)
    alpha = torch.where((1 - alpha).cumprod(1) >= STOP, alpha, 0.0)
    left = (1 - alpha).cumprod(1)
    reached = (left[:, :, None] <= 1 - shares) & (alpha[:, :, None] > 0)
    first = reached.to(torch.uint8).argmax(1)
    return torch.where(reached.any(1), depths[first], torch.inf)


def _reference(
    ellipses: Tensor, depths: Tensor, owners: Tensor, offsets: Tensor, shares: Tensor, width: int, height: int,
    max_alpha: float,
) -> Tensor:  # fmt: skip
    """See `gaussian_depths`; tile by tile."""
    columns, _ = tile_grid(width, height)
    found = depths.new_full((height, width, len(shares)), torch.inf)
    for tile in (offsets.diff() > 0).nonzero()[:, 0].tolist():
        top, start = tile // columns * TILE, tile % columns * TILE
        lines = torch.arange(top, min(top + TILE, height), device=depths.device)
        places = torch.arange(start, min(start + TILE, width), device=depths.device)
        y, x = torch.meshgrid(lines + 0.5, places + 0.5, indexing="ij")
        chosen = owners[offsets[tile] : offsets[tile + 1]].long()
        centres = torch.stack([x, y], dim=-1).reshape(-1, 2).to(ellipses)
        depth = _tile_reference(centres, ellipses[chosen], depths[chosen], shares, max_alpha)
        found[top : top + len(lines), start : start + len(places)] = depth.reshape(*x.shape, len(shares))
    return found


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
    if not all(0 < share < 1 for share in shares):
        raise UsageError(f"Depths are asked for shares of opacity between 0 and 1, got {list(shares)}.")
    ellipses = torch.cat([pixels, conics, opacities[:, None]], dim=1)
    wanted = depths.new_tensor(list(shares))
    return depths_operation(ellipses, depths, tiles.owners, tiles.offsets, wanted, width, height, max_alpha)
