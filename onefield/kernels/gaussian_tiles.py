"""Which Gaussians reach into which tiles of a picture, near to far: contract and PyTorch reference.

A Gaussian reaches as far as its opacity there is at least `LEAST_ALPHA`, the least that changes an 8-bit pixel: up to
a squared distance of ``2 log(255 opacity)`` standard deviations. The kernel follows the ellipse through rows of tiles;
the reference takes all tiles of its bounding box. Tiles that a Gaussian turns out not to touch cost time and change
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.kernels.dispatch import Operation

# Pixels along an edge of a tile.
TILE = 16
LEAST_ALPHA = 1 / 255
# The opacity of a Gaussian that reaches just as far as one standard deviation.
_ONE_DEVIATION = LEAST_ALPHA * math.exp(0.5)
# Of the difference between the variances along both axes of a footprint, halved and squared (INRIA's code).
_LEAST_SPREAD = 0.1
# A conic so flat that its ellipse goes beyond any picture.
_FLAT = 1e-20
# Pixels by which reaches are taken larger, so that rounding never cuts a pixel off.
MARGIN = 0.02


class Tiles(NamedTuple):
    """Pairs of tiles and Gaussians, tile by tile, row by row from the top left, near to far within each.

    Attributes:
        owners: the Gaussian of each pair.
        slots: the place that each pair would have Gaussian by Gaussian.
        offsets: where each tile's pairs begin, and the end.
        starts: where each Gaussian's slots begin, and the end.
        reach: half width and half height, in pixels, of a box around each Gaussian's middle in which all that is drawn
            of it lies; 0 for those that are not seen.
    """

    owners: Int[Tensor, "N"]
    slots: Int[Tensor, "N"]
    offsets: Int[Tensor, "T+1"]
    starts: Int[Tensor, "P+1"]
    reach: Float[Tensor, "P 2"]


def tile_grid(width: int, height: int) -> tuple[int, int]:
    """Tiles across and down."""
    return -(-width // TILE), -(-height // TILE)


def tile_by_tile(
    blank: Float[Tensor, "H W c"],
    owners: Int[Tensor, "N"],
    offsets: Int[Tensor, "T+1"],
    answer: Callable[[Float[Tensor, "pixels 2"], Int[Tensor, "n"]], Float[Tensor, "pixels c"]],
) -> Float[Tensor, "H W c"]:
    """A picture in plain PyTorch, differentiable: what ``answer`` says in tiles that anything reaches into.

    Args:
        blank: what all others show.
        owners, offsets: of `Tiles`.
        answer: told the centres of a tile's pixels, and who reaches into it, near to far.
    """
    height, width, _ = blank.shape
    columns, _ = tile_grid(width, height)
    rows, places = (torch.arange(side, device=blank.device) for side in (height, width))
    for tile in (offsets.diff() > 0).nonzero()[:, 0].tolist():
        top, start = tile // columns * TILE, tile % columns * TILE
        down, across = rows[top : top + TILE, None], places[None, start : start + TILE]
        y, x = torch.broadcast_tensors(down + 0.5, across + 0.5)
        centres = torch.stack([x, y], dim=-1).reshape(-1, 2).to(blank)
        sums = answer(centres, owners[offsets[tile] : offsets[tile + 1]].long())
        blank = blank.index_put((down, across), sums.unflatten(0, x.shape))
    return blank


def _reference(
    pixels: Tensor, conics: Tensor, variances: Tensor, opacities: Tensor, depths: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `gaussian_tiles`."""
    squared = 2 * torch.log(opacities / LEAST_ALPHA)
    reach = (squared.clamp(min=0)[:, None] * variances).sqrt() + MARGIN
    low, high = pixels - reach, pixels + reach
    size = pixels.new_tensor([width, height])
    seen = torch.isfinite(reach).all(-1) & torch.isfinite(conics).all(-1) & (depths > 0) & (squared > 0)
    seen &= ((high > 0) & (low < size)).all(-1)
    columns, rows = tile_grid(width, height)
    last = torch.tensor([columns - 1, rows - 1], device=pixels.device)
    seen_low, seen_high = (torch.where(seen[:, None], edge, 0.0) for edge in (low, high))
    first = (seen_low / TILE).floor().long().clamp(min=0)
    spans = torch.minimum((seen_high / TILE).floor().long(), last) - first + 1
    counts = torch.where(seen, spans.prod(-1), 0)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    owners = torch.repeat_interleave(counts)
    down, across = torch.arange(len(owners), device=pixels.device) - starts[owners], spans[owners, 0]
    tiles = (first[owners, 1] + down // across) * columns + first[owners, 0] + down % across
    rank = depths.argsort(stable=True).argsort()
    slots = (tiles * max(len(depths), 1) + rank[owners]).argsort()
    offsets = torch.searchsorted(tiles[slots], torch.arange(columns * rows + 1, device=pixels.device))
    reach = torch.where(seen[:, None], reach, 0.0)
    return *(indices.int() for indices in (owners[slots], slots, offsets, starts)), reach


def _fake(
    pixels: Tensor, conics: Tensor, variances: Tensor, opacities: Tensor, depths: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    columns, rows = tile_grid(width, height)
    pairs = torch.library.get_ctx().new_dynamic_size()
    sizes = (pairs, pairs, columns * rows + 1, pixels.shape[0] + 1)
    return *(pixels.new_empty(size, dtype=torch.int32) for size in sizes), torch.empty_like(pixels)


tiles_operation = Operation(
    name="gaussian_tiles",
    schema=(
        "(Tensor pixels, Tensor conics, Tensor variances, Tensor opacities, Tensor depths, int width, int height) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.gaussian_tiles:tiles",
    # sorting and counting are PyTorch's own on a graphics card, too
    cuda="onefield.kernels.gaussian_tiles:_reference",
)


@torch.no_grad()
def gaussian_tiles(
    pixels: Float[Tensor, "P 2"],
    conics: Float[Tensor, "P 3"],
    variances: Float[Tensor, "P 2"],
    opacities: Float[Tensor, "P"],
    depths: Float[Tensor, "P"],
    width: int,
    height: int,
) -> Tiles:
    """Sorts Gaussians into the tiles of a picture; equal depths keep the order of the Gaussians. Not differentiable.

    Args:
        pixels: middles on the picture.
        conics, variances: of the footprints, see `onefield.kernels.gaussian_footprints`.
        opacities: in the middles, in [0, 1].
        depths: what to sort by; those that are not above 0 are behind the camera and not seen.
        width, height: of the picture.
    """
    return Tiles(*tiles_operation(pixels, conics, variances, opacities, depths, width, height))


@torch.no_grad()
def square_tiles(
    pixels: Float[Tensor, "P 2"],
    conics: Float[Tensor, "P 3"],
    variances: Float[Tensor, "P 2"],
    opacities: Float[Tensor, "P"],
    depths: Float[Tensor, "P"],
    width: int,
    height: int,
    deviations: float,
) -> Tiles:
    """As `gaussian_tiles`, but with all tiles of a square around each middle, as large at any opacity that shows.

    Half its edge is that many standard deviations of the longest axis, rounded up to whole pixels, and its right and
    lower borders lie a pixel further in (Kerbl et al. (2023), as published with the paper): tiles may be left out in
    which a Gaussian would show.

    Args:
        deviations: standard deviations.
    """
    across2, down2 = variances.unbind(-1)
    mixed = conics[:, 1] * down2 / conics[:, 0]
    spread = (0.25 * (across2 - down2).square() + mixed.square()).clamp(min=_LEAST_SPREAD).sqrt()
    longest = 0.5 * (across2 + down2) + spread
    reach = torch.ceil(deviations * longest.sqrt()) - 0.5
    edges = (reach - MARGIN).square()[:, None].expand(-1, 2)
    flat = pixels.new_tensor([_FLAT, 0.0, _FLAT]).expand(len(pixels), 3)
    seen = torch.where(torch.isfinite(conics).all(-1) & (opacities > LEAST_ALPHA), depths, 0.0)
    even = torch.full_like(depths, _ONE_DEVIATION)
    tiles = Tiles(*tiles_operation(pixels - 1, flat, edges, even, seen, width, height))
    # in its tiles a Gaussian is drawn to their last pixel
    return tiles._replace(reach=torch.where(tiles.reach > 0, tiles.reach + (TILE + 1), 0.0))
