"""A tree of boxes over Gaussians, for rays that look for those they meet.

Gaussians are sorted along a Morton curve; `LEAF` neighbours share a leaf, and leaves are joined two by two. The tree is
complete, so that it needs no pointers: node 1 is the root, node i has the children 2 i and 2 i + 1, and the last half
of all nodes are leaves (Karras, "Maximizing parallelism in the construction of BVHs" (2012), for the curve). It takes a
few operations on whole arrays, a small part of what casting rays takes, and is built anew for each call.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Gaussians of a leaf: looking at their shared box is then worth its while.
LEAF = 4
# Bits of the curve an axis; three times as many fit into an int64 with room to spare.
_BITS = 16
# Boxes are larger by this share of their sides and of their distance from the origin: rounding cuts nothing off.
_MARGIN = 1e-5


class GaussianTree(NamedTuple):
    """Boxes over Gaussians.

    Attributes:
        order: Gaussians along the curve; leaf l holds the entries ``LEAF l : LEAF (l + 1)``.
        boxes: lower and upper corner of each node; both infinitely far where it holds nothing.
    """

    order: Int[Tensor, "P"]
    boxes: Float[Tensor, "nodes 6"]


@torch.no_grad()
def gaussian_tree(
    means: Float[Tensor, "P 3"], whitening: Float[Tensor, "P 3 3"], reaches: Float[Tensor, "P"]
) -> GaussianTree:
    """Builds the tree over the ellipsoids of Gaussians; the same for the same input.

    Args:
        whitening: orthogonal axes divided by standard deviations, a row an axis.
        reaches: standard deviations up to which each Gaussian counts. Those that are not above 0, and Gaussians with
            numbers that are not finite, are in no box.
    """
    count = len(means)
    leaves = 1
    while leaves * LEAF < count:
        leaves *= 2
    # a row is axis / s, so that row / |row|^2 = s axis, and the variance along an edge is a sum of squares
    spread = (whitening / whitening.square().sum(-1, keepdim=True)).square().sum(1).sqrt()
    half = reaches[:, None] * spread
    half = half * (1 + _MARGIN) + _MARGIN * means.abs()
    seen = (reaches > 0) & torch.isfinite(half).all(-1) & torch.isfinite(means).all(-1)
    low = torch.where(seen[:, None], means - half, torch.inf)
    high = torch.where(seen[:, None], means + half, -torch.inf)
    order = _curve(torch.where(seen[:, None], means, 0.0), seen).argsort(stable=True)
    padding = low.new_full((leaves * LEAF - count, 3), torch.inf)
    lows = [torch.cat([low[order], padding]).unflatten(0, (leaves, LEAF)).amin(1)]
    highs = [torch.cat([high[order], -padding]).unflatten(0, (leaves, LEAF)).amax(1)]
    while len(lows[0]) > 1:
        lows.insert(0, lows[0].unflatten(0, (-1, 2)).amin(1))
        highs.insert(0, highs[0].unflatten(0, (-1, 2)).amax(1))
    boxes = torch.cat([torch.cat(lows), torch.cat(highs)], dim=1)
    # turned inside out, a box would look like all of space to who orders a ray's ways through its sides
    boxes = torch.where(boxes[:, :1] > boxes[:, 3:4], torch.inf, boxes)
    # node 0 is there so that children can be counted from 2 i
    return GaussianTree(order.int(), torch.cat([boxes.new_zeros(1, 6), boxes]))


def _curve(points: Float[Tensor, "P 3"], seen: Tensor) -> Int[Tensor, "P"]:
    """Place of each point on the Morton curve; those that are not seen come last."""
    if len(points) == 0:
        return points.new_zeros(0, dtype=torch.int64)
    low, high = points.amin(0), points.amax(0)
    side = (high - low).amax()
    cells = 2**_BITS - 1
    places = (points - low) / torch.where(side > 0, side, 1.0) * cells
    code = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for axis in range(3):
        place = places[:, axis].long().clamp(0, cells)
        # spread 16 bits so that two zeros follow each
        place = (place | (place << 16)) & 0x0000FF0000FF
        place = (place | (place << 8)) & 0x00F00F00F00F
        place = (place | (place << 4)) & 0x0C30C30C30C3
        place = (place | (place << 2)) & 0x249249249249
        code |= place << axis
    return torch.where(seen, code, 2 ** (3 * _BITS))
