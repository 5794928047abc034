"""Where views saw the points that structure from motion placed: depth that is known at a few pixels of each photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.capture import View
from onefield.data.scene import Similarity


@dataclass(frozen=True, eq=False)
class Sightings:
    """Pixels of views whose distance to what they show is known.

    Attributes:
        views: places in the scene, ascending.
        columns, rows: of the pixels.
        distances: along the ray to the point, normalised units.
    """

    views: Int[Tensor, "n"]
    columns: Int[Tensor, "n"]
    rows: Int[Tensor, "n"]
    distances: Float[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.views)


def find_sightings(
    views: Sequence[View], points: np.ndarray | None, cameras: Cameras, transform: Similarity
) -> Sightings | None:
    """The pixels at which views saw points, None where the format knows of none.

    Points are projected anew, since poses and points agree better with each other than with the keypoints that they
    were found from. Those that fall outside the picture, or that are not finite, are left out.

    Args:
        views: with the rows of ``points`` that each saw.
        points: N x 3, dataset frame.
        cameras: of the views, normalised frame.
    """
    found = []
    for index, view in enumerate(views):
        if points is None or view.seen_points is None or len(view.seen_points) == 0:
            continue
        seen = torch.from_numpy(points[view.seen_points])
        placed = transform.apply(seen[torch.isfinite(seen).all(dim=-1)])
        pixels, depths = cameras.project(torch.tensor(index), placed)
        size = torch.stack([cameras.width[index], cameras.height[index]])
        inside = (pixels >= 0).all(dim=-1) & (pixels < size).all(dim=-1) & (depths > 0)
        column, row = pixels[inside].long().unbind(dim=-1)
        distance = (placed[inside] - cameras.positions[index]).norm(dim=-1)
        found.append((torch.full_like(column, index), column, row, distance.float()))
    if not any(len(views) for views, *_ in found):
        return None
    return Sightings(*(torch.cat(parts) for parts in zip(*found, strict=True)))
