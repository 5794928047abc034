"""What a patch of a picture looks like, by hand: colours and the directions of its edges.

No network takes part, so nothing has to be fetched. Anything that makes vectors of patches, a network's first layers
for one, can stand in its place (`onefield.training.distractors.PatchFeatures`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# Patches along the longer side of a picture, about as many as networks on such patches take.
PATCHES_A_SIDE = 64
SMALLEST_PATCH = 4
_DIRECTIONS = 4
_GREY = 0.5
# Differences of neighbouring pixels are about a quarter of the differences of colours to grey.
_EDGE_GAIN = 4.0


@dataclass(frozen=True)
class LocalDescriptor:
    """Colours less grey of the four quarters of a patch, and how strong its edges are there in four directions.

    Attributes:
        patch: edge in pixels.
    """

    patch: int

    def __call__(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "a b f"]:
        """28 numbers a patch."""
        height, width = picture.shape[:2]
        rows, columns = max(1, round(height / self.patch)), max(1, round(width / self.patch))
        colors = picture.movedim(-1, 0)[None]
        # the last row and column once more, so that each pixel has a difference
        grey = functional.pad(colors.mean(1, keepdim=True), (0, 1, 0, 1), mode="replicate")
        across = grey[:, :, :-1, 1:] - grey[:, :, :-1, :-1]
        down = grey[:, :, 1:, :-1] - grey[:, :, :-1, :-1]
        angles = [math.pi * number / _DIRECTIONS for number in range(_DIRECTIONS)]
        edges = [(across * math.cos(angle) + down * math.sin(angle)).abs() for angle in angles]
        channels = torch.cat([colors - _GREY, *(_EDGE_GAIN * edge for edge in edges)], dim=1)
        quarters = functional.adaptive_avg_pool2d(channels, (2 * rows, 2 * columns))
        return functional.pixel_unshuffle(quarters, 2)[0].movedim(0, -1)


def patch_size(longest_side: int) -> int:
    """The edge of a patch in pixels for pictures of this size."""
    return max(SMALLEST_PATCH, round(longest_side / PATCHES_A_SIDE))
